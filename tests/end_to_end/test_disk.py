"""A disk that is full in the middle of a run: one line, nothing half-written, and with more room the same rows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.platform import SMALL, START, content, differing, platforms

from blofin_assets.shared.cadences import MARKET_DATA
from blofin_assets.shared.partitions import day_start

BLOFIN = Path(sys.executable).with_name("blofin")
SOON = day_start(START.isoformat()) + timedelta(days=2)
TABLES = (
    "market.instruments", "market.candles_1m", "market.candles_5m", "market.candles_60m", "market.candles_1d",
    "market.funding_rates", "market.coverage", "features.features_1m", "features.features_5m", "features.features_60m",
)  # fmt: skip


def resized(folder: Path, size: str, *options: str) -> bool:
    """Give a folder a disk of its own in memory, or another size; return whether this user may."""
    command = ["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={size}"]), "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own with room for less than a day."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not resized(folder, "5m"):
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - where it is differs by system


@pytest.mark.long
def test_a_full_disk_is_one_line_and_with_room_the_rows_are_the_same(disk: Path, tmp_path: Path) -> None:
    settings = {f"BLOFIN_{name.upper()}": str(value) for name, value in SMALL.items()}
    environment = {**os.environ, **settings, "BLOFIN_WAREHOUSE": str(disk / "warehouse"), "COLUMNS": "400"}
    command = [BLOFIN, "run", "--as-of", SOON.isoformat()]
    full = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert f"the disk of {disk / 'warehouse'} is full" in full.stderr.splitlines()[-1]
    assert resized(disk, "400m", "remount")
    with platforms(tmp_path) as make:
        again, calm = make("disk/warehouse"), make("calm")
        for each in (again, calm):
            each.run(SOON, (MARKET_DATA,))
        for table in TABLES:
            assert differing(content(again.warehouse, table), content(calm.warehouse, table)) == [], table
        assert again.warehouse.integrity() == []
