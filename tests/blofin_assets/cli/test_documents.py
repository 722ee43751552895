"""`--json`: one valid document on the standard output, numbers whole, and every command that shows a table has it."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import polars as pl
import pytest
from support.command import blofin, refused
from support.platform import AS_OF, SMALL, Platform
from support.warehouses import new_warehouse
from typer.main import get_command

from blofin_assets.cli.documents import MOST_TEXT, bounded, json_of, print_json
from blofin_assets.cli.main import app

WITHOUT_A_TABLE = {"step", "mcp", "ui", "daemon"}
THIRD = 1.0 / 3.0


def read(text: str) -> object:
    """Parse a document as a strict reader does: no NaN, no infinity, nothing after it."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


class Colour(StrEnum):
    RED = "red"


class Pair(NamedTuple):
    one: float
    two: object


@dataclass(frozen=True)
class Thing:
    pair: Pair
    path: Path


def test_every_command_that_shows_a_table_can_print_a_document() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    without = {name for name, command in commands.items() if "as_json" not in {each.name for each in command.params}}
    assert without == WITHOUT_A_TABLE


def test_what_json_has_nothing_for_is_told_in_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 3, 1, 1, tzinfo=UTC)
    print_json(
        {
            1: math.nan,
            "infinite": [math.inf, np.float64(-math.inf)],
            "third": np.float64(THIRD),
            "array": np.array([[1.5, math.nan]]),
            "count": np.int64(3),
            "yes": np.bool_(True),
            "thing": Thing(Pair(THIRD, None), Path("a") / "b"),
            "frame": pl.DataFrame({"at": [at], "x": [math.nan], "day": [date(2026, 3, 1)], "none": [None]}),
            "long": timedelta(minutes=1.5),
            "colour": Colour.RED,
            "code": "\x1b[31m",
        }
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert read(shown) == {
        "1": None,
        "infinite": [None, None],
        "third": THIRD,
        "array": [[1.5, None]],
        "count": 3,
        "yes": True,
        "thing": {"pair": {"one": THIRD, "two": None}, "path": "a/b"},
        "frame": [{"at": at.isoformat(), "x": None, "day": "2026-03-01", "none": None}],
        "long": 90.0,
        "colour": "red",
        "code": "\x1b[31m",
    }
    assert json_of(None) is None


def test_what_is_too_long_is_cut_and_says_so() -> None:
    rows = [{"number": number, "text": "x" * 100} for number in range(2_000)]
    found = bounded({"rows": rows, "one": 1}, {"before": "yes"})
    assert len(json.dumps(found)) < MOST_TEXT + 500
    assert found["rows"] == rows[: len(found["rows"])]
    assert found["cut"] == {"before": "yes", "rows": f"the first {len(found['rows'])} of 2000"}
    assert bounded({"cell": ["y" * MOST_TEXT]}) == {
        "cell": None,
        "cut": {"cell": f"left out: {MOST_TEXT + 4:,} characters"},
    }
    assert bounded({"small": float("nan")}) == {"small": None}


def test_rows_of_a_query_are_a_document(tmp_path: Path) -> None:
    new_warehouse(tmp_path / "warehouse").close()
    query = (
        "SELECT 1::DOUBLE / 3 AS third, 'nan'::DOUBLE AS odd, NULL AS none, TIMESTAMPTZ '2026-03-01 01:00:00Z' AS at"
    )
    done = blofin("sql", "--json", query)
    assert done.returncode == 0, done.stderr
    assert read(done.stdout) == [{"third": THIRD, "odd": None, "none": None, "at": "2026-03-01T01:00:00+00:00"}]
    assert read(blofin("sql", "--json", "SELECT 1 AS one WHERE false").stdout) == []
    listed = read(blofin("sql", "--json", ".tables").stdout)
    assert isinstance(listed, list)
    assert {"name": "research.leaderboard", "kind": "view"}.items() <= next(
        each.items() for each in listed if each["name"] == "research.leaderboard"
    )
    refused(blofin("sql", "--json"), "--json is of one statement")
    refused(blofin("sql", "--json", "SELECT DATE '20000-01-01' AS far"), "column far", "cast it to VARCHAR")
    refused(blofin("sql", "--json", "DELETE FROM market.candles_1m"))


def test_an_import_is_a_document_and_nothing_else(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    bar = [1704067200000, 1.0, 2.0, 0.5, 1.5, 10.0]
    (theirs / "BTC_USDT_USDT-1h-futures.json").write_text(json.dumps([bar]))
    (theirs / "notes.txt").write_text("mine")
    planned = read(blofin("import-archive", str(theirs), "--to", str(ours), "--dry-run", "--json").stdout)
    assert isinstance(planned, dict)
    assert planned["written"] is False
    assert not ours.exists()
    (theirs / "ETH_USDT-1h.json").write_text(json.dumps([[*bar[:2], 0.1, *bar[3:]]]))
    done = blofin("import-archive", str(theirs), "--to", str(ours), "--json")
    document = read(done.stdout)
    assert isinstance(document, dict)
    assert document["written"] is True
    assert [(each["file"], each["new"], each["missing"]) for each in document["files"]] == [("BTC-USDT_60m", 1, 0)]
    assert [each["file"] for each in document["refused"]] == ["ETH-USDT_60m"]
    assert [Path(each["path"]).name for each in document["skipped"]] == ["notes.txt"]
    refused(done, "1 of 2 files of the archive were refused")


@pytest.mark.long
def test_a_pass_a_report_and_its_repetition_are_documents(here: Platform) -> None:
    settings = {f"BLOFIN_{name.upper()}": str(value) for name, value in SMALL.items()}
    settings["BLOFIN_WAREHOUSE"] = str(here.settings.warehouse)
    passed = read(blofin("run", "--as-of", f"{AS_OF:%Y-%m-%dT%H:%MZ}", "--json", **settings).stdout)
    assert isinstance(passed, dict)
    stored = here.warehouse.read(
        "SELECT name, score FROM research.ranking_history WHERE kind = 'strategy' AND rank = 1 AND as_of = "
        "(SELECT max(as_of) FROM research.ranking_history WHERE kind = 'strategy')"
    ).row(0)
    assert (passed["ranking"][0]["name"], passed["ranking"][0]["score"]) == stored, "not rounded"
    assert passed["errors"] == []
    day = passed["report"].rpartition("/")[2].removesuffix(".html")
    report = blofin("report", day, "--json", **settings)
    document = read(report.stdout)
    assert isinstance(document, dict)
    assert document["report_date"] == day
    assert f"report {day}" in report.stderr, "progress is told beside it"
    repeated = blofin("reproduce", day, "--json", **settings)
    found = read(repeated.stdout)
    assert isinstance(found, dict)
    assert found["differences"] == []
    assert found["values"] > 100
