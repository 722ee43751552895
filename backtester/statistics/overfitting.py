"""How likely a Sharpe ratio is luck, given the number of trials.

Belongs here: probabilistic and deflated Sharpe ratio, the effective number of trials, independent episodes of trades,
minimum track-record length, the probability of backtest overfitting, StepM. Does not belong here: counting the trials
(the trial ledger does), replays (`backtester.evaluation.robustness`).

Every Sharpe ratio here is of one period, not annualised, and every kurtosis is 3 for a normal.

Sources: Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated Sharpe Ratio" (2014);
Mertens (2002); Newey & West (1987); Lo (2002); Bailey, Borwein, López de Prado & Zhu, "The Probability of Backtest
Overfitting" (2017); López de Prado, Lipton & Zoonekynd, "How to Use the Sharpe Ratio" (2026, SSRN 5520741); Page,
"Average entropy of a subsystem" (1993); Romano & Wolf, "Stepwise multiple testing as formalized data snooping" (2005).
How often the ratios err is measured by `calibration/run_sharpe.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from backtester.statistics.metrics import Moments, sharpe_se, varies
from features.array_types import FloatArray
from features.bars import MINUTES

EULER_GAMMA: Final = 0.5772156649015329
BLOCKS: Final = 14
"""Half days of a week: the blocks of the holdout's combinatorial cross-validation."""
SAME: Final = 0.99
"""Columns correlated at least this much count as copies of one strategy."""
_PAIR: Final = 2
SUPPORTED: Final = 0.95
"""Deflated Sharpe ratio from which a result is called supported."""
LEAST_EPISODES: Final = 10
"""Fewest independent episodes from which a probability is given."""
LEAST_OF_EACH: Final = 3
"""Fewest winners, and fewest losers, among them: a kind of loss that never occurred is in no standard error."""
LAGS: Final = 4
"""Largest lag of the Newey-West error."""
STEPM_LEVEL: Final = 0.05
"""Probability that StepM calls any worthless column superior, at most."""
STEPM_DRAWS: Final = 1_000
STEPM_BLOCK: Final = 12
"""Mean length in hours of the blocks that its bootstrap draws."""
_MOST_PERSISTENT: Final = 0.9
_INSIDE: Final = ("stop", "trail", "target", "liquidation")
"""Exits that happen inside their bar; all others happen at its open."""


def episodes_of(trades: pl.DataFrame) -> FloatArray:
    """Return the net result of each independent episode of some trades.

    Trades that are open at the same moment, on any lane, are one episode. With trades sorted by their exits, an episode
    begins with the first remaining trade and includes all trades entered before its exit. The number of episodes is
    therefore the largest number of trades of which no two overlap.

    Parameters
    ----------
    trades : DataFrame
        `backtester.simulation.lanes.TRADE_SCHEMA`, of the scored lanes' unit replay.

    Returns
    -------
    ndarray of shape (n_episodes,)
        Sum of the net PnL of an episode's trades, in order of time, up to a constant factor.

    Notes
    -----
    Chaining (A overlaps B, B overlaps C: one episode) would leave 1 episode of 401 trades on 12 symbols and 2 of 84 on
    three, so a strategy on more lanes would have less evidence.
    """
    if trades.is_empty():
        return np.empty(0)
    start = trades["entry_ts"].dt.epoch("us").to_numpy()
    end = trades["exit_ts"].dt.epoch("us").to_numpy()
    bar = trades["timeframe"].replace_strict(MINUTES, return_dtype=pl.Int64).to_numpy() * 60_000_000
    end = np.where(trades["exit_reason"].is_in(_INSIDE).to_numpy(), end + bar, end)
    result = trades["pnl"].to_numpy()
    sums: list[float] = []
    until = -1
    for row in np.lexsort((start, end)).tolist():
        if start[row] >= until:
            until = end[row]
            sums.append(0.0)
        sums[-1] += result[row]
    return np.array(sums)


