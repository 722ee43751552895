"""That a catalog and a folder of data belong to each other.

Belongs here: the id that both carry, when a catalog or a folder without one takes it on, and refusing where they do not
fit. Does not belong here: what is stored in either.

To a catalog, every file that it does not know is an orphan, which maintenance deletes: opened with another catalog, a
folder would lose all its data the night after.
"""

import tempfile
import uuid
from pathlib import Path
from typing import Final

from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _schema
from blofin_resources.warehouse._place import ALIAS, MARK, Place

_KEY: Final = "warehouse_id"

_META: Final = f"__ducklake_metadata_{ALIAS}"

_FILES: Final = ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
"""Tables of DuckLake that name files."""


def require_files(place: Place, connection: DuckDBPyConnection) -> None:
    """Refuse a folder that lacks the files in which a catalog keeps its own facts, its id among them.

    Raises
    ------
    WarehouseError
        If any of them is not there.
    """
    if not _schema.columns(connection, "meta.settings"):
        return
    files = connection.execute(f"SELECT data_file FROM ducklake_list_files('{ALIAS}', 'settings', schema => 'meta')")
    if not all(Path(file).exists() for (file,) in files.fetchall()):
        raise _lacking(place)


def refuse_other(place: Place, connection: DuckDBPyConnection) -> None:
    """Refuse a folder that carries another id than the catalog; one without an id is accepted.

    Raises
    ------
    WarehouseError
        If both carry one, and not the same.
    """
    mine, theirs = _schema.settings(connection).get(_KEY), _read(place)
    if mine is not None and theirs is not None and mine != theirs:
        raise _foreign(place)


def settle(place: Place, connection: DuckDBPyConnection) -> tuple[str, bool]:
    """Return the id of the warehouse, and whether the catalog had to take it on; `mark` then gives it to the folder.

    Where either carries none (both are new or of an older version, or one was restored from a copy), they are known to
    belong together by a file that the catalog knows and the folder holds, or by there being none at all.

    Raises
    ------
    WarehouseError
        If catalog and folder do not belong together.
    """
    refuse_other(place, connection)
    mine, theirs = _schema.settings(connection).get(_KEY), _read(place)
    if mine is not None and theirs is not None:
        return mine, False
    known, held = _known(connection), {path.name for path in place.data.rglob("*.parquet")}
    if not known & held:
        if held or theirs is not None:
            raise _foreign(place)
        if known:
            raise _lacking(place)
    identity = mine or theirs or uuid.uuid4().hex
    if mine is None:
        _schema.put_setting(connection, _KEY, identity)
    return identity, mine is None


def mark(place: Place, identity: str) -> None:
    """Give the folder its id, once the catalog has it for good: killed between the two, it is done at the next start.

    Raises
    ------
    WarehouseError
        If the file cannot be written.
    """
    if _read(place) is not None:
        return
    try:
        with tempfile.NamedTemporaryFile("w", dir=place.data, prefix=f".{MARK}", delete=False) as file:
            file.write(identity)
        # whole or not at all; open to other readers, which a temporary file is not
        Path(file.name).chmod(0o644)
        Path(file.name).replace(place.mark)
    except OSError as error:
        msg = f"{place.mark} cannot be written ({error.strerror}); make {place.data} writable"
        raise WarehouseError(msg) from None


def require_same(place: Place, connection: DuckDBPyConnection) -> None:
    """Refuse a folder that does not carry the catalog's id (any more): it was swapped or unmounted since the opening.

    Raises
    ------
    WarehouseError
        If the ids differ or are missing.
    """
    require_files(place, connection)
    refuse_other(place, connection)
    if _read(place) is None:
        raise _lacking(place)


def _read(place: Place) -> str | None:
    try:
        return place.mark.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{place.mark} cannot be read ({error}); make it readable, or restore it from a copy"
        raise WarehouseError(msg) from None


def _known(connection: DuckDBPyConnection) -> set[str]:
    """Return the names of all files that the catalog knows; DuckLake makes each name once."""
    named = " UNION ALL ".join(f"SELECT path FROM {_META}.{table}" for table in _FILES)
    return {Path(path).name for (path,) in connection.execute(named).fetchall()}


def _foreign(place: Place) -> WarehouseError:
    return WarehouseError(
        f"{place.data} belongs to another catalog than {place.file or place.uri}, which would delete its files "
        f"as orphans; set BLOFIN_CATALOG to the catalog that they were made with, or BLOFIN_WAREHOUSE to another folder"
    )


def _lacking(place: Place) -> WarehouseError:
    return WarehouseError(
        f"{place.data} lacks the files of the catalog {place.file or place.uri}; mount or restore them, "
        f"or set BLOFIN_WAREHOUSE and BLOFIN_CATALOG to what belongs together"
    )
