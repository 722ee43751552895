"""The report's part about evolution: who designed and tuned what, at which cost, and what was archived.

Belongs here: its queries and its keys in the JSON. Does not belong here: the rest of the report (`collect`,
`document`), looks (`page`).

No look-ahead: everything is of one cycle, whose as-of is not after the report's.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from blofin_resources.warehouse import Warehouse

Json = dict[str, Any]

_PROPOSALS: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.proposals WHERE as_of = ? AND stage = ? ORDER BY designer, slot"
)
_OUTCOMES: Final = "SELECT * EXCLUDE (run_id) FROM research.exam_outcomes WHERE as_of = ? ORDER BY name, version"
_DESIGNERS: Final = "SELECT * FROM research.designers WHERE as_of = ? ORDER BY stage, designer"
_ARCHIVED: Final = (
    "SELECT name, version, any_value(reason) AS reason FROM research.strategy_events "
    "WHERE \"at\" = ? AND event = 'archived' GROUP BY name, version ORDER BY name, version"
)


@dataclass(frozen=True)
class Evolution:
    """What one strategy cycle changed.

    Attributes
    ----------
    designs, tunings : DataFrame
        `research.proposals` by stage.
    outcomes : DataFrame
        `research.exam_outcomes`.
    designers : DataFrame
        `research.designers`: the authors compared.
    archived : DataFrame
        `name, version, reason`.
    """

    designs: pl.DataFrame
    tunings: pl.DataFrame
    outcomes: pl.DataFrame
    designers: pl.DataFrame
    archived: pl.DataFrame


def collect_evolution(warehouse: Warehouse, cycle: datetime | None) -> Evolution:
    """Return what the strategy cycle of an as-of changed; empty where there was none."""
    return Evolution(
        designs=warehouse.read(_PROPOSALS, [cycle, "design"]),
        tunings=warehouse.read(_PROPOSALS, [cycle, "tuning"]),
        outcomes=warehouse.read(_OUTCOMES, [cycle]),
        designers=warehouse.read(_DESIGNERS, [cycle]),
        archived=warehouse.read(_ARCHIVED, [cycle]),
    )


def stage_state(found: Evolution, stage: str) -> tuple[str, str]:
    """Return `done` or `not run` of a stage, with what each author did or why it did not."""
    rows = found.designers.filter(pl.col("stage") == stage)
    if rows.is_empty():
        return "not run", "the cycle has no such stage"
    words = [_author(row) for row in rows.iter_rows(named=True)]
    ran = rows.filter(pl.col("state") != "not run").height
    return "done" if ran else "not run", "; ".join(words)


def strategy_changes(found: Evolution) -> Json:
    """Return the report's `strategy_changes`: designed and tuned that took the exam, and what was archived."""
    exams = {(row["name"], row["version"]): row for row in found.outcomes.iter_rows(named=True)}
    return {
        "designed": [_designed(row, exams) for row in found.designs.iter_rows(named=True) if _key(row) in exams],
        "tuned": [_tuned(row, exams) for row in found.tunings.filter(pl.col("attempt") > 0).iter_rows(named=True)],
        "archived": found.archived.to_dicts(),
    }


def designers(found: Evolution) -> list[Json]:
    """Return the authors compared: evaluations, finalists, accepted, score on untouched data, dollars."""
    names = (
        "stage", "designer", "state", "detail", "budget", "evaluations", "proposals", "finalists", "accepted",
        "supported", "mean_score", "best_score", "model", "cost_usd",
    )  # fmt: skip
    return [{name: _rounded(row[name]) for name in names} for row in found.designers.iter_rows(named=True)]


def _designed(row: Json, exams: dict[tuple[str, str], Json]) -> Json:
    exam = exams[_key(row)]
    return {
        "name": row["name"],
        "version": row["version"],
        "designer": row["designer"],
        "reason": row["reason"],
        "backtest_score": _rounded(exam["score"]),
        "trades": exam["trades"],
        "search_score": _rounded(row["search_score"]),
        "rank": exam["rank"],
        "accepted": exam["accepted"],
        "supported": exam["supported"],
        "replaces": exam["replaces"],
        "cost_usd": _rounded(row["cost_usd"]),
    }


def _tuned(row: Json, exams: dict[tuple[str, str], Json]) -> Json:
    exam = exams.get(_key(row), {})
    new, old = exam.get("score"), exam.get("parent_score")
    return {
        "name": row["name"],
        "version": row["version"],
        "params_changed": json.loads(row["changes"]) if row["changes"] else {},
        "improvement": f"{new - old:+.1f} points" if new is not None and old is not None else None,
        "attempt": row["attempt"],
        "backtest_score": _rounded(new),
        "previous_score": _rounded(old),
        "accepted": exam.get("accepted", False),
        "reason": exam.get("reason") or row["refusal"] or "not among the finalists",
        "cost_usd": _rounded(row["cost_usd"]),
    }


def _author(row: Json) -> str:
    if row["state"] == "not run":
        return f"{row['designer']} not run ({row['detail']})"
    cost = f", ${row['cost_usd']:.4f}" if row["cost_usd"] else ""
    told = f"{row['designer']}: {row['proposals']} proposals, {row['evaluations']} evaluations{cost}"
    return f"{told}; of its calls some brought nothing ({row['detail']})" if row["state"] == "partial" else told


def _key(row: Json) -> tuple[str, str]:
    return row["name"], row["version"]


def _rounded(value: Any) -> Any:
    return float(f"{value:.10g}") if isinstance(value, float) else value
