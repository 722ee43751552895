"""What cannot be run or is refused stops itself alone, with the reason where people look, and never the stage."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pydantic import SecretStr
from support.claude import KEY
from support.fake_messages import FakeMessages, design
from support.platform import Platform

from backtester import Costs, SignalError
from backtester.aggregator import aggregate
from backtester.windows import Window
from blofin_assets.assets.standings import standings
from blofin_assets.assets.strategies import examined
from blofin_assets.assets.tuning import _days, _judged, _score_rows
from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.designing import Judge, design_all
from blofin_assets.evolution.windows import validation_market
from blofin_assets.plan import FORWARD, STRATEGY_CYCLE
from blofin_assets.runner import CONSOLE
from blofin_assets.sources import feature_manager
from blofin_resources.claude import Claude
from blofin_resources.errors import BlofinError
from blofin_resources.market.factory import open_market
from blofin_resources.warehouse import Warehouse
from strategies.compiler import compile_strategy
from strategies.evolution.panel import Panel
from strategies.evolution.prompting import Prompt, design_prompt
from strategies.registry import load_library
from strategies.sandbox import Limits

END = datetime(2025, 6, 12, tzinfo=UTC)
WINDOW = Window(END - timedelta(days=6), END)
SYMBOLS = ("BTC-USDT", "SOL-USDT")
WHY = "signals of BTC-USDT 5m: row 7 has stop 0; give a fraction of the entry price above 0"
CODE = '''class Follower(Strategy):
    """Follow the last bars. Edge: none. Fails: always."""

    name = "follower"
    timeframes = ("5m",)
    bars = Param(6, 2, 24)

    def detect(self, f):
        return Signal(long_entry=f.close > mean(f.close, self.bars), long_exit=f.close < mean(f.close, self.bars))
'''


def unfit(*_: object) -> pl.DataFrame:
    raise SignalError(WHY)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    minutes = open_market("sample", archive=None, api_url="", seed=7).candles_1m(SYMBOLS, END - timedelta(days=12), END)
    with Warehouse.open(tmp_path_factory.mktemp("store") / "warehouse", market="sample") as opened:
        with opened.transaction("r") as tx:
            tx.append("market.candles_1m", minutes)
            tx.append("market.candles_5m", aggregate(minutes, "5m"))
        yield opened


@pytest.fixture(scope="module")
def panel(store: Warehouse) -> Panel:
    return Panel.read(feature_manager(store, END), SYMBOLS, WINDOW, timeframes=("5m",))


def test_one_that_cannot_be_run_on_the_search_window_does_not_stop_the_others(panel: Panel) -> None:
    good, bad = compile_strategy(CODE), compile_strategy(CODE.replace('"follower"', '"broken"'))
    bad.signals = unfit  # type: ignore[method-assign]
    judged, failed = _judged(panel, [bad, good])
    assert [each.strategy.name for each in judged] == ["follower"]
    assert failed == {"broken": WHY}
    with pytest.raises(BlofinError, match="no strategy could be run on the search window: signals of BTC-USDT"):
        _judged(panel, [bad])


@pytest.mark.slow
def test_one_that_cannot_be_run_leaves_ledger_and_exam_to_the_others(
    passed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = "SELECT name, state, detail FROM research.forward_runs WHERE kind = 'strategy' ORDER BY name"
    ranks = "SELECT name FROM research.ranking_history WHERE kind = 'strategy' ORDER BY rank"
    before, ranked = passed.warehouse.read(runs), passed.warehouse.read(ranks)["name"].to_list()
    name = before["name"][0]
    monkeypatch.setattr(type(next(each for each in load_library() if each.name == name)), "signals", unfit)

    made = {FORWARD: "2026-03-13-00:00", STRATEGY_CYCLE: "2026-03-12"}
    for job, key in made.items():
        result = passed.defs.resolve_job_def(job).execute_in_process(
            instance=passed.instance, partition_key=key, run_config=CONSOLE, raise_on_error=False
        )
        assert result.success, job
        if job == FORWARD:
            after = passed.warehouse.read(runs)
            assert after.row(0) == (name, "lost", f"SignalError: {WHY}")
            assert after[1:].equals(before[1:])
    assert passed.warehouse.read(ranks)["name"].to_list() == [each for each in ranked if each != name]
    events = "SELECT event, reason FROM research.strategy_events WHERE name = ? AND event IN ('failed', 'archived')"
    assert set(passed.warehouse.read(events, [name]).iter_rows()) == {
        ("failed", f"SignalError: {WHY}"),
        ("archived", f"SignalError: {WHY}"),
    }


def test_a_design_that_reads_what_there_is_not_is_refused_and_the_others_go_on(store: Warehouse, panel: Panel) -> None:
    foreign = CODE.replace("f.close >", '(f["DOGE-USDT:returns"] > 0) & (f.close >')
    foreign = foreign.replace("self.bars), long_exit", "self.bars)), long_exit")
    modelled = CODE.replace("f.close >", '(f["model:trend"] > 0.5) & (f.close >')
    modelled = modelled.replace("self.bars), long_exit", "self.bars)), long_exit")
    judge = Judge(panel, lambda reader: validation_market(store, SYMBOLS, END, [reader]), {}, 0, Limits())
    with FakeMessages([design(foreign), design(modelled), design(CODE)]) as server:
        client = Claude(
            store, key=SecretStr(KEY), budget_usd=50.0, base_url=server.url, deadline_seconds=20.0, clock=lambda: END
        )

        def prompt(wanted: str) -> Prompt:
            return design_prompt(lessons=[], market=[], known=[], wanted=wanted, costs=Costs())

        made, _ = design_all(Asker(client, END, "run"), judge, prompt, budget=3, seed=1)
    assert [each.state for each in made[:3]] == ["refused", "refused", "sound"]
    assert made[0].refusal == "it reads DOGE-USDT, which is not followed here; there are BTC-USDT, SOL-USDT"
    assert str(made[1].refusal).startswith("feature model:trend: no such model; there is model:")


def test_a_parameter_may_have_any_name_that_a_function_has_too() -> None:
    named = compile_strategy(CODE.replace("bars", "origin"), "a row", origin=9)
    assert named.parameters == {"origin": 9}
    assert named.with_parameters(origin=7).parameters == {"origin": 7}


def test_a_challenger_whose_parent_is_gone_takes_the_exam_without_it(platform: Platform) -> None:
    made, as_of = compile_strategy(CODE, bars=9), END
    key = {"name": made.name, "version": made.version}
    gone = {"name": "vanished", "version": "0" * 12}
    shared = {"stage": "tuning", "designer": "drift", "parent_version": "f" * 12}
    rows = [{**each, **shared, "as_of": as_of, "place": place} for place, each in enumerate((key, gone), 1)]
    result = {
        "id": "1", "strategy_name": made.name, "version": made.version, "timestamp": as_of, "as_of": as_of,
        "backtest_period": "7d", "symbol": "*", "timeframe": "*", "window_start": WINDOW.start, "window_end": END,
        "snapshot_id": 1, "total_trades": 30, "score": 12.0, "sharpe": 1.0, "win_rate": 0.6, "total_pnl_pct": 2.0,
        "avg_pnl_pct": 0.1, "max_drawdown": 0.01,
    }  # fmt: skip
    store = platform.warehouse
    with store.transaction("test") as tx:
        texts = [{**key, "code": CODE, "parameters": '{"bars": 9}'}, {**gone, "code": CODE, "parameters": "{}"}]
        stored = {"source": "tuned", "author": "tuner", "created_at": as_of - timedelta(days=1)}
        tx.append("research.strategies", pl.DataFrame([{**each, **stored} for each in texts]))
        proposals = [{**row, "slot": row["place"], "state": "sound", "attempt": 1} for row in rows]
        numbers = {"changes": '{"bars": "6→9"}', "evaluations": 4, "cost_usd": 0.0}
        tx.append("research.proposals", pl.DataFrame([{**row, **numbers} for row in proposals]).drop("place"))
        tx.append("research.finalists", pl.DataFrame(rows))
        tx.append("research.strategy_backtest_results", pl.DataFrame([result]))
    takes = {each.key for each in examined(store, as_of) if each.source == "tuned"}
    assert takes == {(made.name, made.version)}
    found = standings(store, as_of)
    told = dict(found.outcomes.select("name", "reason").iter_rows())
    missing = f"; version {'f' * 12}, which it was tuned from, is not there any more to be compared with"
    assert told["follower"] == f"rank 1 on the exam{missing}"
    assert "is version" in told["vanished"]
    assert found.configs.filter(strategy="follower").select("config_json", "previous_json").row(0) == (
        '{"bars": 9}',
        None,
    )


def test_scores_of_a_short_search_window_outlive_those_of_the_exam(store: Warehouse, panel: Panel) -> None:
    judged, _ = _judged(panel, [compile_strategy(CODE)])
    short = Window(END - timedelta(days=7, hours=8), END)
    searched = _score_rows(judged, END, short)
    with store.transaction("test") as tx:
        tx.replace("research.strategy_scores", searched, as_of=END, window=_days(short))
        tx.replace("research.strategy_scores", searched.with_columns(window=pl.lit("7d")), as_of=END, window="7d")
    assert set(store.read('SELECT "window" FROM research.strategy_scores')["window"]) == {"search_7d", "7d"}
