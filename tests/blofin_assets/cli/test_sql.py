"""`blofin sql`: what it cannot show is told in a line, and the prompt goes on."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.warehouses import new_warehouse

from blofin_assets.cli.sql import completion, names, run_sql
from blofin_resources.warehouse import Warehouse

ANSWERED = ("SELECT 40 + 2", "SELECT DATE '20000-01-01' AS far", "SELECT NULL::DATE AS none")
EMPTY = ("-- a comment", "/* one */", ";;")
REFUSED = (
    "SELECT now() - now() AS odd",
    "SELECT 'infinity'::DATE AS odd",
    "SELECT 1 AS fine, '-infinity'::TIMESTAMPTZ AS odd",
    "SELECT '290000-01-01'::TIMESTAMP AS odd",
)


def test_the_prompt_outlives_what_it_cannot_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "w"))
    new_warehouse(tmp_path / "w").close()
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join((*REFUSED, *EMPTY, *ANSWERED, ".quit"))))
    run_sql(None)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == len(REFUSED)
    assert all("column odd" in line and "cast it" in line for line in lines)
    assert out.count("no rows") == len(EMPTY) - 1, "of the last, the prompt itself leaves nothing"
    assert "42" in out
    assert "20000-01-01" in out


def test_an_empty_statement_has_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "w"))
    new_warehouse(tmp_path / "w").close()
    run_sql("")
    assert capsys.readouterr().out == "no rows\n"


def test_many_columns_are_shown_one_below_the_other_and_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "w"))
    monkeypatch.setenv("COLUMNS", "80")
    new_warehouse(tmp_path / "w").close()
    run_sql("SELECT * FROM research.llm_calls")
    assert capsys.readouterr().out.startswith("no rows of id, role, model")
    columns = ", ".join(f"{n} AS c{n}" for n in range(9))
    run_sql(f"SELECT {columns}, NULL AS absent, repeat('long\n', 99) AS text FROM range(2)")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "row 1 of 2"
    assert lines[1].split() == ["c0", "0"]
    assert lines[10].split() == ["absent", "null"]
    assert lines[11].split()[:3] == ["text", "long", "long"]
    assert len(lines[11]) == 80
    assert lines[12] == "row 2 of 2"
    assert max(map(len, lines)) == 80


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a warehouse of which the prompt's own words are asked."""
    folder = tmp_path_factory.mktemp("prompt") / "w"
    new_warehouse(folder).close()
    return folder


