"""Require market data before a stage runs, and store bars day by day.

Belongs here: refusing a window without bars, writing and withdrawing days of bars. Does not belong here: fetching
(`blofin_resources.market`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from blofin_assets.shared.asset import time_text
from blofin_assets.shared.partitions import DAY
from blofin_assets.shared.windows import DayWindow
from blofin_resources.errors import BlofinError
from blofin_resources.market.bases import stored_by_base
from blofin_resources.market.ingestion import DERIVED, delisted_at, record_coverage, trading_periods
from blofin_resources.market.steps import load_steps, way_out
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS, Timeframe, bar_length, floor_time

MOST_BEHIND: Final = timedelta(hours=1)
"""Largest age of the last bar at the as-of of a cycle: an older one means that the window's end is missing."""


MOST_MISSING: Final = 0.1
"""Largest share of a window's 1-minute bars that may be missing for a result to describe the window."""


def require_market_data(warehouse: Warehouse, symbols: Sequence[str], start: datetime, as_of: datetime) -> None:
    """Refuse to run a cycle without the market data of its window.

    A history that begins inside the window, or ends because its symbol was delisted, is accepted: the lanes begin or
    end there. A window whose end or much of its middle is missing for another reason is refused, because the cycle's
    numbers would not describe it.

    Parameters
    ----------
    warehouse : Warehouse
        Where market data is stored.
    symbols : sequence of str
        Symbols of the cycle.
    start, as_of : datetime
        The window (UTC).

    Raises
    ------
    BlofinError
        The text names the dataset or symbol, what is missing, and what to do.
    """
    first = warehouse.read("SELECT min(day) AS day FROM market.coverage WHERE symbol IN (SELECT unnest(?))", [symbols])
    begun = max(start.date(), first["day"][0] or start.date())
    last = (as_of - timedelta(microseconds=1)).date() + DAY
    for dataset, missing in warehouse.missing_days(DATASETS, symbols, begun, last, as_of).items():
        if missing:
            msg = (
                f"{dataset} is not stored for {missing[0]} (cycle as of {as_of:%Y-%m-%dT%H:%MZ}, "
                f"symbols {', '.join(symbols)}); run: blofin run --as-of {as_of:%Y-%m-%dT%H:%M:%SZ}"
            )
            raise BlofinError(msg)
    _require_bars(warehouse, symbols, start, as_of)
    steps = load_steps(warehouse, as_of, symbols)
    if steps.out.issuperset(symbols):
        msg = "every symbol is excluded: " + "; ".join(f"{step}; {way_out(step)}" for step in steps.open)
        raise BlofinError(msg)


def bars_seen(warehouse: Warehouse, symbols: Sequence[str], start: datetime, as_of: datetime) -> pl.DataFrame:
    """Return the extent of each symbol's 1-minute bars, sorted by name.

    Parameters
    ----------
    warehouse : Warehouse
        Where candles are stored.
    symbols : sequence of str
        Symbols to look up.
    start, as_of : datetime
        The window (UTC).

    Returns
    -------
    DataFrame of shape (n_symbols, 5)
        `symbol`; `listed`, opening time of the first of its shortest bars; `newest`, that of the last one before the
        as-of; `bars`, their number in [start, as_of); `base`, their timeframe. Both times are null without bars.
    """
    seen = []
    for base, group in stored_by_base(warehouse, symbols).items():
        text = query("shared/bars_seen").format(base=base)
        found = warehouse.read(text, {"symbols": list(group), "start": start, "as_of": as_of})
        seen.append(found.with_columns(base=pl.lit(base)))
    return pl.concat(seen).sort("symbol")


