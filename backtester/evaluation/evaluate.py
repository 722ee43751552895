"""From strategies or models to results: read once, run every lane, pool.

Belongs here: what a thing must offer to be backtested (`StrategyLike`), the market data of a window shared by
everything that is evaluated on it, and `evaluate`. Does not belong here: choosing windows
(`backtester.statistics.windows`), storing or ranking results.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl

from backtester.evaluation.pooling import PooledResult, pool
from backtester.simulation.bar_arrays import Bars, Minutes, to_micros
from backtester.simulation.costs import Costs, MarginRules
from backtester.simulation.lanes import DEFAULT_CAPITAL, TRADE_SCHEMA, Lane, LaneResult, run_lanes, trades_of
from backtester.simulation.mark_prices import MarkPrices
from backtester.simulation.signals import Signals
from features.bars import (
    CANDLE_SCHEMA,
    DEFAULT_TIMEFRAMES,
    HOUR_US,
    MINUTES,
    TIMEFRAMES,
    TS,
    CandleSource,
    Timeframe,
    bar_length,
    places_by_symbol,
    readable_on,
)
from features.steps import FACTOR, Step, unexplained_steps

_LOG: Final = logging.getLogger(__name__)

DEFAULT_LOOKBACK: Final = 100
"""Bars before the window given to `signals` of a strategy that declares no look-back."""


@runtime_checkable
class StrategyLike(Protocol):
    """What can be backtested: every strategy, model and ensemble.

    Optional attributes: `version` (str) and `parameters` (dict of str to float), stored beside the results, and
    `lookback` (int, bars before the first signal that `signals` needs in its frame; 100 where it is absent).
    """

    @property
    def name(self) -> str:
        """Unique name."""
        ...

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes that it is scored on."""
        ...

    def features(self, timeframe: Timeframe) -> Sequence[str]:
        """Return the names of the features that `signals` reads."""
        ...

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a signal frame (`backtester.simulation.signals`) with the rows of `frame`.

        `frame` has the candle columns and the features of one symbol and timeframe, sorted by `ts`; row t may depend
        only on rows up to t.
        """
        ...


class WindowReader(Protocol):
    """The part of `features.FeatureManager` that is needed here."""

    def window(
        self,
        symbols: Sequence[str],
        timeframe: Timeframe,
        feature_list: Sequence[str],
        start: datetime,
        end: datetime,
    ) -> pl.DataFrame:
        """Return candles with features.

        Parameters
        ----------
        symbols : sequence of str
            Which instruments.
        timeframe : Timeframe
            Length of the bars.
        feature_list : sequence of str
            Names of features.
        start, end : datetime
            Bars that open at `start` or later and have closed by `end`, both UTC.

        Returns
        -------
        DataFrame
            `CANDLE_SCHEMA` and one column a feature, sorted by (symbol, ts).
        """
        ...


@dataclass(frozen=True, eq=False)
class Market:
    """Candles with features, and bars, of every lane of a window; read once, used by everything evaluated on it.

    Parameters
    ----------
    frames : dict of (symbol, timeframe) to DataFrame
        Candles and features, look-back bars before the window included.
    bars : dict of (symbol, timeframe) to Bars
        The window alone.
    start, end : datetime
        The window; the start is that of what is there, see `read_market`.
    marks : MarkPrices, optional
        Mark prices of the window; without them, positions are liquidated by last prices.
    """

    frames: Mapping[tuple[str, Timeframe], pl.DataFrame]
    bars: Mapping[tuple[str, Timeframe], Bars]
    start: datetime
    end: datetime
    marks: MarkPrices | None = field(default=None, repr=False)

    def bars_for(self, signals: Signals, bars: Bars) -> Bars:
        """Return the bars of a lane, with mark prices where its positions can be liquidated: only there they matter."""
        return bars if self.marks is None or not signals.liquidatable else self.marks.on(bars)

    @property
    def keys(self) -> list[tuple[str, Timeframe]]:
        """Lanes in order: by timeframe, then symbol."""
        return list(self.bars)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One strategy, model or ensemble over one window.

    Parameters
    ----------
    name, version : str
        What was evaluated; version is '' where it has none.
    timeframes : tuple of Timeframe
        Those that were scored.
    lanes : list of LaneResult
        Every lane that was run, `scored` or not.
    pooled : PooledResult, optional
        The scored lanes together; null where `error` is set.
    trades : DataFrame
        `backtester.simulation.lanes.TRADE_SCHEMA` of every lane run, those of the unit replay; empty unless trades were
        kept.
    equity : DataFrame
        Pooled capital and PnL at full hours, not compounded, as `PooledResult.equity_frame` gives it.
    costs : Costs
        What was charged.
    packed : list of Lane
        The unit replay that was run, in the order of `lanes`, for replays under other costs or shifted signals.
    largest : float
        The size * leverage that counts as 1 in it.
    parameters : dict of str to float
        Those that the strategy has; empty where it has none, and of models and ensembles.
    error : str
        Why it could not be evaluated; '' where it could.
    """

    name: str
    version: str
    timeframes: tuple[Timeframe, ...]
    lanes: list[LaneResult]
    pooled: PooledResult | None
    trades: pl.DataFrame
    equity: pl.DataFrame
    costs: Costs
    parameters: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    packed: list[Lane] = field(default_factory=list, repr=False)
    largest: float = 1.0

    @property
    def scored(self) -> list[LaneResult]:
        """The lanes behind `pooled`."""
        return [lane for lane in self.lanes if lane.scored]

    @property
    def scored_trades(self) -> pl.DataFrame:
        """Those of `trades` that are of the scored lanes."""
        return self.trades.filter(pl.col("timeframe").is_in(self.timeframes))

    @property
    def declared_trades(self) -> pl.DataFrame:
        """The trades with the declared size and leverage (`TRADE_SCHEMA`) of every lane run; empty unless kept."""
        declared = [lane.declared for lane in self.lanes if lane.declared is not None]
        return trades_of([lane for lane in declared if lane.trade_rows is not None])


