"""What holds for every feature: flagged bars, gaps, starts, symbols, timeframes, finite values in their range."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import STANDARD_SET, compute, standard_registry
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA
from features.market import EPOCH, Market, example_market

EXAMPLES = list(dict.fromkeys([*STANDARD_SET, *(known.example for known in standard_registry())]))


def bars(close: list[float], *, symbol: str = "AAA-USDT", step: int = 1, **columns: list[object]) -> pl.DataFrame:
    """Candles without range around the given closes, from `EPOCH` on."""
    size = len(close)
    base: dict[str, object] = {
        "symbol": [symbol] * size,
        "ts": [EPOCH + timedelta(minutes=step * i) for i in range(size)],
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "volume": [1.0] * size,
        "quote_volume": close,
        "contracts": [None] * size,
        "minutes": [step] * size,
        "origin": ["test"] * size,
        "flag": [None] * size,
    }
    return pl.DataFrame(base | columns, schema=CANDLE_SCHEMA)


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(5000)


@pytest.fixture(scope="module")
def computed(market: Market) -> pl.DataFrame:
    return compute(market.candles["1m"], EXAMPLES, market.funding, positioning=market.positioning)


def test_rows_and_candle_columns_stay_as_they_were(market: Market, computed: pl.DataFrame) -> None:
    candles = market.candles["1m"]
    assert computed.select(candles.columns).equals(candles)
    assert computed.columns == [*candles.columns, *(name for name in EXAMPLES if name not in candles.columns)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_values_are_finite_and_within_the_stated_range(name: str, computed: pl.DataFrame) -> None:
    definition = standard_registry().feature(name).definition
    values = computed[name]
    assert values.dtype == definition.dtype
    known = values.drop_nulls()
    assert len(known) > 0.2 * len(values) or name in {"vwap", "vwap_distance"}
    low, high = definition.bounds
    if values.dtype == pl.Float64:
        assert known.is_finite().all()
    if low is not None:
        assert known.min() >= low
    if high is not None:
        assert known.max() <= high


def test_flagged_bars_have_no_features_and_are_not_read(market: Market) -> None:
    candles = market.candles["1m"]
    wild = candles.with_columns(
        pl.when(pl.col("flag").is_null()).then(pl.col(name)).otherwise(1e9).alias(name)
        for name in ("open", "high", "low", "close", "volume", "quote_volume")
    )
    names = [name for name in EXAMPLES if name not in CANDLE_SCHEMA]
    calm, shaken = (compute(frame, names, market.funding).select(names) for frame in (candles, wild))
    assert calm.equals(shaken)
    assert calm.filter(candles["flag"].is_not_null()).null_count().row(0) == (candles["flag"].count(),) * len(names)


def test_a_gap_ends_short_windows_and_is_borne_by_long_ones() -> None:
    candles = bars([100.0 + i % 7 for i in range(300)])
    holed = candles.filter(~pl.int_range(pl.len()).is_in([250, 251]))
    seen = compute(holed, ["returns", "sma_10", "sma_200", "ema_9", "rsi_14", "sma_21"])
    after = seen.filter(pl.col("ts") >= EPOCH + timedelta(minutes=252))
    assert after["returns"].is_null().to_list()[:2] == [True, False]
    assert after["sma_10"].is_null().sum() == 9
    assert after["ema_9"].is_null().sum() == 8
    assert after["rsi_14"].is_null().sum() == 14
    assert after["sma_21"].is_null().sum() == 0  # 20 steps bear 2 missing bars
    assert after["sma_200"].is_null().sum() == 0
    assert seen.filter(pl.col("ts") < EPOCH + timedelta(minutes=250))["returns"].is_null().sum() == 1


def test_values_start_when_the_definition_has_its_bars() -> None:
    candles = bars([100.0 + i % 7 for i in range(80)])
    seen = compute(candles, ["sma_20", "ema_9", "rsi_14", "momentum_10", "is_trending_up", "trend_direction"])
    first = {name: seen[name].is_not_null().arg_true()[0] for name in seen.columns[len(CANDLE_SCHEMA) :]}
    assert first == {
        "sma_20": 19,
        "ema_9": 8,
        "rsi_14": 14,
        "momentum_10": 10,
        "is_trending_up": 27,
        "trend_direction": 49,
    }


def test_symbols_do_not_touch() -> None:
    one = bars([100.0 + i % 7 for i in range(400)], symbol="AAA-USDT")
    two = bars([3.0 + i % 5 for i in range(350)], symbol="BBB-USDT")
    names = [name for name in EXAMPLES if name not in CANDLE_SCHEMA]
    together = compute(pl.concat([one, two]), names)
    assert together.equals(pl.concat([compute(one, names), compute(two, names)]))


@pytest.mark.parametrize("size", [0, 1, 2, 30])
@pytest.mark.parametrize("price", [1e-7, 100.0, 1e6])
def test_constant_prices_give_null_or_finite_values(size: int, price: float) -> None:
    seen = compute(bars([price] * size), EXAMPLES)
    assert seen.height == size
    for name in EXAMPLES:
        if seen[name].dtype == pl.Float64:
            assert seen[name].drop_nulls().is_finite().all(), name
    for name in ("rsi_14", "bbands_percent", "zscore_20", "stoch_k", "cci_20", "williams_r", "efficiency_ratio_20"):
        assert seen[name].null_count() == size, name
    if size == 30:
        assert seen["bbands_width"][-1] == 0
        assert seen["std_dev_20"][-1] == 0


def test_unknown_volume_makes_only_volume_features_null() -> None:
    unknown = [None] * 60
    seen = compute(bars([100.0 + i % 7 for i in range(60)], volume=unknown, quote_volume=unknown), EXAMPLES)
    for name in ("volume_sma_20", "volume_ratio", "vwap", "mfi_14", "chaikin_money_flow_20", "is_volume_spike"):
        assert seen[name].null_count() == 60, name
    assert seen["rsi_14"].null_count() == 14


def test_higher_timeframe_is_read_on_the_bar_that_closes_with_it() -> None:
    fives = bars([float(i) for i in range(1, 49)], step=5)
    hours = bars([10.0, 20.0, 30.0, 40.0], step=60)
    seen = compute(fives, ["60m:close", "60m:returns"], others={"60m": hours})
    values = dict(zip(seen["ts"].dt.strftime("%H:%M"), seen["60m:close"], strict=True))
    assert values["00:50"] is None  # closes at 00:55, five minutes before the first hour
    assert values["00:55"] == 10.0
    assert values["01:50"] == 10.0
    assert values["01:55"] == 20.0
    assert seen["60m:returns"].to_list()[22:25] == [None, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["missing", "flagged"])
def test_an_older_higher_bar_never_stands_in(kind: str) -> None:
    fives = bars([float(i) for i in range(1, 49)], step=5)
    hours = bars([10.0, 20.0, 30.0, 40.0], step=60)
    second = pl.int_range(pl.len()) == 1
    holed = (
        hours.filter(~second)
        if kind == "missing"
        else hours.with_columns(flag=pl.when(second).then(pl.lit("incomplete")))
    )
    seen = compute(fives, ["60m:close"], others={"60m": holed})["60m:close"].to_list()
    assert seen[22] == 10.0
    assert seen[23:35] == [None] * 12
    assert seen[35] == 30.0


def test_another_symbol_is_read_on_the_bar_of_the_same_time() -> None:
    one = bars([1.0, 2.0, 3.0, 4.0], symbol="AAA-USDT")
    two = bars([10.0, 20.0, 40.0], symbol="BBB-USDT").filter(pl.col("close") != 20.0)
    seen = compute(pl.concat([one, two]), ["BBB-USDT:close", "BBB-USDT:returns"])
    assert seen["BBB-USDT:close"].to_list() == [10.0, None, 40.0, None, 10.0, 40.0]
    assert seen["BBB-USDT:returns"].null_count() == 6  # null over the missing bar


def test_prefixes_combine() -> None:
    fives = bars([float(i) for i in range(1, 25)], step=5, symbol="AAA-USDT")
    hours = bars([10.0, 20.0], step=60, symbol="BBB-USDT")
    seen = compute(fives, ["BBB-USDT:60m:close"], others={"60m": hours})["BBB-USDT:60m:close"]
    assert seen.to_list() == [None] * 11 + [10.0] * 12 + [20.0]


def funding(*payments: tuple[float, float]) -> pl.DataFrame:
    rows = [("AAA-USDT", EPOCH + timedelta(hours=hour), rate) for hour, rate in payments]
    return pl.DataFrame(rows, schema=FUNDING_SCHEMA, orient="row")


def test_funding_is_the_last_paid_at_the_close() -> None:
    hours = bars([1.0] * 20, step=60)
    seen = compute(hours, ["funding_rate", "hours_to_funding"], funding((0, 0.1), (8, 0.2), (16, 0.3)))
    assert seen["funding_rate"].to_list() == [0.1] * 7 + [0.2] * 8 + [0.3] * 5
    assert seen["hours_to_funding"].to_list()[6:9] == [None, 8.0, 7.0]  # one payment does not tell the distance
    assert seen["hours_to_funding"].to_list()[14:16] == [1.0, 8.0]


def test_a_missing_payment_and_stale_funding() -> None:
    hours = bars([1.0] * 60, step=60)
    seen = compute(hours, ["funding_rate", "hours_to_funding"], funding((0, 0.1), (8, 0.2), (24, 0.3)))
    assert seen["hours_to_funding"].to_list()[22:25] == [1.0, 8.0, 7.0]
    assert seen["funding_rate"].to_list()[46:49] == [0.3, 0.3, None]  # older than a day from the 48th hour on


def test_funding_features_are_null_without_funding() -> None:
    seen = compute(bars([1.0] * 5), ["funding_rate", "hours_to_funding"])
    assert seen.select("funding_rate", "hours_to_funding").null_count().row(0) == (5, 5)


def test_vwap_begins_at_midnight_and_needs_it() -> None:
    size = 1500
    close = [100.0 + i % 7 for i in range(size)]
    volume: list[object] = [1.0 + i % 3 for i in range(size)]
    whole = compute(bars(close, volume=volume), ["vwap"])["vwap"]
    expected = np.average(close[1440:1501], weights=volume[1440:1501])
    assert whole[-1] == pytest.approx(expected, rel=1e-12)
    assert whole[0] == pytest.approx(close[0])
    late = compute(bars(close, volume=volume).slice(100), ["vwap"])["vwap"]
    assert late[:1340].null_count() == 1340
    assert late[-1] == whole[-1]


BAD_FRAMES = {
    "lack volume": lambda frame: frame.drop("volume"),
    "out of order": lambda frame: frame.reverse(),
    "double": lambda frame: pl.concat([frame, frame]).sort("symbol", "ts"),
    "not together": lambda frame: pl.concat(
        [frame, frame.with_columns(symbol=pl.lit("BBB-USDT")), frame.with_columns(pl.col("ts") + timedelta(days=1))]
    ),
}


@pytest.mark.parametrize("message", BAD_FRAMES)
def test_bad_candles_are_refused(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute(BAD_FRAMES[message](bars([1.0, 2.0, 3.0])), ["returns"])


def test_missing_sources_are_named() -> None:
    frame = bars([1.0, 2.0, 3.0])
    with pytest.raises(LookupError, match=r"60m:close.*needs 60m candles"):
        compute(frame, ["60m:close"])
    with pytest.raises(LookupError, match=r"no candles of BTC-USDT.*AAA-USDT"):
        compute(frame, ["BTC-USDT:close"])
    with pytest.raises(ValueError, match="only higher timeframes"):
        compute(bars([1.0, 2.0], step=60), ["5m:close"], others={"5m": frame})


@given(
    steps=st.lists(st.sampled_from([-0.01, 0.0, 0.0, 0.0, 0.01, 0.3]), min_size=1, max_size=120),
    holes=st.sets(st.integers(0, 119), max_size=10),
    seed=st.integers(0, 9),
)
@settings(max_examples=25)
def test_any_market_gives_finite_values_in_range(steps: list[float], holes: set[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    close = (1e-3 * np.exp(np.cumsum(steps))).tolist()
    volume: list[object] = [None if draw < 0.05 else 0.0 if draw < 0.3 else draw for draw in rng.random(len(close))]
    frame = bars(close, volume=volume).filter(~pl.int_range(pl.len()).is_in(list(holes)))
    seen = compute(frame, EXAMPLES)
    for name in EXAMPLES:
        known = seen[name].drop_nulls()
        low, high = standard_registry().feature(name).definition.bounds
        if seen[name].dtype == pl.Float64:
            assert known.is_finite().all(), name
        if len(known):
            assert low is None or known.min() >= low, name
            assert high is None or known.max() <= high, name


def test_timeframe_is_told_by_the_minutes_in_a_bar() -> None:
    assert compute(bars([1.0, 2.0], step=60), ["returns"])["returns"].to_list() == [None, 1.0]
    gap = bars([1.0, 2.0], step=60).with_columns(minutes=pl.lit(5, pl.Int32))
    assert compute(gap, ["returns"])["returns"].null_count() == 2
    assert compute(gap, ["returns"], timeframe="60m")["returns"].null_count() == 1


def test_epoch_is_a_midnight() -> None:
    assert datetime(2025, 1, 6, tzinfo=EPOCH.tzinfo) == EPOCH
