"""A book as a plain loop, written from the rules of the guide alone and not from the kernel.

Slow and without arrays: every mark, volatility and beta is looked up from the bars themselves each time it is needed.
"""

# ruff: noqa: C901, PLR0912
# Each rule stands where it applies, as in the guide.

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

HOUR = 3_600_000_000
DAY = 24 * HOUR
MONDAY = 4 * DAY  # 1970-01-05
WINDOW = 720
FEWEST = 5


@dataclass
class Case:
    """Everything that a book reads, as lists: `[bar][symbol]` where there are two dimensions; None is unknown."""

    times: Sequence[int]
    step: int
    open: Sequence[Sequence[float | None]]
    high: Sequence[Sequence[float | None]]
    low: Sequence[Sequence[float | None]]
    close: Sequence[Sequence[float | None]]
    member: Sequence[Sequence[bool]]
    values: Sequence[Sequence[float | None]]
    payments: Sequence[Sequence[tuple[int, float]]]  # of each symbol: time, rate
    lot: Sequence[float]
    minimum: Sequence[float]
    maintenance: Sequence[float]
    ends: Sequence[int | None]
    begin: int = 0
    rebalance: int = DAY
    phase: int = 0
    long: float = 0.2
    short: float = 0.2
    size: str = "equal"
    neutral: str = "dollar"
    gross: float = 1.0
    gross_limit: float = 1.0
    cap: float = 0.2
    band: float = 0.0
    keep: float = 0.0
    volatility: float | None = None
    given_weights: bool = False
    fee: float = 0.0006
    slippage: float = 0.0002
    capital: float = 10_000.0


@dataclass
class Episode:
    symbol: int
    side: int
    entry_row: int
    entry: float
    largest: float = 0.0
    basis: float = 0.0
    closed: float = 0.0
    closed_notional: float = 0.0
    pnl: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    slippage: float = 0.0
    lost: float = 0.0
    exit_row: int = -1
    reason: str = ""

    def row(self) -> tuple[float | str, ...]:
        exit_price = self.closed_notional / self.closed
        return (self.symbol, self.side, self.entry_row, self.exit_row, self.reason, self.entry, exit_price,
                self.largest, self.basis, self.pnl, self.fees, self.funding, self.slippage, self.lost)  # fmt: skip


@dataclass
class Answer:
    equity: list[float] = field(default_factory=list)
    adverse: list[float] = field(default_factory=list)
    trades: list[tuple[float | str, ...]] = field(default_factory=list)
    fills: list[tuple[int, int, float, float]] = field(default_factory=list)
    shortfall: float = 0.0
    ruined_at: int = -1