def read_market(
    manager: WindowReader,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    features: Mapping[Timeframe, Iterable[str]],
    lookback: int = DEFAULT_LOOKBACK,
    source: CandleSource | None = None,
    funding: pl.DataFrame | None = None,
) -> Market:
    """Read everything that the lanes of a window need, once.

    If the window begins before the first bar of any lane, it is moved to the hour of that bar: a time without bars has
    no return, which is not the same as a return of zero.

    Parameters
    ----------
    manager : FeatureManager
        Where candles and features come from.
    symbols : sequence of str
        Symbols; an unknown one raises `LookupError` there.
    start, end : datetime
        The window; both UTC.
    features : dict of Timeframe to names
        Feature names for each timeframe to run.
    lookback : int
        Bars before `start` that signals may look back to.
    source : CandleSource, optional
        Where funding and mark prices come from; by default the manager's own `source`.
    funding : DataFrame, optional
        Funding itself (`FUNDING_SCHEMA`), instead of a source.

    Returns
    -------
    Market
        Frames and bars of every lane that can be traded.

    Notes
    -----
    A symbol without a bar in the window has no lanes, nor has a symbol on bars that are shorter than all that there are
    of it. Nor has a symbol with an unexplained price step (`features.steps`) in the window or its look-back, unless the
    source lists it in `real_steps`.

    Raises
    ------
    ValueError
        If the window is empty, or has no closed bar on any lane.
    """
    if start >= end:
        msg = f"the window {start} to {end} is empty; give a start before its end"
        raise ValueError(msg)
    paid = _funding(manager, symbols, end, source, funding)
    frames: dict[tuple[str, Timeframe], pl.DataFrame] = {}
    origin = source or getattr(manager, "source", None)
    for timeframe in sorted(features, key=bar_length):
        lead = start - lookback * bar_length(timeframe)
        whole = manager.window(list(symbols), timeframe, sorted(set(features[timeframe])), lead, end)
        places = places_by_symbol(whole)
        frames |= {(symbol, timeframe): whole.slice(*places.get(symbol, (0, 0))) for symbol in symbols}
    # without features, which are large where there are many symbols; slices are parts of the same memory
    inside = {
        key: frame.select(name for name in CANDLE_SCHEMA if name in frame.columns).slice(
            frame["ts"].search_sorted(start)
        )
        for key, frame in frames.items()
    }
    first = min((frame["ts"][0] for frame in inside.values() if frame.height), default=None)
    if first is None:
        msg = f"no bars for {', '.join(symbols)} from {start} to {end}; choose a window inside the stored candles"
        raise ValueError(msg)
    begin = max(start, first.replace(minute=0, second=0, microsecond=0))
    minutes = _finest(origin, inside, start, end)
    bars = {}
    for (symbol, timeframe), frame in inside.items():
        own = paid.filter(pl.col("symbol") == symbol)
        lane_bars = Bars.from_frame(frame, timeframe, funding=own, start=begin, end=end, symbol=symbol)
        bars[symbol, timeframe] = replace(lane_bars, minutes=minutes.get(symbol))
    bars = _as_fine_as_there_are(bars, minutes)
    traded = {
        symbol for (symbol, _), lane_bars in bars.items() if len(lane_bars)
    }  # others ended before, or began after it
    shortest = min(features, key=bar_length)
    stepped = _unexplained(frames, shortest, minutes, getattr(origin, "real_steps", frozenset()))
    if stepped:
        steps = "; ".join(str(step) for step in stepped)
        _LOG.warning("excluded until blofin step says whether the price step is real: %s", steps)
        traded -= {step.symbol for step in stepped}
        if not traded:
            msg = (
                f"every symbol from {start} to {end} has an unexplained price step: {steps}; confirm it with blofin "
                "step, or pass FrameSource the real_steps or candles of one unit"
            )
            raise ValueError(msg)
    bars = {key: lane_bars for key, lane_bars in bars.items() if key[0] in traded}
    frames = {key: frame for key, frame in frames.items() if key in bars}
    return Market(frames, bars, begin, end, MarkPrices(origin, tuple(symbols), begin, end))


