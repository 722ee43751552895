"""Statistics of a book, and the backtest of one on frames.

Belongs here: metrics, capacity and market exposure of a book's result, `backtest_book`. Does not belong here: the
simulation (`backtester.simulation.books`), scores (`strategies.language`), one strategy's lanes
(`backtester.evaluation.evaluate`).
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Protocol, Self, runtime_checkable

import numpy as np
import polars as pl

from backtester.simulation import book_kernel as kernel
from backtester.simulation.bar_arrays import from_micros
from backtester.simulation.book_market import BookMarket, Contract
from backtester.simulation.books import BookResult, BookRules, Tranche, net_of, returns_of, run_values_at
from backtester.simulation.costs import LARGE_SHARE, Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.metrics import YEAR, Moments, alpha_and_beta, bars_per_year, max_drawdown
from backtester.statistics.score import score
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import CANDLE_SCHEMA, TS, Timeframe, bar_length
from features.engine import compute
from features.steps import Step, find_steps

_LOG: Final = logging.getLogger(__name__)
_TOLD: Final = 5
CAPITALS: Final = (10_000.0, 100_000.0, 1_000_000.0)
"""Capitals for which the share of the bars' volume is measured, quote currency."""
MOST_BYTES: Final = 2**30
"""Features of a prepared market that are kept for the next book, however many symbols and years it has."""


@runtime_checkable
class BookLike(Protocol):
    """What can be backtested as a book."""

    @property
    def name(self) -> Any:
        """Unique name."""
        ...

    @property
    def timeframe(self) -> Any:
        """Length of the bars that it trades on."""
        ...

    @property
    def rules(self) -> BookRules:
        """What it does with its values."""
        ...

    def values_at(self, market: BookMarket, columns: Mapping[str, FloatArray], rows: IntArray) -> FloatArray:
        """Return scores or weights at rebalance rows.

        Parameters
        ----------
        market : BookMarket
            What it runs on.
        columns : mapping of str to ndarray of shape (n_bars, n_symbols)
            Its features, NaN where unknown.
        rows : ndarray of shape (n_rows,), int64
            The rebalance rows.

        Returns
        -------
        ndarray of shape (n_rows, n_symbols)
            Of each symbol's last tradable bar, as `BookMarket.values_at` gives them.
        """
        ...

    def features(self) -> list[str]:
        """Return the features that `columns` must hold."""
        ...


@dataclass(frozen=True)
class Capacity:
    """How large a book's fills are, against the traded value of the bars in which they lie.

    Attributes
    ----------
    capital : float
        Assumed capital of the whole book, quote currency.
    median, largest : float or None
        Share of the bar's traded value; null where no fill lies in a bar of known volume.
    above_limit : float or None
        Share of these fills above 1 % of their bar.
    without_volume : int
        Fills in bars in which nothing was traded: no price there can be had. They are in none of the shares.
    """

    capital: float
    median: float | None
    largest: float | None
    above_limit: float | None
    without_volume: int

    @property
    def warning(self) -> str:
        """One line where fills are too large for their bars, else ''."""
        sentences = []
        if self.above_limit:
            sentences.append(
                f"{self.above_limit:.1%} of the fills are above {LARGE_SHARE:.0%} of their bar's volume (largest "
                f"{self.largest:.1%}): prices may be out of reach at this size"
            )
        if self.without_volume:
            sentences.append(f"{self.without_volume} fills are in bars in which nothing was traded (volume 0)")
        return "; ".join(sentences)


