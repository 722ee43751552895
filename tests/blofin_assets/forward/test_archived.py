"""What was archived is followed: its days are those of a replay from activation, and it ends where evidence says so."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support.platform import AS_OF, Platform

from backtester import aggregate
from blofin_assets.drift.performance import runs_of
from blofin_assets.forward.assets import added
from blofin_assets.forward.replays import common_inputs, replayed, stamped
from blofin_assets.forward.tracked import FOLLOWED, GRACE, ActivePeriod, TrackedRun, active_periods, tracked_runs
from blofin_assets.forward.written import read_written
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.population import load_population
from features.bars import TS
from strategies.language.strategy import Strategy

DAY = timedelta(days=1)
BEGIN = AS_OF - 8 * DAY
ARCHIVED = BEGIN + DAY
END = BEGIN + 7 * DAY


def keep(platform: Platform, strategy: Strategy, event: str, at: datetime) -> None:
    row = {"name": strategy.name, "version": strategy.version, "event": event, "begins_at": at}
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.strategy_lifecycle", pl.DataFrame([row]).with_columns(pl.col("begins_at").cast(TS)))


def evidence(platform: Platform, strategy: Strategy, night: datetime, capital: float) -> None:
    """Write a night's row of a record that began at `BEGIN`."""
    numbers = dict.fromkeys(("deviation", "loss_bound", "gain_bound", "expected", "weight", "stake"), 1.0)
    row = {
        "kind": "strategy", "name": strategy.name, "version": strategy.version, "activated_at": BEGIN,
        "day": night - DAY, "net_return": 0.0, **numbers, "capital": capital, "capital_worse": 1.0, "broken": False,
        "confirmed": False, "as_of": night, "snapshot_id": 1,
    }  # fmt: skip
    times = pl.col("activated_at", "day", "as_of").cast(TS)
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.evidence_daily", pl.DataFrame([row]).with_columns(times))


def put_market(platform: Platform) -> None:
    """Store random walks of two symbols, by minutes."""
    begin, count = BEGIN - 4 * DAY, (END - BEGIN + 4 * DAY) // timedelta(minutes=1)
    rng = np.random.default_rng(11)
    frames = []
    for symbol in platform.settings.symbols:
        close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 6e-4, count)))
        opened = np.concatenate([[100.0], close[:-1]])
        wide = 1.0 + np.abs(rng.normal(0.0, 3e-4, count))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": symbol, "ts": pl.datetime_range(begin, interval="1m", end=END, closed="left", eager=True),
                    "open": opened, "high": np.maximum(opened, close) * wide, "low": np.minimum(opened, close) / wide,
                    "close": close, "volume": 1.0, "quote_volume": close, "contracts": 1.0,
                }
            ).with_columns(pl.col("ts").cast(TS), flag=pl.lit(None, pl.String))
        )  # fmt: skip
    minutes = pl.concat(frames).with_columns(minutes=pl.lit(1, pl.Int32), origin=pl.lit("test"))
    with platform.warehouse.transaction("test") as tx:
        for timeframe in ("1m", "5m", "60m"):
            bars = minutes if timeframe == "1m" else aggregate(minutes, timeframe, END)
            there = platform.warehouse.read(f"SELECT * EXCLUDE (run_id) FROM market.candles_{timeframe} LIMIT 0")
            tx.append(
                f"market.candles_{timeframe}", bars.select(name for name in there.columns if name in bars.columns)
            )


def follow(platform: Platform, *keys: datetime) -> None:
    """Write keys of the ledger, as its asset does."""
    store = platform.warehouse
    for key in keys:
        parts = added(store, platform.settings.warehouse / "models", platform.settings.symbols, key).parts
        stamp = {"as_of": key, "snapshot_id": 1}
        runs = pl.DataFrame([part.row | stamp for part in parts], schema_overrides={"detail": pl.String})
        with store.transaction("test") as tx:
            for table, part in (("entries", "entries"), ("trades", "trades"), ("equity", "hours")):
                rows = [getattr(each, part) for each in parts if getattr(each, part).height]
                if rows:
                    tx.append(f"research.forward_{table}", stamped(pl.concat(rows), stamp))
            if parts:
                times = pl.col("activated_at", "ends_at", "as_of").cast(TS)
                tx.replace("research.forward_runs", runs.with_columns(times), as_of=key)


def hours(platform: Platform, name: str) -> pl.DataFrame:
    return platform.warehouse.read(
        "SELECT ts, net_return FROM research.forward_equity WHERE name = ? ORDER BY ts", [name]
    )


