"""Permutation importance finds what is used, in every fold, and suggests dropping what is not."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from backtester.statistics.windows import Window
from features.array_types import FloatArray
from features.feature_manager import FeatureManager
from model_zoo.evaluation.importance import SCHEMA, permutation_importance
from model_zoo.evaluation.metrics import Reliability, reliability
from model_zoo.models.base import ModelSpec
from model_zoo.models.direction import DirectionModel
from model_zoo.training.fitting import evaluation_rows, fit, rows_of
from tests.model_zoo.conftest import SYMBOLS, MakeManager, T

USED, NOISE = "returns_5", "close_location"
SPEC = ModelSpec("direction", "5m", 12, (USED, NOISE))


def importance(manager: FeatureManager) -> pl.DataFrame:
    window = Window(T - timedelta(days=8), T - timedelta(days=1))
    rows = rows_of(manager, SYMBOLS, SPEC, window)
    # an input that no price knows of
    rows = rows.with_columns(pl.Series(NOISE, (pl.int_range(rows.height, eager=True).hash(1) % 1000) / 1000))
    found = fit(rows, SPEC, window)
    pairs = [
        (model, evaluation_rows(rows, SPEC, fold)) for model, fold in zip(found.fold_models, found.folds, strict=True)
    ]
    again = permutation_importance(pairs, 0)
    assert again.equals(permutation_importance(pairs, 0))
    return again


@pytest.fixture(scope="module")
def found(manager_of: MakeManager) -> pl.DataFrame:
    return importance(manager_of(0.9))


def test_what_is_used_is_worth_something_in_every_fold(found: pl.DataFrame) -> None:
    assert found.schema == SCHEMA
    first = found.row(0, named=True)
    assert first["feature"] == USED
    assert first["rank"] == 1
    assert first["importance"] > 0.003
    assert first["folds_positive"] == first["folds"] == 4
    assert first["suggestion"] == "keep"


def test_noise_is_worth_nothing(found: pl.DataFrame) -> None:
    noise = found.row(by_predicate=pl.col("feature") == NOISE, named=True)
    assert abs(noise["importance"]) < 0.001
    assert (noise["suggestion"] == "drop") == (noise["importance"] <= 0 and noise["folds_positive"] <= 2)


class Stubborn(DirectionModel):
    """Believes its second input, which says the opposite of what happens."""

    def raw(self, matrix: FloatArray) -> FloatArray:
        said: FloatArray = 2 * matrix[:, 0] + matrix[:, 1]
        return said


def test_an_input_that_does_only_harm_is_suggested_for_dropping() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(3):
        event = rng.random(500) > 0.5
        side = np.where(event, 1.0, -1.0)
        frame = pl.DataFrame({USED: side, NOISE: -side + rng.normal(0, 0.1, 500), "label_event": event})
        rows.append(frame.with_columns(ts=T + pl.duration(minutes=5 * pl.int_range(500))))
    found = permutation_importance([(Stubborn(SPEC), each) for each in rows], 0)
    assert found["feature"].to_list() == [USED, NOISE]
    assert found["suggestion"].to_list() == ["keep", "drop"]
    assert found["folds_positive"].to_list() == [3, 0]


def predictions(said: list[float], share: list[float], each: int = 1000) -> pl.DataFrame:
    rows = [
        (chance, place < happened * each) for chance, happened in zip(said, share, strict=True) for place in range(each)
    ]
    return pl.DataFrame(rows, schema={"probability": pl.Float64, "label_event": pl.Boolean}, orient="row")


def test_a_calibrated_forecaster_is_told_from_one_that_says_too_much() -> None:
    honest = reliability(predictions([0.2, 0.4, 0.6, 0.8], [0.2, 0.4, 0.6, 0.8]), groups=4)
    assert honest.error == pytest.approx(0, abs=1e-9)
    assert honest.slope == pytest.approx(1, abs=1e-6)
    assert honest.intercept == pytest.approx(0, abs=1e-6)
    assert [count for *_, count in honest.bins] == [1000] * 4
    loud = reliability(predictions([0.2, 0.4, 0.6, 0.8], [0.4, 0.45, 0.55, 0.6]), groups=4)
    assert loud.error == pytest.approx((0.2 + 0.05 + 0.05 + 0.2) / 4)
    assert loud.slope is not None
    assert 0 < loud.slope < 0.5
    low = reliability(predictions([0.2, 0.5], [0.4, 0.7]), groups=2)
    assert low.intercept is not None
    assert low.intercept > 0.5


def test_where_calibration_is_undefined_it_is_none() -> None:
    assert reliability(predictions([], [])) == Reliability(None, None, None, ())
    assert reliability(predictions([0.5], [0.5])).slope is None
    assert reliability(predictions([0.4, 0.6], [1.0, 1.0])).slope is None
    assert reliability(predictions([0.4, 0.6], [0.0, 1.0])).slope is None
