"""The older system's SQLite file: its ticks as 1-minute bars, and the three tables that it kept beside them.

Belongs here: reading that file, read-only and in bounded memory, and refusing what cannot be trusted. Does not belong
here: writing to the warehouse, the command around it.

Ticks are snapshots of a ticker: they carry no volume, and what moved between two of them is not seen, so bars have
null volumes and their highs and lows are at least as narrow as the market's.
"""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Final, Self

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market.checks import flag_single_price
from blofin_resources.market.source import no_candles
from blofin_resources.market.times import EARLIEST, LATEST
from features.bars import CANDLE_SCHEMA, TS

Progress = Callable[[int, int], None]
"""Is told how many ticks are read, and of how many."""

ORIGIN: Final = "ticks"
BACKFILL: Final = "historical_fill"
"""The source of ticks that the older system wrote into minutes that it had missed: one close a minute."""

_TICKS: Final = {"ts_ms": pl.Int64(), "symbol": pl.String(), "price": pl.Float64(), "source": pl.String()}
SCORES_SCHEMA: Final = pl.Schema(
    {
        "ts_ms": pl.Int64(),
        "strategy": pl.String(),
        "symbol": pl.String(),
        "window": pl.String(),
        "trades": pl.Int64(),
        "wins": pl.Int64(),
        "losses": pl.Int64(),
        "win_rate": pl.Float64(),
        "avg_pnl_pct": pl.Float64(),
        "total_pnl_pct": pl.Float64(),
        "sharpe_ratio": pl.Float64(),
        "max_drawdown_pct": pl.Float64(),
        "score": pl.Float64(),
        "enabled": pl.Int64(),
    }
)
KNOWLEDGE_SCHEMA: Final = pl.Schema(
    {
        "ts_ms": pl.Int64(),
        **dict.fromkeys(("category", "strategy", "symbol", "content", "source", "metadata"), pl.String()),
    }
)
CONFIGS_SCHEMA: Final = pl.Schema(
    {"ts_ms": pl.Int64(), **dict.fromkeys(("strategy", "config_json", "source", "note"), pl.String())}
)
TABLES: Final[dict[str, pl.Schema]] = {
    "strategy_scores": SCORES_SCHEMA,
    "knowledge_entries": KNOWLEDGE_SCHEMA,
    "strategy_configs": CONFIGS_SCHEMA,
}
"""The tables beside the ticks, as they stand in the file; in frames, `ts_ms` becomes `timestamp`."""

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER: Final = 100
_LARGEST_PAGE: Final = 65536
_BATCH: Final = 100_000
_BARS_AT_ONCE: Final = 10_000
_LOCK_SECONDS: Final = 2.0
_EARLIEST: Final = int(EARLIEST.timestamp() * 1000)
_LATEST: Final = int(LATEST.timestamp() * 1000)
_MINUTE_MS: Final = 60_000
_WHOLE: Final = (int, type(None))
_PYTHON: Final[dict[pl.DataType, tuple[type, ...]]] = {
    pl.Int64(): (int,),
    pl.Float64(): (int, float),
    pl.String(): (str,),
}


