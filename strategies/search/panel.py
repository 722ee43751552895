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

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import RLock
from typing import Any, Final

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
    Timeframe,
    bar_length,
    readable_on,
)
from features.engine import compute, needs
from features.feature_manager import FUNDING_HISTORY, FeatureManager
from strategies.language.strategy import Strategy
from strategies.language.values import Value
from strategies.validation.duplicates import Positions, positions

_BITS: Final = pl.sum_horizontal(pl.col(name).cast(pl.UInt8) * bit for name, bit in SIGNAL_COLUMNS.items())
LaneKey = tuple[str, Timeframe]

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
    """Where the rows of one lane lie in the panel's stacked columns.

    Parameters
    ----------
    bars : Bars
        The window alone, for the kernel.
    rows : slice
        The lane's sound bars, look-back included.
    lead : int
        Those of them before the window.
    place : ndarray of shape (n_sound_in_window,), optional
        Their rows in `bars`; null where every bar of the lane is sound.
    """

    bars: Bars
    rows: slice
    lead: int
    place: npt.NDArray[np.int64] | None


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
        self._columns = _Bounded(cache_bytes)
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
    def rows(self) -> int:
        """Length of a stacked column: the sound bars of all lanes, look-back included."""
        return self._rows

    @property
    def cached_bytes(self) -> int:
        """Memory of the features kept."""
        return self._columns.size

    def lanes_of(self, symbols: Iterable[str] = (), timeframes: Iterable[Timeframe] = ()) -> list[LaneKey]:
        """Return the lanes of some symbols and timeframes, all where none is named."""
        wanted, on = set(symbols), set(timeframes)
        return [key for key in self._lanes if (not wanted or key[0] in wanted) and (not on or key[1] in on)]

    def require(self, names: Iterable[str]) -> None:
        """Compute features that will be read, many at once: faster than one by one."""
        with self._lock:
            wanted = {name for name in names if name not in CANDLE_SCHEMA}
            missing = sorted(name for name in wanted if self._columns.get("series", name) is None)
            if missing:
                for name, columns in self._computed(missing).items():
                    self._columns.put("series", name, columns)

    def column(self, name: str) -> FloatArray | BoolArray:
        """Return a feature or candle column over the sound bars of all lanes.

        Parameters
        ----------
        name : str
            A feature such as `rsi_14` or `60m:returns`, or a candle column such as `close`.

        Returns
        -------
        ndarray of shape (rows,)
            Bool for a feature that is a truth value with false for null, else float64 with NaN for null. Not to be
            written to.
        """
        with self._lock:
            held: FloatArray | BoolArray | None = self._columns.get("array", name)
            if held is None:
                held = self._stacked(name)
                self._columns.put("array", name, held)
        return held

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
        self.require({name for key in own for name in strategy.features(key[1])})
        paid, default = costs or self.costs, MarginRules()
        lanes = []
        for key, lane in own.items():
            frame = strategy.signals(self._frame(key, strategy.features(key[1])))
            inside = frame.slice(len(frame) - len(lane.bars))
            rules = self.rules.get(key[0], default)
            signals = _signals(strategy, inside, lane.bars, rules)
            lanes.append(Lane(lane.bars, signals, paid, rules))
        return unit_lanes(lanes, self.market, largest_notional(lanes, strategy.timeframes))

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
                self._columns.clear()
                self._set_market(wider.market())

    def _set_market(self, market: Market) -> None:
        self.market = market
        self._frames: dict[LaneKey, pl.DataFrame] = dict(market.frames)
        self._lanes: dict[LaneKey, LaneRows] = {}
        self._sound: dict[LaneKey, npt.NDArray[np.int64] | None] = {}
        begin = 0
        for key, bars in market.bars.items():
            flagged = self._frames[key]["flag"].is_not_null().to_numpy()
            sound = np.flatnonzero(~flagged) if flagged.any() else None
            lead = len(flagged) - len(bars)
            count = len(flagged) if sound is None else len(sound)
            before = lead if sound is None else int(np.searchsorted(sound, lead))
            place = None if sound is None else np.ascontiguousarray(sound[before:] - lead)
            self._lanes[key] = LaneRows(bars, slice(begin, begin + count), before, place)
            self._sound[key] = sound
            begin += count
        self._rows = begin

    def _stacked(self, name: str) -> FloatArray | BoolArray:
        """Build a column of `column`."""
        parts = [self._series(name, key) for key in self._lanes]
        truth = parts[0].dtype == pl.Boolean
        arrays = []
        for key, part in zip(self._lanes, parts, strict=True):
            filled = part.fill_null(value=False) if truth else part.cast(pl.Float64).fill_null(np.nan)
            values, sound = filled.to_numpy(), self._sound[key]
            arrays.append(values if sound is None else values[sound])
        stacked: FloatArray | BoolArray = np.concatenate(arrays)
        if not truth:
            stacked[np.isinf(stacked)] = np.nan  # as the language reads it
        stacked.setflags(write=False)
        return stacked

    def _frame(self, key: LaneKey, names: Sequence[str]) -> pl.DataFrame:
        """Return the candles of a lane with some features."""
        with self._lock:
            self.require(names)
            columns = [self._series(name, key) for name in names if name not in CANDLE_SCHEMA]
            return self._frames[key].with_columns(columns)

    def _series(self, name: str, key: LaneKey) -> pl.Series:
        """Return one lane's candle column or feature."""
        if name in CANDLE_SCHEMA:
            return self._frames[key][name]
        held = self._columns.get("series", name)
        columns: dict[LaneKey, pl.Series] = self._computed([name])[name] if held is None else held
        if key not in columns:  # bars that are longer than those the feature is of
            return pl.repeat(None, self._frames[key].height, dtype=next(iter(columns.values())).dtype, eager=True)
        return columns[key]

    def _computed(self, names: Sequence[str]) -> dict[str, dict[LaneKey, pl.Series]]:
        """Compute features on every timeframe of the panel that can read them; by lane, aligned with its frame."""
        computed: dict[str, dict[LaneKey, pl.Series]] = {name: {} for name in names}
        lengths = list(dict.fromkeys(key[1] for key in self._lanes))
        for timeframe in lengths:
            there = [name for name in names if timeframe == lengths[0] or readable_on(name, timeframe)]
            for name, by_symbol in self._history.features(timeframe, there).items():
                for symbol, column in by_symbol.items():
                    computed[name][symbol, timeframe] = column
        return computed


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
        self._read: dict[tuple[tuple[str, ...], Timeframe, int], pl.DataFrame] = {}

    def reaching(self, lookback: int, timeframes: Sequence[Timeframe]) -> "History":
        """Return this history, or where it is too short or lacks a timeframe, one that is and does not."""
        wanted = {*self.timeframes, *(() if self._fixed else timeframes)}
        if lookback <= self.lookback and wanted == set(self.timeframes):
            return self
        lengths = tuple(name for name in TIMEFRAMES if name in wanted)
        deepest = max(lookback, self.lookback)
        return History(self._manager, self.symbols, self.window, lengths, deepest, fixed=self._fixed)

    def market(self) -> Market:
        """Return candles and bars of every lane, as `backtester.evaluate` reads them."""
        return read_market(
            self._manager,
            self.symbols,
            self.window.start,
            self.window.end,
            features=dict.fromkeys(self.timeframes, ()),
            lookback=self.lookback,
        )

    def features(self, timeframe: Timeframe, names: Sequence[str]) -> dict[str, dict[str, pl.Series]]:
        """Return features of the bars of the look-back and the window, by name and symbol."""
        columns: dict[str, dict[str, pl.Series]] = {}
        for factor, group in self._by_factor(timeframe, names).items():
            frame = self._compute(timeframe, group, factor)
            inside = frame.filter(pl.col("ts") >= self.window.start - self.lookback * bar_length(timeframe))
            parts = inside.select("symbol", *group).partition_by("symbol", as_dict=True, maintain_order=True)
            for name in group:
                columns[name] = {symbol: parts.get((symbol,), inside.clear())[name] for symbol in self.symbols}
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

    def _compute(self, timeframe: Timeframe, names: Sequence[str], factor: int) -> pl.DataFrame:
        need = needs(names, timeframe, self._manager.registry)
        foreign = sorted({symbol for symbol, _ in need.candles if symbol} - set(self.symbols))
        others = {other: self._candles((*self.symbols, *foreign), other, factor) for _, other in need.candles}
        own = self._candles(self.symbols, timeframe, factor)
        first = own["ts"].min()
        begin = first if isinstance(first, datetime) else self.window.start
        return compute(
            own,
            names,
            self._funding(timeframe, factor, foreign) if need.funding else None,
            timeframe=timeframe,
            registry=self._manager.registry,
            others=others,
            predictions=self._manager.predictions(need, self.symbols, begin, self.window.end),
            positioning=self._manager.positioning(need, sorted({*self.symbols, *foreign}), begin, self.window.end),
        )

    def _candles(self, symbols: tuple[str, ...], timeframe: Timeframe, factor: int) -> pl.DataFrame:
        key = (symbols, timeframe, factor)
        if key not in self._read:
            first = self._first(timeframe, factor)
            self._read[key] = self._manager.source.candles(symbols, timeframe, first, self.window.end)
        return self._read[key]

    def _first(self, timeframe: Timeframe, factor: int) -> datetime:
        return self.window.start - (factor * DEPTH[timeframe] + self.lookback) * bar_length(timeframe)

    def _funding(self, timeframe: Timeframe, factor: int, foreign: Sequence[str]) -> pl.DataFrame:
        first = self._first(timeframe, factor) - FUNDING_HISTORY
        return self._manager.source.funding(sorted({*self.symbols, *foreign}), first, self.window.end)