def run_timeframes(strategy: StrategyLike) -> tuple[Timeframe, ...]:
    """Return the timeframes on which a strategy is run, from the shortest.

    These are its own, on which it is scored, and of the usual three those whose bars can read its features; results on
    them stand beside the score.
    """
    names = strategy.features(strategy.timeframes[0])
    usual = [name for name in DEFAULT_TIMEFRAMES if all(readable_on(read, name) for read in names)]
    return tuple(name for name in TIMEFRAMES if name in strategy.timeframes or name in usual)


def pack(
    strategy: StrategyLike,
    market: Market,
    costs: Costs,
    rules: Mapping[str, MarginRules] | None = None,
    timeframes: Sequence[Timeframe] | None = None,
) -> list[Lane]:
    """Compute and check a strategy's signals on every lane.

    Parameters
    ----------
    strategy : StrategyLike
        What is backtested.
    market : Market
        Frames and bars of the window.
    costs : Costs
        Charged on every lane.
    rules : dict of str to MarginRules, optional
        Leverage limits by symbol.
    timeframes : sequence of Timeframe, optional
        Timeframes to run; by default all of the market.

    Returns
    -------
    list of Lane
        In the order of `market.bars`, with the declared size and leverage.

    Raises
    ------
    ValueError
        If the strategy declares none of the timeframes.
    SignalError
        If a signal frame does not fit its bars.
    """
    wanted = {key[1] for key in market.bars} if timeframes is None else set(timeframes)
    if not set(strategy.timeframes) & wanted:
        msg = f"{strategy.name} is scored on {', '.join(strategy.timeframes)}, none of {', '.join(sorted(wanted))}"
        raise ValueError(msg)
    there = {key[1] for key in market.bars}
    if not set(strategy.timeframes) & there:
        own, others = ", ".join(strategy.timeframes), ", ".join(name for name in TIMEFRAMES if name in there)
        msg = f"{strategy.name} is scored on {own}, of which the market has no bars: it has {others}"
        raise ValueError(msg)
    default = MarginRules()
    lanes = []
    for key, bars in market.bars.items():
        if key[1] in wanted:
            allowed = (rules or {}).get(key[0], default)
            signals = Signals.from_frame(signal_frame(strategy, market, key), bars, allowed)
            lanes.append(Lane(market.bars_for(signals, bars), signals, costs, allowed))
    return lanes


def largest_notional(lanes: Sequence[Lane], timeframes: Sequence[Timeframe]) -> float:
    """Return the largest notional of any entry, as a multiple of equity (size * leverage); 1 without entries.

    Parameters
    ----------
    lanes : sequence of Lane
        As `pack` returns them.
    timeframes : sequence of Timeframe
        The strategy's own; lanes of other timeframes are not scored and do not count.
    """
    notionals = (lane.signals.largest(lane.bars) for lane in lanes if lane.bars.timeframe in timeframes)
    return max(notionals, default=0.0) or 1.0


