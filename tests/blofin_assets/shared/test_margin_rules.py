"""Margin rules are those of the instruments as of a time, wherever a strategy is run, and stay what they were."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from support.platform import AS_OF, Platform

from backtester import MarginRules
from backtester.statistics.windows import Window
from blofin_assets.forward.replays import common_inputs
from blofin_assets.scheduling.runner import CONSOLE
from blofin_assets.shared.cadences import FORWARD, STRATEGY_CYCLE
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.strategy_cycle.search_window import search_panel
from blofin_resources.warehouse import Warehouse
from strategies.untrusted.compiler import compile_strategy

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
T = datetime(2025, 6, 1, tzinfo=UTC)
SYMBOLS = ("A-USDT", "B-USDT", "C-USDT")
GEARED = '''class Geared(Strategy):
    """Follow the last bars with twenty times what one has. Edge: none. Fails: always."""

    name = "geared"
    timeframes = ("5m",)

    def detect(self, f):
        return Signal(long_entry=crossed_above(f.close, mean(f.close, 30)), time_stop=6, leverage=20)
'''


def rules(most: float, rate: float) -> MarginRules:
    return MarginRules(most, ((float("inf"), rate),))


def described(store: Warehouse, *rows: tuple[str, datetime, float | None, float | None]) -> None:
    names = ["symbol", "as_of", "max_leverage", "maintenance_margin_rate"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.lit("test").alias("origin"))
    with store.transaction("test") as tx:
        tx.append("market.instruments", frame)


def test_terms_are_those_in_force_or_else_the_first(platform: Platform) -> None:
    store = platform.warehouse
    assert margin_rules(store, SYMBOLS, T) == {}
    described(store, ("A-USDT", T + DAY, 75.0, 0.01), ("A-USDT", T + 3 * DAY, 20.0, 0.02), ("B-USDT", T, None, None))
    seen = [margin_rules(store, SYMBOLS, T + number * DAY)["A-USDT"] for number in range(5)]
    assert seen == [rules(75.0, 0.01)] * 3 + [rules(20.0, 0.02)] * 2
    assert margin_rules(store, SYMBOLS, T)["B-USDT"] == MarginRules()
    before = store.snapshot_id()
    described(store, ("A-USDT", T + 4 * DAY, 5.0, 0.1))
    assert margin_rules(store, SYMBOLS, T + 4 * DAY)["A-USDT"] == rules(5.0, 0.1)
    assert margin_rules(store, SYMBOLS, T + 4 * DAY, snapshot=before)["A-USDT"] == rules(20.0, 0.02)


@pytest.mark.parametrize(
    ("value", "smallest", "lot", "expected"),
    [(0.001, 2.0, 1.0, 0.002), (10.0, None, 0.5, 5.0), (None, 1.0, 1.0, 0.0), (1.0, None, None, 0.0)],
)
def test_the_smallest_order_is_in_base_units(
    platform: Platform, value: float | None, smallest: float | None, lot: float | None, expected: float
) -> None:
    names = ["symbol", "as_of", "contract_value", "min_size", "lot_size"]
    frame = pl.DataFrame([("A-USDT", T, value, smallest, lot)], schema=names, orient="row")
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.instruments", frame.with_columns(pl.lit("test").alias("origin")))
    assert margin_rules(platform.warehouse, SYMBOLS, T)["A-USDT"].min_quantity == pytest.approx(expected)


@pytest.mark.parametrize(
    ("most", "rate", "expected"),
    [
        (0.0, -0.01, MarginRules()),
        (float("inf"), 1.0, MarginRules()),
        (100.0, 0.02, rules(25.0, 0.02)),
        (None, 0.8, rules(1.0, 0.8)),
        (150.0, None, MarginRules(150.0)),
    ],
)
def test_terms_without_sense_do_not_stop_a_cycle(
    platform: Platform, most: float | None, rate: float | None, expected: MarginRules
) -> None:
    described(platform.warehouse, ("A-USDT", T, most, rate))
    assert margin_rules(platform.warehouse, SYMBOLS, T) == {"A-USDT": expected}


def test_a_run_of_the_ledger_keeps_its_rules_and_a_late_description_is_no_look_ahead(platform: Platform) -> None:
    store = platform.warehouse

    def changed(snapshot: int) -> datetime | None:
        return common_inputs(store, ["A-USDT"], T + DAY).changed(snapshot, T, T + DAY)

    written = store.snapshot_id()
    assert changed(written) is None
    described(store, ("A-USDT", T + 2 * DAY, 75.0, 0.01))
    assert changed(written) == T
    written = store.snapshot_id()
    described(store, ("A-USDT", T + 3 * DAY, 20.0, 0.02))
    assert changed(written) is None


def test_holdout_ledger_and_search_window_go_by_the_instruments(passed: Platform) -> None:
    store, at = passed.warehouse, AS_OF - 2 * DAY
    made = compile_strategy(GEARED)
    key = {"name": made.name, "version": made.version}
    row = {**key, "source": "designed", "author": "claude", "code": GEARED, "parameters": "{}", "created_at": at}
    with store.transaction("test") as tx:
        tx.append("research.strategies", pl.DataFrame([row]))
        tx.append(
            "research.strategy_lifecycle",
            pl.DataFrame([{**key, "event": each, "begins_at": at} for each in ("validated", "active")]),
        )
    described(store, ("BTC-USDT", at, 2.0, 0.01))
    for job, on in ((FORWARD, "2026-03-13-00:00"), (STRATEGY_CYCLE, "2026-03-12")):
        result = passed.defs.resolve_job_def(job).execute_in_process(
            instance=passed.instance, partition_key=on, run_config=CONSOLE, raise_on_error=False,
            asset_selection=[dg.AssetKey("strategy_backtests")] if job == STRATEGY_CYCLE else None,
        )  # fmt: skip
        assert result.success, job
    lanes = store.read(
        "SELECT symbol, turnover / (2 * total_trades) AS times FROM research.strategy_backtest_results "
        "WHERE strategy_name = 'geared' AND timeframe = '5m' ORDER BY symbol"
    )
    lived = store.read(
        "SELECT symbol, max(quantity * entry_price) / 10000 AS times FROM research.forward_entries "
        "WHERE name = 'geared' GROUP BY symbol ORDER BY symbol"
    )
    # On the holdout relative to the largest, 20; the ledger has no holdout before it: what is asked for counts as is.
    for found, times in ((lanes, [0.1, 1.0]), (lived, [2.0, 20.0])):
        assert found["symbol"].to_list() == ["BTC-USDT", "ETH-USDT"]
        assert found["times"].to_list() == pytest.approx(times, rel=0.02)
    window = Window(AS_OF - 5 * DAY, at)
    assert search_panel(store, ["BTC-USDT"], window, "run").rules == {"BTC-USDT": rules(2.0, 0.01)}
