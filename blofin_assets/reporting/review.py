"""The review of a day: by Claude, or by rules if there is no answer.

Belongs here: the data for the reviewer and the summariser, and the fallback. Does not belong here: sending
(`blofin_resources.claude`), the rules themselves (`rules`), storing.

The reviewer reads the draft: the report without review, summary and their cost. So the report of a day can contain its
own review, and repeating both gives the same result.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.reporting.document import Document, Json
from blofin_assets.reporting.rules import rule_review
from blofin_assets.reporting.sections.evidence import TOP
from blofin_assets.shared.vocabulary import StageState
from blofin_resources.claude import Answer, Claude, Unavailable
from strategies.llm.answers import Review, Summary
from strategies.llm.prompts import review_prompt, summary_prompt

_FIRST: Final = ("overfitting", "active_set", "strategy_changes", "ml_changes", "market", "claude", "stages")
_APART: Final = frozenset(
    {*Document.model_fields, "summary", "summary_by", "performance", "ranking", "ai_review", "forward_evidence"}
)
"""Keys that the reviewer reads row by row, or not at all, such as summary and provenance."""


@dataclass(frozen=True)
class Reviewed:
    """Review and summary of a day, with their authors.

    Attributes
    ----------
    review, summary
        The answers, or those of the rules.
    review_by, summary_by
        Claude's answer, or why there was none.
    evidence_end : datetime
        End of the returns that were reviewed.
    """

    review: Review
    summary: str
    review_by: Answer[Review] | Unavailable
    summary_by: Answer[Summary] | Unavailable
    evidence_end: datetime

    @property
    def usable_from(self) -> datetime:
        """First as-of whose holdout does not overlap the returns: no design before it may read the review."""
        return self.evidence_end + HOLDOUT_LENGTH

    def row(self) -> Json:
        """Return its columns of `reports.ai_reviews`."""
        steps = [{"text": text, "usable_from": self.usable_from.isoformat()} for text in self.review.next_steps]
        calls = [*self.review_by.calls, *self.summary_by.calls]
        return {
            **_author(self.review_by, ""),
            **_author(self.summary_by, "summary_"),
            "verdict": self.review.verdict,
            "findings": json.dumps([finding.model_dump() for finding in self.review.findings], ensure_ascii=False),
            "next_steps": json.dumps(steps, ensure_ascii=False),
            "summary": self.summary,
            "evidence_end": self.evidence_end,
            "usable_from": self.usable_from,
            "cost_usd": self.review_by.cost_usd + self.summary_by.cost_usd,
            "calls": json.dumps(calls),
        }


def review_day(draft: Document, claude: Claude, *, as_of: datetime, run_id: str) -> Reviewed:
    """Review the draft of a report.

    Parameters
    ----------
    draft : Document
        From `build_document` without a review.
    claude : Claude
        Asked once as reviewer and once as summariser; a stored answer for the same as-of is replayed.
    as_of : datetime
        End of the day, and of the returns in the draft.
    run_id : str
        Dagster run that asks.

    Returns
    -------
    Reviewed
        Review and summary, each by Claude or by rules.
    """
    document = draft.stored()
    judged = claude.ask("reviewer", review_prompt(sections(document)), Review, as_of=as_of, run_id=run_id)
    summarised = claude.ask("summariser", summary_prompt(facts(document)), Summary, as_of=as_of, run_id=run_id)
    return Reviewed(
        review=judged.value if isinstance(judged, Answer) else rule_review(draft),
        summary=summarised.value.text if isinstance(summarised, Answer) else document["summary"],
        review_by=judged,
        summary_by=summarised,
        evidence_end=as_of,
    )


def sections(draft: Json) -> list[Json]:
    """Return the draft for the reviewer: one record per section or row, the most important first."""
    performance = draft["performance"]
    live = {name: value for name, value in performance["backtest_vs_live"].items() if name != "tests"}
    evidence = {name: value for name, value in draft["forward_evidence"].items() if name != "rows"}
    names = [*_FIRST, *(name for name in draft if name not in _APART and name not in _FIRST)]
    return [
        {"section": "day", **{key: draft[key] for key in ("report_date", "as_of", "cycle", "cycles", "summary")}},
        *({"section": "top strategy", **row} for row in performance["top_5_strategies"]),
        *({"section": "top model", **row} for row in performance["top_5_models"]),
        {"section": "backtest_vs_live", **live},
        {"section": "evidence", **evidence},
        *({"section": "evidence of one record", **row} for row in draft["forward_evidence"]["rows"][:TOP]),
        *({"section": name, "content": draft[name]} for name in names),
        *({"section": "drift test", **row} for row in performance["backtest_vs_live"]["tests"]),
        *({"section": "ranking", **row} for row in draft["ranking"]),
    ]


def facts(draft: Json) -> list[Json]:
    """Return the facts for the summary."""
    changes, live = draft["strategy_changes"], draft["performance"]["backtest_vs_live"]
    trained = draft["ml_changes"]["trained"]
    return [
        {"by rules": draft["summary"]},
        {"synthetic market": draft["market"]["synthetic"], "symbols": draft["market"]["symbols"]},
        {
            "designed": [
                {key: row[key] for key in ("name", "accepted", "backtest_score")} for row in changes["designed"]
            ],
            "tuned": [
                {key: row[key] for key in ("name", "accepted", "improvement_points")} for row in changes["tuned"]
            ],
            "archived": [row["name"] for row in changes["archived"]],
        },
        {"models trained": len(trained), "better than baseline": sum(bool(row["better"]) for row in trained)},
        {"overfitting": draft["overfitting"], "active set": draft["active_set"]},
        {key: live[key] for key in ("state", "drift_detected", "followed", "tested", "insufficient", "look_ahead")},
        {
            "missing bars": sum(row["missing"] for row in draft["market"]["coverage"]),
            "cost_usd": draft["claude"]["cost_usd"],
        },
        {"not run": [row["name"] for row in draft["stages"] if row["state"] == StageState.NOT_RUN]},
    ]


def _author(answer: Answer[Any] | Unavailable, prefix: str) -> Json:
    if isinstance(answer, Unavailable):
        why = f"{answer.reason}: {answer.detail}".rstrip(": ")
        return {f"{prefix}author": "rules", f"{prefix}model": None, f"{prefix}detail": why}
    return {f"{prefix}author": "claude", f"{prefix}model": answer.model, f"{prefix}detail": None}
