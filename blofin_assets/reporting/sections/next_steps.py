"""The section on next steps, from the stored review of the day.

Belongs here: reading the review. Does not belong here: reviewing (`reporting.review`).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from blofin_assets.reporting.document import Number, Part, Time
from blofin_assets.reporting.section import ReportData, Section
from blofin_assets.shared.json_values import plain
from blofin_resources.warehouse import Warehouse

Author = Literal["claude", "rules"]

_REVIEW: Final = "SELECT * EXCLUDE (run_id) FROM reports.ai_reviews WHERE as_of = ?"


class Finding(Part):
    """A finding of the review."""

    severity: Literal["info", "warning", "error"]
    about: str
    text: str


class NextStep(Part):
    """A suggested action; no design before `usable_from` may read it."""

    text: str
    usable_from: Time


class AiReview(Part):
    """The review of the day."""

    author: Literal["claude", "rules"]
    model: str | None
    detail: str | None
    verdict: str
    findings: list[Finding]
    next_steps: list[NextStep]
    usable_from: Time
    cost_usd: Number


class NextPart(Part):
    """Keys of the section in the report."""

    ai_next_steps: str
    ai_review: AiReview | None


@dataclass(frozen=True)
class Review:
    """A stored review.

    Attributes
    ----------
    author, model, detail
        `claude` or `rules`; the model; why it was not by Claude.
    verdict, findings, next_steps
        As in `reports.ai_reviews`.
    summary, summary_author, summary_model, summary_detail
        The day in a few sentences, and their author.
    usable_from
        First as-of at which designs may read it.
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


def _collect(warehouse: Warehouse, data: ReportData) -> Review | None:
    """Return the review of the day; None if there is none, and in a draft."""
    rows = [] if data.draft else warehouse.read(_REVIEW, [data.as_of]).to_dicts()
    if not rows:
        return None
    row = {name: rows[0][name] for name in Review.__dataclass_fields__}
    lists = {name: tuple(json.loads(row[name])) for name in ("findings", "next_steps")}
    return Review(**{**row, **lists})


def _build(_: ReportData, review: Review | None) -> NextPart:
    if review is None:
        return NextPart(ai_next_steps="not run: this day was not reviewed", ai_review=None)
    steps = "; ".join(step["text"].rstrip(".;") for step in review.next_steps)
    shown = AiReview(
        author=review.author,
        model=review.model,
        detail=review.detail,
        verdict=review.verdict,
        findings=[Finding(**finding) for finding in review.findings],
        next_steps=[NextStep(**step) for step in review.next_steps],
        usable_from=plain(review.usable_from),
        cost_usd=plain(review.cost_usd),
    )
    return NextPart(ai_next_steps=steps or "no action needed", ai_review=shown)


SECTION: Final = Section(
    name="next",
    heading="Next steps",
    link="Next steps",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM reports.ai_reviews WHERE as_of = {as_of}",
    part=NextPart,
    collect=_collect,
    build=_build,
    nothing=lambda _: NextPart(ai_next_steps="not made", ai_review=None),
    last=True,
)
