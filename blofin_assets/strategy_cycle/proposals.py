"""Proposals, trials and designer runs as rows of the warehouse's tables.

Belongs here: column names, types and ids. Does not belong here: making a proposal, writing (the assets).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester.statistics.e_process import days_of
from backtester.statistics.windows import Window
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.vocabulary import Author, Kind, ProposalState, Purpose, Source, StageState
from features.bars import TS
from strategies.language.strategy import Written
from strategies.quotas import Stage
from strategies.search.books import ScoredBook
from strategies.search.objective import Scored

PROPOSALS: Final[dict[str, Any]] = {
    "as_of": TS, "stage": pl.String, "designer": pl.String, "slot": pl.Int32, "name": pl.String, "version": pl.String,
    "parent_version": pl.String, "attempt": pl.Int32, "changes": pl.String, "reason": pl.String,
    "fails_when": pl.String, "state": pl.String, "refusal": pl.String, "evaluations": pl.Int32,
    "search_score": pl.Float64, "search_trades": pl.Int32, "search_sharpe": pl.Float64, "objective": pl.Float64,
    "parent_search_score": pl.Float64, "parent_objective": pl.Float64, "cost_usd": pl.Float64,
    "search_day_deviation": pl.Float64, "search_day_worst": pl.Float64, "search_day_best": pl.Float64,
}  # fmt: skip
_TRIALS: Final[dict[str, Any]] = {
    "id": pl.String, "as_of": TS, "kind": pl.String, "author": pl.String, "name": pl.String, "version": pl.String,
    "params": pl.String, "window_start": TS, "window_end": TS, "snapshot_id": pl.Int64, "score": pl.Float64,
    "trades": pl.Int64, "sharpe": pl.Float64, "lanes": pl.String, "purpose": pl.String,
}  # fmt: skip

LONGEST: Final = 600
"""Longest text of an outside author that a row stores, in characters."""


@dataclass(frozen=True)
class Proposal:
    """One proposal of a cycle, as `research.proposals` holds it; its columns are explained there.

    `strategy`, `design_prompt` and `knows_until` go to `research.strategies`.
    """

    stage: Stage
    designer: Author
    state: ProposalState
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
    search_day_deviation: float | None = None
    search_day_worst: float | None = None
    search_day_best: float | None = None
    parent_search_score: float | None = None
    parent_objective: float | None = None
    cost_usd: float = 0.0
    strategy: Written | None = field(default=None, compare=False)
    design_prompt: str | None = None
    knows_until: datetime | None = None


@dataclass(frozen=True)
class TrialRow:
    """One evaluation in a search window, as the trial ledger counts it; `window` is that window."""

    name: str
    version: str
    lanes: str | None
    params: str
    score: float | None
    trades: int
    sharpe: float | None
    window: Window

    @classmethod
    def of(cls, scored: Scored, window: Window) -> "TrialRow":
        """Return the row of a strategy that was scored in a search window."""
        strategy = scored.strategy
        params = json.dumps(strategy.parameters, sort_keys=True)
        pooled = scored.pooled
        return cls(
            strategy.name, strategy.version, scored.lanes, params, pooled.score, pooled.trades, pooled.sharpe, window
        )

    @classmethod
    def of_book(cls, scored: ScoredBook, window: Window) -> "TrialRow":
        """Return the row of a book that was scored in a search window."""
        book, metrics = scored.strategy, scored.evaluation.metrics()
        params = json.dumps(book.parameters, sort_keys=True)
        trades = int(metrics["trades"] or 0)
        return cls(book.name, book.version, scored.lanes, params, metrics["score"], trades, metrics["sharpe"], window)


def seen_in_search(scored: Scored) -> dict[str, Any]:
    """Return the fields of `Proposal` that describe a version's in-sample result."""
    pooled = scored.pooled
    days = days_of(pooled.present_returns)
    return {
        **({} if days is None else {f"search_day_{name}": value for name, value in days._asdict().items()}),
        "search_score": pooled.score,
        "search_trades": pooled.trades,
        "search_sharpe": pooled.sharpe,
        "objective": scored.objective,
    }


def book_seen_in_search(scored: ScoredBook) -> dict[str, Any]:
    """Return the same fields of a book's in-sample result."""
    metrics = scored.evaluation.metrics()
    return {
        "search_score": metrics["score"],
        "search_trades": metrics["trades"],
        "search_sharpe": metrics["sharpe"],
        "objective": scored.objective,
    }