def sharpe_errors(returns: FloatArray) -> FloatArray | None:
    """Return four standard errors of the Sharpe ratio of some returns.

    Mertens' with skew and kurtosis, Newey & West's with four lags, that of Gaussian returns without a mean
    (1 / sqrt(n - 1)), and that of an autoregression of order one, sqrt((1 + r) / ((1 - r) (n - 1))), where r is the
    first autocorrelation corrected for its bias, r1 + (1 + 3 r1) / n, between 0 and 0.9.

    Parameters
    ----------
    returns : ndarray of shape (n_returns,)
        Returns of one period each.

    Returns
    -------
    ndarray of shape (4,) or None
        None with fewer than two returns or without variance.
    """
    moments = Moments.of(returns)
    robust = sharpe_se_newey_west(returns, LAGS)
    if moments.sharpe is None or robust is None:
        return None
    n = moments.count
    centred = returns - returns.mean()
    first = float(centred[1:] @ centred[:-1]) / float(centred @ centred)
    r = min(max(first + (1.0 + 3.0 * first) / n, 0.0), _MOST_PERSISTENT)
    return np.array(
        [
            sharpe_se(moments.sharpe, n, moments.skew, moments.kurtosis),
            robust,
            1.0 / math.sqrt(n - 1),
            math.sqrt((1.0 + r) / ((1.0 - r) * (n - 1))),
        ]
    )


def sharpe_z(returns: FloatArray, episodes: FloatArray, benchmark: float = 0.0) -> float | None:
    """Return by how many standard errors the Sharpe ratio is above a benchmark, by the least favourable measure.

    The smallest of (ratio - benchmark) / error over `sharpe_errors`, and of the t ratio of the episodes, with a
    standard error of 1 / sqrt(k - 1), less the benchmark in units of its own error, 1 / sqrt(n - 1).

    Parameters
    ----------
    returns : ndarray of shape (n_returns,)
        Hourly pooled returns.
    episodes : ndarray of shape (k,)
        Results of independent episodes, see `episodes_of`.
    benchmark : float
        Sharpe ratio of one period.

    Returns
    -------
    float or None
        Null with fewer than ten episodes, three winners or three losers, and where returns or episodes do not vary.
    """
    count = len(episodes)
    if count < LEAST_EPISODES or min((episodes > 0.0).sum(), (episodes < 0.0).sum()) < LEAST_OF_EACH:
        return None
    ratio, of_episodes, errors = Moments.of(returns).sharpe, Moments.of(episodes).sharpe, sharpe_errors(returns)
    if ratio is None or of_episodes is None or errors is None:
        return None
    by_hours = float(((ratio - benchmark) / errors).min())
    return min(by_hours, of_episodes * math.sqrt(count - 1) - benchmark * math.sqrt(len(returns) - 1))


def probabilistic_sharpe(returns: FloatArray, episodes: FloatArray, benchmark: float = 0.0) -> float | None:
    """Return the probability that the true Sharpe ratio is above `benchmark`.

    Student's distribution with k - 1 degrees of freedom, k the number of episodes, at `sharpe_z`. With
    `expected_max_sharpe` as benchmark it is the deflated Sharpe ratio, which accounts for the choice of the best trial.

    Parameters
    ----------
    returns : ndarray of shape (n_returns,)
        Hourly pooled returns.
    episodes : ndarray of shape (k,)
        Results of independent episodes, see `episodes_of`.
    benchmark : float
        Sharpe ratio of one period.

    Returns
    -------
    float or None
        From 0 to 1; None where `sharpe_z` is.

    References
    ----------
    Bailey & López de Prado (2012, 2014).
    """
    z = sharpe_z(returns, episodes, benchmark)
    return None if z is None else float(student.cdf(z, len(episodes) - 1))