def unit_lanes(lanes: Sequence[Lane], market: Market, largest: float) -> list[Lane]:
    """Return the unit replay of some lanes: leverage 1, sizes relative to the largest, PnL over fixed capital.

    The notional of an entry is its size * leverage. Only the ratio to the largest notional counts, so sizing by
    volatility changes the result, and multiplying all sizes or leverages by a constant does not, bit for bit.

    Parameters
    ----------
    lanes : sequence of Lane
        As `pack` returns them.
    market : Market
        Where their bars come from; mark prices are added where a position could be liquidated without leverage.
    largest : float
        The size * leverage that counts as 1; see `largest_notional`.

    Returns
    -------
    list of Lane
        In the order of `lanes`.
    """
    unit = []
    for lane in lanes:
        signals = lane.signals.relative(largest)
        bars = market.bars_for(signals, market.bars[lane.bars.symbol, lane.bars.timeframe])
        unit.append(replace(lane, bars=bars, signals=signals, fixed=True))
    return unit


def signal_frame(strategy: StrategyLike, market: Market, key: tuple[str, Timeframe]) -> pl.DataFrame:
    """Return a strategy's signals on one lane, for the window only.

    Parameters
    ----------
    strategy : StrategyLike
        What is backtested.
    market : Market
        Frames and bars of the window.
    key : tuple of (str, Timeframe)
        Symbol and timeframe of the lane.

    Returns
    -------
    DataFrame
        `SIGNAL_COLUMNS` and `PARAMETER_COLUMNS` of `backtester.simulation.signals`, a row for each bar of the window.
    """
    frame = market.frames[key]
    signals = strategy.signals(frame)
    if "ts" in signals.columns and len(signals) == len(frame):
        return signals.tail(len(market.bars[key]))  # the bars before the window come first; times are compared later
    return signals


