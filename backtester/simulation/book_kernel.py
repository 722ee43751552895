"""The compiled loop of a book: one account over many symbols, bar by bar, in the order of events of the guide.

Belongs here: fills, funding, liquidation and the decision of a book, on dense arrays time × symbol. Does not belong
here: making those arrays (`backtester.simulation.book_market`), rules and results as objects
(`backtester.simulation.books`), one symbol on its own (`backtester.simulation.kernel`).

NaN in `open` says that a bar cannot be traded: it is missing, flagged, or lies after the end of the symbol. Only
symbols that are held or wait for a fill are visited in a bar; all of them are looked at where the book decides.
Positions are signed quantities; cash is what remains after paying for them, so equity is cash plus their value.

Everything in this file is one cache entry: Numba notices a changed file, not a changed import.
"""

# mypy: disable-error-code="no-untyped-def,no-any-return"
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR0124, PLR0912, PLR0915
# The order of events is the specification, so a bar stands in one function. Compiled functions carry no annotations,
# and a number that differs from itself is NaN.

from typing import Final

import numpy as np

from features.jit import kept

_FLAGS: Final = {"nogil": True, "error_model": "numpy"}
"""No fused operations: the sums are then those of the plain loop in the tests."""

# Places in the parameters (float64).
LONG, SHORT, GROSS, GROSS_LIMIT, CAP, BAND, KEEP, VOLATILITY = 0, 1, 2, 3, 4, 5, 6, 7
FEE, SLIPPAGE, CAPITAL, LEVERAGE, BARS_PER_YEAR = 8, 9, 10, 11, 12
SIZE, NEUTRAL, GIVEN = 13, 14, 15
PARAMETERS: Final = 16

SIZES: Final = ("equal", "rank", "score", "inverse_volatility")
NEUTRALITIES: Final = ("none", "dollar", "beta")
BY_EQUAL, BY_RANK, BY_SCORE, BY_VOLATILITY = 0, 1, 2, 3
NO_NEUTRALITY, DOLLAR, BETA = 0, 1, 2

REASONS: Final = ("", "rebalance", "reversal", "left", "ended", "liquidation", "open")
BY_REBALANCE, BY_REVERSAL, BY_LEAVING, BY_ENDING, BY_LIQUIDATION, STILL_OPEN = 1, 2, 3, 4, 5, 6

# Columns of a trade (float64).
E_SYMBOL, E_SIDE, E_ENTRY_ROW, E_EXIT_ROW, E_REASON, E_ENTRY, E_EXIT = 0, 1, 2, 3, 4, 5, 6
E_LARGEST, E_BASIS, E_PNL, E_FEES, E_FUNDING, E_SLIPPAGE, E_LOST, E_CLOSED, E_CLOSED_NOTIONAL = (
    7, 8, 9, 10, 11, 12, 13, 14, 15,
)  # fmt: skip
TRADE_COLUMNS: Final = 16

# Columns of a fill (float64).
F_ROW, F_SYMBOL, F_QUANTITY, F_PRICE, F_REFERENCE, F_FEE, F_EQUITY = 0, 1, 2, 3, 4, 5, 6
FILL_COLUMNS: Final = 7

# Rows of the series (float64): one value a bar.
EQUITY, ADVERSE, HELD_LONG, HELD_SHORT = 0, 1, 2, 3
SERIES: Final = 4

# Columns of a decision (float64).
D_ROW, D_KNOWN, D_LONG, D_SHORT, D_NET, D_BETA = 0, 1, 2, 3, 4, 5
DECISION_COLUMNS: Final = 6

# Places in the outcome (float64).
SHORTFALL, RUINED_AT, BEYOND_AT, SCALED = 0, 1, 2, 3
OUTCOMES: Final = 4

FEWEST: Final = 5
"""Symbols with a known score below which a book of scores is flat."""
WINDOW: Final = 720
"""Bars over which volatility and beta are measured; half of them must be known."""
HALF: Final = WINDOW // 2
ENDED_AFTER: Final = 72 * 3_600_000_000
"""Microseconds after its last tradable bar from which a symbol's bars count as ended."""
ENDED_SLIPPAGE: Final = 10.0
"""Multiple of the slippage at which a position is closed whose bars have ended."""
_DUST: Final = 1e-9
"""Changes below this share of a position are rounding, and no order."""
_LEAST_WEIGHT: Final = 1e-12
_ROUNDING: Final = 1e-9


