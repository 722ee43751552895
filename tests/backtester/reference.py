"""The semantics of a lane once more: slow, plain, one bar after the other, long and short spelled out.

Written from the specification and not from the kernel, so that the two can disagree. No arrays, no signed prices, no
shared code. Amounts are per unit of starting capital.
"""

import math
from dataclasses import dataclass, field

from backtester import Costs, MarginRules

STEP_OF_MINUTE = 60_000_000


@dataclass
class Bar:
    ts: int
    open: float
    high: float
    low: float
    close: float
    sound: bool = True
    mark_open: float | None = None
    mark_high: float | None = None
    mark_low: float | None = None
    traded: float | None = None
    """Value in quote currency."""


@dataclass
class Signal:
    long_entry: bool = False
    short_entry: bool = False
    long_exit: bool = False
    short_exit: bool = False
    stop: float | None = None
    target: float | None = None
    trail: float | None = None
    time_stop: int | None = None
    size: float = 1.0
    leverage: float = 1.0
    entry_limit: float | None = None


@dataclass
class Trade:
    side: str
    entry_row: int
    entry: float
    quantity: float
    notional: float
    fees: float
    slippage: float
    exit_row: int = -1
    exit: float = 0.0
    pnl: float = 0.0
    funding: float = 0.0
    reason: str = ""
    resting: bool = False

    @property
    def net(self) -> float:
        return self.pnl - self.fees - self.funding


@dataclass
class Position:
    trade: Trade
    stop: float | None
    target: float | None
    trail_distance: float | None
    extreme: float
    due: int | None
    maintained: float
    margin: float
    limit: float | None
    """Price at which a resting order brought it, inside its bar of entry."""

    @property
    def long(self) -> bool:
        return self.trade.side == "long"

    def trail(self, extreme: float) -> float | None:
        if self.trail_distance is None:
            return None
        return extreme - self.trail_distance if self.long else extreme + self.trail_distance

    def liquidation(self, cash: float) -> float:
        """Where the margin no longer covers the maintenance, or, once funding has eaten into it, nothing is left."""
        left = cash / self.trade.quantity
        if self.long:
            return max(self.maintained, self.trade.entry - left)
        return min(self.maintained, self.trade.entry + left)

    def loss_limit(self, cash: float) -> float:
        """What is lost with the position at most: its margin, or what funding has left of it."""
        return min(self.margin, cash)


@dataclass
class Order:
    """What waits for the next open."""

    enter: str | None = None
    enter_signal: Signal | None = None
    leave: str | None = None


@dataclass
class Outcome:
    trades: list[Trade] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    held: int = 0
    ambiguous: int = 0
    unresolved: int = 0
    limits: int = 0
    asked: float = 0.0
    left: float = 0.0
    small: int = 0
    filled: int = 0


def beyond(price: float, level: float | None, long: bool) -> bool:
    """Whether a price is at an adverse level or past it."""
    if level is None:
        return False
    return price <= level if long else price >= level


def reaches(bar: Bar, target: float | None, long: bool) -> bool:
    if target is None:
        return False
    return bar.high >= target if long else bar.low <= target


def nearest(hits: list[tuple[str, float]], long: bool) -> tuple[str, float]:
    """The level that a falling (rising) price meets first; the earlier in the list if two are equal."""
    first = hits[0]
    for hit in hits[1:]:
        if (hit[1] > first[1]) if long else (hit[1] < first[1]):
            first = hit
    return first


def not_better_than(price: float, limit: float, long: bool) -> float:
    return min(price, limit) if long else max(price, limit)


def not_worse_than(price: float, limit: float, long: bool) -> float:
    """What is paid for an entry: no more than the order's limit (for a short: no less is received)."""
    return min(price, limit) if long else max(price, limit)


def worst_mark(pos: Position, bar: Bar) -> float:
    if bar.mark_low is None:
        return bar.low if pos.long else bar.high
    return bar.mark_low if pos.long else bar.mark_high


