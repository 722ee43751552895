"""The evaluation panel: everything that thousands of in-sample evaluations over one window share, read once.

Belongs here: candles as arrays for the kernel, features computed lazily on whole columns in a bounded cache, and the
evaluation of one strategy on them, with the same kernel, pooling and numbers as `backtester.evaluate`. Does not belong
here: what to try (`strategies.search.map_elites.search`), where candles come from (any `FeatureManager`), what a window
is for (`backtester.statistics.windows`).

Use::

    panel = Panel.read(manager, ("BTC-USDT", "ETH-USDT"), windows.search)
    run = panel.run(strategy)
    run.score, run.trades, run.pooled.returns

No look-ahead: nothing that closed or was paid after the window's end is read, and the first signal read is that of
the window's first bar. A panel may be shared by threads; results do not depend on how many there are, nor on what was
evaluated before.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import RLock
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.evaluation.evaluate import (
    Market,
    StrategyLike,
    largest_notional,
    read_market,
    run_timeframes,
    unit_lanes,
)
from backtester.evaluation.pooling import PooledResult, pool
from backtester.simulation import kernel
from backtester.simulation.bar_arrays import Bars, to_micros
from backtester.simulation.costs import Costs, MarginRules
from backtester.simulation.lanes import KernelOutput, Lane, run_arrays, trades_of
from backtester.simulation.signals import SIGNAL_COLUMNS, Signals
from backtester.statistics.metrics import hourly_returns
from backtester.statistics.overfitting import LAGS, episodes_of, sharpe_se_newey_west
from backtester.statistics.windows import Window
from features.array_types import BoolArray, FloatArray
from features.bars import (
    CANDLE_SCHEMA,
    DEFAULT_TIMEFRAMES,
    HOUR_US,
    TIMEFRAMES,
    CandleSource,
    Timeframe,
    bar_length,
    places_by_symbol,
    readable_on,
)
from features.engine import compute, needs
from features.feature_manager import FUNDING_HISTORY, FeatureManager
from strategies.language.columns import Column as LanguageColumn
from strategies.language.columns import Truth, column_of
from strategies.language.strategy import Strategy
from strategies.validation.duplicates import Positions, positions

LaneKey = tuple[str, Timeframe]
Column: TypeAlias = FloatArray | BoolArray

LOOKBACK: Final = 400
"""Bars before the window on which signals may look back; a strategy that needs more makes the panel read more."""
DEPTH: Final[dict[Timeframe, int]] = {
    "1m": 1_500,
    "5m": 1_000,
    "15m": 1_000,
    "60m": 750,
    "4h": 600,
    "1d": 400,
}
"""Bars before those on which features are warmed up: more than any feature of the standard set needs. One that needs
more gets it, and the others still get this: a value never depends on the other features."""
CACHE_BYTES: Final = 768 * 1024 * 1024
"""Bound on the features kept; the longest unused go first."""

ROWS_AT_ONCE: Final = 200_000
"""Bars of one computation of features: its memory does not grow with the number of symbols."""


@dataclass(frozen=True, eq=False)
class PanelRun:
    """One evaluation.

    Parameters
    ----------
    name, version : str
        What was evaluated; version is '' where it has none.
    timeframes : tuple of Timeframe
        Those that were scored.
    pooled : PooledResult
        The scored lanes together, as `backtester.evaluate` pools them, without the favourable replay (`worst_pnl_pct`
        and `best_pnl_pct` are `total_pnl_pct`) and without the one with the declared size and leverage.
    lane_trades : dict of (symbol, timeframe) to int
        Trades of every lane run, scored or not.
    held_hours : float
        Mean length of a trade of the scored lanes, hours; 0 without trades.
    long_share : float, optional
        Share of entry signals of the scored lanes that are long; null without any.
    gross_se : float, optional
        Standard error of the Sharpe ratio of one hour without fees and slippage; null unless requested, or
        without variance.
    episodes : ndarray of shape (n_episodes,), optional
        Results of the independent episodes of the scored lanes' trades; null unless requested.
    """

    name: str
    version: str
    timeframes: tuple[Timeframe, ...]
    pooled: PooledResult
    lane_trades: Mapping[LaneKey, int]
    held_hours: float
    long_share: float | None
    gross_se: float | None = None
    episodes: FloatArray | None = None

    @property
    def score(self) -> float | None:
        """The pooled score; null without trades or variance."""
        return self.pooled.score

    @property
    def trades(self) -> int:
        """Trades of the scored lanes."""
        return self.pooled.trades

    @property
    def sharpe(self) -> float | None:
        """Sharpe ratio of hourly pooled returns, annualised; null without variance."""
        return self.pooled.sharpe

    @property
    def returns(self) -> FloatArray:
        """Hourly pooled returns, shape (n_hours - 1,) for a window that starts at a full hour."""
        return self.pooled.returns


@dataclass(frozen=True, eq=False)
class LaneRows:
    """The bars of one lane, and which rows of its columns lie in the window.

    Parameters
    ----------
    bars : Bars
        The window alone, for the kernel.
    lead : int
        The lane's sound bars before the window.
    place : ndarray of shape (n_sound_in_window,), optional
        Their rows in `bars`; null where every bar of the lane is sound.
    """

    bars: Bars
    lead: int
    place: npt.NDArray[np.int64] | None

    def inside(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the window's part of a column over the lane's sound bars; zero, or NaN, on other bars.

        Parameters
        ----------
        column : ndarray of shape (n_sound_bars,)
            Look-back included.

        Returns
        -------
        ndarray of shape (n_bars,)
            A row for each bar of the window.
        """
        within = column[self.lead :]
        if self.place is None:
            return within
        whole = np.zeros(len(self.bars), dtype=column.dtype)
        if column.dtype == np.float64:
            whole[:] = np.nan
        whole[self.place] = within
        return whole