class TicksFile:
    """The older system's file, open for reading; a context manager.

    Everything is read in one transaction, so a system that still writes to the file does not disturb.

    Parameters
    ----------
    path : Path
        The SQLite file.

    Raises
    ------
    MarketError
        On opening: the file is absent, no SQLite database, cut short, locked, or lacks the table `ticks` or one of
        its columns; a table beside it that is there must be whole. On reading: a damaged page, or a row that is no
        tick (by its id and value).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _require_whole(path)
        self._connection = _connect(path)
        try:
            self._connection.execute("BEGIN")
            self._require_schema()
        except sqlite3.Error as error:
            self._connection.close()
            raise _refused(path, error) from error
        except MarketError:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._connection.close()

    def ticks(self) -> int:
        """Return about how many ticks there are: the highest row id."""
        try:
            highest: int = self._connection.execute('SELECT coalesce(max(rowid), 0) FROM "ticks"').fetchone()[0]
        except sqlite3.Error as error:
            raise _refused(self._path, error) from error
        return highest

    def bars(self, progress: Progress | None = None, batch: int = _BATCH) -> Iterator[pl.DataFrame]:
        """Yield the ticks as 1-minute bars with `CANDLE_SCHEMA`, in runs of whole days, oldest first.

        A bar is built from the minute's live ticks, and from backfilled ones only if there are no live ones. Bars of a
        single price are flagged, a minute without ticks is a missing row, and the minute of the file's last tick,
        which may be incomplete, is left out. All ticks are read and checked before the first bar is yielded; until
        then they are kept on disk as partial bars, so memory does not grow with the file.

        Parameters
        ----------
        progress : callable, optional
            Called with the ticks read and their number after each batch.
        batch : int, optional
            Ticks in memory at once.

        Yields
        ------
        DataFrame
            `CANDLE_SCHEMA`, sorted by (symbol, ts).
        """
        with tempfile.TemporaryDirectory(prefix="blofin-ticks-") as folder:
            days: Counter[date] = Counter()
            files: list[tuple[Path, frozenset[date]]] = []
            last = 0
            for number, partial in enumerate(self._partial_bars(progress, batch)):
                file = Path(folder) / f"{number:06}.parquet"
                partial.write_parquet(file, compression="lz4")
                held = dict(partial.group_by(pl.col("ts").dt.date()).len().iter_rows())
                days.update(held)
                files.append((file, frozenset(held)))
                last = max(last, int(partial["last_ms"].max()))  # type: ignore[arg-type]
            for first, until in _stretches(days):
                yield _merge(
                    [file for file, held in files if any(first <= day <= until for day in held)], first, until, last
                )

    def table(self, name: str, batch: int = _BATCH) -> Iterator[pl.DataFrame]:
        """Yield the rows of one of `TABLES`, oldest row id first; nothing if the file lacks the table.

        Yields
        ------
        DataFrame
            The columns of `TABLES`, with `ts_ms` replaced by `timestamp`.
        """
        schema = TABLES[name]
        if not self._columns(name):
            return
        for rows in self._rows(name, list(schema), batch):
            frame = self._typed(name, rows, schema)
            stamped = frame.with_columns(pl.from_epoch("ts_ms", time_unit="ms").cast(TS).alias("timestamp"))
            yield stamped.select("timestamp", *(column for column in schema if column != "ts_ms"))

    def _partial_bars(self, progress: Progress | None, batch: int) -> Iterator[pl.DataFrame]:
        total, read = self.ticks(), 0
        for rows in self._rows("ticks", list(_TICKS), batch):
            frame = self._typed("ticks", rows, pl.Schema(_TICKS))
            self._require_ticks(frame)
            yield _partial(frame)
            read += len(rows)
            if progress is not None:
                progress(read, max(total, read))

    def _require_ticks(self, frame: pl.DataFrame) -> None:
        sound = (
            pl.col("ts_ms").is_between(_EARLIEST, _LATEST)
            & (pl.col("price") > 0)
            & pl.col("price").is_finite()
            & (pl.col("symbol").str.len_chars() > 0)
        )
        wrong = frame.filter(~sound.fill_null(value=False))
        if not wrong.is_empty():
            row = wrong.row(0, named=True)
            shown = ", ".join(f"{name} {row[name]!r}" for name in ("ts_ms", "symbol", "price"))
            msg = f"{self._path}: ticks row {row['rowid']} is not a tick ({shown}); {len(wrong)} such rows in the batch"
            raise MarketError(msg)

    def _rows(self, table: str, columns: Sequence[str], batch: int) -> Iterator[list[tuple[object, ...]]]:
        names = ", ".join(f'"{column}"' for column in columns)
        try:
            cursor = self._connection.execute(f'SELECT rowid, {names} FROM "{table}" ORDER BY rowid')  # noqa: S608 - own names
            cursor.arraysize = batch
            while rows := cursor.fetchmany():
                yield rows
        except sqlite3.Error as error:
            raise _refused(self._path, error) from error

    def _typed(self, table: str, rows: list[tuple[object, ...]], schema: pl.Schema) -> pl.DataFrame:
        """Return rows as a frame; SQLite keeps any value in any column, so each is held to its type."""
        full = pl.Schema({"rowid": pl.Int64(), **schema})
        whole = [place for place, kind in enumerate(full.values()) if kind == pl.Int64()]
        # Polars would cut 2.5 to 2 where the schema says integer.
        if all(type(row[place]) in _WHOLE for place in whole for row in rows):
            try:
                return pl.DataFrame(rows, schema=full, orient="row", strict=True)
            except (TypeError, pl.exceptions.PolarsError):
                pass
        row, name = next(
            (row, name)
            for row in rows
            for value, (name, kind) in zip(row, full.items(), strict=True)
            if value is not None and not isinstance(value, _PYTHON[kind])
        )
        value = row[list(full).index(name)]
        msg = f"{self._path}: {table} row {row[0]} has {name} {value!r}, which is not {full[name]}"
        raise MarketError(msg)

    def _require_schema(self) -> None:
        for table, columns in {
            "ticks": list(_TICKS),
            **{name: list(schema) for name, schema in TABLES.items()},
        }.items():
            present = self._columns(table)
            if not present and table != "ticks":
                continue
            if not present:
                found = self._connection.execute("SELECT name FROM sqlite_master ORDER BY name")
                names = ", ".join(str(row[0]) for row in found) or "nothing"
                msg = f"{self._path} has no table ticks: not the older system's file; it has: {names}"
                raise MarketError(msg)
            absent = [column for column in columns if column not in present]
            if absent:
                msg = f"{self._path}: table {table} lacks the column {', '.join(absent)}; it has: {', '.join(present)}"
                raise MarketError(msg)

    def _columns(self, table: str) -> list[str]:
        return [str(row[1]) for row in self._connection.execute(f'PRAGMA table_info("{table}")')]


def _require_whole(path: Path) -> None:
    """Raise `MarketError` where a file is no SQLite database or is shorter than its header says."""
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode):
            msg = f"{path} is not a regular file; give the older system's blofin_monitor.db"
            raise MarketError(msg)
        size = found.st_size
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise MarketError(msg) from error
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        msg = f"{path} is not an SQLite database; give the older system's blofin_monitor.db"
        raise MarketError(msg)
    page = int.from_bytes(header[16:18], "big")
    expected = (_LARGEST_PAGE if page == 1 else page) * int.from_bytes(header[28:32], "big")
    # The header's page count holds only where its two change counters agree.
    if header[24:28] == header[92:96] and size < expected:
        msg = f"{path} is cut short: {size} of {expected} bytes; copy it again while the older system is stopped"
        raise MarketError(msg)


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file read-only, and without the journal's side files where its folder does not let SQLite make them."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    journal = path.with_name(f"{path.name}-wal")
    settled = not (journal.exists() and journal.stat().st_size)
    try:
        connection = sqlite3.connect(address, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if not (settled and "unable to open" in str(error)):
                raise
            connection = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    return connection


def _refused(path: Path, error: sqlite3.Error) -> MarketError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return MarketError(f"{path} is locked by another program ({text}); stop that, or import a copy")
    if "malformed" in text or "not a database" in text:
        return MarketError(f"{path} is damaged ({text}); copy it again while the older system is stopped")
    return MarketError(f"cannot read {path}: {text}")


def _partial(ticks: pl.DataFrame) -> pl.DataFrame:
    """Return the bars of one batch, live and backfilled apart, with the times of their ends, to be merged later."""
    ordered = ticks.sort("ts_ms", "rowid")
    minute = pl.from_epoch(pl.col("ts_ms") // _MINUTE_MS * _MINUTE_MS, time_unit="ms").cast(TS)
    return ordered.group_by("symbol", minute.alias("ts"), live=pl.col("source").ne_missing(BACKFILL)).agg(
        first_ms=pl.col("ts_ms").first(),
        last_ms=pl.col("ts_ms").last(),
        first_row=pl.col("rowid").first(),
        last_row=pl.col("rowid").last(),
        open=pl.col("price").first(),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").last(),
    )


def _stretches(days: Counter[date]) -> Iterator[tuple[date, date]]:
    """Yield first and last day of stretches that hold at most about `_BARS_AT_ONCE` partial bars."""
    stretch: list[date] = []
    held = 0
    for day in sorted(days):
        if stretch and held + days[day] > _BARS_AT_ONCE:
            yield stretch[0], stretch[-1]
            stretch, held = [], 0
        stretch.append(day)
        held += days[day]
    if stretch:
        yield stretch[0], stretch[-1]


def _merge(files: list[Path], first: date, last: date, last_ms: int) -> pl.DataFrame:
    """Return the bars of some days from the files of partial bars that hold any of them."""
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    unfinished = datetime.fromtimestamp(last_ms // _MINUTE_MS * 60, UTC)
    partial = (
        pl.scan_parquet(files, glob=False)
        .filter(pl.col("ts").is_between(start, end, closed="left"), pl.col("ts") < unfinished)
        .collect()
    )
    if partial.is_empty():
        return no_candles()
    preferred = partial.filter(pl.col("live") == pl.col("live").max().over("symbol", "ts"))
    opening = pl.struct("first_ms", "first_row")
    closing = pl.struct("last_ms", "last_row")
    bars = preferred.group_by("symbol", "ts").agg(
        pl.col("open").sort_by(opening).first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").sort_by(closing).last(),
    )
    unknown = [pl.lit(None, pl.Float64).alias(name) for name in ("volume", "quote_volume", "contracts")]
    complete = bars.with_columns(
        *unknown, minutes=pl.lit(1, pl.Int32), origin=pl.lit(ORIGIN), flag=pl.lit(None, pl.String)
    )
    return flag_single_price(complete.select(CANDLE_SCHEMA.names()).sort("symbol", "ts"))