def proposal_rows(proposals: Sequence[Proposal], as_of: datetime) -> pl.DataFrame:
    """Return `research.proposals`; slots number the proposals of each stage and designer in order."""
    rows: list[dict[str, Any]] = []
    slots: dict[tuple[str, str], int] = {}
    for proposal in proposals:
        key = (proposal.stage, proposal.designer)
        texts = {name: cut(getattr(proposal, name)) for name in ("reason", "fails_when", "refusal")}
        slot = slots.get(key, 0)
        slots[key] = slot + 1
        rows.append({**asdict(proposal), **texts, "as_of": as_of, "slot": slot})
    return pl.DataFrame([{name: row[name] for name in PROPOSALS} for row in rows], schema=PROPOSALS)


def strategy_rows(proposals: Iterable[Proposal], as_of: datetime) -> pl.DataFrame:
    """Return `research.strategies` for the sound proposals: every row has code that compiles."""
    rows = [
        {
            "name": proposal.strategy.name,
            "version": proposal.strategy.version,
            "source": Source.TUNED if proposal.stage.tunes else Source.DESIGNED,
            "author": proposal.designer,
            "parents": json.dumps([proposal.parent_version]) if proposal.parent_version else None,
            "code": proposal.strategy.source(),
            "parameters": json.dumps(proposal.strategy.parameters, sort_keys=True),
            "design_prompt": proposal.design_prompt,
            "knows_until": proposal.knows_until,
            "created_at": as_of,
        }
        for proposal in proposals
        if proposal.strategy is not None and proposal.state == ProposalState.SOUND
    ]
    names = ("name", "version", "source", "author", "parents", "code", "parameters", "design_prompt")
    return pl.DataFrame(rows, schema={**dict.fromkeys(names, pl.String), "knows_until": TS, "created_at": TS})


def search_trial_rows(
    tries: Iterable[TrialRow], author: Author, as_of: datetime, snapshot: int, kind: Kind = Kind.STRATEGY
) -> pl.DataFrame:
    """Return the rows of `research.trials` for evaluations in a search window; repeated evaluations give one row.

    Parameters
    ----------
    tries : iterable of TrialRow
        The evaluations.
    author : Author
        Who searched.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.
    kind : Kind
        Of what was tried.

    Returns
    -------
    DataFrame
        Columns of the table.
    """
    rows: dict[str, dict[str, Any]] = {}
    for trial in tries:
        start, end = trial.window.start, trial.window.end
        key = row_id("trial", Purpose.SEARCH, kind, author, as_of, trial.name, trial.version, trial.lanes, start)
        rows[key] = {
            "id": key,
            "as_of": as_of,
            "kind": kind,
            "author": author,
            "name": trial.name,
            "version": trial.version,
            "params": trial.params,
            "window_start": start,
            "window_end": end,
            "snapshot_id": snapshot,
            "score": trial.score,
            "trades": trial.trades,
            "sharpe": trial.sharpe,
            "lanes": trial.lanes,
            "purpose": Purpose.SEARCH,
        }
    return pl.DataFrame(list(rows.values()), schema=_TRIALS)


def run_row(
    stage: Stage,
    designer: Author,
    as_of: datetime,
    *,
    state: StageState,
    budget: int,
    proposals: Sequence[Proposal] = (),
    evaluations: int | None = None,
    detail: str = "",
    spent: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one row of `research.designer_runs`.

    Parameters
    ----------
    stage : Stage
        Tuning or design.
    designer : Author
        Who proposed.
    as_of : datetime
        As-of of the cycle.
    state : StageState
        How the run ended.
    budget : int
        Evaluations allowed.
    proposals : sequence of Proposal, optional
        Proposals of the stage; those of other designers are ignored.
    evaluations : int, optional
        Evaluations made; the sum over `proposals` if omitted.
    detail : str, optional
        Why it ended so.
    spent : mapping, optional
        `model`, `calls`, `cost_usd` if Claude was asked.

    Returns
    -------
    dict
        Values by column.
    """
    own = [proposal for proposal in proposals if (proposal.stage, proposal.designer) == (stage, designer)]
    used = sum(proposal.evaluations for proposal in own) if evaluations is None else evaluations
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
    """Return a text, shortened to the length that a row stores."""
    return text if text is None or len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
