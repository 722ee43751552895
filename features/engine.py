"""From candles and names to columns: the plan, and its execution for every symbol at once.

Belongs here: the order in which features are computed, what flagged bars and gaps do to them, joins of funding,
other symbols and higher timeframes. Does not belong here: formulas (`library`), reading candles (`feature_manager`).

The rules that hold for every feature:

- Flagged bars are not read. Formulas see the sound bars of one symbol one after another; on a flagged bar every
  feature is null. The candle columns themselves stay as recorded (they serve as marks).
- A window counts bars. Where flagged or missing bars make the n bars of a window span more than a tenth more time
  than n - 1 bars, the value is null; recursive features continue over the gap as if its ends were adjacent.
- The value is null until there are as many bars as the definition reads. Infinity and NaN become null.
- A value of another timeframe or symbol is that of the bar that closed last at or before this bar's close; where
  that bar is missing or flagged, the value is null, never an older one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MINUTES, POSITIONING_SCHEMA, Timeframe, bar_length
from features.definition import Feature, Kernel
from features.plan import Plan
from features.predictions import SAID
from features.registry import POSITIONING_COLUMNS, Registry, Request, standard_registry

STALE_FUNDING: Final = timedelta(hours=24)
"""A payment older than this no longer counts as the last one."""

STALE_POSITIONING: Final = timedelta(hours=2)
"""Positioning data older than this no longer count as known."""


def compute(
    candles: pl.DataFrame,
    names: Iterable[str],
    funding: pl.DataFrame | None = None,
    *,
    timeframe: Timeframe | None = None,
    registry: Registry | None = None,
    others: Mapping[Timeframe, pl.DataFrame] | None = None,
    predictions: Mapping[Timeframe, pl.DataFrame] | None = None,
    positioning: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the candles with one further column for each feature.

    Parameters
    ----------
    candles : DataFrame
        `CANDLE_SCHEMA`, one timeframe, any number of symbols, sorted by time within each symbol.
    names : iterable of str
        Features. The name of a candle column (``close``) adds nothing.
    funding : DataFrame, optional
        `FUNDING_SCHEMA`, sorted by (symbol, ts). Without it the funding features are null.
    timeframe : Timeframe, optional
        That of the candles; by default the smallest that holds the largest number of `minutes` in a bar.
    registry : Registry, optional
        The known features; by default those of this package.
    others : mapping of Timeframe to DataFrame, optional
        Candles of higher timeframes, and of symbols that are not in `candles`.
    predictions : mapping of Timeframe to DataFrame, optional
        Predictions of models, as `PredictionSource.predictions` returns them. Without them such features are null.
    positioning : DataFrame, optional
        `POSITIONING_SCHEMA`, sorted by (symbol, ts). Without it the features of positioning are null.

    Returns
    -------
    DataFrame of shape (n_bars, n_candle_columns + n_features)
        The rows of `candles` in their order. Features are Float64, Boolean or Int8; null where the rules of this
        module or the feature's own say so, never NaN or infinite.

    Raises
    ------
    LookupError
        If a feature is unknown, or a symbol or timeframe that it reads is not given.
    ValueError
        If a parameter is out of range, a column is missing, or the bars are out of order.

    Notes
    -----
    No look-ahead: the value of a bar depends only on bars closed and funding paid at or before its close.

    Examples
    --------
    >>> from features.market import example_market
    >>> candles = example_market(bars=100).candles["1m"]
    >>> compute(candles, ["hl2"]).select((pl.col("hl2") <= pl.col("high")).all()).item()
    True
    """
    known = registry or standard_registry()
    requests = known.requests(names)
    _check_candles(candles)
    own = timeframe or _timeframe_of(candles)
    plan = Plan.of(requests, known)
    for column in plan.foreign:
        _check_prefix(column, own)
    bars = candles.select(CANDLE_SCHEMA.names()).with_columns(closed_at=pl.col("ts") + bar_length(own))
    if plan.funding:
        bars = _with_funding(bars, funding)
    if plan.positioning:
        bars = _with_positioning(bars, positioning)
    if plan.predictions:
        bars = _with_predictions(bars, plan.predictions, (predictions or {}).get(own))
    if plan.foreign:
        if others is None:
            _check_symbols(plan.foreign, candles)
        everything = {**(others or {}), own: _all_candles(candles, others, own)}
        bars = _with_foreign(bars, plan.foreign, own, known, everything, funding, predictions, positioning)
    columns = _columns(bars, plan, own)
    return candles.with_columns(columns)


