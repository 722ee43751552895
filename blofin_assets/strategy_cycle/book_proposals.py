"""Proposals of the tuning of books.

Belongs here: the fields of a proposal that follow from what was tried. Does not belong here: trying it (`book_search`),
rows (`proposals`).
"""

import json
from typing import Any

from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.population import BOOKS, BookRecord
from blofin_assets.strategy_cycle.proposals import Proposal
from strategies.language.book import Book
from strategies.quotas import ATTEMPTS
from strategies.search.books import ScoredBook
from strategies.search.tuning import changes


def exhausted(record: BookRecord, attempts: int) -> Proposal:
    """Return the proposal of a book that is not tuned again: it is archived."""
    why = (
        f"{attempts} tuning attempts, and still in the last fifth of the search window"
        if attempts >= ATTEMPTS
        else "in the last fifth of the search window, without a parameter to tune"
    )
    name, version = record.key
    return Proposal(
        BOOKS.tuning, Author.TUNER, ProposalState.EXHAUSTED, name=name, version=version, parent_version=version,
        refusal=why,
    )  # fmt: skip


def refused_attempt(book: Book, attempt: int, refusal: str, **further: Any) -> Proposal:
    """Return the proposal of an attempt that gave no version.

    Parameters
    ----------
    book : Book
        What was tuned.
    attempt : int
        Number of the attempt, from 1.
    refusal : str
        Why there is none.
    **further
        Other fields.

    Returns
    -------
    Proposal
        For `research.proposals`.
    """
    return Proposal(
        BOOKS.tuning, Author.TUNER, ProposalState.REFUSED, name=book.name, parent_version=book.version,
        attempt=attempt, refusal=refusal, **further,
    )  # fmt: skip


def attempted(book: Book, parent: ScoredBook, best: ScoredBook | None, attempt: int, tries: int) -> Proposal:
    """Return the proposal of one tuning attempt: the best different version, or that there is none.

    Parameters
    ----------
    book : Book
        What was tuned.
    parent, best : ScoredBook
        The book itself in sample, and the best other version; None where nothing is better.
    attempt : int
        Number of the attempt, from 1.
    tries : int
        Versions evaluated, the book itself included.

    Returns
    -------
    Proposal
        For `research.proposals`.
    """
    shared: dict[str, Any] = {
        "evaluations": tries,
        "parent_search_score": parent.evaluation.metrics()["score"],
        "parent_objective": parent.objective,
    }
    if best is None:
        why = f"none of {tries - 1} other sets of parameters was better in the search window"
        return refused_attempt(book, attempt, why, **shared)
    changed = json.dumps(changes(parent.strategy.parameters, best.strategy.parameters), ensure_ascii=False)
    return Proposal(
        BOOKS.tuning, Author.TUNER, ProposalState.SOUND, name=book.name, version=best.strategy.version,
        parent_version=book.version, attempt=attempt, changes=changed, strategy=best.strategy,
        **seen_in_sample(best), **shared,
    )  # fmt: skip


def seen_in_sample(scored: ScoredBook) -> dict[str, Any]:
    """Return the fields of `Proposal` that describe a version's in-sample result."""
    metrics = scored.evaluation.metrics()
    return {
        "search_score": metrics["score"],
        "search_trades": metrics["trades"],
        "search_sharpe": metrics["sharpe"],
        "objective": scored.objective,
    }
