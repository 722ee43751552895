"""How likely a Sharpe ratio is luck, after so many tries.

Belongs here: probabilistic and deflated Sharpe ratio, minimum track-record length, the probability of backtest
overfitting. Does not belong here: counting the tries (the trial ledger does), replays (`backtester.evidence`).

Every Sharpe ratio here is of one period, not annualised, and every kurtosis is 3 for a normal.

Sources: Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated Sharpe Ratio" (2014);
Bailey, Borwein, López de Prado & Zhu, "The Probability of Backtest Overfitting" (2017).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from scipy.stats import norm, rankdata

from backtester.bars import Floats
from backtester.metrics import Moments, sharpe_se

EULER_GAMMA: Final = 0.5772156649015329
BLOCKS: Final = 14
"""Half days of a week: the blocks of the exam's combinatorial cross-validation."""
SAME: Final = 0.99
"""Columns correlated at least this much are one strategy twice."""
_PAIR: Final = 2
SUPPORTED: Final = 0.95
"""Deflated Sharpe ratio from which a result is called supported."""


def probabilistic_sharpe(
    sharpe: float, benchmark: float, count: int, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the true Sharpe ratio is above `benchmark`, given `count` returns."""
    return float(norm.cdf((sharpe - benchmark) / sharpe_se(sharpe, count, skew, kurtosis)))


def expected_max_sharpe(trials: int, variance: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless strategies is expected to show.

    Parameters
    ----------
    trials : int
        Number of independent tries, 1 or more; the best of one is expected to show 0.
    variance : float
        Variance of the Sharpe ratios of the tries.
    """
    if trials <= 1:
        return 0.0
    first, second = norm.ppf(1.0 - 1.0 / trials), norm.ppf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * float((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second)


def deflated_sharpe(sharpe: float, count: int, skew: float, kurtosis: float, *, trials: int, variance: float) -> float:
    """Return the probability that the true Sharpe ratio is above zero after choosing the best of `trials`.

    The probabilistic Sharpe ratio against `expected_max_sharpe`.
    """
    return probabilistic_sharpe(sharpe, expected_max_sharpe(trials, variance), count, skew, kurtosis)


def min_track_record(
    sharpe: float, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0, confidence: float = 0.95
) -> float | None:
    """Return the number of returns needed before `sharpe` is above `benchmark` at this confidence.

    Null where it is not above it.
    """
    if sharpe <= benchmark:
        return None
    variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return 1.0 + variance * float(norm.ppf(confidence) / (sharpe - benchmark)) ** 2


def sharpe_se_newey_west(returns: Floats, lags: int | None = None) -> float | None:
    """Return the standard error of the Sharpe ratio of serially correlated returns, never below the independent one.

    Delta method with Bartlett weights (Newey & West 1987; Lo 2002).

    Parameters
    ----------
    returns : ndarray of shape (n_returns,)
        Returns of one period each.
    lags : int, optional
        Largest lag; by default floor(4 (n / 100)^(2/9)).

    Returns
    -------
    float or None
        Null with fewer than two returns or without variance.
    """
    moments = Moments.of(returns)
    ratio = moments.sharpe
    if ratio is None:
        return None
    n = len(returns)
    most = min(n - 1, math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0)) if lags is None else lags)
    z = (returns - returns.mean()) / returns.std()
    influence = z - ratio / 2.0 * (z * z - 1.0)
    variance = float(influence @ influence) / n
    for lag in range(1, most + 1):
        variance += 2.0 * (1.0 - lag / (most + 1.0)) * float(influence[lag:] @ influence[:-lag]) / n
    independent = sharpe_se(ratio, n, moments.skew, moments.kurtosis)
    return max(math.sqrt(max(variance, 0.0) / (n - 1)), independent)


@dataclass(frozen=True)
class SharpeEvidence:
    """What a Sharpe ratio is worth, given how it was found.

    Parameters
    ----------
    sharpe, se : float, optional
        Of one period, and its standard error (Newey-West, never below that of independent returns).
    count, skew, kurtosis
        Of the returns.
    probabilistic : float, optional
        Probability that the true ratio is above zero, had this been the only try.
    trials : int
        Number of configurations ever run on any overlapping exam.
    variance : float, optional
        Variance that the ratios of the tries have where all are worthless: the larger of `se` squared and the mean
        square of the standard errors of the zero-cost ratios.
    expected_max : float, optional
        What the best of `trials` worthless tries would show.
    deflated : float, optional
        Probability that the true ratio is above zero after that choice.
    min_track_record : float, optional
        Returns needed for 95 % confidence that it is above zero; null for a ratio of zero or less.

    Notes
    -----
    All null where the returns do not vary.
    """

    sharpe: float | None
    se: float | None
    count: int
    skew: float
    kurtosis: float
    probabilistic: float | None
    trials: int
    variance: float | None
    expected_max: float | None
    deflated: float | None
    min_track_record: float | None

    @property
    def supported(self) -> bool:
        """Whether the deflated ratio reaches 0.95: a label that removes nobody."""
        return self.deflated is not None and self.deflated >= SUPPORTED


