"""The forward ledger's arithmetic: whatever the keys, each row once; whatever changed, noted and explained."""

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toy import START, SYMBOLS, ToyManager, toy_source

from backtester import evaluate, forward_ledger
from backtester.forward_ledger import (
    ENTRY_COLUMNS,
    KEY,
    TRADE_COLUMNS,
    Advance,
    Difference,
    Ledger,
    Replay,
    advance,
    attribute,
    replay_of,
)
from features.bars import FrameSource, Timeframe, bar_length

DAYS = 2
HALF_HOUR = timedelta(minutes=30)
STEPS = DAYS * 48


class Restless:
    """Goes in and out by the clock and the last close, often, on two timeframes; `peek` bars of look-ahead."""

    name = "restless"
    version = "1"
    timeframes: tuple[Timeframe, ...] = ("5m", "60m")
    lookback = 0

    def __init__(self, peek: int = 0) -> None:
        self.peek = peek

    def features(self, timeframe: Timeframe) -> list[str]:
        del timeframe
        return []

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        seen = pl.col("close").shift(-self.peek) / pl.col("open")
        return frame.select(
            "symbol",
            "ts",
            (seen > 1.0006).fill_null(value=False).alias("long_entry"),
            (seen < 0.9994).fill_null(value=False).alias("short_entry"),
            pl.lit(0.004).alias("stop"),
            pl.lit(9, pl.Int32).alias("time_stop"),
        )


@cache
def replay(steps: int, peek: int = 0) -> Replay:
    return replay_on(toy_source(DAYS), steps, peek)


def replay_on(source: FrameSource, steps: int, peek: int = 0) -> Replay:
    end = START + steps * HALF_HOUR
    found = evaluate([Restless(peek)], ToyManager(source), SYMBOLS, START, end, timeframes=("5m", "60m"))[0]
    assert found.pooled is not None
    return replay_of(found.trades, found.pooled)


def empty() -> Ledger:
    blank = replay(2)
    stamp = pl.lit(START).alias("as_of")
    return Ledger(blank.entries.clear().with_columns(stamp), blank.trades.clear().with_columns(stamp), None)


def written(ledger: Ledger, made: Advance, key: datetime) -> Ledger:
    stamp = pl.lit(key).alias("as_of").cast(ledger.entries.schema["as_of"])
    return Ledger(
        pl.concat([ledger.entries, made.entries.with_columns(stamp)]),
        pl.concat([ledger.trades, made.trades.with_columns(stamp)]),
        key if ledger.horizon is None else max(key, ledger.horizon),
    )


def tracked(steps: Sequence[int], peek: int = 0) -> tuple[Ledger, list[Advance]]:
    ledger, made = empty(), []
    for step in steps:
        made.append(advance(ledger, replay(step, peek), START + step * HALF_HOUR))
        ledger = written(ledger, made[-1], START + step * HALF_HOUR)
    return ledger, made


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.integers(2, STEPS), min_size=1, max_size=8))
@example([2, STEPS])
@example([STEPS, 30, STEPS, 31])
def test_any_keys_in_any_order_give_each_row_once_and_together_what_one_replay_gives(steps: list[int]) -> None:
    """Each row written once; keys that come late or again add nothing that is there, and lose nothing."""
    ledger, made = tracked([*steps, STEPS])
    whole = replay(STEPS)
    assert ledger.entries.select(ENTRY_COLUMNS).sort("symbol", "timeframe", "entry_ts").equals(whole.entries)
    assert ledger.trades.select(TRADE_COLUMNS).sort("symbol", "timeframe", "entry_ts").equals(whole.trades)
    assert pl.concat([each.returns for each in made]).sort("ts").equals(whole.returns)
    assert all(each.differences.is_empty() for each in made)
    assert whole.trades.height > 50


def test_an_open_position_is_carried_over_and_written_when_it_closes() -> None:
    ledger, made = tracked([40, STEPS])
    open_then = made[0].entries.join(made[0].trades, on=["symbol", "timeframe", "entry_ts"], how="anti")
    assert open_then.height > 0
    closed_later = made[1].trades.join(open_then, on=["symbol", "timeframe", "entry_ts"], how="semi")
    assert closed_later.height == open_then.height
    assert (closed_later["entry_ts"] < START + 40 * HALF_HOUR).all()
    assert ledger.entries.height >= ledger.trades.height


