"""The compiled loop: one lane is one pass over its bars, in the order of events of the guide.

Belongs here: what happens inside a lane, on raw arrays, and how that code is compiled. Does not belong here: checking
the input (`backtester.simulation.bar_arrays`, `backtester.simulation.signals`), turning sums into metrics
(`backtester.statistics.metrics`).

How it is written, and why:

- Prices are *signed*: multiplied by the side (+1 long, -1 short), every comparison of a short is the long's. The
  multiplication by one is exact, so nothing is lost, and each rule stands here once.
- A lane is a row of addresses and counts (`LANE`), so that lanes share arrays without copying: thousands of lanes
  over the same bars cost only their results, and a circular shift of signals is just another address. Whoever fills
  that row keeps the arrays alive for the length of the call; `backtester.simulation.lanes` is the only place that does.
- No parallel compilation: `run` releases the interpreter lock and `backtester.simulation.lanes` calls it from threads,
  one call for many lanes. That is safe under threads and forks, compiles in a third of the time, and each lane writes
  only to its own memory, so the result does not depend on the number of threads.
- Most bars of a held position do nothing but move the mark. `_calm_blocks` takes them eight at a time with explicit
  vector instructions: four times as fast as a plain loop, and, unlike with fast-math, the same sums on every machine.
- Compiled on first use, not on import, and kept on disk where there is a place to keep it.

Everything in this file is one cache entry: Numba notices a changed file, not a changed import.
"""

# ruff: noqa: ANN001, ANN202, ARG001, C901, PLR0911, PLR0912, PLR0915
# One lane is one loop whose order of events is the specification: cutting it into many functions would hide the order
# and cost a third of the speed. The lettered comments name the events of the guide. Compiled functions take the types
# of SIGNATURE and carry no annotations; Numba fixes the arguments of those that write machine code.

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from features.jit import kept

# Columns of the lane table (int64): addresses are of contiguous arrays, 0 where there is none.
N, OPEN, HIGH, LOW, CLOSE, STATE, TS, STEP = 0, 1, 2, 3, 4, 5, 6, 7
BITS: Final = 8
FUND_ROW, FUND_RATE, FUND_TS, FUND_N = 9, 10, 11, 12
HOUR_ROW, HOUR_N, HOUR_OUT = 13, 14, 15
STOP, TARGET, TRAIL, TIME_STOP, SIZE, LEVERAGE, LIMIT = 16, 17, 18, 19, 20, 21, 22  # parameter columns, and ...
STRIDE_OF: Final = 7  # ... STRIDE_OF columns further right: 1 for a column, 0 for one value that holds for all bars
MARK_OPEN, MARK_HIGH, MARK_LOW = 30, 31, 32
MINUTE_TS, MINUTE_OPEN, MINUTE_HIGH, MINUTE_LOW, MINUTE_OK, MINUTE_N = 33, 34, 35, 36, 37, 38
TIER_CAP, TIER_RATE, TIER_N = 39, 40, 41
FAVOURABLE: Final = 42
TRADES_OUT, TRADES_CAP, EQUITY_OUT = 43, 44, 45
FIXED: Final = 46  # every order is sized by the starting capital, whatever has been won or lost since
MINUTE_STEP: Final = 47  # length of the bars that MINUTE_* hold
VOLUME: Final = 48  # what was traded in each bar, in quote currency
LANE_COLUMNS: Final = 49

# Columns of the rate table (float64): the mark prices are bounds over the window, where there are any; LOT and LEAST
# are what quantities are rounded to and the smallest that is filled, in base units per unit of capital, 0 for neither.
TAKER_FEE, TARGET_FEE, SLIPPAGE, IMPACT, CAPITAL, MARK_LOWEST, MARK_HIGHEST, LOT, LEAST = 0, 1, 2, 3, 4, 5, 6, 7, 8
RATE_COLUMNS: Final = 9

# Bits of a bar's state and of a bar's signals.
FILLABLE, ADJACENT, FUNDING_KNOWN = 1, 2, 4
LONG_ENTRY, SHORT_ENTRY, LONG_EXIT, SHORT_EXIT = 1, 2, 4, 8
_EIGHT_ENTRIES: Final = 0x0101010101010101 * (LONG_ENTRY | SHORT_ENTRY)

# Why a position was closed; 0 is 'not closed'.
REASONS: Final = ("", "signal", "reversal", "time", "stop", "trail", "target", "liquidation", "open")
BY_SIGNAL, BY_REVERSAL, BY_TIME, BY_STOP, BY_TRAIL, BY_TARGET, BY_LIQUIDATION, STILL_OPEN = 1, 2, 3, 4, 5, 6, 7, 8

# Columns of a trade (float64). Amounts are per unit of starting capital.
T_ENTRY_ROW, T_EXIT_ROW, T_SIDE, T_ENTRY, T_EXIT, T_QUANTITY = 0, 1, 2, 3, 4, 5
T_PNL, T_FEES, T_FUNDING, T_SLIPPAGE, T_REASON, T_LEVERAGE, T_EQUITY = 6, 7, 8, 9, 10, 11, 12
TRADE_COLUMNS: Final = 13