def sharpe_evidence(returns: Floats, trials: int, zero_cost_errors: Sequence[float] | Floats = ()) -> SharpeEvidence:
    """Judge the Sharpe ratio of hourly pooled exam returns.

    Parameters
    ----------
    returns : ndarray of shape (n_returns,)
        Hourly pooled returns.
    trials : int
        Configurations ever run on any overlapping exam, this one included.
    zero_cost_errors : sequence of float
        Standard errors of the ratios (of one hour) of the same exam's configurations at zero cost; NaN is left out.

    Raises
    ------
    ValueError
        If `trials` is below 1.

    Notes
    -----
    The paper takes the variance of the tries' own ratios. Where all are worthless that is the mean square of their
    standard errors, which is what is taken here: the ratios themselves also vary by what some of them truly earn, and
    then a search that finds the same edge ten times would raise the bar for itself (on `sample:edge` from 0.17 to 0.35
    an hour, so that none of 11 markets had a supported strategy).
    """
    if trials < 1:
        msg = f"trials is {trials}; the configuration judged is a trial itself, so give 1 or more"
        raise ValueError(msg)
    moments, se = Moments.of(returns), sharpe_se_newey_west(returns)
    if moments.sharpe is None or se is None:
        return SharpeEvidence(
            None, None, moments.count, moments.skew, moments.kurtosis, None, trials, None, None, None, None
        )
    errors = np.asarray(zero_cost_errors, dtype=np.float64)
    errors = errors[np.isfinite(errors)]
    variance = max(se * se, float(np.mean(errors**2)) if len(errors) else 0.0)
    shape = (moments.count, moments.skew, moments.kurtosis)
    return SharpeEvidence(
        sharpe=moments.sharpe,
        se=se,
        count=moments.count,
        skew=moments.skew,
        kurtosis=moments.kurtosis,
        probabilistic=probabilistic_sharpe(moments.sharpe, 0.0, *shape),
        trials=trials,
        variance=variance,
        expected_max=expected_max_sharpe(trials, variance),
        deflated=deflated_sharpe(moments.sharpe, *shape, trials=trials, variance=variance),
        min_track_record=min_track_record(moments.sharpe, 0.0, moments.skew, moments.kurtosis),
    )


@dataclass(frozen=True, eq=False)
class OverfittingRisk:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    Parameters
    ----------
    probability : float, optional
        Share of the splits in which the best in-sample column is at or below the median out of sample; null where
        fewer than two different columns traded.
    loss_probability : float, optional
        Share of the splits in which that column loses out of sample.
    columns : int
        Columns compared, after those without a trade and near copies were dropped.
    splits : int
        Number of splits.
    logits : ndarray of shape (n_splits,)
        Logit of the relative out-of-sample rank.
    """

    probability: float | None
    loss_probability: float | None
    columns: int
    splits: int
    logits: Floats


def overfitting_risk(returns: Floats, blocks: int = BLOCKS) -> OverfittingRisk:
    """Return how often choosing the best column in one half of the time disappoints in the other half.

    Parameters
    ----------
    returns : ndarray of shape (n_returns, n_columns)
        Hourly returns, a column a configuration. Columns that never move (no trade) and columns correlated at least
        0.99 with one to their left are dropped.
    blocks : int
        Even number of blocks of time of equal length; rows left over at the start are dropped.

    Raises
    ------
    ValueError
        If `blocks` is odd or below 2, or there are fewer than two rows a block.
    """
    if blocks < _PAIR or blocks % 2 or len(returns) < 2 * blocks:
        msg = f"{len(returns)} rows in {blocks} blocks: give an even number of blocks of two rows or more"
        raise ValueError(msg)
    columns = _distinct(returns)
    if columns.shape[1] < _PAIR:
        return OverfittingRisk(None, None, columns.shape[1], 0, np.empty(0))
    length = len(columns) // blocks
    cut = columns[len(columns) - length * blocks :].reshape(blocks, length, -1)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    chosen = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, picked in enumerate(combinations(range(blocks), blocks // 2)):
        chosen[row, picked] = 1.0
    rows = length * blocks // 2
    inside = _sharpes(chosen @ sums, chosen @ squares, rows)
    outside = _sharpes((1.0 - chosen) @ sums, (1.0 - chosen) @ squares, rows)
    best = inside.argmax(axis=1)
    splits = np.arange(len(chosen))
    rank = rankdata(outside, axis=1)[splits, best] / (columns.shape[1] + 1.0)
    logits: Floats = np.log(rank / (1.0 - rank))
    return OverfittingRisk(
        probability=float((logits <= 0.0).mean()),
        loss_probability=float((outside[splits, best] < 0.0).mean()),
        columns=columns.shape[1],
        splits=len(chosen),
        logits=logits,
    )


def _sharpes(sums: Floats, squares: Floats, rows: int) -> Floats:
    mean = sums / rows
    deviation = np.sqrt(np.maximum(squares / rows - mean**2, 0.0))
    moving = deviation > 0.0
    return np.where(moving, mean / np.where(moving, deviation, 1.0), 0.0)


def _distinct(returns: Floats) -> Floats:
    moving = returns[:, returns.std(axis=0) > 0.0]
    if moving.shape[1] < _PAIR:
        return moving
    correlation = np.atleast_2d(np.corrcoef(moving, rowvar=False))
    kept: list[int] = []
    for column in range(moving.shape[1]):
        if not any(correlation[column, other] >= SAME for other in kept):
            kept.append(column)
    return moving[:, kept]
