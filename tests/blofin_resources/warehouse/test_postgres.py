"""Connection strings of a PostgreSQL catalog: read in both forms, and no error repeats the password."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse, _postgres
from blofin_resources.warehouse._place import Place

AWAY = "127.0.0.1"
"""A host where nothing listens on port 1."""

WAYS: dict[str, Callable[[Path, str], Warehouse]] = {
    "open": lambda folder, catalog: Warehouse.open(folder, market="sample", catalog=catalog),
    "open_readonly": lambda folder, catalog: Warehouse.open_readonly(folder, catalog=catalog),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "catalog",
    [
        f"postgres:host={AWAY} port=1 dbname=x user=u password=hunter2",
        f"postgres:host={AWAY} port=1 password = 'is hunter2\\'s'",
        f"postgresql://u:hunter2@{AWAY}:1/x",
        f"postgres:postgresql://{AWAY}:1/x?user=u&password=hunter2",
    ],
)
def test_a_server_that_is_away_is_named_without_the_password(tmp_path: Path, catalog: str, way: str) -> None:
    with pytest.raises(WarehouseError, match=r"Connection refused.*; start that server, or") as refused:
        WAYS[way](tmp_path, catalog)
    assert f"host={AWAY} port=1" in str(refused.value)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value)), "Dagster stores chained errors as well"


@pytest.mark.parametrize(
    "catalog",
    [
        "postgres:host=h password='hunter2",
        "postgres:host=h password=hunter2 more",
        "postgres:host=h passwd=hunter2",
        "postgres:host=h sslpassword=hunter2",
        "postgres:dbname=postgresql://u:hunter2@h/x",
        "postgres:://u:hunter2@h",
        "postgresql://u:p@hunter2@h/x",
        "postgresql://u:p/hunter2@h/x",
        "mysql://u:hunter2@h/x",
        "dbname=x password=hunter2",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_and_not_repeated(tmp_path: Path, catalog: str) -> None:
    with pytest.raises(WarehouseError, match="BLOFIN_CATALOG") as refused:
        Warehouse.open(tmp_path / "w", market="sample", catalog=catalog)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("catalog", "text", "password"),
    [
        ("postgres:", "", None),
        ("postgres:dbname=blofin", "dbname=blofin", None),
        ("postgres:dbname=blofin password=''", "dbname=blofin", None),
        ("postgres: user = u  password= a\\ b\\\\ ", "user=u", "a b\\"),
        ("postgresql:user='it\\'s me' password='a \\'b'", "user='it\\'s me'", "a 'b"),
        ("postgres://u:p%40%25@h:5/x", "user=u dbname=x host=h port=5", "p@%"),
        ("postgresql://u:p?hunter2@h/x", "user=u dbname=x host=h", "p?hunter2"),
        ("postgresql://[::1],b:6/x?sslmode=require", "dbname=x host=::1,b port=,6 sslmode=require", None),
        ("postgresql:///x?host=%2Frun%2Fpg", "dbname=x host=/run/pg", None),
    ],
)
def test_both_forms_are_read(catalog: str, text: str, password: str | None) -> None:
    assert _postgres.read(catalog) == (text, password)
    assert (password or "no password") not in repr(Place.of(Path("w"), catalog))