@kept(**_FLAGS)
def deviations(returns, rows):
    """Return each symbol's deviation of returns over the window up to each row; NaN where too few are known."""
    symbols = returns.shape[1]
    result = np.full((len(rows), symbols), np.nan)
    total, count = np.empty(symbols), np.empty(symbols)
    for d in range(len(rows)):
        total[:] = 0.0
        count[:] = 0.0
        first = max(0, rows[d] - WINDOW + 1)
        for t in range(first, rows[d] + 1):
            for i in range(symbols):
                r = returns[t, i]
                if r == r:
                    total[i] += r
                    count[i] += 1.0
        for i in range(symbols):
            total[i] = total[i] / count[i] if count[i] >= HALF else np.nan
            if count[i] >= HALF:
                result[d, i] = 0.0
        for t in range(first, rows[d] + 1):
            for i in range(symbols):
                off = returns[t, i] - total[i]
                if off == off:
                    result[d, i] += off * off
        for i in range(symbols):
            result[d, i] = np.sqrt(result[d, i] / (count[i] - 1.0))
    return result


@kept(**_FLAGS)
def average_returns(returns, member):
    """Return the mean return of each bar over those that were members at the close before; NaN where none is known."""
    result = np.full(len(returns), np.nan)
    for t in range(1, len(returns)):
        total, count = 0.0, 0
        for i in range(returns.shape[1]):
            r = returns[t, i]
            if member[t - 1, i] and r == r:
                total += r
                count += 1
        if count:
            result[t] = total / count
    return result


@kept(**_FLAGS)
def betas(returns, average, rows):
    """See `backtester.simulation.book_market.BookMarket.betas`."""
    symbols = returns.shape[1]
    result = np.full((len(rows), symbols), np.nan)
    for d in range(len(rows)):
        first = max(0, rows[d] - WINDOW + 1)
        for i in range(symbols):
            count, mean_r, mean_m = 0, 0.0, 0.0
            for t in range(first, rows[d] + 1):
                r, m = returns[t, i], average[t]
                if r == r and m == m:
                    count += 1
                    mean_r += r
                    mean_m += m
            if count < HALF:
                continue
            mean_r /= count
            mean_m /= count
            shared, spread = 0.0, 0.0
            for t in range(first, rows[d] + 1):
                r, m = returns[t, i], average[t]
                if r == r and m == m:
                    shared += (r - mean_r) * (m - mean_m)
                    spread += (m - mean_m) ** 2
            if spread > 0.0:
                result[d, i] = min(max(shared / spread, 0.2), 3.0)
    return result


@kept(**_FLAGS)
def _lots(quantity, lot):
    return np.floor(quantity / lot + _ROUNDING) * lot if lot > 0.0 else quantity


@kept(**_FLAGS)
def _cap(weights, cap, gross, done):
    """Cut weights to the cap and give the excess to the rest in proportion, until none exceeds it."""
    done[:] = 0
    capped = 0
    while True:
        over = 0
        for k in range(len(weights)):
            if not done[k] and weights[k] > cap * (1.0 + 1e-12):
                done[k] = 1
                weights[k] = cap
                over += 1
        if over == 0:
            return
        capped += over
        total = 0.0
        for k in range(len(weights)):
            if not done[k]:
                total += weights[k]
        rest = max(gross - cap * capped, 0.0)
        for k in range(len(weights)):
            if not done[k]:
                weights[k] = weights[k] * rest / total if total > 0.0 else 0.0


@kept(**_FLAGS)
def _sort(value, upward, sorted_value):
    """Sort the places of the values in `upward`, which come in any order, and the values with them, the lowest first.

    Insertion: the order of the decision before is nearly that of this one.
    """
    for k in range(len(value)):
        mine, place = upward[k], k
        amount = value[mine]
        while place > 0 and sorted_value[place - 1] > amount:
            sorted_value[place], upward[place] = sorted_value[place - 1], upward[place - 1]
            place -= 1
        sorted_value[place], upward[place] = amount, mine


