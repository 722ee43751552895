"""Evidence that grows from day to day and may be looked at every day: e-processes.

Belongs here: the process of one record of daily returns, and which of many records it confirms. Does not belong here:
where daily returns come from (the forward ledger), a holdout's ratio (`backtester.statistics.overfitting`).

An e-process is the capital of a bettor who begins with 1 and bets each day that the mean return is above zero. If it
is not, the capital has no upward trend, so it ever reaches 20 with a probability of at most 1/20, however often
somebody looks (Ville's inequality). No test of a mean is valid without a bound on the losses that were not seen. Here
the bound is `loss`, stated before the first day: no five days together lose more. If they do, the capital is 0 for
good and the record counts as one whose assumption is broken.

Sources: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (2024); Wang & Ramdas, "False
discovery rate control with e-values" (2022). How often the process errs is measured by `calibration/run_e_process.py`.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtester.statistics.metrics import YEAR
from features.array_types import FloatArray

BLOCK: Final = 5
"""Days for which the stake stays the same, so that returns that depend on the day before do little harm.

With three days about 5 % of worthless records with an autocorrelation of 0.2 reach 20, with five about 4 %
(`calibration/run_e_process.py`).
"""
CONFIRMS: Final = 20.0
"""Capital from which a single record is evidence at 5 %."""
HOPELESS: Final = 0.05
"""Capital below which an archived record is followed no further: it would have to grow by a factor of 400."""
MEDIAN_DAYS: Final = {2: 470, 3: 260, 5: 145, 8: 90}
"""Days that the median record takes to `CONFIRMS`, by its true annual ratio of mean to deviation."""
FALSE_SHARE: Final = 0.10
"""Expected share of false ones among the records that `confirmed` returns, at most."""
PRIOR_DAYS: Final = 90.0
"""Weight of the prior in the stake, in days, ..."""
PRIOR_RATIO: Final = 3.0
"""... and the annual ratio of mean to deviation that it states, whatever the holdout said."""
_HOURS: Final = 24
_DEVIATIONS: Final = 10.0
_WORST_DAYS: Final = 1.5
_DAYS_PER_YEAR: Final = YEAR / timedelta(days=1)


class EProcess(NamedTuple):
    """The capital after each day.

    Attributes
    ----------
    capital : FloatArray
        Shape of the returns. It changes on every fifth day, the last of its block; it is 0 from the day on which the
        assumption broke.
    stake : FloatArray
        What a return of 1 on that day would add to the capital, as a share of it.
    broken : NDArray[np.bool_]
        Whether the days of a block had lost more than the bound by that day.
    """

    capital: FloatArray
    stake: FloatArray
    broken: NDArray[np.bool_]


class Days(NamedTuple):
    """What the days of a backtest were like, as fractions of fixed capital.

    Attributes
    ----------
    deviation : float
        Standard deviation of a daily net return.
    worst, best : float
        Smallest and largest daily net return.
    """

    deviation: float
    worst: float
    best: float


def daily_returns(hours: FloatArray) -> FloatArray:
    """Return the sums of each 24 hourly returns, shape (n_hours // 24,); hours left over at the start are dropped."""
    sums: FloatArray = hours[len(hours) % _HOURS :].reshape(-1, _HOURS).sum(axis=1)
    return sums


def days_of(hours: FloatArray) -> Days | None:
    """Return what the days were like that hourly net returns, shape (n_hours,), make; None if there is no whole day."""
    daily = daily_returns(hours)
    if not len(daily):
        return None
    return Days(float(np.std(hours)) * math.sqrt(_HOURS), float(daily.min()), float(daily.max()))


def loss_bound(daily: FloatArray, deviation: float, largest_move: float) -> float:
    """Return the loss that no five days are assumed to exceed, as a fraction of the capital.

    Parameters
    ----------
    daily : FloatArray
        Daily net returns before the first day, as fractions of fixed capital; shape (days,). For the bound on gains,
        their negative.
    deviation : float
        Standard deviation of a daily return, a fraction.
    largest_move : float
        Gross exposure times the daily move of the market that one day in a thousand exceeds, a fraction.

    Returns
    -------
    float
        The largest of ten standard deviations, 1.5 times the worst day, and `largest_move`.

    Examples
    --------
    >>> loss_bound(np.array([0.01, -0.08]), deviation=0.01, largest_move=0.1)
    0.12
    """
    worst = -float(np.min(daily)) if len(daily) else 0.0
    return max(_DEVIATIONS * deviation, _WORST_DAYS * worst, largest_move)


def e_process(returns: FloatArray, deviation: float, loss: float) -> EProcess:
    """Return the capital of a bettor on a positive mean, after each day.

    The stake of a block of five days follows from the days before the block alone: mean over mean square, with a prior
    of 90 days whose annual ratio is 3, at least 0 and at most 1 / `loss`. No look-ahead: a day changes nothing before.
    Whether returns are worse than expected is the mirror image: `expected - returns`, with a bound on gains.

    Parameters
    ----------
    returns : FloatArray
        Daily net returns as fractions of fixed capital, oldest first; shape (days,), or (records, days). A null (NaN)
        is a day without a return: it changes nothing and is not counted.
    deviation : float
        Standard deviation of daily returns before the first day; the scale of the prior.
    loss : float
        Loss that no five days are assumed to exceed (`loss_bound`), above 0.

    Returns
    -------
    EProcess
        Arrays of the shape of `returns`.

    Raises
    ------
    ValueError
        If `deviation` or `loss` is not a finite number above 0.

    Examples
    --------
    >>> e_process(np.array([0.01] * 5), deviation=0.02, loss=0.2).capital.round(3).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.25]
    """
    for name, value in (("deviation", deviation), ("loss", loss)):
        if not (math.isfinite(value) and value > 0.0):
            msg = f"{name} has to be a finite number above 0, not {value!r}; it follows from the backtests before"
            raise ValueError(msg)
    days = np.asarray(returns, dtype=np.float64)
    gained = np.where(np.isnan(days), 0.0, days)
    capital, stake = np.empty_like(gained), np.empty_like(gained)
    broken = np.zeros(gained.shape, dtype=np.bool_)
    prior = PRIOR_RATIO / math.sqrt(_DAYS_PER_YEAR) * deviation
    total = np.full(gained.shape[:-1], PRIOR_DAYS * prior)
    squares = np.full(gained.shape[:-1], PRIOR_DAYS * (deviation**2 + prior**2))
    before, lost = np.ones(gained.shape[:-1]), np.zeros(gained.shape[:-1], dtype=np.bool_)
    for first in range(0, gained.shape[-1], BLOCK):
        block = gained[..., first : first + BLOCK]
        share = np.clip(total / squares, 0.0, 1.0 / loss)
        over = np.logical_or.accumulate(np.cumsum(block, axis=-1) < -loss, axis=-1) | lost[..., None]
        held = np.repeat(before[..., None], block.shape[-1], axis=-1)
        if block.shape[-1] == BLOCK:
            held[..., -1] *= np.maximum(1.0 + share * block.sum(axis=-1), 0.0)
        held[over] = 0.0
        capital[..., first : first + BLOCK], stake[..., first : first + BLOCK] = held, share[..., None]
        broken[..., first : first + BLOCK] = over
        before, lost = held[..., -1], over[..., -1]
        total, squares = total + block.sum(axis=-1), squares + (block**2).sum(axis=-1)
    return EProcess(capital, stake, broken)


def confirmed(capital: Sequence[float], weights: Sequence[float], families: Sequence[str]) -> list[bool]:
    """Return which records are confirmed: at most a tenth of them, in expectation, are of things worth nothing.

    The e-value form of Benjamini and Hochberg's procedure in each family: of n records, the k with the largest weighted
    capital are confirmed for the largest k at which each of them has at least n / (0.1 k). It holds whatever the
    dependence between records. It takes today's capital, never the largest so far, so a record can lose the label.

    Parameters
    ----------
    capital : sequence of float
        Today's capital of each record, from 0.
    weights : sequence of float
        Fixed before the record began; their mean in a family is at most 1 (`rank_weights`).
    families : sequence of str
        What is judged together, such as all that began in one calendar year.

    Returns
    -------
    list of bool
        One for each record.

    Examples
    --------
    >>> confirmed([40.0, 8.0, 0.5], [1.0, 1.0, 1.0], ["2026"] * 3)
    [True, False, False]
    """
    labels = [False] * len(capital)
    for family in dict.fromkeys(families):
        members = [index for index, name in enumerate(families) if name == family]
        ordered = sorted(members, key=lambda index: -capital[index] * weights[index])
        enough = [
            place
            for place, index in enumerate(ordered, 1)
            if capital[index] * weights[index] >= len(members) / (FALSE_SHARE * place)
        ]
        for index in ordered[: max(enough, default=0)]:
            labels[index] = True
    return labels


def days_to_confirm(capital: float, expected: float, deviation: float, loss: float) -> int | None:
    """Return how many days more a record needs to `CONFIRMS`, about, if its returns go on as expected.

    It is the way in logarithms over the growth of a day at the best stake within the bound. The median record takes
    as long within a fifth (`MEDIAN_DAYS`); half of all records take longer.

    Parameters
    ----------
    capital : float
        Today's.
    expected : float
        Mean daily net return, a fraction of fixed capital.
    deviation : float
        Standard deviation of a daily net return, above 0.
    loss : float
        Loss that no five days are assumed to exceed, above 0.

    Returns
    -------
    int or None
        A multiple of five; 0 where it is there; None where it never comes: nothing is expected, or the capital is 0.

    Examples
    --------
    >>> days_to_confirm(1.0, expected=3.0 / 365**0.5 * 0.01, deviation=0.01, loss=0.1)
    285
    """
    if capital >= CONFIRMS:
        return 0
    if capital <= 0.0 or expected <= 0.0:
        return None
    square = deviation**2 + expected**2
    stake = min(expected / square, 1.0 / loss)
    growth = stake * expected - 0.5 * stake**2 * square
    return math.ceil(math.log(CONFIRMS / capital) / growth / BLOCK) * BLOCK


def rank_weights(count: int) -> list[float]:
    """Return the weights of the records that begin together, by rank in their holdout, the best first; mean 1.

    Examples
    --------
    >>> rank_weights(3)
    [1.5, 1.0, 0.5]
    """
    return [2.0 * (count + 1 - rank) / (count + 1) for rank in range(1, count + 1)]
