"""Books: one account that holds a weight of each symbol of a universe, and its results.

Belongs here: the rules of a book, running it and its tranches, its trades, fills and costs as frames. Does not belong
here: the loop itself (`backtester.simulation.book_kernel`), the arrays that it reads
(`backtester.simulation.book_market`), scores (`strategies.language`), statistics
(`backtester.evaluation.book_evaluation`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np
import polars as pl

from backtester.simulation import book_kernel as kernel
from backtester.simulation.book_market import BookMarket
from backtester.simulation.costs import Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.metrics import bars_per_year
from features.array_types import FloatArray, IntArray
from features.bars import TS, bar_length

Size = Literal["equal", "rank", "score", "inverse_volatility"]
Neutrality = Literal["none", "dollar", "beta"]

DAY: Final = timedelta(days=1)
LARGEST_GROSS: Final = 10.0
"""Largest sum of absolute weights."""

BOOK_TRADE_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "tranche": pl.Int32(),
        "side": pl.Int8(),
        "entry_ts": TS,
        "exit_ts": TS,
        "entry_price": pl.Float64(),
        "exit_price": pl.Float64(),
        "quantity": pl.Float64(),
        "notional": pl.Float64(),
        "pnl": pl.Float64(),
        "fees": pl.Float64(),
        "funding": pl.Float64(),
        "slippage": pl.Float64(),
        "lost": pl.Float64(),
        "net": pl.Float64(),
        "pnl_pct": pl.Float64(),
        "reason": pl.String(),
    }
)
"""Trades of a book, each of one symbol from flat to flat, in the order of their ends.

