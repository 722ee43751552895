"""Tables of the page: columns with their header, format and definition.

Belongs here: the types of columns and tables. Does not belong here: the columns of a section (`sections`), the layout
(templates).
"""

from collections.abc import Sequence
from typing import NamedTuple

from blofin_assets.reporting.document import Part

RESULTS = "research.strategy_backtest_results"
EVIDENCE = "research.evidence"
MODELS = "ml.ml_model_results"
RANKING = "research.ranking_history"


class Column(NamedTuple):
    """A column: its header, the row's field, its format, and the source of its definition ('' for plain words)."""

    header: str
    key: str
    form: str = "text"
    source: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it is right-aligned."""
        return self.form not in ("text", "yes")


class Table(NamedTuple):
    """Columns and rows."""

    columns: tuple[Column, ...]
    rows: Sequence[Part]


def columns_of(table: str, *columns: tuple[str, str, str]) -> tuple[Column, ...]:
    """Return columns whose definitions are the comments of the same columns in a table."""
    return tuple(Column(header, key, form, f"{table}.{key}") for header, key, form in columns)
