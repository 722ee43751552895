"""What every asset shares: its decorator, the window that its keys name, metadata for the UI.

Belongs here: only what at least two stages use. Does not belong here: anything of one stage.
"""

import functools
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, ParamSpec

import dagster as dg
import polars as pl

from blofin_assets.partitions import DAY, day_start
from blofin_assets.progress import DATASETS
from blofin_resources.dagster_resources import ClockResource
from blofin_resources.errors import BlofinError
from blofin_resources.market.intake import cover
from blofin_resources.warehouse import Warehouse
from blofin_resources.warehouse.description import Column, table_columns
from features.bars import TS, Timeframe, bar_length, floor_time

OWNERS: Final = ["team:research"]

MOST_BEHIND: Final = timedelta(hours=1)
"""A cycle whose last bar is older than this is not run: its end would be invented."""

MOST_MISSING: Final = 0.1
"""Share of a window's 1-minute bars that may be absent; more, and a result would not be the window's."""

_BARS_SEEN: Final = (
    "SELECT i.symbol, min(c.ts) AS listed, max(c.ts) FILTER (WHERE c.ts < $2) AS newest, "
    "count(c.ts) FILTER (WHERE c.ts >= $1 AND c.ts < $3) AS bars "
    "FROM (SELECT unnest($4) AS symbol) AS i LEFT JOIN market.candles_1m AS c USING (symbol) "
    "GROUP BY i.symbol ORDER BY i.symbol"
)

_P = ParamSpec("_P")
Body = Callable[_P, dg.MaterializeResult[Any]]


