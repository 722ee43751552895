"""The book: a strategy that holds a weight of each symbol of a universe, by scores or by weights.

Belongs here: the class that every book is written as, its weights, and the evaluation of its scores. Does not belong
here: what they lead to (`backtester.simulation.books`), the words of `weigh` (`strategies.language.values`,
`strategies.language.across`).

A whole book::

    class VolatilityScaledMomentum(Book):
        '''Buy what rose most for its risk, sell what fell most.

        Edge: flows into winners are slow.
        Fails: at sharp reversals of the whole market.
        '''

        name = "volatility_scaled_momentum"
        timeframe, rebalance = "60m", "24h"
        hours = Param(168, 24, 720)
        share = Param(0.2, 0.05, 0.5)

        def weigh(self, f):
            momentum = f.feature("risk_adjusted_momentum", self.hours)
            return Weights(rank_by=momentum, long=self.share, short=self.share, size="inverse_volatility", band=0.2)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
import polars as pl

from backtester.simulation.book_market import BookMarket
from backtester.simulation.books import BookRules, Neutrality, Shape
from features.array_types import FloatArray, IntArray
from features.bars import TIMEFRAMES, Timeframe, bar_length
from strategies.language.across import CrossSection, FlatCrossSection
from strategies.language.columns import Column, column_of
from strategies.language.strategy import Features, Written
from strategies.language.values import LanguageError, Value, constant, number

_INTERVAL: Final = re.compile(r"([1-9][0-9]{0,3})([hd])")
TEXTS: Final = ("size", "neutral")
"""Parts of `Weights` that are texts."""


@dataclass(frozen=True, kw_only=True)
class Weights(Shape):
    """What a book wants at each rebalance: the parts of `backtester.simulation.books.Shape`, and these.

    Attributes
    ----------
    rank_by : Value, optional
        Score of each symbol: the highest are bought, the lowest sold. Null: not held.
    weights : Value, optional
        Weight of each symbol as a fraction of equity, negative for a short, in place of scores: counts, sizes and cap
        are then the book's own. Null: not held.
    neutral : {'none', 'dollar', 'beta'}, optional
        What the legs balance in; `dollar` where there are two legs of scores, else `none`.

    Raises
    ------
    LanguageError
        If there is neither a score nor a weight, or both, or a part is out of its range.
    """

    rank_by: Value | None = None
    weights: Value | None = None
    neutral: Neutrality | None = None

    def __post_init__(self) -> None:
        if (self.rank_by is None) == (self.weights is None):
            msg = "Weights takes either rank_by=, a score, or weights=, and one of them"
            raise LanguageError(msg)
        number(self.value, "Weights")
        for name in NUMBERS:
            given = getattr(self, name)
            if isinstance(given, Value):
                msg = f"Weights({name}=…) is a number or a parameter, the same at every bar"
                raise LanguageError(msg)
            if given is not None:
                constant(given)
        try:
            self.rules(timedelta(days=1))
        except ValueError as error:
            msg = f"Weights: {error}"
            raise LanguageError(msg) from None

    @property
    def value(self) -> Value:
        """The score or the weight."""
        given = self.weights if self.rank_by is None else self.rank_by
        if not isinstance(given, Value):
            msg = f"rank_by and weights are values over features such as f.returns_24, not {given!r}"
            raise LanguageError(msg)
        return given

    def rules(self, rebalance: timedelta) -> BookRules:
        """Return the rules of a book that rebalances at this interval.

        Raises
        ------
        ValueError
            If a part is out of its range.
        """
        given = self.weights is not None
        balanced: Neutrality = "none" if given or 0.0 in {self.long, self.short} else "dollar"
        numbers = {name: None if (part := getattr(self, name)) is None else float(part) for name in NUMBERS}
        chosen = balanced if self.neutral is None else self.neutral
        return BookRules(rebalance, neutral=chosen, given_weights=given, size=self.size, **numbers)  # type: ignore[arg-type]  # None where it may


NUMBERS: Final = tuple(part.name for part in fields(Shape) if part.name not in TEXTS)
"""Parts of `Weights` that are numbers."""


class Book(Written):
    """Base of every book; see the module's docstring for a whole one.

    Parameters
    ----------
    **values : int or float
        Parameters that differ from their defaults.

    Attributes
    ----------
    name : str
        Unique, lower case with underscores; the file's name in the library.
    timeframe : Timeframe
        Of its bars.
    rebalance : str
        Interval between decisions, such as `8h`, `24h` or `7d`: a divisor of a day or whole days.
    parameters : dict of str to number
        The values in force.
    weights : Weights
        What `weigh` returned.
    rules : BookRules
        The same as the backtester reads it.

    Raises
    ------
    StrategyError
        If the class or its `weigh` is malformed; the message begins with file and line.
    """

    timeframe: ClassVar[Timeframe] = "60m"
    rebalance: ClassVar[str] = "24h"

    def __init__(self, /, **values: float) -> None:
        super().__init__(**values)
        self.weights = self._asked("weigh", Weights)
        self._check_reads(self.timeframe)
        self._program = self._program_of([self.weights.value])

    def weigh(self, f: Features) -> Weights:
        """Return what the book wants, over the features `f`; called once, when the book is made.

        Parameters
        ----------
        f : Features
            Values known at each bar's close.
        """
        raise NotImplementedError

    @cached_property
    def rules(self) -> BookRules:
        """What the backtester does with its scores."""
        return self.weights.rules(interval(self.rebalance))

    @property
    def lookback(self) -> int:
        """Bars before the first score that it reads, on top of the features' own warm-up."""
        return self.weights.value.lookback

    def features(self, timeframe: Timeframe | None = None) -> list[str]:  # noqa: ARG002  # a book has one timeframe
        """Return the features and candle columns that it reads, sorted.

        Parameters
        ----------
        timeframe : Timeframe, optional
            The answer does not depend on it.
        """
        return self._features.names()

    def values_at(self, market: BookMarket, columns: Mapping[str, FloatArray], rows: IntArray) -> FloatArray:
        """Return scores or weights at rebalance rows.

        Parameters
        ----------
        market : BookMarket
            What it runs on.
        columns : mapping of str to ndarray of shape (n_bars, n_symbols)
            Its features, truth values as 0 and 1, NaN where unknown.
        rows : ndarray of shape (n_rows,), int64
            The rebalance rows.

        Returns
        -------
        ndarray of shape (n_rows, n_symbols)
            Of each symbol's last tradable bar, NaN where unknown or older than one rebalance.

        Notes
        -----
        No look-ahead: values of a row depend on rows up to it. Words like `previous` count tradable bars.
        """
        oldest = self.rules.rebalance
        if self.lookback:
            return market.values_at(self._everywhere(market, columns), rows, oldest)
        last = market.last[rows]
        if len(rows) and (last == rows[:, None]).all():  # as is usual: no symbol's bar is missing where it is asked for
            return market.fresh(self._at(market, columns, rows), rows, oldest)
        wanted = np.zeros(len(market.ts), dtype=np.bool_)
        wanted[last[last >= 0]] = True
        read = np.flatnonzero(wanted)
        if not len(read):
            return np.full(last.shape, np.nan)
        places = (np.cumsum(wanted) - 1)[np.maximum(last, read[0])]
        found = np.take_along_axis(self._at(market, columns, read), places, axis=0)
        return market.fresh(found, rows, oldest)

    def scores(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return scores or weights at every bar.

        Parameters
        ----------
        frame : DataFrame
            Candle columns and `features()`, sorted by (symbol, ts); `member` (Boolean), where the universe is not
            every symbol that is there. Bars whose `flag` is not null are skipped, as in features.

        Returns
        -------
        DataFrame
            One row a bar: symbol, ts, score (Float64, null where unknown).

        Raises
        ------
        StrategyError
            If a column is missing or has another kind than its feature.

        Notes
        -----
        No look-ahead: row t depends on bars of all symbols that closed by then.
        """
        self._check_columns(frame)
        sound = frame.with_row_index("row")
        if "flag" in frame.columns:
            sound = sound.filter(pl.col("flag").is_null())
        parts = sound.partition_by("symbol", maintain_order=True)
        times = sound["ts"].unique().sort()
        rows = [times.search_sorted(part["ts"]).to_numpy().astype(np.int64) for part in parts]
        member = np.zeros((len(times), len(parts)), dtype=np.bool_)
        for place, part in enumerate(parts):
            inside = part["member"].fill_null(value=False).to_numpy() if "member" in part.columns else True
            member[rows[place], place] = inside
        columns = [{name: column_of(part[name]) for name in self._features.names()} for part in parts]
        found = self._program.run_together(columns, [part.height for part in parts], CrossSection(rows, member))
        values = np.full(frame.height, np.nan)
        for part, (column,) in zip(parts, found, strict=True):
            values[part["row"].to_numpy()] = column
        return frame.select("symbol", "ts").with_columns(pl.Series("score", values, nan_to_null=True))

    def _at(self, market: BookMarket, columns: Mapping[str, FloatArray], rows: IntArray) -> FloatArray:
        """Return the values of the bars at some rows, each by itself; shape (n_rows, n_symbols)."""
        flat: dict[str, Column] = {name: columns[name][rows].reshape(-1) for name in self._program.features}
        member = market.member[rows]
        ((found,),) = self._program.run_together([flat], [member.size], FlatCrossSection(member))
        return np.asarray(found, dtype=np.float64).reshape(member.shape)

    def _everywhere(self, market: BookMarket, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the values at every tradable bar, NaN elsewhere."""
        places = [np.flatnonzero(market.fillable[:, symbol]) for symbol in range(len(market.symbols))]
        own: list[dict[str, Column]] = [
            {name: np.ascontiguousarray(columns[name][rows, symbol]) for name in self._program.features}
            for symbol, rows in enumerate(places)
        ]
        counts = [len(rows) for rows in places]
        found = self._program.run_together(own, counts, CrossSection(places, market.member))
        values = np.full(market.close.shape, np.nan)
        for symbol, (column,) in enumerate(found):
            values[places[symbol], symbol] = column
        return values

    @classmethod
    def _check_class(cls) -> None:
        super()._check_class()
        if cls.timeframe not in TIMEFRAMES:
            cls._refuse(f"timeframe must be one of {', '.join(TIMEFRAMES)}, not {cls.timeframe!r}")
        try:
            every = interval(cls.rebalance)
            BookRules(every)
        except (LanguageError, ValueError) as error:
            cls._refuse(str(error))
            raise
        if every % bar_length(cls.timeframe) != timedelta(0):
            cls._refuse(f"rebalance {cls.rebalance} is no multiple of a bar of {cls.timeframe}")


def interval(text: object) -> timedelta:
    """Return the interval that a text such as `8h` or `7d` means.

    Raises
    ------
    LanguageError
        If it means none.

    Examples
    --------
    >>> interval("7d")
    datetime.timedelta(days=7)
    """
    found = _INTERVAL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        msg = f'rebalance is {text!r}; write whole hours or days, such as "8h", "24h" or "7d"'
        raise LanguageError(msg)
    count = int(found.group(1))
    return timedelta(hours=count) if found.group(2) == "h" else timedelta(days=count)