@kept(**_FLAGS)
def _choose(side, free, inside, kept_ones, names, held, upward, sorted_value, size, leg):
    """Give `free` places to the best of one side that are eligible, best first; return how many are left.

    Where `inside` is 0 all are eligible. Else those are held whose rank is inside it, or with `kept_ones` false those
    which are not. Tied values share what remains; `leg` takes place × size, a size by rank if `size` has none.
    """
    known = len(names)
    start, end = 0, inside if kept_ones else known
    while start < end and free > 0:
        first = sorted_value[known - 1 - start] if side > 0.0 else sorted_value[start]
        stop, tied = start, 0
        while stop < known and (sorted_value[known - 1 - stop] if side > 0.0 else sorted_value[stop]) == first:
            k = upward[known - 1 - stop] if side > 0.0 else upward[stop]
            tied += inside == 0 or (held[names[k]] * side > 0.0 and start < inside) == kept_ones
            stop += 1
        if tied > 0:
            part = min(1.0, free / tied)
            middle = max(0.0, (known - stop - start) / 2.0)
            for place in range(start, stop):
                k = upward[known - 1 - place] if side > 0.0 else upward[place]
                if inside == 0 or (held[names[k]] * side > 0.0 and start < inside) == kept_ones:
                    leg[k] = part * (middle if len(size) == 0 else size[k])
            free = max(0, free - tied)
        start = stop
    return free


@kept(**_FLAGS)
def _weigh_scores(names, value, sigma, exposure, held, p, weights, floats, whole):
    """Fill `weights` of the known symbols from their scores.

    `floats` and `whole` are room to work in; the first row of `whole` holds the known symbols' places in any order.
    """
    known = len(names)
    both = p[LONG] > 0.0 and p[SHORT] > 0.0
    most = known // 2 if both else known
    legs, size, sorted_value = floats[:2, :known], floats[2, :known], floats[3, :known]
    upward, capped = whole[0, :known], whole[1, :known]
    found_long, found_short = False, False
    legs[:] = 0.0
    _sort(value, upward, sorted_value)
    median = 0.0
    if p[SIZE] == BY_SCORE:
        half = known // 2
        median = sorted_value[half]
        if known % 2 == 0:
            median = (median + sorted_value[half - 1]) / 2.0
    for leg in range(2):
        share = p[LONG] if leg == 0 else p[SHORT]
        side = 1.0 if leg == 0 else -1.0
        if share <= 0.0:
            continue
        for k in range(known):
            if p[SIZE] == BY_SCORE:
                size[k] = max(0.0, side * value[k] - side * median)
            else:
                size[k] = 1.0 / sigma[k] if p[SIZE] == BY_VOLATILITY else 1.0
        sizes = size[:0] if p[SIZE] == BY_RANK else size
        free = min(max(1, int(np.floor(share * known + _ROUNDING))), most)
        inside = 0
        if p[KEEP] > 0.0:
            inside = min(max(free, int(np.floor(p[KEEP] * share * known + _ROUNDING))), most)
            free = _choose(side, free, inside, True, names, held, upward, sorted_value, sizes, legs[leg])
        _choose(side, free, inside, False, names, held, upward, sorted_value, sizes, legs[leg])
        total = 0.0
        for k in range(known):
            total += legs[leg, k]
        if total > 0.0 and np.isfinite(total):
            for k in range(known):
                legs[leg, k] /= total
            if leg == 0:
                found_long = True
            else:
                found_short = True
        else:
            legs[leg, :] = 0.0
    if p[NEUTRAL] != NO_NEUTRALITY and not (found_long and found_short):
        return
    gross_long = gross_short = p[GROSS] / 2.0 if both else p[GROSS]
    if p[NEUTRAL] == BETA:
        exposed_long, exposed_short = _exposed(legs[0], exposure), _exposed(legs[1], exposure)
        total = exposed_long + exposed_short
        gross_long, gross_short = p[GROSS] * exposed_short / total, p[GROSS] * exposed_long / total
    if found_long:
        _scale(legs[0], gross_long)
        _cap(legs[0], p[CAP], gross_long, capped)
    if found_short:
        _scale(legs[1], gross_short)
        _cap(legs[1], p[CAP], gross_short, capped)
    if p[NEUTRAL] != NO_NEUTRALITY:
        exposed_long, exposed_short = _exposed(legs[0], exposure), _exposed(legs[1], exposure)
        least = min(exposed_long, exposed_short)
        _scale(legs[0], least / exposed_long)
        _scale(legs[1], least / exposed_short)
    for k in range(known):
        net = legs[0, k] - legs[1, k]
        if abs(net) > _LEAST_WEIGHT:
            weights[k] = net


