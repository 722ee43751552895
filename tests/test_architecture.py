"""ARCHITECTURE.md says what the code says: rooms, cadences, jobs, schemas."""

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from blofin_assets.scheduling.jobs import JOBS
from blofin_assets.scheduling.schedules import SCHEDULES
from blofin_assets.shared.cadences import CADENCES, DEEP_CADENCE, DEEP_HISTORY, MARKET_CADENCE, MARKET_DATA

PROJECT: Final = Path(__file__).resolve().parents[1]
TEXT: Final = (PROJECT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGES: Final = (
    "features", "backtester", "strategies", "model_zoo", "calibration", "blofin_resources", "blofin_assets",
)  # fmt: skip
PART_OF_ITS_ROOM: Final = ("blofin_assets/reporting/", "blofin_resources/market/", "strategies/llm/")
"""Rooms whose folders are described by themselves."""


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    below = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = re.search(r"^\|.*?(?=^$)", below, re.MULTILINE | re.DOTALL)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.group(0).splitlines()[2:]]


def test_every_room_is_described_and_no_other() -> None:
    described = {row[0].strip("`").rstrip("/") for row in rows("The rooms")}
    there = {
        init.parent.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for init in (PROJECT / package).rglob("__init__.py")
    }
    inside = {room for room in there if room.startswith(PART_OF_ITS_ROOM)}
    empty = {"backtester", "strategies", "model_zoo", "blofin_resources", "blofin_assets"}
    assert (
        described - {"benchmarks", "warehouse/schema", "warehouse/views", "warehouse/queries"} == there - inside - empty
    )


def test_the_calendar_is_that_of_the_cadences() -> None:
    ranges = [(MARKET_DATA, MARKET_CADENCE), (DEEP_HISTORY, DEEP_CADENCE)]
    hours = {job: f"{every // timedelta(hours=1)} h" for job, every in ranges}
    hours |= {cadence.job: f"{cadence.every // timedelta(hours=1)} h" for cadence in CADENCES}
    table = rows("What runs when")
    assert [(row[0].strip("`"), row[1]) for row in table] == list(hours.items()), "in the order in which they run"
    assert [row[2] for row in table[2:]] == [str(cadence.catch_up) for cadence in CADENCES]


def test_every_job_is_named_and_maintenance_has_its_time() -> None:
    assert [job.name for job in JOBS if f"`{job.name}`" not in TEXT] == []
    maintenance = next(each for each in SCHEDULES if each.job_name == "maintenance")
    assert isinstance(maintenance, dg.ScheduleDefinition)
    minute, hour = str(maintenance.cron_schedule).split()[:2]
    assert f"`maintenance` runs at {int(hour):02}:{int(minute):02}" in TEXT


def test_every_schema_is_described() -> None:
    described = {row[0].strip("`") for row in rows("What is stored where")}
    assert described == {
        name
        for file in (PROJECT / "warehouse" / "schema").glob("*.sql")
        for name in re.findall(r"CREATE SCHEMA IF NOT EXISTS (\w+)", file.read_text(encoding="utf-8"))
    }


def test_the_order_of_imports_is_that_of_the_contracts() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    held = {
        contract.get("containers", ["the repository"])[0]: " → ".join(
            ", ".join(sorted(layer.split(" | "))) for layer in contract["layers"]
        )
        for contract in contracts
        if contract["type"] == "layers"
    }
    assert {row[0].strip("`"): row[1] for row in rows("What may import what")} == held