def stage_asset(
    *,
    group: str,
    table: str,
    partitions: dg.PartitionsDefinition | None = None,
    deps: Iterable[Any] = (),
    kinds: Iterable[str] = ("polars", "duckdb"),
    code_version: str | None = None,
    name: str | None = None,
    columns: Iterable[Column] | None = None,
    freshness: dg.FreshnessPolicy | None = None,
    ranged: bool = False,
) -> Callable[[Body[_P]], dg.AssetsDefinition]:
    """Make an asset of a body: owners, column schema, one run for a range of keys, errors in one line.

    Parameters
    ----------
    group, table, partitions, deps, kinds, code_version, name
        As Dagster has them; `table` is the warehouse table that the asset fills.
    columns
        What the UI shows of the table; from the warehouse's SQL files where omitted.
    ranged
        Whether one run handles a range of keys; else each key is a run of its own.
    freshness
        How old the last materialisation may be before the UI calls the asset stale.
    """
    schema = column_schema(table_columns(table) if columns is None else columns)

    def decorate(body: Body[_P]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # The backfill policy is what lets one run handle a range of days; Dagster still calls it beta.
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.asset(
                name=name,
                group_name=group,
                partitions_def=partitions,
                deps=list(deps),
                kinds=set(kinds),
                owners=OWNERS,
                code_version=code_version,
                description=(body.__doc__ or "").strip(),
                backfill_policy=_policy(ranged) if partitions is not None else None,
                freshness_policy=freshness,
                metadata={"dagster/table_name": table, "dagster/column_schema": schema},
            )(one_line_errors(body))

    return decorate


def _policy(ranged: bool) -> dg.BackfillPolicy:
    return dg.BackfillPolicy.single_run() if ranged else dg.BackfillPolicy.multi_run(1)


def lineage(asset: dg.AssetsDefinition, *, steps_back: int, steps_ahead: int = 0) -> dg.AssetDep:
    """Return a dependency on an asset of another calendar, for the lineage graph only.

    What is read is decided by the as-of. Offsets count steps of the downstream calendar.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # the calendars' first keys have nothing before them
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-steps_back, end_offset=steps_ahead, allow_nonexistent_upstream_partitions=True
        )
    return dg.AssetDep(asset, partition_mapping=mapping)


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """Return columns, their types and comments as the UI shows them."""
    return dg.TableSchema([dg.TableColumn(name, kind, description=comment) for name, kind, comment in columns])


def one_line_errors(body: Body[_P]) -> Body[_P]:
    """Turn what a user can put right into a failure whose text is that one line; the traceback goes to the log."""

    @functools.wraps(body)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> dg.MaterializeResult[Any]:
        try:
            return body(*args, **kwargs)
        except (BlofinError, LookupError, ValueError) as error:
            dg.get_dagster_logger().debug(traceback.format_exc())
            raise dg.Failure(str(error), allow_retries=False) from None

    return run


@dataclass(frozen=True)
class DayWindow:
    """The days that a run's keys name, cut at its as-of.

    Attributes
    ----------
    days
        The days, oldest first, without those that have not begun.
    start, end
        First instant, and the end of the last day or the as-of, whichever comes first.
    """

    days: tuple[date, ...]
    start: datetime
    end: datetime

    def by_day(self) -> list[tuple[datetime, datetime]]:
        """Return start and end of each day, the last one cut at the as-of."""
        starts = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in self.days]
        return [(start, min(start + DAY, self.end)) for start in starts]


def day_window(context: dg.AssetExecutionContext, clock: ClockResource) -> DayWindow:
    """Return the window of a run over day partitions.

    Raises
    ------
    BlofinError
        If the first day lies in the future.
    """
    as_of = clock.as_of(context.run)
    starts = [day_start(key) for key in context.partition_keys]
    begun = [start for start in starts if start < as_of]
    if not begun:
        raise BlofinError(_future(context.partition_keys[0], as_of))
    return DayWindow(tuple(start.date() for start in begun), begun[0], min(begun[-1] + DAY, as_of))


def cycle_as_of(
    context: dg.AssetExecutionContext, clock: ClockResource, start_of: Callable[[str], datetime]
) -> datetime:
    """Return the as-of that a cycle's key names, which must not lie in the future."""
    as_of = start_of(context.partition_key)
    if as_of > clock.now():
        raise BlofinError(_future(context.partition_key, clock.now()))
    return as_of


def require_market_data(warehouse: Warehouse, symbols: Sequence[str], start: datetime, as_of: datetime) -> None:
    """Refuse to run a cycle on less than the market data of its window.

    A history that begins inside the window is what it is; a window that lacks its end, or much of its middle, is not
    what the cycle's numbers would be said to stand for.

    Raises
    ------
    BlofinError
        Naming the dataset or the symbol, what is lacking, and what to do.
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


def _require_bars(warehouse: Warehouse, symbols: Sequence[str], start: datetime, as_of: datetime) -> None:
    """Refuse a window whose bars end early or are mostly absent, whatever the source was asked."""
    seen = warehouse.read(_BARS_SEEN, [start, as_of, as_of, symbols])
    for symbol, listed, newest, bars in seen.iter_rows():
        expected = (as_of - max(start, listed)) / timedelta(minutes=1) if listed is not None else 0
        behind = as_of - newest - timedelta(minutes=1) if newest is not None else as_of - start
        if behind > MOST_BEHIND or bars < (1 - MOST_MISSING) * expected:
            msg = (
                f"{symbol} has {bars:,} of {expected:,.0f} 1-minute bars between {start:%Y-%m-%d %H:%M} and "
                f"{as_of:%Y-%m-%d %H:%M} UTC, the last {behind} before the end: the source does not have them; see "
                "market.gaps, or leave the symbol out of BLOFIN_SYMBOLS"
            )
            raise BlofinError(msg)


def withdraw(
    store: Warehouse, dataset: str, symbols: Sequence[str], window: tuple[datetime, datetime], run_id: str
) -> None:
    """Forget that a dataset is stored for a window: what failed its check is due again, and no cycle runs on it."""
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
    """Replace what a table holds of the window's closed bars, with its coverage, in one commit; return the snapshot.

    Bars that an earlier run with a later as-of stored stay, and so does how far the day is stored.
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
        cover(tx, store, dataset, symbols, window.start, window.end, counted)
    return tx.snapshot


def table_preview(frame: pl.DataFrame, rows: int = 20) -> dg.MetadataValue[Any]:
    """Return the first rows as a Markdown table for the UI."""
    head = frame.head(rows)
    with pl.Config(
        tbl_formatting="MARKDOWN", tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_rows=rows,
        tbl_cols=-1, fmt_str_lengths=80, tbl_width_chars=2000, float_precision=4,
    ):  # fmt: skip
        return dg.MetadataValue.md(str(head))


def _future(key: str, now: datetime) -> str:
    return f"{key} lies in the future: it is {now:%Y-%m-%dT%H:%MZ}; choose a key that has begun"