@kept(**_FLAGS)
def _exposed(leg, exposure):
    total = 0.0
    for k in range(len(leg)):
        total += leg[k] * exposure[k]
    return total


@kept(**_FLAGS)
def _scale(weights, factor):
    for k in range(len(weights)):
        weights[k] *= factor


@kept(**_FLAGS)
def _balance(weights, exposure):
    """Shrink the larger leg of given weights to the smaller; flat where one is empty."""
    up, down = 0.0, 0.0
    for k in range(len(weights)):
        if weights[k] > 0.0:
            up += weights[k] * exposure[k]
        else:
            down -= weights[k] * exposure[k]
    if up <= 0.0 or down <= 0.0:
        weights[:] = 0.0
        return
    least = min(up, down)
    for k in range(len(weights)):
        weights[k] *= least / (up if weights[k] > 0.0 else down)


@kept(**_FLAGS)
def _risk(row, names, weights, sigma, returns, portfolio):
    """Return the deviation of the weights' return over the window; the sum of risks where too few bars are common.

    `returns` is symbol × time; `portfolio` is room for a window.
    """
    first = max(0, row - WINDOW + 1)
    bars = row + 1 - first
    portfolio[:bars] = 0.0
    for k in range(len(names)):
        if weights[k] != 0.0:
            weight, own = weights[k], returns[names[k], first : row + 1]
            for t in range(bars):
                portfolio[t] += weight * own[t]
    count, mean = 0, 0.0
    for t in range(bars):
        if portfolio[t] == portfolio[t]:
            portfolio[count] = portfolio[t]
            mean += portfolio[t]
            count += 1
    if count < HALF:
        bound = 0.0
        for k in range(len(names)):
            if weights[k] != 0.0:
                bound += abs(weights[k]) * sigma[k]
        return bound
    mean /= count
    squares = 0.0
    for t in range(count):
        squares += (portfolio[t] - mean) ** 2
    return np.sqrt(squares / (count - 1))


@kept(**_FLAGS)
def _target_weights(
    row, closed, values, sigma, beta, returns, member, silent, last, close_of_last, ends, held, p, target, floats,
    whole, window,
):  # fmt: skip
    """Fill the target weights of all symbols at the close of a rebalance bar; return how many are known.

    `floats`, `whole` and `window` are room to work in, made once for the whole run. The last row of `whole` holds all
    symbols in the order of the scores of the decision before, and then of this one.
    """
    symbols = len(values)
    names, places, ranked = whole[2], whole[3], whole[4]
    known = 0
    needs_sigma = p[SIZE] == BY_VOLATILITY or p[VOLATILITY] > 0.0
    for i in range(symbols):
        target[i] = 0.0
        places[i] = -1
        if not member[i] or values[i] != values[i] or closed >= ends[i]:
            continue
        # whoever was traded before was traded in this bar, if it is not silent
        if silent and (last[i] < 0 or closed - close_of_last[last[i]] >= ENDED_AFTER):
            continue
        if needs_sigma and (sigma[i] != sigma[i] or (sigma[i] == 0.0 and p[SIZE] == BY_VOLATILITY)):
            continue
        if p[NEUTRAL] == BETA and beta[i] != beta[i]:
            continue
        names[known] = i
        places[i] = known
        known += 1
    names = names[:known]
    value, risk, exposure = floats[4, :known], floats[5, :known], floats[6, :known]
    weights = floats[7, :known]
    for k in range(known):
        value[k] = values[names[k]]
        risk[k] = sigma[names[k]] if needs_sigma else 0.0
        exposure[k] = beta[names[k]] if p[NEUTRAL] == BETA else 1.0
        weights[k] = 0.0
    if p[GIVEN] > 0.0:
        weights[:] = value
        if p[NEUTRAL] != NO_NEUTRALITY:
            _balance(weights, exposure)
    elif known >= FEWEST:
        first, others = 0, known
        for place in range(symbols):
            if places[ranked[place]] >= 0:
                whole[0, first] = places[ranked[place]]
                first += 1
            else:
                whole[1, others] = ranked[place]
                others += 1
        _weigh_scores(names, value, risk, exposure, held, p, weights, floats, whole)
        for place in range(known):
            ranked[place] = names[whole[0, place]]
        ranked[known:] = whole[1, known:]
    if p[VOLATILITY] > 0.0:
        expected = _risk(row, names, weights, risk, returns, window) * np.sqrt(p[BARS_PER_YEAR])
        if expected > 0.0:
            _scale(weights, p[VOLATILITY] / expected)
    total = 0.0
    for k in range(known):
        total += abs(weights[k])
    if total > p[GROSS_LIMIT]:
        _scale(weights, p[GROSS_LIMIT] / total)
    for k in range(known):
        target[names[k]] = weights[k]
    return known