def test_what_reads_the_future_is_found_and_called_look_ahead() -> None:
    _, made = tracked([40, STEPS], peek=3)
    found = attribute(made[1].differences, lambda _: None, lambda _: False)
    assert found.height > 0
    assert set(found["attribution"]) == {"look-ahead"}
    assert "only in replay" in set(found["difference"])


def revised() -> FrameSource:
    """The same market with one hour of one symbol revised on the first day."""
    source = toy_source(DAYS)
    hour = (pl.col("symbol") == SYMBOLS[0]) & pl.col("ts").is_between(
        START + timedelta(hours=5), START + timedelta(hours=6), closed="left"
    )
    frames = {
        timeframe: source.candles(SYMBOLS, timeframe, None, START + timedelta(days=DAYS)).with_columns(
            pl.when(hour).then(pl.col(name) * 1.002).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        )
        for timeframe in ("1m", "5m", "60m")
    }
    return FrameSource(frames, source.funding(SYMBOLS, None, START + timedelta(days=DAYS)))


def test_a_revision_is_noted_and_rewrites_nothing() -> None:
    ledger, _ = tracked([40])
    made = advance(ledger, replay_on(revised(), STEPS), START + STEPS * HALF_HOUR)
    after = written(ledger, made, START + STEPS * HALF_HOUR)
    assert after.trades.head(ledger.trades.height).equals(ledger.trades)
    assert after.entries.select("symbol", "timeframe", "entry_ts").is_duplicated().sum() == 0
    assert (made.entries["entry_ts"] >= START + 40 * HALF_HOUR - timedelta(hours=1)).all()
    when = START + timedelta(hours=5)
    found = attribute(made.differences, lambda _: when, lambda _: True)
    assert found.height > 0
    assert set(found["attribution"]) == {"data revision"}
    other = attribute(made.differences, lambda _: START + timedelta(days=9), lambda _: True)
    assert set(other["attribution"]) == {"version change"}


def test_what_never_happened_stays_explained_when_later_keys_know_of_nothing_new() -> None:
    """The key after a revision compares with the key before it; the next ones find no change since, and no riddle."""
    ledger, _ = tracked([40])
    otherwise = replay(STEPS, peek=3)  # stands for what is found once data were revised
    end, when = START + STEPS * HALF_HOUR, START + timedelta(minutes=5)
    first = advance(ledger, otherwise, end)
    found = attribute(first.differences, lambda _: when, lambda _: False).filter(
        pl.col("difference") == Difference.ONLY_IN_REPLAY
    )
    assert found.height > 0
    again = advance(written(ledger, first, end), otherwise, end)
    noted = {tuple(row[:4]): row[4:] for row in found.select(*KEY, "item", "attribution", "reason").rows()}

    def since(written_at: datetime | None) -> datetime | None:
        return None if written_at is None else when

    assert set(attribute(again.differences, since, lambda _: False, noted)["attribution"]) == {"data revision"}
    assert "look-ahead" in set(attribute(again.differences, since, lambda _: False)["attribution"])


def test_a_symbol_that_was_not_tracked_is_no_look_ahead() -> None:
    ledger, _ = tracked([40])
    alone = Ledger(
        ledger.entries.filter(pl.col("symbol") != SYMBOLS[0]),
        ledger.trades.filter(pl.col("symbol") != SYMBOLS[0]),
        ledger.horizon,
    )
    made = advance(alone, replay(STEPS), START + STEPS * HALF_HOUR)
    found = attribute(made.differences, lambda _: None, lambda _: False, joined=[SYMBOLS[0]])
    assert found.height > 0
    assert set(found["attribution"]) == {"version change"}
    assert set(attribute(made.differences, lambda _: None, lambda _: False)["attribution"]) == {"look-ahead"}


def test_a_trade_whose_entry_did_not_happen_is_not_written() -> None:
    """Hindsight enters on revised data; what it did before the horizon was never lived, so neither is its exit."""
    ledger, _ = tracked([12])
    made = advance(ledger, replay_on(revised(), STEPS), START + STEPS * HALF_HOUR)
    lived = pl.concat(
        [
            ledger.entries.select("symbol", "timeframe", "entry_ts"),
            made.entries.select("symbol", "timeframe", "entry_ts"),
        ]
    )
    assert made.trades.join(lived, on=["symbol", "timeframe", "entry_ts"], how="anti").is_empty()