`side` +1 long, -1 short; `entry_ts` and `exit_ts` open the bars of the first and the last fill; average fill prices;
`quantity` the largest held; `notional` the largest |quantity| × average entry price held; amounts in quote currency:
`pnl` at fill prices, `fees`, `funding` paid (negative: received), `slippage` (already inside `pnl`), `lost` the share
of equity that a liquidation took; `net` = pnl − fees − funding − lost; `pnl_pct` net in percent of `notional`; `reason`
`rebalance`, `reversal`, `left` (the universe), `ended` (its bars), `liquidation`, or `open`: still held at the end,
counted as closed at the mark less the cost of closing.
"""

FILL_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "tranche": pl.Int32(),
        "ts": TS,
        "quantity": pl.Float64(),
        "price": pl.Float64(),
        "fee": pl.Float64(),
        "slippage": pl.Float64(),
        "equity": pl.Float64(),
        "bar_volume": pl.Float64(),
    }
)
"""Fills of a book: signed quantity, fill price, fee and slippage in quote currency, equity of the tranche before the
fills of that open, traded value of the bar (null where unknown)."""

DECISION_SCHEMA: Final = pl.Schema(
    {
        "ts": TS,
        "tranche": pl.Int32(),
        "known": pl.Int32(),
        "long": pl.Float64(),
        "short": pl.Float64(),
        "net": pl.Float64(),
        "beta": pl.Float64(),
    }
)
"""Decisions: opening time of the rebalance bar, members with a known score, and what the frozen quantities come to as
fractions of equity: long, short, their difference, and beta (null where none was asked for)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What rules and `strategies.Weights` have in common.

    Parameters
    ----------
    long, short : float
        Share of the known symbols in each leg, 0 for no leg.
    size : {'equal', 'rank', 'score', 'inverse_volatility'}
        Sizes inside a leg.
    gross : float
        Sum of absolute weights, as a fraction of equity.
    gross_limit : float, optional
        The most that it may be after the volatility target; `gross` where omitted.
    cap : float
        Largest weight of a symbol before the volatility target.
    band : float
        A position is left alone where its target is within this share of the weight held.
    keep : float
        What is held stays while its rank is inside `keep` × share, with two legs at most half of the known symbols; 0
        for no such buffer, else at least 1.
    target_volatility : float, optional
        Target of the volatility of a year, as a fraction.
    """

    long: float = 0.2
    short: float = 0.2
    size: Size = "equal"
    gross: float = 1.0
    gross_limit: float | None = None
    cap: float = 0.2
    band: float = 0.0
    keep: float = 0.0
    target_volatility: float | None = None


@dataclass(frozen=True)
class BookRules(Shape):
    """What a book does with its scores; the parts of `Shape`, and these.

    Parameters
    ----------
    rebalance : timedelta
        Interval between decisions: a divisor of a day, or whole days, which are run as one tranche for each day.
    neutral : {'none', 'dollar', 'beta'}
        What the legs must balance in.
    given_weights : bool
        Whether the book gives weights in place of scores: then counts, sizes and cap are its own.

    Raises
    ------
    ValueError
        If a number is out of its range, or neutrality is asked of a book with one leg.
    """

    rebalance: timedelta
    neutral: Neutrality = "dollar"
    given_weights: bool = False

    def __post_init__(self) -> None:
        _interval(self.rebalance)
        ranges = {
            "long": (0.0, 1.0),
            "short": (0.0, 1.0),
            "gross": (0.01, LARGEST_GROSS),
            "gross_limit": (0.01, LARGEST_GROSS),
            "cap": (0.001, LARGEST_GROSS),
            "band": (0.0, 10.0),
            "keep": (0.0, 100.0),
            "target_volatility": (0.001, 10.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                msg = f"{name} is {value!r}; pass a number from {low:g} to {high:g}"
                raise ValueError(msg)
        for name, kinds in (("size", Size), ("neutral", Neutrality)):
            if getattr(self, name) not in get_args(kinds):
                msg = f"{name} is {getattr(self, name)!r}; pass one of {', '.join(get_args(kinds))}"
                raise ValueError(msg)
        if 0.0 < self.keep < 1.0:
            msg = f"keep is {self.keep!r}; pass at least 1: what is held stays while inside keep × share, or 0 for none"
            raise ValueError(msg)
        if self.given_weights:
            return
        if self.long == self.short == 0.0:
            msg = "long and short are both 0, so the book would hold nothing; give a leg a share of the symbols"
            raise ValueError(msg)
        if self.neutral != "none" and 0.0 in {self.long, self.short}:
            msg = (
                f"neutral is {self.neutral!r} with one leg, so the book would be flat; pass neutral='none' or two legs"
            )
            raise ValueError(msg)

    @property
    def limit(self) -> float:
        """The gross limit in force."""
        return self.gross if self.gross_limit is None else self.gross_limit

    @property
    def leverage(self) -> float:
        """Leverage of the account: max(2, ⌈2 × gross limit⌉)."""
        return float(max(2, math.ceil(2 * self.limit - 1e-9)))

    @property
    def phases(self) -> tuple[timedelta, ...]:
        """By how much later each tranche rebalances: one for each day of the interval."""
        return tuple(DAY * day for day in range(max(1, self.rebalance // DAY)))

    def parameters(self, costs: Costs, capital: float, bars_a_year: float) -> FloatArray:
        """Return the rules as the kernel reads them.

        Parameters
        ----------
        costs : Costs
            Taker fee and slippage.
        capital : float
            Of one tranche, quote currency.
        bars_a_year : float
            For the volatility of a year.

        Returns
        -------
        ndarray of shape (n_parameters,)
            See the places in `backtester.simulation.book_kernel`.
        """
        p = np.zeros(kernel.PARAMETERS)
        p[kernel.LONG], p[kernel.SHORT] = self.long, self.short
        p[kernel.GROSS], p[kernel.GROSS_LIMIT], p[kernel.CAP] = self.gross, self.limit, self.cap
        p[kernel.BAND], p[kernel.KEEP], p[kernel.VOLATILITY] = self.band, self.keep, self.target_volatility or 0.0
        p[kernel.FEE], p[kernel.SLIPPAGE] = costs.taker_fee, costs.slippage
        p[kernel.CAPITAL], p[kernel.LEVERAGE], p[kernel.BARS_PER_YEAR] = capital, self.leverage, bars_a_year
        p[kernel.SIZE] = kernel.SIZES.index("equal" if self.given_weights else self.size)
        p[kernel.NEUTRAL] = kernel.NEUTRALITIES.index(self.neutral)
        p[kernel.GIVEN] = float(self.given_weights)
        return p


def _interval(rebalance: timedelta) -> None:
    whole = rebalance > timedelta(0) and (DAY % rebalance == timedelta(0) or rebalance % DAY == timedelta(0))
    if not whole or rebalance > 90 * DAY:
        msg = f"rebalance is {rebalance}; pass a divisor of a day (1h to 24h) or 1 to 90 whole days"
        raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Tranche:
    """One account of a book: raw results of the kernel.

    Attributes
    ----------
    phase : timedelta
        By how much later it rebalances.
    capital : float
        At its beginning, quote currency.
    series : ndarray of shape (4, n_bars)
        Equity at each close, equity with all adverse extremes of the bar at once, and the values held long and short as
        fractions of equity.
    fills, trades, decisions : ndarray of shape (n, n_columns)
        See the columns in `backtester.simulation.book_kernel`.
    weights : ndarray of shape (n_decisions, n_symbols)
        Target weights of each decision.
    quantities : ndarray of shape (n_symbols,)
        Held at the end, signed, base units.
    outcome : ndarray of shape (4,)
        Shortfall, row of the ruin, first row where all adverse extremes at once would have been one, opens at which
        the margin did not suffice for all increases.
    """

    phase: timedelta
    capital: float
    series: FloatArray
    fills: FloatArray
    trades: FloatArray
    decisions: FloatArray
    weights: FloatArray
    quantities: FloatArray
    outcome: FloatArray


@dataclass(frozen=True, eq=False)
class BookResult:
    """Result of a book.

    Attributes
    ----------
    market : BookMarket
        The bars that it traded.
    rules : BookRules
        Its rules.
    costs : Costs
        The rates that it paid.
    begin : int
        Row at which it began, flat.
    capital : float
        All tranches together, quote currency.
    tranches : tuple of Tranche
        Each with an equal part of the capital.
    """

    market: BookMarket
    rules: BookRules
    costs: Costs
    begin: int
    capital: float
    tranches: tuple[Tranche, ...] = field(repr=False)

    @cached_property
    def equity(self) -> FloatArray:
        """Equity of all tranches at each close, quote currency; shape (n_bars,)."""
        total: FloatArray = np.sum([tranche.series[kernel.EQUITY] for tranche in self.tranches], axis=0)
        return total

    @cached_property
    def adverse(self) -> FloatArray:
        """Equity if all positions had stood at their bar's worst price at once: a lower bound; shape (n_bars,)."""
        total: FloatArray = np.sum([tranche.series[kernel.ADVERSE] for tranche in self.tranches], axis=0)
        return total

    @cached_property
    def returns(self) -> FloatArray:
        """Return of each bar on the equity before; -1 at the ruin and 0 after it; shape (n_bars,)."""
        return returns_of(self.equity, self.capital)

    @cached_property
    def shortfall(self) -> float:
        """By how much equity was below zero where a tranche ended, quote currency; nobody pays it."""
        return float(sum(tranche.outcome[kernel.SHORTFALL] for tranche in self.tranches))

    @cached_property
    def held(self) -> tuple[FloatArray, FloatArray]:
        """Values held long and short at each close, as fractions of equity; each of shape (n_bars,)."""
        if len(self.tranches) == 1:
            return self.tranches[0].series[kernel.HELD_LONG], self.tranches[0].series[kernel.HELD_SHORT]
        values = [
            np.sum([t.series[place] * t.series[kernel.EQUITY] for t in self.tranches], axis=0)
            for place in (kernel.HELD_LONG, kernel.HELD_SHORT)
        ]
        long, short = (
            np.divide(value, self.equity, out=np.zeros_like(self.equity), where=self.equity > 0.0) for value in values
        )
        return long, short

    def exposure(self) -> pl.DataFrame:
        """Return what was held at each close: `ts`, `long`, `short`, `net` as fractions of the equity of the book."""
        long, short = self.held
        times = pl.Series("ts", self.market.ts[self.begin :]).cast(TS)
        return pl.DataFrame([times, pl.Series("long", long), pl.Series("short", short)]).with_columns(
            net=pl.col("long") - pl.col("short")
        )

    @cached_property
    def trades(self) -> pl.DataFrame:
        """Trades of all tranches, `BOOK_TRADE_SCHEMA`."""
        frames = [self._trades(place, tranche.trades) for place, tranche in enumerate(self.tranches)]
        return pl.concat(frames).sort("exit_ts", "tranche", "symbol", "entry_ts")

    @cached_property
    def fills(self) -> pl.DataFrame:
        """Fills of all tranches, `FILL_SCHEMA`."""
        frames = [self._fills(place, tranche.fills) for place, tranche in enumerate(self.tranches)]
        return pl.concat(frames).sort("ts", "tranche", maintain_order=True)

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """Decisions of all tranches, `DECISION_SCHEMA`."""
        frames = []
        for place, tranche in enumerate(self.tranches):
            table = tranche.decisions
            columns = {
                "ts": self._times(table[:, kernel.D_ROW]),
                "tranche": np.full(len(table), place, dtype=np.int32),
                "known": table[:, kernel.D_KNOWN].astype(np.int32),
                "long": table[:, kernel.D_LONG],
                "short": table[:, kernel.D_SHORT],
                "net": table[:, kernel.D_NET],
                "beta": pl.Series(table[:, kernel.D_BETA], nan_to_null=True),
            }
            frames.append(pl.DataFrame(columns, schema=DECISION_SCHEMA))
        return pl.concat(frames).sort("ts", "tranche")

    def weights(self) -> pl.DataFrame:
        """Return target weights: `ts` of the rebalance bar, `tranche`, and one column for each symbol."""
        frames = [
            pl.DataFrame(tranche.weights, schema=list(self.market.symbols)).select(
                self._times(tranche.decisions[:, kernel.D_ROW]).alias("ts"),
                pl.lit(place, pl.Int32).alias("tranche"),
                pl.all(),
            )
            for place, tranche in enumerate(self.tranches)
        ]
        return pl.concat(frames).sort("ts", "tranche")

    def by_symbol(self) -> pl.DataFrame:
        """Return what each symbol earned: sums of its trades in quote currency, and net in percent of the capital."""
        return self._earned("symbol").sort("net", "symbol", descending=[True, False])

    def by_side(self) -> pl.DataFrame:
        """Return what the long and the short leg earned, as `by_symbol`."""
        return self._earned("side").sort("side", descending=True)

    def _earned(self, by: str) -> pl.DataFrame:
        sums = [pl.col(name).sum() for name in ("pnl", "fees", "funding", "slippage", "lost", "net")]
        return (
            self.trades.group_by(by)
            .agg(pl.len().alias("trades"), (pl.col("net") > 0).mean().alias("win_rate"), *sums)
            .with_columns(net_pct=100.0 * pl.col("net") / self.capital)
        )

    def _times(self, rows: FloatArray) -> pl.Series:
        return pl.Series(self.market.ts[rows.astype(np.int64)]).cast(TS)

    def _names(self, columns: FloatArray) -> pl.Series:
        return pl.Series(self.market.symbols, dtype=pl.String).gather(columns.astype(np.uint32))

    def _trades(self, place: int, table: FloatArray) -> pl.DataFrame:
        net = net_of(table)
        columns = {
            "symbol": self._names(table[:, kernel.E_SYMBOL]),
            "tranche": np.full(len(table), place, dtype=np.int32),
            "side": table[:, kernel.E_SIDE].astype(np.int8),
            "entry_ts": self._times(table[:, kernel.E_ENTRY_ROW]),
            "exit_ts": self._times(table[:, kernel.E_EXIT_ROW]),
            "entry_price": table[:, kernel.E_ENTRY],
            "exit_price": table[:, kernel.E_EXIT],
            "quantity": table[:, kernel.E_LARGEST],
            "notional": table[:, kernel.E_BASIS],
            "pnl": table[:, kernel.E_PNL],
            "fees": table[:, kernel.E_FEES],
            "funding": table[:, kernel.E_FUNDING],
            "slippage": table[:, kernel.E_SLIPPAGE],
            "lost": table[:, kernel.E_LOST],
            "net": net,
            "pnl_pct": 100.0 * net / table[:, kernel.E_BASIS],
            "reason": pl.Series(kernel.REASONS, dtype=pl.String).gather(table[:, kernel.E_REASON].astype(np.uint32)),
        }
        return pl.DataFrame(columns, schema=BOOK_TRADE_SCHEMA)

    def _fills(self, place: int, table: FloatArray) -> pl.DataFrame:
        rows, columns = table[:, kernel.F_ROW].astype(np.int64), table[:, kernel.F_SYMBOL].astype(np.int64)
        quantity, price = table[:, kernel.F_QUANTITY], table[:, kernel.F_PRICE]
        fields = {
            "symbol": self._names(table[:, kernel.F_SYMBOL]),
            "tranche": np.full(len(table), place, dtype=np.int32),
            "ts": self._times(table[:, kernel.F_ROW]),
            "quantity": quantity,
            "price": price,
            "fee": table[:, kernel.F_FEE],
            "slippage": np.abs(quantity * (price - table[:, kernel.F_REFERENCE])),
            "equity": table[:, kernel.F_EQUITY],
            "bar_volume": pl.Series(self.market.quote_volume[rows, columns], nan_to_null=True),
        }
        return pl.DataFrame(fields, schema=FILL_SCHEMA)


