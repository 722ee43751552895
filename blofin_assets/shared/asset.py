"""The decorator of assets, and their metadata for the UI.

Belongs here: only what at least two stages use. Does not belong here: anything of one stage.
"""

import functools
import traceback
import warnings
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, ParamSpec

import dagster as dg
import polars as pl

from blofin_resources.errors import BlofinError
from blofin_resources.texts import for_markdown
from blofin_resources.warehouse.description import Column, table_columns

OWNERS: Final = ["team:research"]


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
    """Make an asset of a function: owners, column schema, one run per range of keys, one-line errors.

    Parameters
    ----------
    group, table, partitions, deps, kinds, code_version, name
        As in Dagster; `table` is the warehouse table that the asset fills.
    columns
        Columns that the UI shows; from the warehouse's SQL files where omitted.
    freshness
        Age of the last materialisation above which the UI calls the asset stale.
    ranged
        Whether one run handles a range of keys; otherwise each key is a run of its own.

    Returns
    -------
    callable
        Decorator of a function that materialises the asset; its docstring is the description in the UI.
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

    The as-of decides what is read.

    Parameters
    ----------
    asset : AssetsDefinition
        The upstream asset.
    steps_back, steps_ahead : int
        Range of upstream partitions, in steps of the downstream calendar.

    Returns
    -------
    AssetDep
        With its partition mapping.
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
    """Turn errors that a user can fix into failures with a one-line text; the traceback goes to the log."""

    @functools.wraps(body)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> dg.MaterializeResult[Any]:
        try:
            return body(*args, **kwargs)
        except (BlofinError, LookupError, ValueError) as error:
            dg.get_dagster_logger().debug(traceback.format_exc())
            raise dg.Failure(str(error), allow_retries=False) from None

    return run


def time_text(moment: datetime) -> str:
    """Return a time as messages show it, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M}"


def table_preview(frame: pl.DataFrame, rows: int = 20) -> dg.MetadataValue[Any]:
    """Return the first rows as a Markdown table for the UI, escaped because texts may come from Claude."""
    head = frame.head(rows).rename(for_markdown)
    texts = [name for name, kind in head.schema.items() if kind == pl.String or kind.is_nested()]
    head = head.with_columns(pl.Series(name, [_cell(value) for value in head[name]], pl.String) for name in texts)
    with pl.Config(
        tbl_formatting="MARKDOWN", tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_rows=rows,
        tbl_cols=-1, fmt_str_lengths=80, tbl_width_chars=2000, float_precision=4,
    ):  # fmt: skip
        return dg.MetadataValue.md(str(head))


def _cell(value: object) -> str | None:
    return None if value is None else for_markdown(str(value.to_list() if isinstance(value, pl.Series) else value))


STEP_TAG: Final = "blofin/step"
"""Run tag: the step of a plan that the run executes."""
