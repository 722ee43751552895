"""Making a report again from what it was made of, and comparing it value by value.

Belongs here: the scratch warehouse, running the report's cycles again in it, the comparison. Does not belong here: the
terminal (`cli.reproduce`), computing anything: the same jobs do that.

What is computed again: the strategy and the ML cycle that the report names, and the report. Each cycle gets the market
as it was in the snapshot that its results name, and of everything else what the report's snapshot holds, less what the
cycle itself wrote; answers of Claude come from the record. What other runs wrote (earlier cycles, the forward ledger)
is taken as it is stored.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from blofin_assets.code_version import code_version
from blofin_assets.definitions import build_defs
from blofin_assets.plan import CADENCES, ML_CYCLE, REPORT, STRATEGY_CYCLE, Step
from blofin_assets.runner import console, execute
from blofin_resources.dagster_resources import open_warehouse
from blofin_resources.errors import BlofinError, WarehouseError
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

MARKET: Final = ("market",)
RESULTS: Final = ("research", "ml", "reports")

RECORDS: Final = frozenset({"research.llm_calls", "research.cycle_events"})
"""What is taken whole: answers to be replayed, and what was due."""

_PROVENANCE: Final = frozenset({"run_id", "snapshot_id", "timestamp", "provenance"})
"""What tells of the making and not of what was made."""

_MADE_WITH: Final = ("seed", "search_budget", "tuning_budget")
"""Settings that a report names under `provenance`; an older report may not, and those of today are taken."""

_WRITTEN: Final = {
    STRATEGY_CYCLE: (
        "SELECT run_id FROM research.ranking_history WHERE as_of = $1 AND kind = 'strategy' "
        "UNION SELECT run_id FROM research.strategy_backtest_results WHERE as_of = $1"
    ),
    ML_CYCLE: (
        "SELECT run_id FROM research.ranking_history WHERE as_of = $1 AND kind <> 'strategy' "
        "UNION SELECT run_id FROM ml.ml_model_results WHERE as_of = $1 "
        "UNION SELECT run_id FROM ml.ml_ensembles WHERE as_of = $1 "
        "UNION SELECT run_id FROM ml.feature_importance WHERE as_of = $1 "
        "UNION SELECT run_id FROM ml.model_tuning WHERE as_of = $1"
    ),
    REPORT: "SELECT run_id FROM reports.daily_reports WHERE as_of = $1",
}
_READ: Final = {
    STRATEGY_CYCLE: "SELECT min(snapshot_id) AS s FROM research.strategy_backtest_results WHERE as_of = ?",
    ML_CYCLE: "SELECT min(snapshot_id) AS s FROM ml.ml_model_results WHERE as_of = ?",
}


class Difference(NamedTuple):
    """A value that came out otherwise: where, as stored, as computed again."""

    where: str
    stored: object
    again: object

    def __str__(self) -> str:
        return f"{self.where}: stored {self.stored!r}, computed again {self.again!r}"


@dataclass(frozen=True)
class Original:
    """A stored report.

    Attributes
    ----------
    document
        The report as it was stored, provenance included.
    as_of, snapshot
        When it was made for, and the state of the warehouse that it was made of.
    steps
        The cycles that it shows, oldest first, and last the report itself.
    """

    document: dict[str, Any]
    as_of: datetime
    snapshot: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Reproduction:
    """What came of making a report again.

    Attributes
    ----------
    values
        How many values were compared.
    differences
        Those that came out otherwise; none if the report is reproduced.
    """

    values: int
    differences: tuple[Difference, ...]


def original_of(document: dict[str, Any]) -> Original:
    """Return a stored report with what it was made of.

    Raises
    ------
    BlofinError
        If it does not say.
    """
    provenance = document.get("provenance", {})
    if "snapshot" not in provenance or "as_of" not in document:
        msg = (
            f"the report of {document.get('report_date', 'an unknown day')} names no snapshot: it cannot be made again"
        )
        raise BlofinError(msg)
    as_of = datetime.fromisoformat(document["as_of"])
    times = {job: text and datetime.fromisoformat(text) for job, text in document.get("cycles", {}).items()}
    cadences = [cadence for cadence in CADENCES if times.get(cadence.job)]
    cycles = sorted((cadence.step(times[cadence.job]) for cadence in cadences), key=lambda step: step.as_of)
    report = next(cadence for cadence in CADENCES if cadence.job == REPORT).step(as_of)
    return Original(document, as_of, int(provenance["snapshot"]), (*cycles, report))


def require_same_code(original: Original) -> None:
    """Refuse a report that other code made.

    Raises
    ------
    BlofinError
        With both versions, and the way to compare all the same.
    """
    made_by, now = original.document["provenance"].get("code_version"), code_version()
    if made_by != now:
        msg = (
            f"the report of {original.document['report_date']} was made by code version {made_by or 'unknown'}, "
            f"this is {now}: check out the code that made it, or compare all the same with --force"
        )
        raise BlofinError(msg)


def reproduce(
    store: Warehouse,
    settings: Settings,
    original: Original,
    folder: Path,
    *,
    market_snapshot: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
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
    tell : callable
        Is told what is being done.

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
    found: list[Difference] = []
    values = 0
    with dg.DagsterInstance.ephemeral() as instance:
        for step in original.steps:
            read = market_snapshot or market_seen(store, original, step)
            tell(f"{step.job} {step.first_key}, on the market of snapshot {read}")
            scratch.copy_from(store, read, MARKET)
            outcome = execute(step, defs.resolve_job_def(step.job), instance)
            if outcome.errors:
                msg = f"{step.job} {step.first_key} fails when it is run again: {'; '.join(outcome.errors)}"
                raise BlofinError(msg)
            if step.job != REPORT:
                compared, differing = compare_rows(store, original.snapshot, scratch, written[step], outcome.run_id)
                values, found = values + compared, found + differing
    text = scratch.read("SELECT report_json FROM reports.daily_reports WHERE as_of = ?", [original.as_of])
    scratch.close()
    if text.is_empty():  # the report is not among the steps
        return Reproduction(values, tuple(found))
    shown, differing = compare_documents(original.document, json.loads(text["report_json"].item()))
    return Reproduction(values + shown, (*differing, *found))


def scratch_settings(settings: Settings, document: dict[str, Any], folder: Path) -> Settings:
    """Return settings for a scratch warehouse: what the report was made with, and no dollar for a new question."""
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
    """Return the runs that wrote a step's results."""
    return set(store.read_at(snapshot, _WRITTEN[step.job], [step.as_of])["run_id"])