def hits_of(pos: Position, bar: Bar, trail: float | None, liquidation: float | None) -> list[tuple[str, float]]:
    worst = bar.low if pos.long else bar.high
    hits = []
    if beyond(worst, pos.stop, pos.long):
        hits.append(("stop", pos.stop))
    if beyond(worst, trail, pos.long):
        hits.append(("trail", trail))
    if beyond(worst_mark(pos, bar), liquidation, pos.long):
        hits.append(("liquidation", liquidation))
    return hits


def through(bar: Bar, limit: float, long: bool) -> bool:
    """Whether a bar trades beyond the price of a resting order: at the price itself others may be before it."""
    return bar.low < limit if long else bar.high > limit


def adverse_first(
    pos: Position, bar: Bar, extreme: float, liquidation: float | None, entered: bool
) -> tuple[str, float] | None:
    hits = hits_of(pos, bar, pos.trail(extreme), liquidation)
    if hits:
        reason, level = nearest(hits, pos.long)
        return reason, not_better_than(level, bar.open, pos.long)
    if reaches(bar, pos.target, pos.long) and not entered:  # else the best price came before the fill
        # On its way to the target the price may have turned back and met the trail that followed it: at any price from
        # the bar's worst one up to the trail of just below the target. The worst is taken.
        worst = bar.low if pos.long else bar.high
        if beyond(worst, pos.trail(pos.target), pos.long):
            return "trail", worst
        return "target", pos.target
    return None


def favourable_first(pos: Position, bar: Bar, extreme: float, liquidation: float | None) -> tuple[str, float] | None:
    if reaches(bar, pos.target, pos.long):
        return "target", pos.target
    best = bar.high if pos.long else bar.low
    ratcheted = max(extreme, best) if pos.long else min(extreme, best)
    hits = hits_of(pos, bar, pos.trail(ratcheted), liquidation)
    if not hits:
        return None
    reason, level = nearest(hits, pos.long)
    if reason == "trail" and pos.trail(ratcheted) != pos.trail(extreme):
        return reason, not_better_than(level, best, pos.long)
    return reason, not_better_than(level, bar.open, pos.long)


def in_doubt(
    pos: Position, bar: Bar, one: tuple[str, float] | None, other: tuple[str, float] | None, entered: bool
) -> bool:
    """Whether the order of a bar's prices matters: to what ends the position, or to where its trail goes on from."""
    best = bar.high > pos.extreme if pos.long else bar.low < pos.extreme
    return one != other or (entered and one is None and pos.trail_distance is not None and best)


def by_minutes(
    pos: Position, bar: Bar, step: int, finer: int, minutes: list[Bar], favourable: bool, liquidation: float,
    entered: bool,
) -> tuple[bool, tuple[str, float] | None, bool, float]:  # fmt: skip
    """Return (whether each minute is there and sound, exit or None, whether one was ambiguous, the best price)."""
    if bar.mark_low is not None:
        if beyond(worst_mark(pos, bar), liquidation, pos.long):
            return False, None, True, pos.extreme  # mark prices are known for the whole bar alone
        liquidation = None
    inside = [m for m in minutes if bar.ts <= m.ts < bar.ts + step]
    filling = [n for n, minute in enumerate(inside) if through(minute, pos.limit, pos.long)] if entered else [0]
    if len(inside) < step // finer or not all(m.sound for m in inside) or not filling:
        return False, None, True, pos.extreme
    extreme, ambiguous = pos.extreme, False
    for number, minute in list(enumerate(inside))[filling[0] :]:
        fills = entered and number == filling[0]
        if number and not fills:
            trail = pos.trail(extreme)
            if beyond(minute.open, liquidation, pos.long):
                return True, ("liquidation", minute.open), ambiguous, extreme
            levels = [
                (name, level)
                for name, level in (("stop", pos.stop), ("trail", trail))
                if beyond(minute.open, level, pos.long)
            ]
            if levels:
                return True, (nearest(levels, pos.long)[0], minute.open), ambiguous, extreme
        one = adverse_first(pos, minute, extreme, liquidation, fills)
        other = favourable_first(pos, minute, extreme, liquidation)
        ambiguous = ambiguous or in_doubt(pos, minute, one, other, fills)
        found = other if favourable else one
        if found:
            return True, found, ambiguous, extreme
        if favourable or not fills:
            extreme = max(extreme, minute.high) if pos.long else min(extreme, minute.low)
    return True, None, ambiguous, extreme


