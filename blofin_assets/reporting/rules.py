"""The review by rules: points that a sceptical colleague would raise, each with its figure.

Belongs here: combining the findings of the sections' rules. Does not belong here: the rules (`sections`), asking Claude
(`review`), computing numbers that are not in the report.

Thresholds of rules decide on findings, never on the ranking.
"""

from typing import Any, Final

from blofin_assets.reporting.document import Document
from blofin_assets.reporting.section import Point, Section
from blofin_assets.reporting.sections import SECTIONS
from blofin_assets.reporting.sections.luck import LuckPart
from strategies.llm.answers import Finding, Review

MOST_STEPS: Final = 6
MOST_FINDINGS: Final = 20
_LONGEST: Final = 300


def rule_review(report: Document, sections: tuple[Section[Any, Any], ...] = SECTIONS) -> Review:
    """Return the review of a report by the rules of its sections, the most severe findings first."""
    rules = sorted((rule for section in sections for rule in section.rules), key=lambda rule: rule.place)
    points = [point for rule in rules for point in rule.find(report)]
    points.sort(key=lambda point: ("error", "warning", "info").index(point.severity))
    steps = list(dict.fromkeys(_line(point.step) for point in points if point.step))
    return Review(
        verdict=_verdict(report, points),
        findings=[
            Finding(severity=point.severity, about=_line(point.about), text=_line(point.text))
            for point in points[:MOST_FINDINGS]
        ],
        next_steps=steps[:MOST_STEPS],
    )


def _verdict(report: Document, points: list[Point]) -> str:
    counts = {kind: sum(point.severity == kind for point in points) for kind in ("error", "warning")}
    luck = report.part(LuckPart).overfitting
    belief = "no strategy has been scored"
    if luck.supported is not None:
        results = f"{luck.supported or 'no'} result{'s' if luck.supported > 1 else ''}"
        belief = f"{results} would be significant after {luck.trials} tries"
    first = f" Most urgent: {points[0].text}" if points else ""
    return f"{counts['error']} errors and {counts['warning']} warnings; {belief}.{first}"


def _line(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
