"""Compiled loops over one symbol's bars, for what Polars has no expression, or only a slower one.

Belongs here: pure functions from float64 arrays of shape (n_bars,) to a new array of that shape. NaN means null in
inputs and outputs: a value whose window holds a NaN is NaN, and recursions restart after one. No kernel looks ahead.
Moving sums are recomputed every few hundred bars, so rounding errors do not accumulate over a long history.

Does not belong here: names, units and warm-ups (`library`), anything that knows frames or symbols (`engine`).
"""

import math

import numpy as np

from features.array_types import FloatArray
from features.jit import jit

BLOCK = 256
"""Bars after which a moving sum is recomputed."""

FEW = 8
"""Largest window for which a deviation is recomputed at each bar."""

EXTREME_BLOCK = 2048
"""Bars of one block of extremes."""


@jit
def moving_sum(x: FloatArray, n: int) -> FloatArray:
    """Sum of the last n values.

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> moving_sum(np.array([1.0, 2.0, 3.0, 4.0]), 2)
    array([nan,  3.,  5.,  7.])
    """
    return _moving(x, n, 1.0, float(n))


@jit
def moving_average(x: FloatArray, n: int) -> FloatArray:
    """Mean of the last n values (TA-Lib SMA).

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> moving_average(np.array([1.0, 3.0, np.nan, 5.0, 7.0]), 2)
    array([nan,  2., nan, nan,  6.])
    """
    return _moving(x, n, 1.0 / n, 1.0)


@jit
def _moving(x: FloatArray, n: int, scale: float, of_equals: float) -> FloatArray:
    """Sum of the last n values times `scale`; if all are equal, exactly one of them times `of_equals`."""
    size = len(x)
    out = np.full(size, np.nan)
    block = max(BLOCK, n)
    for begin in range(n - 1, size, block):
        end = min(begin + block, size)
        total = 0.0
        for j in range(begin - n + 1, begin):
            total += x[j] if x[j] == x[j] else 0.0
        went = 0.0
        for i in range(begin, end):
            came = x[i] if x[i] == x[i] else 0.0
            total += came - went
            out[i] = total * scale
            went = x[i - n + 1] if x[i - n + 1] == x[i - n + 1] else 0.0
        if not _is_plain(x, begin - n + 1, end, n):
            _correct(x, out, begin, end, n, of_equals)
    return out


@jit
def moving_deviation(x: FloatArray, n: int) -> FloatArray:
    """Spread of the last n values: population standard deviation (TA-Lib STDDEV), exactly 0 if all are equal.

    `x` and the result have shape (n_bars,).

    Squares are taken around a value of the same window rather than around zero, which preserves the digits of a small
    spread of a large price.

    Examples
    --------
    >>> moving_deviation(np.array([1.0, 3.0, 3.0]), 2)
    array([nan,  1.,  0.])
    """
    size = len(x)
    out = np.full(size, np.nan)
    block = max(BLOCK, n) if n > FEW else 1  # few values can be close to each other and far from the block's first
    scale = 1.0 / n
    for begin in range(n - 1, size, block):
        end = min(begin + block, size)
        centre = x[begin - n + 1] if x[begin - n + 1] == x[begin - n + 1] else 0.0
        total = 0.0
        squares = 0.0
        for j in range(begin - n + 1, begin):
            d = x[j] - centre if x[j] == x[j] else 0.0
            total += d
            squares += d * d
        went = 0.0
        for i in range(begin, end):
            came = x[i] - centre if x[i] == x[i] else 0.0
            total += came - went
            squares += came * came - went * went
            went = x[i - n + 1] - centre if x[i - n + 1] == x[i - n + 1] else 0.0
            mean = total * scale
            out[i] = math.sqrt(max(squares * scale - mean * mean, 0.0))
        if not _is_plain(x, begin - n + 1, end, n):
            _correct(x, out, begin, end, n, 0.0)
    return out


