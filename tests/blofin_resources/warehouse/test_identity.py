"""A catalog and the folder of its data carry one id: no other catalog takes the files for orphans and deletes them."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse
from blofin_resources.warehouse._place import ALIAS, Place, connect

LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def written(warehouse: Warehouse, bars: Callable[..., pl.DataFrame]) -> Warehouse:
    """A warehouse with a file among its data, closed."""
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(100))
    warehouse.close()
    return warehouse


def again(folder: Path, catalog: Path | None = None) -> Warehouse:
    return Warehouse.open(folder, market="sample", market_id="seed=7", catalog=catalog and str(catalog))


def of_today(folder: Path, catalog: Path | None = None) -> tuple[str | None, str | None]:
    """Return the ids of catalog and folder, having seen that the candles are there."""
    with again(folder, catalog) as opened:
        assert opened.read("SELECT count(*) FROM market.candles_1m").item() == 100
        mine = opened.read("SELECT value FROM meta.settings WHERE key = 'warehouse_id'")
        return mine["value"].item(), mark(folder).read_text()


def mark(folder: Path) -> Path:
    return folder / "data" / "warehouse_id"


def forget(folder: Path, *, folder_too: bool) -> None:
    """Make a warehouse one of a version that knew no ids."""
    with again(folder) as opened:
        opened.cursor().execute("DELETE FROM meta.settings WHERE key = 'warehouse_id'")
    if folder_too:
        mark(folder).unlink()


def empty_lake(folder: Path) -> Path:
    """Make a catalog that holds nothing yet, as a new PostgreSQL database does."""
    place = Place.of(folder, None)
    place.make()
    with connect(place) as connection:
        place.attach(connection, ALIAS)
    assert place.file is not None
    return place.file


@pytest.mark.slow
@pytest.mark.parametrize("other", ["new", "empty", "written", "maintained", "of an older version"])
def test_another_catalog_over_the_same_folder_is_refused_and_deletes_nothing(
    written: Warehouse, tmp_path: Path, other: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    catalog = elsewhere / "catalog.sqlite"
    if other == "empty":
        empty_lake(elsewhere)
    elif other != "new":
        with again(elsewhere) as second:
            if other == "maintained":
                second.maintain(now=datetime.now(UTC))
        if other == "of an older version":
            forget(elsewhere, folder_too=True)
            forget(written.folder, folder_too=True)
    before = sorted(written.folder.rglob("*.parquet"))
    assert before

    def keep_house() -> None:
        with again(written.folder, catalog) as opened:
            opened.maintain(now=LATER)

    with pytest.raises(WarehouseError, match=r"set BLOFIN_|BLOFIN_WAREHOUSE to another") as refused:
        keep_house()
    assert str(written.folder) in str(refused.value)
    assert sorted(written.folder.rglob("*.parquet")) == before
    mine, theirs = of_today(written.folder)
    assert mine == theirs


def test_a_catalog_whose_rows_are_all_its_own_keeps_its_folder(warehouse: Warehouse, tmp_path: Path) -> None:
    assert not list(warehouse.folder.rglob("*.parquet"))
    with pytest.raises(WarehouseError, match="belongs to another catalog"):
        again(warehouse.folder, empty_lake(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere" / "catalog.sqlite").unlink()
    with pytest.raises(WarehouseError, match=r"holds data but .*catalog\.sqlite is missing"):
        again(warehouse.folder, tmp_path / "elsewhere" / "catalog.sqlite")


def test_a_reader_is_refused_another_catalog_as_well(written: Warehouse, tmp_path: Path) -> None:
    again(tmp_path / "elsewhere").close()
    with pytest.raises(WarehouseError, match="belongs to another catalog"):
        Warehouse.open_readonly(written.folder, catalog=str(tmp_path / "elsewhere" / "catalog.sqlite"))


@pytest.mark.parametrize("folder_too", [True, False])
def test_a_warehouse_of_an_older_version_takes_an_id_on(written: Warehouse, *, folder_too: bool) -> None:
    before = mark(written.folder).read_text()
    forget(written.folder, folder_too=folder_too)
    with Warehouse.open_readonly(written.folder) as read:
        assert read.read("SELECT count(*) FROM market.candles_1m").item() == 100
    mine, theirs = of_today(written.folder)
    assert mine == theirs
    assert (theirs == before) == (not folder_too)


def test_a_folder_without_its_id_gets_it_again(written: Warehouse) -> None:
    before = mark(written.folder).read_text()
    mark(written.folder).write_text("")  # as a full disk may leave it
    assert of_today(written.folder) == (before, before)


@pytest.mark.slow
def test_a_copy_of_a_warehouse_and_the_original_go_on(written: Warehouse, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(written.folder, copy)
    assert of_today(copy) == of_today(written.folder)
    with again(copy) as opened:
        assert opened.maintain(now=LATER).orphans == 0
    assert of_today(copy) == of_today(written.folder)


@pytest.mark.parametrize("way", ["another", "empty"])
def test_a_folder_that_is_swapped_under_a_running_process_is_not_maintained(
    written: Warehouse, tmp_path: Path, way: str
) -> None:
    with again(written.folder) as running, again(tmp_path / "elsewhere"):
        shutil.move(written.folder / "data", tmp_path / "away")
        if way == "another":
            shutil.copytree(tmp_path / "elsewhere" / "data", written.folder / "data")
        with pytest.raises(WarehouseError, match=r"set BLOFIN_"):
            running.maintain(now=LATER)


def test_a_catalog_does_not_begin_anew_where_its_files_are_not_mounted(written: Warehouse, tmp_path: Path) -> None:
    shutil.move(written.folder / "data", tmp_path / "away")
    with pytest.raises(WarehouseError, match="lacks the files of the catalog"):
        again(written.folder)
    (written.folder / "data").rmdir()
    shutil.move(tmp_path / "away", written.folder / "data")
    assert of_today(written.folder)[0] is not None
