"""What cannot be traded on is refused before the first bar, with the row and the value."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from lane_cases import START, frame_of, funding_of, stamps
from reference import Bar

from backtester import BarError, Bars, Costs, MarginRules, SignalError, Signals

MINUTE = 60_000_000


def candles(count: int = 5) -> pl.DataFrame:
    return frame_of([Bar(START + k * MINUTE, 100.0, 101.0, 99.0, 100.5) for k in range(count)])


def change(name: str, row: int, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def changed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
        )

    return changed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("close", 3, float("nan")), r"row 3 \(2025-06-01 00:03:00.*\) has close nan"),
        (change("open", 2, None), r"row 2 .* has open None"),
        (change("low", 1, 0.0), r"row 1 .* has low 0\.0"),
        (change("high", 1, -1.0), r"row 1 .* has high -1\.0"),
        (change("high", 4, float("inf")), r"row 4 .* has high inf"),
        (change("high", 2, 100.2), r"row 2 .* has high 100\.2, which does not hold"),
        (change("low", 2, 100.2), r"row 2 .* has low 100\.2, which does not hold"),
        (lambda f: f.reverse(), r"row 1 .* a time before that of the row above"),
        (lambda f: pl.concat([f[:2], f[1:]]), r"row 2 .* the same time as the row above it: 2025-06-01 00:01"),
        (lambda f: f.with_columns(pl.col("ts") + pl.duration(seconds=pl.int_range(pl.len()))), "no multiple of 1m"),
        (lambda f: f.drop("low"), "no column low"),
        (lambda f: f.with_columns(symbol=pl.Series(["A", "A", "B", "B", "B"])), "candles of 2 symbols"),
    ],
)
def test_bad_bars_are_refused(spoil: Callable[[pl.DataFrame], pl.DataFrame], message: str) -> None:
    with pytest.raises(BarError, match=message):
        Bars.from_frame(spoil(candles()), "1m")


def test_a_flagged_bar_may_be_odd_but_not_without_a_price() -> None:
    flagged = change("flag", 2, "repaired")(candles())
    bars = Bars.from_frame(change("high", 2, 100.2)(flagged), "1m")
    assert (bars.state & 1).tolist() == [1, 1, 0, 1, 1]
    with pytest.raises(BarError, match="row 2"):
        Bars.from_frame(change("high", 2, float("nan"))(flagged), "1m")


def test_bars_outside_the_window_and_other_symbols_are_refused() -> None:
    start = datetime(2025, 6, 1, 0, 1, tzinfo=UTC)
    with pytest.raises(BarError, match=r"row 0 .* is outside the window"):
        Bars.from_frame(candles(), "1m", start=start)
    with pytest.raises(BarError, match=r"row 4 .* is outside the window"):
        Bars.from_frame(candles(), "1m", end=start + timedelta(minutes=3))
    with pytest.raises(BarError, match="candles are of T-USDT, not of X"):
        Bars.from_frame(candles(), "1m", symbol="X")
    with pytest.raises(ValueError, match="has no time zone"):
        Bars.from_frame(candles(), "1m", start=start.replace(tzinfo=None))


def test_bad_funding_is_refused() -> None:
    with pytest.raises(BarError, match=r"funding: row 1 .* has rate nan"):
        Bars.from_frame(candles(), "1m", funding=funding_of([(START, 0.1), (START + 1, float("nan"))]))
    with pytest.raises(BarError, match=r"funding: row 1 .* has rate -0.11; pass a fraction .* between -0.1 and 0.1"):
        Bars.from_frame(candles(), "1m", funding=funding_of([(START, 0.1), (START + MINUTE, -0.11)]))
    with pytest.raises(BarError, match="funding: row 1 has a time before that of the row above it"):
        Bars.from_frame(candles(), "1m", funding=funding_of([(START + MINUTE, 0.1), (START, 0.1)]))
    for late in (0, 3_000):
        twice = funding_of([(START, 0.1), (START + late, 0.1)])
        with pytest.raises(BarError, match="funding: row 1 has the time of the row above it"):
            Bars.from_frame(candles(), "1m", funding=twice)


def signals(**columns: object) -> pl.DataFrame:
    base = {"ts": candles()["ts"], "long_entry": [False, True, False, False, False]}
    return pl.DataFrame({**base, **columns})


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (signals()[:4], "4 rows for 5 bars"),
        (signals().with_columns(pl.col("ts") + pl.duration(minutes=1)), "row 0 has ts 2025-06-01 00:01"),
        (signals().drop("ts"), "no column ts"),
        (signals().drop("long_entry"), "neither long_entry nor short_entry"),
        (signals(stops=0.1), "unknown column stops"),
        (signals(long_exit=1.0), "long_exit is Float64, not Boolean"),
        (signals(stop="a"), "stop is String, not a number"),
        (signals(stop=0.0), r"row 1 \(2025-06-01 00:01:00.*\) has stop 0; give a fraction"),
        (signals(stop=-0.01), r"row 1 .* has stop -0\.01"),
        (signals(target=float("nan")), "row 1 .* has target NaN"),
        (signals(trail=float("inf")), "row 1 .* has trail NaN"),
        (signals(time_stop=0), "row 1 .* has time_stop 0; give whole bars"),
        (signals(time_stop=1.5), r"row 1 .* has time_stop 1\.5"),
        (signals(size=1.2), r"row 1 .* has size 1\.2; give a fraction of equity"),
        (signals(leverage=0.5), r"row 1 .* has leverage 0\.5; give 1 or more"),
        (signals(leverage=-2.0), "row 1 .* has leverage -2; give 1 or more"),
        (signals(leverage=float("nan")), "row 1 .* has leverage inf; give 1 or more"),
        (signals(leverage=20.0), "row 1 .* has leverage 20; give below 1 / maintenance rate, 16.6667"),
    ],
)
def test_bad_signals_are_refused(frame: pl.DataFrame, message: str) -> None:
    rules = MarginRules(20.0, ((1e4, 0.01), (1e6, 0.06)))
    with pytest.raises(SignalError, match=message):
        Signals.from_frame(frame, Bars.from_frame(candles(), "1m"), rules)


def test_leverage_above_what_the_instrument_allows_is_cut_to_it() -> None:
    bars = Bars.from_frame(candles(), "1m")
    given = Signals.from_frame(signals(leverage=[1.0, 62.5, None, 3.0, 1e9]), bars, MarginRules(20.0))
    assert given.parameters["leverage"].tolist() == [1.0, 20.0, 1.0, 3.0, 20.0]
    one = Signals.from_arrays(given.bits, bars, leverage=75.0)
    assert one.parameters["leverage"].tolist() == [50.0]


def test_parameters_matter_only_where_an_entry_reads_them() -> None:
    bars = Bars.from_frame(candles(), "1m")
    ok = Signals.from_frame(signals(stop=[0.0, 0.01, float("nan"), None, -1.0]), bars)
    assert ok.parameters["stop"][1] == 0.01
    assert ok.entries == 1


def test_null_signals_are_false_and_null_parameters_none() -> None:
    bars = Bars.from_frame(candles(), "1m")
    frame = pl.DataFrame(
        {
            "ts": candles()["ts"],
            "long_entry": [None, True, None, None, None],
            "stop": [None] * 5,
            "size": pl.Series([None] * 5, dtype=pl.Float64),
        }
    )
    made = Signals.from_frame(frame, bars)
    assert made.bits.tolist() == [0, 1, 0, 0, 0]
    assert made.parameters == {}


def test_arrays_of_another_length_are_refused() -> None:
    bars = Bars.from_frame(candles(), "1m")
    with pytest.raises(SignalError, match="3 rows for 5 bars"):
        Signals.from_arrays(np.zeros(3, dtype=np.uint8), bars)
    with pytest.raises(SignalError, match="stop has 2 rows for 5 bars"):
        Signals.from_arrays(np.zeros(5, dtype=np.uint8), bars, stop=np.ones(2))
    with pytest.raises(SignalError, match="every row has stop -1"):
        Signals.from_arrays(np.zeros(5, dtype=np.uint8), bars, stop=-1.0)
    with pytest.raises(SignalError, match="unknown parameter stopp"):
        Signals.from_arrays(np.zeros(5, dtype=np.uint8), bars, stopp=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Costs(taker_fee=-0.1), "taker_fee is -0.1"),
        (lambda: Costs(slippage=float("nan")), "slippage is nan"),
        (lambda: Costs(maker_fee=1.0), "maker_fee is 1.0"),
        (lambda: MarginRules(0.5), "max_leverage is 0.5"),
        (lambda: MarginRules(5.0, ()), "empty or do not ascend"),
        (lambda: MarginRules(5.0, ((2.0, 0.1), (1.0, 0.1))), "do not ascend"),
        (lambda: MarginRules(5.0, ((2.0, 1.0),)), "maintenance tier"),
    ],
)
def test_bad_costs_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_rebates_are_allowed_and_targets_are_takers_unless_asked() -> None:
    assert Costs(maker_fee=-0.0001).target_fee == 0.0006
    assert Costs(maker_fee=-0.0001, maker_targets=True).target_fee == -0.0001


def test_milliseconds_are_times_too() -> None:
    bars = Bars.from_frame(candles().with_columns(pl.col("ts").dt.cast_time_unit("ms")), "1m")
    assert bars.ts[1] == START + MINUTE
    assert stamps([START])[0] == datetime(2025, 6, 1, tzinfo=UTC)
