"""Capital by hierarchical risk parity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.statistics.allocation import inverse_volatility, risk_parity


def drawn(seed: int, members: int, times: int = 168) -> np.ndarray:
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.01, (times, 1))
    return common * rng.uniform(-1, 1, members) + rng.normal(0, 0.01, (times, members)) * rng.uniform(0.2, 3, members)


def test_two_are_weighted_by_inverse_variance() -> None:
    returns = drawn(1, 2)
    inverse = 1 / returns.var(axis=0)
    np.testing.assert_allclose(risk_parity(returns), inverse / inverse.sum())


def test_by_inverse_volatility_each_moves_its_part_by_as_much() -> None:
    returns = drawn(6, 5)
    returns[:, 3] = 0.0
    weights = inverse_volatility(returns)
    assert np.isnan(weights[3])
    assert np.nansum(weights) == pytest.approx(1)
    np.testing.assert_allclose(np.delete(weights * returns.std(axis=0), 3), np.nanmean(weights * returns.std(axis=0)))
    assert np.isnan(inverse_volatility(np.zeros((168, 2)))).all()


def test_two_pairs_share_as_two_and_each_within() -> None:
    rng = np.random.default_rng(2)
    factors = rng.normal(0, [0.01, 0.02], (500, 2))
    returns = np.repeat(factors, 2, axis=1) + rng.normal(0, 0.001, (500, 4))
    covariance = np.cov(returns, rowvar=False)
    inside, risks = [], []
    for pair in ([0, 1], [2, 3]):
        own = covariance[np.ix_(pair, pair)]
        inverse = 1 / np.diag(own)
        inside.append(inverse / inverse.sum())
        risks.append(inside[-1] @ own @ inside[-1])
    first = 1 - risks[0] / sum(risks)
    expected = np.concatenate([first * inside[0], (1 - first) * inside[1]])
    np.testing.assert_allclose(risk_parity(returns), expected, rtol=1e-6)
    np.testing.assert_allclose(risk_parity(returns[:, [2, 0, 3, 1]]), expected[[2, 0, 3, 1]], rtol=1e-6)


@given(seed=st.integers(0, 10_000), members=st.integers(1, 12), factor=st.floats(0.01, 100))
def test_weights_are_shares_whatever_the_unit(seed: int, members: int, factor: float) -> None:
    returns = drawn(seed, members)
    weights = risk_parity(returns)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(risk_parity(factor * returns), weights, rtol=1e-6)


def test_what_did_not_move_has_no_part() -> None:
    returns = drawn(3, 4)
    returns[:, 2] = 0.0
    weights = risk_parity(returns)
    assert np.isnan(weights[2])
    np.testing.assert_allclose(weights[[0, 1, 3]], risk_parity(returns[:, [0, 1, 3]]))
    assert np.isnan(risk_parity(np.zeros((168, 2)))).all()
    assert np.isnan(risk_parity(np.empty((0, 2)))).all()
    assert np.isnan(risk_parity(drawn(3, 2, times=1))).all()


def test_two_that_are_alike_and_more_members_than_times_are_no_error() -> None:
    alike = drawn(4, 3)[:, [0, 1, 2, 2]]
    assert risk_parity(alike)[2] == pytest.approx(risk_parity(alike)[3])
    assert risk_parity(drawn(5, 12, times=6)).sum() == pytest.approx(1)
