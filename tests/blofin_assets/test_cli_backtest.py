"""`blofin backtest` as a user meets it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.platform import AS_OF, START, Platform, platforms

from blofin_assets.cli.backtest import Request, run_backtest
from blofin_assets.plan import MARKET_DATA
from blofin_resources.errors import BlofinError

BLOFIN = Path(sys.executable).with_name("blofin")
END = AS_OF - timedelta(days=9)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platforms(tmp_path_factory.mktemp("stored")) as make:
        platform = make()
        platform.run(END, (MARKET_DATA,))
        yield platform


def backtest(platform: Platform, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "BLOFIN_WAREHOUSE": str(platform.settings.warehouse),
        "BLOFIN_SYMBOLS": ",".join(platform.settings.symbols),
        "BLOFIN_START": START.isoformat(),
        "COLUMNS": "80",
    }
    command = [BLOFIN, "backtest", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def tries(platform: Platform) -> int:
    return int(platform.warehouse.read("SELECT count(*) FROM research.trials WHERE author = 'user'").item())


@pytest.mark.slow
def test_it_prints_lanes_writes_a_page_and_counts_each_configuration_once(stored: Platform) -> None:
    before = tries(stored)
    done = backtest(stored, "ema_crossover", "--days", "2", "--timeframes", "5m")
    assert done.returncode == 0, done.stderr
    assert "BTC-USDT 5m" in done.stdout
    assert "bars of the window: 100 % on every lane" in done.stdout
    assert "pooled" in done.stdout
    assert "deflated Sharpe ratio" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("page:")) <= 80
    page = stored.settings.warehouse / "backtests" / "ema_crossover.html"
    assert "synthetic" in page.read_text(encoding="utf-8")
    assert tries(stored) == before + 1
    backtest(stored, "ema_crossover", "--days", "2", "--timeframes", "5m")
    assert tries(stored) == before + 1
    backtest(stored, "ema_crossover", "--days", "2", "--timeframes", "5m", "--param", "fast=7")
    assert tries(stored) == before + 2


@pytest.mark.slow
def test_a_file_that_is_not_registered_runs_and_a_hostile_one_does_not(stored: Platform, tmp_path: Path) -> None:
    text = Path(__file__).parents[2].joinpath("strategies/library/ema_crossover.py").read_text(encoding="utf-8")
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
        ({"strategy": "nothing"}, ("no strategy 'nothing'", "ema_crossover")),
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
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(stored.settings.warehouse))
    monkeypatch.setenv("BLOFIN_SYMBOLS", ",".join(stored.settings.symbols))
    monkeypatch.setenv("DAGSTER_HOME", stored.instance.root_directory)
    asked = Request("ema_crossover", None, None, 7, [], END)
    with pytest.raises((BlofinError, ValueError, LookupError)) as error:
        run_backtest(replace(asked, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
