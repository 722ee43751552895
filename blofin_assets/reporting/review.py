"""Reviewing a day: by Claude where there is an answer, by rules where there is none.

Belongs here: what of the report is shown to the reviewer and the summariser, and the fallback. Does not belong here:
sending (`blofin_resources.claude`), the rules themselves (`rules`), storing.

The reviewer reads the draft: the report without review, summary and their cost. So the report of a day can show its
own review, and both come out the same when they are made again.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backtester.windows import EXAM_LENGTH
from blofin_assets.reporting.rules import rule_review
from blofin_resources.claude import Answer, Claude, Unavailable
from strategies.evolution.answers import Review, Summary
from strategies.evolution.prompting import review_prompt, summary_prompt

Json = dict[str, Any]

_SECTIONS: Final = (
    "overfitting", "active_set", "strategy_changes", "ml_changes", "market", "claude", "stages",
)  # fmt: skip


@dataclass(frozen=True)
class Reviewed:
    """What was said of a day and by whom.

    Attributes
    ----------
    review, summary
        As the answers have them.
    review_by, summary_by
        Claude's answer, or why there was none and the rules spoke.
    evidence_end : datetime
        End of the returns that it rests on.
    """

    review: Review
    summary: str
    review_by: Answer[Review] | Unavailable
    summary_by: Answer[Summary] | Unavailable
    evidence_end: datetime

    @property
    def usable_from(self) -> datetime:
        """First as-of whose exam does not overlap the returns: no design before it may read the review."""
        return self.evidence_end + EXAM_LENGTH

    def row(self) -> Json:
        """Return the columns of `reports.ai_reviews` that tell of it."""
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


def review_day(draft: Json, claude: Claude, *, as_of: datetime, run_id: str) -> Reviewed:
    """Review the draft of a report.

    Parameters
    ----------
    draft : dict
        From `build_document` without a review.
    claude : Claude
        Asked once as reviewer and once as summariser; a stored answer for the same as-of is replayed.
    as_of : datetime
        End of the day, and of the returns in the draft.
    run_id : str
        Dagster run that asks.
    """
    judged = claude.ask("reviewer", review_prompt(sections(draft)), Review, as_of=as_of, run_id=run_id)
    told = claude.ask("summariser", summary_prompt(facts(draft)), Summary, as_of=as_of, run_id=run_id)
    return Reviewed(
        review=judged.value if isinstance(judged, Answer) else rule_review(draft),
        summary=told.value.text if isinstance(told, Answer) else draft["summary"],
        review_by=judged,
        summary_by=told,
        evidence_end=as_of,
    )


def sections(draft: Json) -> list[Json]:
    """Return the draft as the reviewer reads it: one record a section or a row, the weightiest first."""
    performance = draft["performance"]
    live = {name: value for name, value in performance["backtest_vs_live"].items() if name != "tests"}
    return [
        {"section": "day", **{key: draft[key] for key in ("report_date", "as_of", "cycle", "cycles", "summary")}},
        *({"section": "top strategy", **row} for row in performance["top_5_strategies"]),
        *({"section": "top model", **row} for row in performance["top_5_models"]),
        {"section": "backtest_vs_live", **live},
        *({"section": name, "content": draft[name]} for name in _SECTIONS),
        *({"section": "drift test", **row} for row in performance["backtest_vs_live"]["tests"]),
        *({"section": "ranking", **row} for row in draft["ranking"]),
    ]


def facts(draft: Json) -> list[Json]:
    """Return what the summary may rest on."""
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
        {"not run": [row["name"] for row in draft["stages"] if row["state"] == "not run"]},
    ]


def _author(answer: Answer[Any] | Unavailable, prefix: str) -> Json:
    if isinstance(answer, Unavailable):
        why = f"{answer.reason}: {answer.detail}".rstrip(": ")
        return {f"{prefix}author": "rules", f"{prefix}model": None, f"{prefix}detail": why}
    return {f"{prefix}author": "claude", f"{prefix}model": answer.model, f"{prefix}detail": None}
