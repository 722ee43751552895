"""TA-Lib as the oracle: the same definitions, seeds and all."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import talib

from features import compute, kernels, warmup_bars
from features.bars import CANDLE_SCHEMA

Arrays = dict[str, np.ndarray]
BARS = 4000
SCALE = 0.1  # what can be zero (MACD, slopes) is compared relative to a tenth of its typical size


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    rng = np.random.default_rng(11)
    path = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, BARS * 8))).reshape(BARS, 8)
    opened = np.concatenate([[path[0, 0]], path[:-1, -1]])
    return {
        "open": opened,
        "high": np.maximum(path.max(axis=1), opened),
        "low": np.minimum(path.min(axis=1), opened),
        "close": path[:, -1].copy(),
        "volume": rng.lognormal(5, 1, BARS),
    }


@pytest.fixture(scope="module")
def candles(arrays: Arrays) -> pl.DataFrame:
    start = datetime(2025, 3, 1, tzinfo=UTC)
    frame = pl.DataFrame({"ts": [start + timedelta(minutes=i) for i in range(BARS)], **arrays})
    blank = {name: pl.lit(None, dtype) for name, dtype in CANDLE_SCHEMA.items() if name not in frame.columns}
    blank |= {"symbol": pl.lit("BTC-USDT"), "minutes": pl.lit(1, pl.Int32), "origin": pl.lit("test")}
    return frame.with_columns(**blank).select(pl.col(name).cast(dtype) for name, dtype in CANDLE_SCHEMA.items())


def hlc(a: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return a["high"], a["low"], a["close"]


ORACLES: dict[str, Callable[[Arrays], np.ndarray]] = {
    "rsi_14": lambda a: talib.RSI(a["close"], 14),
    "rsi_7": lambda a: talib.RSI(a["close"], 7),
    "sma_50": lambda a: talib.SMA(a["close"], 50),
    "sma_300": lambda a: talib.SMA(a["close"], 300),
    "ema_9": lambda a: talib.EMA(a["close"], 9),
    "ema_50": lambda a: talib.EMA(a["close"], 50),
    "wma_20": lambda a: talib.WMA(a["close"], 20),
    "double_ema_21": lambda a: talib.DEMA(a["close"], 21),
    "macd_12_26": lambda a: talib.MACD(a["close"], 12, 26, 9)[0],
    "macd_signal_9": lambda a: talib.MACD(a["close"], 12, 26, 9)[1],
    "macd_histogram": lambda a: talib.MACD(a["close"], 12, 26, 9)[2],
    "macd_histogram_5_35_5": lambda a: talib.MACD(a["close"], 5, 35, 5)[2],
    "ppo_12_26": lambda a: talib.PPO(a["close"], 12, 26, matype=1),
    "bbands_upper": lambda a: talib.BBANDS(a["close"], 20, 2, 2)[0],
    "bbands_lower": lambda a: talib.BBANDS(a["close"], 20, 2, 2)[2],
    "std_dev_20": lambda a: talib.STDDEV(a["close"], 20),
    "std_dev_300": lambda a: talib.STDDEV(a["close"], 300),
    "true_range": lambda a: talib.TRANGE(*hlc(a)),
    "atr_14": lambda a: talib.ATR(*hlc(a), 14),
    "natr_14": lambda a: talib.NATR(*hlc(a), 14),
    "stoch_fast_14": lambda a: talib.STOCHF(*hlc(a), 14, 3)[0],
    "stoch_k": lambda a: talib.STOCH(*hlc(a), 14, 3, 0, 3, 0)[0],
    "stoch_d": lambda a: talib.STOCH(*hlc(a), 14, 3, 0, 3, 0)[1],
    "stoch_rsi": lambda a: talib.STOCHRSI(a["close"], 14, 14, 1)[0],
    "williams_r": lambda a: talib.WILLR(*hlc(a), 14),
    "cci_20": lambda a: talib.CCI(*hlc(a), 20),
    "ultimate_oscillator": lambda a: talib.ULTOSC(*hlc(a), 7, 14, 28),
    "momentum_10": lambda a: talib.MOM(a["close"], 10),
    "rate_of_change_12": lambda a: talib.ROC(a["close"], 12),
    "trix_15": lambda a: talib.TRIX(a["close"], 15),
    "linreg_slope_20": lambda a: talib.LINEARREG_SLOPE(a["close"], 20),
    "plus_di_14": lambda a: talib.PLUS_DI(*hlc(a), 14),
    "minus_di_14": lambda a: talib.MINUS_DI(*hlc(a), 14),
    "adx_14": lambda a: talib.ADX(*hlc(a), 14),
    "aroon_oscillator_25": lambda a: talib.AROONOSC(a["high"], a["low"], 25),
    "mfi_14": lambda a: talib.MFI(*hlc(a), a["volume"], 14),
    "volume_sma_20": lambda a: talib.SMA(a["volume"], 20),
    "volume_ema_9": lambda a: talib.EMA(a["volume"], 9),
    "bar_body": lambda a: talib.BOP(a["open"], *hlc(a)),
    "hlc3": lambda a: talib.TYPPRICE(*hlc(a)),
    "hl2": lambda a: talib.MEDPRICE(a["high"], a["low"]),
    "ohlc4": lambda a: talib.AVGPRICE(a["open"], *hlc(a)),
    "highest_20": lambda a: talib.MAX(a["high"], 20),
    "lowest_20": lambda a: talib.MIN(a["low"], 20),
}


@pytest.mark.parametrize("name", ORACLES)
def test_equals_talib_after_warmup(name: str, candles: pl.DataFrame, arrays: Arrays) -> None:
    warm = warmup_bars([name], "1m")
    ours = compute(candles, [name])[name].to_numpy()[warm:]
    theirs = ORACLES[name](arrays)[warm:]
    assert np.isfinite(ours).all()
    assert np.isfinite(theirs).sum() > BARS / 2
    given = np.isfinite(theirs)  # some begin later in TA-Lib
    scale = np.maximum(np.abs(theirs), SCALE * np.nanmedian(np.abs(theirs)))
    assert np.max(np.abs(ours - theirs)[given] / scale[given]) < 1e-9


@pytest.mark.parametrize("name", sorted(set(ORACLES) - {"trix_15", "ppo_12_26"}))
def test_begins_on_the_same_bar_as_talib(name: str, candles: pl.DataFrame, arrays: Arrays) -> None:
    ours = compute(candles, [name])[name].to_numpy()
    theirs = ORACLES[name](arrays)
    first = int(np.flatnonzero(np.isfinite(ours))[0])
    at_talib = int(np.flatnonzero(np.isfinite(theirs))[0])
    assert first <= at_talib  # TA-Lib holds MACD and slow %K back until their signals begin too
    if name not in {"macd_12_26", "stoch_k", "stoch_fast_14", "ultimate_oscillator"}:
        assert first == at_talib
    np.testing.assert_allclose(ours[at_talib : at_talib + 50], theirs[at_talib : at_talib + 50], rtol=1e-9, atol=1e-12)


def test_deviation_keeps_its_digits_on_a_large_price() -> None:
    """Where TA-Lib's sum of squares has lost them; against the plain definition."""
    x = 1e5 + np.random.default_rng(5).normal(0, 0.5, 3000).cumsum()
    expected = np.lib.stride_tricks.sliding_window_view(x, 20).std(axis=1)
    np.testing.assert_allclose(kernels.moving_deviation(x, 20)[19:], expected, rtol=1e-9)


def test_regression_equals_the_plain_definition(candles: pl.DataFrame, arrays: Arrays) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(arrays["close"], 20)
    index = np.arange(20.0) - 9.5
    centred = windows - windows.mean(axis=1, keepdims=True)
    slope = centred @ index / (index @ index)
    r2 = (centred @ index) ** 2 / (index @ index) / (centred**2).sum(axis=1)
    ours = compute(candles, ["linreg_slope_20", "linreg_r2_20"])
    np.testing.assert_allclose(ours["linreg_slope_20"].to_numpy()[19:], slope, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours["linreg_r2_20"].to_numpy()[19:], r2, rtol=1e-9, atol=1e-12)