def evaluate(
    strategies: Sequence[StrategyLike],
    manager: WindowReader,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    costs: Costs | None = None,
    *,
    timeframes: Sequence[Timeframe] | None = None,
    rules: Mapping[str, MarginRules] | None = None,
    source: CandleSource | None = None,
    funding: pl.DataFrame | None = None,
    market: Market | None = None,
    trades: bool = True,
    equity: bool = False,
    replays: bool = True,
    capital: float = DEFAULT_CAPITAL,
    rounded: bool = False,
    largest: float | None = None,
    on_error: Literal["raise", "report"] = "raise",
    fatal: tuple[type[Exception], ...] = (OSError,),
    threads: int | None = None,
) -> list[Evaluation]:
    """Backtest strategies over one window on all their lanes, in one parallel call.

    Each strategy is replayed twice. Results, trades and score come from the unit replay (`unit_lanes`); the replay
    with the declared size and leverage is stored beside it (`LaneResult.declared`).

    Parameters
    ----------
    strategies : sequence of StrategyLike
        Strategies, models or ensembles.
    manager : FeatureManager
        Where candles and features come from, as of `end` or later.
    symbols : sequence of str
        Every strategy runs on all of them.
    start, end : datetime
        The window. It starts flat; the first signal read is that of its first bar, the last fill is inside it.
    costs : Costs, optional
        By default a taker fee of 0.06 % and 2 basis points of slippage a side.
    timeframes : sequence of Timeframe, optional
        Timeframes to run; by default the usual three and those that the strategy declares (`run_timeframes`).
        A strategy is scored on those of them that it declares; the others are run and returned with `scored` false.
    rules : dict of str to MarginRules, optional
        Leverage limits by symbol.
    source, funding
        Where funding and mark prices come from; see `read_market`.
    market : Market, optional
        Data already read for this window.
    trades, equity, replays, capital, threads
        See `backtester.simulation.lanes.run_lanes`.
    rounded : bool
        Whether quantities are rounded to the lots of `rules` at this capital, and smaller orders than it has left out.
    largest : float, optional
        The size * leverage that counts as 1 in the unit replay of every strategy, where an earlier window set it; by
        default the largest that each asks for in this one.
    on_error : {'raise', 'report'}
        Whether the first strategy whose signals fail or do not fit stops everything, or is returned with its `error`.
    fatal : tuple of exception types
        Errors that always stop everything, such as a warehouse that cannot be read.

    Returns
    -------
    list of Evaluation
        In the order of `strategies`; empty, and nothing read, without any.

    Raises
    ------
    ValueError
        If the window is empty, a name appears twice, or a strategy declares none of `timeframes`.
    """
    _unique_names(strategies)
    if not strategies:
        return []
    paid = costs or Costs()
    run_on = [timeframes or run_timeframes(strategy) for strategy in strategies]
    if market is None:
        names: dict[Timeframe, set[str]] = {}
        for strategy, lengths in zip(strategies, run_on, strict=True):
            for timeframe in lengths:
                names.setdefault(timeframe, set()).update(strategy.features(timeframe))
        market = read_market(
            manager,
            symbols,
            start,
            end,
            features=names,
            lookback=max((int(getattr(strategy, "lookback", DEFAULT_LOOKBACK)) for strategy in strategies), default=0),
            source=source,
            funding=funding,
        )
    packed: list[list[Lane] | str] = []
    for strategy, lengths in zip(strategies, run_on, strict=True):
        try:
            own = pack(strategy, market, paid, rules, lengths)
            packed.append([replace(lane, rounded=rounded, capital=capital) for lane in own])
        except Exception as error:
            if on_error == "raise" or isinstance(error, fatal):
                error.add_note(f"while evaluating {strategy.name}")
                raise
            packed.append(f"{type(error).__name__}: {error}")
    scales = [
        1.0 if isinstance(lanes, str) else largest or largest_notional(lanes, strategy.timeframes)
        for strategy, lanes in zip(strategies, packed, strict=True)
    ]
    declared = [lane for lanes in packed if not isinstance(lanes, str) for lane in lanes]
    units = [
        [] if isinstance(lanes, str) else unit_lanes(lanes, market, scale)
        for lanes, scale in zip(packed, scales, strict=True)
    ]
    flat = [lane for lanes in units for lane in lanes]
    beside = iter(run_lanes(declared, trades=trades, replays=False, capital=capital, threads=threads))
    results = iter(run_lanes(flat, trades=trades, equity=equity, replays=replays, capital=capital, threads=threads))
    return [
        _failed(strategy, paid, lanes)
        if isinstance(lanes, str)
        else _gathered(strategy, paid, unit, [_beside(next(results), next(beside)) for _ in unit], scale)
        for strategy, lanes, unit, scale in zip(strategies, packed, units, scales, strict=True)
    ]


def _beside(unit: LaneResult, declared: LaneResult) -> LaneResult:
    """Return a lane's unit replay with the declared replay beside it; liquidations are those of the declared one."""
    return replace(unit, declared=declared, liquidation_price=declared.liquidation_price)


def _gathered(
    strategy: StrategyLike, costs: Costs, packed: list[Lane], results: list[LaneResult], largest: float
) -> Evaluation:
    lanes = [lane if lane.timeframe in strategy.timeframes else replace(lane, scored=False) for lane in results]
    pooled = pool(lanes)
    return Evaluation(
        name=strategy.name,
        version=_version(strategy),
        timeframes=strategy.timeframes,
        lanes=lanes,
        pooled=pooled,
        trades=trades_of([lane for lane in lanes if lane.trade_rows is not None]),
        equity=pooled.equity_frame(),
        costs=costs,
        packed=packed,
        largest=largest,
        parameters=dict(getattr(strategy, "parameters", {})),
    )


def _failed(strategy: StrategyLike, costs: Costs, error: str) -> Evaluation:
    return Evaluation(
        name=strategy.name,
        version=_version(strategy),
        timeframes=strategy.timeframes,
        lanes=[],
        pooled=None,
        trades=pl.DataFrame(schema=TRADE_SCHEMA),
        equity=pl.DataFrame(schema={"ts": TS, "equity": pl.Float64, "with_bars": pl.Boolean}),
        costs=costs,
        error=error,
    )


def _version(strategy: StrategyLike) -> str:
    return str(getattr(strategy, "version", ""))


