"""Texts of others where the platform shows them: Dagster's Markdown, the status table, a report's summary."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from markdown_it import MarkdownIt
from rich.console import Console

from blofin_assets.cli.report import summary_lines
from blofin_assets.cli.status import _table
from blofin_assets.health import Item
from blofin_assets.shared.asset import table_preview
from blofin_resources.settings import Settings

EVIL = "![x](https://evil.example/a.png) <img src=x> | **b** `c`\n# head \x1b]0;t\x07 \u202e \ud800 [red]r[/red]"
NOW = datetime(2026, 3, 13, tzinfo=UTC)


def test_a_table_of_metadata_shows_texts_as_they_are() -> None:
    frame = pl.DataFrame(
        {
            "name": ["range_fade_2", EVIL.replace("\ud800", "")], "more | <b>": ["plain", None], "n": [1.5, 2.0],
            "list": [["*a*"], ["b | c"]],
        }
    )  # fmt: skip
    page = MarkdownIt("gfm-like", {"linkify": False}).render(str(table_preview(frame).value))
    assert page.count("<td") == 8
    assert page.count("<th>") + page.count("<th ") == 4
    for tag in ("<img", "<a ", "<strong", "<em", "<code", "<h1", "<b>"):
        assert tag not in page
    assert "range_fade_2" in page
    assert "\x1b" not in page


def test_the_status_table_shows_details_as_they_are() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(_table([Item("a", ok=False, detail=EVIL)], Settings(), NOW))
    shown = out.getvalue()
    assert "[red]r[/red]" in shown
    assert not set(shown) & set("\x1b\x07\u202e\ud800")
    shown.encode()


def test_the_summary_of_a_report_shows_texts_as_they_are(tmp_path: Path) -> None:
    row = {
        "name": EVIL, "score": 1.0, "total_pnl_pct": 1.0, "trades": 3, "sharpe": None, "sharpe_se": None, "dsr": 0.5,
        "losers": 3,
    }  # fmt: skip
    report = {
        "market": {"synthetic": True, "source": EVIL, "coverage": []}, "report_date": "2026-03-12", "summary": EVIL,
        "performance": {"top_5_strategies": [row], "backtest_vs_live": {"state": "x", "drift_detected": None}},
        "strategy_changes": {"designed": [], "tuned": [], "archived": []}, "claude": {"cost_usd": 0.0}, "ranking": [],
        "stages": [{"name": EVIL, "state": "not run"}], "ai_review": {"model": EVIL, "next_steps": [{"text": EVIL}]},
    }  # fmt: skip
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    shown = "\n".join(summary_lines(path))
    assert not set(shown) & set("\x1b\x07\u202e\ud800")
    shown.encode()
