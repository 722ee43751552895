"""Expected ratios against restricted likelihood on dense matrices, Henderson's equations and closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from backtester.statistics.expected import LEAST_MEMBERS, LEAST_WINDOWS, _Panel, expected_ratios

MEMBERS, WINDOWS = 24, 7
RNG = np.random.default_rng(11)
RATIOS = (
    RNG.normal(0.5, 3.0, MEMBERS)[:, None] + RNG.normal(0.0, 2.0, WINDOWS) + RNG.normal(0.0, 4.0, (MEMBERS, WINDOWS))
)
RATIOS[RNG.random(RATIOS.shape) < 0.3] = np.nan
ERRORS = RNG.uniform(3.0, 6.0, RATIOS.shape)
KNOWN = RNG.normal(size=(MEMBERS, 2))


def dense() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ratios, variances, members, fixed effects and the members' own columns, written out row by row."""
    rows = [(i, w) for i in range(MEMBERS) for w in range(WINDOWS) if np.isfinite(RATIOS[i, w])]
    own = np.column_stack([np.ones(MEMBERS), (KNOWN - KNOWN.mean(axis=0)) / KNOWN.std(axis=0)])
    fixed = []
    for i, w in rows:
        window = np.zeros(WINDOWS - 1) if w < WINDOWS - 1 else -np.ones(WINDOWS - 1)
        if w < WINDOWS - 1:
            window[w] = 1.0
        fixed.append([*own[i], *window])
    member = np.array([[float(i == j) for j in range(MEMBERS)] for i, _ in rows])
    y = np.array([RATIOS[at] for at in rows])
    variance = np.array([ERRORS[at] ** 2 for at in rows])
    return y, variance, member, np.array(fixed), own


def minus_log_likelihood(tau: float) -> float:
    y, variance, member, fixed, _ = dense()
    inside = np.diag(variance) + tau**2 * member @ member.T
    inverse = np.linalg.inv(inside)
    left = y - fixed @ np.linalg.solve(fixed.T @ inverse @ fixed, fixed.T @ inverse @ y)
    logs = np.linalg.slogdet(inside)[1] + np.linalg.slogdet(fixed.T @ inverse @ fixed)[1]
    return 0.5 * (logs + left @ inverse @ left)


def test_the_spread_is_that_of_the_largest_restricted_likelihood_on_dense_matrices() -> None:
    best = minimize_scalar(minus_log_likelihood, bounds=(0.0, 20.0), method="bounded", options={"xatol": 1e-8}).x
    found = expected_ratios(RATIOS, ERRORS, KNOWN)
    assert found.spread == pytest.approx(best, rel=1e-4)
    assert found.spread > 1.0
    known = np.isfinite(RATIOS)
    panel = _Panel.of(RATIOS, ERRORS, known, np.arange(MEMBERS), np.arange(WINDOWS), KNOWN)
    for tau in (0.0, 0.7, 3.0):
        assert panel.at(tau).likelihood - panel.at(1.0).likelihood == pytest.approx(
            minus_log_likelihood(1.0) - minus_log_likelihood(tau), rel=1e-9
        )


def test_means_and_errors_are_those_of_the_mixed_model_equations() -> None:
    tau = 2.5
    y, variance, member, fixed, own = dense()
    both = np.hstack([fixed, member])
    left = both.T @ (both / variance[:, None])
    left[fixed.shape[1] :, fixed.shape[1] :] += np.eye(MEMBERS) / tau**2
    inverse = np.linalg.inv(left)
    solution = inverse @ (both.T @ (y / variance))
    pick = np.hstack([own, np.zeros((MEMBERS, fixed.shape[1] - own.shape[1])), np.eye(MEMBERS)])
    panel = _Panel.of(RATIOS, ERRORS, np.isfinite(RATIOS), np.arange(MEMBERS), np.arange(WINDOWS), KNOWN)
    fit = panel.at(tau)
    assert fit.mean == pytest.approx(pick @ solution, rel=1e-9)
    assert fit.variance == pytest.approx(np.diag(pick @ inverse @ pick.T), rel=1e-9)


def test_a_balanced_panel_has_a_closed_form() -> None:
    ratios = RNG.normal(1.0, 2.0, 30)[:, None] + RNG.normal(0.0, 3.0, (30, 5))
    found = expected_ratios(ratios, np.full(ratios.shape, 3.0))
    means = ratios.mean(axis=1)
    tau2 = means.var(ddof=1) - 9.0 / 5.0
    assert found.spread**2 == pytest.approx(tau2, rel=1e-4)
    reliability = tau2 / (tau2 + 9.0 / 5.0)
    assert found.ratio == pytest.approx(means.mean() + reliability * (means - means.mean()), rel=1e-4)
    effects = ratios.mean(axis=0) - ratios.mean()
    error = (9.0 / 30.0) * (1.0 - 1.0 / 5.0)
    assert found.window_spread**2 == pytest.approx(max(effects.var(ddof=1) - 5.0 * error / 4.0, 0.0), rel=1e-6)


def test_what_differs_by_noise_alone_is_expected_to_be_the_same_and_intervals_stay_open() -> None:
    ratios = np.tile(np.array([[3.0, -3.0, 3.0, -3.0], [-3.0, 3.0, -3.0, 3.0]]), (6, 1))
    found = expected_ratios(ratios, np.full(ratios.shape, 3.0))
    assert found.spread == 0.0
    assert np.ptp(found.ratio) == pytest.approx(0.0, abs=1e-12)
    assert (found.error > 0.1).all()
    assert (found.high - found.low > 2 * 1.28 * 1.5).all()


def test_older_windows_weigh_less() -> None:
    ratios = np.tile(np.linspace(-2.0, 2.0, 12)[:, None], 6)
    ratios[0] = [4.0, 4.0, 4.0, -4.0, -4.0, -4.0]
    errors = np.full(ratios.shape, 1.0)
    same, aged = (expected_ratios(ratios, errors, half_life=each).ratio[0] for each in (np.inf, 2.0))
    assert aged < same


def test_too_small_a_panel_tells_nothing_and_a_member_without_windows_has_none() -> None:
    few = expected_ratios(RATIOS[: LEAST_MEMBERS - 1], ERRORS[: LEAST_MEMBERS - 1])
    short = expected_ratios(RATIOS[:, : LEAST_WINDOWS - 1], ERRORS[:, : LEAST_WINDOWS - 1])
    for found in (few, short):
        assert np.isnan(found.ratio).all()
        assert np.isnan(found.spread)
    absent, errors = RATIOS.copy(), ERRORS.copy()
    absent[3] = np.nan
    errors[4] = 0.0
    found = expected_ratios(absent, errors, KNOWN)
    assert np.isnan(found.ratio[[3, 4]]).all()
    assert np.isfinite(np.delete(found.ratio, [3, 4])).all()
    assert found.windows[[3, 4]].tolist() == [0, 0]


def test_a_covariate_that_the_windows_determine_is_left_out() -> None:
    ratios, late = RATIOS.copy(), np.zeros((MEMBERS, 1))
    ratios[:12, 4:], ratios[12:, :4] = np.nan, np.nan
    late[12:] = 1.0
    ratios = np.where(np.isnan(RATIOS), 0.5, RATIOS) * np.where(np.isnan(ratios), np.nan, 1.0)
    with_it, without = (expected_ratios(ratios, ERRORS, each) for each in (late, None))
    assert with_it.spread == pytest.approx(without.spread, abs=1e-5)
    assert with_it.ratio == pytest.approx(without.ratio, abs=1e-4, nan_ok=True)