def _unexplained(
    frames: Mapping[tuple[str, Timeframe], pl.DataFrame],
    shortest: Timeframe,
    minutes: Mapping[str, Minutes],
    real: Collection[tuple[str, datetime]],
) -> list[Step]:
    """Return the price steps of the shortest bars that neither `real` nor gradual minutes explain."""
    bars = [frame.select("symbol", "ts", "open", "close") for key, frame in frames.items() if key[1] == shortest]
    return [
        step
        for step in (unexplained_steps(pl.concat(bars), shortest, real) if bars else ())
        if not (
            step.symbol in minutes
            and minutes[step.symbol].timeframe != shortest
            and _gradual(minutes[step.symbol], step.ts)
        )
    ]


def _gradual(minutes: Minutes, ts: datetime) -> bool:
    """Return whether no minute from one hour before a bar to one day after its open steps."""
    first, last = np.searchsorted(minutes.ts, [to_micros(ts) - HOUR_US, to_micros(ts) + 24 * HOUR_US])
    opens = minutes.open[first:last]
    ratios = opens[1:] / opens[:-1]
    return len(ratios) > 0 and bool(((ratios < FACTOR) & (ratios > 1 / FACTOR)).all())


def _unique_names(strategies: Sequence[StrategyLike]) -> None:
    seen: set[tuple[str, str]] = set()
    for strategy in strategies:
        key = (strategy.name, _version(strategy))
        if key in seen:
            msg = f"two strategies are named {strategy.name} (version {key[1] or 'none'}); give each its own name"
            raise ValueError(msg)
        seen.add(key)


def _finest(
    source: CandleSource | None, inside: Mapping[tuple[str, Timeframe], pl.DataFrame], start: datetime, end: datetime
) -> dict[str, Minutes]:
    """Return each symbol's finest bars, by which lanes of longer bars order the events inside a bar."""
    found: dict[str, Minutes] = {}
    longest = max(MINUTES[timeframe] for _, timeframe in inside)
    for timeframe in TIMEFRAMES:
        lacking = [symbol for symbol in dict.fromkeys(symbol for symbol, _ in inside) if symbol not in found]
        if not lacking or MINUTES[timeframe] >= longest:
            break
        held = {symbol: inside[symbol, timeframe] for symbol in lacking if (symbol, timeframe) in inside}
        parts = held or _read_bars(source, lacking, timeframe, start, end)
        found |= {symbol: Minutes.from_frame(part, timeframe) for symbol, part in parts.items() if part.height}
    return found


def _as_fine_as_there_are(
    bars: Mapping[tuple[str, Timeframe], Bars], finest: Mapping[str, Minutes]
) -> dict[tuple[str, Timeframe], Bars]:
    """Leave out lanes on bars shorter than a symbol has: a market of hours has no lanes on minutes."""
    shortest = {symbol: finer.timeframe for symbol, finer in finest.items()}
    for timeframe in TIMEFRAMES:
        for symbol, name in bars:
            if name == timeframe and len(bars[symbol, name]):
                shortest.setdefault(symbol, name)
    return {key: lane for key, lane in bars.items() if MINUTES[key[1]] >= MINUTES[shortest.get(*key)]}


def _read_bars(
    source: CandleSource | None, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
) -> dict[str, pl.DataFrame]:
    """Return the bars of those symbols that have any of this length."""
    if source is None:
        return {}
    try:
        candles = source.candles(list(symbols), timeframe, start, end)
    except LookupError:
        if len(symbols) == 1:
            return {}  # a source without bars of this length
        alone = (_read_bars(source, [symbol], timeframe, start, end) for symbol in symbols)
        return {symbol: part for parts in alone for symbol, part in parts.items()}  # one symbol without them, or all
    return {str(symbol): part for (symbol,), part in candles.partition_by("symbol", as_dict=True).items()}


def _funding(
    manager: WindowReader,
    symbols: Sequence[str],
    end: datetime,
    source: CandleSource | None,
    funding: pl.DataFrame | None,
) -> pl.DataFrame:
    if funding is not None:
        return funding
    origin: Any = source if source is not None else getattr(manager, "source", None)
    if origin is None:
        msg = "no funding rates: pass source= or funding= (an empty frame where none is known)"
        raise ValueError(msg)
    frame: pl.DataFrame = origin.funding(list(symbols), None, end)
    return frame