class Loop:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.symbols = range(len(case.lot))
        self.leverage = max(2, math.ceil(2 * case.gross_limit - 1e-9))
        self.cash = case.capital
        self.held = [0.0 for _ in self.symbols]
        self.orders: dict[int, tuple[float, str]] = {}
        self.open_trades: dict[int, Episode] = {}
        self.answer = Answer()

    # what is known of a symbol
    def fillable(self, row: int, symbol: int) -> bool:
        end = self.case.ends[symbol]
        return row >= 0 and self.case.open[row][symbol] is not None and (end is None or self.case.times[row] < end)

    def last_fillable(self, row: int, symbol: int) -> int:
        while row >= 0 and not self.fillable(row, symbol):
            row -= 1
        return row

    def mark_at_close(self, row: int, symbol: int) -> float:
        return self.case.close[self.last_fillable(row, symbol)][symbol]

    def mark_at_open(self, row: int, symbol: int) -> float:
        return self.case.open[row][symbol] if self.fillable(row, symbol) else self.mark_at_close(row, symbol)

    def dead(self, time: int, row: int, symbol: int) -> bool:
        """Whether at this time, with bars up to `row` known, the symbol's bars have ended."""
        end = self.case.ends[symbol]
        if end is not None and time >= end:
            return True
        last = self.last_fillable(row, symbol)
        return last >= 0 and time - (self.case.times[last] + self.case.step) >= 72 * HOUR

    def bar_return(self, row: int, symbol: int) -> float | None:
        if row < 1 or not self.fillable(row, symbol) or not self.fillable(row - 1, symbol):
            return None
        return self.case.close[row][symbol] / self.case.close[row - 1][symbol] - 1

    def window(self, row: int) -> range:
        return range(row - WINDOW + 1, row + 1)

    def sigma(self, row: int, symbol: int) -> float | None:
        known = [r for t in self.window(row) if (r := self.bar_return(t, symbol)) is not None]
        return deviation(known) if len(known) >= WINDOW / 2 else None

    def market_return(self, row: int) -> float | None:
        if row < 1:
            return None
        known = [r for s in self.symbols if self.case.member[row - 1][s] and (r := self.bar_return(row, s)) is not None]
        return math.fsum(known) / len(known) if known else None

    def beta(self, row: int, symbol: int) -> float | None:
        pairs = [
            (r, m)
            for t in self.window(row)
            if (r := self.bar_return(t, symbol)) is not None and (m := self.market_return(t)) is not None
        ]
        if len(pairs) < WINDOW / 2:
            return None
        mean_r = math.fsum(r for r, _ in pairs) / len(pairs)
        mean_m = math.fsum(m for _, m in pairs) / len(pairs)
        spread = math.fsum((m - mean_m) ** 2 for _, m in pairs)
        if spread <= 0:
            return None
        slope = math.fsum((r - mean_r) * (m - mean_m) for r, m in pairs) / spread
        return min(max(slope, 0.2), 3.0)

    def value(self, row: int, symbol: int) -> float | None:
        last = self.last_fillable(row, symbol)
        if last < 0 or self.case.times[row] - self.case.times[last] > self.case.rebalance:
            return None
        return self.case.values[last][symbol]

    # the account
    def marks(self, row: int, when: str) -> dict[int, float]:
        look_up = self.mark_at_open if when == "open" else self.mark_at_close
        return {s: look_up(row, s) for s in self.symbols if self.held[s] != 0}

    def equity(self, marks: dict[int, float]) -> float:
        return self.cash + sum(self.held[s] * mark for s, mark in marks.items())

    def trade(self, row: int, symbol: int, quantity: float, price: float, reference: float, reason: str) -> None:
        """Change the position by a signed quantity that does not cross zero."""
        notional = abs(quantity) * price
        fee = notional * self.case.fee
        before = self.held[symbol]
        episode = self.open_trades.get(symbol)
        if episode is None:
            episode = Episode(symbol, 1 if quantity > 0 else -1, row, price)
            self.open_trades[symbol] = episode
        if before * quantity >= 0:
            episode.entry = (abs(before) * episode.entry + notional) / (abs(before) + abs(quantity))
        else:
            episode.pnl += (price - episode.entry) * -quantity
            episode.closed += abs(quantity)
            episode.closed_notional += notional
        episode.fees += fee
        episode.slippage += abs(quantity) * abs(price - reference)
        self.cash -= quantity * price + fee
        self.held[symbol] = before + quantity
        if abs(self.held[symbol]) <= 1e-9 * abs(before):
            self.held[symbol] = 0.0
        episode.largest = max(episode.largest, abs(self.held[symbol]))
        episode.basis = max(episode.basis, abs(self.held[symbol]) * episode.entry)
        self.answer.fills.append((row, symbol, quantity, price))
        if self.held[symbol] == 0:
            self.finish(symbol, row, reason)

    def finish(self, symbol: int, row: int, reason: str) -> None:
        episode = self.open_trades.pop(symbol)
        episode.exit_row, episode.reason = row, reason
        self.answer.trades.append(episode.row())

    def ends_here(self, row: int, marks: dict[int, float]) -> bool:
        """End the book where its equity does not exceed the maintenance margin."""
        equity = self.equity(marks)
        margins = {s: self.case.maintenance[s] * abs(self.held[s]) * mark for s, mark in marks.items()}
        if equity > sum(margins.values()):
            return False
        if sum(margins.values()) <= 0:
            margins = {s: abs(self.held[s]) * mark for s, mark in marks.items()}
        for symbol, mark in marks.items():
            episode = self.open_trades[symbol]
            episode.pnl += (mark - episode.entry) * self.held[symbol]
            episode.closed += abs(self.held[symbol])
            episode.closed_notional += abs(self.held[symbol]) * mark
            episode.lost = max(equity, 0.0) * margins[symbol] / sum(margins.values())
            self.held[symbol] = 0.0
            self.finish(symbol, row, "liquidation")
        self.answer.shortfall = max(-equity, 0.0)
        self.answer.ruined_at = row
        self.cash = 0.0
        return True

    # one bar
    def bar(self, row: int) -> bool:
        """Return whether the book goes on."""
        case = self.case
        opened = case.times[row]
        before = case.times[row - 1] if row else opened - case.step
        for symbol, mark in self.marks(row, "open").items():
            for time, rate in case.payments[symbol]:
                if before < time <= opened:
                    paid = self.held[symbol] * mark * rate
                    self.cash -= paid
                    self.open_trades[symbol].funding += paid
        if self.ends_here(row, self.marks(row, "open")):
            return False
        for symbol in self.symbols:
            if not self.fillable(row, symbol) and self.dead(opened, row, symbol):
                self.orders.pop(symbol, None)
                if self.held[symbol] != 0:
                    mark = self.mark_at_open(row, symbol)
                    side = 1 if self.held[symbol] > 0 else -1
                    price = mark * (1 - side * min(10 * case.slippage, 1.0))
                    self.trade(row, symbol, -self.held[symbol], price, mark, "ended")
        self.fill(row)
        if self.ends_here(row, self.marks(row, "open")):
            return False
        self.answer.adverse.append(self.worst_equity(row))
        if self.ends_here(row, self.marks(row, "close")):
            return False
        self.answer.equity.append(self.equity(self.marks(row, "close")))
        for symbol in self.symbols:
            if not case.member[row][symbol] and (self.held[symbol] != 0 or symbol in self.orders):
                self.orders[symbol] = (0.0, "left")
        decides = (opened - MONDAY - case.phase) % case.rebalance == 0
        if decides and row < len(case.times) - 1:
            self.decide(row)
        return True

    def worst_equity(self, row: int) -> float:
        total = self.cash
        for symbol, mark in self.marks(row, "close").items():
            price = mark
            if self.fillable(row, symbol):
                price = (self.case.low if self.held[symbol] > 0 else self.case.high)[row][symbol]
            total += self.held[symbol] * price
        return max(total, 0.0)

    def fill(self, row: int) -> None:
        case = self.case
        ready = [s for s in sorted(self.orders) if self.fillable(row, s)]
        increases: dict[int, float] = {}
        for symbol in ready:
            target, reason = self.orders.pop(symbol)
            held = self.held[symbol]
            crosses = held * target < 0
            first = 0.0 if crosses else target
            if abs(first) < abs(held):
                price = case.open[row][symbol] * (1 - case.slippage if held > 0 else 1 + case.slippage)
                self.trade(row, symbol, first - held, price, case.open[row][symbol], "reversal" if crosses else reason)
            if abs(target) > abs(held) or crosses:
                increases[symbol] = target - self.held[symbol]
        if not increases:
            return
        marks = self.marks(row, "open")
        free = self.equity(marks) - sum(abs(self.held[s]) * mark for s, mark in marks.items()) / self.leverage
        needed = 0.0
        for symbol, quantity in increases.items():
            reference = case.open[row][symbol]
            price = reference * (1 + case.slippage if quantity > 0 else 1 - case.slippage)
            needed += abs(quantity) * (reference / self.leverage + abs(price - reference) + price * case.fee)
        factor = 1.0 if needed <= free else max(free, 0.0) / needed
        for symbol, wanted in increases.items():
            quantity = wanted
            if factor < 1:
                quantity = math.copysign(to_lots(abs(wanted) * factor, case.lot[symbol]), wanted)
                if quantity == 0 or abs(quantity) < case.minimum[symbol]:
                    continue
            reference = case.open[row][symbol]
            price = reference * (1 + case.slippage if quantity > 0 else 1 - case.slippage)
            self.trade(row, symbol, quantity, price, reference, "")

    # the decision
    def decide(self, row: int) -> None:
        case = self.case
        self.orders.clear()
        marks = self.marks(row, "close")
        equity = self.equity(marks)
        weights = self.target_weights(row)
        for symbol in self.symbols:
            held, weight = self.held[symbol], weights.get(symbol, 0.0)
            if held != 0 and weight * held > 0:
                now = held * marks[symbol] / equity
                if abs(weight - now) <= case.band * abs(now):
                    continue
            target = 0.0
            if weight != 0:
                mark = self.mark_at_close(row, symbol)
                target = math.copysign(to_lots(abs(weight) * equity / mark, case.lot[symbol]), weight)
            change = abs(target - held)
            if change <= 1e-9 * max(abs(target), abs(held)):
                continue
            if change < case.minimum[symbol] and target != 0 and target * held >= 0:
                continue
            self.orders[symbol] = (target, "rebalance" if case.member[row][symbol] else "left")

    def target_weights(self, row: int) -> dict[int, float]:
        case = self.case
        closed = case.times[row] + case.step
        known: dict[int, float] = {}
        sigmas: dict[int, float] = {}
        betas: dict[int, float] = {}
        for symbol in self.symbols:
            if not case.member[row][symbol] or self.dead(closed, row, symbol):
                continue
            value = self.value(row, symbol)
            if value is None:
                continue
            by_risk = case.size == "inverse_volatility" and not case.given_weights
            if by_risk or case.volatility is not None:
                sigma = self.sigma(row, symbol)
                if sigma is None or (sigma == 0 and by_risk):
                    continue
                sigmas[symbol] = sigma
            if case.neutral == "beta":
                beta = self.beta(row, symbol)
                if beta is None:
                    continue
                betas[symbol] = beta
            known[symbol] = value
        exposure = betas if case.neutral == "beta" else dict.fromkeys(known, 1.0)
        if case.given_weights:
            weights = {s: w for s, w in known.items() if w != 0}
            weights = self.balanced(weights, exposure)
        else:
            if len(known) < FEWEST:
                return {}
            weights = self.from_scores(known, sigmas, exposure)
        if case.volatility is not None and weights:
            risk = self.risk(row, weights, sigmas) * math.sqrt(365 * DAY / case.step)
            if risk > 0:
                weights = {s: w * case.volatility / risk for s, w in weights.items()}
        total = sum(abs(w) for w in weights.values())
        if total > case.gross_limit:
            weights = {s: w * case.gross_limit / total for s, w in weights.items()}
        return weights

    def from_scores(
        self, known: dict[int, float], sigmas: dict[int, float], exposure: dict[int, float]
    ) -> dict[int, float]:
        case = self.case
        both = case.long > 0 and case.short > 0
        most = len(known) // 2 if both else len(known)
        legs: dict[int, dict[int, float]] = {}
        for side, share in ((1, case.long), (-1, case.short)):
            if share > 0:
                places = min(max(1, math.floor(share * len(known) + 1e-9)), most)
                inside = min(max(places, math.floor(case.keep * share * len(known) + 1e-9)), most) if case.keep else 0
                mine = self.places(known, side, places, inside)
                legs[side] = {s: part * self.size(s, side, known, sigmas) for s, part in mine.items()}
        legs = {side: normal(leg) for side, leg in legs.items()}
        legs = {side: leg for side, leg in legs.items() if leg}
        if case.neutral != "none" and len(legs) < 2:
            return {}
        grosses = dict.fromkeys(legs, case.gross / 2 if both else case.gross)
        if case.neutral == "beta":
            of = {side: sum(w * exposure[s] for s, w in leg.items()) for side, leg in legs.items()}
            grosses = {1: case.gross * of[-1] / (of[1] + of[-1]), -1: case.gross * of[1] / (of[1] + of[-1])}
        signed: dict[int, dict[int, float]] = {}
        for side, leg in legs.items():
            capped = self.capped({s: w * grosses[side] for s, w in leg.items()}, grosses[side])
            signed[side] = {s: side * w for s, w in capped.items()}
        if case.neutral != "none":
            sums = {side: abs(sum(w * exposure[s] for s, w in leg.items())) for side, leg in signed.items()}
            least = min(sums.values())
            signed = {side: {s: w * least / sums[side] for s, w in leg.items()} for side, leg in signed.items()}
        net: dict[int, float] = {}
        for leg in signed.values():
            for s, w in leg.items():
                net[s] = net.get(s, 0.0) + w
        return {s: w for s, w in net.items() if abs(w) > 1e-12}

    def balanced(self, weights: dict[int, float], exposure: dict[int, float]) -> dict[int, float]:
        if self.case.neutral == "none":
            return weights
        up = sum(w * exposure[s] for s, w in weights.items() if w > 0)
        down = -sum(w * exposure[s] for s, w in weights.items() if w < 0)
        if up <= 0 or down <= 0:
            return {}
        least = min(up, down)
        return {s: w * least / (up if w > 0 else down) for s, w in weights.items()}

    def places(self, known: dict[int, float], side: int, count: int, inside: int) -> dict[int, float]:
        better = {s: sum(side * other > side * value for other in known.values()) for s, value in known.items()}
        kept = [s for s in known if self.held[s] * side > 0 and better[s] < inside]
        mine = shared(kept, better, count)
        left = count - sum(mine.values())
        others = [s for s in known if s not in kept]
        return mine | (shared(others, better, round(left)) if left > 0.5 else {})

    def size(self, symbol: int, side: int, known: dict[int, float], sigmas: dict[int, float]) -> float:
        value, every = known[symbol], sorted(known.values())
        if self.case.size == "equal":
            return 1.0
        if self.case.size == "inverse_volatility":
            return 1 / sigmas[symbol]
        if self.case.size == "rank":
            below = sum(other < value for other in every)
            same = sum(other == value for other in every)
            return max(0.0, side * (below + (same + 1) / 2 - (len(every) + 1) / 2))
        half = len(every) // 2
        median = every[half] if len(every) % 2 else (every[half - 1] + every[half]) / 2
        return max(0.0, side * (value - median))

    def capped(self, leg: dict[int, float], gross: float) -> dict[int, float]:
        done: dict[int, float] = {}
        free = dict(leg)
        while free:
            over = [s for s, w in free.items() if w > self.case.cap * (1 + 1e-12)]
            if not over:
                break
            for s in over:
                done[s] = self.case.cap
                del free[s]
            rest, total = max(gross - self.case.cap * len(done), 0.0), sum(free.values())
            free = {s: w * rest / total for s, w in free.items()} if total > 0 else {}
        return done | free

    def risk(self, row: int, weights: dict[int, float], sigmas: dict[int, float]) -> float:
        together = []
        for t in self.window(row):
            returns = {s: self.bar_return(t, s) for s in weights}
            if all(r is not None for r in returns.values()):
                together.append(math.fsum(weights[s] * r for s, r in returns.items()))
        if len(together) < WINDOW / 2:
            return sum(abs(w) * sigmas[s] for s, w in weights.items())
        return deviation(together)


