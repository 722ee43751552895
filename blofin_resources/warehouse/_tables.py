"""What the tables look like, remembered, so that a small write need not ask the catalog each time.

Belongs here: columns and keys by table, and when to ask again. Does not belong here: making tables (`_schema`).
"""

from collections.abc import Callable, Iterable, Mapping

from blofin_resources.errors import WarehouseError

Columns = Mapping[str, tuple[str, bool]]
"""Name -> (DuckDB type, may be null) of a table's columns, in order."""


class Tables:
    """Columns and keys of the tables of one warehouse.

    A table's columns are read when it is first asked for, and again when a caller knows a column that is not among
    them, since another process may have added it. Columns are never removed. Safe between threads.

    Parameters
    ----------
    find_columns : callable
        Table name -> its columns now; empty for an unknown table.
    find_key : callable
        Table name -> columns of its unique key now; empty where it has none.
    """

    def __init__(self, find_columns: Callable[[str], Columns], find_key: Callable[[str], tuple[str, ...]]) -> None:
        self._find_columns = find_columns
        self._find_key = find_key
        self._columns: dict[str, Columns] = {}
        self._keys: dict[str, tuple[str, ...]] = {}

    def columns(self, table: str, used: Iterable[str]) -> Columns:
        """Return the columns of a table that is to be written with the columns `used`.

        Raises
        ------
        WarehouseError
            If there is no such table.
        """
        known = self._columns.get(table)
        if known is None or not known.keys() >= set(used):
            known = self._columns[table] = self._find_columns(table)
        if not known:
            self._columns.pop(table, None)
            msg = f"the warehouse has no table {table}; see warehouse/schema for those that it has"
            raise WarehouseError(msg)
        return known

    def key(self, table: str) -> tuple[str, ...]:
        """Return the columns whose values together are unique in a table."""
        if table not in self._keys:
            self._keys[table] = self._find_key(table)
        return self._keys[table]
