"""One warehouse for all these tests: each has a day of its own in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.claude import Desk
from support.warehouses import new_warehouse

from blofin_resources.warehouse import Warehouse


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    folder: Path = tmp_path_factory.mktemp("claude") / "warehouse"
    with new_warehouse(folder) as opened:
        yield opened


@pytest.fixture
def desk(warehouse: Warehouse) -> Desk:
    """A day on which nothing was asked yet."""
    return Desk(warehouse)