@jit
def _correct(x: FloatArray, out: FloatArray, begin: int, end: int, n: int, of_equals: float) -> None:
    """Write NaN where a value of the window is unknown, and the exact result where all are equal.

    Sums take the same steps with and without such values, so that rounding does not reveal a later one.
    """
    unknown = 0
    equal = 0
    for i in range(begin - n + 1, end):
        unknown += int(math.isnan(x[i]))
        equal = equal + 1 if equal > 0 and x[i] == x[i - 1] else 1
        if i < begin:
            continue
        if unknown > 0:
            out[i] = np.nan
        elif equal >= n:
            out[i] = x[i] * of_equals
        unknown -= int(math.isnan(x[i - n + 1]))


@jit
def _is_plain(x: FloatArray, begin: int, end: int, n: int) -> bool:
    """Whether a range has no NaN and no n equal neighbours."""
    unknown = int(math.isnan(x[begin]))
    equal = 1
    for i in range(begin + 1, end):
        unknown += int(x[i] != x[i])
        equal += int(x[i] == x[i - 1])
    return unknown == 0 and equal < n


@jit
def exponential_average(x: FloatArray, n: int) -> FloatArray:
    """Exponential moving average with weight 2 / (n + 1), seeded by the mean of the first n values (TA-Lib EMA).

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> exponential_average(np.array([1.0, 3.0, 5.0]), 2).round(4)
    array([nan,  2.,  4.])
    """
    size = len(x)
    out = np.full(size, np.nan)
    weight = 2.0 / (n + 1)
    keep = 1.0 - weight
    known = 0
    total = 0.0
    value = 0.0
    for i in range(size):
        if math.isnan(x[i]):
            known = 0
            total = 0.0
            continue
        known += 1
        if known > n:
            value = weight * x[i] + keep * value
        else:
            total += x[i]
            if known < n:
                continue
            value = total / n
        out[i] = value
    return out


@jit
def wilder_average(x: FloatArray, n: int) -> FloatArray:
    """Wilder's smoothing: the mean of the first n values, then value += (x - value) / n.

    `x` and the result have shape (n_bars,).
    """
    size = len(x)
    out = np.full(size, np.nan)
    weight = 1.0 / n
    keep = 1.0 - weight
    known = 0
    total = 0.0
    value = 0.0
    for i in range(size):
        if math.isnan(x[i]):
            known = 0
            total = 0.0
            continue
        known += 1
        if known > n:
            value = weight * x[i] + keep * value
        else:
            total += x[i]
            if known < n:
                continue
            value = total / n
        out[i] = value
    return out


@jit
def relative_strength(x: FloatArray, n: int) -> FloatArray:
    """Wilder's relative strength index of the last n changes, 0 to 100 (TA-Lib RSI); NaN until the price has moved.

    `x` and the result have shape (n_bars,).
    """
    size = len(x)
    out = np.full(size, np.nan)
    if size <= n:
        return out
    up = 0.0
    down = 0.0
    for i in range(1, n + 1):
        change = x[i] - x[i - 1]
        up += max(change, 0.0)
        down += max(-change, 0.0)
    up /= n
    down /= n
    if up + down > 0.0:
        out[n] = 100.0 * (up / (up + down))
    weight = 1.0 / n
    keep = 1.0 - weight
    for i in range(n + 1, size):
        change = x[i] - x[i - 1]
        up = keep * up + weight * max(change, 0.0)
        down = keep * down + weight * max(-change, 0.0)
        both = up + down
        if both > 0.0:
            out[i] = 100.0 * (up / both)
    return out


