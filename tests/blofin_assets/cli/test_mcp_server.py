"""`blofin mcp`: the protocol over stdio, by the SDK's own client, on a warehouse after a pass."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import anyio
import pytest
from support.command import QUICK, found_by_commands
from support.platform import AS_OF, SMALL, Platform
from support.warehouses import new_warehouse

from blofin_assets.cli import first_evaluation
from blofin_assets.cli.documents import MOST_ROWS, MOST_TEXT
from blofin_assets.cli.mcp_server import MOST_SECONDS
from blofin_assets.cli.session import open_session
from blofin_assets.strategy_cycle.judges import LIMITS
from strategies.language.strategy import StrategyError
from strategies.untrusted.sandbox import Limits

pytestmark = pytest.mark.slow

BLOFIN = Path(sys.executable).with_name("blofin")

TEXT = '''class Bounce(Strategy):
    """Buys what fell far.

    Edge: forced sellers.
    Fails: where the fall goes on.
    """

    name = "bounce"
    timeframes = ("60m",)
    low = Param(45, 20, 50)

    def detect(self, f):
        return Signal(long_entry=f.rsi_14 < self.low, long_exit=f.rsi_14 > 50)
'''

HOSTILE = TEXT.replace("f.rsi_14 < self.low", "f.rsi_14 < __import__('os').system('touch owned')")


class Answer(NamedTuple):
    """What a tool answered: an object, or the text of its error."""

    content: dict[str, Any]
    error: str


def talk(warehouse: Path, *calls: tuple[str, dict[str, Any]], **settings: str) -> tuple[list[Answer], list[str]]:
    """Start the server, call tools one after the other, and return their answers and the names of all tools."""
    from mcp import Client, StdioServerParameters, stdio_client  # noqa: PLC0415 - every worker collects this file

    parameters = StdioServerParameters(
        command=str(BLOFIN), args=["mcp"], env={"BLOFIN_WAREHOUSE": str(warehouse), **settings}, cwd=Path.cwd()
    )

    async def session(log: TextIO) -> tuple[list[Answer], list[str]]:
        async with Client(stdio_client(parameters, errlog=log), read_timeout_seconds=300) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            found = [await client.call_tool(name, arguments) for name, arguments in calls]
        return [_answer(each) for each in found], names

    with Path("stderr.log").open("w", encoding="utf-8") as log:
        return anyio.run(session, log)


def _answer(result: Any) -> Answer:
    text = "".join(part.text for part in result.content)
    assert len(text) < 2 * MOST_TEXT
    if result.is_error:
        return Answer({}, text)
    assert json.loads(text) == result.structured_content, "both forms of an answer say the same"
    return Answer(result.structured_content, "")


def settings_of(platform: Platform) -> dict[str, str]:
    kept = {f"BLOFIN_{name.upper()}": str(value) for name, value in SMALL.items()}
    return {**kept, "BLOFIN_MARKET": platform.settings.market}


def tries(platform: Platform) -> int:
    return int(platform.warehouse.read("SELECT count(*) FROM research.trials WHERE author = 'user'").item())


def test_other_commands_do_not_load_the_protocol() -> None:
    loaded = "import sys, blofin_assets.cli.main, blofin_assets.cli.sql; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_tables_queries_ranks_and_reports_are_read_and_nothing_is_written(done: Platform) -> None:
    folder, before = done.settings.warehouse, tries(done)
    many = "SELECT * FROM range(1000000000) AS numbers(number)"
    calls = (
        ("list_tables", {}),
        ("describe_table", {"name": "research.trades"}),
        ("describe_table", {"name": "research.trade"}),
        ("query", {"sql": "SELECT 1::DOUBLE / 3 AS third, 'nan'::DOUBLE AS odd"}),
        ("query", {"sql": many, "rows": 5}),
        ("query", {"sql": f"SELECT repeat('x', 1000) AS text FROM ({many})", "rows": MOST_ROWS}),
        ("query", {"sql": "DELETE FROM research.trials"}),
        ("query", {"sql": "COPY research.trials TO 'stolen.csv'"}),
        ("query", {"sql": "SELECT * FROM read_csv('/etc/passwd')"}),
        ("query", {"sql": f"SELECT sum(hash(number)) FROM ({many.replace('000)', '000000)')})", "seconds": 0.5}),
        ("query", {"sql": "SELECT 1", "seconds": 301}),
        ("query", {"sql": "SELECT 1", "rows": MOST_ROWS + 1}),
        ("query", {"rows": 1}),
        ("leaderboard", {"kind": "strategy", "rows": 2}),
        ("read_report", {}),
        ("read_report", {"section": "ranking"}),
        ("read_report", {"section": "nothing"}),
        ("read_report", {"day": "2020-01-01"}),
        ("language", {"of": "books"}),
    )  # fmt: skip
    answers, names = talk(folder, *calls, **settings_of(done))
    assert set(names) == {
        "list_tables", "describe_table", "query", "leaderboard", "read_report", "language", "backtest", "backtest_text",
    }  # fmt: skip
    listed, columns, unknown, numbers, first, long, *refused = answers[:12]
    assert {"research.leaderboard", "research.trials"} <= {each["name"] for each in listed.content["tables"]}
    assert any(each["name"] == "pnl" for each in columns.content["columns"])
    assert "did you mean research.trades" in unknown.error
    assert numbers.content == {"columns": ["third", "odd"], "rows": [{"third": 1.0 / 3.0, "odd": None}]}
    assert [each["number"] for each in first.content["rows"]] == [0, 1, 2, 3, 4]
    assert first.content["cut"] == {"rows": "the first 5; there are more"}
    assert long.content["cut"]["rows"] == f"the first {len(long.content['rows'])} of {MOST_ROWS}"
    assert all(each.error for each in refused), refused
    assert "give 1 to 500" in refused[-1].error
    assert "ran longer than 0.5 s and was stopped" in refused[-3].error
    assert f"at most {MOST_SECONDS}" in refused[-2].error
    missing, leaders, newest, section, nothing, early, language = answers[12:]
    assert "sql" in missing.error
    assert "Traceback" not in missing.error
    stored = done.warehouse.read("SELECT name, score FROM research.leaderboard WHERE kind = 'strategy' AND rank <= 2")
    assert [(each["name"], each["score"]) for each in leaders.content["rows"]] == stored.sort(
        "score", descending=True
    ).rows()
    assert newest.content["report_date"] == "2026-03-12"
    assert "ask for section='ranking'" in newest.content["cut"]["ranking"]
    assert len(section.content["ranking"]) > 2
    assert "no section 'nothing'" in nothing.error
    assert "there are reports from" in early.error
    assert "class" in language.content["language"]
    assert tries(done) == before
    assert not Path("stolen.csv").exists()


def test_a_backtest_is_that_of_the_command_counted_once_and_a_text_is_never_executed(done: Platform) -> None:
    folder, settings, before = done.settings.warehouse, settings_of(done), tries(done)
    window = {"start": "2026-03-03", "end": "2026-03-12"}
    asked = {"timeframes": ["60m"], "parameters": {"fast": 7}, **window}
    level = done.warehouse.read("SELECT median(close) FROM market.candles_60m WHERE symbol = 'BTC-USDT'").item()
    by_heart = TEXT.replace("f.rsi_14 < self.low", f"f.close > {level}")
    calls: Sequence[tuple[str, dict[str, Any]]] = (
        ("backtest", {"name": "ema_crossover", **asked}),
        ("backtest", {"name": "ema_crossover", **asked}),
        ("query", {"sql": "SELECT count(*) AS tries FROM research.trials WHERE author = 'user'"}),
        ("backtest_text", {"text": TEXT, "symbols": ["BTC-USDT"], "parameters": {"low": 40}, **window}),
        ("backtest_text", {"text": HOSTILE, **window}),
        ("backtest_text", {"text": "import os\nos.system('touch owned')", **window}),
        ("backtest_text", {"text": by_heart, **window}),
        ("backtest", {"name": "ema_crossover", **window, "end": "2026-03-14"}),
        ("backtest", {"name": "ema_crossover", "parameters": {"fst": 7}}),
        ("backtest", {"name": "ema_crosover"}),
        ("backtest", {"name": "mine.py"}),
        ("backtest", {"name": "funding_carry", "symbols": ["BTC-USDT"]}),
    )
    command = [BLOFIN, "backtest", "ema_crossover", "--timeframes", "60m", "--param", "fast=7", "--json"]
    command += ["--start", window["start"], "--end", window["end"]]
    environment = {**os.environ, "BLOFIN_WAREHOUSE": str(folder), **settings}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    Path("mine.py").write_text(TEXT, encoding="utf-8")
    (one, again, counted, text, hostile, plain, heart, late, unknown, typo, file, book), _ = talk(
        folder, *calls, **settings
    )
    assert one.content == again.content == json.loads(printed)["backtests"][0]
    assert counted.content["rows"] == [{"tries": before + 1}], "the same configuration is one trial"
    assert tries(done) == before + 2
    assert text.content["name"] == "bounce"
    assert text.content["parameters"] == {"low": 40}
    assert {each["symbol"] for each in text.content["lanes"]} == {"BTC-USDT"}
    row = done.warehouse.read("SELECT trades, window_end FROM research.trials WHERE name = 'bounce'").row(0)
    assert row == (text.content["pooled"]["trades"], AS_OF.replace(day=12))
    for refused in (hostile, plain):
        assert "line" in refused.error or "text:" in refused.error
    assert "its first evaluation, in a process of its own, refused it: price memory on " in heart.error
    assert not Path("owned").exists()
    assert "ends at 2026-03-13" in late.error
    assert "fst" in unknown.error
    assert "did you mean ema_crossover" in typo.error
    assert "give a name of the library" in file.error
    assert "--symbols: funding_carry is a book" in book.error
    assert "Traceback" not in Path("stderr.log").read_text(encoding="utf-8"), "each is an error that was foreseen"


def test_a_text_has_so_much_time_and_memory_as_a_design_of_the_cycle(
    here: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session()
    assert first_evaluation.LIMITS is LIMITS, "those of a design"
    assert first_evaluation.evaluated_text(session, TEXT, {"low": 40}).parameters == {"low": 40}
    before = tries(here)
    for limits, words in (
        (Limits(wall_seconds=0.1), "ran longer than 0.1 s and was killed"),
        (Limits(memory_bytes=300_000_000), "no verdict, as one does beyond its 300000000 bytes"),
    ):
        monkeypatch.setattr(first_evaluation, "LIMITS", limits)
        with pytest.raises(StrategyError, match=f"its first evaluation.*{words}"):
            first_evaluation.evaluated_text(session, TEXT, {})
    assert tries(here) == before


def test_a_book_as_text_is_evaluated_on_the_universe(deep: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by_commands(deep, monkeypatch)
    monkeypatch.setenv("BLOFIN_UNIVERSE", deep.settings.universe)
    monkeypatch.setenv("BLOFIN_MARKET", deep.settings.market)
    found = first_evaluation.evaluated_text(open_session(), QUICK, {"hours": 24})
    assert (found.name, found.parameters) == ("quick", {"hours": 24, "share": 0.3})
    monkeypatch.setattr(first_evaluation, "LIMITS", Limits(wall_seconds=0.1))
    with pytest.raises(StrategyError, match="ran longer than"):
        first_evaluation.evaluated_text(open_session(), QUICK, {})


def test_without_a_warehouse_each_call_says_how_to_get_one(tmp_path: Path) -> None:
    (answer,), _ = talk(tmp_path / "none", ("list_tables", {}))
    assert "make one with: blofin run" in answer.error


def test_the_standard_output_carries_the_protocol_alone(tmp_path: Path) -> None:
    new_warehouse(tmp_path / "w").close()
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    messages = (
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_tables", "arguments": {}}},
    )
    process = subprocess.Popen(
        [BLOFIN, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "BLOFIN_WAREHOUSE": str(tmp_path / "w"), "BLOFIN_NOTHING": "known"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    lines = []
    for message in messages:
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
        if "id" in message:
            lines.append(json.loads(process.stdout.readline()))
    process.stdin.close()
    assert process.stdout.read() == ""
    assert process.wait(timeout=60) == 0
    assert [each["id"] for each in lines] == [1, 2]
    assert "BLOFIN_NOTHING: unknown setting" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