def deviation(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def to_lots(quantity: float, lot: float) -> float:
    return math.floor(quantity / lot + 1e-9) * lot if lot > 0 else quantity


def normal(leg: dict[int, float]) -> dict[int, float]:
    total = sum(leg.values())
    return {s: w / total for s, w in leg.items() if w > 0} if total > 0 else {}


def shared(names: list[int], better: dict[int, int], count: int) -> dict[int, float]:
    """Give the places to the best of the names; those tied at the edge share what remains."""
    given: dict[int, float] = {}
    for level in sorted({better[s] for s in names}):
        tied = [s for s in names if better[s] == level]
        free = count - len(given)
        if free <= 0:
            break
        for s in tied:
            given[s] = min(1.0, free / len(tied))
        if len(tied) >= free:
            break
    return given


def run(case: Case) -> Answer:
    """Simulate the book bar by bar."""
    loop = Loop(case)
    last = len(case.times) - 1
    for row in range(case.begin, last + 1):
        if not loop.bar(row):
            missing = last + 1 - case.begin
            loop.answer.equity += [0.0] * (missing - len(loop.answer.equity))
            loop.answer.adverse += [0.0] * (missing - len(loop.answer.adverse))
            return loop.answer
    for symbol, mark in loop.marks(last, "close").items():
        episode = loop.open_trades[symbol]
        price = mark * (1 - case.slippage if episode.side > 0 else 1 + case.slippage)
        quantity = abs(loop.held[symbol])
        episode.pnl += (price - episode.entry) * loop.held[symbol]
        episode.closed += quantity
        episode.closed_notional += quantity * price
        episode.fees += quantity * price * case.fee
        episode.slippage += quantity * abs(price - mark)
        loop.finish(symbol, last, "open")
    return loop.answer