@jit
def average_true_range(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> FloatArray:
    """Wilder's average true range over n bars (TA-Lib ATR).

    Parameters
    ----------
    high, low, close : ndarray of float64, shape (n_bars,)
        Prices, without NaN.
    n : int
        Bars of the smoothing.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        In the unit of the prices; NaN in the first n bars.

    References
    ----------
    Wilder (1978), New Concepts in Technical Trading Systems.
    """
    size = len(close)
    out = np.full(size, np.nan)
    if size <= n:
        return out
    total = 0.0
    for i in range(1, n + 1):
        total += max(high[i], close[i - 1]) - min(low[i], close[i - 1])
    value = total / n
    out[n] = value
    weight = 1.0 / n
    keep = 1.0 - weight
    for i in range(n + 1, size):
        value = keep * value + weight * (max(high[i], close[i - 1]) - min(low[i], close[i - 1]))
        out[i] = value
    return out


@jit
def moving_maximum(x: FloatArray, n: int) -> FloatArray:
    """Largest of the last n values (TA-Lib MAX).

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> moving_maximum(np.array([3.0, 1.0, 2.0, 5.0]), 2)
    array([nan,  3.,  2.,  5.])
    """
    return _extreme(x, n, 1.0)


@jit
def moving_minimum(x: FloatArray, n: int) -> FloatArray:
    """Least of the last n values (TA-Lib MIN).

    `x` and the result have shape (n_bars,).
    """
    return _extreme(x, n, -1.0)


@jit
def _extreme(x: FloatArray, n: int, sign: float) -> FloatArray:
    """Largest of the last n values, or smallest if `sign` is -1.

    By doubling: the maximum of 2k neighbours is that of two groups of k, so a window takes log2(n) branch-free passes
    over a block that stays in the cache. A block that contains NaN is computed value by value.
    """
    size = len(x)
    out = np.full(size, np.nan)
    one = np.empty(EXTREME_BLOCK + n)
    two = np.empty(EXTREME_BLOCK + n)
    for begin in range(n - 1, size, EXTREME_BLOCK):
        end = min(begin + EXTREME_BLOCK, size)
        first = begin - n + 1
        left = end - first
        unknown = 0
        for i in range(left):
            one[i] = sign * x[first + i]
            unknown += int(x[first + i] != x[first + i])
        if unknown > 0:
            _extreme_carefully(x, out, begin, end, n, sign)
            continue
        reach = 1
        swapped = False
        while 2 * reach <= n:
            left -= reach
            if swapped:
                _larger(two, one, left, reach)
            else:
                _larger(one, two, left, reach)
            swapped = not swapped
            reach *= 2
        if swapped:
            _larger(two, out[begin:end], end - begin, n - reach)
        else:
            _larger(one, out[begin:end], end - begin, n - reach)
        if sign < 0.0:
            for i in range(begin, end):
                out[i] = -out[i]
    return out


@jit
def _larger(x: FloatArray, out: FloatArray, count: int, apart: int) -> None:
    """Write the larger of each value and the one `apart` places on."""
    for i in range(count):
        here = x[i]
        there = x[i + apart]
        out[i] = here if here > there else there  # noqa: FURB136 - max() minds NaN, which stops vectorising


@jit
def _extreme_carefully(x: FloatArray, out: FloatArray, begin: int, end: int, n: int, sign: float) -> None:
    """One block of `_extreme` that contains NaN."""
    for i in range(begin, end):
        best = sign * x[i]
        for j in range(i - n + 1, i):
            if math.isnan(x[j]):
                best = np.nan
            elif sign * x[j] > best:  # never, once it is NaN
                best = sign * x[j]
        out[i] = sign * best


@jit
def convergence(x: FloatArray, fast: int, slow: int) -> FloatArray:
    """Fast minus slow exponential moving average, both seeded to start on the same bar (TA-Lib MACD).

    Parameters
    ----------
    x : ndarray of float64, shape (n_bars,)
        Prices, without NaN.
    fast, slow : int
        Bars of the two averages, `fast < slow`.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        In the unit of the prices; NaN in the first `slow` - 1 bars.

    References
    ----------
    Appel (1979), The Moving Average Convergence-Divergence Method.
    """
    size = len(x)
    out = np.full(size, np.nan)
    if size < slow:
        return out
    slow_value = 0.0
    for i in range(slow):
        slow_value += x[i]
    slow_value /= slow
    fast_value = 0.0
    for i in range(slow - fast, slow):
        fast_value += x[i]
    fast_value /= fast
    out[slow - 1] = fast_value - slow_value
    slow_weight = 2.0 / (slow + 1)
    fast_weight = 2.0 / (fast + 1)
    slow_keep = 1.0 - slow_weight
    fast_keep = 1.0 - fast_weight
    for i in range(slow, size):
        slow_value = slow_keep * slow_value + slow_weight * x[i]
        fast_value = fast_keep * fast_value + fast_weight * x[i]
        out[i] = fast_value - slow_value
    return out


@jit
def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Wilder's true range (TA-Lib TRANGE).

    Parameters
    ----------
    high, low, close : ndarray of float64, shape (n_bars,)
        Prices.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        In the unit of the prices; NaN in the first bar.

    References
    ----------
    Wilder (1978), New Concepts in Technical Trading Systems.

    Examples
    --------
    >>> true_range(np.array([11.0, 12.0]), np.array([9.0, 11.5]), np.array([10.0, 11.8]))
    array([nan,  2.])
    """
    out = np.full(len(close), np.nan)
    for i in range(1, len(close)):
        out[i] = max(high[i], close[i - 1]) - min(low[i], close[i - 1])
    return out


@jit
def place_in_range(value: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Position of a value between two others, 0 to 100 (raw %K).

    Parameters
    ----------
    value, low, high : ndarray of float64, shape (n_bars,)
        The value and the ends of its range.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        Percent of the range; NaN where it is empty.

    Examples
    --------
    >>> place_in_range(np.array([3.0, 3.0]), np.array([1.0, 3.0]), np.array([5.0, 3.0]))
    array([50., nan])
    """
    out = np.empty(len(value))
    for i in range(len(value)):
        out[i] = 100.0 * ((value[i] - low[i]) / (high[i] - low[i])) if high[i] > low[i] else np.nan
    return out


@jit
def distance_from_top(value: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Distance of a value below the upper end of a range, -100 to 0 (TA-Lib WILLR).

    Parameters
    ----------
    value, low, high : ndarray of float64, shape (n_bars,)
        The value and the ends of its range.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        Percent of the range; NaN where it is empty.
    """
    out = np.empty(len(value))
    for i in range(len(value)):
        out[i] = -100.0 * ((high[i] - value[i]) / (high[i] - low[i])) if high[i] > low[i] else np.nan
    return out


@jit
def bounded_average(x: FloatArray, n: int, low: float, high: float) -> FloatArray:
    """Mean of the last n values, clipped to bounds that rounding could exceed.

    Parameters
    ----------
    x : ndarray of float64, shape (n_bars,)
        The values.
    n : int
        Window in bars.
    low, high : float
        The bounds.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        NaN in the first n - 1 bars and where the window holds NaN.
    """
    out = moving_average(x, n)
    for i in range(len(x)):
        if out[i] > high:
            out[i] = high
        elif out[i] < low:
            out[i] = low
    return out


@jit
def change(x: FloatArray, n: int) -> FloatArray:
    """Difference from the value n bars before (TA-Lib MOM).

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> change(np.array([1.0, 4.0, 9.0]), 1)
    array([nan,  3.,  5.])
    """
    out = np.full(len(x), np.nan)
    for i in range(n, len(x)):
        out[i] = x[i] - x[i - n]
    return out


@jit
def relative_change(x: FloatArray, n: int) -> FloatArray:
    """Change over n bars in percent (TA-Lib ROC).

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> relative_change(np.array([50.0, 75.0]), 1)
    array([nan, 50.])
    """
    out = np.full(len(x), np.nan)
    for i in range(n, len(x)):
        out[i] = 100.0 * (x[i] / x[i - n] - 1.0)
    return out


@jit
def combination(x: FloatArray, y: FloatArray, factor: float) -> FloatArray:
    """One value plus another times a factor.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n_bars,)
        The two values.
    factor : float
        Factor of `y`.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        ``x + factor * y``.
    """
    out = np.empty(len(x))
    for i in range(len(x)):
        out[i] = x[i] + factor * y[i]
    return out


@jit
def bars_since_maximum(x: FloatArray, n: int) -> FloatArray:
    """Bars since the largest of the last n values, the latest of equal ones.

    `x` and the result have shape (n_bars,).

    Examples
    --------
    >>> bars_since_maximum(np.array([1.0, 5.0, 2.0, 3.0]), 3)
    array([nan, nan,  1.,  2.])
    """
    size = len(x)
    out = np.full(size, np.nan)
    best = -1
    for i in range(n - 1, size):
        if best < i - n + 1:
            best = i - n + 1
            for j in range(best + 1, i):
                if x[j] >= x[best]:
                    best = j
        if x[i] >= x[best]:
            best = i
        out[i] = i - best
    return out


@jit
def weighted_average(x: FloatArray, n: int) -> FloatArray:
    """Mean of the last n values with weights 1 to n, the newest heaviest (TA-Lib WMA).

    `x` and the result have shape (n_bars,).
    """
    size = len(x)
    out = np.full(size, np.nan)
    block = max(BLOCK, n)
    scale = 2.0 / (n * (n + 1.0))
    for begin in range(n - 1, size, block):
        total = 0.0
        weighted = 0.0
        for j in range(begin - n + 1, begin + 1):
            total += x[j]
            weighted += (j - begin + n) * x[j]
        out[begin] = weighted * scale
        for i in range(begin + 1, min(begin + block, size)):
            weighted += n * x[i] - total
            total += x[i] - x[i - n]
            out[i] = weighted * scale
    return out


@jit
def regression_slope(x: FloatArray, n: int) -> FloatArray:
    """Slope per bar of the least-squares line through the last n values (TA-Lib LINEARREG_SLOPE).

    `x` and the result have shape (n_bars,).
    """
    size = len(x)
    out = np.full(size, np.nan)
    block = max(BLOCK, n)
    middle = 0.5 * (n - 1)
    scale = 12.0 / (n * (n * n - 1.0))
    for begin in range(n - 1, size, block):
        centre = x[begin]
        total = 0.0
        moment = 0.0
        for j in range(n):
            d = x[begin - n + 1 + j] - centre
            total += d
            moment += j * d
        out[begin] = (moment - middle * total) * scale
        for i in range(begin + 1, min(begin + block, size)):
            went = x[i - n] - centre
            came = x[i] - centre
            moment += (n - 1) * came - (total - went)
            total += came - went
            out[i] = (moment - middle * total) * scale
    return out


@jit
def mean_absolute_deviation(x: FloatArray, n: int) -> FloatArray:
    """Mean distance of the last n values from their mean.

    `x` and the result have shape (n_bars,).
    """
    mean = moving_average(x, n)
    out = np.full(len(x), np.nan)
    for i in range(n - 1, len(x)):
        total = 0.0
        for j in range(i - n + 1, i + 1):
            total += abs(x[j] - mean[i])
        out[i] = total / n
    return out


@jit
def moving_rank(x: FloatArray, n: int) -> FloatArray:
    """Share of the n - 1 values before that lie below this one, equal ones counted by half; 0 to 1.

    `x` and the result have shape (n_bars,).
    """
    size = len(x)
    out = np.full(size, np.nan)
    unknown = 0
    for i in range(size):
        if math.isnan(x[i]):
            unknown += 1
        if i >= n and math.isnan(x[i - n]):
            unknown -= 1
        if i < n - 1 or unknown > 0:
            continue
        doubled = 0
        for j in range(i - n + 1, i):
            doubled += int(x[j] < x[i]) + int(x[j] <= x[i])
        out[i] = doubled / (2.0 * (n - 1))
    return out


@jit
def directional(high: FloatArray, low: FloatArray, close: FloatArray, n: int, upward: bool) -> FloatArray:
    """Wilder's directional indicator, 0 to 100 (TA-Lib PLUS_DI if `upward`, else MINUS_DI).

    Parameters
    ----------
    high, low, close : ndarray of float64, shape (n_bars,)
        Prices, without NaN.
    n : int
        Bars of the smoothing.
    upward : bool
        Whether upward or downward movement is measured.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        Percent of the smoothed true range; NaN in the first n bars and until the price has moved.

    References
    ----------
    Wilder (1978), New Concepts in Technical Trading Systems.
    """
    size = len(close)
    out = np.full(size, np.nan)
    moved = 0.0
    ranged = 0.0
    keep = 1.0 - 1.0 / n
    for i in range(1, size):
        up = high[i] - high[i - 1]
        down = low[i - 1] - low[i]
        ahead = up if upward else down
        behind = down if upward else up
        step = ahead if ahead > behind and ahead > 0.0 else 0.0
        span = max(high[i], close[i - 1]) - min(low[i], close[i - 1])
        if i < n:
            moved += step
            ranged += span
            continue
        moved = keep * moved + step
        ranged = keep * ranged + span
        if ranged > 0.0:
            out[i] = 100.0 * min(moved / ranged, 1.0)
    return out


@jit
def money_flow(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, n: int) -> FloatArray:
    """Money flow index over n changes, 0 to 100 (TA-Lib MFI).

    Parameters
    ----------
    high, low, close : ndarray of float64, shape (n_bars,)
        Prices.
    volume : ndarray of float64, shape (n_bars,)
        Traded volume; NaN where unknown.
    n : int
        Window in changes between bars.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        Percent; NaN in the first n bars, where a volume is unknown, and where nothing was traded on moves.

    References
    ----------
    Quong, Soudack (1989), Volume-Weighted RSI: Money Flow.
    """
    size = len(close)
    rising = np.full(size, np.nan)
    falling = np.full(size, np.nan)
    for i in range(1, size):
        change = (high[i] + low[i] + close[i]) / 3.0 - (high[i - 1] + low[i - 1] + close[i - 1]) / 3.0
        flow = (high[i] + low[i] + close[i]) / 3.0 * volume[i]
        rising[i] = flow if change > 0.0 else 0.0 * flow
        falling[i] = flow if change < 0.0 else 0.0 * flow
    up = moving_sum(rising, n)
    down = moving_sum(falling, n)
    for i in range(size):
        both = up[i] + down[i]
        up[i] = 100.0 * min(max(up[i], 0.0) / both, 1.0) if both > 0.0 else np.nan
    return up


@jit
def ultimate(high: FloatArray, low: FloatArray, close: FloatArray, short: int, middle: int, long: int) -> FloatArray:
    """Williams' ultimate oscillator, 0 to 100 (TA-Lib ULTOSC).

    Parameters
    ----------
    high, low, close : ndarray of float64, shape (n_bars,)
        Prices.
    short, middle, long : int
        Windows in bars, weighted 4:2:1.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        NaN in the first `long` bars and where the price did not move.

    References
    ----------
    Williams (1985), The Ultimate Oscillator.
    """
    size = len(close)
    pressure = np.full(size, np.nan)
    for i in range(1, size):
        pressure[i] = close[i] - min(low[i], close[i - 1])
    span = true_range(high, low, close)
    out = np.zeros(size)
    for length, weight in ((short, 4.0), (middle, 2.0), (long, 1.0)):
        part = moving_sum(pressure, length)
        whole = moving_sum(span, length)
        for i in range(size):
            out[i] += weight * part[i] / whole[i] if whole[i] > 0.0 else np.nan
    for i in range(size):
        out[i] = 100.0 * min(max(out[i] / 7.0, 0.0), 1.0)
    return out


@jit
def session_average(price: FloatArray, volume: FloatArray, day: FloatArray) -> FloatArray:
    """Volume-weighted mean price since the start of the day.

    Parameters
    ----------
    price, volume : ndarray of float64, shape (n_bars,)
        Price and traded volume; NaN where a volume is unknown.
    day : ndarray of float64, shape (n_bars,)
        Days since an epoch, with the fraction that has passed; a bar at a whole number starts a day.

    Returns
    -------
    ndarray of float64, shape (n_bars,)
        In the unit of the price; NaN on a day whose start is not in the data, and after an unknown volume of the day.
    """
    size = len(price)
    out = np.full(size, np.nan)
    paid = 0.0
    traded = 0.0
    whole = False
    for i in range(size):
        today = math.floor(day[i])
        if i == 0 or math.floor(day[i - 1]) != today:
            paid = 0.0
            traded = 0.0
            whole = i > 0 or day[i] == today
        if math.isnan(volume[i]):
            whole = False
        paid += price[i] * volume[i]
        traded += volume[i]
        if whole and traded > 0.0:
            out[i] = paid / traded
    return out
