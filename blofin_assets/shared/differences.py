"""Comparing what was stored with what was computed again, value by value.

Belongs here: what counts as a difference between two reports or two frames of rows. Does not belong here: computing
anything again (`blofin_assets.reproduction`).
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import polars as pl

_PROVENANCE: Final = frozenset({"run_id", "snapshot_id", "timestamp", "provenance"})
"""What tells of the making and not of what was made."""


class Difference(NamedTuple):
    """A value that came out otherwise: where, as stored, as computed again."""

    where: str
    stored: object
    again: object

    def __str__(self) -> str:
        return f"{self.where}: stored {self.stored!r}, computed again {self.again!r}"

    @property
    def wording(self) -> bool:
        """Whether both are sentences for readers that state the same numbers, such as two versions of one reason."""
        old, new = self.stored, self.again
        if self.where.rpartition(".")[2] not in _SENTENCES or not (isinstance(old, str) and isinstance(new, str)):
            return False
        return sorted(_NUMBER.findall(old)) == sorted(_NUMBER.findall(new))

    @property
    def rounding(self) -> bool:
        """Whether both are numbers that agree to twelve digits, as sums do that are added in another order."""
        old, new = self.stored, self.again
        return isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=1e-12)

    @property
    def what(self) -> str:
        """The table of a row, or the section of a report."""
        return (
            self.where.partition("[")[0]
            if self.where.startswith(_TABLES)
            else re.split(r"[.\[]", self.where, maxsplit=1)[0]
        )


_TABLES: Final = ("research.", "ml.")

_SENTENCES: Final = frozenset(
    {"ai_next_steps", "content", "detail", "note", "outcome", "reason", "refusal", "summary", "text", "verdict"}
)
"""Columns and keys that hold sentences. Whatever they describe is stored in columns of its own as well."""
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def compare_frames(
    table: str, stored: pl.DataFrame, again: pl.DataFrame, key: Sequence[str]
) -> tuple[int, list[Difference]]:
    """Compare the rows of a table, but for their provenance.

    Parameters
    ----------
    table : str
        Its name, for the differences.
    stored, again : DataFrame
        Rows as stored, and as computed again; columns that only one of them has are not compared.
    key : sequence of str
        Columns that say which rows are the same; the first is never null.

    Returns
    -------
    tuple of int and list of Difference
        Number of compared values, and those that differ; a row that only one side has is one difference.
    """
    columns = [name for name in stored.columns if name in again.columns and name not in {*_PROVENANCE, *key}]
    both = stored.join(again, on=list(key), how="full", suffix=_AGAIN, nulls_equal=True, maintain_order="left_right")
    differences = []
    for row in both.iter_rows(named=True):
        here, there = row[key[0]] is not None, row[f"{key[0]}{_AGAIN}"] is not None
        where = f"{table}[{_label(row, key, '' if here else _AGAIN)}]"
        if not (here and there):
            differences.append(Difference(where, "a row" if here else None, "a row" if there else None))
            continue
        pairs = ((name, row[name], row[f"{name}{_AGAIN}"]) for name in columns)
        differences += [Difference(f"{where}.{name}", old, new) for name, old, new in pairs if old != new]
    return both.height * len(columns), differences


_AGAIN: Final = "__again"
_NAMING: Final = ("kind", "strategy_name", "model_name", "ensemble_name", "name", "symbol", "timeframe", "ts", "side")


def _label(row: dict[str, Any], key: Sequence[str], suffix: str) -> str:
    """Return what a person would call a row: its names where it has any, else its key."""
    named = [row[f"{name}{suffix}"] for name in _NAMING if row.get(f"{name}{suffix}") is not None]
    return ", ".join(str(part) for part in named or [row[f"{name}{suffix}"] for name in key])


def compare_documents(stored: dict[str, Any], again: dict[str, Any]) -> tuple[int, list[Difference]]:
    """Compare two reports, but for their provenance; return the number of values, and the differences.

    Sections, keys and timeframes that a later version added are not compared: the stored report could not have them.
    """
    known = _Known.of(stored)
    old, new = (
        {
            _todays(path): value
            for path, value in flattened({key: report[key] for key in report if key not in _PROVENANCE})
            if known.has(path)
        }
        for report in (stored, again)
    )
    paths = list(dict.fromkeys([*old, *new]))
    differences = [Difference(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]
    return len(paths), differences


_FORMER_KEY: Final = re.compile(r"(?<=\.trials_today\.)(.*) \(exam\)$")
"""Keys of a report that hold a stored value which had another name."""


def _todays(path: str) -> str:
    """Return the path of a value as a report of today has it."""
    return _FORMER_KEY.sub(r"\1 (holdout)", path)


_NAMED_BY_DATA: Final = frozenset({"cycles", "params_changed", "trials_today"})
"""Keys of a report whose members are named by data, not by its format."""
_LABEL: Final = re.compile(r"\[[^\]]*\]")


class _Known(NamedTuple):
    """What the version of the code that made a report could say.

    Attributes
    ----------
    keys
        Keys of each object of the report, by its path without labels.
    timeframes
        Timeframes of its lanes; empty if it names none.
    """

    keys: dict[str, set[str]]
    timeframes: set[str]

    @classmethod
    def of(cls, report: dict[str, Any]) -> "_Known":
        keys: dict[str, set[str]] = {}
        _collect_keys(report, "", keys)
        lanes = report.get("market", {}).get("coverage", [])
        return cls(keys, {lane["timeframe"] for lane in lanes if "timeframe" in lane})

    def has(self, path: str) -> bool:
        """Return whether that version could have written the value at a path."""
        lane = re.match(r"market\.coverage\[\S+ (\S+)\]", path)
        if lane and self.timeframes and lane[1] not in self.timeframes:
            return False
        above = ""
        for key in _LABEL.sub("[]", path).split("."):
            members = self.keys.get(above)
            named_by_data = above.rpartition(".")[2] in _NAMED_BY_DATA
            if members and not named_by_data and key.removesuffix("[]") not in members:
                return False
            above = f"{above}.{key}" if above else key
        return True


def _collect_keys(value: Any, path: str, keys: dict[str, set[str]]) -> None:
    if isinstance(value, dict):
        keys.setdefault(path, set()).update(value)
        for key, member in value.items():
            _collect_keys(member, f"{path}.{key}" if path else key, keys)
    elif isinstance(value, list):
        for member in value:
            _collect_keys(member, f"{path}[]", keys)


def flattened(value: Any, path: str = "") -> list[tuple[str, object]]:
    """Return every plain value in a JSON document with its path; members of lists are called by name where they can."""
    if isinstance(value, dict):
        return [leaf for key, member in value.items() for leaf in flattened(member, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        labels = _labels(value)
        return [
            leaf for label, member in zip(labels, value, strict=True) for leaf in flattened(member, f"{path}[{label}]")
        ]
    return [(path, value)]


_LABELS: Final = (("name",), ("symbol", "timeframe"), ("symbol",), ("role", "model"))
"""Keys by which members of a list are called, the first that are in all of them and tell them apart."""


def _labels(members: list[Any]) -> list[Any]:
    for keys in _LABELS:
        if all(isinstance(member, dict) and all(member.get(key) for key in keys) for member in members):
            labels = [" ".join(str(member[key]) for key in keys) for member in members]
            if len(set(labels)) == len(labels):
                return labels
    return list(range(len(members)))
