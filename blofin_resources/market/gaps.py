"""The ledger of missing market data: gaps are found, classified, and closed when the source fills them.

Belongs here: pure functions from candles and the previous ledger to the new one. Does not belong here: reading and
writing `market.gaps`, fetching. Nothing here fills a gap.

Gaps are cut at midnight UTC, so the ledger of a day does not depend on whether the day is examined alone or in a
range.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from blofin_resources.market.checks import missing
from features.bars import MINUTES, TS, Timeframe, bar_length, ceil_time, floor_time

OUTAGE: Final = "outage"
"""All symbols that traded then lack most of the stretch: the source was down."""

NOT_LISTED: Final = "not_yet_listed"
DELISTED: Final = "delisted"

SOURCE_HOLE: Final = "source_hole"
"""This symbol lacks bars while others have them."""

SINGLE_PRICE: Final = "single_price"
"""Bars are there, but no trading made them."""

GAP_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "from_ts": TS,
        "to_ts": TS,
        "bars": pl.Int32(),
        "kind": pl.String(),
        "found_at": TS,
        "closed_at": TS,
        "looked_at": TS,
    }
)
"""Gaps of the fetched bars, mostly minutes: opening times of the first bar lacking and of the first one after, their
number, why, when first seen, when the source had filled them (null while open), and the last look for them."""

RETRIED: Final = (OUTAGE, SOURCE_HOLE)
"""Kinds that a source may fill later."""

_STRETCH: Final = ("symbol", "from_ts", "to_ts")
_MINUTE: Final = timedelta(minutes=1)


def find_gaps(
    candles: pl.DataFrame,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    found_at: datetime,
    timeframe: Timeframe = "1m",
    listed: Mapping[str, datetime] | None = None,
    delisted: Mapping[str, datetime] | None = None,
) -> pl.DataFrame:
    """Return every interval without sound bars between `start` and `end`.

    Parameters
    ----------
    candles : DataFrame
        Bars with `CANDLE_SCHEMA`.
    symbols : sequence of str
        Symbols whose bars are expected.
    start, end : datetime
        Bars with `start <= ts` that are closed by `end` are expected (UTC).
    found_at : datetime
        As-of of this search.
    timeframe : Timeframe, optional
        Length of the bars.
    listed, delisted : dict of str to datetime, optional
        When trading in a symbol began and ended, where known.

    Returns
    -------
    DataFrame
        `GAP_SCHEMA`, sorted by (symbol, from_ts), `closed_at` null.
    """
    length = bar_length(timeframe)
    end = max(start, floor_time(end, length))
    absent = missing(candles, timeframe, start, end, list(symbols)).select(_STRETCH)
    # the first bar that is expected whole, and the end of the last one
    began = _moments(symbols, {symbol: ceil_time(moment, length) for symbol, moment in (listed or {}).items()})
    ended = _moments(symbols, {symbol: floor_time(moment, length) for symbol, moment in (delisted or {}).items()})
    early = _clip(absent, began, before=True).with_columns(kind=pl.lit(NOT_LISTED))
    late = _clip(_clip(absent, began, before=False), ended, before=False, absent_means_none=True)
    late = late.with_columns(kind=pl.lit(DELISTED))
    traded = _clip(_clip(absent, began, before=False), ended, before=True, absent_means_all=True)
    flat = flat_stretches(candles, start, end, timeframe)
    # Cut before causes are sought, or a gap over midnight would have one cause in its day and another in a range.
    caused = _with_cause(_cut_at_midnight(traded), began, ended)
    return ledger_rows(pl.concat([early, late, flat, caused]), timeframe, found_at)


def ledger_rows(stretches: pl.DataFrame, timeframe: Timeframe, found_at: datetime) -> pl.DataFrame:
    """Return intervals as rows of the ledger that are seen for the first time, cut at midnight.

    Parameters
    ----------
    stretches : DataFrame
        Columns symbol, from_ts, to_ts and kind.
    timeframe : Timeframe
        Length of the bars.
    found_at : datetime
        As-of of the search.

    Returns
    -------
    DataFrame
        `GAP_SCHEMA`, sorted by (symbol, from_ts), `closed_at` null.
    """
    return (
        _cut_at_midnight(stretches)
        .with_columns(
            bars=(pl.col("to_ts") - pl.col("from_ts")).dt.total_minutes() // MINUTES[timeframe],
            found_at=pl.lit(found_at, TS),
            closed_at=pl.lit(None, TS),
            looked_at=pl.lit(found_at, TS),
        )
        .select(GAP_SCHEMA.names())
        .cast(GAP_SCHEMA)
        .sort("symbol", "from_ts")
    )


def update_ledger(
    ledger: pl.DataFrame, found: pl.DataFrame, symbols: Sequence[str], start: datetime, end: datetime, now: datetime
) -> pl.DataFrame:
    """Return the ledger rows of `symbols` that begin in [`start`, `end`), updated with the gaps found now.

    A gap that persists keeps its first-seen time. An open gap that is no longer found is closed at `now`. Closed gaps
    stay on record until a new gap begins at the same time. No timestamp moves backwards if `now` precedes an earlier
    search.

    Parameters
    ----------
    ledger : DataFrame
        `GAP_SCHEMA`: rows stored so far; rows of other symbols or outside the range are ignored.
    found : DataFrame
        Result of `find_gaps` for the same symbols and range.
    symbols : sequence of str
        Symbols that were examined.
    start, end : datetime
        Range that was examined (UTC).
    now : datetime
        As-of of the search.

    Returns
    -------
    DataFrame
        `GAP_SCHEMA`, at most one row per (symbol, from_ts), sorted; it replaces the stored rows of the range.
    """
    stored = ledger.select(GAP_SCHEMA.names()).filter(
        pl.col("symbol").is_in(list(symbols)), pl.col("from_ts").is_between(start, end, closed="left")
    )
    still_open = stored.filter(pl.col("closed_at").is_null())
    since = still_open.select("symbol", "from_ts", since="found_at", before="looked_at")
    current = found.join(since, on=["symbol", "from_ts"], how="left").with_columns(
        found_at=pl.coalesce("since", "found_at"), looked_at=pl.max_horizontal("before", "looked_at")
    )
    gone = stored.join(found, on=["symbol", "from_ts"], how="anti")
    filled = pl.max_horizontal(pl.lit(now, TS), "found_at")
    closed = gone.with_columns(
        closed_at=pl.coalesce("closed_at", filled),
        looked_at=pl.when(pl.col("closed_at").is_null()).then(filled).otherwise("looked_at"),
    )
    return pl.concat([current.select(GAP_SCHEMA.names()), closed]).sort("symbol", "from_ts")


def _moments(symbols: Sequence[str], known: Mapping[str, datetime]) -> pl.DataFrame:
    rows = {"symbol": list(symbols), "moment": [known.get(symbol) for symbol in symbols]}
    return pl.DataFrame(rows, schema={"symbol": pl.String(), "moment": TS})


def _clip(
    stretches: pl.DataFrame,
    moments: pl.DataFrame,
    *,
    before: bool,
    absent_means_all: bool = False,
    absent_means_none: bool = False,
) -> pl.DataFrame:
    """Return the parts of intervals before, or from, their symbol's moment; no moment means long past by default."""
    joined = stretches.join(moments, on="symbol", how="left")
    if before and not absent_means_all:
        joined = joined.drop_nulls("moment")
    if not before and absent_means_none:
        joined = joined.drop_nulls("moment")
    if before:
        clipped = joined.with_columns(to_ts=pl.min_horizontal("to_ts", "moment"))
    else:
        clipped = joined.with_columns(from_ts=pl.max_horizontal("from_ts", "moment"))
    return clipped.filter(pl.col("from_ts") < pl.col("to_ts")).select(_STRETCH)