def market_seen(store: Warehouse, original: Original, step: Step) -> int:
    """Return the snapshot in which a step saw the market: the one that its results name."""
    if step.job == REPORT:
        return original.snapshot
    seen = store.read_at(original.snapshot, _READ[step.job], [step.as_of])["s"].item()
    return original.snapshot if seen is None else int(seen)


def compare_rows(
    store: Warehouse, snapshot: int, scratch: Warehouse, stored_by: set[str], made_by: str
) -> tuple[int, list[Difference]]:
    """Compare the rows that a cycle wrote with those that it wrote now; return how many values, and the differences."""
    values = 0
    found: list[Difference] = []
    keys = dict(store.read("SELECT table_name, columns FROM meta.table_keys").iter_rows())
    tables = scratch.read("SELECT DISTINCT schema_name || '.' || table_name AS name FROM duckdb_tables() ORDER BY 1")
    for table in tables["name"]:
        if not table.startswith(("research.", "ml.")) or table in RECORDS:
            continue
        again = scratch.read(f"SELECT * FROM {table} WHERE run_id = ?", [made_by])  # noqa: S608 - names of our own
        try:
            marks = f"SELECT * FROM {table} WHERE run_id IN (SELECT unnest(?))"  # noqa: S608
            stored = store.read_at(snapshot, marks, [sorted(stored_by)])
        except WarehouseError:  # a table that is younger than the report
            continue
        compared, differing = _compare_frames(table, stored, again, keys[table])
        values, found = values + compared, found + differing
    return values, found


def _compare_frames(
    table: str, stored: pl.DataFrame, again: pl.DataFrame, key: Sequence[str]
) -> tuple[int, list[Difference]]:
    columns = [name for name in stored.columns if name in again.columns and name not in {*_PROVENANCE, *key}]
    both = stored.join(again, on=list(key), how="full", suffix=_AGAIN, nulls_equal=True, maintain_order="left_right")
    found = []
    for row in both.iter_rows(named=True):
        here, there = row[key[0]] is not None, row[f"{key[0]}{_AGAIN}"] is not None
        where = f"{table}[{_label(row, key, '' if here else _AGAIN)}]"
        if not (here and there):
            found.append(Difference(where, "a row" if here else None, "a row" if there else None))
            continue
        pairs = ((name, row[name], row[f"{name}{_AGAIN}"]) for name in columns)
        found += [Difference(f"{where}.{name}", old, new) for name, old, new in pairs if old != new]
    return both.height * len(columns), found


_AGAIN: Final = "__again"
_NAMING: Final = ("kind", "strategy_name", "model_name", "ensemble_name", "name", "symbol", "timeframe", "ts", "side")


def _label(row: dict[str, Any], key: Sequence[str], suffix: str) -> str:
    """Return what a person would call a row: its names where it has any, else its key."""
    named = [row[f"{name}{suffix}"] for name in _NAMING if row.get(f"{name}{suffix}") is not None]
    return ", ".join(str(part) for part in named or [row[f"{name}{suffix}"] for name in key])


def compare_documents(stored: dict[str, Any], again: dict[str, Any]) -> tuple[int, list[Difference]]:
    """Compare two reports, but for their provenance; return the number of values, and the differences."""
    old, new = (
        dict(flattened({key: v for key, v in each.items() if key not in _PROVENANCE})) for each in (stored, again)
    )
    paths = list(dict.fromkeys([*old, *new]))
    found = [Difference(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]
    return len(paths), found


def flattened(value: Any, path: str = "") -> list[tuple[str, object]]:
    """Return every plain value in a JSON document with its path; members of lists are called by name where they can."""
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in flattened(each, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        names = [each.get("name") or each.get("symbol") if isinstance(each, dict) else None for each in value]
        unique = None not in names and len(set(names)) == len(names)
        labels = names if unique else list(range(len(value)))
        return [leaf for label, each in zip(labels, value, strict=True) for leaf in flattened(each, f"{path}[{label}]")]
    return [(path, value)]