# Columns of a lane's sums (float64).
S_TRADES, S_WINS, S_NET_FRACTION, S_GAINS, S_LOSSES = 0, 1, 2, 3, 4
S_FEES, S_SLIPPAGE, S_FUNDING, S_TURNOVER = 5, 6, 7, 8
S_HELD, S_HELD_KNOWN, S_AMBIGUOUS, S_UNRESOLVED = 9, 10, 11, 12
S_R1, S_R2, S_R3, S_R4, S_DOWN2, S_DRAWDOWN, S_EQUITY = 13, 14, 15, 16, 17, 18, 19
S_LIQUIDATIONS, S_REALISED, S_OPEN, S_LIMITS, S_FILLED = 20, 21, 22, 23, 24
S_ASKED, S_LEFT, S_SMALL = 25, 26, 27  # of entries: notional asked for, what lots left out of it, entries left out
SUM_COLUMNS: Final = 28

_ROUNDING: Final = 1e-9
"""What a quantity may lack of a whole lot, in lots, or of the smallest order, as a share."""


_intrinsic: Final[Any] = intrinsic  # Numba's own types know nothing of the arguments that the compiler fills in
_njit: Final[Any] = numba.njit
_cgutils: Final[Any] = cgutils
_types: Final[Any] = types


def _pointer(dtype: types.Type) -> Any:
    """Return a compiled function that reads one element of a contiguous array from the array's address."""

    @_intrinsic  # type: ignore[untyped-decorator]
    def load(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.get_data_type(signature.return_type)
            base = builder.inttoptr(args[0], data.as_pointer())
            return builder.load(builder.gep(base, [args[1]]))

        return dtype(types.int64, types.int64), codegen

    return load


@_intrinsic  # type: ignore[untyped-decorator]
def _eight(typingctx: Any, address: Any, index: Any) -> Any:
    """Read eight bytes of an array given by its address, from any byte on, as one number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        at = builder.bitcast(builder.gep(base, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load(at, align=1)

    return types.int64(types.int64, types.int64), codegen


@_intrinsic  # type: ignore[untyped-decorator]
def _store(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
    """Write one float64 to an array given by its address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.get_data_type(types.float64)
        base = builder.inttoptr(args[0], data.as_pointer())
        builder.store(args[2], builder.gep(base, [args[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), codegen


WIDTH: Final = 8
"""Bars that `_calm_blocks` takes at once: a fixed number, so that sums do not depend on the machine."""

_CALM_RESULT: Final = _types.Tuple([types.int64, types.int64, *[types.float64] * 7])


@_intrinsic  # type: ignore[untyped-decorator]
def _calm_blocks(
    typingctx: Any, lane: Any, t: Any, until: Any, limits: Any, heard: Any, book: Any, extremes: Any
) -> Any:
    """Walk blocks of 8 bars in which a held position meets nothing, as vector instructions.

    `lane` addresses of open, low, high, close, state, signals and equity output; `limits` the prices that end it;
    `book` cash, signed quantity, entry, and the equity that ends it; `extremes` peak and trough. Returns the first bar
    not taken, how many had known funding, the five sums of returns (powers one to four, squared losses), peak and
    trough.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _Calm(context, builder, args).build()

    return (
        _CALM_RESULT(
            _types.UniTuple(types.int64, 7),
            types.int64,
            types.int64,
            _types.UniTuple(types.float64, 2),
            types.uint8,
            _types.UniTuple(types.float64, 4),
            _types.UniTuple(types.float64, 2),
        ),
        codegen,
    )


class _Calm:
    """Writes the loop of `_calm_blocks`; every value is a vector of `WIDTH` bars unless its name says otherwise."""

    number, byte = ir.DoubleType(), ir.IntType(8)

    def __init__(self, context: Any, builder: Any, args: Any) -> None:
        self.context, self.builder = context, builder
        lane, self.start, self.until, limits, self.heard, book, extremes = args
        unpack = _cgutils.unpack_tuple
        self.open, self.low, self.high, self.close, self.state, self.bits, self.equity_out = unpack(builder, lane, 7)
        self.floor, self.ceiling = (self.spread(each) for each in unpack(builder, limits, 2))
        cash, signed, entry, self.least = unpack(builder, book, 4)
        self.cash, self.signed, self.entry = (self.spread(each) for each in (cash, signed, entry))
        self.row = _cgutils.alloca_once_value(builder, self.start)
        self.known = _cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(64), 0))
        self.peak, self.trough = (_cgutils.alloca_once_value(builder, each) for each in unpack(builder, extremes, 2))
        self.sums = [_cgutils.alloca_once_value(builder, self.all(0.0)) for _ in range(5)]

    def all(self, value: float) -> Any:
        return ir.Constant(ir.VectorType(self.number, WIDTH), [value] * WIDTH)

    def spread(self, scalar: Any) -> Any:
        vector = ir.VectorType(scalar.type, WIDTH)
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return self.builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)

    def load(self, address: Any, row: Any, element: Any) -> Any:
        base = self.builder.inttoptr(address, element.as_pointer())
        at = self.builder.bitcast(self.builder.gep(base, [row]), ir.VectorType(element, WIDTH).as_pointer())
        return self.builder.load(at, align=1 if element is self.byte else 8)

    def folded(self, vector: Any, operation: Callable[[Any, Any], Any]) -> Any:
        """Combine the elements of a vector in a fixed order: halves, quarters, pairs."""
        width = WIDTH
        while width > 1:
            width //= 2
            undefined = ir.Constant(vector.type, ir.Undefined)
            index = ir.VectorType(ir.IntType(32), width)
            one, two = (
                self.builder.shuffle_vector(vector, undefined, ir.Constant(index, list(range(first, first + width))))
                for first in (0, width)
            )
            vector = operation(one, two)
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    def chosen(self, comparison: str, one: Any, two: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(comparison, one, two), one, two)

    def marks(self, row: Any) -> Any:
        b = self.builder
        move = b.fsub(self.load(self.close, row, self.number), self.entry)
        return b.fadd(self.cash, b.fmul(self.signed, move))

    def events(self, row: Any) -> tuple[Any, Any]:
        """Return a bit for each bar that ends the walk, and one for each with known funding."""
        b = self.builder
        state, bits = self.load(self.state, row, self.byte), self.load(self.bits, row, self.byte)

        def has(bytes_: Any, mask: Any) -> Any:
            zero = ir.Constant(bytes_.type, [0] * WIDTH)
            return b.icmp_unsigned("!=", b.and_(bytes_, mask), zero)

        hit = b.or_(
            has(bits, self.spread(self.heard)),
            b.or_(
                b.fcmp_ordered("<=", self.load(self.low, row, self.number), self.floor),
                b.fcmp_ordered(">=", self.load(self.high, row, self.number), self.ceiling),
            ),
        )
        known = has(state, ir.Constant(state.type, [FUNDING_KNOWN] * WIDTH))
        return b.bitcast(hit, self.byte), b.bitcast(known, self.byte)

    def build(self) -> Any:
        b = self.builder
        head, check, body, done = (b.append_basic_block(f"calm.{name}") for name in ("head", "check", "body", "done"))
        b.branch(head)
        b.position_at_end(head)
        row = b.load(self.row)
        room = b.icmp_signed("<=", b.add(row, ir.Constant(row.type, WIDTH)), self.until)
        b.cbranch(room, check, done)
        b.position_at_end(check)
        self.fetch_open(row)
        hit, known = self.events(row)
        mark = self.marks(row)
        before = self.marks(b.sub(row, ir.Constant(row.type, 1)))
        whole = b.block
        some, walk = b.append_basic_block("calm.some"), b.append_basic_block("calm.walk")
        b.cbranch(b.icmp_unsigned("==", hit, ir.Constant(self.byte, 0)), walk, some)
        # Bars before the first hit are taken; those from it on repeat the last mark before it, which changes nothing.
        b.position_at_end(some)
        index = ir.IntType(32)
        taken = b.zext(b.cttz(hit, ir.Constant(ir.IntType(1), 0)), index)
        inside = b.icmp_unsigned("<", ir.Constant(ir.VectorType(index, WIDTH), list(range(WIDTH))), self.spread(taken))
        previous = b.extract_element(mark, b.and_(b.sub(taken, ir.Constant(index, 1)), ir.Constant(index, WIDTH - 1)))
        none = b.icmp_unsigned("==", taken, ir.Constant(index, 0))
        last = self.spread(b.select(none, b.extract_element(before, ir.Constant(index, 0)), previous))
        cut = [b.select(inside, each, last) for each in (mark, before)] + [
            b.and_(known, b.bitcast(inside, self.byte)),
            taken,
        ]
        b.branch(walk)
        b.position_at_end(walk)
        merged = []
        for full, part in zip((mark, before, known, ir.Constant(index, WIDTH)), cut, strict=True):
            phi = b.phi(full.type)
            phi.add_incoming(full, whole)
            phi.add_incoming(part, some)
            merged.append(phi)
        mark, before, known, taken = merged
        after = b.add(row, b.zext(taken, row.type))
        lowest = self.folded(mark, lambda one, two: self.chosen("<", one, two))
        b.cbranch(b.fcmp_ordered(">", lowest, self.least), body, done)
        b.position_at_end(body)
        self.add_returns(b.fsub(b.fdiv(mark, before), self.all(1.0)))
        self.lower_trough(mark, lowest)
        with b.if_then(b.icmp_unsigned("!=", self.equity_out, ir.Constant(self.equity_out.type, 0)), likely=False):
            base = b.inttoptr(self.equity_out, self.number.as_pointer())
            b.store(mark, b.bitcast(b.gep(base, [row]), mark.type.as_pointer()), align=8)
        b.store(b.add(b.load(self.known), b.zext(b.ctpop(known), row.type)), self.known)
        b.store(after, self.row)
        b.cbranch(b.icmp_unsigned("==", hit, ir.Constant(self.byte, 0)), head, done)
        b.position_at_end(done)
        totals = [self.folded(b.load(each), b.fadd) for each in self.sums]
        values = [b.load(self.row), b.load(self.known), *totals, b.load(self.peak), b.load(self.trough)]
        return self.context.make_tuple(b, _CALM_RESULT, values)

    def fetch_open(self, row: Any) -> None:
        """Ask for this block's opens: needed only where something happens, and then without waiting for memory."""
        b = self.builder
        pointer = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        prefetch = _cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
        base = b.inttoptr(self.open, self.number.as_pointer())
        at = b.bitcast(b.gep(base, [row]), pointer)
        b.call(prefetch, [at, *(ir.Constant(flag, value) for value in (0, 3, 1))])

    def add_returns(self, change: Any) -> None:
        b = self.builder
        square = b.fmul(change, change)
        loss = self.chosen("<", change, self.all(0.0))
        terms = (change, square, b.fmul(square, change), b.fmul(square, square), b.fmul(loss, loss))
        for total, term in zip(self.sums, terms, strict=True):
            b.store(b.fadd(b.load(total), term), total)

    def lower_trough(self, mark: Any, lowest: Any) -> None:
        """Take the block into peak and trough; bar by bar only where it may hold a deeper drawdown."""
        b = self.builder
        highest = self.chosen(">", self.folded(mark, lambda one, two: self.chosen(">", one, two)), b.load(self.peak))
        deeper = b.fcmp_ordered("<", lowest, b.fmul(highest, b.load(self.trough)))
        with b.if_else(deeper, likely=False) as (then, otherwise):
            with then:
                peak, trough = b.load(self.peak), b.load(self.trough)
                for k in range(WIDTH):
                    each = b.extract_element(mark, ir.Constant(ir.IntType(32), k))
                    peak = self.chosen(">", each, peak)
                    below = b.fcmp_ordered("<", each, b.fmul(peak, trough))
                    trough = b.select(below, b.fdiv(each, peak), trough)
                b.store(peak, self.peak)
                b.store(trough, self.trough)
            with otherwise:
                b.store(highest, self.peak)


_f8 = _pointer(types.float64)
_i8 = _pointer(types.int64)
_u1 = _pointer(types.uint8)


@_njit(error_model="numpy")
def _inside(o, w, b, mark_w, stop, trail, best, distance, liquidation, target, entered, favourable):  # type: ignore[no-untyped-def]
    """Decide what a bar does to a position: (reason, reference price, whether the order of events mattered).

    All prices signed; `w` and `b` the bar's worst and best price, `best` the trailing extreme before this bar. Where a
    limit order `entered` inside the bar, its worst price came with the fill or after it, and its best price may have
    come before.
    """
    # Adverse first: stop, trail as it stood at the open, liquidation; then a trail that follows the price on its way to
    # the target and is met on the way back, at worst by the bar's worst price; then the target.
    reason, level = 0, -np.inf
    if w <= stop:
        reason, level = BY_STOP, stop
    if w <= trail and trail > level:
        reason, level = BY_TRAIL, trail
    if mark_w <= liquidation and liquidation > level:
        reason, level = BY_LIQUIDATION, liquidation
    if reason != 0:
        level = min(level, o)
    elif b >= target and not entered:
        reason, level = BY_TARGET, target
        if w <= target - distance:
            reason, level = BY_TRAIL, w
    # Favourable first: the target; else the trail ratchets with the best price, then the worst price comes.
    other, price = 0, -np.inf
    if b >= target:
        other, price = BY_TARGET, target
    else:
        ratcheted = max(best, b) - distance
        if w <= stop:
            other, price = BY_STOP, stop
        if w <= ratcheted and ratcheted > price:
            other, price = BY_TRAIL, ratcheted
        if mark_w <= liquidation and liquidation > price:
            other, price = BY_LIQUIDATION, liquidation
        # A ratcheted trail is met on the way down from the best price; any other level may have been jumped over.
        if other != 0 and not (other == BY_TRAIL and ratcheted > trail):
            price = min(price, o)
    differs = reason != other or level != price or (entered and reason == 0 and distance < np.inf and b > best)
    if favourable:
        return other, price, differs
    return reason, level, differs


@_njit(error_model="numpy")
def _by_minutes(lane, ts, s, stop, trail, best, distance, liquidation, target, limit, favourable):  # type: ignore[no-untyped-def]
    """Walk the finer bars inside one bar: (whether complete, reason, reference price, still ambiguous, best price).

    Complete means that every finer bar of the bar is there and sound; otherwise the bar itself has to decide. `limit`
    is the signed price of an order that one of them fills, infinite where the position was there before.
    """
    count, step, finer = lane[MINUTE_N], lane[STEP], lane[MINUTE_STEP]
    if count == 0:
        return False, 0, -np.inf, True, best
    low, high = np.int64(0), count
    while low < high:
        middle = (low + high) // 2
        if _i8(lane[MINUTE_TS], middle) < ts:
            low = middle + 1
        else:
            high = middle
    expected = step // finer
    if low + expected > count or _i8(lane[MINUTE_TS], low) != ts:
        return False, 0, -np.inf, True, best
    if _i8(lane[MINUTE_TS], low + expected - 1) != ts + step - finer:
        return False, 0, -np.inf, True, best
    for k in range(low, low + expected):
        if _u1(lane[MINUTE_OK], k) == 0:
            return False, 0, -np.inf, True, best
    ambiguous, waiting = False, limit < np.inf
    for k in range(low, low + expected):
        o = s * _f8(lane[MINUTE_OPEN], k)
        worst = s * _f8(lane[MINUTE_LOW], k) if s > 0 else s * _f8(lane[MINUTE_HIGH], k)
        bestp = s * _f8(lane[MINUTE_HIGH], k) if s > 0 else s * _f8(lane[MINUTE_LOW], k)
        if waiting and worst >= limit:
            continue
        entered, waiting = waiting, False
        # A minute that opens beyond a level has filled there before anything else in it can happen.
        if k > low and not entered and o <= max(stop, trail, liquidation):
            if o <= liquidation:
                return True, BY_LIQUIDATION, o, ambiguous, best
            return True, BY_TRAIL if trail > stop else BY_STOP, o, ambiguous, best
        reason, price, differs = _inside(
            o, worst, bestp, worst, stop, trail, best, distance, liquidation, target, entered, favourable
        )
        ambiguous = ambiguous or differs
        if reason != 0:
            return True, reason, price, ambiguous, best
        if favourable or not entered:
            best = max(best, bestp)
            trail = best - distance
    return not waiting, 0, -np.inf, ambiguous or waiting, best


@_njit(error_model="numpy")
def _slip(lane, rate, t, value):  # type: ignore[no-untyped-def]
    """Return the slippage of a fill in a bar: the constant part, and one that grows with its share of what was traded.

    `value` is its notional per unit of capital. Where nothing was traded, or it is unknown, the share counts as 1.
    """
    if rate[IMPACT] == 0.0:
        return rate[SLIPPAGE]
    traded = _f8(lane[VOLUME], t)
    share = value * rate[CAPITAL] / traded if traded > 0.0 else 1.0
    return min(rate[SLIPPAGE] + rate[IMPACT] * np.sqrt(share), 0.99)


@_njit(error_model="numpy")
def _write_trade(  # type: ignore[no-untyped-def]
    out, trades_out, trades_cap, entry_row, exit_row, s, entry, fill, quantity, notional, gross, fees, funding, slipped,
    reason, leverage, equity_in,
):  # fmt: skip
    """Add a closed trade to the sums of its lane, and write it while there is room."""
    net = gross - fees - funding
    index = np.int64(out[S_TRADES])
    out[S_TRADES] += 1.0
    # without branches: whether a trade wins cannot be predicted
    out[S_WINS] += 1.0 if net > 0.0 else 0.0
    out[S_GAINS] += max(net, 0.0)
    out[S_LOSSES] -= min(net, 0.0)
    out[S_NET_FRACTION] += net / notional
    out[S_FEES] += fees
    out[S_FUNDING] += funding
    out[S_SLIPPAGE] += slipped
    out[S_TURNOVER] += notional + quantity * fill
    if index < trades_cap:
        at = index * TRADE_COLUMNS
        _store(trades_out, at + T_ENTRY_ROW, float(entry_row))
        _store(trades_out, at + T_EXIT_ROW, float(exit_row))
        _store(trades_out, at + T_SIDE, s)
        _store(trades_out, at + T_ENTRY, entry)
        _store(trades_out, at + T_EXIT, fill)
        _store(trades_out, at + T_QUANTITY, quantity)
        _store(trades_out, at + T_PNL, gross)
        _store(trades_out, at + T_FEES, fees)
        _store(trades_out, at + T_FUNDING, funding)
        _store(trades_out, at + T_SLIPPAGE, slipped)
        _store(trades_out, at + T_REASON, float(reason))
        _store(trades_out, at + T_LEVERAGE, leverage)
        _store(trades_out, at + T_EQUITY, equity_in)


@_njit(error_model="numpy")
def _lane(lane, rate, out):  # type: ignore[no-untyped-def]
    n, step = lane[N], lane[STEP]
    opens, highs, lows, closes, states, stamps = lane[OPEN], lane[HIGH], lane[LOW], lane[CLOSE], lane[STATE], lane[TS]
    signals = lane[BITS]
    marked, lowest_mark, highest_mark = lane[MARK_OPEN] != 0, rate[MARK_LOWEST], rate[MARK_HIGHEST]
    favourable, fixed = lane[FAVOURABLE] != 0, lane[FIXED] != 0
    # What an order, a loss and a fee may take beyond the cash: with fixed capital, whatever is lost is paid in again.
    beyond = np.inf if fixed else 0.0
    taker, target_fee = rate[TAKER_FEE], rate[TARGET_FEE]
    trades_out, trades_cap, equity_out = lane[TRADES_OUT], lane[TRADES_CAP], lane[EQUITY_OUT]

    fund, fund_n = np.int64(0), lane[FUND_N]
    next_fund = _i8(lane[FUND_ROW], 0) if fund_n > 0 else np.int64(-1)
    hour, hour_n = np.int64(0), lane[HOUR_N]
    while hour < hour_n and _i8(lane[HOUR_ROW], hour) < 0:
        _store(lane[HOUR_OUT], hour, 1.0)
        hour += 1
    next_hour = _i8(lane[HOUR_ROW], hour) if hour < hour_n else np.int64(-1)

    cash, equity, peak, trough = 1.0, 1.0, 1.0, 1.0  # trough: lowest equity as a fraction of the peak before it
    s = 0.0  # side of the position: +1, -1, 0 none
    pending, leaving = 0.0, 0  # side of the entry order, reason of the exit order
    signal_row = np.int64(0)
    entry = quantity = notional = fees = funding = slipped = margin = equity_in = leverage = 0.0
    entry_row = np.int64(0)
    stop = trail = maintained = liquidation = best = -np.inf
    marks_near = False  # whether some mark price of the window reaches the liquidation
    target, distance = np.inf, np.inf
    due = np.int64(0)  # time of the time stop, 0 none
    by_limit = False  # whether a resting order brought the position, inside its bar of entry
    r1 = r2 = r3 = r4 = down2 = 0.0
    held, held_known = np.int64(0), np.int64(0)

    t = np.int64(-1)
    while t < n - 1:
        t += 1
        # Shortcut: bars on which nothing can happen. Every other bar takes the long way below. A flagged bar needs no
        # question here: it may only mark, which is all that this does.
        if s == 0.0 and pending == 0.0:
            start = t
            while t + 8 < n and _eight(signals, t) & _EIGHT_ENTRIES == 0:
                t += 8
            while t < n - 1 and _u1(signals, t) & (LONG_ENTRY | SHORT_ENTRY) == 0:
                t += 1
            while 0 <= next_fund < t:
                fund += 1
                next_fund = _i8(lane[FUND_ROW], fund) if fund < fund_n else np.int64(-1)
            while 0 <= next_hour < t:
                _store(lane[HOUR_OUT], hour, equity)
                hour += 1
                next_hour = _i8(lane[HOUR_ROW], hour) if hour < hour_n else np.int64(-1)
            if equity_out != 0:
                for row in range(start, t):
                    _store(equity_out, row, equity)
        elif s != 0.0 and leaving == 0 and due == 0 and distance == np.inf and not marks_near:
            adverse = stop if marked else max(stop, liquidation)
            floor = adverse if s > 0.0 else -target
            ceiling = target if s > 0.0 else -adverse
            heard = np.uint8(LONG_EXIT | SHORT_ENTRY if s > 0.0 else SHORT_EXIT | LONG_ENTRY)
            until = n - 1
            if next_fund >= 0:
                until = min(until, next_fund)
            signed, least = s * quantity, cash - min(margin, cash + beyond)
            if equity <= least:
                until = t
            start = t
            if t + WIDTH <= until:
                t, more, sum1, sum2, sum3, sum4, sum5, peak, trough = _calm_blocks(
                    (opens, lows, highs, closes, states, signals, equity_out),
                    t,
                    until,
                    (floor, ceiling),
                    heard,
                    (cash, signed, entry, least),
                    (peak, trough),
                )
                r1 += sum1
                r2 += sum2
                r3 += sum3
                r4 += sum4
                down2 += sum5
                held_known += more
                if t > start:
                    equity = cash + signed * (_f8(closes, t - 1) - entry)
                    while 0 <= next_hour < t:
                        _store(lane[HOUR_OUT], hour, cash + signed * (_f8(closes, next_hour) - entry))
                        hour += 1
                        next_hour = _i8(lane[HOUR_ROW], hour) if hour < hour_n else np.int64(-1)
            while t < until:
                state = _u1(states, t)
                if _u1(signals, t) & heard or _f8(lows, t) <= floor or _f8(highs, t) >= ceiling:
                    break
                marked_equity = cash + signed * (_f8(closes, t) - entry)
                if marked_equity <= least:
                    break
                r = marked_equity / equity - 1.0
                square = r * r
                r1 += r
                r2 += square
                r3 += square * r
                r4 += square * square
                less = min(r, 0.0)
                down2 += less * less
                equity = marked_equity
                peak = max(peak, equity)
                if equity < peak * trough:
                    trough = equity / peak
                if equity_out != 0:
                    _store(equity_out, t, equity)
                if t == next_hour:
                    while next_hour == t:
                        _store(lane[HOUR_OUT], hour, equity)
                        hour += 1
                        next_hour = _i8(lane[HOUR_ROW], hour) if hour < hour_n else np.int64(-1)
                held_known += state >> 2
                t += 1
            held += t - start
        state = _u1(states, t)
        o = _f8(opens, t)
        # (a) funding since the last bar's open, on positions held before it
        while next_fund == t:
            if s != 0.0:
                paid = s * _f8(lane[FUND_RATE], fund) * quantity * o
                if by_limit and _i8(lane[FUND_TS], fund) < _i8(stamps, entry_row) + step:
                    paid = max(paid, 0.0)  # inside the bar of the entry: charged, but the fill may have come later
                cash -= paid
                funding += paid
                # What funding takes from the margin brings the liquidation nearer.
                liquidation = max(maintained, s * entry - (cash + beyond) / quantity)
                marks_near = marked and s * (lowest_mark if s > 0.0 else highest_mark) <= liquidation
            fund += 1
            next_fund = _i8(lane[FUND_ROW], fund) if fund < fund_n else np.int64(-1)
        occupied, entered, limit = False, False, np.inf  # entered: by a resting order, inside this bar
        reason, price, inside = 0, 0.0, False
        if state & FILLABLE:
            if s != 0.0:
                so = s * o
                mark = s * _f8(lane[MARK_OPEN], t) if marked else so
                if mark <= liquidation:  # (b)
                    reason = BY_LIQUIDATION
                elif leaving != 0:  # (c)
                    reason, price = leaving, so
                elif due != 0 and _i8(stamps, t) >= due:
                    reason, price = BY_TIME, so
                elif so <= stop or so <= trail:
                    reason, price = BY_TRAIL if trail > stop else BY_STOP, so
            leaving = 0
        # Twice at most: an exit at the open may make room for an entry, which the bar may close again.
        for turn in range(2):
            if reason != 0:
                if inside:
                    # Funding inside this bar: charged, since the position was there at its start; never credited.
                    k = fund
                    while k < fund_n and _i8(lane[FUND_ROW], k) == t + 1:
                        if _i8(lane[FUND_TS], k) < _i8(stamps, t) + step:
                            paid = s * _f8(lane[FUND_RATE], k) * quantity * o
                            if paid > 0.0:
                                cash -= paid
                                funding += paid
                        k += 1
                # An isolated position loses its margin, or what funding has left of it, and no more: it ends where that
                # is gone, though prices be beyond. Nor is a fee paid from what is not there.
                most = min(margin, cash + beyond)
                last_price = s * entry - most / quantity
                exit_fee = 0.0
                if reason == BY_LIQUIDATION:
                    fill = s * last_price
                    out[S_LIQUIDATIONS] += 1.0
                elif reason == BY_TARGET:
                    fill = s * price
                    exit_fee = target_fee * quantity * fill
                else:
                    slip = _slip(lane, rate, t, quantity * s * price)
                    fill = s * price * (1.0 - s * slip)
                    slipped += quantity * abs(s * price - fill)
                    fill = s * max(s * fill, last_price)
                    exit_fee = taker * quantity * fill
                gross = -most if reason == BY_LIQUIDATION else max(s * quantity * (fill - entry), -most)
                cash += gross
                exit_fee = min(exit_fee, cash + beyond)
                cash -= exit_fee
                fees += exit_fee
                _write_trade(
                    out, trades_out, trades_cap, entry_row, np.int64(t), s, entry, fill, quantity, notional, gross,
                    fees, funding, slipped, reason, leverage, equity_in,
                )  # fmt: skip
                s, reason = 0.0, 0
            if turn == 1:
                break
            # (d) a pending entry, if this is the very next bar and it can be filled
            if pending != 0.0:
                filled = state & (FILLABLE | ADJACENT) == FILLABLE | ADJACENT and cash + beyond > 0.0
                waited = False
                if filled and lane[LIMIT] != 0:
                    value = _f8(lane[LIMIT], signal_row * lane[LIMIT + STRIDE_OF])
                    if not np.isnan(value):
                        waited = True
                        out[S_LIMITS] += 1.0
                        limit = pending * (_f8(closes, signal_row) * (1.0 - pending * value))
                        entered = pending * o > limit  # else it is filled at once, as a taker
                        filled = pending * (_f8(lows, t) if pending > 0.0 else _f8(highs, t)) < limit or not entered
                        out[S_FILLED] += 1.0 if filled else 0.0
                if filled:
                    s, by_limit = pending, entered
                    fee = target_fee if entered else taker
                    leverage = _f8(lane[LEVERAGE], signal_row * lane[LEVERAGE + STRIDE_OF])
                    size = _f8(lane[SIZE], signal_row * lane[SIZE + STRIDE_OF])
                    equity_in, margin = cash, size * (1.0 if fixed else cash)
                    notional = margin * leverage
                    fees = fee * notional
                    if margin + fees > cash + beyond:  # cut to what can be paid
                        notional = cash * leverage / (1.0 + fee * leverage)
                        fees = fee * notional
                        margin = cash - fees
                    slip = _slip(lane, rate, t, notional)
                    entry = s * min(s * (o * (1.0 + s * slip)), limit)
                    quantity = notional / entry
                    if rate[LOT] > 0.0 or rate[LEAST] > 0.0:
                        whole = np.floor(quantity / rate[LOT] + _ROUNDING) * rate[LOT] if rate[LOT] > 0.0 else quantity
                        if whole < rate[LEAST] * (1.0 - _ROUNDING):
                            whole = 0.0
                        out[S_ASKED] += notional
                        out[S_LEFT] += notional - whole * entry
                        quantity, notional = whole, whole * entry
                        fees, margin = fee * notional, notional / leverage
                    if quantity > 0.0:
                        cash -= fees
                    else:  # too small to be an order
                        out[S_SMALL] += 1.0
                        out[S_FILLED] -= 1.0 if waited else 0.0
                        s, entered, filled = 0.0, False, False
                if filled:
                    entry_row = np.int64(t)
                    funding = 0.0
                    slipped = 0.0 if entered else quantity * abs(entry - o)
                    stop, distance, target, due = -np.inf, np.inf, np.inf, np.int64(0)
                    if lane[STOP] != 0:
                        value = _f8(lane[STOP], signal_row * lane[STOP + STRIDE_OF])
                        if not np.isnan(value):
                            stop = s * (entry * (1.0 - s * value))
                    if lane[TARGET] != 0:
                        value = _f8(lane[TARGET], signal_row * lane[TARGET + STRIDE_OF])
                        if not np.isnan(value):
                            target = s * (entry * (1.0 + s * value))
                    if lane[TRAIL] != 0:
                        value = _f8(lane[TRAIL], signal_row * lane[TRAIL + STRIDE_OF])
                        if not np.isnan(value):
                            distance = value * entry
                    if lane[TIME_STOP] != 0:
                        value = _f8(lane[TIME_STOP], signal_row * lane[TIME_STOP + STRIDE_OF])
                        if not np.isnan(value):
                            due = _i8(stamps, t) + np.int64(value) * step
                    best = s * entry
                    trail = best - distance
                    tier = np.int64(0)
                    while tier < lane[TIER_N] - 1 and notional * rate[CAPITAL] > _f8(lane[TIER_CAP], tier):
                        tier += 1
                    maintenance = _f8(lane[TIER_RATE], tier)
                    maintained = s * (entry * (1.0 - s / leverage) / (1.0 - s * maintenance))
                    liquidation = maintained
                    marks_near = marked and s * (lowest_mark if s > 0.0 else highest_mark) <= liquidation
                pending = 0.0
            occupied = s != 0.0
            # (e) stop, trail, liquidation and target by the bar's low and high
            if s == 0.0 or state & FILLABLE == 0:
                break
            w = s * (_f8(lows, t) if s > 0.0 else _f8(highs, t))
            b = s * (_f8(highs, t) if s > 0.0 else _f8(lows, t))
            mark_w = w
            if marked:
                mark_w = s * (_f8(lane[MARK_LOW], t) if s > 0.0 else _f8(lane[MARK_HIGH], t))
            ratchet = max(best, b)
            if w <= max(stop, ratchet - distance) or b >= target or mark_w <= liquidation or entered:
                reason, price, differs = _inside(
                    s * o, w, b, mark_w, stop, trail, best, distance, liquidation, target, entered, favourable
                )
                if differs:
                    out[S_AMBIGUOUS] += 1.0
                    complete, finer, level, unsure, reached = False, 0, -np.inf, True, best
                    # Mark prices are those of whole bars: minutes settle what does not hang on them.
                    if not marked or mark_w > liquidation:
                        by_last = -np.inf if marked else liquidation
                        complete, finer, level, unsure, reached = _by_minutes(
                            lane, _i8(stamps, t), s, stop, trail, best, distance, by_last, target,
                            limit if entered else np.inf, favourable,
                        )  # fmt: skip
                    if complete and (entered or finer != 0 or reason in (0, BY_TRAIL)):
                        reason, price = finer, level
                    if entered and (complete or not favourable):
                        ratchet = reached
                    if unsure:
                        out[S_UNRESOLVED] += 1.0
                inside = True
            if reason == 0:
                # (g) is done here: the mark at the close does not read the trail
                best = ratchet
                trail = best - distance
                break
        # (f) mark at the close
        marked_equity = cash
        if s != 0.0:
            marked_equity = cash + max(s * quantity * (_f8(closes, t) - entry), -min(margin, cash + beyond))
        if occupied:
            held += 1
            if state & FUNDING_KNOWN:
                held_known += 1
        if t == n - 1 and s != 0.0:
            # Funding inside the last bar falls due before the window ends: the position is still open at its end.
            while fund < fund_n:
                if _i8(lane[FUND_TS], fund) < _i8(stamps, t) + step:
                    paid = s * _f8(lane[FUND_RATE], fund) * quantity * _f8(closes, t)
                    if by_limit and entry_row == t:
                        paid = max(paid, 0.0)
                    cash -= paid
                    funding += paid
                    marked_equity = cash + max(s * quantity * (_f8(closes, t) - entry), -min(margin, cash + beyond))
                fund += 1
        if marked_equity != equity:
            if equity > 0.0:
                r = marked_equity / equity - 1.0
                square = r * r
                r1 += r
                r2 += square
                r3 += square * r
                r4 += square * square
                less = min(r, 0.0)
                down2 += less * less
            equity = marked_equity
            if equity > peak:
                peak = equity
            elif equity < peak * trough:
                trough = equity / peak
        if equity_out != 0:
            _store(equity_out, t, equity)
        while next_hour == t:
            _store(lane[HOUR_OUT], hour, equity)
            hour += 1
            next_hour = _i8(lane[HOUR_ROW], hour) if hour < hour_n else np.int64(-1)
        # (h) signals, read against the position as it now stands
        bits = _u1(signals, t)
        if bits != 0 and state & FILLABLE:
            wants = 0.0
            if bits & (LONG_ENTRY | LONG_EXIT | SHORT_ENTRY) == LONG_ENTRY:
                wants = 1.0
            elif bits & (SHORT_ENTRY | SHORT_EXIT | LONG_ENTRY) == SHORT_ENTRY:
                wants = -1.0
            if s == 0.0:
                pending = wants
            elif wants == -s:
                leaving, pending = BY_REVERSAL, wants
            elif bits & (LONG_EXIT if s > 0.0 else SHORT_EXIT):
                leaving = BY_SIGNAL
            signal_row = np.int64(t)

    out[S_REALISED] = cash
    if s != 0.0:
        # Still open: counted in the trade statistics as if closed at the mark less exit cost; equity keeps the mark.
        last = _f8(closes, n - 1)
        most = min(margin, cash + beyond)
        slip = _slip(lane, rate, n - 1, quantity * last)
        fill = last * (1.0 - s * slip)
        slipped += quantity * abs(last - fill)
        fill = s * max(s * fill, s * entry - most / quantity)
        gross = max(s * quantity * (fill - entry), -most)
        fees += min(taker * quantity * fill, cash + gross + beyond)
        out[S_OPEN] = 1.0
        _write_trade(
            out, trades_out, trades_cap, entry_row, np.int64(n), s, entry, fill, quantity, notional, gross, fees,
            funding, slipped, STILL_OPEN, leverage, equity_in,
        )  # fmt: skip
    while hour < hour_n:
        _store(lane[HOUR_OUT], hour, equity)
        hour += 1
    out[S_R1], out[S_R2], out[S_R3], out[S_R4], out[S_DOWN2] = r1, r2, r3, r4, down2
    out[S_DRAWDOWN] = min(1.0, 1.0 - trough)
    out[S_EQUITY] = equity
    out[S_HELD], out[S_HELD_KNOWN] = float(held), float(held_known)


def _run(lanes, rates, sums, first, last):  # type: ignore[no-untyped-def]
    for index in range(first, last):
        _lane(lanes[index], rates[index], sums[index])


SIGNATURE: Final = types.void(
    types.Array(types.int64, 2, "C"),
    types.Array(types.float64, 2, "C"),
    types.Array(types.float64, 2, "C"),
    types.int64,
    types.int64,
)


@cache
def compiled() -> Callable[..., None]:
    """Return the machine code of `run(lanes, rates, sums, first, last)`, compiled or read from Numba's cache.

    Where no cache directory can be written, the code is compiled for this process only.
    """
    return kept(SIGNATURE, nogil=True, boundscheck=False, error_model="numpy")(_run)
