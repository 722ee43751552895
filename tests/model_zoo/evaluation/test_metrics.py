"""Metrics agree with scikit-learn; the bootstrap covers; each leakage check fails on a planted leak."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression

from model_zoo.evaluation.metrics import (
    check_apart,
    check_not_too_good,
    check_shuffled,
    check_single_features,
    measure,
    measure_values,
    reliability,
)

START = datetime(2025, 6, 1, tzinfo=UTC)
BLOCK = timedelta(hours=2)


def predictions(skill: float, rows: int = 2_000, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1, rows)
    up = rng.random(rows) < 1 / (1 + np.exp(-skill * logit))
    return pl.DataFrame(
        {
            "ts": [START + timedelta(minutes=5 * i) for i in range(rows)],
            "probability": 1 / (1 + np.exp(-logit)),
            "label_event": up,
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn(seed: int) -> None:
    rows = predictions(0.7, 500, seed)
    got = measure(rows, 0.55, BLOCK, seed)
    up, probability = rows["label_event"].to_numpy(), rows["probability"].to_numpy()
    said = probability > 0.5
    assert got.rows == 500
    assert got.accuracy == pytest.approx(oracle.accuracy_score(up, said))
    assert got.precision == pytest.approx(oracle.precision_score(up, said))
    assert got.recall == pytest.approx(oracle.recall_score(up, said))
    assert got.f1 == pytest.approx(oracle.f1_score(up, said))
    assert got.log_loss == pytest.approx(oracle.log_loss(up, probability))
    assert got.baseline_log_loss == pytest.approx(oracle.log_loss(up, np.full(500, 0.55)))
    assert got.baseline_accuracy == pytest.approx(max(up.mean(), 1 - up.mean()))
    assert got.log_loss_gain == pytest.approx((got.baseline_log_loss or 0) - (got.log_loss or 0))


def test_the_accuracy_beside_it_is_of_the_best_constant_guess() -> None:
    # the event was rare in training and is frequent now: to say 'no' is right in 36 %, to say 'yes' in 64 %
    rows = predictions(1.0, 250).with_columns(label_event=pl.Series([True] * 160 + [False] * 90))
    got = measure(rows, 0.3, BLOCK, 0)
    assert got.baseline_accuracy == pytest.approx(0.64)
    assert measure(rows.with_columns(~pl.col("label_event")), 0.3, BLOCK, 0).baseline_accuracy == pytest.approx(0.64)
    assert got.accuracy_gain == pytest.approx((got.accuracy or 0) - 0.64)


def test_intervals_are_as_they_were_stored() -> None:
    rng = np.random.default_rng(11)
    valued = {name: pl.Series(rng.normal(size=600)) for name in ("value", "label_value")}
    rows = predictions(0.7, 600, 3).with_columns(**valued)
    got, values = measure(rows, 0.45, BLOCK, 5), measure_values(rows, 0.1, BLOCK, 5)
    found = (got.log_loss_gain_low, got.log_loss_gain_high, got.accuracy_gain_low, values.skill_low)
    stored = (0.01307401396273539, 0.07634725540027955, 0.08833333333333333, -1.0953325826691513)
    assert found == pytest.approx(stored, rel=1e-12)


def test_slope_and_area_are_those_of_scikit_learn() -> None:
    rows = predictions(0.7, 2_000, 4)
    probability, event = rows["probability"].to_numpy(), rows["label_event"].to_numpy()
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
    fitted.fit(np.log(probability / (1 - probability))[:, np.newaxis], event)
    found = reliability(rows)
    assert (found.slope, found.intercept) == pytest.approx((fitted.coef_[0, 0], fitted.intercept_[0]), abs=1e-9)
    tied = rows.with_columns(pl.col("probability").round(2))
    area = oracle.roc_auc_score(event, tied["probability"].to_numpy())
    assert check_single_features(tied, ("probability",)).value == pytest.approx(max(area, 1 - area), abs=1e-12)


def test_a_model_with_skill_is_better_than_its_baseline_and_one_without_is_not() -> None:
    assert measure(predictions(1.0), 0.5, BLOCK, 0).better
    assert not measure(predictions(0.0), 0.5, BLOCK, 0).better


def test_where_nothing_can_be_said_nothing_is() -> None:
    none = measure(predictions(1.0).clear(), 0.5, BLOCK, 0)
    assert (none.rows, none.accuracy, none.log_loss, none.better) == (0, None, None, False)
    down = predictions(1.0, 50).with_columns(label_event=pl.lit(False), probability=pl.lit(0.2))
    got = measure(down, 0.5, BLOCK, 0)
    assert (got.accuracy, got.precision, got.recall, got.f1) == (1.0, None, None, None)
    unknown = predictions(1.0, 50).with_columns(label_event=pl.lit(None, pl.Boolean))
    assert measure(unknown, 0.5, BLOCK, 0).rows == 0


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # the accuracy of a coin is 1/2 and so is its baseline's: gain 0
    intervals = [measure(predictions(0.0, 400, seed), 0.5, BLOCK, seed) for seed in range(60)]
    held = [(got.accuracy_gain_low or 0) <= 0 <= (got.accuracy_gain_high or 0) for got in intervals]
    assert 0.75 <= np.mean(held) <= 1.0


def test_overlapping_labels_widen_the_interval() -> None:
    rows = predictions(0.0, 200)
    copied = pl.concat([rows] * 10).sort("ts")
    once, often = measure(rows, 0.5, BLOCK, 0), measure(copied, 0.5, BLOCK, 0)
    width = (once.log_loss_gain_high or 0) - (once.log_loss_gain_low or 0)
    assert (often.log_loss_gain_high or 0) - (often.log_loss_gain_low or 0) == pytest.approx(width, rel=0.05)


def test_a_planted_leak_is_caught() -> None:
    rows = predictions(0.5)
    leak = rows.with_columns(leak=pl.col("label_event").cast(pl.Float64), noise=pl.col("probability"))
    assert check_single_features(leak, ("noise",)).passed
    caught = check_single_features(leak, ("noise", "leak"))
    assert not caught.passed
    assert "leak alone" in caught.detail
    assert not check_single_features(leak.with_columns(pl.col("leak") * -1), ("leak",)).passed


def test_too_good_is_caught_and_luck_is_not() -> None:
    assert check_not_too_good(predictions(1.0), BLOCK, 0).passed
    perfect = predictions(0.0).with_columns(probability=pl.when("label_event").then(0.9).otherwise(0.1))
    assert not check_not_too_good(perfect, BLOCK, 0).passed
    lucky = perfect.head(3)
    assert not check_not_too_good(lucky, BLOCK, 0).passed or lucky.height < 10


def test_shuffled_labels_that_still_predict_are_caught() -> None:
    assert check_shuffled([measure(predictions(0.0), 0.5, BLOCK, 0)]).passed
    leaking, honest = measure(predictions(1.0), 0.5, BLOCK, 0), measure(predictions(0.0), 0.5, BLOCK, 0)
    assert not check_shuffled([leaking]).passed
    assert not check_shuffled([leaking] * 3).passed
    # luck with one shuffle is not a leak, and no more are made than it takes to see that
    tries = iter([leaking, honest, leaking])
    assert check_shuffled(tries).passed
    assert len(list(tries)) == 1


def test_touching_windows_are_caught() -> None:
    learned = pl.DataFrame({"label_known_at": [START]})
    assert check_apart(learned, pl.DataFrame({"decided_at": [START]})).passed
    late = check_apart(learned, pl.DataFrame({"decided_at": [START - timedelta(minutes=5)]}))
    assert not late.passed
    assert late.value == 300


@pytest.mark.parametrize("seed", range(3))
def test_value_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = predictions(0.7, 500, seed).select("ts")
    truth = rng.normal(1, 2, 500)
    rows = rows.with_columns(value=pl.Series(truth * 0.5 + rng.normal(size=500)), label_value=pl.Series(truth))
    got = measure_values(rows, 0.8, BLOCK, seed)
    assert got.r2 == pytest.approx(oracle.r2_score(truth, rows["value"]))
    assert got.mae == pytest.approx(oracle.mean_absolute_error(truth, rows["value"]))
    assert got.baseline_r2 == pytest.approx(oracle.r2_score(truth, np.full(500, 0.8)))
    assert got.baseline_mae == pytest.approx(oracle.mean_absolute_error(truth, np.full(500, 0.8)))
    assert got.mae_gain == pytest.approx((got.baseline_mae or 0) - (got.mae or 0))
    plain = oracle.mean_squared_error(truth, np.full(500, 0.8))
    assert got.skill == pytest.approx(1 - oracle.mean_squared_error(truth, rows["value"]) / plain)
    assert got.better
    assert (got.skill_low or 0) < (got.skill or 0) < (got.skill_high or 0)
    constant = measure_values(rows.with_columns(value=pl.lit(0.8)), 0.8, BLOCK, seed)
    assert (constant.skill, constant.mae_gain, constant.better) == (0.0, 0.0, False)
    assert measure_values(rows.clear(), 0.8, BLOCK, seed).r2 is None
