"""Proposals of tuning, of strategies and of books.

Belongs here: the fields of a proposal that follow from what was tried. Does not belong here: trying it (`tuning`,
`book_search`), rows (`proposals`).
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.population import VersionRecord, Versions
from blofin_assets.strategy_cycle.proposals import Proposal
from strategies.quotas import ATTEMPTS
from strategies.search.tuning import Q, S, Tuned, changes


def exhausted(of: Versions[Any], record: VersionRecord[Any], attempts: int) -> Proposal:
    """Return the proposal of a version that is not tuned again: it is archived.

    Parameters
    ----------
    of : Versions
        The kind.
    record : VersionRecord
        The version.
    attempts : int
        How often it was tuned; its parameters cannot be tuned where that is less than `ATTEMPTS`.

    Returns
    -------
    Proposal
        Exhausted, with its reason.
    """
    why = (
        f"{attempts} tuning attempts, and still in the last fifth of the search window"
        if attempts >= ATTEMPTS
        else "in the last fifth of the search window, without a parameter to tune"
    )
    name, version = record.key
    return Proposal(
        of.tuning, Author.TUNER, ProposalState.EXHAUSTED, name=name, version=version, parent_version=version,
        refusal=why,
    )  # fmt: skip


def failed(of: Versions[Any], record: VersionRecord[Any], attempt: int, reason: str) -> Proposal:
    """Return the proposal of a failed attempt. It counts: otherwise it would be repeated for ever.

    Parameters
    ----------
    of : Versions
        The kind.
    record : VersionRecord
        The version that was tuned.
    attempt : int
        Which attempt this was, from 1.
    reason : str
        Why it failed, as it is stored.

    Returns
    -------
    Proposal
        Refused, with its reason.
    """
    name, version = record.key
    return Proposal(
        of.tuning, Author.TUNER, ProposalState.REFUSED, name=name, parent_version=version, attempt=attempt,
        refusal=f"the attempt failed: {reason}",
    )  # fmt: skip


def attempted(
    of: Versions[Any],
    result: Tuned[S, Q],
    seen: Callable[[Q], dict[str, Any]],
    attempt: int,
    *,
    cost: float = 0.0,
    diagnosis: str | None = None,
    knows_until: datetime | None = None,
) -> Proposal:
    """Return the proposal of one tuning attempt: the best different version, or that there is none.

    Parameters
    ----------
    of : Versions
        The kind.
    result : Tuned
        Result of the search.
    seen : callable
        Gives the fields of `Proposal` that describe a version's in-sample result.
    attempt : int
        Number of the attempt, from 1.
    cost : float
        Cost of questions to Claude, US dollars.
    diagnosis : str or None
        Claude's diagnosis, if any.
    knows_until : datetime or None
        End of what a model that suggested values may know of the market (UTC).

    Returns
    -------
    Proposal
        For `research.proposals`.
    """
    parent, best = result.parent, result.best
    shared: dict[str, Any] = {
        "name": parent.strategy.name,
        "parent_version": parent.strategy.version,
        "attempt": attempt,
        "evaluations": len(result.tried),
        "parent_search_score": seen(parent)["search_score"],
        "parent_objective": parent.objective,
        "reason": "; ".join(filter(None, (diagnosis, result.stopped))) or None,
        "cost_usd": cost,
        "knows_until": knows_until,
    }
    if best is None:
        why = f"none of {len(result.tried) - 1} other sets of parameters was better in the search window"
        return Proposal(of.tuning, Author.TUNER, ProposalState.REFUSED, refusal=why, **shared)
    changed = json.dumps(changes(parent.strategy.parameters, best.strategy.parameters), ensure_ascii=False)
    return Proposal(
        of.tuning, Author.TUNER, ProposalState.SOUND, version=best.strategy.version, strategy=best.strategy,
        changes=changed, **seen(best), **shared,
    )  # fmt: skip
