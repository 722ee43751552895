"""What was said of the day, and what Claude cost.

Belongs here: the stored review, the ledger of calls. Does not belong here: reviewing (`reporting.review`).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl

from blofin_assets.partitions import DAY
from blofin_resources.warehouse import Warehouse

Author = Literal["claude", "rules"]

OWN_ROLES: Final = ("reviewer", "summariser")
"""Roles of the calls that a review makes itself."""

_REVIEW: Final = "SELECT * EXCLUDE (run_id) FROM reports.ai_reviews WHERE as_of = ?"
_CALLS: Final = (
    "SELECT role, model, count(*) AS calls, count(*) FILTER (WHERE outcome = 'answered') AS answered, "
    "string_agg(DISTINCT outcome, ', ' ORDER BY outcome) AS outcomes, sum(cost_usd) AS cost_usd "
    "FROM research.llm_calls WHERE as_of > $1 AND as_of <= $2 AND NOT (as_of = $2 AND role IN (SELECT unnest($3))) "
    "GROUP BY ALL ORDER BY role, model"
)


@dataclass(frozen=True)
class Review:
    """A stored review.

    Attributes
    ----------
    author, model, detail
        `claude` or `rules`; the model; why it was not Claude.
    verdict, findings, next_steps
        In words; as the table's comments say.
    summary, summary_author, summary_model, summary_detail
        The day in a few sentences, and who wrote them.
    usable_from
        First as-of at which a design may read it.
    cost_usd
        US dollars.
    """

    author: Author
    model: str | None
    detail: str | None
    verdict: str
    findings: tuple[dict[str, Any], ...]
    next_steps: tuple[dict[str, Any], ...]
    summary: str
    summary_author: Author
    summary_model: str | None
    summary_detail: str | None
    usable_from: datetime
    cost_usd: float


def collect_review(warehouse: Warehouse, as_of: datetime) -> Review | None:
    """Return the review of the day that ends at `as_of`; None where there is none."""
    rows = warehouse.read(_REVIEW, [as_of]).to_dicts()
    if not rows:
        return None
    row = {name: rows[0][name] for name in Review.__dataclass_fields__}
    lists = {name: tuple(json.loads(row[name])) for name in ("findings", "next_steps")}
    return Review(**{**row, **lists})


def collect_calls(warehouse: Warehouse, as_of: datetime, *, draft: bool) -> pl.DataFrame:
    """Return the calls for the day's as-of times, by role and model; in a draft without those of the review itself."""
    return warehouse.read(_CALLS, [as_of - DAY, as_of, list(OWN_ROLES if draft else ())])
