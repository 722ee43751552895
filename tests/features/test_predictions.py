"""Predictions as features: named, joined by time, causal, and refused where nobody predicts."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features import FeatureManager, compute, standard_registry
from features.bars import FrameSource, Timeframe
from features.causality import feature_look_ahead
from features.market import EPOCH, Market, example_market
from strategies.untrusted.compiler import compile_strategy
from strategies.untrusted.sandbox import first_evaluation
from strategies.validation.checks import causality_of

END = EPOCH + timedelta(hours=60)
TEXT = '''
class Follow(Strategy):
    """Follow the model.

    Edge: the model knows. Fails: when it does not.
    """

    name = "follow_the_model"
    timeframes = ("5m",)
    sure = Param(0.6, 0.5, 0.9)

    def detect(self, f):
        up = f["model:direction"] > self.sure
        return Signal(long_entry=up & (f["60m:ensemble:voting_direction_price"] > 0.1), time_stop=6)
'''


@pytest.fixture(scope="module")
def market() -> Market:
    plain = example_market(4000)
    rng = np.random.default_rng(1)
    said: dict[Timeframe, pl.DataFrame] = {}
    for timeframe in ("5m", "60m"):
        keys = plain.candles[timeframe].select("symbol", "ts")
        said[timeframe] = keys.with_columns(
            pl.Series(name, rng.random(keys.height)) for name in ("model:direction", "ensemble:voting_direction_price")
        )
    return Market(plain.candles, plain.funding, said)


def test_a_prediction_is_read_at_its_bar_and_of_the_last_closed_higher_one(market: Market) -> None:
    start = EPOCH + timedelta(hours=20)
    names = ["model:direction", "60m:model:direction", "BBB-USDT:model:direction"]
    frame = FeatureManager(market.source(), END).window("AAA-USDT", "5m", names, start, END)
    sound = frame.filter(pl.col("flag").is_null())
    said = {key: dict(zip(given["ts"], given["model:direction"], strict=True)) for key, given in _of(market).items()}
    for row in sound.iter_rows(named=True):
        assert row["model:direction"] == said["AAA-USDT", "5m"][row["ts"]]
        hour = (row["ts"] + timedelta(minutes=5)).replace(minute=0) - timedelta(hours=1)
        assert row["60m:model:direction"] in {None, said["AAA-USDT", "60m"].get(hour)}
        assert row["BBB-USDT:model:direction"] in {None, said["BBB-USDT", "5m"].get(row["ts"])}
    assert sound["60m:model:direction"].null_count() < sound.height / 2
    assert sound["BBB-USDT:model:direction"].null_count() < sound.height / 5
    flagged = frame.filter(pl.col("flag").is_not_null())
    assert flagged.height > 0
    assert flagged["model:direction"].null_count() == flagged.height


def test_where_no_model_spoke_it_is_null(market: Market) -> None:
    start = EPOCH + timedelta(hours=30)
    late = {"5m": market.predictions["5m"].filter(pl.col("ts") >= start)}
    source = FrameSource(dict(market.candles), market.funding, late)
    frame = FeatureManager(source, END).window("AAA-USDT", "5m", ["model:direction"], EPOCH, END)
    assert frame.filter(pl.col("ts") < start)["model:direction"].null_count() == (frame["ts"] < start).sum()
    assert frame.filter(pl.col("ts") >= start)["model:direction"].null_count() < 20


def test_it_does_not_look_ahead(market: Market) -> None:
    cuts = [EPOCH + timedelta(hours=10), EPOCH + timedelta(hours=33, minutes=5)]
    names = ["model:direction", "60m:model:direction", "BBB-USDT:60m:ensemble:voting_direction_price"]
    assert feature_look_ahead(names, market, "5m", cuts) == []


def test_a_source_without_models_and_names_that_are_none_are_refused(market: Market) -> None:
    bare = FrameSource(dict(market.candles), market.funding)
    with pytest.raises(LookupError, match="model:direction"):
        FeatureManager(bare, END).window("AAA-USDT", "5m", ["model:direction"], EPOCH, END)
    for name in ("model:direction_5m", "model:", "model:Direction", "oracle:direction", "model:60m:direction"):
        with pytest.raises(LookupError, match=name.split(":")[0]):
            standard_registry().request(name)


def test_without_predictions_a_plain_computation_is_null(market: Market) -> None:
    frame = compute(market.candles["5m"], ["model:direction"], timeframe="5m")
    assert frame["model:direction"].dtype == pl.Float64
    assert frame["model:direction"].null_count() == frame.height


def test_a_compiled_strategy_reads_predictions_and_passes_the_checks(market: Market) -> None:
    strategy = compile_strategy(TEXT)
    assert strategy.features() == ["60m:ensemble:voting_direction_price", "model:direction"]
    assert strategy.version == compile_strategy(TEXT).version
    assert causality_of([strategy], market, "5m", [EPOCH + timedelta(hours=33)]) == [[]]
    verdict = first_evaluation(TEXT, market)
    assert verdict.accepted, verdict.reason
    assert verdict.entries["5m"] > 0


def _of(market: Market) -> dict[tuple[str, str], pl.DataFrame]:
    return {
        (symbol, timeframe): frame.filter(pl.col("symbol") == symbol)
        for timeframe, frame in market.predictions.items()
        for symbol in ("AAA-USDT", "BBB-USDT")
    }