class Replay:
    def __init__(
        self,
        bars: list[Bar],
        signals: list[Signal],
        funding: list[tuple[int, float]],
        step: int,
        costs: Costs,
        rules: MarginRules,
        capital: float,
        *,
        favourable: bool = False,
        minutes: list[Bar] | None = None,
        finer: int = STEP_OF_MINUTE,
        fixed: bool = False,
        rounded: bool = False,
    ) -> None:
        self.rounded = rounded and max(rules.lot, rules.min_quantity) > 0
        self.bars, self.signals, self.funding, self.step = bars, signals, funding, step
        self.costs, self.rules, self.capital = costs, rules, capital
        self.favourable, self.minutes, self.finer, self.fixed = favourable, minutes, finer, fixed
        self.cash = 1.0
        self.position: Position | None = None
        self.order = Order()
        self.extreme = 0.0
        self.out = Outcome()

    @property
    def purse(self) -> float:
        """What can be lost or paid: with fixed capital, whatever is lost is paid in again."""
        return math.inf if self.fixed else self.cash

    def run(self) -> Outcome:
        for t, bar in enumerate(self.bars):
            self.one_bar(t, bar)
        self.settle_last_bar()
        return self.out

    def one_bar(self, t: int, bar: Bar) -> None:
        # (a) funding
        if self.position and t > 0:
            for when, rate in self.funding:
                if self.bars[t - 1].ts < when <= bar.ts and not self.not_yet_held(when, rate):
                    self.pay(rate, bar.open)
        if bar.sound:
            if self.position:
                self.at_the_open(t, bar)
            self.order.leave = None
            self.enter(t, bar)
        self.order.enter = None
        if self.position:
            self.out.held += 1
        # (e) within the bar
        if bar.sound and self.position:
            self.inside_the_bar(t, bar)
        # (f) mark
        equity = self.cash + self.open_profit(bar.close)
        self.out.equity.append(equity)
        # (g) trailing extreme
        if bar.sound and self.position:
            self.position.extreme = self.extreme
        # (h) signals
        if bar.sound and self.order.leave is None:
            self.read(self.signals[t])

    def not_yet_held(self, when: int, rate: float) -> bool:
        """Whether a payment that would be received may be older than the fill of a resting order."""
        pos = self.position
        received = rate < 0 if pos.long else rate > 0
        return pos.limit is not None and when < self.bars[pos.trade.entry_row].ts + self.step and received

    def pay(self, rate: float, price: float) -> None:
        trade = self.position.trade
        amount = rate * trade.quantity * price
        if trade.side == "short":
            amount = -amount
        trade.funding += amount
        self.cash -= amount

    def open_profit(self, price: float) -> float:
        if self.position is None:
            return 0.0
        trade = self.position.trade
        move = price - trade.entry if trade.side == "long" else trade.entry - price
        return max(trade.quantity * move, -self.position.loss_limit(self.purse))

    def at_the_open(self, t: int, bar: Bar) -> None:
        pos = self.position
        mark = bar.open if bar.mark_open is None else bar.mark_open
        if beyond(mark, pos.liquidation(self.purse), pos.long):  # (b)
            self.liquidate(t)
        elif self.order.leave:  # (c)
            self.leave_at(t, bar.open, self.order.leave)
        elif pos.due is not None and bar.ts >= pos.due:
            self.leave_at(t, bar.open, "time")
        else:
            trail = pos.trail(pos.extreme)
            jumped = [
                (name, level)
                for name, level in (("stop", pos.stop), ("trail", trail))
                if beyond(bar.open, level, pos.long)
            ]
            if jumped:
                self.leave_at(t, bar.open, nearest(jumped, pos.long)[0])

    def enter(self, t: int, bar: Bar) -> None:  # noqa: C901 - one rule after the other, as in the guide
        # (d) entry
        side, sig = self.order.enter, self.order.enter_signal
        if side is None or self.position or self.purse <= 0:
            return
        if t == 0 or bar.ts - self.bars[t - 1].ts != self.step:
            return
        long = side == "long"
        fee_rate, resting, limit = self.costs.taker_fee, None, None
        if sig.entry_limit is not None:
            self.out.limits += 1
            close = self.bars[t - 1].close
            limit = close * (1 - sig.entry_limit) if long else close * (1 + sig.entry_limit)
            at_once = bar.open <= limit if long else bar.open >= limit
            if not at_once and not through(bar, limit, long):
                return
            if not at_once:
                fee_rate, resting = self.costs.target_fee, limit
            self.out.filled += 1
        # Margin and fee of one unit of notional: no more units than the equity pays for.
        affordable = self.purse / (1 / sig.leverage + fee_rate)
        notional = min(sig.size * sig.leverage * (1.0 if self.fixed else self.cash), affordable)
        slip = self.slippage(bar, notional)
        fill = bar.open * (1 + slip) if long else bar.open * (1 - slip)
        if limit is not None:
            fill = not_worse_than(fill, limit, long) if resting is None else limit
        slipped = abs(fill - bar.open) if resting is None else 0.0
        quantity = notional / fill
        whole = self.in_lots(quantity) if self.rounded else quantity
        if self.rounded:
            self.out.asked += notional
            self.out.left += notional - whole * fill
            if whole == 0:
                self.out.small += 1
                self.out.filled -= limit is not None
                return
            quantity, notional = whole, whole * fill
        fee = fee_rate * notional
        self.cash -= fee
        margin = self.cash if notional == affordable else notional / sig.leverage
        trade = Trade(side, t, fill, quantity, notional, fee, quantity * slipped, resting=resting is not None)
        rate = self.rules.tiers[-1][1]
        for cap, tier_rate in self.rules.tiers:
            if notional * self.capital <= cap:
                rate = tier_rate
                break
        bankrupt = fill * (1 - 1 / sig.leverage) if long else fill * (1 + 1 / sig.leverage)
        self.position = Position(
            trade,
            stop=None if sig.stop is None else fill * (1 - sig.stop if long else 1 + sig.stop),
            target=None if sig.target is None else fill * (1 + sig.target if long else 1 - sig.target),
            trail_distance=None if sig.trail is None else sig.trail * fill,
            extreme=fill,
            due=None if sig.time_stop is None else bar.ts + sig.time_stop * self.step,
            maintained=bankrupt / (1 - rate) if long else bankrupt / (1 + rate),
            margin=margin,
            limit=resting,
        )

    def in_lots(self, quantity: float) -> float:
        """The quantity in whole lots of the instrument, per unit of capital; none below its smallest order."""
        base = quantity * self.capital
        if self.rules.lot:
            lots = round(base / self.rules.lot)  # the nearest, or the one below where that is too many
            if (lots - 1e-9) * self.rules.lot > base:
                lots -= 1
            base = lots * self.rules.lot
        return base / self.capital if base > 0 and base >= self.rules.min_quantity * (1 - 1e-9) else 0.0

    def inside_the_bar(self, t: int, bar: Bar) -> None:
        pos = self.position
        liquidation = pos.liquidation(self.purse)
        entered = pos.limit is not None and pos.trade.entry_row == t
        one = adverse_first(pos, bar, pos.extreme, liquidation, entered)
        other = favourable_first(pos, bar, pos.extreme, liquidation)
        found = other if self.favourable else one
        self.extreme = pos.extreme
        if self.favourable or not entered:
            self.extreme = max(pos.extreme, bar.high) if pos.long else min(pos.extreme, bar.low)
        if in_doubt(pos, bar, one, other, entered):
            self.out.ambiguous += 1
            unsure = True
            if self.minutes is not None:
                complete, inside, unsure, extreme = by_minutes(
                    pos, bar, self.step, self.finer, self.minutes, self.favourable, liquidation, entered
                )
                if complete:
                    found, self.extreme = inside, extreme
            self.out.unresolved += unsure
        if found is None:
            return
        for when, rate in self.funding:
            if bar.ts < when < bar.ts + self.step and (rate > 0) == pos.long and rate != 0:
                self.pay(rate, bar.open)
        reason, price = found
        if reason == "liquidation":
            self.liquidate(t)
        elif reason == "target":
            self.close(t, price, self.costs.target_fee, reason)
        else:
            self.leave_at(t, price, reason)

    def slippage(self, bar: Bar, notional: float) -> float:
        """The constant part, and what the fill's share of the bar's volume adds."""
        if self.costs.impact == 0:
            return self.costs.slippage
        share = notional * self.capital / bar.traded if bar.traded else 1.0
        return min(self.costs.slippage + self.costs.impact * math.sqrt(share), 0.99)

    def leave_at(self, t: int, price: float, reason: str) -> None:
        slip = self.slippage(self.bars[t], self.position.trade.quantity * price)
        fill = price * (1 - slip) if self.position.long else price * (1 + slip)
        self.position.trade.slippage += self.position.trade.quantity * abs(price - fill)
        self.close(t, fill, self.costs.taker_fee, reason)

    def close(self, t: int, fill: float, fee_rate: float, reason: str) -> None:
        trade, fill = self.position.trade, self.within_margin(fill)
        trade.pnl = self.open_profit(fill)
        self.cash += trade.pnl
        fee = min(fee_rate * trade.quantity * fill, self.purse)
        trade.fees += fee
        self.cash -= fee
        self.finish(t, fill, reason)

    def liquidate(self, t: int) -> None:
        pos = self.position
        lost = pos.loss_limit(self.purse)
        pos.trade.pnl = -lost
        fill = self.all_lost_at()
        self.cash -= lost
        self.finish(t, fill, "liquidation")

    def all_lost_at(self) -> float:
        pos = self.position
        away = pos.loss_limit(self.purse) / pos.trade.quantity
        return pos.trade.entry - away if pos.long else pos.trade.entry + away

    def within_margin(self, fill: float) -> float:
        """A fill beyond the loss of the margin counts as one where the margin is gone."""
        return max(fill, self.all_lost_at()) if self.position.long else min(fill, self.all_lost_at())

    def finish(self, t: int, fill: float, reason: str) -> None:
        trade = self.position.trade
        trade.exit_row, trade.exit, trade.reason = t, fill, reason
        self.out.trades.append(trade)
        self.position = None

    def read(self, sig: Signal) -> None:
        side = None
        if sig.long_entry and not sig.short_entry and not sig.long_exit:
            side = "long"
        if sig.short_entry and not sig.long_entry and not sig.short_exit:
            side = "short"
        if self.position is None:
            self.order = Order(side, sig)
            return
        leave = sig.long_exit if self.position.long else sig.short_exit
        if side and side != self.position.trade.side:
            self.order = Order(side, sig, leave="reversal")
        elif leave:
            self.order = Order(leave="signal")

    def settle_last_bar(self) -> None:
        if self.position is None:
            return
        last = self.bars[-1]
        for when, rate in self.funding:
            if last.ts < when < last.ts + self.step and not self.not_yet_held(when, rate):
                self.pay(rate, last.close)
                self.out.equity[-1] = self.cash + self.open_profit(last.close)
        trade = self.position.trade
        slip = self.slippage(last, trade.quantity * last.close)
        fill = last.close * (1 - slip) if self.position.long else last.close * (1 + slip)
        trade.slippage += trade.quantity * abs(last.close - fill)
        fill = self.within_margin(fill)
        trade.pnl = self.open_profit(fill)
        trade.fees += min(self.costs.taker_fee * trade.quantity * fill, self.purse + trade.pnl)
        self.finish(len(self.bars), fill, "open")
