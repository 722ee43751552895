"""FeatureManager: the right bars read, nothing after the as-of, the same values whatever the window."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features import STANDARD_SET, FeatureManager, compute, standard_registry, warmup_bars
from features.bars import CANDLE_SCHEMA, CandleSource, Timeframe, bar_length
from features.definition import GROUPS
from features.market import EPOCH, Market, example_market

AS_OF = EPOCH + timedelta(hours=90)
NAMES = ["close", "rsi_14", "ema_9", "60m:trend_direction", "BBB-USDT:returns", "is_trending_up", "funding_rate"]


class Recorder:
    """A source that remembers what was asked of it."""

    def __init__(self, source: CandleSource) -> None:
        self.source = source
        self.calls: list[tuple[str, Timeframe, datetime | None, datetime]] = []

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        self.calls.append((",".join(symbols), timeframe, start, end))
        return self.source.candles(symbols, timeframe, start, end)

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        self.calls.append((",".join(symbols), timeframe, as_of - count * bar_length(timeframe), as_of))
        return self.source.last_candles(symbols, timeframe, as_of, count)

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        return self.source.funding(symbols, start, end)

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        return self.source.mark_candles(symbols, start, end)


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(6000)


@pytest.fixture
def source(market: Market) -> Recorder:
    return Recorder(market.source())


def test_get_features_returns_the_last_bars_in_the_order_asked_for(source: Recorder) -> None:
    seen = FeatureManager(source, AS_OF).get_features("AAA-USDT", "5m", NAMES, lookback_bars=50)
    assert seen.columns == ["symbol", "ts", *NAMES]
    assert seen.height == 50
    assert seen["ts"].max() == AS_OF - timedelta(minutes=5)
    assert seen["rsi_14"].null_count() < 20
    assert seen["60m:trend_direction"].dtype == pl.Int8
    assert seen["is_trending_up"].dtype == pl.Boolean


def test_several_symbols_at_once(source: Recorder) -> None:
    manager = FeatureManager(source, AS_OF)
    both = manager.get_features(["AAA-USDT", "BBB-USDT"], "1m", ["rsi_14", "close"], 30)
    assert both.group_by("symbol").len()["len"].to_list() == [30, 30]
    one = manager.get_features("BBB-USDT", "1m", ["rsi_14", "close"], 30)
    second = both.filter(pl.col("symbol") == "BBB-USDT")
    assert second.select("ts", "close").equals(one.select("ts", "close"))
    np.testing.assert_allclose(second["rsi_14"].to_numpy(), one["rsi_14"].to_numpy(), rtol=1e-6)


def test_only_the_needed_bars_are_read(source: Recorder) -> None:
    start, end = EPOCH + timedelta(hours=60), EPOCH + timedelta(hours=70)
    FeatureManager(source, AS_OF).window("AAA-USDT", "1m", ["sma_20"], start, end)
    assert source.calls[0] == ("AAA-USDT", "1m", start - timedelta(minutes=19), end)
    assert all(called >= start - timedelta(minutes=80) for _, _, called, _ in source.calls)
    assert {timeframe for _, timeframe, _, _ in source.calls} == {"1m"}


def test_nothing_after_the_as_of_is_asked_for(source: Recorder) -> None:
    manager = FeatureManager(source, AS_OF)
    manager.get_features("AAA-USDT", "5m", NAMES)
    manager.window(["AAA-USDT"], "5m", NAMES, AS_OF - timedelta(hours=5), AS_OF)
    assert max(end for *_, end in source.calls) <= AS_OF
    with pytest.raises(ValueError, match="not after the as-of"):
        manager.window("AAA-USDT", "5m", ["close"], EPOCH, AS_OF + timedelta(minutes=1))


def test_a_window_equals_the_same_rows_of_a_computation_over_everything(market: Market, source: Recorder) -> None:
    """Across gaps and flagged bars too: warm-up is counted in sound bars and read from further back where they lack."""
    names = [name for name in STANDARD_SET if name not in CANDLE_SCHEMA]
    candles = market.cut(AS_OF).candles["1m"]
    whole = compute(candles, names, market.funding)
    start, end = EPOCH + timedelta(hours=50), EPOCH + timedelta(hours=52)
    seen = FeatureManager(source, AS_OF).window(["AAA-USDT", "BBB-USDT"], "1m", names, start, end)
    expected = whole.filter(pl.col("ts").is_between(start, end - timedelta(minutes=1)))
    assert seen.select(CANDLE_SCHEMA.names()).equals(expected.select(CANDLE_SCHEMA.names()))
    for name in names:
        one, other = (frame[name].cast(pl.Float64).to_numpy() for frame in (seen, expected))
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6 * max(np.nanmedian(np.abs(other)), 1e-12))


def test_warmup_is_counted_in_sound_bars(market: Market) -> None:
    flag = pl.when(pl.col("ts").is_between(EPOCH + timedelta(hours=40), EPOCH + timedelta(hours=50)))
    holed = market.candles["1m"].with_columns(flag=flag.then(pl.lit("repaired")).otherwise(pl.col("flag")))
    source = Recorder(Market({"1m": holed}, market.funding).source())
    start = EPOCH + timedelta(hours=50, minutes=30)
    manager = FeatureManager(source, AS_OF)
    seen = manager.window("AAA-USDT", "1m", ["ema_21"], start, start + timedelta(hours=1))["ema_21"]
    one = holed.filter(pl.col("symbol") == "AAA-USDT")
    whole = compute(one, ["ema_21"]).filter(pl.col("ts").is_between(start, start + timedelta(minutes=59)))["ema_21"]
    np.testing.assert_allclose(seen.to_numpy(), whole.to_numpy(), rtol=1e-6)
    last = FeatureManager(source, start + timedelta(minutes=60)).get_features("AAA-USDT", "1m", ["ema_21"], 20)
    np.testing.assert_allclose(last["ema_21"].to_numpy(), whole.to_numpy()[-20:], rtol=1e-6)


def test_a_window_at_the_beginning_of_history_has_nulls(source: Recorder) -> None:
    seen = FeatureManager(source, AS_OF).window("AAA-USDT", "1m", ["sma_50"], EPOCH, EPOCH + timedelta(hours=2))
    assert seen["sma_50"][:49].null_count() == 49
    assert seen["sma_50"][60:].null_count() == 0


def test_prices_of_flagged_bars_are_null_where_no_flag_is_shown(market: Market, source: Recorder) -> None:
    flagged = market.candles["1m"].filter(pl.col("flag").is_not_null(), pl.col("symbol") == "AAA-USDT")["ts"][5]
    as_of = flagged + timedelta(minutes=3)
    seen = FeatureManager(source, as_of).get_features("AAA-USDT", "1m", ["close", "hl2"], 10)
    row = seen.filter(pl.col("ts") == flagged)
    assert row["close"].null_count() == row["hl2"].null_count() == 1
    window = FeatureManager(source, as_of).window("AAA-USDT", "1m", ["hl2"], flagged, as_of)
    assert window["close"].null_count() == 0
    assert window["hl2"][0] is None


def test_too_large_a_window_is_refused_with_what_would_fit(source: Recorder) -> None:
    with pytest.raises(ValueError, match=r"AAA-USDT has \d+ closed 60m bars.*sma_200 reads 200.*fewer lookback_bars"):
        FeatureManager(source, AS_OF).get_features("AAA-USDT", "60m", ["close", "sma_200"], 100)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (("CCC-USDT", "1m", ["close"]), LookupError, "unknown symbol CCC-USDT"),
        (("AAA-USDT", "2m", ["close"]), LookupError, "unknown timeframe '2m'"),
        (("AAA-USDT", "1m", ["clos"]), LookupError, "nearest: close"),
        (("AAA-USDT", "1m", ["CCC-USDT:close"]), LookupError, "unknown symbol CCC-USDT"),
        (("AAA-USDT", "60m", ["5m:close"]), ValueError, "only higher timeframes"),
        (("AAA-USDT", "1m", ["close"], 0), ValueError, "at least 1 bar"),
        (([], "1m", ["close"]), ValueError, "no symbols"),
        (("AAA-USDT", "1m", "close"), TypeError, "list of names"),
    ],
)
def test_bad_requests_are_refused(
    source: Recorder, call: tuple[object, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FeatureManager(source, AS_OF).get_features(*call)


def test_times_need_a_zone(source: Recorder) -> None:
    with pytest.raises(ValueError, match=r"as_of.*no time zone"):
        FeatureManager(source, AS_OF.replace(tzinfo=None))
    with pytest.raises(ValueError, match=r"start.*no time zone"):
        FeatureManager(source, AS_OF).window("AAA-USDT", "1m", ["close"], EPOCH.replace(tzinfo=None), AS_OF)


def test_list_and_groups(source: Recorder) -> None:
    manager = FeatureManager(source, AS_OF)
    listed = manager.list_available_features()
    assert {"name", "group", "unit", "description", "warmup"} <= set(listed.columns)
    assert listed.height == len(list(standard_registry()))
    assert listed.filter(name="rsi_<n>")["warmup"].item() == warmup_bars(["rsi_7"], "1m")
    for group in GROUPS:
        names = manager.get_feature_group(group)
        assert names
        assert manager.get_features("AAA-USDT", "1m", names, 5).width == 2 + len(names)


@pytest.mark.parametrize("symbol", ["BTC-USDT", "SOL-USDT"])
def test_real_candles_give_believable_features(symbol: str, real_market: object) -> None:
    raw = pl.read_parquet(f"{real_market}/{symbol}_1m.parquet").head(20_000)
    candles = raw.select(
        symbol=pl.lit(symbol),
        ts=pl.col("ts").cast(pl.Datetime("us", "UTC")),
        open="open",
        high="high",
        low="low",
        close="close",
        volume="volume",
        quote_volume=pl.col("volume") * pl.col("close"),
        contracts=pl.lit(None, pl.Float64),
        minutes=pl.lit(1, pl.Int32),
        origin=pl.lit("archive"),
        flag=pl.lit(None, pl.String),
    )
    seen = compute(candles, STANDARD_SET).slice(1500)
    assert 45 < seen["rsi_14"].mean() < 55
    assert 0.02 < seen["natr_14"].mean() < 1.0
    assert 0.1 < seen["is_trending_up"].mean() < 0.5
    assert 0.1 < seen["is_ranging"].mean() < 0.6
    assert 0.3 < seen["volatility_rank_100"].mean() < 0.7
    for name in STANDARD_SET:
        share = seen[name].null_count() / seen.height
        assert share < 0.02 or name in {"funding_rate", "hours_to_funding", "contracts"}, (name, share)
