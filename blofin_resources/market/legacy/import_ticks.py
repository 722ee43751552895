"""The older system's file into the warehouse: its ticks as 1-minute bars, its scores, knowledge and configurations.

Belongs here: what an import adds and what it leaves alone. Does not belong here: reading the file (`ticks`), the
command.

An imported bar fills a minute that has none; it never replaces a bar of an exchange or an archive, and gives way to
one that comes later. Coverage is left as it is, so that a source is still asked for the same days. What was made
of a day's bars before becomes due again.
"""

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final, NamedTuple

import polars as pl

from blofin_resources.market.ingestion import invalidate_derived
from blofin_resources.market.legacy.ticks import TABLES, Progress, TicksFile
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, TS

ALL_SYMBOLS: Final = "*"

_ORDER: Final = {
    "strategy_scores": ["timestamp", "strategy", "symbol", "window"],
    "knowledge_entries": ["id"],
    "strategy_configs": ["id"],
}


class Imported(NamedTuple):
    """What a file held, and what of it is new in the warehouse, by table."""

    found: Mapping[str, int]
    added: Mapping[str, int]


def import_ticks(store: Warehouse, file: TicksFile, *, run_id: str, progress: Progress | None = None) -> Imported:
    """Bring everything that a file holds into the warehouse; a second time adds nothing.

    Every tick and row is read and judged before the first one is stored.

    Parameters
    ----------
    store : Warehouse
        A warehouse of a real market.
    file : TicksFile
        The open file.
    run_id : str
        Run that writes.
    progress : callable, optional
        Told the ticks read and their number.

    Returns
    -------
    Imported
        Rows in the file and rows added, by table.

    Raises
    ------
    MarketError
        Where the file holds what cannot be trusted.
    """
    tables = {name: _table(file, name) for name in TABLES}
    found = {"candles_1m": 0, **{name: frame.height for name, frame in tables.items()}}
    added = dict.fromkeys(found, 0)
    for bars in file.bars(progress):
        found["candles_1m"] += bars.height
        added["candles_1m"] += _fill(store, bars, run_id)
    with store.transaction(run_id) as tx:
        for name, frame in tables.items():
            tx.append(f"research.{name}", frame)
    added.update({name: change.added for name, change in zip(tables, tx.changes, strict=True)})
    return Imported(found, added)


def _fill(store: Warehouse, bars: pl.DataFrame, run_id: str) -> int:
    """Store the bars of minutes that have none; return their number."""
    if bars.is_empty():
        return 0
    symbols = bars["symbol"].unique().to_list()
    columns, marks = ", ".join(CANDLE_SCHEMA), ", ".join("?" for _ in symbols)
    held = store.read(
        f"SELECT {columns} FROM market.candles_1m WHERE symbol IN ({marks}) AND ts >= ? AND ts <= ?",  # noqa: S608 - constant columns
        [*symbols, bars["ts"].min(), bars["ts"].max()],
    ).cast(CANDLE_SCHEMA)
    new = bars.join(held, on=["symbol", "ts"], how="anti")
    counted = new.group_by("symbol", day=pl.col("ts").dt.date()).agg(new=pl.len())
    with store.transaction(run_id) as tx:
        tx.append("market.candles_1m", new)
        invalidate_derived(store, tx.replace, new, held)
        for (symbol,), days in counted.group_by("symbol"):
            listed = days["day"].to_list()
            covered = store.covered("candles_1m", [str(symbol)], min(listed), max(listed) + timedelta(days=1))
            rows = covered.join(days, on=["symbol", "day"]).select(
                "symbol", "day", "through", pl.lit("candles_1m").alias("dataset"), rows=pl.col("rows") + pl.col("new")
            )
            touched = rows["day"].to_list()
            tx.replace("market.coverage", rows, dataset="candles_1m", symbol=symbol, day=touched)
    return tx.changes[0].added


def _table(file: TicksFile, name: str) -> pl.DataFrame:
    """Return one of the file's tables in the form of the warehouse's."""
    columns = {column: kind for column, kind in TABLES[name].items() if column != "ts_ms"}
    nothing = pl.DataFrame(schema={"timestamp": TS, **columns})
    frame = pl.concat([nothing, *file.table(name)]).drop_nulls("timestamp")
    if name == "strategy_scores":
        frame = frame.drop_nulls("strategy").with_columns(
            pl.col("symbol").fill_null(ALL_SYMBOLS),
            pl.col("window").fill_null("all"),
            pl.col("enabled") != 0,
            as_of="timestamp",
        )
    else:
        named = frame.drop_nulls("strategy")
        frame = named if name == "strategy_configs" else frame
        frame = frame.with_columns(id=_ids(frame))
    return frame.unique(_ORDER[name], keep="last", maintain_order=True)


def _ids(frame: pl.DataFrame) -> pl.Series:
    texts = ("\x1f".join(map(repr, row)) for row in frame.iter_rows())
    return pl.Series([sha256(text.encode()).hexdigest()[:32] for text in texts], dtype=pl.String)
