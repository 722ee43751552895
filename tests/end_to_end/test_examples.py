"""Every file of examples/ runs, and prints what its page says."""

import runpy
import sys
from pathlib import Path
from typing import Final

import pytest
from support.platform import Platform

from blofin_assets.shared.code_version import PROJECT

EXAMPLES: Final = PROJECT / "examples"


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_a_strategy_is_backtested(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("backtest_one_strategy.py", capsys)
    assert "score" in text
    assert "entry_ts" in text
    assert "trades  0" not in text


def test_a_book_is_backtested(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("backtest_a_book.py", capsys)
    assert "sharpe" in text
    assert "net_pct" in text
    assert "at 1,000,000:" in text
    assert "trades  0" not in text


def test_a_feature_of_ones_own_has_values(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("custom_feature.py", capsys)
    assert "range_share_240" in text
    assert "null" not in text


def test_a_report_is_read(done: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report = max((done.settings.warehouse / "reports").glob("*.json"))
    monkeypatch.setattr(sys, "argv", ["read_a_report.py", str(report)])
    text = printed("read_a_report.py", capsys)
    assert text.startswith(f"{report.stem}: ")
    assert "1. " in text
    assert "drift: " in text


def test_without_a_report_the_reader_is_told_how_to_make_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["read_a_report.py"])
    with pytest.raises(SystemExit, match="run: make run"):
        runpy.run_path(str(EXAMPLES / "read_a_report.py"), run_name="__main__")


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []
