"""The entry point through which strategies and models read features.

Belongs here: `FeatureManager`, which decides what to read from a `CandleSource` and passes it to the engine. Does not
belong here: formulas (`library`), computing (`engine`), the store behind the source (`blofin_resources`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.bars import MINUTES, CandleSource, PositioningSource, PredictionSource, Timeframe, bar_length
from features.engine import STALE_POSITIONING, Needs, compute, needs
from features.registry import Registry, standard_registry

FUNDING_HISTORY: Final = timedelta(days=3)
"""How far before the first bar payments are read: enough for the last one and the usual time between them."""

_MOST_EXTENSIONS: Final = 8


class FeatureManager:
    """Features of any symbol and timeframe as of one moment.

    Parameters
    ----------
    source : CandleSource
        Where candles and funding come from.
    as_of : datetime
        Nothing closed or paid later is read. With a time zone.
    registry : Registry, optional
        The known features; by default those of this package.

    Raises
    ------
    TypeError
        If `source` is a frame, or a dictionary of frames: `features.bars.FrameSource` makes a source of them.
    ValueError
        If `as_of` has no time zone.

    Examples
    --------
    >>> from features.market import EPOCH, example_market
    >>> manager = FeatureManager(example_market(bars=300).source(), EPOCH + timedelta(minutes=240))
    >>> manager.get_features("AAA-USDT", "1m", ["close", "rsi_14"], lookback_bars=5).shape
    (5, 4)
    """

    def __init__(self, source: CandleSource, as_of: datetime, registry: Registry | None = None) -> None:
        if isinstance(source, pl.DataFrame | dict):
            msg = (
                f"a {type(source).__name__} is no source of candles; wrap it: FrameSource({{'60m': candles}}, funding)"
            )
            raise TypeError(msg)
        _check_zone("as_of", as_of)
        self.source = source
        self.as_of = as_of
        self.registry = registry or standard_registry()

    def get_features(
        self,
        symbol: str | Sequence[str],
        timeframe: Timeframe,
        feature_list: Sequence[str],
        lookback_bars: int = 100,
    ) -> pl.DataFrame:
        """Return the features of the last bars closed at or before `as_of`.

        Parameters
        ----------
        symbol : str or sequence of str
            One symbol or several.
        timeframe : Timeframe
            One of `features.bars.TIMEFRAMES`.
        feature_list : sequence of str
            Names such as ``close``, ``rsi_14``, ``60m:trend_direction``, ``BTC-USDT:returns``.
        lookback_bars : int
            Bars of each symbol.

        Returns
        -------
        DataFrame of shape (n_symbols * lookback_bars, 2 + n_features)
            Columns `symbol`, `ts` (opening time of the bar), then the features in the order asked for. Null on
            flagged bars, the prices too, and where a feature's own rules say so.

        Raises
        ------
        LookupError
            If a symbol, timeframe or feature is unknown; for a feature the message lists the nearest names.
        ValueError
            If a parameter is out of range, or there are not enough bars for the longest window.
        """
        symbols = self._check(symbol, timeframe)
        if lookback_bars < 1:
            msg = f"lookback_bars is {lookback_bars}; ask for at least 1 bar"
            raise ValueError(msg)
        requests = self.registry.requests(feature_list)
        need = needs(feature_list, timeframe, self.registry)
        warmup = max((self.registry.warmup(item, timeframe) for item in requests if not item.foreign), default=0)
        candles = self._last(symbols, timeframe, lookback_bars, warmup)
        self._check_enough(candles, symbols, timeframe, feature_list, lookback_bars)
        frame = self._compute(candles, timeframe, feature_list, need, self.as_of, self.as_of)
        last = frame.group_by("symbol", maintain_order=True).tail(lookback_bars)
        names = [request.name for request in requests]
        sound = pl.when(pl.col("flag").is_null())
        return last.select("symbol", "ts", *(sound.then(pl.col(name)).alias(name) for name in names))

    def window(
        self,
        symbols: str | Sequence[str],
        timeframe: Timeframe,
        feature_list: Sequence[str],
        start: datetime,
        end: datetime,
    ) -> pl.DataFrame:
        """Return candles and features of the bars with `start <= ts` that closed at or before `end`.

        Warm-up bars are read from before `start`. If the history is shorter than that, the first values are null, or
        depend on the seed of a recursive feature.

        Parameters
        ----------
        symbols : str or sequence of str
            One symbol or several.
        timeframe : Timeframe
            One of `features.bars.TIMEFRAMES`.
        feature_list : sequence of str
            Names such as ``close``, ``rsi_14``, ``60m:trend_direction``, ``BTC-USDT:returns``.
        start, end : datetime
            The window (UTC), not beyond `as_of`.

        Returns
        -------
        DataFrame
            All columns of `CANDLE_SCHEMA` as recorded, then the features; sorted by (symbol, ts).

        Raises
        ------
        LookupError
            If a symbol, timeframe or feature is unknown.
        ValueError
            If a time has no zone, the window is empty, or it ends after `as_of`.
        """
        known = self._check(symbols, timeframe)
        _check_zone("start", start)
        _check_zone("end", end)
        if not start < end <= self.as_of:
            msg = f"window {start} to {end}: start must come before end, and end not after the as-of {self.as_of}"
            raise ValueError(msg)
        requests = self.registry.requests(feature_list)
        need = needs(feature_list, timeframe, self.registry)
        warmup = max((self.registry.warmup(item, timeframe) for item in requests if not item.foreign), default=0)
        candles = self._history(known, timeframe, start, end, warmup)
        frame = self._compute(candles, timeframe, feature_list, need, start, end)
        return frame.filter(pl.col("ts") >= start)

    def list_available_features(self) -> pl.DataFrame:
        """Return every known feature.

        Returns
        -------
        DataFrame
            `name` (the pattern), `example` (a name to ask for), `group`, `unit`, `dtype`, `minimum`, `maximum`,
            `description`, `nulls`, `warmup` (bars of the example on 1-minute bars), `standard` (whether stored).
        """
        rows = []
        for known in self.registry:
            low, high = known.bounds
            request = self.registry.request(known.example)
            rows.append(
                {
                    "name": known.pattern,
                    "example": known.example,
                    "group": known.group,
                    "unit": known.unit,
                    "dtype": str(known.dtype),
                    "minimum": None if low is None else float(low),
                    "maximum": None if high is None else float(high),
                    "description": known.description,
                    "nulls": known.nulls,
                    "warmup": self.registry.warmup(request, "1m"),
                    "standard": bool(known.standard),
                }
            )
        return pl.DataFrame(rows, schema_overrides={"minimum": pl.Float64, "maximum": pl.Float64})

    def get_feature_group(self, group_name: str) -> list[str]:
        """Return the names of a group's features, ready for `get_features`.

        Raises
        ------
        LookupError
            If there is no such group.
        """
        return self.registry.group(group_name)

    def _check(self, symbols: str | Sequence[str], timeframe: Timeframe) -> list[str]:
        if timeframe not in MINUTES:
            msg = f"unknown timeframe {timeframe!r}; one of {', '.join(MINUTES)}"
            raise LookupError(msg)
        known = [symbols] if isinstance(symbols, str) else list(dict.fromkeys(symbols))
        if not known:
            msg = "no symbols given; name at least one, such as BTC-USDT"
            raise ValueError(msg)
        return known

    def _compute(
        self,
        candles: pl.DataFrame,
        timeframe: Timeframe,
        names: Sequence[str],
        need: Needs,
        start: datetime,
        end: datetime,
    ) -> pl.DataFrame:
        """Read what else the features need, and compute them."""
        own = candles["symbol"].unique(maintain_order=True).to_list()
        first = candles["ts"].min()
        begin = min(start, first) if isinstance(first, datetime) else start
        wanted: dict[Timeframe, tuple[set[str], int]] = {}
        for (symbol, source), warmup in need.candles.items():
            symbols, bars = wanted.get(source, (set(), 0))
            wanted[source] = (symbols | ({symbol} if symbol else set(own)), max(bars, warmup + 1))
        others = {
            source: self._history(sorted(symbols), source, begin, end, bars)
            for source, (symbols, bars) in wanted.items()
        }
        everyone = sorted({*own, *(symbol for symbol, _ in need.candles if symbol)})
        funding = self.source.funding(everyone, begin - FUNDING_HISTORY, end) if need.funding else None
        return compute(
            candles,
            names,
            funding,
            timeframe=timeframe,
            registry=self.registry,
            others=others,
            predictions=self.predictions(need, own, begin, end),
            positioning=self.positioning(need, everyone, begin, end),
        )

    def positioning(self, need: Needs, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame | None:
        """Return the positioning data that features read, None where they read none or the source has none.

        Parameters
        ----------
        need : Needs
            Of the features.
        symbols : sequence of str
            Those of the rows and of further symbols that are read.
        start, end : datetime
            First opening time, and the moment by which a bar is closed.

        Returns
        -------
        DataFrame or None
            `POSITIONING_SCHEMA`.
        """
        if not need.positioning or not isinstance(self.source, PositioningSource):
            return None
        return self.source.positioning(symbols, start - STALE_POSITIONING, end)

    def predictions(
        self, need: Needs, symbols: Sequence[str], start: datetime, end: datetime
    ) -> dict[Timeframe, pl.DataFrame]:
        """Return the predictions that features read, by timeframe, as `features.engine.compute` takes them.

        Parameters
        ----------
        need : Needs
            Of the features.
        symbols : sequence of str
            Those of the rows.
        start, end : datetime
            First opening time, and the moment by which a bar is closed.

        Returns
        -------
        dict of Timeframe to DataFrame
            Frames as `PredictionSource.predictions` returns them.

        Raises
        ------
        LookupError
            If the source has no models, or no model can have such a name.
        """
        if need.predictions and not isinstance(self.source, PredictionSource):
            names = ", ".join(sorted({name for wanted in need.predictions.values() for name in wanted}))
            msg = f"feature {names}: this source of candles knows no models; read it where models are stored"
            raise LookupError(msg)
        found: dict[Timeframe, pl.DataFrame] = {}
        for timeframe, wanted in need.predictions.items():
            asked = {symbol for each in wanted.values() for symbol in each}
            everyone = sorted({*(symbols if None in asked else ()), *(symbol for symbol in asked if symbol)})
            begin = start - bar_length(timeframe)
            assert isinstance(self.source, PredictionSource)  # noqa: S101 - checked above
            found[timeframe] = self.source.predictions(sorted(wanted), everyone, timeframe, begin, end)
        return found

    def _history(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime, warmup: int
    ) -> pl.DataFrame:
        """Bars of the window and, before it, `warmup` sound bars of each symbol where there are so many."""
        step = bar_length(timeframe)
        reach = warmup
        begin = start - reach * step
        frame = self.source.candles(symbols, timeframe, begin, end)
        short = _short_of(frame, symbols, start, warmup)
        for _ in range(_MOST_EXTENSIONS):
            if not short:
                break
            reach *= 2
            earlier = self.source.candles(short, timeframe, begin - reach * step, begin)
            begin -= reach * step
            if earlier.is_empty():
                break
            frame = pl.concat([frame, earlier]).sort("symbol", "ts")
            found = set(earlier["symbol"].unique())
            short = [symbol for symbol in _short_of(frame, short, start, warmup) if symbol in found]
        return frame

    def _last(self, symbols: Sequence[str], timeframe: Timeframe, lookback: int, warmup: int) -> pl.DataFrame:
        """Return the last bars of each symbol with `warmup` sound ones before them where there are so many."""
        count = lookback + warmup
        frame = self.source.last_candles(symbols, timeframe, self.as_of, count)
        for _ in range(_MOST_EXTENSIONS):
            flagged = frame.filter(pl.col("flag").is_not_null()).group_by("symbol").len()["len"].max()
            missing = lookback + warmup + (int(flagged) if isinstance(flagged, int) else 0) - count
            if missing <= 0:
                break
            count += 2 * missing
            frame = self.source.last_candles(symbols, timeframe, self.as_of, count)
        return frame

    def _check_enough(
        self, candles: pl.DataFrame, symbols: Sequence[str], timeframe: Timeframe, names: Sequence[str], lookback: int
    ) -> None:
        """Refuse a window longer than the data before anything is computed."""
        own = [request for request in self.registry.requests(names) if not request.foreign]
        longest = max(own, key=lambda request: self.registry.window(request.feature), default=None)
        window = 1 if longest is None else self.registry.window(longest.feature)
        counts = dict(candles.group_by("symbol").len().iter_rows())
        for symbol in symbols:
            have = counts.get(symbol, 0)
            if have < lookback + window - 1:
                reads = "" if longest is None else f" ({longest.name} reads {window})"
                msg = (
                    f"{symbol} has {have} closed {timeframe} bars as of {self.as_of}; {lookback} bars of these "
                    f"features need {lookback + window - 1}{reads}; ask for "
                    f"fewer lookback_bars or a shorter window, or load an earlier start"
                )
                raise ValueError(msg)


def _short_of(frame: pl.DataFrame, symbols: Sequence[str], start: datetime, warmup: int) -> list[str]:
    """Return the symbols with fewer than `warmup` sound bars before `start`."""
    before = frame.filter(pl.col("flag").is_null(), pl.col("ts") < start)
    counts = dict(before.group_by("symbol").len().iter_rows())
    return [symbol for symbol in symbols if counts.get(symbol, 0) < warmup]


def _check_zone(name: str, moment: datetime) -> None:
    if moment.tzinfo is None:
        msg = f"{name} {moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
        raise ValueError(msg)