class _Bounded:
    """Columns by name, the longest unused dropped first once they take more than the bound."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self.size = 0

    def get(self, kind: str, name: str) -> Any:
        """Return what is held, or None."""
        entry = self._held.get((kind, name))
        if entry is not None:
            self._held.move_to_end((kind, name))
        return entry

    def put(self, kind: str, name: str, value: Any) -> None:
        """Keep a column, and drop the longest unused until all is within the bound."""
        self._held[kind, name] = value
        self.size += _bytes(value)
        while self.size > self._limit and self._held:
            self.size -= _bytes(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()
        self.size = 0


def _bytes(value: Any) -> int:
    return int(value.nbytes) if isinstance(value, np.ndarray) else sum(part.estimated_size() for part in value.values())


def _signals(strategy: StrategyLike, frame: pl.DataFrame, bars: Bars, rules: MarginRules) -> Signals:
    """Check signals; those of a strategy in the language are complete and in order, which saves most of the work."""
    if not isinstance(strategy, Strategy):
        return Signals.from_frame(frame, bars, rules)
    levels: dict[str, float | FloatArray] = {}
    for name, level in strategy.signal.levels().items():
        if isinstance(level, Value):
            levels[name] = frame[name].to_numpy()  # null becomes NaN
        else:
            levels[name] = math.floor(level) if name == "time_stop" else level
    return Signals.from_arrays(frame.select_seq(_BITS).to_series().to_numpy(), bars, rules, **levels)


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
