"""What cannot be run or is refused stops itself alone, with the reason where people look, and never the stage."""

import dataclasses
import math
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest
from pydantic import SecretStr
from support.claude import KEY
from support.fake_messages import FakeMessages, design
from support.platform import Platform
from support.warehouses import new_warehouse

from backtester import Costs, SignalError, evaluate
from backtester.resampling import aggregate
from backtester.statistics.windows import HOLDOUT_LENGTH, HOLDOUT_NAME, CycleWindows, Window
from blofin_assets.cli.backtest import EXAMPLE
from blofin_assets.cli.loading import loaded
from blofin_assets.drift import inputs, performance
from blofin_assets.drift.assets import drift_rows
from blofin_assets.forward import assets as forward
from blofin_assets.ml_cycle import models, stage
from blofin_assets.ml_cycle import tuning as model_drift
from blofin_assets.ml_cycle.tuning import Answer, answer_drift
from blofin_assets.reporting import Document, ReportData, build_document, collect, render_page, with_not_made
from blofin_assets.reporting.document import NotMade
from blofin_assets.reporting.section import Section
from blofin_assets.reporting.sections import SECTIONS
from blofin_assets.scheduling.runner import CONSOLE
from blofin_assets.shared.cadences import FORWARD, ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.fence import each_alone, one_line
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.vocabulary import DriftAction
from blofin_assets.strategy_cycle import evidence, knowledge
from blofin_assets.strategy_cycle import judges as designing
from blofin_assets.strategy_cycle import population as load_population
from blofin_assets.strategy_cycle.evaluation_set import evaluation_set
from blofin_assets.strategy_cycle.in_sample import _judged, _score_rows, window_name
from blofin_assets.strategy_cycle.library import judged_rows
from blofin_assets.strategy_cycle.llm_designer import design_all
from blofin_assets.strategy_cycle.population import STRATEGIES
from blofin_assets.strategy_cycle.ranking import rank_evaluated
from blofin_assets.strategy_cycle.search_window import validation_market
from blofin_resources.claude import Claude
from blofin_resources.errors import BlofinError, MarketError, WarehouseError
from blofin_resources.market.registry import open_market
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.market import Market
from model_zoo.training.trainer import default_spec
from strategies import registry
from strategies.language.strategy import Strategy
from strategies.llm.prompts import Prompt, design_prompt
from strategies.registry import LIBRARY, library_files, load_library
from strategies.search.panel import Panel
from strategies.search.tuning import Tuned
from strategies.untrusted.compiler import compile_strategy
from strategies.untrusted.sandbox import Limits

pytestmark = pytest.mark.slow

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

FADER = (
    CODE.replace('"follower"', '"fader"')
    .replace("entry=f.close >", "entry=f.close <")
    .replace("exit=f.close <", "exit=f.close >")
)


def overflown(*_: object, **__: object) -> pl.DataFrame:
    return math.exp(1e6)  # type: ignore[return-value]  # never comes back


def unfit(*_: object) -> pl.DataFrame:
    raise SignalError(WHY)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    minutes = open_market("sample", archive=None, api_url="", seed=7).candles(
        SYMBOLS, "1m", END - timedelta(days=12), END
    )
    with new_warehouse(tmp_path_factory.mktemp("store") / "warehouse") as opened:
        with opened.transaction("r") as tx:
            tx.append("market.candles_1m", minutes)
            tx.append("market.candles_5m", aggregate(minutes, "5m"))
        yield opened


@pytest.fixture(scope="module")
def panel(store: Warehouse) -> Panel:
    return Panel.read(feature_manager(store, END), SYMBOLS, WINDOW, timeframes=("5m",))


def judge_on(panel: Panel, store: Warehouse) -> designing.StrategyJudge:
    """Return the checks of designs on a panel; no name is taken."""

    def market(reader: Strategy) -> Market:
        return validation_market(store, SYMBOLS, END, [reader])

    return designing.StrategyJudge(
        symbols=SYMBOLS, panel=lambda _: panel, market=market, taken={}, seed=0, limits=Limits()
    )