def net_of(trades: FloatArray) -> FloatArray:
    """Return the net PnL of trades as the kernel gives them, shape (n_trades,), quote currency."""
    net: FloatArray = (
        trades[:, kernel.E_PNL] - trades[:, kernel.E_FEES] - trades[:, kernel.E_FUNDING] - trades[:, kernel.E_LOST]
    )
    return net


def returns_of(equity: FloatArray, capital: float) -> FloatArray:
    """Return the returns of an equity curve that begins with `capital`; 0 where there was nothing left.

    Parameters
    ----------
    equity : ndarray of shape (n_bars,)
        At each close, never below zero.
    capital : float
        Before the first bar.

    Returns
    -------
    ndarray of shape (n_bars,)
        At least -1.
    """
    before = np.concatenate([[capital], equity[:-1]])
    ratio = np.divide(equity, before, out=np.ones_like(equity), where=before > 0.0)
    result: FloatArray = ratio - 1.0
    return result


def run_book(
    market: BookMarket,
    rules: BookRules,
    values: FloatArray,
    *,
    costs: Costs | None = None,
    capital: float = DEFAULT_CAPITAL,
    begin: int = 0,
) -> BookResult:
    """Simulate a book.

    Parameters
    ----------
    market : BookMarket
        Bars, membership, funding and contracts; the bars before `begin` serve volatilities and betas alone.
    rules : BookRules
        What the book does with its values.
    values : ndarray of shape (n_bars, n_symbols)
        Scores at each bar's close, higher for what is to be bought; or weights, where the rules say so. NaN is unknown.
    costs : Costs, optional
        Taker fee and slippage.
    capital : float
        Starting capital of all tranches together, quote currency.
    begin : int
        First row; the book starts flat there.

    Returns
    -------
    BookResult
        Equity, trades, fills and decisions.

    Raises
    ------
    ValueError
        If the values have another shape than the market, the rebalance interval is no multiple of a bar, or nothing is
        left to run.

    Notes
    -----
    No look-ahead: what is decided at a close reads values up to it and fills at later opens.
    """
    if values.shape != market.close.shape:
        msg = f"values have the shape {values.shape}, the market {market.close.shape}; give one for each bar and symbol"
        raise ValueError(msg)

    def at(rows: IntArray) -> FloatArray:
        return market.values_at(values, rows, rules.rebalance)

    return run_values_at(market, rules, at, costs=costs, capital=capital, begin=begin)


