"""From arrays to arrays: the same values as from frames, and clear refusals."""

import numpy as np
import polars as pl
import pytest

from features import STANDARD_SET, compute, compute_arrays, standard_registry
from features.bars import CANDLE_SCHEMA
from features.market import SYMBOLS, example_market

BY_TIME = {
    "vwap",
    "vwap_distance",
    "hour_of_day",
    "minute_of_hour",
    "day_of_week",
    "hour_sin",
    "hour_cos",
    "is_weekend",
}
BY_FUNDING = {"funding_rate", "hours_to_funding"}
BY_POSITIONING = set(standard_registry().group("positioning"))
NAMES = sorted(
    ({known.example for known in standard_registry()} | set(STANDARD_SET)) - BY_TIME - BY_FUNDING - BY_POSITIONING
)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """Bars as if none were missing or flagged, some of unknown volume."""
    rows = example_market(2500).candles["1m"].filter(symbol=SYMBOLS[0])
    start = rows["ts"][0]
    unbroken = (start + pl.duration(minutes=pl.int_range(pl.len()))).alias("ts")
    return rows.with_columns(unbroken, flag=pl.lit(None, pl.String)).cast(dict(CANDLE_SCHEMA))


def test_equal_to_the_computation_over_frames(candles: pl.DataFrame) -> None:
    given = {name: candles[name].to_numpy() for name in ("open", "high", "low", "close", "volume", "quote_volume")}
    arrays = compute_arrays(given, NAMES)
    frame = compute(candles, NAMES)
    assert list(arrays) == NAMES
    for name in NAMES:
        np.testing.assert_allclose(arrays[name], frame[name].cast(pl.Float64).to_numpy(), rtol=1e-12, err_msg=name)


def test_inputs_are_not_written_to(candles: pl.DataFrame) -> None:
    close = candles["close"].to_numpy().copy()
    before = close.copy()
    compute_arrays({"close": close}, ["sma_20", "returns", "rsi_14", "close"])
    np.testing.assert_array_equal(close, before)
    assert close.flags.writeable


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["atr_14"], "'atr_14' reads high, low, which is not given; there is close"),
        (["high"], "'high' reads high"),
        (["60m:close"], "reads other bars"),
        (["hour_of_day"], "reads ts"),
        (["smma_20"], "nearest: sma_20"),
    ],
)
def test_what_arrays_cannot_tell_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(LookupError, match=message):
        compute_arrays({"close": np.arange(1.0, 50.0)}, names)