def test_one_that_cannot_be_run_on_the_search_window_does_not_stop_the_others(panel: Panel) -> None:
    good, bad = compile_strategy(CODE), compile_strategy(CODE.replace('"follower"', '"broken"'))
    bad.on_columns = unfit  # type: ignore[method-assign]
    judged, failed = _judged(lambda _: panel, [bad, good])
    assert [(each.strategy.name, window) for each, window in judged] == [("follower", WINDOW)]
    assert failed == {"broken": WHY}
    with pytest.raises(BlofinError, match="no strategy could be run on the search window: signals of BTC-USDT"):
        _judged(lambda _: panel, [bad])
    bad.on_columns = overflown  # type: ignore[method-assign]
    judged, failed = _judged(lambda _: panel, [good, bad])
    assert (len(judged), failed) == (1, {"broken": "OverflowError: math range error"})


def test_one_without_positions_keeps_no_design_from_being_looked_at(panel: Panel) -> None:
    good, bad = compile_strategy(CODE), compile_strategy(CODE.replace('"follower"', '"broken"'))
    bad.on_columns = overflown  # type: ignore[method-assign]
    judge = judge_on(panel, store)
    assert judge.held(good)
    assert judge.held(bad) == {}


@pytest.mark.parametrize(
    "error",
    [OverflowError("x"), ZeroDivisionError("x"), RecursionError("x"), MemoryError("x"), pl.exceptions.ComputeError("x"),
     AttributeError("x"), ValueError("x")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_one_thing_does_the_others_are_done(error: Exception) -> None:
    def work(thing: int) -> int:
        if thing == 1:
            raise error
        return 10 * thing

    found = each_alone([0, 1, 2], work)
    assert found.done == [(0, 0), (2, 20)]
    assert found.failed == [(1, "x" if type(error) is ValueError else f"{type(error).__name__}: x")]


@pytest.mark.parametrize(
    "error",
    [MarketError("x"), WarehouseError("x"), OSError(28, "no space"), duckdb.IOException("x"), KeyboardInterrupt(),
     dg.Failure("x"), dg.RetryRequested(), dg.DagsterInvariantViolationError("x")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_is_of_all_stops_all(error: BaseException) -> None:
    def work(_: int) -> int:
        raise error

    with pytest.raises(type(error)):
        each_alone([0], work)


def test_a_reason_is_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(KeyError("a")) == "KeyError: 'a'"


def test_one_that_cannot_be_judged_is_refused_alone(store: Warehouse) -> None:
    good, bad = compile_strategy(CODE), compile_strategy(CODE.replace('"follower"', '"broken"'))
    bad.signals = overflown  # type: ignore[method-assign]
    data = validation_market(store, SYMBOLS, END, [good])
    rows = judged_rows([bad, good], data, END, 7)
    assert set(rows.select("name", "event", "reason").iter_rows()) == {
        ("broken", "refused", "it cannot be validated: OverflowError: math range error"),
        ("follower", "validated", ""),
    }


def test_a_design_that_fails_in_its_judging_is_refused_and_the_others_go_on(
    store: Warehouse, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: Callable[..., Tuned] = designing.tune
    seen: list[str] = []

    def failing(given: Panel, strategy: Strategy, **other: Any) -> Tuned:
        seen.append(strategy.name)
        if strategy.name == "follower":
            raise ZeroDivisionError
        return tuned(given, strategy, **other)

    monkeypatch.setattr(designing, "tune", failing)
    judge = judge_on(panel, store)
    with FakeMessages([design(CODE), design(CODE), design(FADER)]) as server:
        client = Claude(
            store, key=SecretStr(KEY), budget_usd=50.0, base_url=server.url, deadline_seconds=20.0, clock=lambda: END
        )

        def prompt(wanted: str) -> Prompt:
            return design_prompt(lessons=[], market=[], known=[], wanted=f"{wanted} At once.", costs=Costs())

        made, _ = design_all(LlmSession(client, END, "run"), judge, prompt, budget=3, seed=1)
    assert seen[:3] == ["follower", "follower", "fader"]
    assert [each.state for each in made[:3]] == ["refused", "refused", "sound"]
    assert made[0].refusal == "ZeroDivisionError"


def test_a_design_that_fails_after_its_judging_leaves_the_others(
    store: Warehouse, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: Callable[[Panel, Strategy], Any] = Panel.positions
    seen: list[str] = []

    def positions(given: Panel, strategy: Strategy) -> Any:
        seen.append(strategy.name)
        if seen.count("fader") == 2:  # for those after it, which must differ from it
            raise ZeroDivisionError
        return held(given, strategy)

    monkeypatch.setattr(Panel, "positions", positions)
    failing(designing, "seen_in_search", lambda best: best.strategy.name == "follower", monkeypatch)
    judge = judge_on(panel, store)
    with FakeMessages([design(CODE), design(FADER)]) as server:
        client = Claude(
            store, key=SecretStr(KEY), budget_usd=50.0, base_url=server.url, deadline_seconds=20.0, clock=lambda: END
        )

        def prompt(wanted: str) -> Prompt:
            return design_prompt(lessons=[], market=[], known=[], wanted=f"{wanted} And now.", costs=Costs())

        made, _ = design_all(LlmSession(client, END, "run"), judge, prompt, budget=3, seed=1)
    assert seen.count("fader") >= 2
    assert [(each.name, each.state) for each in made[:2]] == [(None, "refused"), ("fader", "sound")]
    assert made[0].refusal == "evaluating it failed: OverflowError: seen_in_search"


@pytest.mark.slow
def test_one_that_cannot_be_run_leaves_ledger_and_holdout_to_the_others(
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
    events = "SELECT event, reason FROM research.strategy_lifecycle WHERE name = ? AND event IN ('failed', 'archived')"
    assert set(passed.warehouse.read(events, [name]).iter_rows()) == {
        ("failed", f"SignalError: {WHY}"),
        ("archived", f"SignalError: {WHY}"),
    }


def test_a_design_that_reads_what_there_is_not_is_refused_and_the_others_go_on(store: Warehouse, panel: Panel) -> None:
    foreign = CODE.replace("f.close >", '(f["DOGE-USDT:returns"] > 0) & (f.close >')
    foreign = foreign.replace("self.bars), long_exit", "self.bars)), long_exit")
    modelled = CODE.replace("f.close >", '(f["model:trend"] > 0.5) & (f.close >')
    modelled = modelled.replace("self.bars), long_exit", "self.bars)), long_exit")
    judge = judge_on(panel, store)
    with FakeMessages([design(foreign), design(modelled), design(CODE)]) as server:
        client = Claude(
            store, key=SecretStr(KEY), budget_usd=50.0, base_url=server.url, deadline_seconds=20.0, clock=lambda: END
        )

        def prompt(wanted: str) -> Prompt:
            return design_prompt(lessons=[], market=[], known=[], wanted=wanted, costs=Costs())

        made, _ = design_all(LlmSession(client, END, "run"), judge, prompt, budget=3, seed=1)
    assert [each.state for each in made[:3]] == ["refused", "refused", "sound"]
    assert made[0].refusal == "it reads DOGE-USDT, which is not configured; available: BTC-USDT, SOL-USDT"
    assert str(made[1].refusal).startswith("feature model:trend: no such model; there is model:")


def test_a_parameter_may_have_any_name_that_a_function_has_too() -> None:
    named = compile_strategy(CODE.replace("bars", "origin"), "a row", origin=9)
    assert named.parameters == {"origin": 9}
    assert named.with_parameters(origin=7).parameters == {"origin": 7}


def test_a_challenger_whose_parent_is_gone_takes_the_holdout_without_it(platform: Platform) -> None:
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
    takes = {each.key for each in evaluation_set(store, as_of) if each.source == "tuned"}
    assert takes == {(made.name, made.version)}
    found = rank_evaluated(store, as_of)
    told = dict(found.outcomes.select("name", "reason").iter_rows())
    missing = f"; version {'f' * 12}, from which it was tuned, no longer exists for comparison"
    assert told["follower"] == f"rank 1 on the holdout{missing}"
    assert "is version" in told["vanished"]
    assert found.configs.filter(strategy="follower").select("config_json", "previous_json").row(0) == (
        '{"bars": 9}',
        None,
    )


def test_scores_of_a_short_search_window_outlive_those_of_the_holdout(store: Warehouse, panel: Panel) -> None:
    judged, _ = _judged(lambda _: panel, [compile_strategy(CODE)])
    short = Window(END - timedelta(days=7, hours=8), END)
    searched = _score_rows([scored for scored, _ in judged], END, short)
    with store.transaction("test") as tx:
        tx.replace("research.strategy_scores", searched, as_of=END, window=window_name(short))
        tx.replace(
            "research.strategy_scores",
            searched.with_columns(window=pl.lit(HOLDOUT_NAME)),
            as_of=END,
            window=HOLDOUT_NAME,
        )
    assert set(store.read('SELECT "window" FROM research.strategy_scores')["window"]) == {"search_7d", "holdout"}


def test_a_broken_file_of_the_library_is_left_out_and_named(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ema_crossover", "rsi_reversion"):
        shutil.copy(LIBRARY / f"{name}.py", tmp_path)
    (tmp_path / "broken.py").write_text("x = 1\ny = 1 / 0\n")
    given = {LIBRARY: tmp_path}
    monkeypatch.setattr(registry, "library_files", lambda folder: library_files(given.get(folder, folder)))
    made = platform.defs.resolve_job_def(STRATEGY_CYCLE).execute_in_process(
        instance=platform.instance,
        partition_key="2025-06-01",
        run_config=CONSOLE,
        asset_selection=[dg.AssetKey("strategy_library")],
    )
    assert made.success
    told = made.asset_materializations_for_node("strategy_library")[0].metadata["left_out"].value
    assert told == f"broken: {tmp_path / 'broken.py'}:2: division by zero"
    names = platform.warehouse.read("SELECT name FROM research.strategies ORDER BY name")["name"].to_list()
    assert names == ["ema_crossover", "rsi_reversion"]
    assert [each.strategy.name for each in load_population.load_population(platform.warehouse, END)] == names
    with pytest.raises(BlofinError, match=r"broken cannot be loaded: .*broken\.py:2: division by zero"):
        loaded("broken", EXAMPLE)
    assert loaded("ema_crossover", EXAMPLE).name == "ema_crossover"
    for name in names:
        (tmp_path / f"{name}.py").write_text("")
    with pytest.raises(BlofinError, match=r"no strategy of the library can be loaded: .*holds none; "):
        load_population.loaded_library()


def failing(module: Any, name: str, of: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function of a module overflow where its arguments are those of one thing."""
    real = getattr(module, name)

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if of(*args):
            raise OverflowError(name)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, sometimes)


def test_a_result_without_evidence_leaves_the_others_theirs(store: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [compile_strategy(CODE), compile_strategy(FADER)]
    found = evaluate(both, feature_manager(store, END), SYMBOLS, WINDOW.start, END, timeframes=("5m",))

    def rows() -> tuple[list[str], dict[str, str]]:
        frame, failed = evidence.evidence_rows(found, "strategy", END, trials=2, seed=7)
        return frame["name"].to_list(), {name: why for (name, _), why in failed.items()}

    assert rows() == (["follower", "fader"], {})
    with monkeypatch.context() as patched:
        failing(evidence, "gather", lambda of: of.name == "follower", patched)
        assert rows() == (["fader"], {"follower": "OverflowError: gather"})
    with monkeypatch.context() as patched:
        failing(evidence, "_judged", lambda of, *_: of.name == "fader", patched)
        assert rows() == (["follower"], {"fader": "OverflowError: _judged"})
    failing(evidence, "gather", lambda _: True, monkeypatch)
    with pytest.raises(BlofinError, match="no evidence of any result: OverflowError"):
        rows()


def test_a_drift_test_that_fails_says_so_in_its_row(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    started, kinds = END - timedelta(days=9), {"one": "strategy", "two": "strategy", "three": "model", "four": "model"}
    counted = ("trades", "open_positions", "compared", "data_revisions", "version_changes", "look_ahead")
    runs = [
        {"as_of": END, "kind": kind, "name": name, "version": "v", "activated_at": started, "state": "tracked",
         "days": 9.0, "engine": "e", **dict.fromkeys(counted, 0)}
        for name, kind in kinds.items()
    ]  # fmt: skip
    trained = {
        "id": "1", "model_name": "three", "model_type": "direction", "timestamp": started, "as_of": started,
        "timeframe": "5m", "version": "v", "status": "candidate", "features_used": "returns",
        "train_start": started - timedelta(days=8), "train_end": started - timedelta(days=1),
    }  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.forward_runs", pl.DataFrame(runs).with_columns(pl.col(pl.Datetime).cast(TS)))
        tx.append("ml.ml_model_results", pl.DataFrame([trained]).with_columns(pl.col(pl.Datetime).cast(TS)))
    failing(performance, "_returns", lambda _, run, *__: run[1] == "one", monkeypatch)
    failing(performance, "_predictions", lambda _, run, *__: run[1] == "four", monkeypatch)
    failing(inputs, "_compared", lambda *_: True, monkeypatch)
    asked = [*performance.build_tests(platform.warehouse, END, 7)]
    asked += inputs.build_input_tests(platform.warehouse, SYMBOLS, END, 7)
    rows = drift_rows(asked, END)
    assert set(rows["decision"]) == {"insufficient"}
    told = {(name, metric): why for name, metric, why in rows.select("name", "metric", "reason").iter_rows()}
    assert len(told) == rows.height == 10
    assert {key: why for key, why in told.items() if "failed" in why} == {
        ("one", "net_return"): "it failed: OverflowError: _returns: insufficient: nothing was compared",
        ("four", "accuracy"): "it failed: OverflowError: _predictions: insufficient: nothing was compared",
        ("four", "log_loss"): "it failed: OverflowError: _predictions: insufficient: nothing was compared",
        ("three", "features"): "it failed: OverflowError: _compared: insufficient: nothing was compared",
    }


def test_a_model_that_cannot_be_trained_is_a_row_and_the_others_are_ranked(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_of, key = datetime(2026, 3, 13, tzinfo=UTC), "2026-03-13-00:00"
    names = [asset.key.to_user_string() for asset in models.MODEL_ASSETS]
    rows = [
        {"id": name, "model_name": name, "model_type": name.rpartition("_")[0], "timestamp": as_of, "as_of": as_of,
         "timeframe": name.rpartition("_")[2], "version": "v", "status": "candidate", "score": 10.0 * place,
         "total_trades": 30, "ruined": 0, "accuracy": 0.5, "baseline_accuracy": 0.5, "log_loss": 0.7,
         "baseline_log_loss": 0.7}
        for place, name in enumerate(names)
    ]  # fmt: skip
    curve = [
        {"kind": "model", "name": names[-1], "version": "v", "as_of": as_of, "ts": as_of - timedelta(hours=hours),
         "equity": 1.0}
        for hours in (1, 0)
    ]  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("ml.ml_model_results", pl.DataFrame(rows[1:]).with_columns(pl.col(pl.Datetime).cast(TS)))
        tx.append("research.equity", pl.DataFrame(curve).with_columns(pl.col(pl.Datetime).cast(TS)))
    monkeypatch.setattr(stage, "require_market_data", lambda *_: None)  # the others' rows are there, their bars not
    failing(models, "train_cycle", lambda *args: args[3].name == names[0], monkeypatch)
    made = platform.defs.resolve_job_def(ML_CYCLE).execute_in_process(
        instance=platform.instance,
        partition_key=key,
        run_config=CONSOLE,
        asset_selection=[dg.AssetKey(names[0]), dg.AssetKey("model_ranking")],
    )
    assert made.success
    why = "OverflowError: train_cycle"
    assert made.asset_materializations_for_node(names[0])[0].metadata["failed"].value == why
    stored = "SELECT version, status, reason FROM ml.ml_model_results WHERE model_name = ? AND as_of = ?"
    assert platform.warehouse.read(stored, [names[0], as_of]).rows() == [("", "rejected", why)]
    assert made.asset_materializations_for_node("model_ranking")[0].metadata["rejected"].value == f"{names[0]}: {why}"
    ranked = platform.warehouse.read("SELECT name FROM research.ranking_history ORDER BY rank")["name"].to_list()
    assert ranked == names[:0:-1]


@pytest.fixture(scope="module")
def day(store: Warehouse) -> ReportData:
    return collect(store, END, market="sample", synthetic=True, symbols=SYMBOLS, seed=7)


def shown(page: str) -> dict[str, str]:
    """Return the sections of a page by id, or by label where they have none."""
    return {
        re.findall(r'(?:id|aria-label)="(.*?)"', each)[0]: each
        for each in re.findall(r"(?s)<section.*?</section>", page)
    }


def with_provenance(report: Document) -> Document:
    parts = ("run_id", "snapshot", "seed", "search_budget", "tuning_budget", "made_at")
    return report.model_copy(update={"provenance": dict.fromkeys(parts, 1)})


def unmade(*_: object) -> Any:
    return math.exp(1e6)


@pytest.mark.parametrize("broken", SECTIONS, ids=lambda section: section.name)
def test_a_section_of_the_report_that_fails_leaves_the_others(day: ReportData, broken: Section[Any, Any]) -> None:
    whole = shown(render_page(with_provenance(build_document(day)), day).html)
    failing = tuple(dataclasses.replace(each, build=unmade) if each is broken else each for each in SECTIONS)
    data = dataclasses.replace(day, sections=failing)
    document = build_document(data)
    reason = "OverflowError: math range error"
    assert document.not_made == [NotMade(section=broken.name, reason=reason)]
    assert document.ai_next_steps.split("; ")[0].endswith(f"could not be made: {reason}")
    assert document.stored()["not_made"] == [{"section": broken.name, "reason": reason}]
    page = render_page(with_provenance(document), data)
    parts = shown(page.html)
    assert page.failed == []
    assert f"This section could not be made: {reason}" in parts[broken.name]
    if broken.name != "next":
        assert f"could not be made: {reason}" in parts["next"]
    shared = {"next", "words", "summary", broken.name}
    assert {key: text for key, text in whole.items() if key not in shared} == {
        key: text for key, text in parts.items() if key not in shared
    }


def test_a_section_that_cannot_be_shown_leaves_the_others(day: ReportData) -> None:
    document = with_provenance(build_document(day))
    whole = shown(render_page(document, day).html)
    failing = tuple(dataclasses.replace(each, view=unmade) if each.name == "data" else each for each in SECTIONS)
    page = render_page(document, dataclasses.replace(day, sections=failing))
    parts, reason = shown(page.html), "OverflowError: math range error"
    assert page.failed == [NotMade(section="data", reason=reason)]
    assert f"This section could not be made: {reason}" in parts["data"]
    assert f"could not be made: {reason}" in parts["next"]
    changed = {key for key, text in parts.items() if text != whole[key]}
    assert changed == {"data", "next"}
    after = with_not_made(document, page.failed)
    assert after.not_made == page.failed
    assert after.ai_next_steps.startswith(f"find out why the section data could not be made: {reason}; ")


def test_a_search_for_a_model_that_fails_leaves_the_others(store: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = {each.name: each for each in (default_spec("direction", "5m", 7), default_spec("price", "5m", 7))}
    monkeypatch.setattr(model_drift, "drift_state", lambda *_: "persists")
    monkeypatch.setattr(model_drift, "to_search", lambda *_: list(specs))
    monkeypatch.setattr(model_drift, "_searched", lambda *args: Answer(args[2].name, DriftAction.RETRAINED, "searched"))
    failing(model_drift, "_searched", lambda *args: args[2].name == "direction_5m", monkeypatch)
    told = {each.name: each.reason for each in answer_drift(store, SYMBOLS, specs, END)}
    assert told == {
        "direction_5m": "drift persists, but the search failed: OverflowError: _searched",
        "price_5m": "searched",
    }


def test_a_lesson_that_fails_leaves_the_others(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    proposals = [
        {"name": name, "version": "v", "stage": "design", "designer": "claude", "as_of": END, "slot": slot,
         "state": "refused", "refusal": f"{name} is refused", "attempt": 1, "evaluations": 0, "cost_usd": 0.0}
        for slot, name in enumerate(("follower", "fader"))
    ]  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.proposals", pl.DataFrame(proposals).with_columns(pl.col(pl.Datetime).cast(TS)))
    own = CycleWindows(END, Window(END - HOLDOUT_LENGTH, END), WINDOW, "")

    def learnt() -> list[str]:
        return knowledge.distil(platform.warehouse, END, STRATEGIES, lambda _: own)["strategy"].to_list()

    assert set(learnt()) == {"follower", "fader"}
    failing(knowledge, "_refused", lambda row: row["name"] == "follower", monkeypatch)
    assert learnt() == ["fader"]


@pytest.mark.slow
def test_a_run_that_fails_in_its_ledger_leaves_the_others_theirs(
    passed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = passed.warehouse
    tracked = "SELECT kind, name FROM research.forward_runs WHERE as_of = ? ORDER BY kind, name"
    evaluated_at = datetime(2026, 3, 13, tzinfo=UTC)
    before = store.read(tracked, [evaluated_at]).rows()
    failing(forward, "replayed", lambda run, *_: (run.kind, run.name) == before[0], monkeypatch)
    result = passed.defs.resolve_job_def(FORWARD).execute_in_process(
        instance=passed.instance, partition_key="2026-03-13-00:00", run_config=CONSOLE, raise_on_error=False
    )
    assert result.success
    failed = result.asset_materializations_for_node("forward_ledger")[0].metadata["failed"].value
    assert failed == f"{before[0][0]} {before[0][1]}: OverflowError: replayed"
    assert store.read(tracked, [evaluated_at]).rows() == before[1:]
