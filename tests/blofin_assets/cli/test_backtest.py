"""`blofin backtest` as a user meets it."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.command import blofin, found_by_commands
from support.platform import AS_OF, START, Platform

from blofin_assets.cli.backtest import Request, run_backtest
from blofin_assets.cli.run import make_report
from blofin_resources.errors import BlofinError

END = AS_OF - timedelta(days=9)


@pytest.fixture(scope="module")
def stored(done: Platform) -> Platform:
    return done


def backtest(platform: Platform, *arguments: str) -> CompletedProcess[str]:
    settings = {
        "BLOFIN_WAREHOUSE": str(platform.settings.warehouse),
        "BLOFIN_SYMBOLS": ",".join(platform.settings.symbols),
        "BLOFIN_START": START.isoformat(),
        "COLUMNS": "80",
    }
    return blofin("backtest", *arguments, **settings)


def tries(platform: Platform) -> int:
    return int(platform.warehouse.read("SELECT count(*) FROM research.trials WHERE author = 'user'").item())


@pytest.mark.slow
def test_it_prints_lanes_writes_a_page_and_counts_each_configuration_once(stored: Platform) -> None:
    before = tries(stored)
    done = backtest(stored, "ema_crossover", "--days", "2", "--timeframes", "5m")
    assert done.returncode == 0, done.stderr
    assert "BTC-USDT 5m" in done.stdout
    assert "bars of the window that can be traded on: 100 % on every lane" in done.stdout
    assert "pooled" in done.stdout
    assert "deflated Sharpe ratio" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("page:")) <= 80
    [page] = (stored.settings.warehouse / "backtests").glob("ema_crossover_*.html")
    assert "synthetic" in page.read_text(encoding="utf-8")
    assert tries(stored) == before + 1
    backtest(stored, "ema_crossover", "--days", "2", "--timeframes", "5m")
    assert tries(stored) == before + 1
    backtest(stored, "ema_crossover", "--days", "2", "--timeframes", "5m", "--param", "fast=7")
    assert tries(stored) == before + 2


@pytest.mark.slow
def test_a_file_that_is_not_registered_runs_and_a_hostile_one_does_not(stored: Platform, tmp_path: Path) -> None:
    text = Path(__file__).parents[3].joinpath("strategies/library/ema_crossover.py").read_text(encoding="utf-8")
    mine = tmp_path / "mine.py"
    mine.write_text(text.replace('"ema_crossover"', '"mine"'), encoding="utf-8")
    done = backtest(stored, str(mine), "--days", "2", "--timeframes", "60m")
    assert done.returncode == 0, done.stderr
    assert "mine on the sample" in done.stdout
    evil = tmp_path / "evil.py"
    marker = tmp_path / "was_executed"
    evil.write_text(f"open({str(marker)!r}, 'w').close()\n{text}", encoding="utf-8")
    refused = backtest(stored, str(evil))
    assert refused.returncode == 1
    assert "evil.py:1" in refused.stderr
    assert not marker.exists()


@pytest.mark.slow
def test_parameters_are_kept_and_no_page_overwrites_another(
    stored: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found_by_commands(stored, monkeypatch)
    folder = stored.settings.warehouse / "backtests"
    there = set(folder.glob("*.html"))
    asked = Request("rsi_reversion", None, "5m,60m", 1, ["window=30"], END)
    for request in (asked, asked, replace(asked, params=["window=31"])):
        run_backtest(request)
    pages = sorted(set(folder.glob("*.html")) - there)
    assert len(pages) == 2
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert {re.findall(r"window = (\d+)", text)[0] for text in texts} == {"30", "31"}
    kept = stored.warehouse.read("SELECT params FROM research.trials WHERE name = 'rsi_reversion' AND author = 'user'")
    assert sorted(json.loads(text)["window"] for text in kept["params"]) == [30.0, 31.0]
    shown = capsys.readouterr().out
    assert "never below" in shown
    assert "independent episodes" in shown


def test_days_before_the_history_change_no_number(
    stored: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found_by_commands(stored, monkeypatch)
    ask = Request("session_momentum", None, "60m", 400, [], END)
    shown = []
    for days in (400, 40):
        run_backtest(replace(ask, days=days))
        shown.append(capsys.readouterr().out)
    assert "stored candles begin at 2026-03-01 00:00, so the window has 3.0 days" in shown[0]
    assert "2026-03-01 00:00 to 2026-03-04 00:00" in " ".join(shown[0].split())
    assert [line for line in shown[0].splitlines() if "pooled" in line] == [
        line for line in shown[1].splitlines() if "pooled" in line
    ]
    asked = "SELECT DISTINCT window_start FROM research.trials WHERE name = 'session_momentum' AND author = 'user'"
    ledger = stored.warehouse.read(asked)
    assert ledger["window_start"].to_list() == [datetime(2026, 3, 1, tzinfo=UTC)]


def test_a_report_before_the_history_is_refused_before_anything_runs(
    stored: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_by_commands(stored, monkeypatch)
    before = stored.instance.get_runs_count()
    with pytest.raises(BlofinError, match="2026-02-20 is before the stored history, which begins on 2026-03-01"):
        make_report(date(2026, 2, 20))
    assert stored.instance.get_runs_count() == before


def test_lanes_that_are_not_scored_are_told(
    stored: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found_by_commands(stored, monkeypatch)
    run_backtest(Request("hourly_trend_pullback", None, "1m,5m,60m", 1, [], END))
    shown = capsys.readouterr().out
    starred = [line for line in shown.splitlines() if " * " in line]
    assert len(starred) >= 2
    assert "not scored, so not in pooled" in shown


NEVER = '''class Never(Strategy):
    """Waits. Edge: none. Fails: always."""

    name = "never"
    timeframes = ("60m",)

    def detect(self, f):
        return Signal(long_entry=f.close < 0)
'''


def test_what_never_traded_is_not_told_to_lose(
    stored: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found_by_commands(stored, monkeypatch)
    (tmp_path / "never.py").write_text(NEVER, encoding="utf-8")
    run_backtest(Request(str(tmp_path / "never.py"), None, None, 1, [], END))
    shown = capsys.readouterr().out
    assert "break-even slippage a side: –, it never traded" in shown
    assert "loses" not in shown


def test_what_cannot_be_is_one_line_and_exit_code_1(stored: Platform) -> None:
    done = backtest(stored, "ema_crossover", "--symbols", "FOO-USDT")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [line] = done.stderr.strip().splitlines()
    assert "FOO-USDT" in line
    assert "BTC-USDT" in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"strategy": "nothing"}, ("no strategy or book 'nothing'", "ema_crossover", "funding_carry")),
        ({"strategy": "missing.py"}, ("no file missing.py",)),
        ({"params": ["fast"]}, ("'fast' is not name=number",)),
        ({"params": ["slow_typo=3"]}, ("slow_typo",)),
        ({"timeframes": "2m"}, ("2m", "5m")),
        ({"days": 0}, ("--days 0",)),
    ],
)
def test_what_is_wrong_is_named(
    stored: Platform, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], words: tuple[str, ...]
) -> None:
    found_by_commands(stored, monkeypatch)
    asked = Request("ema_crossover", None, None, 7, [], END)
    with pytest.raises((BlofinError, ValueError, LookupError)) as error:
        run_backtest(replace(asked, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
