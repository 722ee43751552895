"""Retrained first, searched when that does not help, replaced only by what is better on days that neither has seen."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from backtester.statistics.windows import Window
from features.bars import FrameSource
from features.feature_manager import FeatureManager
from model_zoo.models.base import ModelError, ModelSpec, Range
from model_zoo.models.catalog import MODELS, make
from model_zoo.training.trainer import default_spec
from model_zoo.training.tuning import Challenge, challenge, drift_state, fingerprint, to_search
from tests.model_zoo.conftest import SYMBOLS, T, candles

pytestmark = pytest.mark.slow

GOOD = ModelSpec("direction", "5m", 12, ("returns", "returns_5"))
DEAF = replace(GOOD, hyper={"learning_rate": 0.0001, "min_data_in_leaf": 100_000.0})


def manager_of(days: int, reversal: float = 0.9) -> FeatureManager:
    return FeatureManager(FrameSource({"5m": candles(reversal, days)}), T)


@pytest.fixture(scope="module")
def beaten() -> Challenge:
    return challenge(manager_of(10), SYMBOLS, T, DEAF, drop=["returns"], budget=3, test_days=1)


def test_a_model_is_retrained_before_it_is_searched_for() -> None:
    dates = [T - timedelta(days=days) for days in (0, 1, 2, 3)]
    assert drift_state([], T) == "steady"
    assert drift_state([(dates[0], False), (dates[1], True)], T) == "steady"
    assert drift_state([(dates[0], True)], T) == "drifts"
    assert drift_state([(dates[0], True), (dates[1], False), (dates[2], True)], T) == "drifts"
    assert drift_state([(dates[1], True), (dates[0], True)], T) == "persists"
    assert drift_state([(dates[0] - timedelta(days=40), True), (dates[0], True)], T) == "drifts", "another drift"
    # what comes later is not known, and what is old is no news
    assert drift_state([(dates[1], True), (dates[0], True)], dates[1]) == "drifts"
    assert drift_state([(dates[3], True)], T) == "steady"


def test_searches_are_rested_and_capped() -> None:
    states = dict.fromkeys("abcd", "persists") | {"e": "drifts"}
    searched = {"a": T - timedelta(days=1), "b": T - timedelta(days=9), "c": T - timedelta(days=5)}
    assert to_search(states, searched, T) == ["d", "b"]  # type: ignore[arg-type]  # of plain texts
    assert to_search(states, searched, T, most=9) == ["d", "b", "c"]  # type: ignore[arg-type]  # same


def test_a_better_challenger_takes_over(beaten: Challenge) -> None:
    assert beaten.adopted
    assert beaten.challenger != DEAF
    assert beaten.gain is not None
    assert beaten.gain > 0.01
    assert beaten.gain == pytest.approx((beaten.champion_log_loss or 0) - (beaten.challenger_log_loss or 0))
    assert 1 < len(beaten.tried) <= 3
    assert beaten.tried[0].spec == DEAF
    assert len({fingerprint(each.spec) for each in beaten.tried}) == len(beaten.tried)
    make(beaten.challenger)


def test_search_and_comparison_share_no_day(beaten: Challenge) -> None:
    assert beaten.searched == Window(T - timedelta(days=8), T - timedelta(days=1))
    assert beaten.test_window == Window(T - timedelta(days=1), T)
    # what happens in the judged days changes nothing that was searched
    changed = candles(0.9, 10).with_columns(
        pl.when(pl.col("ts") > T - timedelta(days=1)).then(pl.col(name) * 1.3).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    )
    other = FeatureManager(FrameSource({"5m": changed}), T)
    again = challenge(other, SYMBOLS, T, DEAF, drop=["returns"], budget=2, test_days=1)
    assert [each.spec for each in again.tried] == [each.spec for each in beaten.tried[:2]]
    assert [each.log_loss for each in again.tried] == [each.log_loss for each in beaten.tried[:2]]


def test_where_nothing_is_to_be_found_the_champion_stays() -> None:
    found = challenge(manager_of(10, 0.0), SYMBOLS, T, GOOD, budget=2, test_days=1)
    assert not found.adopted
    assert len(found.tried) > 1


def test_too_little_history_is_refused() -> None:
    with pytest.raises(ModelError, match="history"):
        challenge(manager_of(7), SYMBOLS, T, GOOD, budget=2)


@pytest.mark.parametrize("name", MODELS)
def test_every_value_that_may_be_tried_makes_a_model(name: str) -> None:
    model = MODELS[name]
    assert set(model.ranges) <= set(model.defaults)
    assert model.ranges
    spec = default_spec(name, "5m")
    for share in (0.0, 0.3, 1.0):
        made = make(replace(spec, hyper={key: each.at(share) for key, each in model.ranges.items()}))
        assert set(made.hyper) == set(model.defaults)
    for key, each in model.ranges.items():
        assert each.low <= model.defaults[key] <= each.high, key


def test_a_range_goes_from_end_to_end() -> None:
    assert [Range(1, 100, log=True).at(share) for share in (0, 0.5, 1)] == [1, 10, 100]
    assert [Range(2, 9, whole=True).at(share) for share in (0, 0.5, 1)] == [2, 6, 9]
    assert np.all(np.diff([Range(0.1, 0.3).at(share / 9) for share in range(10)]) > 0)