def effective_trials(returns: FloatArray, trials: int) -> float:
    """Return how many independent trials some correlated ones are worth, by the eigenvalues of their correlations.

    The effective rank of the correlation matrix, exp(-sum p ln p) with p the eigenvalues over their sum, is the number
    of equal eigenvalues with the same entropy: 1 for copies of one strategy, k for k unrelated ones. Correlations that
    are estimated from n returns differ by chance, which lowers the logarithm by k / 2n if k <= n (Page 1993); that is
    added again. The share of the rank in the number of columns is that of the effective in all trials.

    Parameters
    ----------
    returns : ndarray of shape (n_returns, n_columns)
        Returns of those trials of which they are known, over one window. Columns that never move are left out.
    trials : int
        All trials, 1 or more.

    Returns
    -------
    float
        From the square root of `trials` to `trials`; `trials` where fewer than two columns move.

    Notes
    -----
    The more trials, the more of them are alike, so the share of a part is rather too large for the whole.

    References
    ----------
    Roy & Vetterli (2007), "The effective rank"; López de Prado, Lipton & Zoonekynd (2026).

    Examples
    --------
    >>> moves = np.random.default_rng(1).normal(size=(168, 20))
    >>> copies = np.repeat(moves[:, :1], 20, axis=1)
    >>> round(effective_trials(moves, 100)), round(effective_trials(copies, 100))
    (100, 10)
    """
    moving = returns[:, varies(returns.mean(axis=0), returns.var(axis=0))] if returns.size else returns
    n, k = moving.shape if moving.ndim == _PAIR else (0, 0)
    if k < _PAIR:
        return float(trials)
    share = np.linalg.eigvalsh(np.corrcoef(moving, rowvar=False)).clip(0.0) / k
    share = share[share > 0.0]
    small, large = min(k, n), max(k, n)
    entropy = -float(share @ np.log(share)) + small / (2.0 * large) + max(math.log(k / n), 0.0)
    return float(np.clip(math.exp(entropy) / k * trials, math.sqrt(trials), trials))


def superior(returns: FloatArray, seed: int) -> list[bool]:
    """Return which columns earn more than nothing by StepM, a bootstrap of all of them together.

    The probability that it names any column whose true mean is zero or less is 5 % at most, whatever the dependence
    between columns.

    Parameters
    ----------
    returns : ndarray of shape (n_returns, n_columns)
        Hourly returns, a column a configuration.
    seed : int
        Of the stationary bootstrap: 1,000 draws in blocks of twelve hours on average.

    Returns
    -------
    list of bool
        One a column; false for one that never moves.

    References
    ----------
    Romano & Wolf (2005).
    """
    from arch.bootstrap import StepM  # noqa: PLC0415 - brings pandas and statsmodels, which nothing else here needs

    moving = varies(returns.mean(axis=0), returns.var(axis=0))
    named = [False] * returns.shape[1]
    if not moving.any():
        return named
    test = StepM(
        np.zeros(len(returns)), -returns[:, moving], size=STEPM_LEVEL, block_size=STEPM_BLOCK, reps=STEPM_DRAWS,
        bootstrap="stationary", studentize=True, seed=seed,
    )  # fmt: skip
    test.compute()
    places = np.flatnonzero(moving)
    for column in test.superior_models:
        named[int(places[int(str(column))])] = True
    return named