OVER = START + 26 * timedelta(hours=1) + timedelta(minutes=20)
"""When A-USDT is traded for the last time, in tests of its end."""


@cache
def ended_replay(steps: int, *, noticed: bool) -> Replay:
    plain, end = toy_source(DAYS), START + steps * HALF_HOUR

    def cut(timeframe: Timeframe) -> pl.DataFrame:
        candles = plain.candles(SYMBOLS, timeframe, None, START + timedelta(days=DAYS))
        return candles.filter((pl.col("symbol") != "A-USDT") | (pl.col("ts") + bar_length(timeframe) <= OVER))

    source = FrameSource({t: cut(t) for t in ("1m", "5m", "60m")}, plain.funding(SYMBOLS, None, end))
    found = evaluate([Patient()], ToyManager(source), SYMBOLS, START, end, timeframes=("5m", "60m"))[0]
    assert found.pooled is not None
    return replay_of(found.trades, found.pooled, ["A-USDT"] if noticed and end >= OVER else [])


class Patient(Restless):
    """Enters and stays."""

    name = "patient"

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "ts", (pl.col("ts").dt.hour() >= 2).alias("long_entry"))


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.integers(6, STEPS), max_size=5), st.integers(54, STEPS))
@example([53], 70)
@example([54, 56], 57)
def test_a_position_of_a_delisted_symbol_is_closed_by_its_last_bar_once(keys: list[int], noticed: int) -> None:
    """Also where the end is noticed only after keys that had seen the last bar; costs are those of a close there."""
    ledger = empty()
    for step in sorted({*keys, noticed, STEPS}):
        made = advance(ledger, ended_replay(step, noticed=step >= noticed), START + step * HALF_HOUR)
        assert made.differences.is_empty()
        ledger = written(ledger, made, START + step * HALF_HOUR)
    assert ledger.entries.group_by("symbol").len().sort("symbol").rows() == [("A-USDT", 2), ("B-USDT", 2)]
    closed = ledger.trades.sort("timeframe")
    assert closed.select("symbol", "timeframe", "exit_reason").rows() == [
        ("A-USDT", "5m", "delisted"), ("A-USDT", "60m", "delisted"),
    ]  # fmt: skip
    assert closed["exit_ts"].to_list() == [OVER, OVER.replace(minute=0)]
    sold = closed["quantity"] * closed["exit_price"]
    bought = closed["quantity"] * closed["entry_price"]
    assert (closed["fees"] - 0.0006 * (sold + bought)).abs().max() < 1e-9
    assert (closed["as_of"] == START + noticed * HALF_HOUR).all()


def test_the_ledger_says_which_hours_had_bars() -> None:
    gap = (START + timedelta(hours=10), START + timedelta(hours=14))
    returns = replay_on(toy_source(DAYS, gap=gap), STEPS).returns
    empty_hours = returns.filter(pl.col("with_bars").not_())
    assert empty_hours["ts"].to_list() == [START + timedelta(hours=hour) for hour in (11, 12, 13, 14)]
    assert returns["with_bars"].null_count() == 0


def test_the_engine_is_what_turns_signals_into_results_and_whatever_that_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = forward_ledger.engine_sources()
    assert {
        "backtester.evaluation.evaluate", "backtester.evaluation.pooling", "backtester.simulation.kernel",
        "backtester.simulation.lanes", "backtester.statistics.metrics",
    } <= set(sources)  # fmt: skip
    assert not any(name.endswith(("forward_ledger", "page", "overfitting")) for name in sources)
    version = forward_ledger.engine_version.__wrapped__
    before = version()
    package = tmp_path / "backtester"
    shutil.copytree(Path(forward_ledger.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(forward_ledger, "_PACKAGE", package)
    assert version() == before
    for module, changes in (("page.py", False), ("statistics/metrics.py", True)):
        with (package / module).open("a", encoding="utf-8") as file:
            file.write("\n# another line\n")
        assert (version() != before) == changes
