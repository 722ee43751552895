"""Making a report again from what it was made of, and comparing it value by value.

Belongs here: the scratch warehouse, running the report's cycles again in it. Does not belong here: the terminal
(`cli.reproduce`), what counts as a difference (`shared.differences`), computing anything: the same jobs do that.

What is computed again: the strategy and the ML cycle that the report names, and the report. Each cycle gets the market
as it was in the snapshot that its results name, and of everything else what the report's snapshot holds, less what the
cycle itself wrote and the trials of users that came after it; answers of Claude come from the record. What other runs
wrote (earlier cycles, the forward ledger) is taken as it is stored.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.resampling import aggregate
from blofin_assets.definitions import build_defs
from blofin_assets.scheduling.runner import console, execute
from blofin_assets.shared.cadences import CADENCES, ML_CYCLE, REPORT, STRATEGY_CYCLE, Step
from blofin_assets.shared.code_version import code_version
from blofin_assets.shared.coverage import DATASETS, store_bars
from blofin_assets.shared.differences import Difference, compare_documents, compare_frames
from blofin_assets.shared.vocabulary import Author
from blofin_assets.shared.windows import DayWindow
from blofin_resources.dagster_resources import open_warehouse
from blofin_resources.errors import BlofinError
from blofin_resources.queries import query
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse
from features.bars import MINUTES, TIMEFRAMES, Timeframe

MARKET: Final = ("market",)
RESULTS: Final = ("research", "ml", "reports")

RECORDS: Final = frozenset({"research.llm_calls", "research.cycle_history"})
"""What is taken whole: answers to be replayed, and what was due."""

_MINUTES_AT_ONCE: Final = 1_000_000
"""One-minute bars that are resampled at once."""

_MADE_WITH: Final = ("seed", "search_budget", "tuning_budget")
"""Settings that a report names under `provenance`; an older report may not, and those of today are taken."""

_READ: Final = {
    STRATEGY_CYCLE: "SELECT min(snapshot_id) AS s FROM research.strategy_backtest_results WHERE as_of = ?",
    ML_CYCLE: "SELECT min(snapshot_id) AS s FROM ml.ml_model_results WHERE as_of = ?",
}


@dataclass(frozen=True)
class Original:
    """A stored report.

    Attributes
    ----------
    document
        The report as stored, provenance included.
    as_of, snapshot
        Its as-of, and the snapshot from which it was made.
    steps
        The cycles that it shows, oldest first, and last the report itself.
    """

    document: dict[str, Any]
    as_of: datetime
    snapshot: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Reproduction:
    """The result of recomputing a report.

    Attributes
    ----------
    values
        Number of compared values.
    differences
        Values that differ; empty if the report is reproduced.
    reworded
        Sentences that this version of the code words otherwise, with the same numbers; none if the same version made
        the report.
    rounded
        Numbers that this version of the code rounds otherwise, equal to twelve digits; none if the same version made
        the report.
    """

    values: int
    differences: tuple[Difference, ...]
    reworded: int = 0
    rounded: int = 0


def original_of(document: dict[str, Any]) -> Original:
    """Return a stored report with its steps.

    Raises
    ------
    BlofinError
        If the report has no snapshot.
    """
    provenance = document.get("provenance", {})
    if "snapshot" not in provenance or "as_of" not in document:
        msg = f"the report of {document.get('report_date', 'an unknown day')} has no snapshot and cannot be reproduced"
        raise BlofinError(msg)
    as_of = datetime.fromisoformat(document["as_of"])
    times = {job: text and datetime.fromisoformat(text) for job, text in document.get("cycles", {}).items()}
    cadences = [cadence for cadence in CADENCES if times.get(cadence.job)]
    cycles = sorted((cadence.step(times[cadence.job]) for cadence in cadences), key=lambda step: step.as_of)
    report = next(cadence for cadence in CADENCES if cadence.job == REPORT).step(as_of)
    return Original(document, as_of, int(provenance["snapshot"]), (*cycles, report))


def other_code(original: Original) -> str | None:
    """Return a text if another code version made the report, else None."""
    made_by, now = original.document["provenance"].get("code_version"), code_version()
    return None if made_by == now else f"it was made by code version {made_by or 'unknown'}, this is {now}"


def reproduce(
    store: Warehouse,
    settings: Settings,
    original: Original,
    folder: Path,
    *,
    market_snapshot: int | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Reproduction:
    """Make a report and its cycles again in a scratch folder, and compare.

    Parameters
    ----------
    store : Warehouse
        The real one; only read.
    settings : Settings
        For what the report does not say: it names its symbols, its seed and the budgets of search and tuning.
    original : Original
        What to make again.
    folder : Path
        Empty; for the scratch warehouse.
    market_snapshot : int, optional
        Take the market of this snapshot, rather than what the cycles read.
    on_progress : callable
        Called with a line for each step.

    Returns
    -------
    Reproduction
        Compared values and differences.

    Raises
    ------
    BlofinError
        If a snapshot is gone, or a cycle fails when it is run again.
    """
    used = scratch_settings(settings, original.document, folder)
    scratch = open_warehouse(str(used.warehouse), used.market, used.market_id, None)
    defs = build_defs(used, console=console(lambda *_: None))
    models = store.folder / "models"
    if models.is_dir():
        shutil.copytree(models, used.warehouse / "models", symlinks=True)  # versions are linked to
    written = {step: writers(store, original.snapshot, step) for step in original.steps}
    runs = set().union(*written.values())
    scratch.copy_from(store, original.snapshot, RESULTS, without_runs=runs, whole=RECORDS)
    differences: list[Difference] = []
    values = 0
    with dg.DagsterInstance.ephemeral() as instance:
        for step in original.steps:
            read_at = market_seen(store, original, step)
            read = market_snapshot or read_at
            on_progress(f"{step.job} {step.first_key}, on the market of snapshot {read}")
            scratch.copy_from(store, read, MARKET)
            complete_younger_datasets(scratch)
            know_users_trials(store, read_at, scratch)
            outcome = execute(step, defs.resolve_job_def(step.job), instance)
            if outcome.errors:
                msg = f"{step.job} {step.first_key} fails when it is run again: {'; '.join(outcome.errors)}"
                raise BlofinError(msg)
            if step.job != REPORT:
                compared, differing = compare_rows(
                    store, original.snapshot, scratch, written[step], outcome.run_id, known_at=read_at
                )
                values, differences = values + compared, differences + differing
    text = scratch.read("SELECT report_json FROM reports.daily_reports WHERE as_of = ?", [original.as_of])
    scratch.close()
    if not text.is_empty():  # the report is among the steps
        shown, differing = compare_documents(original.document, json.loads(text["report_json"].item()))
        values, differences = values + shown, differing + differences
    if not other_code(original):
        return Reproduction(values, tuple(differences))
    kept = tuple(each for each in differences if not (each.wording or each.rounding))
    reworded = sum(each.wording for each in differences)
    return Reproduction(values, kept, reworded, len(differences) - len(kept) - reworded)


def know_users_trials(store: Warehouse, known_at: int, scratch: Warehouse) -> None:
    """Leave in the scratch ledger the trials of users that a step knew: it counted none that came after it.

    A report that was rebuilt since knows later ones.

    Parameters
    ----------
    store : Warehouse
        The original warehouse.
    known_at : int
        Snapshot from which the step read.
    scratch : Warehouse
        Where it is repeated.
    """
    known = store.read_at(known_at, "SELECT * EXCLUDE (run_id) FROM research.trials WHERE author = ?", [Author.USER])
    with scratch.transaction("reproduction") as tx:
        tx.replace("research.trials", known, author=Author.USER)


def complete_younger_datasets(scratch: Warehouse) -> None:
    """Complete the market of a copied snapshot by datasets that are younger, so that a cycle is not refused.

    Bars of a timeframe that was added since are made of the copied 1-minute bars. Anything else is marked as stored,
    without rows: the cycle could not read it.
    """
    have = set(scratch.read("SELECT DISTINCT dataset FROM market.coverage")["dataset"])
    minutes = scratch.read("SELECT * EXCLUDE (run_id) FROM market.coverage WHERE dataset = 'candles_1m'")
    for dataset in (name for name in DATASETS if name not in have):
        timeframe = next((each for each in TIMEFRAMES if dataset == f"candles_{each}"), None)
        if timeframe is not None and not minutes.is_empty():
            _build_bars(scratch, timeframe, minutes)
            continue
        with scratch.transaction("reproduction") as tx:
            tx.append("market.coverage", minutes.with_columns(dataset=pl.lit(dataset), rows=pl.lit(0)))


def _build_bars(scratch: Warehouse, timeframe: Timeframe, minutes: pl.DataFrame) -> None:
    """Store the bars of a timeframe for the symbols and days of some coverage of 1-minute bars."""
    days = sorted(set(minutes["day"]))
    first = datetime.combine(days[0], time(), UTC)
    window = DayWindow(tuple(days), first, max(minutes["through"]))
    for symbols, part in window.pieces(sorted(set(minutes["symbol"])), MINUTES["1d"], _MINUTES_AT_ONCE):
        bars = aggregate(scratch.candles(symbols, "1m", part.start, part.end), timeframe, part.end)
        store_bars(scratch, f"market.candles_{timeframe}", symbols, part, bars, timeframe, "reproduction")


def scratch_settings(settings: Settings, document: dict[str, Any], folder: Path) -> Settings:
    """Return the settings of a scratch warehouse: those of the report, with no budget for new questions to Claude.

    Parameters
    ----------
    settings : Settings
        The current settings.
    document : dict
        The report.
    folder : Path
        Folder of the scratch warehouse.

    Returns
    -------
    Settings
        For the reproduction.
    """
    market, made_with = document["market"], document["provenance"]
    return settings.model_copy(
        update={
            "warehouse": folder.resolve(),
            "catalog": None,
            "symbols": tuple(market["symbols"]),
            **{name: made_with.get(name, getattr(settings, name)) for name in _MADE_WITH},
            "ai_budget_usd": 0.0,
        }
    )


def writers(store: Warehouse, snapshot: int, step: Step) -> set[str]:
    """Return the runs that wrote a step's results.

    Parameters
    ----------
    store : Warehouse
        Where results are stored.
    snapshot : int
        Later results are ignored.
    step : Step
        A cycle or report.

    Returns
    -------
    set of str
        Run ids.
    """
    return set(store.read_at(snapshot, query(f"reproduction/{step.job}_writers"), {"as_of": step.as_of})["run_id"])


def market_seen(store: Warehouse, original: Original, step: Step) -> int:
    """Return the snapshot from which a step read the market, according to its results.

    Parameters
    ----------
    store : Warehouse
        Where results are stored.
    original : Original
        The report.
    step : Step
        One of its cycles.

    Returns
    -------
    int
        Number of the snapshot.
    """
    if step.job == REPORT:
        return original.snapshot
    snapshot = store.read_at(original.snapshot, _READ[step.job], [step.as_of])["s"].item()
    return original.snapshot if snapshot is None else int(snapshot)


def compare_rows(
    store: Warehouse, snapshot: int, scratch: Warehouse, stored_by: set[str], made_by: str, *, known_at: int
) -> tuple[int, list[Difference]]:
    """Compare the rows that a cycle wrote originally with those it wrote now.

    A column that a later version added is not compared: the cycle could not fill it.

    Parameters
    ----------
    store : Warehouse
        The original warehouse.
    snapshot : int
        Snapshot of the report.
    scratch : Warehouse
        Where the cycle was repeated.
    stored_by : set of str
        Original runs.
    made_by : str
        Run of the repetition.
    known_at : int
        Snapshot from which the cycle read: its tables and columns are those that it knew.

    Returns
    -------
    tuple of int and list of Difference
        Number of compared values, and those that differ.
    """
    values = 0
    differences: list[Difference] = []
    keys = dict(store.read("SELECT table_name, columns FROM meta.table_keys").iter_rows())
    tables = scratch.read("SELECT DISTINCT schema_name || '.' || table_name AS name FROM duckdb_tables() ORDER BY 1")
    for table in tables["name"]:
        if not table.startswith(("research.", "ml.")) or table in RECORDS:
            continue
        again = scratch.read(f"SELECT * FROM {table} WHERE run_id = ?", [made_by])  # noqa: S608 - names of our own
        stored, before = store.rows_at(snapshot, table, stored_by), store.rows_at(known_at, table, ())
        if stored is None or before is None:  # a table that is younger than the report, or than the cycle
            continue
        then = stored.select(name for name in stored.columns if name in before.columns)
        key = keys[table]
        if table in _KEYED_BY_TEXT:
            named = [name for name in _KEYED_BY_TEXT[table] if name in then.columns]
            key = [_PLACE, *named]  # the place is never null
            then, again = (_placed(rows, named) for rows in (then, again))
        compared, differing = compare_frames(table, then, again, key)
        values, differences = values + compared, differences + differing
    return values, differences


_KEYED_BY_TEXT: Final = {"research.knowledge_entries": ("kind", "category", "strategy")}
"""Tables whose id is a hash of a sentence, with what says which rows are the same where the sentence is reworded."""
_PLACE: Final = "place"


def _placed(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return rows with their place among those that are equal in some columns, instead of their id."""
    ordered = rows.drop("id").sort(*columns, "content")
    return ordered.with_columns(pl.int_range(pl.len()).over(columns).alias(_PLACE))