def expected_max_sharpe(trials: float, variance: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless strategies is expected to show.

    Parameters
    ----------
    trials : float
        Number of independent trials, 1 or more; for one the result is 0.
    variance : float
        Variance of the Sharpe ratios of the trials.

    Returns
    -------
    float
        In the period of `variance`.

    References
    ----------
    Bailey & López de Prado (2014), "The Deflated Sharpe Ratio".

    Examples
    --------
    >>> round(expected_max_sharpe(100, variance=0.01), 3)
    0.253
    """
    if trials <= 1:
        return 0.0
    first, second = norm.ppf(1.0 - 1.0 / trials), norm.ppf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * max(float((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second), 0.0)


def min_track_record(z: float, count: int, degrees: float = math.inf, confidence: float = SUPPORTED) -> float | None:
    """Return the number of returns after which a Sharpe ratio would be above its benchmark with some confidence.

    Standard errors fall with the root of the number of returns, so this is 1 + (count - 1) (q / z)², where q is the
    quantile of Student's distribution (by default the normal).

    Parameters
    ----------
    z : float
        Standard errors by which the ratio is above its benchmark now.
    count : int
        Number of returns now.
    degrees : float
        Degrees of freedom of Student's distribution.
    confidence : float
        Probability to reach.

    Returns
    -------
    float or None
        None if `z` is zero or less.

    Examples
    --------
    >>> round(min_track_record(1.645, count=101))
    101
    """
    if z <= 0.0:
        return None
    return 1.0 + (count - 1) * float(student.ppf(confidence, degrees) / z) ** 2


def sharpe_se_newey_west(returns: FloatArray, lags: int | None = None) -> float | None:
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
    """Significance of a Sharpe ratio, given the number of trials.

    Parameters
    ----------
    sharpe, se : float, optional
        Of one period, and its standard error (Newey-West, never below that of independent returns).
    error : float, optional
        The largest of `sharpe_errors`, never below `se`.
    count, skew, kurtosis
        Of the returns.
    episodes, winners, losers : int
        Independent episodes of trades (`episodes_of`), and those of them that gained and lost.
    probabilistic : float, optional
        Probability that the true ratio is above zero if this were the only trial; null with fewer than ten episodes,
        three winners or three losers.
    trials : int
        Number of configurations ever run on any overlapping holdout.
    effective : float
        Number of independent ones that they are worth (`effective_trials`).
    variance : float, optional
        Variance of the trials' ratios if all are worthless: the larger of `se` squared and the mean square of the
        standard errors of the zero-cost ratios.
    expected_max : float, optional
        Expected ratio of the best of `effective` worthless trials.
    deflated : float, optional
        Probability that the true ratio is above zero, given that choice; null where `probabilistic` is.
    min_track_record : float, optional
        Returns needed for 95 % confidence that it is above zero; null for a ratio of zero or less, and where
        `probabilistic` is.

    Notes
    -----
    All ratios are null where the returns do not vary. No standard error accounts for losses that have not occurred yet:
    bets of random size that win nine times of ten reach 0.95 too often while few have lost, so `losers` is reported.
    """

    sharpe: float | None
    se: float | None
    error: float | None
    count: int
    skew: float
    kurtosis: float
    episodes: int
    winners: int
    losers: int
    probabilistic: float | None
    trials: int
    effective: float
    variance: float | None
    expected_max: float | None
    deflated: float | None
    min_track_record: float | None

    @property
    def supported(self) -> bool:
        """Whether the deflated ratio reaches 0.95; informational only, it does not affect ranking."""
        return self.deflated is not None and self.deflated >= SUPPORTED

    @property
    def unknown(self) -> str:
        """Why there is no probability; '' where there is one."""
        if self.probabilistic is not None:
            return ""
        if self.sharpe is None:
            return "returns do not vary"
        return (
            f"{self.episodes} independent episodes, {self.winners} won and {self.losers} lost; "
            f"{LEAST_EPISODES}, {LEAST_OF_EACH} and {LEAST_OF_EACH} are needed"
        )


def sharpe_evidence(
    returns: FloatArray,
    episodes: FloatArray,
    trials: int,
    zero_cost_errors: Sequence[float] | FloatArray = (),
    *,
    effective: float | None = None,
) -> SharpeEvidence:
    """Evaluate the Sharpe ratio of hourly pooled holdout returns.

    Parameters
    ----------
    returns : ndarray of shape (n_returns,)
        Hourly pooled returns.
    episodes : ndarray of shape (n_episodes,)
        Results of the independent episodes of the scored lanes' trades, see `episodes_of`.
    trials : int
        Configurations ever run on any overlapping holdout, this one included.
    zero_cost_errors : sequence of float
        Standard errors of the ratios (of one hour) of the same holdout's configurations at zero cost; NaN is left out.
    effective : float, optional
        Number of independent trials that they are worth (`effective_trials`); `trials` where it is not known.

    Returns
    -------
    SharpeEvidence
        Ratio, errors and probabilities.

    Raises
    ------
    ValueError
        If `trials` is below 1.

    Notes
    -----
    The paper uses the variance of the trials' own ratios. If all are worthless, that equals the mean square of their
    standard errors, which is used here. The ratios also vary by their true edges: a search that finds the same edge ten
    times would raise its own benchmark (on `sample:edge` from 0.17 to 0.35 an hour, so that none of 11 markets had a
    supported strategy).

    References
    ----------
    Bailey & López de Prado (2014), "The Deflated Sharpe Ratio".
    """
    if trials < 1:
        msg = f"trials is {trials}; pass 1 or more, since the configuration itself is a trial"
        raise ValueError(msg)
    moments, se, every = Moments.of(returns), sharpe_se_newey_west(returns, LAGS), sharpe_errors(returns)
    errors = np.asarray(zero_cost_errors, dtype=np.float64)
    errors = errors[np.isfinite(errors)]
    variance = None if se is None else max(se * se, float(np.mean(errors**2)) if len(errors) else 0.0)
    worth = float(trials) if effective is None else effective
    luck = None if variance is None else expected_max_sharpe(worth, variance)
    z = sharpe_z(returns, episodes)
    return SharpeEvidence(
        sharpe=moments.sharpe,
        se=se,
        error=None if every is None else float(every.max()),
        count=moments.count,
        skew=moments.skew,
        kurtosis=moments.kurtosis,
        episodes=len(episodes),
        winners=int((episodes > 0.0).sum()),
        losers=int((episodes < 0.0).sum()),
        probabilistic=probabilistic_sharpe(returns, episodes),
        trials=trials,
        effective=worth,
        variance=variance,
        expected_max=luck,
        deflated=None if luck is None else probabilistic_sharpe(returns, episodes, luck),
        min_track_record=None if z is None else min_track_record(z, moments.count, len(episodes) - 1),
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
    logits: FloatArray


def overfitting_risk(returns: FloatArray, blocks: int = BLOCKS) -> OverfittingRisk:
    """Return how often the best column in one half of the time is below the median in the other half.

    Parameters
    ----------
    returns : ndarray of shape (n_returns, n_columns)
        Hourly returns, a column a configuration. Columns that never move (no trade) and columns correlated at least
        0.99 with one to their left are dropped.
    blocks : int
        Even number of blocks of time of equal length; rows left over at the start are dropped.

    Returns
    -------
    OverfittingRisk
        Without probabilities if fewer than two columns remain.

    Raises
    ------
    ValueError
        If `blocks` is odd or below 2, or there are fewer than two rows a block.

    References
    ----------
    Bailey, Borwein, López de Prado & Zhu (2017), "The Probability of Backtest Overfitting".
    """
    if blocks < _PAIR or blocks % 2 or len(returns) < 2 * blocks:
        msg = f"{len(returns)} rows in {blocks} blocks: pass an even number of blocks of two rows or more"
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
    logits: FloatArray = np.log(rank / (1.0 - rank))
    return OverfittingRisk(
        probability=float((logits <= 0.0).mean()),
        loss_probability=float((outside[splits, best] < 0.0).mean()),
        columns=columns.shape[1],
        splits=len(chosen),
        logits=logits,
    )


def _sharpes(sums: FloatArray, squares: FloatArray, rows: int) -> FloatArray:
    mean = sums / rows
    variance = squares / rows - mean**2
    moving = varies(mean, variance)
    return np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)


def _distinct(returns: FloatArray) -> FloatArray:
    moving = returns[:, varies(returns.mean(axis=0), returns.var(axis=0))]
    if moving.shape[1] < _PAIR:
        return moving
    correlation = np.atleast_2d(np.corrcoef(moving, rowvar=False))
    kept: list[int] = []
    for column in range(moving.shape[1]):
        if not any(correlation[column, other] >= SAME for other in kept):
            kept.append(column)
    return moving[:, kept]