def _with_cause(stretches: pl.DataFrame, began: pl.DataFrame, ended: pl.DataFrame) -> pl.DataFrame:
    """Add `kind`: an outage if every symbol trading then lacks at least half of the interval, else a hole."""
    by_day = stretches.with_columns(day=pl.col("from_ts").dt.truncate("1d"))
    shared = (
        by_day.join(by_day, on="day", suffix="_other")
        .filter(pl.col("symbol") != pl.col("symbol_other"))
        .with_columns(
            overlap=pl.min_horizontal("to_ts", "to_ts_other") - pl.max_horizontal("from_ts", "from_ts_other"),
            length=pl.col("to_ts") - pl.col("from_ts"),
        )
        .filter(pl.col("overlap") * 2 >= pl.col("length"))
        .group_by(_STRETCH)
        .agg(lacking=pl.col("symbol_other").n_unique())
    )
    lives = began.join(ended, on="symbol", suffix="_ended")
    trading = (
        stretches.join(lives, how="cross", suffix="_other")
        .filter(
            pl.col("symbol") != pl.col("symbol_other"),
            (pl.col("moment") <= pl.col("from_ts")).fill_null(value=True),
            (pl.col("moment_ended") > pl.col("from_ts")).fill_null(value=True),
        )
        .group_by(_STRETCH)
        .agg(trading=pl.col("symbol_other").n_unique())
    )
    joined = stretches.join(shared, on=_STRETCH, how="left").join(trading, on=_STRETCH, how="left")
    everybody = (pl.col("lacking") >= pl.col("trading")).fill_null(value=False)
    return joined.select(*_STRETCH, kind=pl.when(everybody).then(pl.lit(OUTAGE)).otherwise(pl.lit(SOURCE_HOLE)))


def flat_stretches(candles: pl.DataFrame, start: datetime, end: datetime, timeframe: Timeframe) -> pl.DataFrame:
    """Return the runs of adjacent bars that are flagged as single prices.

    Parameters
    ----------
    candles : DataFrame
        Bars with `CANDLE_SCHEMA`.
    start, end : datetime
        Bars with `start <= ts` that are closed by `end` (UTC).
    timeframe : Timeframe
        Their length.

    Returns
    -------
    DataFrame
        Columns symbol, from_ts, to_ts and kind.
    """
    length = bar_length(timeframe)
    flat = candles.filter(
        pl.col("flag").fill_null("").str.split(",").list.contains(SINGLE_PRICE),
        pl.col("ts").is_between(start, end - length),
    ).sort("symbol", "ts")
    begins = (pl.col("ts").diff().over("symbol") != length).fill_null(value=True)
    return (
        flat.with_columns(run=begins.cum_sum())
        .group_by("symbol", "run")
        .agg(from_ts=pl.col("ts").min(), to_ts=pl.col("ts").max() + length)
        .select(*_STRETCH, kind=pl.lit(SINGLE_PRICE))
    )


def _cut_at_midnight(stretches: pl.DataFrame) -> pl.DataFrame:
    first = pl.col("from_ts").dt.truncate("1d")
    last = (pl.col("to_ts") - _MINUTE).dt.truncate("1d")
    by_day = stretches.with_columns(day=pl.datetime_ranges(first, last, interval="1d")).explode("day")
    return by_day.with_columns(
        from_ts=pl.max_horizontal("from_ts", "day"), to_ts=pl.min_horizontal("to_ts", pl.col("day").dt.offset_by("1d"))
    ).drop("day")