@dataclass(frozen=True)
class Needs:
    """What a list of features reads besides its own candles.

    Attributes
    ----------
    candles : mapping of (symbol or None, timeframe) to int
        Warm-up bars of each further source; None stands for the symbols of the rows.
    funding : bool
        Whether funding payments are read.
    positioning : bool
        Whether positioning data are read.
    predictions : mapping of Timeframe to dict of str to set of (str or None)
        Predictions read on bars of each timeframe, and of which symbols; None stands for those of the rows.
    """

    candles: Mapping[tuple[str | None, Timeframe], int]
    funding: bool
    positioning: bool
    predictions: Mapping[Timeframe, Mapping[str, set[str | None]]]


def needs(names: Iterable[str], timeframe: Timeframe, registry: Registry | None = None) -> Needs:
    """Return what features on bars of `timeframe` read besides those bars, through any depth.

    Parameters
    ----------
    names : iterable of str
        Features.
    timeframe : Timeframe
        Bars on which they are computed.
    registry : Registry, optional
        The known features; by default those of this package.

    Returns
    -------
    Needs
        Further candles with their warm-up, funding and predictions.

    Raises
    ------
    LookupError
        If a feature is unknown.
    ValueError
        If a parameter is out of range or a lower timeframe is requested.

    Examples
    --------
    >>> needs(["close", "60m:close"], "5m").candles
    {(None, '60m'): 0}
    """
    known = registry or standard_registry()
    candles: dict[tuple[str | None, Timeframe], int] = {}
    funding = positioning = False
    predictions: dict[Timeframe, dict[str, set[str | None]]] = {}

    def visit(requests: Sequence[Request], symbol: str | None, own: Timeframe) -> None:
        nonlocal funding, positioning
        plan = Plan.of(requests, known)
        funding = funding or plan.funding
        positioning = positioning or plan.positioning
        for name in plan.predictions:
            predictions.setdefault(own, {}).setdefault(name, set()).add(symbol)
        for request in plan.foreign:
            _check_prefix(request, own)
            source = (request.symbol or symbol, request.timeframe or own)
            inner = Request(request.feature.name, request.feature)
            candles[source] = max(candles.get(source, 0), known.warmup(inner, source[1]))
            visit([inner], *source)

    visit(known.requests(names), None, timeframe)
    return Needs(candles, funding, positioning, predictions)


def _columns(bars: pl.DataFrame, plan: Plan, timeframe: Timeframe) -> pl.DataFrame:
    """Compute the plan's outputs for every row of `bars`."""
    if not plan.outputs:
        return pl.DataFrame()
    done = []
    for part in _slices(bars):
        sound = part.filter(pl.col("flag").is_null())
        values = _evaluate(sound, plan, timeframe)
        done.append(values if sound.height == part.height else _spread(part, values))
    return pl.concat(done)


def _evaluate(bars: pl.DataFrame, plan: Plan, timeframe: Timeframe) -> pl.DataFrame:
    """Compute the plan for the sound bars of one symbol.

    One query for each level, whose columns are computed in parallel: as a single lazy query the standard set took
    twenty times longer to plan than to compute.
    """
    for level in plan.levels:
        bars = bars.with_columns(_expression(feature) for feature in level)
        bars = bars.with_columns(_finite(feature) for feature in level if _may_be_infinite(feature))
    masks = _gap_masks(bars, set(plan.windows.values()), timeframe)
    return bars.select(
        _masked(pl.col(column), plan.windows.get(name, 1), masks).alias(name) for name, column in plan.outputs.items()
    )


def _expression(feature: Feature) -> pl.Expr:
    """Return a feature's formula as an expression of its dtype."""
    formula = feature.formula()
    if isinstance(formula, Kernel):
        formula = pl.map_batches(list(formula.inputs), formula, return_dtype=pl.Float64)
    else:
        formula = formula.cast(feature.definition.dtype)
    return formula.alias(feature.name)


def _may_be_infinite(feature: Feature) -> bool:
    return feature.definition.dtype == pl.Float64 and not isinstance(feature.formula(), Kernel)


def _finite(feature: Feature) -> pl.Expr:
    """Return the feature's column with null for NaN and infinity."""
    column = pl.col(feature.name)
    return pl.when(column.is_finite()).then(column).alias(feature.name)