def run_values_at(
    market: BookMarket,
    rules: BookRules,
    values_at: Callable[[IntArray], FloatArray],
    *,
    costs: Costs | None = None,
    capital: float = DEFAULT_CAPITAL,
    begin: int = 0,
) -> BookResult:
    """Simulate a book whose values are asked for at its rebalance bars alone.

    Parameters
    ----------
    market, rules, costs, capital, begin
        As for `run_book`.
    values_at : callable
        From rebalance rows, shape (n_rows,), to values of shape (n_rows, n_symbols): those of each symbol's last
        tradable bar, NaN where that is older than one rebalance, as `BookMarket.values_at` gives them.

    Returns
    -------
    BookResult
        As for `run_book`.

    Raises
    ------
    ValueError
        As for `run_book`.
    """
    bar = bar_length(market.timeframe)
    if rules.rebalance % bar != timedelta(0):
        msg = f"rebalance is {rules.rebalance}, no multiple of a bar of {market.timeframe}; pass a longer one"
        raise ValueError(msg)
    if not 0 <= begin < len(market.ts):
        msg = f"the book begins at row {begin}, but the market has {len(market.ts)} bars; give it bars to run on"
        raise ValueError(msg)
    if not (math.isfinite(capital) and capital > 0.0):
        msg = f"capital is {capital!r}; pass a positive number of the quote currency"
        raise ValueError(msg)
    rates, share = costs or Costs(), capital / len(rules.phases)
    tranches = tuple(_tranche(market, rules, values_at, rates, share, begin, phase) for phase in rules.phases)
    return BookResult(market, rules, rates, begin, capital, tranches)


def _tranche(
    market: BookMarket,
    rules: BookRules,
    values_at: Callable[[IntArray], FloatArray],
    costs: Costs,
    capital: float,
    begin: int,
    phase: timedelta,
) -> Tranche:
    rows = market.rebalance_rows(rules.rebalance, phase, begin)
    unasked = np.broadcast_to(np.nan, (len(rows), len(market.symbols)))
    by_risk = rules.target_volatility is not None or (rules.size == "inverse_volatility" and not rules.given_weights)
    output = kernel.simulate(
        begin,
        market.ts,
        market.step,
        market.open,
        market.high,
        market.low,
        market.mark,
        market.last,
        market.gaps,
        market.silent,
        market.funding,
        market.paid,
        market.member,
        market.changed,
        rows,
        np.ascontiguousarray(values_at(rows)),
        market.volatilities(rows) if by_risk else np.array(unasked),
        market.betas(rows) if rules.neutral == "beta" else np.array(unasked),
        market.returns_of if rules.target_volatility is not None else np.empty((0, 0)),
        market.limits.lot,
        market.limits.minimum,
        market.limits.maintenance,
        market.ends,
        rules.parameters(costs, capital, bars_per_year(market.timeframe)),
    )
    return Tranche(phase, capital, *output)
