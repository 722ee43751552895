"""Block bootstraps: resampled means of series whose neighbours are correlated.

Belongs here: drawing blocks, and intervals of what was drawn. Does not belong here: what is compared, and by which
statistic (`backtester.statistics.drift`, `model_zoo.evaluation`).

Four cases, each with its own draw:

- `clustered_means`: rows at any times, several in one stretch of time. Whole stretches are drawn.
- `circular_means`: one regular series. Blocks are drawn from its circle, and each draw knows the variance of its mean,
  so that a difference can be studentised.
- `circular_blocks` and `means_of_blocks`: many regular series at once, which all take the same blocks.
- `reordered`: one series with its own blocks in another order, for what depends on the order alone.

Stored results depend on the order of the random numbers and of the sums: a test holds them.

Source: H. R. Künsch (1989); D. N. Politis and J. P. Romano (1992).
"""

import numpy as np
import numpy.typing as npt

from features.array_types import FloatArray


def clustered_means(values: FloatArray, clusters: npt.NDArray[np.int64], *, seed: int, draws: int) -> FloatArray:
    """Return means of samples of whole clusters; the same samples for the same clusters and seed.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        What is averaged.
    clusters : ndarray of shape (n_rows,), int64
        Each row's cluster, counted from 0 without holes.
    seed : int
        Of the draws.
    draws : int
        How many samples.

    Returns
    -------
    ndarray of shape (n_draws,)
    """
    sums = np.bincount(clusters, weights=values)
    counts = np.bincount(clusters).astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    means: FloatArray = (drawn @ sums) / (drawn @ counts)
    return means


def circular_means(
    series: FloatArray, block: int, *, draws: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return, for each draw, how far its mean lies from the series', and the variance of that mean in the draw.

    Parameters
    ----------
    series : ndarray of shape (n,)
        At least two blocks.
    block : int
        Length of a block.
    draws : int
        How many samples, each of as many blocks as the series holds.
    rng : Generator
        Source of random numbers.

    Returns
    -------
    tuple of ndarray of shape (n_draws,)
    """
    means = np.lib.stride_tricks.sliding_window_view(_circle(series, block), block).mean(axis=1)
    count = len(series) // block
    drawn = means[rng.integers(0, len(series), (draws, count))]
    return drawn.mean(axis=1) - series.mean(), drawn.var(axis=1, ddof=1) / count


def circular_blocks(series: FloatArray, block: int) -> FloatArray:
    """Return the mean of each block on the circle of some series, about the mean of the whole.

    Parameters
    ----------
    series : ndarray of shape (n, ...)
        Series along the first axis.
    block : int
        Length of a block.

    Returns
    -------
    ndarray of shape (n, ...)
        By the block's first place.
    """
    summed = np.concatenate([np.zeros((1, *series.shape[1:])), np.cumsum(_circle(series, block), 0)])
    means: FloatArray = (summed[block:] - summed[:-block]) / block - series.mean(axis=0)
    return means


def means_of_blocks(blocks: FloatArray, count: int, *, draws: int, rng: np.random.Generator) -> FloatArray:
    """Return means of samples of so many of the `circular_blocks`, the same places in all series.

    Parameters
    ----------
    blocks : ndarray of shape (n, ...)
        See `circular_blocks`.
    count : int
        Blocks in a sample.
    draws : int
        How many samples.
    rng : Generator
        Source of random numbers.

    Returns
    -------
    ndarray of shape (n_draws, ...)
    """
    starts = rng.integers(0, len(blocks), (draws, count))
    total = np.zeros((draws, *blocks.shape[1:]))
    for each in range(count):  # one block at a time: all of them at once would take `count` times the memory
        total += blocks[starts[:, each]]
    return total / count


def reordered(series: FloatArray, block: int, *, draws: int, rng: np.random.Generator) -> FloatArray:
    """Return a series with its blocks in other orders: each value once in each order.

    Parameters
    ----------
    series : ndarray of shape (n,)
        Cut into blocks from its beginning; the last may be shorter.
    block : int
        Length of a block.
    draws : int
        How many orders.
    rng : Generator
        Source of random numbers.

    Returns
    -------
    ndarray of shape (n_draws, n)
    """
    starts = np.arange(0, len(series), block)
    pieces = [series[start : start + block] for start in starts]
    orders = [[pieces[place] for place in rng.permutation(len(pieces))] for _ in range(draws)]
    return np.array([np.concatenate(order) if order else series for order in orders]).reshape(draws, len(series))


def interval(draws: FloatArray, confidence: float) -> tuple[float, float]:
    """Return the two-sided percentile interval of some draws.

    `draws` has shape (n_draws,).
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


def _circle(series: FloatArray, block: int) -> FloatArray:
    """Return the series with its beginning once more at its end, so that a block may start anywhere."""
    return np.concatenate([series, series[: block - 1]])
