"""A model trades beyond a threshold that was chosen after costs."""

import numpy as np
import polars as pl
import pytest

from model_zoo.base import ModelSpec
from model_zoo.direction import DirectionModel
from model_zoo.trading import LEAST_SIGNALS, ModelStrategy, Threshold, choose_threshold


def fold(gain_when_sure: float, rows: int = 4_000, seed: int = 0) -> pl.DataFrame:
    """Returns whose mean is `gain_when_sure` in the foretold direction on the surest tenth, else nothing."""
    rng = np.random.default_rng(seed)
    edge = rng.uniform(-0.2, 0.2, rows)
    sure = np.abs(edge) > 0.18
    ret = rng.normal(0, 0.002, rows) + np.where(sure, np.sign(edge) * gain_when_sure, 0)
    return pl.DataFrame({"probability": 0.5 + edge, "label_return": ret})


def test_the_threshold_finds_where_costs_are_earned() -> None:
    found = choose_threshold(fold(0.005), 0.0016)
    assert found.distance == pytest.approx(0.18, abs=0.015)
    assert found.net == pytest.approx(0.005 - 0.0016, abs=0.001)
    assert found.pays
    assert found.signals >= LEAST_SIGNALS


def test_where_nothing_pays_only_the_surest_calls_are_followed() -> None:
    found = choose_threshold(fold(0.0), 0.0016)
    assert not found.pays
    assert found.signals == pytest.approx(40, abs=2)


def test_costs_decide() -> None:
    assert choose_threshold(fold(0.001), 0.0).pays
    assert not choose_threshold(fold(0.001), 0.003).pays


def test_a_model_that_says_nothing_never_trades() -> None:
    constant = fold(0.0).with_columns(probability=pl.lit(0.53))
    found = choose_threshold(constant, 0.0016)
    assert found.signals == 0
    assert not found.pays
    assert choose_threshold(constant.head(5), 0.0016).signals == 0
    assert choose_threshold(constant.clear(), 0.0016).signals == 0


class Echo(DirectionModel):
    """Says what its input says."""

    def raw(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[:, 0]


def test_signals_hold_for_the_horizon() -> None:
    spec = ModelSpec("direction", "5m", 12, ("returns",))
    strategy = ModelStrategy("direction_5m", Echo(spec), Threshold(0.1, 0.001, 50), "v")
    frame = pl.DataFrame(
        {
            "symbol": ["A"] * 5,
            "ts": range(5),
            "returns": [1.0, 0.1, -1.0, None, 1.0],
            "flag": pl.Series([None, None, None, None, "repaired"], dtype=pl.String),
        }
    )
    out = strategy.signals(frame)
    assert out["long_entry"].to_list() == [True, False, False, False, False]
    assert out["short_entry"].to_list() == [False, False, True, False, False]
    assert out["time_stop"].to_list() == [12] * 5
    assert out["time_stop"].dtype == pl.Int32
    assert strategy.timeframes == ("5m",)
    with pytest.raises(ValueError, match="trades on 5m"):
        strategy.features("60m")