class Panel:
    """The market of one window, ready for any number of strategies.

    Parameters
    ----------
    market : Market
        Candles with look-back, and bars, of every lane; frames need no feature.
    history : History
        Where features are computed from.
    costs : Costs
        Default costs of evaluations.
    rules : dict of str to MarginRules
        Leverage limits by symbol; the default rules where one is missing.
    cache_bytes : int
        Bound on the features kept.
    """

    def __init__(
        self,
        market: Market,
        history: "History",
        *,
        costs: Costs | None = None,
        rules: Mapping[str, MarginRules] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.market = market
        self.costs = costs or Costs()
        self.rules = dict(rules or {})
        self._history = history
        self._lock = RLock()
        self._cache = _Bounded(cache_bytes)
        self._set_market(market)

    @classmethod
    def read(
        cls,
        manager: FeatureManager,
        symbols: Sequence[str],
        window: Window,
        *,
        timeframes: Sequence[Timeframe] | None = None,
        costs: Costs | None = None,
        rules: Mapping[str, MarginRules] | None = None,
        lookback: int = LOOKBACK,
        cache_bytes: int = CACHE_BYTES,
    ) -> "Panel":
        """Read the candles and funding of a window, with what features need before it.

        Parameters
        ----------
        manager : FeatureManager
            Where candles come from, as of the window's end or later; nothing after the window's end is read.
        symbols : sequence of str
            Every strategy runs on all of them.
        window : Window
            Search window or holdout.
        timeframes : sequence of Timeframe, optional
            Lanes to run: every symbol on each of them. By default the usual three, and any other that a strategy trades
            on, read with the first such strategy.
        costs, rules, cache_bytes
            See the class.
        lookback : int
            Bars before the window that signals may look back to.

        Returns
        -------
        Panel
            With an empty cache.

        Raises
        ------
        LookupError
            If a symbol is unknown.
        ValueError
            If the window ends after the manager's as-of, or has no closed bar on any lane.
        """
        usual = tuple(timeframes or DEFAULT_TIMEFRAMES)
        history = History(manager, tuple(symbols), window, usual, lookback, fixed=timeframes is not None)
        return cls(history.market(), history, costs=costs, rules=rules, cache_bytes=cache_bytes)

    @property
    def window(self) -> Window:
        """The window, half open."""
        return Window(self.market.start, self.market.end)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, as given."""
        return self._history.symbols

    @property
    def lanes(self) -> Mapping[LaneKey, LaneRows]:
        """Lanes in order: by timeframe, then symbol."""
        return self._lanes

    @property
    def cached_bytes(self) -> int:
        """Memory of the features kept."""
        return self._cache.size

    def lanes_of(self, symbols: Iterable[str] = (), timeframes: Iterable[Timeframe] = ()) -> list[LaneKey]:
        """Return the lanes of some symbols and timeframes, all where none is named."""
        wanted, on = set(symbols), set(timeframes)
        return [key for key in self._lanes if (not wanted or key[0] in wanted) and (not on or key[1] in on)]

    def columns(self, names: Iterable[str], keys: Iterable[LaneKey]) -> dict[LaneKey, dict[str, Column]]:
        """Return features or candle columns over the sound bars of some lanes.

        What is not in the cache is computed once, all names and lanes together, and for no lane that is not asked for:
        most of a search looks at one symbol, or at long bars alone.

        Parameters
        ----------
        names : iterable of str
            Features such as `rsi_14` or `60m:returns`, or candle columns such as `close`.
        keys : iterable of (str, Timeframe)
            Lanes of the panel.

        Returns
        -------
        dict of (str, Timeframe) to dict of str to ndarray of shape (n_sound_bars,)
            By lane and name, look-back included. Bool for a feature that is a truth value with false for null, else
            float64 with NaN for null. Not to be written to.
        """
        wanted, lanes = list(dict.fromkeys(names)), list(keys)
        arrays = self._arrays([(name, key) for key in lanes for name in wanted])
        return {key: {name: arrays[name, key] for name in wanted} for key in lanes}

    def prefetch(self, wanted: Iterable[tuple[str, LaneKey]]) -> None:
        """Compute columns that `columns` will be asked for, by name and lane: many at once are faster."""
        self._arrays(wanted)

    def run(self, strategy: StrategyLike, *, costs: Costs | None = None, evidence: bool = False) -> PanelRun:
        """Evaluate a strategy: run its lanes (`packed`), and score those of its declared timeframes.

        Parameters
        ----------
        strategy : StrategyLike
            Usually a `strategies.Strategy`.
        costs : Costs, optional
            Instead of the panel's.
        evidence : bool
            Whether to compute `episodes`, and in a second run without fees and slippage `gross_se`.

        Returns
        -------
        PanelRun
            Pooled results of the scored lanes.

        Raises
        ------
        ValueError
            If it declares none of the panel's timeframes, or its signals do not fit their bars.
        """
        return self.run_lanes(strategy, self.packed(strategy, costs), evidence=evidence)

    def packed(self, strategy: StrategyLike, costs: Costs | None = None) -> list[Lane]:
        """Return the unit replay of a strategy's signals on its lanes (`backtester.evaluation.evaluate.unit_lanes`).

        These are the panel's lanes of `run_timeframes`. The score is computed from the unit replay. The declared size
        and leverage are run on the holdout alone.
        """
        self._reach(strategy)
        wanted = run_timeframes(strategy)
        own = {key: lane for key, lane in self._lanes.items() if key[1] in wanted}
        paid, default = costs or self.costs, MarginRules()
        signals = self._of_language(strategy, own) if isinstance(strategy, Strategy) else self._of_frames(strategy, own)
        lanes = [Lane(lane.bars, signals[key], paid, self.rules.get(key[0], default)) for key, lane in own.items()]
        return unit_lanes(lanes, self.market, largest_notional(lanes, strategy.timeframes))

    def warm(self, strategies: Iterable[Strategy]) -> None:
        """Compute what some strategies read on their lanes: many features at once are faster."""
        wanted: dict[tuple[str, LaneKey], None] = {}
        for strategy in strategies:
            self._reach(strategy)
            for key in self.lanes_of(timeframes=run_timeframes(strategy)):
                wanted.update(dict.fromkeys((name, key) for name in strategy.reads))
        self._read_columns(wanted)

    def _of_language(self, strategy: Strategy, lanes: Mapping[LaneKey, LaneRows]) -> dict[LaneKey, Signals]:
        """Return the signals of a strategy in the language: its arrays need no frame, which saves most of the work."""
        read = self._read_columns([(name, key) for key in lanes for name in strategy.reads])
        signals = {}
        for key, lane in lanes.items():
            columns = {name: read[name, key] for name in strategy.reads}
            first = next(iter(columns.values()))
            rows = len(first.yes if isinstance(first, Truth) else first)
            fires, levels = strategy.on_columns(columns, rows)
            bits = np.zeros(rows, dtype=np.uint8)
            for name, fired in fires.items():
                bits |= fired.view(np.uint8) * np.uint8(SIGNAL_COLUMNS[name])
            inside = {name: level if isinstance(level, float) else lane.inside(level) for name, level in levels.items()}
            rules = self.rules.get(key[0], MarginRules())
            signals[key] = Signals.from_arrays(lane.inside(bits), lane.bars, rules, **inside)
        return signals

    def _of_frames(self, strategy: StrategyLike, lanes: Mapping[LaneKey, LaneRows]) -> dict[LaneKey, Signals]:
        """Return the signals of anything else from frames."""
        frames = self._with_features({key: strategy.features(key[1]) for key in lanes})
        signals = {}
        for key, lane in lanes.items():
            frame = strategy.signals(frames.pop(key))
            inside = frame.slice(len(frame) - len(lane.bars))
            signals[key] = Signals.from_frame(inside, lane.bars, self.rules.get(key[0], MarginRules()))
        return signals

    def run_lanes(self, strategy: StrategyLike, lanes: Sequence[Lane], *, evidence: bool = False) -> PanelRun:
        """Run lanes that are packed already.

        Parameters
        ----------
        strategy : StrategyLike
            Whose name, version and timeframes the result has.
        lanes : sequence of Lane
            As `packed` returns them.
        evidence : bool
            As for `run`.

        Returns
        -------
        PanelRun
            Pooled results of the scored lanes.
        """
        scored = self._scored(strategy, lanes)
        output = run_arrays(lanes, trades=evidence, threads=1)
        results = [output.result(index) for index in scored]
        pooled = pool(results)
        return PanelRun(
            name=strategy.name,
            version=str(getattr(strategy, "version", "")),
            timeframes=strategy.timeframes,
            pooled=pooled,
            lane_trades={
                (lane.bars.symbol, lane.bars.timeframe): int(output.sums[i, kernel.S_TRADES])
                for i, lane in enumerate(lanes)
            },
            held_hours=_held_hours(output, scored),
            long_share=_long_share([lanes[index] for index in scored]),
            gross_se=self._gross_se([lanes[index] for index in scored]) if evidence else None,
            episodes=episodes_of(trades_of(results)) if evidence else None,
        )

    def positions(self, strategy: StrategyLike, costs: Costs | None = None) -> Positions:
        """Return the position of every scored lane that traded, minute by minute, as `duplicates` does."""
        lanes = self.packed(strategy, costs)
        scored = [lanes[index] for index in self._scored(strategy, lanes)]
        output = run_arrays(scored, trades=True, threads=1)
        trades = [output.result(index).trades_frame() for index in range(len(scored))]
        return positions(pl.concat(trades), self.market.start, self.market.end)

    def _scored(self, strategy: StrategyLike, lanes: Sequence[Lane]) -> list[int]:
        scored = [index for index, lane in enumerate(lanes) if lane.bars.timeframe in strategy.timeframes]
        if not scored:
            there = ", ".join(dict.fromkeys(key[1] for key in self._lanes))
            msg = f"{strategy.name} is scored on {', '.join(strategy.timeframes)}, the panel has {there}"
            raise ValueError(msg)
        return scored

    def _gross_se(self, scored: Sequence[Lane]) -> float | None:
        free = [replace(lane, costs=Costs.free()) for lane in scored]
        curve: FloatArray = np.mean(run_arrays(free, threads=1).hourly, axis=0)
        there = np.any([lane.bars.hours_with_bars for lane in scored], axis=0)
        return sharpe_se_newey_west(hourly_returns(curve, to_micros(self.market.start))[there], LAGS)

    def _reach(self, strategy: StrategyLike) -> None:
        """Read more where a strategy looks back further than the panel reaches, or trades on another timeframe."""
        with self._lock:
            wider = self._history.reaching(int(getattr(strategy, "lookback", 0)), strategy.timeframes)
            if wider is not self._history:
                self._history = wider
                self._cache.clear()
                self._set_market(wider.market())

    def _set_market(self, market: Market) -> None:
        self.market = market
        self._frames: dict[LaneKey, pl.DataFrame] = dict(market.frames)
        self._lanes: dict[LaneKey, LaneRows] = {}
        self._sound: dict[LaneKey, npt.NDArray[np.int64] | None] = {}
        for key, bars in market.bars.items():
            flagged = self._frames[key]["flag"].is_not_null().to_numpy()
            sound = np.flatnonzero(~flagged) if flagged.any() else None
            lead = len(flagged) - len(bars)
            before = lead if sound is None else int(np.searchsorted(sound, lead))
            place = None if sound is None else np.ascontiguousarray(sound[before:] - lead)
            self._lanes[key] = LaneRows(bars, before, place)
            self._sound[key] = sound

    def _arrays(self, wanted: Iterable[tuple[str, LaneKey]]) -> dict[tuple[str, LaneKey], Column]:
        """Return columns by name and lane; what is not in the cache is computed once."""
        found: dict[tuple[str, LaneKey], Column] = {}
        missing = []
        with self._lock:
            for name, key in wanted:
                held: Column | None = self._cache.get(("array", name, *key))
                if held is None:
                    missing.append((name, key))
                else:
                    found[name, key] = held
            for (name, key), values in self._series(missing, keep=False).items():
                array = self._array(values, self._sound[key])
                self._cache.put(("array", name, *key), array)
                found[name, key] = array
        return found

    def _read_columns(self, wanted: Iterable[tuple[str, LaneKey]]) -> dict[tuple[str, LaneKey], LanguageColumn]:
        """Return columns over the sound bars as the language reads them; what is not in the cache is computed once."""
        found: dict[tuple[str, LaneKey], LanguageColumn] = {}
        missing = []
        with self._lock:
            for name, key in wanted:
                held = self._cache.get(("column", name, *key))
                if held is None:
                    missing.append((name, key))
                else:
                    found[name, key] = held
            for (name, key), values in self._series(missing, keep=False).items():
                sound = self._sound[key]
                column = column_of(values if sound is None else values.gather(sound))
                self._cache.put(("column", name, *key), column)
                found[name, key] = column
        return found

    @staticmethod
    def _array(values: pl.Series, sound: npt.NDArray[np.int64] | None) -> Column:
        """Return a lane's column as `columns` gives it."""
        truth = values.dtype == pl.Boolean
        filled = values.fill_null(value=False) if truth else values.cast(pl.Float64).fill_null(np.nan)
        array: Column = filled.to_numpy() if sound is None else filled.to_numpy()[sound]
        if not truth and np.isinf(array).any():
            array = np.where(np.isinf(array), np.nan, array)  # as the language reads it
        array = array.view()  # what a frame owns stays as it is
        array.setflags(write=False)
        return array

    def _with_features(self, wanted: Mapping[LaneKey, Sequence[str]]) -> dict[LaneKey, pl.DataFrame]:
        """Return the candles of lanes, each with some features."""
        with self._lock:
            features = [(name, key) for key, names in wanted.items() for name in names if name not in CANDLE_SCHEMA]
            series = self._series(features, keep=True)
            columns: dict[LaneKey, list[pl.Series]] = {key: [] for key in wanted}
            for (_, key), values in series.items():
                columns[key].append(values)
            return {key: self._frames[key].with_columns(columns[key]) for key in wanted}

    def _series(self, wanted: Iterable[tuple[str, LaneKey]], *, keep: bool) -> dict[tuple[str, LaneKey], pl.Series]:
        """Return candle columns or features of lanes, aligned with their frames; what is missing is computed once.

        `keep` puts it into the cache.
        """
        found: dict[tuple[str, LaneKey], pl.Series] = {}
        missing: dict[LaneKey, list[str]] = {}
        for name, key in dict.fromkeys(wanted):
            held = self._frames[key][name] if name in CANDLE_SCHEMA else self._cache.get(("series", name, *key))
            if held is None:
                missing.setdefault(key, []).append(name)
            else:
                found[name, key] = held
        for (timeframe, names), symbols in _by_names(missing).items():
            for some in self._few(timeframe, symbols):
                for (name, symbol), values in self._computed(timeframe, names, some).items():
                    key = (symbol, timeframe)
                    found[name, key] = values
                    if keep:
                        self._cache.put(("series", name, *key), values)
        return found

    def _few(self, timeframe: Timeframe, symbols: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield symbols in parts that have few enough bars for one computation."""
        longest = max(self._frames[symbol, timeframe].height for symbol in symbols)
        size = max(1, ROWS_AT_ONCE // max(longest, 1))
        for first in range(0, len(symbols), size):
            yield symbols[first : first + size]

    def _computed(
        self, timeframe: Timeframe, names: Sequence[str], symbols: Sequence[str]
    ) -> dict[tuple[str, str], pl.Series]:
        """Compute features of some symbols on one timeframe, by name and symbol; null on bars that cannot read them."""
        shortest = next(iter(self._lanes))
        there = [name for name in names if timeframe == shortest[1] or readable_on(name, timeframe)]
        computed = self._history.features(timeframe, there, symbols) if there else {}
        for name in names:
            if name not in there:  # bars that are longer than those the feature is of
                dtype = self._series([(name, shortest)], keep=True)[name, shortest].dtype
                for symbol in symbols:
                    height = self._frames[symbol, timeframe].height
                    computed[name, symbol] = pl.repeat(None, height, dtype=dtype, eager=True)
        return computed


def _by_names(missing: Mapping[LaneKey, Sequence[str]]) -> dict[tuple[Timeframe, tuple[str, ...]], list[str]]:
    """Return the symbols that lack the same features on the same timeframe."""
    groups: dict[tuple[Timeframe, tuple[str, ...]], list[str]] = {}
    for (symbol, timeframe), names in missing.items():
        groups.setdefault((timeframe, tuple(names)), []).append(symbol)
    return groups


class History:
    """Candles before and inside a window, from which features are computed.

    Parameters
    ----------
    manager : FeatureManager
        Where candles and funding come from.
    symbols, window, timeframes, lookback
        As for `Panel.read`.
    fixed : bool
        Whether the timeframes stay as they are, whatever a strategy trades on.
    """

    def __init__(
        self,
        manager: FeatureManager,
        symbols: tuple[str, ...],
        window: Window,
        timeframes: tuple[Timeframe, ...],
        lookback: int,
        *,
        fixed: bool,
    ) -> None:
        self.symbols = symbols
        self.window = window
        self.timeframes = timeframes
        self.lookback = lookback
        self._fixed = fixed
        self._manager = manager
        self._read: dict[tuple[tuple[str, ...], Timeframe, int], _Candles] = {}
        self._paid: dict[tuple[tuple[str, ...], datetime], pl.DataFrame] = {}

    def reaching(self, lookback: int, timeframes: Sequence[Timeframe]) -> "History":
        """Return this history, or where it is too short or lacks a timeframe, one that is and does not."""
        wanted = {*self.timeframes, *(() if self._fixed else timeframes)}
        if lookback <= self.lookback and wanted == set(self.timeframes):
            return self
        lengths = tuple(name for name in TIMEFRAMES if name in wanted)
        deepest = max(lookback, self.lookback)
        return History(self._manager, self.symbols, self.window, lengths, deepest, fixed=self._fixed)

    def market(self) -> Market:
        """Return candles and bars of every lane, as `backtester.evaluate` reads them; they lie in this history."""
        if self.window.end > self._manager.as_of:
            msg = f"the window ends at {self.window.end}, after the as-of {self._manager.as_of}; nothing later is read"
            raise ValueError(msg)
        return read_market(
            _Slices(self, self._manager.source),
            self.symbols,
            self.window.start,
            self.window.end,
            features=dict.fromkeys(self.timeframes, ()),
            lookback=self.lookback,
        )

    def candles(self, timeframe: Timeframe) -> "_Candles":
        """Return the candles of all symbols from where features need them, up to the window's end."""
        return self._candles(self.symbols, timeframe, 1)

    def features(
        self, timeframe: Timeframe, names: Sequence[str], symbols: Sequence[str]
    ) -> dict[tuple[str, str], pl.Series]:
        """Return features of the bars of the look-back and the window.

        A value depends neither on the other features nor on the other symbols that are computed with it.

        Parameters
        ----------
        timeframe : Timeframe
            Of the bars.
        names : sequence of str
            Features that such bars can read.
        symbols : sequence of str
            Symbols of this history.

        Returns
        -------
        dict of (str, str) to Series of shape (n_bars,)
            By name and symbol; null where the feature is.
        """
        columns: dict[tuple[str, str], pl.Series] = {}
        for factor, group in self._by_factor(timeframe, names).items():
            frame = self._compute(timeframe, group, factor, symbols)
            inside = frame.filter(pl.col("ts") >= self.window.start - self.lookback * bar_length(timeframe))
            parts = inside.select("symbol", *group).partition_by("symbol", as_dict=True, maintain_order=True)
            for symbol in symbols:
                part = parts.get((symbol,), inside.clear())
                columns |= {(name, symbol): part[name] for name in group}
        return columns

    def _by_factor(self, timeframe: Timeframe, names: Sequence[str]) -> dict[int, list[str]]:
        """Group names by the multiple of `DEPTH` that they need: nearly always 1."""
        registry = self._manager.registry
        groups: dict[int, list[str]] = {}
        for name in names:
            request = registry.request(name)
            warmups = [] if request.foreign else [(timeframe, registry.warmup(request, timeframe))]
            warmups += [(other, bars) for (_, other), bars in needs([name], timeframe, registry).candles.items()]
            factor = 1
            while any(bars > factor * DEPTH[other] for other, bars in warmups):
                factor *= 2
            groups.setdefault(factor, []).append(name)
        return groups

    def _compute(self, timeframe: Timeframe, names: Sequence[str], factor: int, symbols: Sequence[str]) -> pl.DataFrame:
        need = needs(names, timeframe, self._manager.registry)
        foreign = sorted({symbol for symbol, _ in need.candles if symbol} - set(self.symbols))
        everyone = (*self.symbols, *foreign)
        read = {symbol for symbol, _ in need.candles if symbol} | set(symbols)
        others = {other: self._candles(everyone, other, factor).of(read) for _, other in need.candles}
        every = self._candles(self.symbols, timeframe, factor)
        first = every.frame["ts"].min()
        begin = first if isinstance(first, datetime) else self.window.start
        return compute(
            every.of(symbols),
            names,
            self._funding(timeframe, factor, foreign) if need.funding else None,
            timeframe=timeframe,
            registry=self._manager.registry,
            others=others,
            predictions=self._manager.predictions(need, list(symbols), begin, self.window.end),
            positioning=self._manager.positioning(need, sorted(read), begin, self.window.end),
        )

    def _candles(self, symbols: tuple[str, ...], timeframe: Timeframe, factor: int) -> "_Candles":
        key = (symbols, timeframe, factor)
        if key not in self._read:
            first = self._first(timeframe, factor)
            self._read[key] = _Candles(self._manager.source.candles(symbols, timeframe, first, self.window.end))
        return self._read[key]

    def _first(self, timeframe: Timeframe, factor: int) -> datetime:
        return self.window.start - (factor * DEPTH[timeframe] + self.lookback) * bar_length(timeframe)

    def _funding(self, timeframe: Timeframe, factor: int, foreign: Sequence[str]) -> pl.DataFrame:
        key = (tuple(sorted({*self.symbols, *foreign})), self._first(timeframe, factor) - FUNDING_HISTORY)
        if key not in self._paid:
            self._paid[key] = self._manager.source.funding(*key, self.window.end)
        return self._paid[key]


@dataclass(frozen=True)
class _Slices:
    """Reads a market for `read_market` from a history, without a copy."""

    history: History
    source: CandleSource

    def window(
        self,
        symbols: Sequence[str],
        timeframe: Timeframe,
        feature_list: Sequence[str],  # noqa: ARG002 - a history's market has none
        start: datetime,
        end: datetime,  # noqa: ARG002 - that of the history
    ) -> pl.DataFrame:
        """See `WindowReader.window`."""
        candles = self.history.candles(timeframe)
        parts = [candles.of([symbol]) for symbol in sorted(symbols)]
        later = [part.slice(part["ts"].search_sorted(start)) for part in parts]
        return pl.concat(later, rechunk=False)


class _Candles:
    """Candles of many symbols, symbol after symbol, and where each of them lies."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame.rechunk()  # in one piece a lane's arrays are views of it
        self._places = places_by_symbol(frame)

    def of(self, symbols: Collection[str]) -> pl.DataFrame:
        """Return the candles of some symbols, in the order of the frame."""
        wanted = set(symbols)
        if wanted >= self._places.keys():
            return self.frame
        parts = [self.frame.slice(*place) for symbol, place in self._places.items() if symbol in wanted]
        return pl.concat(parts, rechunk=False) if parts else self.frame.clear()


class _Bounded:
    """Columns by (form, name, symbol, timeframe), the longest unused dropped first once they exceed the bound."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[tuple[str, str, str, Timeframe], Any] = OrderedDict()
        self.size = 0

    def get(self, key: tuple[str, str, str, Timeframe]) -> Any:
        """Return what is held, or None."""
        entry = self._held.get(key)
        if entry is not None:
            self._held.move_to_end(key)
        return entry

    def put(self, key: tuple[str, str, str, Timeframe], value: Any) -> None:
        """Keep a column, and drop the longest unused until all is within the bound."""
        self._held[key] = value
        self.size += _bytes(value)
        while self.size > self._limit and self._held:
            self.size -= _bytes(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()
        self.size = 0


def _bytes(value: Any) -> int:
    if isinstance(value, Truth):
        return value.yes.nbytes + value.no.nbytes
    return int(value.nbytes if isinstance(value, np.ndarray) else value.estimated_size())


def _held_hours(output: KernelOutput, scored: Sequence[int]) -> float:
    """Return the mean length of a trade in hours."""
    trades = sum(float(output.sums[index, kernel.S_TRADES]) for index in scored)
    held = sum(float(output.sums[index, kernel.S_HELD]) * output.lanes[index].bars.step for index in scored)
    return held / HOUR_US / trades if trades else 0.0


def _long_share(lanes: Sequence[Lane]) -> float | None:
    """Return the share of entry signals that are long."""
    both = [
        (
            np.count_nonzero(lane.signals.bits & kernel.LONG_ENTRY),
            np.count_nonzero(lane.signals.bits & kernel.SHORT_ENTRY),
        )
        for lane in lanes
    ]
    long, short = sum(count[0] for count in both), sum(count[1] for count in both)
    return long / (long + short) if long + short else None
