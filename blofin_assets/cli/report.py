"""`blofin report`: make a day's report again, say what it says in 80 columns and where its page is.

Belongs here: the terminal side of a report. Does not belong here: what a report says (`blofin_assets.reporting`).
"""

import json
import textwrap
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from blofin_assets.reporting.page import formats

WIDTH: Final = 80
"""Columns of the narrowest terminal that the summary must fit."""


def summary_lines(path: Path) -> list[str]:
    """Return what the stored report at `path` (its .json) says, no line wider than 80 columns."""
    report = json.loads(path.read_text(encoding="utf-8"))
    return [line for part in _parts(report) for line in part]


def open_page(path: Path) -> None:
    """Show a page in the user's browser."""
    webbrowser.open(path.resolve().as_uri())


def _parts(report: dict[str, Any]) -> Iterator[list[str]]:
    made_up = ", synthetic" if report["market"]["synthetic"] else ""
    yield _wrapped(f"Report of {report['report_date']} ({report['market']['source']} market{made_up})")
    yield ["", *_wrapped(report["summary"])]
    best = report["performance"]["top_5_strategies"]
    if best:
        yield ["", f"{'strategy':<30} {'score':>8} {'return':>9} {'trades':>7} {'Sharpe':>13} {'DSR':>7}"]
        yield [_line(row) for row in best]
    changes, live = report["strategy_changes"], report["performance"]["backtest_vs_live"]
    done = ", ".join(f"{len(changes[key])} {key}" for key in ("designed", "tuned", "archived"))
    drift = {None: live["state"], True: "found", False: "none"}[live["drift_detected"]]
    missing = sum(lane["missing"] for lane in report["market"]["coverage"])
    yield ["", *_wrapped(f"changed: {done}; drift: {drift}; missing bars: {missing:,}")]
    yield _wrapped(f"Claude: {formats.dollars(report['claude']['cost_usd'])}; not run: {_not_run(report)}")
    review = report["ai_review"]
    if review:
        yield ["", *_wrapped(f"next steps, by {review['model'] or 'rules'}:")]
        yield [line for step in review["next_steps"] for line in _wrapped(f"- {step['text']}", indent="  ")]


def _line(row: dict[str, Any]) -> str:
    sharpe = (
        "–" if row["sharpe"] is None else f"{formats.number(row['sharpe'], 1)} ± {formats.number(row['sharpe_se'], 1)}"
    )
    name = row["name"] if len(row["name"]) <= 30 else f"{row['name'][:29]}…"  # noqa: PLR2004 - the column's width
    return (
        f"{name:<30} {formats.number(row['score'], 1):>8} {formats.percent(row['total_pnl_pct']):>9} "
        f"{formats.number(row['trades'], 0):>7} {sharpe:>13} {formats.share(row['dsr']):>7}"
    )


def _not_run(report: dict[str, Any]) -> str:
    return ", ".join(stage["name"] for stage in report["stages"] if stage["state"] == "not run") or "nothing"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent) or [""]