def _require_bars(warehouse: Warehouse, symbols: Sequence[str], start: datetime, as_of: datetime) -> None:
    """Refuse a window whose bars end early or are mostly absent."""
    extents = bars_seen(warehouse, symbols, start, as_of)
    over, began = delisted_at(warehouse, symbols, as_of), trading_periods(warehouse, symbols, as_of)[0]
    for symbol, listed, newest, bars, base in extents.iter_rows():
        length = bar_length(base)
        if newest is None and (symbol in over or began.get(symbol, start) >= as_of):
            continue  # no longer traded, or not yet
        if listed is not None and listed >= as_of:
            msg = (
                f"{symbol} has no bars before {time_text(as_of)} UTC: its stored history begins at "
                f"{time_text(listed)}; choose a later time, or begin earlier with BLOFIN_START"
            )
            raise BlofinError(msg)
        end = over.get(symbol, as_of)
        expected = max((end - max(start, listed)) // length, 0) if listed is not None else 0
        behind = end - newest - length if newest is not None else end - start
        if behind > max(MOST_BEHIND, length) or bars < (1 - MOST_MISSING) * expected:
            msg = (
                f"{symbol} has {bars:,} of {expected:,.0f} {base} bars between {time_text(start)} and "
                f"{time_text(end)} UTC, the last {behind} before the end: the source does not have them; see "
                "market.gaps. If the source was down or a file is incomplete, a later blofin run adds them; if trading "
                "has ended, the source reports it (an archive: once other symbols have another day), and the other "
                "symbols continue"
            )
            raise BlofinError(msg)
    if not any(extents["bars"]):
        msg = f"none of {', '.join(symbols)} has a bar between {time_text(start)} and {time_text(as_of)} UTC"
        for symbol, moment in over.items():
            msg += f"; {symbol} traded until {time_text(moment)}"
        raise BlofinError(msg + "; see market.gaps, or set BLOFIN_SYMBOLS to traded symbols")


def withdraw(
    store: Warehouse, dataset: str, symbols: Sequence[str], window: tuple[datetime, datetime], run_id: str
) -> None:
    """Remove the coverage of a dataset in a window: after a failed check it is due again, and no cycle uses it.

    Parameters
    ----------
    store : Warehouse
        Where coverage is stored.
    dataset : str
        Table without its schema.
    symbols : sequence of str
        Symbols of the window.
    window : tuple of datetime
        Start and end (UTC).
    run_id : str
        Run that writes.
    """
    start, end = window
    days = pl.date_range(start.date(), (end - timedelta(microseconds=1)).date(), eager=True).to_list()
    nothing = store.read("SELECT * EXCLUDE (run_id) FROM market.coverage LIMIT 0")
    with store.transaction(run_id) as tx:
        tx.replace("market.coverage", nothing, dataset=dataset, symbol=list(symbols), day=days)


def store_bars(
    store: Warehouse,
    table: str,
    symbols: Sequence[str],
    window: DayWindow,
    frame: pl.DataFrame,
    timeframe: Timeframe,
    run_id: str,
) -> int | None:
    """Replace the window's closed bars in a table, with their coverage, in one commit.

    Bars and coverage stored by an earlier run with a later as-of are kept.

    Parameters
    ----------
    store : Warehouse
        Where bars are stored.
    table : str
        Table with its schema.
    symbols : sequence of str
        Symbols of the frame.
    window : DayWindow
        Days to replace.
    frame : DataFrame
        The bars, or features of bars.
    timeframe : Timeframe
        Length of the bars.
    run_id : str
        Run that writes.

    Returns
    -------
    int or None
        The snapshot; None if nothing changed.
    """
    closed = floor_time(window.end, bar_length(timeframe))
    midnight = (window.end - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    beyond = store.read(
        f"SELECT symbol, ts FROM {table} WHERE ts >= ? AND ts < ?",  # noqa: S608 - the asset's own table
        [closed, midnight],
    )
    rows = pl.concat([frame.select("symbol", "ts"), beyond.select("symbol", pl.col("ts").cast(TS))])
    counted = rows.group_by("symbol", day=pl.col("ts").dt.date()).agg(rows=pl.len())
    dataset = table.partition(".")[2]
    with store.transaction(run_id) as tx:
        tx.replace(table, frame, start=window.start, end=closed, symbol=list(symbols))
        record_coverage(tx, store, dataset, symbols, window.start, window.end, counted)
    return tx.snapshot


DATASETS: Final = ("candles_1m", "funding_rates", *DERIVED)
"""What the market data job stores for each symbol and day."""