@pytest.fixture
def ask(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[str, str]]:
    """A function that types lines at the prompt and returns what it writes."""
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(stored))
    monkeypatch.setenv("COLUMNS", "120")

    def typed(lines: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        run_sql(None)
        return capsys.readouterr()

    return typed


@pytest.mark.parametrize("words", [".tables", "show tables", "SHOW TABLES;", "show all  tables ;"])
def test_tables_and_views_are_listed_whoever_asks(ask: Callable[[str], tuple[str, str]], words: str) -> None:
    out, err = ask(f"{words}\n")
    lines = [line.split() for line in out.splitlines()[1:]]
    kinds = {line[0].removeprefix("blofin>"): line[1] for line in lines if len(line) > 1}
    assert {"table", "view"} <= set(kinds.values())
    assert kinds.get("research.current_ranking") == "view"
    assert kinds.get("reports.daily_reports") == "table"
    assert len(kinds) > 50, "the list is whole"
    assert max(map(len, out.splitlines())) <= 120 + len("blofin> ")
    assert err == ""


@pytest.mark.parametrize("words", [".describe research.trades", "\\d research.trades;"])
def test_columns_are_described_in_whole(ask: Callable[[str], tuple[str, str]], words: str) -> None:
    out, err = ask(f"{words}\n")
    assert "pnl  " in out
    assert "of a book, of the largest notional held" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 120 + len("blofin> ")
    assert err == ""


def test_a_table_that_is_not_there_has_its_nearest_named(ask: Callable[[str], tuple[str, str]]) -> None:
    _, err = ask(".describe research.trade\n")
    assert err == ("there is no table or view research.trade (did you mean research.trades?); .tables lists them\n")


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_query_returns_to_the_prompt(ask: Callable[[str], tuple[str, str]]) -> None:
    endless = "SELECT count(*) FROM range(10_000_000_000) AS a(n), range(7) AS b(n) WHERE a.n % 11 = b.n"
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    before = time.process_time()
    out, err = ask(f"{endless}\nSELECT 40 + 2\n")
    assert time.process_time() - before < 60, "it did not run to its end, which takes some three minutes of processor"
    assert err == "interrupted\n"
    assert "42" in out


def test_names_are_completed(stored: Path) -> None:
    with Warehouse.open_readonly(stored) as warehouse:
        known = names(warehouse)
    found = [completion(known, "research.tra", number) for number in range(3)]
    assert found == ["research.trade_costs", "research.trades", None]
    assert completion(known, "total_pnl", 0) == "total_pnl_pct"
    assert completion(known, "nothing of it", 0) is None


@pytest.mark.parametrize("word", ["exit", "quit", "EXIT;", ".quit", ".exit", "exit()"])
def test_every_word_for_an_end_ends(ask: Callable[[str], tuple[str, str]], word: str) -> None:
    out, err = ask(f"{word}\nSELECT 40 + 2\n")
    assert "42" not in out
    assert err == ""


@pytest.mark.parametrize("word", ["help", ".help", "help;", "?"])
def test_help_helps(ask: Callable[[str], tuple[str, str]], word: str) -> None:
    out, err = ask(f"{word}\n")
    assert "show tables" in out
    assert "Nothing can be written" in out
    assert err == ""


def test_an_error_has_the_hint_and_the_mark_below_the_place(ask: Callable[[str], tuple[str, str]]) -> None:
    _, err = ask("SELECT * FROM research.trade\nSELEC 1\nSELECT 1; SELECT 2\n")
    assert "Did you mean" in err
    lines = err.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("LINE 1: SELEC 1"))
    assert lines[place + 1].strip() == "^"
    assert lines[place + 1].index("^") == lines[place].index("SELEC")
    assert lines[-1].startswith("one statement at a time")


@pytest.mark.parametrize("command", [".quit_now", r"\l", ".schema research"])
def test_an_unknown_command_of_the_prompt_is_told_which_there_are(
    ask: Callable[[str], tuple[str, str]], command: str
) -> None:
    _, err = ask(f"{command}\n")
    assert err == f"there is no command {command}; there are .tables, .describe research.trades, .help and .quit\n"


def test_no_code_of_data_or_of_an_error_reaches_the_terminal(ask: Callable[[str], tuple[str, str]]) -> None:
    code = "chr(27) || ']0;evil' || chr(7) || chr(155) || '31m' || chr(8238)"
    wide = ", ".join(f"{n} AS c{n}" for n in range(14))
    typed = (
        f"SELECT {code} AS x, [{code}] AS y", f"SELECT {wide}, {code} AS x", 'SELECT 1 AS "\x1b[31m"',
        "SELECT '\x1b]0;x\x07'::INTEGER",
    )  # fmt: skip
    out, err = ask("\n".join(typed))
    for shown in (out, err):
        assert "\\x1b" in shown
        assert not set(shown) & set("\x1b\x07\x9b\u202e")


def test_half_a_character_is_one_line(stored: Path) -> None:
    blofin = Path(sys.executable).with_name("blofin")
    environment = {**os.environ, "BLOFIN_WAREHOUSE": str(stored)}
    answer = subprocess.run(
        [blofin, "sql", b"SELECT '\xff'"], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert answer.returncode == 1
    assert answer.stderr == (
        "blofin: the statement contains an unpaired surrogate, \\udcff, which cannot be encoded; retype it\n"
    )