@dataclass(frozen=True, eq=False)
class BookEvaluation:
    """A book's result and its statistics.

    Attributes
    ----------
    name : str
        Of the book.
    result : BookResult
        Equity, trades, fills, decisions.
    """

    name: str
    result: BookResult

    def metrics(self) -> dict[str, float | int | None]:
        """Return the metrics of the book by name; null where undefined. The guide on books says what each is."""
        result, capital = self.result, self.result.capital
        trades = np.concatenate([tranche.trades for tranche in result.tranches])
        years = len(result.returns) * bar_length(result.market.timeframe) / YEAR
        net = net_of(trades)
        win_rate = float((net > 0.0).mean()) if len(trades) else None
        average = float((100.0 * net / trades[:, kernel.E_BASIS]).mean()) if len(trades) else None
        drawdown = max_drawdown(np.concatenate([[capital], result.equity]))
        moments, year = Moments.of(result.returns[self.there]), bars_per_year(result.market.timeframe)
        ratio = moments.annual_sharpe(year)
        turnover = self.turnover()
        alpha, alpha_se, beta = self.market_exposure
        long, short = result.held
        busy = [t.series[kernel.HELD_LONG] + t.series[kernel.HELD_SHORT] > 0.0 for t in result.tranches]
        columns = {
            "pnl": kernel.E_PNL,
            "fees": kernel.E_FEES,
            "slippage": kernel.E_SLIPPAGE,
            "funding": kernel.E_FUNDING,
            "lost": kernel.E_LOST,
        }
        paid = {name: 100.0 * float(trades[:, column].sum()) / capital for name, column in columns.items()}
        return {
            "score": score(win_rate, average, ratio, drawdown),
            "total_pnl_pct": 100.0 * (float(result.equity[-1]) / capital - 1.0),
            "trades": len(trades),
            "win_rate": win_rate,
            "avg_pnl_pct": average,
            "sharpe": ratio,
            "sharpe_se": moments.annual_sharpe_se(year),
            "sortino": moments.annual_sortino(year),
            "max_drawdown": drawdown,
            "adverse_drawdown": self.adverse_drawdown(),
            "exposure": float(np.mean(busy)),
            "gross_exposure": float(np.mean(long + short)),
            "net_exposure": float(np.mean(long - short)),
            "largest_net": float(np.max(np.abs(long - short))),
            "turnover": turnover,
            "turnover_year": turnover / years,
            "pnl_before_costs_pct": paid["pnl"] + paid["slippage"],
            "fees_pct": paid["fees"],
            "slippage_pct": paid["slippage"],
            "funding_pct": paid["funding"],
            "lost_pct": paid["lost"],
            "funding_known": self.funding_known(),
            "alpha": alpha,
            "alpha_se": alpha_se,
            "beta": beta,
            "ruined": sum(tranche.outcome[kernel.RUINED_AT] >= 0 for tranche in result.tranches),
            "ruined_by_extremes": sum(_beyond(tranche) for tranche in result.tranches),
            "shortfall_pct": 100.0 * result.shortfall / capital,
            "cut_by_margin": sum(int(tranche.outcome[kernel.SCALED]) for tranche in result.tranches),
        }

    @cached_property
    def there(self) -> BoolArray:
        """Whether any symbol has a bar, or the equity moved, of shape (n_bars,): other times have no return."""
        result = self.result
        bars: BoolArray = result.market.there[result.begin :] | (result.returns != 0.0)
        return bars

    def hourly(self) -> pl.DataFrame:
        """Return the equity at full hours: `ts` (UTC), `equity` (starting capital = 1), `net_return`, `with_bars`.

        The first row is the window's begin, where `net_return` and `with_bars` are null. A bar of several hours has one
        row for each, with its return in the last. `net_return` is of the equity before the bar; `with_bars` says
        whether any symbol has a bar over the hour.
        """
        result = self.result
        hours = max(1, bar_length(result.market.timeframe) // timedelta(hours=1))
        levels = np.concatenate([[1.0], result.equity / result.capital])
        gained, places = np.zeros(hours * len(result.equity)), np.arange(hours * len(result.equity) + 1)
        gained[hours - 1 :: hours] = result.returns
        begin = from_micros(int(result.market.ts[result.begin]))
        return pl.DataFrame(
            {
                "ts": [begin + place * timedelta(hours=1) for place in places.tolist()],
                "equity": levels[places // hours],
                "net_return": [None, *gained.tolist()],
                "with_bars": [None, *np.repeat(self.there, hours).tolist()],
            },
            schema={"ts": TS, "equity": pl.Float64, "net_return": pl.Float64, "with_bars": pl.Boolean},
        )

    def turnover(self) -> float:
        """Return the traded notional as a multiple of the equity at the time; the mean over the tranches."""
        total = 0.0
        for tranche, notional in zip(self.result.tranches, self._notionals, strict=True):
            total += float((notional / tranche.fills[:, kernel.F_EQUITY]).sum())
        return total / len(self.result.tranches)

    @cached_property
    def _notionals(self) -> list[FloatArray]:
        """Traded notional of each tranche's fills, quote currency, each of shape (n_fills,)."""
        fills = [tranche.fills for tranche in self.result.tranches]
        return [np.abs(table[:, kernel.F_QUANTITY]) * table[:, kernel.F_PRICE] for table in fills]

    def funding_known(self) -> float | None:
        """Return the share of the traded notional in symbols that paid funding in the 24 hours before; null without."""
        notional = np.concatenate(self._notionals)
        if not len(notional):
            return None
        rows, columns = (
            np.concatenate([tranche.fills[:, place] for tranche in self.result.tranches]).astype(np.int64)
            for place in (kernel.F_ROW, kernel.F_SYMBOL)
        )
        return float((notional * self.result.market.funding_known[rows, columns]).sum() / notional.sum())

    def adverse_drawdown(self) -> float:
        """Return the largest fall from a peak of closes to a bar with all adverse extremes at once: an upper bound."""
        result = self.result
        peaks = np.maximum.accumulate(np.concatenate([[result.capital], result.equity[:-1]]))
        return float(np.clip(np.max(1.0 - result.adverse / peaks), 0.0, 1.0))

    def capacity(self, capitals: tuple[float, ...] = CAPITALS) -> list[Capacity]:
        """Return the fills' shares of their bars' traded value at some capitals, each fill in proportion to equity.

        Notes
        -----
        A fill in a bar of unknown volume is left out; one in a bar in which nothing was traded is counted apart.
        """
        known = self.result.fills.drop_nulls("bar_volume")
        fills = known.filter(pl.col("bar_volume") > 0.0)
        empty = known.height - fills.height
        part = 1.0 / len(self.result.tranches)
        weight = (fills["quantity"].abs() * fills["price"] / fills["equity"]).to_numpy() * part
        unit = weight / fills["bar_volume"].to_numpy()
        if not len(unit):
            return [Capacity(capital, None, None, None, empty) for capital in capitals]
        return [
            Capacity(
                capital,
                float(np.median(unit * capital)),
                float(np.max(unit * capital)),
                float(np.mean(unit * capital > LARGE_SHARE)),
                empty,
            )
            for capital in capitals
        ]

    @cached_property
    def market_exposure(self) -> tuple[float | None, float | None, float | None]:
        """Alpha of a year, its standard error, and beta to the universe's equal-weighted average, by least squares."""
        average = self.result.market.average[self.result.begin :]
        known = ~np.isnan(average)
        return alpha_and_beta(average[known], self.result.returns[known], bars_per_year(self.result.market.timeframe))

    def by_tranche(self) -> pl.DataFrame:
        """Return each tranche's `total_pnl_pct`, `sharpe`, `max_drawdown`, `trades` and `ruined`.

        Notes
        -----
        They differ in the day on which they rebalance alone, so their spread says how much of a result is that day.
        """
        rows = []
        for tranche in self.result.tranches:
            equity = tranche.series[kernel.EQUITY]
            moments = Moments.of(returns_of(equity, tranche.capital)[self.there])
            rows.append(
                {
                    "days": tranche.phase / timedelta(days=1),
                    "total_pnl_pct": 100.0 * (float(equity[-1]) / tranche.capital - 1.0),
                    "sharpe": moments.annual_sharpe(bars_per_year(self.result.market.timeframe)),
                    "max_drawdown": max_drawdown(np.concatenate([[tranche.capital], equity])),
                    "trades": len(tranche.trades),
                    "ruined": bool(tranche.outcome[kernel.RUINED_AT] >= 0),
                }
            )
        return pl.DataFrame(rows, schema_overrides={"sharpe": pl.Float64})


@dataclass(frozen=True, eq=False)
class Beside:
    """What features of a book read besides the bars that it trades and their funding.

    Attributes
    ----------
    candles : mapping of Timeframe to DataFrame
        Bars of higher timeframes, and of symbols that the book does not trade; `CANDLE_SCHEMA`, sorted by (symbol, ts).
    positioning : DataFrame, optional
        `POSITIONING_SCHEMA`, sorted by (symbol, ts); features of positioning are null without it.
    predictions : mapping of Timeframe to DataFrame
        Predictions of models: `symbol`, `ts` and a column for each name; such features are null without them.
    """

    candles: Mapping[Timeframe, pl.DataFrame] = field(default_factory=dict)
    positioning: pl.DataFrame | None = None
    predictions: Mapping[Timeframe, pl.DataFrame] = field(default_factory=dict)


class PreparedMarket:
    """A market of books with its features, each computed once: what many books on the same bars share.

    Parameters
    ----------
    market : BookMarket
        The arrays.
    candles : DataFrame
        The bars behind them, sorted by (symbol, ts).
    funding : DataFrame, optional
        `FUNDING_SCHEMA`.
    beside : Beside, optional
        What features read besides.
    most_bytes : int
        Features that are kept for the next book; those that were asked for longest ago are dropped first.
    """

    def __init__(
        self,
        market: BookMarket,
        candles: pl.DataFrame,
        funding: pl.DataFrame | None = None,
        beside: Beside | None = None,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.market = market
        self._candles = candles
        self._funding = funding
        self._beside = beside or Beside()
        self._most_bytes = most_bytes
        self._columns: dict[str, FloatArray] = {}

    @classmethod
    def of(
        cls,
        timeframe: Timeframe,
        candles: pl.DataFrame,
        funding: pl.DataFrame | None = None,
        *,
        universe: pl.DataFrame | None = None,
        contracts: Mapping[str, Contract] | None = None,
        beside: Beside | None = None,
        real_steps: Collection[tuple[str, datetime]] = (),
        end: datetime | None = None,
    ) -> Self:
        """Return the market that frames describe, up to `end`.

        Parameters
        ----------
        timeframe : Timeframe
            Of the candles.
        candles, funding, universe, contracts, beside, real_steps, end
            As for `backtest_book`.

        Returns
        -------
        PreparedMarket
            Without features: each is computed when it is first asked for.

        Raises
        ------
        ValueError
            As for `BookMarket.from_frames`.
        """
        if end is not None:
            candles = candles.filter(pl.col("ts") <= end - bar_length(timeframe))
            funding = None if funding is None else funding.filter(pl.col("ts") <= end)
        bars = candles.sort("symbol", "ts")
        _tell_steps(bars, real_steps)
        paid = None if funding is None else funding.sort("symbol", "ts")
        market = BookMarket.from_frames(bars, timeframe, funding=paid, universe=universe, contracts=contracts)
        return cls(market, bars, paid, beside)

    def columns(self, names: Iterable[str]) -> dict[str, FloatArray]:
        """Return features and candle columns as arrays of shape (n_bars, n_symbols), NaN where unknown.

        Raises
        ------
        LookupError
            If a feature is unknown, or reads bars that are not given.

        Notes
        -----
        What is kept for the next call takes `most_bytes` at most, whatever was asked for.
        """
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if name not in self._columns]
        found = {name: self._columns.pop(name) for name in wanted if name in self._columns}
        if missing:
            market = self.market
            frame = compute(
                self._candles,
                [name for name in missing if name not in CANDLE_SCHEMA],
                self._funding,
                timeframe=market.timeframe,
                others=self._beside.candles or None,
                predictions=self._beside.predictions,
                positioning=self._beside.positioning,
            )
            found |= {name: market.dense(frame, name) for name in missing}
        self._columns |= found  # at the end: the columns are in the order in which they were asked for
        while self.held_bytes > self._most_bytes:
            del self._columns[next(iter(self._columns))]
        return {name: found[name] for name in wanted}

    @property
    def held_bytes(self) -> int:
        """Memory of the features that are kept."""
        return sum(array.nbytes for array in self._columns.values())

    def backtest(
        self,
        book: BookLike,
        *,
        start: datetime | None = None,
        costs: Costs | None = None,
        capital: float = DEFAULT_CAPITAL,
    ) -> BookEvaluation:
        """Backtest a book on this market.

        Parameters
        ----------
        book, start, costs, capital
            As for `backtest_book`.

        Returns
        -------
        BookEvaluation
            As for `backtest_book`.

        Raises
        ------
        ValueError
            If the book's timeframe is another, or no bar is left to run on.
        """
        market = self.market
        if book.timeframe != market.timeframe:
            msg = (
                f"{book.name} is a book on {book.timeframe}, the market has {market.timeframe}; give bars of the former"
            )
            raise ValueError(msg)
        columns = self.columns(book.features())
        result = run_values_at(
            market,
            book.rules,
            lambda rows: book.values_at(market, columns, rows),
            costs=costs,
            capital=capital,
            begin=0 if start is None else market.row_at(start),
        )
        return BookEvaluation(book.name, result)


def _tell_steps(candles: pl.DataFrame, real: Collection[tuple[str, datetime]]) -> None:
    """Name the price steps that nobody has called real.

    To leave a symbol out for a step to come would be look-ahead, so the book trades it as given.
    """
    found = (Step(*row) for row in find_steps(candles).select("symbol", "ts", "ratio").iter_rows())
    stepped = [step for step in found if (step.symbol, step.ts) not in set(real)]
    if stepped:
        more = f" and {len(stepped) - _TOLD} more" if len(stepped) > _TOLD else ""
        told = "; ".join(str(step) for step in stepped[:_TOLD])
        _LOG.warning("price steps traded as given, a crash or another unit: %s%s; see real_steps", told, more)


def backtest_book(
    book: BookLike,
    candles: pl.DataFrame,
    funding: pl.DataFrame | None = None,
    *,
    universe: pl.DataFrame | None = None,
    contracts: Mapping[str, Contract] | None = None,
    beside: Beside | None = None,
    real_steps: Collection[tuple[str, datetime]] = (),
    start: datetime | None = None,
    end: datetime | None = None,
    costs: Costs | None = None,
    capital: float = DEFAULT_CAPITAL,
) -> BookEvaluation:
    """Backtest a book on frames.

    Parameters
    ----------
    book : BookLike
        What is backtested.
    candles : DataFrame
        `CANDLE_SCHEMA`, bars of the book's timeframe, from as early as its features, volatilities and betas need.
    funding : DataFrame, optional
        `FUNDING_SCHEMA`. Nothing is paid, and features of funding are null, where omitted.
    universe : DataFrame, optional
        `day`, `symbol`, `member`: see `BookMarket.from_frames`. Every symbol is a member where omitted.
    contracts : mapping of str to Contract, optional
        Lots, smallest orders, maintenance margins and ends, by symbol.
    beside : Beside, optional
        What features read besides: higher timeframes, further symbols, positioning data, predictions.
    real_steps : collection of (str, datetime), optional
        Symbol and time of price steps that are market moves; any other is named in a warning (`features.steps`).
    start : datetime, optional
        Opening time of the first bar that may trade (UTC); by default the first of all.
    end : datetime, optional
        What closes later is left out; nothing by default.
    costs : Costs, optional
        By default a taker fee of 0.06 % and 2 basis points of slippage a side.
    capital : float
        Starting capital in quote currency; lots and smallest orders are those of this capital.

    Returns
    -------
    BookEvaluation
        `metrics()`, `result.trades`, `result.equity`, `capacity()`, `by_tranche()`.

    Raises
    ------
    ValueError
        If bars are malformed or none are left.
    LookupError
        If a feature is unknown, or reads bars that are not given.

    Notes
    -----
    No look-ahead: what is decided at a close reads bars closed and funding paid by then, and fills at later opens.
    """
    prepared = PreparedMarket.of(
        book.timeframe, candles, funding, universe=universe, contracts=contracts, beside=beside,
        real_steps=real_steps, end=end,
    )  # fmt: skip
    return prepared.backtest(book, start=start, costs=costs, capital=capital)


def _beyond(tranche: Tranche) -> bool:
    return bool(tranche.outcome[kernel.BEYOND_AT] >= 0 or tranche.outcome[kernel.RUINED_AT] >= 0)
