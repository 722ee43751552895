"""From strategies or models to results: read once, run every lane, pool.

Belongs here: what a thing must offer to be backtested (`StrategyLike`), the market data of a window shared by
everything that is evaluated on it, and `evaluate`. Does not belong here: choosing windows (`backtester.windows`),
storing or ranking results.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, Protocol, runtime_checkable

import polars as pl

from backtester.bars import Bars, Minutes
from backtester.costs import Costs, MarginRules
from backtester.lanes import DEFAULT_CAPITAL, TRADE_SCHEMA, Lane, LaneResult, run_lanes, trades_of
from backtester.marks import Marks
from backtester.pooling import PooledResult, pool
from backtester.signals import Signals
from features.bars import TRADED_TIMEFRAMES, TS, CandleSource, Timeframe, bar_length

DEFAULT_LOOKBACK: Final = 100
"""Bars before the window given to `signals` of a strategy that does not say how many it looks back."""


@runtime_checkable
class StrategyLike(Protocol):
    """What can be backtested: every strategy, model and ensemble.

    Optional attributes: `version` (str, stored beside the results) and `lookback` (int, bars before the first signal
    that `signals` needs in its frame; 100 where it is absent).
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
        """Return a signal frame (`backtester.signals`) with the rows of `frame`.

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
        """Return candles with features for the bars from `start`, closed by `end`."""
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
        The window.
    marks : Marks, optional
        Mark prices of the window; without them, leveraged positions are liquidated by last prices.
    """

    frames: Mapping[tuple[str, Timeframe], pl.DataFrame]
    bars: Mapping[tuple[str, Timeframe], Bars]
    start: datetime
    end: datetime
    marks: Marks | None = field(default=None, repr=False)

    def bars_for(self, signals: Signals, bars: Bars) -> Bars:
        """Return the bars of a lane, with mark prices where its signals ask for leverage: only then do they matter."""
        return bars if self.marks is None or not signals.leveraged else self.marks.on(bars)

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
        `backtester.lanes.TRADE_SCHEMA` of every lane run; empty unless trades were kept.
    equity : DataFrame
        Pooled equity at full hours: `ts`, `equity` (starting capital = 1).
    costs : Costs
        What was charged.
    packed : list of Lane
        What was run, in the order of `lanes`, for replays under other costs or shifted signals.
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
    error: str = ""
    packed: list[Lane] = field(default_factory=list, repr=False)

    @property
    def scored(self) -> list[LaneResult]:
        """The lanes behind `pooled`."""
        return [lane for lane in self.lanes if lane.scored]


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
    """Read everything that lanes over a window need, once.

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
    bars: dict[tuple[str, Timeframe], Bars] = {}
    origin = source or getattr(manager, "source", None)
    minutes = {} if "1m" in features else _minutes(origin, symbols, start, end)
    for timeframe in sorted(features, key=bar_length):
        lead = start - lookback * bar_length(timeframe)
        both = manager.window(list(symbols), timeframe, sorted(set(features[timeframe])), lead, end)
        parts = both.partition_by("symbol", as_dict=True, maintain_order=True)
        for symbol in symbols:
            frame = parts.get((symbol,), both.clear())
            inside = frame.filter(pl.col("ts") >= start)
            own = paid.filter(pl.col("symbol") == symbol)
            made = Bars.from_frame(inside, timeframe, funding=own, start=start, end=end, symbol=symbol)
            if timeframe == "1m":
                minutes[symbol] = Minutes.from_frame(inside)
            frames[symbol, timeframe] = frame
            bars[symbol, timeframe] = replace(made, minutes=minutes.get(symbol))
    if not any(len(made) for made in bars.values()):
        msg = f"no bars for {', '.join(symbols)} from {start} to {end}; choose a window inside the stored candles"
        raise ValueError(msg)
    return Market(frames, bars, start, end, Marks(origin, tuple(symbols), start, end))


def pack(
    strategy: StrategyLike,
    market: Market,
    costs: Costs,
    rules: Mapping[str, MarginRules] | None = None,
    timeframes: Sequence[Timeframe] | None = None,
) -> list[Lane]:
    """Evaluate a strategy's signals on every lane of the market (or those of `timeframes`) and check them.

    Raises
    ------
    SignalError
        If a signal frame does not fit its bars.
    """
    wanted = {key[1] for key in market.bars} if timeframes is None else set(timeframes)
    if not set(strategy.timeframes) & wanted:
        msg = f"{strategy.name} is scored on {', '.join(strategy.timeframes)}, none of {', '.join(sorted(wanted))}"
        raise ValueError(msg)
    default = MarginRules()
    lanes = []
    for key, bars in market.bars.items():
        if key[1] in wanted:
            allowed = (rules or {}).get(key[0], default)
            signals = Signals.from_frame(signal_frame(strategy, market, key), bars, allowed)
            lanes.append(Lane(market.bars_for(signals, bars), signals, costs, allowed))
    return lanes


def signal_frame(strategy: StrategyLike, market: Market, key: tuple[str, Timeframe]) -> pl.DataFrame:
    """Return a strategy's signals on one lane, for the window only."""
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
    timeframes: Sequence[Timeframe] = TRADED_TIMEFRAMES,
    rules: Mapping[str, MarginRules] | None = None,
    source: CandleSource | None = None,
    funding: pl.DataFrame | None = None,
    market: Market | None = None,
    trades: bool = True,
    equity: bool = False,
    replays: bool = True,
    capital: float = DEFAULT_CAPITAL,
    on_error: Literal["raise", "report"] = "raise",
    threads: int | None = None,
) -> list[Evaluation]:
    """Backtest strategies over one window on all their lanes, in one parallel call.

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
    timeframes : sequence of Timeframe
        Timeframes to run. A strategy is scored on those of them that it declares; the others are run and returned
        with `scored` false.
    rules : dict of str to MarginRules, optional
        Leverage limits by symbol.
    source, funding
        Where funding and mark prices come from; see `read_market`.
    market : Market, optional
        Data already read for this window.
    trades, equity, replays, capital, threads
        See `backtester.lanes.run_lanes`.
    on_error : {'raise', 'report'}
        Whether the first strategy whose signals do not fit stops everything, or is returned with its `error`. What is
        no `ValueError`, such as a warehouse that cannot be read, always stops everything.

    Raises
    ------
    ValueError
        If the window is empty, a name appears twice, or a strategy declares none of `timeframes`.
    """
    _unique_names(strategies)
    paid = costs or Costs()
    if market is None:
        market = read_market(
            manager,
            symbols,
            start,
            end,
            features={tf: {name for each in strategies for name in each.features(tf)} for tf in timeframes},
            lookback=max((int(getattr(each, "lookback", DEFAULT_LOOKBACK)) for each in strategies), default=0),
            source=source,
            funding=funding,
        )
    packed: list[list[Lane] | str] = []
    for each in strategies:
        try:
            packed.append(pack(each, market, paid, rules, timeframes))
        except Exception as error:
            if on_error == "raise" or not isinstance(error, ValueError):
                error.add_note(f"while evaluating {each.name}")
                raise
            packed.append(f"{type(error).__name__}: {error}")
    flat = [lane for lanes in packed if not isinstance(lanes, str) for lane in lanes]
    results = iter(run_lanes(flat, trades=trades, equity=equity, replays=replays, capital=capital, threads=threads))
    return [
        _failed(each, paid, lanes)
        if isinstance(lanes, str)
        else _gathered(each, paid, lanes, [next(results) for _ in lanes])
        for each, lanes in zip(strategies, packed, strict=True)
    ]


