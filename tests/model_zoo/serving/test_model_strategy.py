"""A model trades beyond a threshold that was chosen after costs."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from model_zoo.models.base import ModelSpec
from model_zoo.models.direction import DirectionModel
from model_zoo.models.risk import RiskModel
from model_zoo.models.volatility import VolatilityModel
from model_zoo.serving.model_strategy import (
    CROSS,
    LEAST_SIGNALS,
    EmaCross,
    GateStrategy,
    ModelStrategy,
    Threshold,
    choose_gate,
    choose_threshold,
    strategy_of,
)


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


class CalmEcho(RiskModel):
    """Says that risk is what its input says."""

    def estimate(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[:, 0]


def crossing() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": ["A"] * 6,
            "ts": range(6),
            CROSS: [0.1, 0.1, -0.1, -0.1, None, 0.2],
            "returns": [-1.0, 1.0, -1.0, 1.0, -1.0, None],
            "flag": pl.Series([None] * 6, dtype=pl.String),
        }
    )


def test_the_fixed_strategy_is_always_on_a_side() -> None:
    out = EmaCross("5m").signals(crossing())
    assert out["long_entry"].to_list() == [True, True, False, False, False, True]
    assert out["short_entry"].to_list() == [False, False, True, True, False, False]
    assert not out["long_exit"].any()
    assert not out["short_exit"].any()


def test_a_gate_shuts_entries_and_a_crossing_still_ends_a_position() -> None:
    spec = ModelSpec("risk", "5m", 12, ("returns",), scale="realized_volatility_288")
    gate = strategy_of("risk_5m", CalmEcho(spec), Threshold(0.0, 0.0, 0, 0.5), "v")
    assert isinstance(gate, GateStrategy)
    assert gate.features("5m") == ["returns", CROSS]
    with pytest.raises(ValueError, match="trades on 5m"):
        gate.features("1m")
    out = gate.signals(crossing())
    # risk is below usual on bars 0, 2 and 4; unknown, so shut, on bar 5
    assert out["long_entry"].to_list() == [True, False, False, False, False, False]
    assert out["short_entry"].to_list() == [False, False, True, False, False, False]
    assert out["long_exit"].to_list() == [False, False, False, True, False, False]
    assert out["short_exit"].to_list() == [False, True, False, False, False, True]


def test_volatility_opens_above_and_risk_below_the_level() -> None:
    rows = pl.DataFrame(
        {"probability": [0.2, 0.6, 0.7, None], "label_return": [0.01, 0.02, -0.03, 0.5], CROSS: [1.0, 1.0, -1.0, 1.0]}
    )
    spec = ModelSpec("risk", "5m", 12, ("returns",), scale="realized_volatility_288")
    calm = choose_gate(CalmEcho(spec), rows, 0.4, 0.002)
    assert (calm.net, calm.signals, calm.level) == (pytest.approx(0.008), 1, 0.4)
    moving = choose_gate(VolatilityModel(replace(spec, type="volatility")), rows, 0.4, 0.002)
    assert (moving.net, moving.signals) == (pytest.approx(0.023), 2)
    assert choose_gate(CalmEcho(spec), rows.clear(), 0.4, 0.002).net == -0.002
