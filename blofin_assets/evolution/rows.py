"""Proposals, tries and runs of designers as rows of the warehouse's tables.

Belongs here: column names, types and ids. Does not belong here: making a proposal, writing (the assets).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from blofin_assets.assets.results import row_id
from blofin_assets.trials import SEARCH
from features.bars import TS
from strategies.base import Strategy
from strategies.evolution.judging import Judged
from strategies.evolution.selection import Stage

KIND: Final = "strategy"

SOUND: Final = "sound"
REFUSED: Final = "refused"
EXHAUSTED: Final = "exhausted"
"""States of a proposal: it may take the exam; it may not; there was none, since the name is to be archived."""

PROPOSALS: Final[dict[str, Any]] = {
    "as_of": TS, "stage": pl.String, "designer": pl.String, "slot": pl.Int32, "name": pl.String, "version": pl.String,
    "parent_version": pl.String, "attempt": pl.Int32, "changes": pl.String, "reason": pl.String,
    "fails_when": pl.String, "state": pl.String, "refusal": pl.String, "evaluations": pl.Int32,
    "search_score": pl.Float64, "search_trades": pl.Int32, "search_sharpe": pl.Float64, "objective": pl.Float64,
    "parent_search_score": pl.Float64, "parent_objective": pl.Float64, "cost_usd": pl.Float64,
}  # fmt: skip
_TRIALS: Final[dict[str, Any]] = {
    "id": pl.String, "as_of": TS, "kind": pl.String, "author": pl.String, "name": pl.String, "version": pl.String,
    "params": pl.String, "window_start": TS, "window_end": TS, "snapshot_id": pl.Int64, "score": pl.Float64,
    "trades": pl.Int64, "sharpe": pl.Float64, "lanes": pl.String, "purpose": pl.String,
}  # fmt: skip

LONGEST: Final = 600
"""Most characters of a text that somebody else wrote, in a row."""


@dataclass(frozen=True)
class Made:
    """One proposal of a cycle, as `research.proposals` holds it; its columns are explained there.

    `strategy` and `design_prompt` go to `research.strategies`.
    """

    stage: Stage
    designer: str
    state: str
    name: str | None = None
    version: str | None = None
    parent_version: str | None = None
    attempt: int | None = None
    changes: str | None = None
    reason: str | None = None
    fails_when: str | None = None
    refusal: str | None = None
    evaluations: int = 0
    search_score: float | None = None
    search_trades: int | None = None
    search_sharpe: float | None = None
    objective: float | None = None
    parent_search_score: float | None = None
    parent_objective: float | None = None
    cost_usd: float = 0.0
    strategy: Strategy | None = field(default=None, compare=False)
    design_prompt: str | None = None


@dataclass(frozen=True)
class Try:
    """One evaluation in a search window, as the trial ledger counts it."""

    name: str
    version: str
    lanes: str | None
    params: str
    score: float | None
    trades: int
    sharpe: float | None

    @classmethod
    def of(cls, found: Judged) -> "Try":
        """Return the try that a judgement was."""
        each = found.strategy
        given = json.dumps(each.parameters, sort_keys=True)
        pooled = found.pooled
        return cls(each.name, each.version, found.lanes, given, pooled.score, pooled.trades, pooled.sharpe)


def seen_in_search(found: Judged) -> dict[str, Any]:
    """Return the fields of `Made` that say what a version did in the search window."""
    pooled = found.pooled
    return {
        "search_score": pooled.score,
        "search_trades": pooled.trades,
        "search_sharpe": pooled.sharpe,
        "objective": found.objective,
    }


def proposal_rows(made: Sequence[Made], as_of: datetime) -> pl.DataFrame:
    """Return `research.proposals`; slots count the proposals of one stage and designer in their order."""
    rows: list[dict[str, Any]] = []
    slots: dict[tuple[str, str], int] = {}
    for each in made:
        key = (each.stage, each.designer)
        texts = {name: cut(getattr(each, name)) for name in ("reason", "fails_when", "refusal")}
        slot = slots.get(key, 0)
        slots[key] = slot + 1
        rows.append({**asdict(each), **texts, "as_of": as_of, "slot": slot})
    return pl.DataFrame([{name: row[name] for name in PROPOSALS} for row in rows], schema=PROPOSALS)


def strategy_rows(made: Iterable[Made], as_of: datetime) -> pl.DataFrame:
    """Return `research.strategies` for the proposals that are sound: no row without code that compiles."""
    rows = [
        {
            "name": each.strategy.name,
            "version": each.strategy.version,
            "source": "tuned" if each.stage == "tuning" else "designed",
            "author": each.designer,
            "parents": json.dumps([each.parent_version]) if each.parent_version else None,
            "code": each.strategy.source(),
            "parameters": json.dumps(each.strategy.parameters, sort_keys=True),
            "design_prompt": each.design_prompt,
            "created_at": as_of,
        }
        for each in made
        if each.strategy is not None and each.state == SOUND
    ]
    names = ("name", "version", "source", "author", "parents", "code", "parameters", "design_prompt")
    return pl.DataFrame(rows, schema={**dict.fromkeys(names, pl.String), "created_at": TS})


def tries_rows(
    tries: Iterable[Try], author: str, as_of: datetime, window: tuple[datetime, datetime], snapshot: int
) -> pl.DataFrame:
    """Return `research.trials` for evaluations in a search window; one that was made twice is one row."""
    start, end = window
    rows: dict[str, dict[str, Any]] = {}
    for each in tries:
        key = row_id("trial", SEARCH, KIND, author, as_of, each.name, each.version, each.lanes, start)
        rows[key] = {
            "id": key,
            "as_of": as_of,
            "kind": KIND,
            "author": author,
            "name": each.name,
            "version": each.version,
            "params": each.params,
            "window_start": start,
            "window_end": end,
            "snapshot_id": snapshot,
            "score": each.score,
            "trades": each.trades,
            "sharpe": each.sharpe,
            "lanes": each.lanes,
            "purpose": SEARCH,
        }
    return pl.DataFrame(list(rows.values()), schema=_TRIALS)


def run_row(
    stage: Stage,
    designer: str,
    as_of: datetime,
    *,
    state: str,
    budget: int,
    made: Sequence[Made] = (),
    evaluations: int | None = None,
    detail: str = "",
    spent: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one row of `research.designer_runs`.

    Parameters
    ----------
    spent : mapping, optional
        `model`, `calls`, `cost_usd` where Claude was asked.
    evaluations : int, optional
        The sum over `made` where omitted.
    """
    own = [each for each in made if (each.stage, each.designer) == (stage, designer)]
    used = sum(each.evaluations for each in own) if evaluations is None else evaluations
    return {
        "as_of": as_of,
        "stage": stage,
        "designer": designer,
        "state": state,
        "detail": cut(detail) or None,
        "budget": budget,
        "evaluations": used,
        "proposals": len(own),
        **(spent or {"model": None, "calls": None, "cost_usd": 0.0}),
    }


def cut(text: str | None) -> str | None:
    """Return a text, shortened where it is longer than a row should hold."""
    return text if text is None or len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