@kept(**_FLAGS)
def _trade(i, row, quantity, price, reference, reason, equity, fee_rate, q, cash, running, fills, trades, counts):
    """Change one position by a signed quantity that does not cross zero."""
    notional = abs(quantity) * price
    fee = notional * fee_rate
    before = q[i]
    e = running[i]
    if before == 0.0:
        e[:] = 0.0
        e[E_SYMBOL], e[E_SIDE], e[E_ENTRY_ROW], e[E_ENTRY] = i, np.sign(quantity), row, price
    if before * quantity >= 0.0:
        e[E_ENTRY] = (abs(before) * e[E_ENTRY] + notional) / (abs(before) + abs(quantity))
    else:
        e[E_PNL] += (price - e[E_ENTRY]) * -quantity
        e[E_CLOSED] += abs(quantity)
        e[E_CLOSED_NOTIONAL] += notional
    e[E_FEES] += fee
    e[E_SLIPPAGE] += abs(quantity) * abs(price - reference)
    cash[0] -= quantity * price + fee
    q[i] = before + quantity
    if abs(q[i]) <= _DUST * abs(before):
        q[i] = 0.0
    e[E_LARGEST] = max(e[E_LARGEST], abs(q[i]))
    e[E_BASIS] = max(e[E_BASIS], abs(q[i]) * e[E_ENTRY])
    f = fills[counts[0]]
    f[F_ROW], f[F_SYMBOL], f[F_QUANTITY], f[F_PRICE], f[F_REFERENCE], f[F_FEE] = row, i, quantity, price, reference, fee
    f[F_EQUITY] = equity
    counts[0] += 1
    if q[i] == 0.0:
        _finish(i, row, reason, running, trades, counts)


@kept(**_FLAGS)
def _finish(i, row, reason, running, trades, counts):
    e = running[i]
    e[E_EXIT_ROW], e[E_REASON] = row, reason
    e[E_EXIT] = e[E_CLOSED_NOTIONAL] / e[E_CLOSED]
    trades[counts[1]] = e
    counts[1] += 1


@kept(**_FLAGS)
def _ruin(row, equity, at, maintenance, q, running, trades, counts):
    """Close everything at the marks; what equity is left is lost, shared by maintenance margin."""
    margin, notional = 0.0, 0.0
    for i in range(len(q)):
        if q[i] != 0.0:
            margin += maintenance[i] * abs(q[i]) * at[i]
            notional += abs(q[i]) * at[i]
    for i in range(len(q)):
        if q[i] == 0.0:
            continue
        e = running[i]
        value = abs(q[i]) * at[i]
        e[E_PNL] += (at[i] - e[E_ENTRY]) * q[i]
        e[E_CLOSED] += abs(q[i])
        e[E_CLOSED_NOTIONAL] += value
        e[E_LOST] = max(equity, 0.0) * (maintenance[i] * value / margin if margin > 0.0 else value / notional)
        q[i] = 0.0
        _finish(i, row, BY_LIQUIDATION, running, trades, counts)


