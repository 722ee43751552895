"""A review by rules: what a sceptical colleague would point at in the report, each with its figure.

Belongs here: rules over the report's document alone. Does not belong here: asking Claude (`review`), computing any
number that the report does not hold.

Thresholds here decide what is said, never what is ranked.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from backtester.pooling import FEW_TRADES
from strategies.evolution.answers import Finding, Review

Severity = Literal["info", "warning", "error"]
Json = dict[str, Any]

ALIKE: Final = 0.9
"""Correlation of hourly returns above which two strategies are one bet."""
THIN: Final = 0.0001
"""Break-even slippage less assumed slippage, fraction a side, under which a result hangs on the fill."""
SLIPPAGE: Final = 0.0002
"""Slippage a side that backtests assume."""
RANDOM: Final = 0.2
"""Share of random timings that did as well, above which the timing says nothing."""
COIN: Final = 0.5
"""Probability of overfitting of a choice without any information."""
MOST_STEPS: Final = 6
MOST_FINDINGS: Final = 20
_LONGEST: Final = 300
_NAMED: Final = 4


class Point(NamedTuple):
    """Something to notice, and what to do about it."""

    severity: Severity
    about: str
    text: str
    step: str


def rule_review(report: Json) -> Review:
    """Return the review of a report, made by rules: the worst first."""
    points = [point for rule in RULES for point in rule(report)]
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


def _verdict(report: Json, points: list[Point]) -> str:
    counts = {kind: sum(point.severity == kind for point in points) for kind in ("error", "warning")}
    supported = report["overfitting"]["supported"]
    tries = report["overfitting"]["trials"]
    belief = "no strategy has been scored"
    if supported is not None:
        belief = f"{supported or 'no'} result{'s' if supported > 1 else ''} would convince after {tries} tries"
    first = f" Most pressing: {points[0].text}" if points else ""
    return f"{counts['error']} errors and {counts['warning']} warnings; {belief}.{first}"


def _ledger(report: Json) -> Iterator[Point]:
    found = report["performance"]["backtest_vs_live"]
    if found["look_ahead"]:
        yield Point(
            "error",
            "forward ledger",
            f"{found['look_ahead']} differences between ledger and replay have no explanation but look-ahead",
            "Find what read the future (research.forward_validation, attribution look-ahead) before any result is used",
        )


def _drift(report: Json) -> Iterator[Point]:
    found = report["performance"]["backtest_vs_live"]
    # tests of an older night have been told of then
    drifted = [test for test in found["tests"] if found["drift_detected"] and test["decision"] == "drift"]
    for test in sorted(drifted, key=lambda test: -(test["effect"] or 0.0))[:_NAMED]:
        what = "net return an hour" if test["metric"] == "net_return" else test["metric"].replace("_", " ")
        yield Point(
            "error",
            test["name"],
            f"{test['name']} drifts: {what} {test['forward']:.3g} where {test['promise']:.3g} was promised "
            f"(q = {test['q']:.2g}, {test['days']:.0f} days)",
            f"{'Re-tune' if test['kind'] == 'strategy' else 'Retrain'} {test['name']}, challenger against champion",
        )


def _stages(report: Json) -> Iterator[Point]:
    for stage in report["stages"]:
        if stage["state"] == "not run" and "has not succeeded" in stage["detail"]:
            yield Point(
                "error", stage["name"], f"{stage['name']} {stage['detail']}", "Run what failed again: blofin run"
            )


def _gaps(report: Json) -> Iterator[Point]:
    lanes = [lane for lane in report["market"]["coverage"] if lane["missing"] > 0]
    if lanes:
        worst = max(lanes, key=lambda lane: lane["missing"] / lane["expected"])
        share = worst["missing"] / worst["expected"]
        yield Point(
            "warning" if share > 0.001 else "info",  # noqa: PLR2004 - a minute and a half a day
            f"{worst['symbol']} {worst['timeframe']}",
            f"{worst['symbol']} {worst['timeframe']} lacks {worst['missing']:,} of {worst['expected']:,} bars "
            f"({share:.2%}), the most of {len(lanes)} incomplete lanes",
            f"Ask the source again for the gaps of {worst['symbol']} (market.gaps)",
        )
    flagged = sum(lane["flagged"] or 0 for lane in report["market"]["coverage"])
    if flagged:
        yield Point("info", "flagged bars", f"{flagged:,} 1-minute bars are flagged and never traded on", "")


def _silent(report: Json) -> Iterator[Point]:
    silent = [row["name"] for row in report["ranking"] if not row["trades"]]
    if silent:
        yield Point(
            "warning",
            silent[0],
            f"{len(silent)} strategies did not trade in the exam: {_names(silent)}",
            f"Loosen the entry of, or replace, what never trades: {_names(silent)}",
        )


def _tops(report: Json) -> Iterator[Point]:
    for row in report["performance"]["top_5_strategies"]:
        name, margin = row["name"], row["break_even_slippage"]
        if row["trades"] is not None and 0 < row["trades"] < FEW_TRADES:
            yield Point("warning", name, f"{name} rests on {row['trades']} trades", "")
        if margin is not None and SLIPPAGE <= margin < SLIPPAGE + THIN:
            yield Point(
                "warning",
                name,
                f"{name} breaks even at {1e4 * margin:.1f} bp slippage a side, {1e4 * SLIPPAGE:.0f} bp are assumed",
                f"Measure the slippage that {name} would meet: its result hangs on it",
            )
        if row["volume_warning"]:
            yield Point("warning", name, f"{name}: {row['volume_warning']}", "")


def _timing(report: Json) -> Iterator[Point]:
    rows = [row for row in report["performance"]["top_5_strategies"] if (row["timing_p"] or 0.0) > RANDOM]
    if rows:
        worst = max(rows, key=lambda row: row["timing_p"])
        yield Point(
            "warning",
            worst["name"],
            f"{worst['timing_p']:.0%} of random timings did as well as {worst['name']}: its entries add nothing shown",
            f"Compare {_names([row['name'] for row in rows])} with being in the market at random before tuning further",
        )


def _luck(report: Json) -> Iterator[Point]:
    found = report["overfitting"]
    if found["pbo"] is not None and found["pbo"] >= COIN:
        yield Point(
            "warning",
            "PBO",
            f"the best by one half of the week is below the median in the other half in {found['pbo']:.0%} of splits",
            "Do not prefer the first rank over the others on this week alone; wait for forward days",
        )
    best = report["performance"]["top_5_strategies"][:1]
    if best and found["supported"] == 0 and best[0]["dsr"] is not None:
        yield Point(
            "info",
            best[0]["name"],
            f"{best[0]['name']} leads with a deflated Sharpe ratio of {best[0]['dsr']:.2f}; 0.95 would be support",
            "",
        )


def _models(report: Json) -> Iterator[Point]:
    trained = report["ml_changes"]["trained"]
    behind = [
        row for row in trained if row["better"] is False and None not in (row["log_loss"], row["baseline_log_loss"])
    ]
    if not behind:
        return
    behind.sort(key=lambda row: row["baseline_log_loss"] - row["log_loss"])
    names, worst = [row["name"] for row in behind], behind[0]
    yield Point(
        "warning" if len(behind) == len(trained) else "info",
        worst["name"],
        f"{len(behind)} of {len(trained)} models do not beat their naive baseline on the holdout day, the worst "
        f"{worst['name']} ({worst['log_loss']:.3f} against {worst['baseline_log_loss']:.3f} nats)",
        f"Look at the inputs of {_names(names[:3])} (ml.feature_importance): they lose to guessing the base rate",
    )


def _alike(report: Json) -> Iterator[Point]:
    found = report["active_set"]
    for pair in (found or {"closest": []})["closest"]:
        if pair["correlation"] >= ALIKE:
            yield Point(
                "info",
                pair["first"],
                f"{pair['first']} and {pair['second']} are nearly one bet (correlation {pair['correlation']:.2f})",
                f"Keep one of {pair['first']} and {pair['second']}, the other's place is free for something different",
            )


def _designs(report: Json) -> Iterator[Point]:
    for row in report["strategy_changes"]["designers"]:
        if row["state"] != "not run" and row["finalists"] and not row["accepted"]:
            cost = f" for ${row['cost_usd']:.2f}" if row["cost_usd"] else ""
            yield Point(
                "info",
                row["designer"],
                f"{row['designer']} ({row['stage']}) had {row['finalists']} finalists and none accepted{cost}",
                "",
            )


def _calls(report: Json) -> Iterator[Point]:
    lost = [row for row in report["claude"]["calls"] if row["answered"] < row["calls"] and row["cost_usd"]]
    for row in lost:
        yield Point(
            "warning",
            row["role"],
            f"{row['calls'] - row['answered']} of {row['calls']} calls of {row['model']} as {row['role']} brought no "
            f"answer ({row['outcomes']}) and cost ${row['cost_usd']:.2f}",
            f"See research.llm_calls for what went wrong as {row['role']}",
        )


RULES: Final[tuple[Callable[[Json], Iterator[Point]], ...]] = (
    _ledger, _drift, _stages, _gaps, _silent, _timing, _luck, _tops, _models, _alike, _designs, _calls,
)  # fmt: skip


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown


def _line(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