def _gap_masks(bars: pl.DataFrame, windows: set[int], timeframe: Timeframe) -> dict[int, pl.Series]:
    """For each window that some gap stretches too far, the rows where it is short enough; no entry means everywhere."""
    if bars.height < 2:  # noqa: PLR2004 - one bar has no gap
        return {}
    step = MINUTES[timeframe] * 60_000_000
    time: npt.NDArray[np.int64] = bars["ts"].to_physical().to_numpy()
    if time[-1] - time[0] == (len(time) - 1) * step:
        return {}
    masks = {}
    for window in windows:
        reach = window - 1
        if 0 < reach < len(time):
            good = np.ones(len(time), dtype=np.bool_)
            good[reach:] = time[reach:] - time[:-reach] <= (reach + reach // 10) * step
            if not good.all():
                masks[window] = pl.Series(good)
    return masks


def _masked(column: pl.Expr, window: int, masks: Mapping[int, pl.Series]) -> pl.Expr:
    """Return a computed column, null in the first bars and where its window spans a gap."""
    conditions = []
    if window > 1:
        conditions.append(pl.int_range(pl.len()) >= window - 1)
    if window in masks:
        conditions.append(pl.lit(masks[window]))
    return pl.when(*conditions).then(column) if conditions else column


def _spread(bars: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Put the values of the sound bars back among all bars of the symbol."""
    sound = bars["flag"].is_null()
    place = pl.select(pl.when(sound).then(sound.cast(pl.Int64).cum_sum() - 1)).to_series()
    return values.select(pl.all().gather(place.cast(pl.UInt32)))


def _slices(bars: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of each symbol, in order."""
    lengths = bars["symbol"].rle().struct.field("len").to_list()
    starts = np.cumsum([0, *lengths])
    return [bars.slice(int(start), length) for start, length in zip(starts, lengths, strict=False)] or [bars]


def _with_funding(bars: pl.DataFrame, funding: pl.DataFrame | None) -> pl.DataFrame:
    """Add `FUNDING_COLUMNS`: the last payment at or before each bar's close."""
    paid = pl.DataFrame(schema=FUNDING_SCHEMA) if funding is None else funding
    between = pl.col("ts").diff().over("symbol")
    # the least of the last three: a payment that is missing from the data does not make the next one late
    usual = pl.min_horizontal(between, *(between.shift(lag).over("symbol") for lag in (1, 2)))
    payments = paid.select(
        "symbol",
        pl.col("ts").alias("paid_at"),
        pl.col("rate").alias("paid_rate"),
        usual.alias("paid_every"),
    ).sort("paid_at")
    joined = (
        bars.with_row_index("row")
        .sort("closed_at")
        .join_asof(
            payments,
            left_on="closed_at",
            right_on="paid_at",
            by="symbol",
            tolerance=STALE_FUNDING,
            coalesce=False,
            check_sortedness=False,
        )
    )
    return joined.sort("row").drop("row")


def _with_positioning(bars: pl.DataFrame, positioning: pl.DataFrame | None) -> pl.DataFrame:
    """Add `POSITIONING_COLUMNS`: what was known last at or before each bar's close."""
    known = pl.DataFrame(schema=POSITIONING_SCHEMA) if positioning is None else positioning
    values = known.rename(dict(zip(list(POSITIONING_SCHEMA)[2:], POSITIONING_COLUMNS, strict=True))).sort("ts")
    joined = (
        bars.with_row_index("row")
        .sort("closed_at")
        .join_asof(
            values.rename({"ts": "positioned_at"}),
            left_on="closed_at",
            right_on="positioned_at",
            by="symbol",
            tolerance=STALE_POSITIONING,
            check_sortedness=False,
        )
    )
    return joined.sort("row").drop("row")


def _with_predictions(bars: pl.DataFrame, names: Sequence[str], said: pl.DataFrame | None) -> pl.DataFrame:
    """Add the predictions for each bar, by symbol and time; null where there are none."""
    if said is None:
        return bars.with_columns(pl.lit(None, pl.Float64).alias(SAID + name) for name in names)
    right = said.select("symbol", "ts", *(pl.col(name).alias(SAID + name) for name in names))
    return bars.join(right, on=["symbol", "ts"], how="left", maintain_order="left", validate="m:1")


def _with_foreign(
    bars: pl.DataFrame,
    requests: Sequence[Request],
    own: Timeframe,
    registry: Registry,
    candles: Mapping[Timeframe, pl.DataFrame],
    funding: pl.DataFrame | None,
    predictions: Mapping[Timeframe, pl.DataFrame] | None,
    positioning: pl.DataFrame | None,
) -> pl.DataFrame:
    """Add the columns that are read from other symbols and higher timeframes."""
    sources = dict.fromkeys((request.symbol, request.timeframe or own) for request in requests)
    for symbol, timeframe in sources:
        wanted = [item for item in requests if (item.symbol, item.timeframe or own) == (symbol, timeframe)]
        source = _source(candles, symbol, timeframe, wanted[0].name)
        names = [item.feature.name for item in wanted]
        values = compute(
            source,
            names,
            funding,
            timeframe=timeframe,
            registry=registry,
            others=candles,
            predictions=predictions,
            positioning=positioning,
        )
        sound = pl.when(pl.col("flag").is_null())
        columns = [sound.then(pl.col(item.feature.name)).alias(item.name) for item in wanted]
        keys = ["symbol"] if symbol is None else []
        right = values.select(*keys, pl.col("ts").alias("source_ts"), *columns)
        closed = (pl.col("closed_at").dt.truncate(f"{MINUTES[timeframe]}m") - bar_length(timeframe)).alias("source_ts")
        bars = bars.with_columns(closed).join(right, on=[*keys, "source_ts"], how="left", maintain_order="left")
        bars = bars.drop("source_ts")
    return bars


def _source(
    candles: Mapping[Timeframe, pl.DataFrame], symbol: str | None, timeframe: Timeframe, name: str
) -> pl.DataFrame:
    """Return the candles that a prefixed feature reads; no rows for a known symbol that is not listed yet."""
    frame = candles.get(timeframe)
    if frame is None:
        msg = f"feature {name!r} needs {timeframe} candles; pass others={{'{timeframe}': ...}} or use FeatureManager"
        raise LookupError(msg)
    return frame if symbol is None else frame.filter(pl.col("symbol") == symbol)


def _all_candles(
    candles: pl.DataFrame, others: Mapping[Timeframe, pl.DataFrame] | None, own: Timeframe
) -> pl.DataFrame:
    """Return the candles themselves and those of further symbols on the same timeframe."""
    further = (others or {}).get(own)
    mine = candles.select(CANDLE_SCHEMA.names())
    if further is None:
        return mine
    new = further.filter(~pl.col("symbol").is_in(candles["symbol"].unique().to_list()))
    return pl.concat([mine, new.select(CANDLE_SCHEMA.names())])


def _timeframe_of(candles: pl.DataFrame) -> Timeframe:
    """Return the smallest timeframe that holds the largest number of minutes in a bar."""
    largest = candles.select(pl.col("minutes").max()).item() or 1
    for timeframe, minutes in MINUTES.items():
        if minutes >= largest:
            return timeframe
    msg = f"a bar holds {largest} minutes; the longest timeframe is 1d (1440)"
    raise ValueError(msg)


def _check_symbols(requests: Sequence[Request], candles: pl.DataFrame) -> None:
    """Refuse a symbol that can only be in the candles themselves, and is not."""
    known = candles["symbol"].unique().sort()
    for request in requests:
        if request.symbol is not None and request.symbol not in known:
            msg = f"feature {request.name!r}: no candles of {request.symbol}; there are those of {', '.join(known)}"
            raise LookupError(msg)


def _check_prefix(request: Request, own: Timeframe) -> None:
    timeframe = request.timeframe
    if timeframe is not None and MINUTES[timeframe] < MINUTES[own]:
        msg = f"feature {request.name!r}: {timeframe} is below these {own} bars; only higher timeframes can be read"
        raise ValueError(msg)


def _check_candles(candles: pl.DataFrame) -> None:
    missing = [name for name in CANDLE_SCHEMA if name not in candles.columns]
    if missing:
        msg = f"candles lack {', '.join(missing)}; they need {', '.join(CANDLE_SCHEMA)}"
        raise ValueError(msg)
    within = pl.col("symbol") == pl.col("symbol").shift()
    backwards = candles.filter(within & (pl.col("ts") <= pl.col("ts").shift()))
    if not backwards.is_empty():
        where = backwards.row(0, named=True)
        msg = f"candles of {where['symbol']} are out of order or double at {where['ts']}; sort by symbol and ts"
        raise ValueError(msg)
    if candles["symbol"].rle().len() != candles["symbol"].n_unique():
        msg = "the rows of a symbol are not together; sort the candles by symbol and ts"
        raise ValueError(msg)
