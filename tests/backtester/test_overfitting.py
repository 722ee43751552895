"""The statistics against the papers' own numbers, and against worlds whose truth is known."""

import math

import numpy as np
import pytest

from backtester.metrics import Moments
from backtester.overfitting import (
    deflated_sharpe,
    expected_max_sharpe,
    min_track_record,
    overfitting_risk,
    probabilistic_sharpe,
    sharpe_evidence,
    sharpe_se_newey_west,
)


def test_deflated_sharpe_of_the_paper() -> None:
    # Bailey & López de Prado 2014, the numerical example: annual ratio 2.5, five years of daily returns.
    daily, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert expected_max_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(daily, 1250, -3.0, 10.0, trials=100, variance=variance) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(daily, 1250, -3.0, 10.0, trials=46, variance=variance) == pytest.approx(0.9505, abs=5e-5)
    assert deflated_sharpe(daily, 1250, 0.0, 3.0, trials=88, variance=variance) == pytest.approx(0.9505, abs=5e-5)


def test_probabilistic_sharpe_of_the_paper() -> None:
    # Bailey & López de Prado 2012: two years of monthly returns, ratio 0.458, skew -2.448, kurtosis 10.164.
    assert probabilistic_sharpe(0.458, 0.0, 24) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(0.458, 0.0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_min_track_record_of_the_paper(periods: int, skew: float, kurtosis: float, years: float) -> None:
    # The same paper: an annual ratio of 2 against 1 at 95 %.
    root = math.sqrt(periods)
    needed = min_track_record(2 / root, 1 / root, skew, kurtosis)
    assert needed is not None
    assert needed / periods == pytest.approx(years, abs=0.005)


def test_edges() -> None:
    assert expected_max_sharpe(1, 1.0) == 0.0
    assert min_track_record(0.1, 0.1) is None
    flat = sharpe_evidence(np.zeros(100), 5)
    assert (flat.sharpe, flat.deflated, flat.supported) == (None, None, False)
    with pytest.raises(ValueError, match="trials is 0"):
        sharpe_evidence(np.zeros(100), 0)
    with pytest.raises(ValueError, match="blocks"):
        overfitting_risk(np.zeros((20, 3)))
    assert overfitting_risk(np.zeros((168, 3))).probability is None


def test_the_best_of_many_worthless_tries_is_what_the_formula_expects() -> None:
    rng = np.random.default_rng(1)
    best = [max(rng.normal(0.0, 0.1, 200)) for _ in range(2000)]
    assert np.mean(best) == pytest.approx(expected_max_sharpe(200, 0.01), rel=0.01)


def test_newey_west_sees_serial_correlation_and_is_never_below_independence() -> None:
    rng = np.random.default_rng(2)
    shocks = rng.normal(0.02, 1.0, 20_001)
    calm, sticky = shocks[1:], shocks[1:] + 0.8 * shocks[:-1]
    independent = Moments.of(calm).annual_sharpe_se(1.0)
    assert independent is not None
    assert sharpe_se_newey_west(calm) == pytest.approx(independent, rel=0.05)
    spread = np.std([Moments.of(s[1:] + 0.8 * s[:-1]).sharpe for s in rng.normal(0.02, 1.0, (2000, 1001))])
    assert sharpe_se_newey_west(sticky, lags=20) * math.sqrt(20) == pytest.approx(spread, rel=0.1)
    assert sharpe_se_newey_west(np.tile([1.0, -0.9], 500)) >= Moments.of(np.tile([1.0, -0.9], 500)).annual_sharpe_se(
        1.0
    )


def test_evidence_takes_the_larger_variance() -> None:
    returns = np.random.default_rng(3).normal(0.1, 1.0, 168)
    alone = sharpe_evidence(returns, 50)
    assert alone.variance == pytest.approx(alone.se**2)
    wide = sharpe_evidence(returns, 50, [1.0, 2.0, float("nan")])
    assert wide.variance == pytest.approx(2.5)
    assert wide.deflated < alone.deflated < alone.probabilistic
    assert sharpe_evidence(returns + 5.0, 50).supported


def test_the_bar_is_the_papers_where_nothing_is_there_and_not_raised_by_what_is() -> None:
    rng = np.random.default_rng(6)
    worthless = rng.standard_t(5, (400, 168))
    ratios = [Moments.of(each).sharpe for each in worthless]
    errors = [sharpe_se_newey_west(each) for each in worthless]
    assert np.mean(np.square(errors)) == pytest.approx(np.var(ratios), rel=0.15)
    # ten finalists on one edge: the ratios' variance grows, their errors do not
    edge = [sharpe_se_newey_west(each) for each in worthless[:10] + 0.5]
    assert np.mean(np.square(edge)) < 1.5 * np.mean(np.square(errors))
    found = sharpe_evidence(worthless[0] - worthless[0].mean() + 0.7, 40, [*errors[:30], *edge])
    assert found.supported


def test_overfitting_risk_knows_noise_from_skill() -> None:
    rng = np.random.default_rng(4)
    noise = [overfitting_risk(rng.normal(0.0, 1.0, (168, 20))).probability for _ in range(40)]
    assert 0.4 < np.mean(noise) < 0.6
    skill = rng.normal(0.0, 1.0, (168, 20))
    skill[:, 7] += 1.0
    risk = overfitting_risk(skill)
    assert risk.probability == 0.0
    assert (risk.columns, risk.splits) == (20, 3432)


def test_overfitting_risk_by_hand() -> None:
    # Two blocks, two columns: whichever wins one half loses the other.
    returns = np.array([[2.0, -1.0], [1.0, -2.0], [-1.0, 2.0], [-2.0, 1.0]])
    risk = overfitting_risk(returns, blocks=2)
    assert risk.probability == 1.0
    assert risk.loss_probability == 1.0
    assert risk.logits == pytest.approx([math.log(1 / 2)] * 2)


def test_copies_and_idle_columns_are_dropped() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(0.0, 1.0, (168, 3))
    more = np.column_stack([base, base[:, 0] * 2.0, np.zeros(168), -base[:, 1]])
    assert overfitting_risk(more).columns == 4
