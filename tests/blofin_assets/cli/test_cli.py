"""The `blofin` command as a user meets it: its exit code and what it prints."""

import errno
import importlib.metadata
import os
import shlex
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from support.command import blofin, refused
from typer.main import get_command

from backtester import Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL
from blofin_assets.cli import status
from blofin_assets.cli.backtest import DEFAULT_DAYS as STRATEGY_DAYS
from blofin_assets.cli.idea import idea_of, ranges
from blofin_assets.cli.main import INTERRUPTED, _of_a_file, app
from blofin_assets.cli.stored import DEFAULT_DAYS
from blofin_resources.warehouse import Warehouse

BLOFIN = Path(sys.executable).with_name("blofin")


def process(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does: the rest of these tests calls its entry point, which takes seconds less."""
    environment = {
        **os.environ,
        "BLOFIN_WAREHOUSE": str(Path.cwd() / "warehouse"),
        "BLOFIN_UNIVERSE": "off",
        **settings,
    }
    return subprocess.run([BLOFIN, *arguments], env=environment, capture_output=True, text=True, check=False)


def archive(folder: Path, symbol: str = "BTC-USDT", **columns: list[object]) -> Path:
    folder.mkdir(exist_ok=True)
    minutes = 1440
    start = 1_746_403_200_000  # 2025-05-05T00:00Z
    table = {
        "ts": [start + 60_000 * n for n in range(minutes)],
        "open": [100.0] * minutes,
        "high": [101.0] * minutes,
        "low": [99.0] * minutes,
        "close": [100.5] * minutes,
        "volume": [5.0] * minutes,
    }
    pl.DataFrame({**table, **columns}).write_parquet(folder / f"{symbol}_1m.parquet")
    return folder


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"BLOFIN_MARKET": "moon"}, ("BLOFIN_MARKET='moon'", "sample")),
        ({"BLOFIN_SYMBOLS": "BTC"}, ("BLOFIN_SYMBOLS", "BTC-USDT")),
        ({"BLOFIN_START": "yesterday"}, ("BLOFIN_START='yesterday'", "2025-05-05")),
        ({"BLOFIN_SEED": "-1"}, ("BLOFIN_SEED", "-1")),
        ({"BLOFIN_MARKET": "archive"}, ("BLOFIN_ARCHIVE",)),
    ],
)
def test_a_malformed_setting_is_one_line(settings: dict[str, str], words: tuple[str, ...]) -> None:
    refused(blofin("run", **settings), *words)
    assert not Path("warehouse").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"BLOFIN_MARKET": "archive", "BLOFIN_ARCHIVE": "/none"}, ("BLOFIN_ARCHIVE: /none does not exist", "folder")),
        ({"BLOFIN_MARKET": "archive", "BLOFIN_ARCHIVE": __file__}, ("BLOFIN_ARCHIVE", "is a file; give a folder")),
        ({"BLOFIN_AI_MODELS": "/none.toml"}, ("BLOFIN_AI_MODELS='/none.toml' cannot be read", "No such file")),
    ],
)
def test_what_a_run_needs_is_looked_at_before_anything_is_made(
    settings: dict[str, str], words: tuple[str, ...]
) -> None:
    refused(blofin("run", **settings), *words)
    assert not Path("warehouse").exists()


def test_the_time_of_a_step_is_named_as_such() -> None:
    refused(blofin("step", "BTC-USDT", "noon", "real"), "the step's time: 'noon' is not a valid time")


def test_an_example_of_help_names_parameters_that_there_are() -> None:
    given = [
        (name, words)
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        for words in [shlex.split((command.epilog or "").removeprefix("For example: "))]
        if "--param" in words
    ]
    assert given
    for _, words in given:
        asked = [text for before, text in pairwise(words) if before == "--param"]
        ranges(idea_of(words[2], ""), asked, grid=True)


@pytest.mark.slow
def test_an_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [BLOFIN, "features"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "blofin: the output cannot be written: No space left on device; free some space, or send it elsewhere\n"
    )


def test_what_is_neither_of_a_file_nor_of_the_output_is_not_told_as_such() -> None:
    assert _of_a_file(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")) is None
    assert _of_a_file(OSError("no number")) is None
    assert _of_a_file(PermissionError(errno.EACCES, "Permission denied", "page.html")) == (
        "page.html: Permission denied; check its rights and its folder, then run the command again"
    )


def test_a_malformed_env_file_is_one_line() -> None:
    Path(".env").write_text("BLOFIN_AI_BUDGET_USD=much\n", encoding="utf-8")
    refused(process("run"), "BLOFIN_AI_BUDGET_USD='much'")


@pytest.mark.slow
def test_an_unknown_symbol_is_named_with_those_there_are() -> None:
    refused(blofin("run", BLOFIN_SYMBOLS="BTC-USDT,FOO-USDT"), "FOO-USDT", "ETH-USDT")
    with Warehouse.open_readonly(Path("warehouse")) as warehouse:
        assert warehouse.read("SELECT * FROM market.candles_1m").is_empty()


@pytest.mark.parametrize("moment", ["soon", "2999-01-01T00:00:00Z"])
def test_an_as_of_that_cannot_be_is_refused(moment: str) -> None:
    refused(blofin("run", "--as-of", moment), moment)


def test_a_report_of_a_day_that_has_not_ended_is_refused() -> None:
    refused(blofin("report", "2999-01-01"), "2999-01-01")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    refused(blofin("run", BLOFIN_WAREHOUSE=str(tmp_path / "file" / "warehouse")), "file/warehouse")


@pytest.mark.slow
def test_an_archive_without_a_column_or_readable_bytes_is_named(tmp_path: Path) -> None:
    folder = archive(tmp_path / "archive")
    settings = {
        "BLOFIN_MARKET": "archive",
        "BLOFIN_ARCHIVE": str(folder),
        "BLOFIN_SYMBOLS": "BTC-USDT",
        "BLOFIN_START": "2025-05-05",
    }
    path = folder / "BTC-USDT_1m.parquet"
    pl.read_parquet(path).drop("close").write_parquet(path)
    refused(blofin("run", "--as-of", "2025-05-06", **settings), "BTC-USDT_1m.parquet", "close")
    path.write_bytes(b"not parquet at all")
    refused(blofin("run", "--as-of", "2025-05-06", **settings), "BTC-USDT_1m.parquet")


def test_a_day_before_the_first_candle_names_the_first(tmp_path: Path) -> None:
    folder = archive(tmp_path / "archive")
    done = blofin(
        "run",
        "--as-of",
        "2025-05-02",
        BLOFIN_MARKET="archive",
        BLOFIN_ARCHIVE=str(folder),
        BLOFIN_SYMBOLS="BTC-USDT",
        BLOFIN_START="2025-05-01",
    )
    refused(done, "2025-05-05")


def test_a_warehouse_of_another_market_is_refused(tmp_path: Path) -> None:
    Warehouse.open(tmp_path / "warehouse", market="sample", market_id="seed=7").close()
    refused(blofin("run", BLOFIN_MARKET="sample:null"), "sample:null", "BLOFIN_WAREHOUSE")
    refused(blofin("run", BLOFIN_SEED="8"), "seed=7")


def test_sql_answers_and_refuses_to_write(tmp_path: Path) -> None:
    Warehouse.open(tmp_path / "warehouse", market="sample").close()
    answer = process("sql", "SELECT 40 + 2 AS answer")
    assert answer.returncode == 0
    assert "42" in answer.stdout
    refused(blofin("sql", "DELETE FROM market.candles_1m"))
    unknown = blofin("sql", "SELECT nothing FROM nowhere")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("blofin: ")
    assert "nowhere" in unknown.stderr
    assert unknown.stderr.splitlines()[-1].strip() == "^", "DuckDB's mark stands below the place"
    assert "Traceback" not in unknown.stderr


def test_sql_without_a_warehouse_says_how_to_get_one() -> None:
    refused(blofin("sql", "SELECT 1"), "blofin run")


def test_the_help_tells_the_defaults_that_hold() -> None:
    """It is printed before the constants may be loaded, so it repeats them."""
    told = {
        (name, option.name): option.show_default
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        for option in command.params
    }
    assert told["backtest", "fee"] == str(Costs().taker_fee)
    assert told["backtest", "slippage"] == str(Costs().slippage)
    assert told["backtest", "capital"] == f"{DEFAULT_CAPITAL:g}"
    assert told["backtest", "days"].startswith(f"{STRATEGY_DAYS};")
    for command in ("sweep", "compare"):
        assert told[command, "days"].partition(";")[0] == str(DEFAULT_DAYS)


@pytest.mark.parametrize("name", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_the_help_of_each_command_ends_with_an_example_that_it_takes(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    lead, _, example = (command.epilog or "").partition("blofin ")
    assert lead.startswith("For example: ")
    given, *arguments = shlex.split(example)
    assert given == name
    command.make_context(name, arguments)


def test_the_version_is_that_of_the_package() -> None:
    assert blofin("--version").stdout.strip() == f"blofin {importlib.metadata.version('blofin-research')}"


def test_the_shell_can_complete_commands() -> None:
    assert "_BLOFIN_COMPLETE" in process("--show-completion", "bash").stdout


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_command_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "show_status", lambda **_: signal.raise_signal(signal.SIGINT))
    done = blofin("status")
    assert done.returncode == INTERRUPTED
    assert "Run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_there_at_once_without_a_warehouse() -> None:
    done = process("--help")
    assert done.returncode == 0
    for command in ("run", "report", "sql", "ui"):
        assert command in done.stdout
    assert not Path("warehouse").exists()


def test_verbose_shows_the_traceback() -> None:
    done = process("--verbose", "run", BLOFIN_MARKET="moon")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