@pytest.mark.slow
def test_archived_strategies_are_followed_as_in_a_replay_from_activation(platform: Platform) -> None:
    put_market(platform)
    store = platform.warehouse
    chosen = [record.strategy for record in load_population(store, AS_OF)][:8]
    for strategy in chosen:
        keep(platform, strategy, "active", BEGIN)
        keep(platform, strategy, "archived", ARCHIVED)
        evidence(platform, strategy, BEGIN + DAY, 1.0)
    hopeless, unknown = chosen[0], chosen[1]
    evidence(platform, hopeless, BEGIN + 4 * DAY, 0.01)
    with store.transaction("test") as tx:
        kept = store.read("SELECT * EXCLUDE (run_id) FROM research.evidence_daily WHERE name <> ?", [unknown.name])
        tx.replace("research.evidence_daily", kept.filter(pl.col("as_of") == BEGIN + DAY), as_of=BEGIN + DAY)
    keys = [BEGIN + n * timedelta(hours=12) for n in (1, 2, 4, 6, 7, 8, 12, 13, 14)]
    follow(platform, *keys)
    before = store.read("SELECT * EXCLUDE (run_id, snapshot_id) FROM research.forward_equity ORDER BY ALL")
    follow(platform, keys[3], keys[-1])
    again = store.read("SELECT * EXCLUDE (run_id, snapshot_id) FROM research.forward_equity ORDER BY ALL")
    assert before.equals(again), "a key that is made again adds nothing"

    assert hours(platform, hopeless.name)["ts"].max() == BEGIN + 4 * DAY
    assert hours(platform, unknown.name)["ts"].max() == ARCHIVED + GRACE, "without evidence there is nothing to follow"
    common = common_inputs(store, platform.settings.symbols, END)
    traded = 0
    for strategy in chosen[2:]:
        run = TrackedRun(
            Kind.STRATEGY, strategy.name, strategy.version, ActivePeriod(BEGIN, END + DAY, ARCHIVED), strategy
        )
        none = read_written(store, [])
        whole = replayed(run, common, none, END)
        found = hours(platform, strategy.name)
        assert found["ts"].to_list() == whole.hours["ts"].to_list()
        assert found["net_return"].to_list() == pytest.approx(whole.hours["net_return"].to_list(), abs=1e-9)
        stored = store.read(
            "SELECT symbol, timeframe, entry_ts, exit_ts, exit_reason FROM research.forward_trades WHERE name = ? "
            "ORDER BY ALL",
            [strategy.name],
        )
        assert stored.rows() == whole.trades.select(stored.columns).sort(stored.columns).rows()
        traded += stored.height
        (row,) = store.read(
            "SELECT trades, open_positions, archived, ends_at FROM research.forward_runs "
            "WHERE name = ? AND as_of = ?", [strategy.name, END]
        ).iter_rows()  # fmt: skip
        assert row == (whole.row["trades"], whole.row["open_positions"], True, BEGIN + FOLLOWED)
    assert traded > 20
    noon = store.read("SELECT 1 FROM research.forward_runs WHERE as_of = ?", [keys[-2]])
    assert noon.is_empty(), "once a day is enough for days"
    assert runs_of(store, END) == [], "what was archived takes no part in drift tests"


def test_a_record_goes_on_where_something_is_activated_while_it_is_followed(platform: Platform) -> None:
    strategy = load_population(platform.warehouse, AS_OF)[0].strategy
    turns = [("active", 0), ("archived", 2), ("active", 10), ("archived", 12)]
    for event, day in turns:
        keep(platform, strategy, event, BEGIN + day * DAY)

    def periods(day: int) -> list[ActivePeriod]:
        found = tracked_runs(platform.warehouse, platform.settings.warehouse, BEGIN + day * DAY, None)
        return [run.period for run in found]

    alone = [ActivePeriod(BEGIN, BEGIN + 4 * DAY, BEGIN + 2 * DAY), ActivePeriod(BEGIN + 10 * DAY, None)]
    assert periods(11) == alone[1:], "without evidence it began anew; the first has ended and has no day to come"
    evidence(platform, strategy, BEGIN + DAY, 1.0)
    assert periods(5) == [ActivePeriod(BEGIN, BEGIN + FOLLOWED, BEGIN + 2 * DAY)]
    assert periods(11) == [ActivePeriod(BEGIN, None)]
    assert periods(13) == [ActivePeriod(BEGIN, BEGIN + FOLLOWED, BEGIN + 12 * DAY)]
    evidence(platform, strategy, BEGIN + 6 * DAY, 0.04)
    assert periods(6) == [ActivePeriod(BEGIN, BEGIN + FOLLOWED, BEGIN + 2 * DAY)], "not yet known at that key"
    assert periods(7) == []
    assert [period.start for period in periods(11)] == [BEGIN + 10 * DAY]


def test_a_refused_version_is_not_followed_and_a_stored_run_continues_no_other() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    turns = [(start, True), (start + DAY, False), (start + 9 * DAY, True)]
    long = active_periods(turns, lambda begin, _: begin + FOLLOWED)
    assert long == [ActivePeriod(start, None)]
    told = active_periods(turns, lambda begin, _: begin + FOLLOWED, {start, start + 9 * DAY})
    assert told == [ActivePeriod(start, start + 9 * DAY, start + DAY), ActivePeriod(start + 9 * DAY, None)]
