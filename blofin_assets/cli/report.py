"""`blofin report`: rebuild the report of a day, and print a summary of 80 columns and the path of its page.

Belongs here: the terminal side of a report. Does not belong here: the content of a report (`blofin_assets.reporting`).
"""

import json
import textwrap
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from blofin_assets.reporting.page import formats
from blofin_assets.reporting.sections.data import thin_lanes
from blofin_assets.shared.vocabulary import StageState
from blofin_resources.texts import for_terminal

WIDTH: Final = 80
"""Width of the summary, in columns."""


def summary_lines(path: Path) -> list[str]:
    """Return a summary of the stored report at `path` (its .json), no line wider than 80 columns."""
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
        yield ["", f"{'strategy':<24} {'score':>8} {'return':>9} {'trades':>7} {'Sharpe':>13} {'DSR':>7} {'lost':>5}"]
        yield [_line(row) for row in best]
    changes, live = report["strategy_changes"], report["performance"]["backtest_vs_live"]
    done = ", ".join(f"{len(changes[key])} {key}" for key in ("designed", "tuned", "archived"))
    drift = {None: live["state"], True: "found", False: "none"}[live["drift_detected"]]
    missing = sum(lane["missing"] for lane in report["market"]["coverage"])
    yield ["", *_wrapped(f"changed: {done}; drift: {drift}; missing bars: {missing:,}")]
    lanes = report["market"]["coverage"]
    thin = thin_lanes((lane["symbol"], lane["timeframe"], lane.get("tradable")) for lane in lanes)  # older: unknown
    if thin:
        yield _wrapped(f"thin lanes, with their coverage: {', '.join(thin)}")
    ruined = [row["name"] for row in report["ranking"] if row.get("ruined")]
    if ruined:
        yield _wrapped(f"ruined by the declared size and leverage, ranked last: {', '.join(ruined)}")
    yield _wrapped(f"Claude: {formats.dollars(report['claude']['cost_usd'])}; not run: {_not_run(report)}")
    review = report["ai_review"]
    if review:
        yield ["", *_wrapped(f"next steps, by {review['model'] or 'rules'}:")]
        yield [line for step in review["next_steps"] for line in _wrapped(f"- {step['text']}", indent="  ")]


def _line(row: dict[str, Any]) -> str:
    sharpe = (
        "–" if row["sharpe"] is None else f"{formats.number(row['sharpe'], 1)} ± {formats.number(row['sharpe_se'], 1)}"
    )
    name = for_terminal(row["name"])
    name = name if len(name) <= 24 else f"{name[:23]}…"  # noqa: PLR2004 - the column's width
    return (
        f"{name:<24} {formats.number(row['score'], 1):>8} {formats.percent(row['total_pnl_pct']):>9} "
        f"{formats.number(row['trades'], 0):>7} {sharpe:>13} {formats.share(row['dsr']):>7} "
        f"{formats.number(row['losers'], 0):>5}"
    )


def _not_run(report: dict[str, Any]) -> str:
    return ", ".join(stage["name"] for stage in report["stages"] if stage["state"] == StageState.NOT_RUN) or "nothing"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(for_terminal(text), WIDTH, subsequent_indent=indent) or [""]
