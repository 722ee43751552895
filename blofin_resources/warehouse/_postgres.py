"""PostgreSQL's connection strings, the password apart from the rest.

Belongs here: reading both forms that [libpq](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING)
knows. Does not belong here: connecting.

DuckDB repeats a connection string in its errors and in `duckdb_databases()`, and never what is in a secret of its own:
the password goes there. No error from here repeats any part of the string.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from blofin_resources.errors import WarehouseError

SCHEMES: Final = ("postgres:", "postgresql:")

_KEY_AND_VALUE: Final = re.compile(
    r"\s*(?P<key>[^\s=']+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?!')(?:[^\s\\]|\\.)*))(?=\s|$)", re.DOTALL
)
_URL: Final = re.compile(
    r"(?:(?P<user>[^:@/?]*)(?::(?P<password>[^@/?]*))?@)?(?P<hosts>[^@/?]*)(?:/(?P<dbname>[^@?]*))?(?:\?(?P<query>[^@]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<ip6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>\d*))?")

_SECRET: Final = re.compile(r"(?!password$|passfile$).*(pass|pwd|secret)", re.IGNORECASE)
"""Names of secrets that libpq knows and DuckDB's secrets do not, such as `sslpassword`, or that are misspelt."""


class Connection(NamedTuple):
    """A connection string in key=value form without the password, and the password, if it has one."""

    text: str
    password: str | None


def read(catalog: str) -> Connection:
    """Take a catalog such as `postgres:dbname=blofin password=…` or `postgresql://user:…@host/blofin` apart.

    Raises
    ------
    WarehouseError
        If it is neither, or holds a secret that could not be kept out of errors.
    """
    rest = catalog.partition(":")[2]
    url = catalog if rest.startswith("//") else rest.strip()  # DuckDB's own form of a URL is postgres:postgresql://…
    if url.lower().startswith(tuple(f"{scheme}//" for scheme in SCHEMES)):
        parts = _of_url(url.partition("//")[2])
    else:
        parts = _of_pairs(rest)
    secret = sorted(key for key in parts if _SECRET.match(key))
    if secret:
        msg = f"BLOFIN_CATALOG sets {', '.join(secret)}, which errors would show; the one secret it may set is password"
        raise WarehouseError(msg)
    if any("://" in value for value in parts.values()):  # an address, with a password perhaps, in a wrong place
        raise _unreadable()
    password = parts.pop("password", None)
    return Connection(" ".join(f"{key}={_quoted(value)}" for key, value in parts.items()), password or None)


def refuse_other_server(catalog: str) -> None:
    """Refuse what is meant as a server and would be taken for a file, whose name would then hold the password."""
    if "://" in catalog or re.search(r"\b(?:host|hostaddr|dbname|user|password)\s*=", catalog):
        raise _unreadable()


def _of_pairs(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        pair = _KEY_AND_VALUE.match(text, at)
        if pair is None:
            raise _unreadable()
        value = pair["bare"] if pair["quoted"] is None else pair["quoted"]
        parts[pair["key"]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = pair.end()
    return parts


def _of_url(text: str) -> dict[str, str]:
    url = _URL.fullmatch(text.strip())
    hosts = [_HOST.fullmatch(host) for host in url["hosts"].split(",")] if url else [None]
    if url is None or None in hosts:
        raise _unreadable()
    found = [host for host in hosts if host is not None]
    ports = [host["port"] or "" for host in found]
    parts = {
        "host": ",".join(host["name"] if host["ip6"] is None else host["ip6"] for host in found),
        "port": ",".join(ports) if any(ports) else "",
        **{key: url[key] or "" for key in ("dbname", "user", "password")},
    }
    for pair in (url["query"] or "").split("&"):
        key, _, value = pair.partition("=")
        parts[key] = value
    return {unquote(key): unquote(value) for key, value in parts.items() if value}


def _quoted(value: str) -> str:
    if re.fullmatch(r"[^\s'\\]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _unreadable() -> WarehouseError:
    return WarehouseError(
        "BLOFIN_CATALOG is no file and cannot be read as PostgreSQL's; write postgres:dbname=blofin host=… user=… "
        "password='…' (before ' and \\ in the quotes a \\), or postgresql://user:…@host/blofin "
        "(@ as %40, : as %3A, / as %2F, ? as %3F and % as %25)"
    )
