"""PostgreSQL's connection strings, the password apart from the rest.

Belongs here: taking apart what [libpq](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING)
reads, pairs or an address. Does not belong here: connecting.

DuckDB repeats a connection string in its errors and in `duckdb_databases()`, and never what is in a secret of its own:
the password goes there. No error from here repeats any part of the string.
"""

import re
from typing import Final, NamedTuple

from blofin_resources.errors import WarehouseError

SCHEMES: Final = ("postgres:", "postgresql:")

_SECRETS: Final = ("sslpassword", "oauth_client_secret")
"""Secrets that libpq knows and DuckDB's secrets do not."""


class Connection(NamedTuple):
    """A connection string in key=value form without the password, and the password, if it has one."""

    text: str
    password: str | None


def read(catalog: str) -> Connection:
    """Take a catalog such as `postgres:dbname=blofin password=…` or `postgresql://user:…@host/blofin` apart.

    Raises
    ------
    WarehouseError
        If it is neither, or holds a secret that could not be kept out of errors, or the `postgres` extra is missing.
    """
    rest = catalog.partition(":")[2]
    parts = _parts(catalog if rest.startswith("//") else rest.strip())  # DuckDB's own form is postgres:postgresql://…
    secret = sorted(parts.keys() & set(_SECRETS))
    if secret:
        msg = f"BLOFIN_CATALOG sets {', '.join(secret)}, which errors would show; the one secret it may set is password"
        raise WarehouseError(msg)
    password = parts.pop("password", None)
    if any("@" in parts.get(name, "") for name in ("host", "port", "dbname")):  # the rest of a password, or an address
        raise _unreadable()
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - of an extra

    return Connection(make_conninfo(**parts), password or None)


def refuse_other_server(catalog: str) -> None:
    """Refuse what is meant as a server and would be taken for a file, whose name would then hold the password."""
    if "://" in catalog or re.search(r"\b(?:host|hostaddr|dbname|user|password)\s*=", catalog):
        raise _unreadable()


def _parts(text: str) -> dict[str, str]:
    try:
        from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 - of an extra
    except ImportError:
        msg = "a PostgreSQL catalog needs the extra: pip install -e '.[postgres]'"
        raise WarehouseError(msg) from None
    try:
        return {key: str(value) for key, value in conninfo.conninfo_to_dict(text).items()}
    except ProgrammingError:
        raise _unreadable() from None


def _unreadable() -> WarehouseError:
    return WarehouseError(
        "BLOFIN_CATALOG is no file and cannot be read as PostgreSQL's; write postgres:dbname=blofin host=… user=… "
        "password='…' (before ' and \\ in the quotes a \\), or postgresql://user:…@host/blofin (@ as %40, / as %2F)"
    )