@kept(**_FLAGS)
def _pack(q, names, sizes):
    """List what is held, longs before shorts, with absolute quantities; return how many longs and how many in all."""
    count = 0
    for i in range(len(q)):
        if q[i] > 0.0:
            names[count], sizes[count] = i, q[i]
            count += 1
    longs = count
    for i in range(len(q)):
        if q[i] < 0.0:
            names[count], sizes[count] = i, -q[i]
            count += 1
    return longs, count


@kept(**_FLAGS)
def _margin(prices, maintenance, names, sizes, count):
    total = 0.0
    for k in range(count):
        total += maintenance[names[k]] * sizes[k] * prices[names[k]]
    return total


@kept(**_FLAGS)
def _room(rows, needed, used):
    """Return the rows, or twice as many with the same beginning where `needed` more do not fit."""
    if used + needed <= len(rows):
        return rows
    larger = np.empty((2 * len(rows) + needed, rows.shape[1]))
    larger[:used] = rows[:used]
    return larger


@kept(**_FLAGS)
def simulate(
    begin, ts, step, opens, highs, lows, marks, last, gaps, silent, funding, paid, member, changed, rows, values, sigma,
    beta, returns_of, lot, minimum, maintenance, ends, p,
):  # fmt: skip
    """See `backtester.simulation.books.run_book`: one tranche, over the bars from `begin` on.

    `returns_of` is symbol × time, the other arrays are time × symbol.
    """
    bars, symbols = opens.shape
    fee, slippage, leverage = p[FEE], p[SLIPPAGE], p[LEVERAGE]
    series = np.zeros((SERIES, bars - begin))
    decisions = np.empty((len(rows), DECISION_COLUMNS))
    weights = np.zeros((len(rows), symbols))
    outcome = np.zeros(OUTCOMES)
    outcome[RUINED_AT] = outcome[BEYOND_AT] = -1.0
    fills, trades = np.empty((4 * symbols, FILL_COLUMNS)), np.empty((4 * symbols, TRADE_COLUMNS))
    counts = np.zeros(2, dtype=np.int64)
    running = np.zeros((symbols, TRADE_COLUMNS))
    cash = np.array([p[CAPITAL]])
    q = np.zeros(symbols)
    waits = np.zeros(symbols, dtype=np.uint8)
    wanted = np.zeros(symbols)
    why = np.zeros(symbols, dtype=np.int64)
    names, sizes = np.empty(symbols, dtype=np.uint64), np.empty(symbols)
    longs, count, waiting, decided = 0, 0, 0, 0
    highest = maintenance.max()
    at = np.zeros(symbols)
    closes = ts + step
    equity, up, down = cash[0], 0.0, 0.0
    increases = np.zeros(symbols)
    floats, whole, window = np.empty((8, symbols)), np.empty((5, symbols), dtype=np.int64), np.empty(WINDOW)
    whole[4] = np.arange(symbols)
    for t in range(begin, bars):
        # nothing can happen at this open where nothing waits, is paid or is silent, and no jump of it can ruin the book
        gross = (up + down) * (1.0 + _ROUNDING)
        calm = equity - gaps[t] * gross > highest * gross * (1.0 + gaps[t])
        ended = False
        if waiting or paid[t] or silent[t] or not calm:
            # marks at the open: the last close where a bar cannot be traded
            up, down = 0.0, 0.0
            for k in range(count):
                i = names[k]
                at[i] = opens[t, i]
                if at[i] != at[i]:
                    at[i] = marks[t - 1, i]
                    ended = True
                if k < longs:
                    up += sizes[k] * at[i]
                else:
                    down += sizes[k] * at[i]
            if waiting:
                for i in range(symbols):
                    if waits[i] and q[i] == 0.0:
                        at[i] = opens[t, i]
                        ended = ended or at[i] != at[i]
            # funding on what is held
            if paid[t]:
                for k in range(count):
                    i = names[k]
                    if funding[t, i] != 0.0:
                        owed = q[i] * at[i] * funding[t, i]
                        cash[0] -= owed
                        running[i, E_FUNDING] += owed
            # liquidation at the open
            equity = cash[0] + up - down
            if equity <= highest * (up + down) and equity <= _margin(at, maintenance, names, sizes, count):
                trades = _room(trades, symbols, counts[1])
                _ruin(t, equity, at, maintenance, q, running, trades, counts)
                outcome[SHORTFALL], outcome[RUINED_AT] = max(-equity, 0.0), t
                break
        if ended or waiting:
            fills, trades = _room(fills, 4 * symbols, counts[0]), _room(trades, 3 * symbols, counts[1])
            before = equity
            # symbols whose bars have ended
            for i in range(symbols):
                if (q[i] == 0.0 and not waits[i]) or opens[t, i] == opens[t, i] or last[t, i] < 0:
                    continue
                if ts[t] < ends[i] and ts[t] - closes[last[t, i]] < ENDED_AFTER:
                    continue
                waiting -= waits[i]
                waits[i] = 0
                if q[i] != 0.0:
                    worse = np.sign(q[i]) * min(ENDED_SLIPPAGE * slippage, 1.0)
                    _trade(i, t, -q[i], at[i] * (1.0 - worse), at[i], BY_ENDING, before, fee, q, cash, running,
                               fills, trades, counts)  # fmt: skip
            # fills: reductions first
            growing = False
            for i in range(symbols):
                if not waits[i] or opens[t, i] != opens[t, i]:
                    continue
                waits[i] = 0
                waiting -= 1
                crosses = q[i] * wanted[i] < 0.0
                first = 0.0 if crosses else wanted[i]
                grows = crosses or abs(wanted[i]) > abs(q[i])
                if abs(first) < abs(q[i]):
                    price = at[i] * (1.0 - slippage if q[i] > 0.0 else 1.0 + slippage)
                    _trade(i, t, first - q[i], price, at[i], BY_REVERSAL if crosses else why[i], before, fee, q, cash,
                           running, fills, trades, counts)  # fmt: skip
                if grows:
                    increases[i] = wanted[i] - q[i]
                    growing = True
            # then increases, all scaled by one factor where the margin does not suffice
            if growing:
                free, needed = cash[0], 0.0
                for i in range(symbols):
                    if q[i] != 0.0:
                        free += q[i] * at[i] - abs(q[i]) * at[i] / leverage
                    if increases[i] != 0.0:
                        price = at[i] * (1.0 + slippage if increases[i] > 0.0 else 1.0 - slippage)
                        needed += abs(increases[i]) * (at[i] / leverage + abs(price - at[i]) + price * fee)
                factor = 1.0 if needed <= free else max(free, 0.0) / needed
                if factor < 1.0:
                    outcome[SCALED] += 1.0
                for i in range(symbols):
                    quantity = increases[i]
                    increases[i] = 0.0
                    if quantity != 0.0 and factor < 1.0:
                        quantity = np.sign(quantity) * _lots(abs(quantity) * factor, lot[i])
                        if abs(quantity) < minimum[i]:
                            continue
                    if quantity != 0.0:
                        price = at[i] * (1.0 + slippage if quantity > 0.0 else 1.0 - slippage)
                        _trade(i, t, quantity, price, at[i], 0, before, fee, q, cash, running, fills, trades, counts)
            # liquidation after the fills
            longs, count = _pack(q, names, sizes)
            up, down = 0.0, 0.0
            for k in range(longs):
                up += sizes[k] * at[names[k]]
            for k in range(longs, count):
                down += sizes[k] * at[names[k]]
            equity = cash[0] + up - down
            if equity <= highest * (up + down) and equity <= _margin(at, maintenance, names, sizes, count):
                _ruin(t, equity, at, maintenance, q, running, trades, counts)
                outcome[SHORTFALL], outcome[RUINED_AT] = max(-equity, 0.0), t
                break
        # inside the bar: all adverse extremes at once; and the mark at the close
        up, down, worst_up, worst_down = 0.0, 0.0, 0.0, 0.0
        for k in range(longs):
            up += sizes[k] * marks[t, names[k]]
            worst_up += sizes[k] * lows[t, names[k]]
        for k in range(longs, count):
            down += sizes[k] * marks[t, names[k]]
            worst_down += sizes[k] * highs[t, names[k]]
        worst = cash[0] + worst_up - worst_down
        if worst != worst or (worst <= highest * (worst_up + worst_down) and outcome[BEYOND_AT] < 0.0):
            worst, margin = cash[0], 0.0
            for k in range(count):
                i = names[k]
                extreme = lows[t, i] if k < longs else highs[t, i]
                if extreme != extreme:
                    extreme = marks[t, i]
                worst += q[i] * extreme
                margin += maintenance[i] * sizes[k] * extreme
            if worst <= margin and outcome[BEYOND_AT] < 0.0:
                outcome[BEYOND_AT] = t
        series[ADVERSE, t - begin] = max(worst, 0.0)
        # liquidation at the close
        equity = cash[0] + up - down
        if equity <= highest * (up + down) and equity <= _margin(marks[t], maintenance, names, sizes, count):
            trades = _room(trades, symbols, counts[1])
            _ruin(t, equity, marks[t], maintenance, q, running, trades, counts)
            outcome[SHORTFALL], outcome[RUINED_AT] = max(-equity, 0.0), t
            break
        series[EQUITY, t - begin] = equity
        series[HELD_LONG, t - begin] = up / equity
        series[HELD_SHORT, t - begin] = down / equity
        # orders for those that left the universe
        if changed[t]:
            for i in range(symbols):
                if not member[t, i] and (q[i] != 0.0 or waits[i]):
                    waiting += 1 - waits[i]
                    waits[i], wanted[i], why[i] = 1, 0.0, BY_LEAVING
        # the decision; one on the last bar is dropped, as is one that nothing follows
        if decided < len(rows) and rows[decided] == t:
            target = weights[decided]
            known = _target_weights(
                t, closes[t], values[decided], sigma[decided], beta[decided], returns_of, member[t], silent[t], last[t],
                closes, ends, q, p, target, floats, whole, window,
            )  # fmt: skip
            waits[:] = 0
            waiting = 0
            held_long, held_short, net_beta = 0.0, 0.0, 0.0
            for i in range(symbols):
                frozen = q[i]
                weight = target[i]
                if weight == 0.0 and frozen == 0.0:
                    continue
                now = q[i] * marks[t, i] / equity if q[i] != 0.0 else 0.0
                if not (weight * now > 0.0 and abs(weight - now) <= p[BAND] * abs(now)):
                    goal = 0.0
                    if weight != 0.0:
                        goal = np.sign(weight) * _lots(abs(weight) * equity / marks[t, i], lot[i])
                    change = abs(goal - q[i])
                    small = change < minimum[i] and goal != 0.0 and goal * q[i] >= 0.0
                    if change > _DUST * max(abs(goal), abs(q[i])) and not small:
                        waits[i], wanted[i] = 1, goal
                        why[i] = BY_REBALANCE if member[t, i] else BY_LEAVING
                        waiting += 1
                        frozen = goal
                if frozen != 0.0:
                    share = frozen * marks[t, i] / equity
                    if share > 0.0:
                        held_long += share
                    else:
                        held_short -= share
                    net_beta += share * beta[decided, i]
            d = decisions[decided]
            d[D_ROW], d[D_KNOWN], d[D_LONG], d[D_SHORT] = t, known, held_long, held_short
            d[D_NET], d[D_BETA] = held_long - held_short, net_beta
            decided += 1
    if outcome[RUINED_AT] < 0.0:
        # what is open counts as closed at the mark less the cost of closing, in the trades alone
        trades = _room(trades, symbols, counts[1])
        for i in range(symbols):
            if q[i] == 0.0:
                continue
            e = running[i]
            price = marks[bars - 1, i] * (1.0 - slippage if q[i] > 0.0 else 1.0 + slippage)
            e[E_PNL] += (price - e[E_ENTRY]) * q[i]
            e[E_CLOSED] += abs(q[i])
            e[E_CLOSED_NOTIONAL] += abs(q[i]) * price
            e[E_FEES] += abs(q[i]) * price * fee
            e[E_SLIPPAGE] += abs(q[i]) * abs(price - marks[bars - 1, i])
            _finish(i, bars - 1, STILL_OPEN, running, trades, counts)
    return series, fills[: counts[0]], trades[: counts[1]], decisions[:decided], weights[:decided], q, outcome
