"""How capital is divided among what was chosen.

Belongs here: weights from returns that were known when the choice was made. Does not belong here: choosing, and what
weights earned afterwards (`blofin_assets.replay`).
"""

import numpy as np

from features.array_types import FloatArray, IntArray


def inverse_volatility(returns: FloatArray) -> FloatArray:
    """Return weights in inverse proportion to the deviation of each member.

    Parameters
    ----------
    returns : ndarray of shape (n_times, n_members)
        As for `risk_parity`.

    Returns
    -------
    ndarray of shape (n_members,)
        At least 0, their sum is 1; NaN for a member that did not move.
    """
    inverse = np.full(returns.shape[1], np.nan)
    moved = _moved(returns)
    inverse[moved] = 1.0 / returns[:, moved].std(axis=0)
    weights: FloatArray = inverse / np.nansum(inverse)
    return weights


def risk_parity(returns: FloatArray) -> FloatArray:
    """Return the weights of hierarchical risk parity: less to what moves more, and to what moves together.

    Parameters
    ----------
    returns : ndarray of shape (n_times, n_members)
        Of the same times, all known and before those on which the weights are used.

    Returns
    -------
    ndarray of shape (n_members,)
        At least 0, their sum is 1; NaN for a member that did not move, which has no part in it.

    References
    ----------
    López de Prado, M. (2016). Building diversified portfolios that outperform out of sample. Journal of Portfolio
    Management 42(4).
    """
    # seconds to import, and needed by reports and replays alone
    from skfolio.moments import EmpiricalCovariance
    from skfolio.optimization import HierarchicalRiskParity
    from skfolio.prior import EmpiricalPrior

    weights = np.full(returns.shape[1], np.nan)
    moved = _moved(returns)
    if len(moved):
        # no matrix is inverted, so it may be singular: of more members than times, or of two that are alike
        prior = EmpiricalPrior(covariance_estimator=EmpiricalCovariance(nearest=False))
        weights[moved] = HierarchicalRiskParity(prior_estimator=prior).fit(returns[:, moved]).weights_
    return weights


def _moved(returns: FloatArray) -> IntArray:
    return np.flatnonzero(np.ptp(returns, axis=0) > 0.0) if len(returns) > 1 else np.empty(0, dtype=np.int64)