def _gathered(strategy: StrategyLike, costs: Costs, packed: list[Lane], results: list[LaneResult]) -> Evaluation:
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
    )


def _failed(strategy: StrategyLike, costs: Costs, error: str) -> Evaluation:
    return Evaluation(
        name=strategy.name,
        version=_version(strategy),
        timeframes=strategy.timeframes,
        lanes=[],
        pooled=None,
        trades=pl.DataFrame(schema=TRADE_SCHEMA),
        equity=pl.DataFrame(schema={"ts": TS, "equity": pl.Float64}),
        costs=costs,
        error=error,
    )


def _version(strategy: StrategyLike) -> str:
    return str(getattr(strategy, "version", ""))


def _unique_names(strategies: Sequence[StrategyLike]) -> None:
    seen: set[tuple[str, str]] = set()
    for each in strategies:
        key = (each.name, _version(each))
        if key in seen:
            msg = f"two things named {each.name} (version {key[1] or 'none'}) in one evaluation; names are unique"
            raise ValueError(msg)
        seen.add(key)


def _minutes(source: CandleSource | None, symbols: Sequence[str], start: datetime, end: datetime) -> dict[str, Minutes]:
    """Return 1-minute bars for lanes that do not trade on them but settle the order of events by them."""
    if source is None:
        return {}
    try:
        candles = source.candles(list(symbols), "1m", start, end)
    except LookupError:  # a source of longer bars alone
        return {}
    parts = candles.partition_by("symbol", as_dict=True, maintain_order=True)
    return {symbol: Minutes.from_frame(parts[symbol,]) for symbol in symbols if (symbol,) in parts}


def _funding(
    manager: WindowReader,
    symbols: Sequence[str],
    end: datetime,
    source: CandleSource | None,
    given: pl.DataFrame | None,
) -> pl.DataFrame:
    if given is not None:
        return given
    origin: Any = source if source is not None else getattr(manager, "source", None)
    if origin is None:
        msg = "no funding: give evaluate(..., source=...) or funding=...; an empty frame means that none is known"
        raise ValueError(msg)
    frame: pl.DataFrame = origin.funding(list(symbols), None, end)
    return frame
