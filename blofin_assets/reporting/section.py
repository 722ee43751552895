"""The form of a report section: its data, its part of the document, its page and its rules.

Belongs here: the form of a section, and the data that all sections get. Does not belong here: any section (`sections`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, cast

from blofin_assets.reporting.collect.cycles import Cycles
from blofin_assets.reporting.collect.forward import Forward
from blofin_assets.reporting.document import Document, Part
from blofin_assets.shared.cadences import ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.shared.partitions import DAY
from blofin_resources.warehouse import Warehouse

D = TypeVar("D")
C = TypeVar("C", bound=Part)

TOP = 5
"""Number of each kind that a report shows in full."""


@dataclass(frozen=True)
class ReportData:
    """All data of one report.

    Attributes
    ----------
    as_of
        End of the reported day; nothing later is included.
    since
        Results after this time are new in this report; see `report.new_since`.
    market, synthetic, seed
        The market of the numbers.
    symbols
        Symbols of the newest cycle; those of the settings before the first cycle.
    draft
        Whether this is the draft for the reviewer, without the review and its cost.
    cycles, forward
        Data that several sections show.
    sections
        The sections of the report, in the order of the page.
    own
        Data that one section collected, by its name; see `of`.
    ui_url
        Address of Dagster's UI, for links; empty where it is not known.
    """

    as_of: datetime
    since: datetime
    market: str
    synthetic: bool
    symbols: tuple[str, ...]
    seed: int
    draft: bool
    cycles: Cycles
    forward: Forward
    sections: "tuple[Section[Any, Any], ...]"
    own: Mapping[str, object] = field(default_factory=dict)
    ui_url: str = ""

    def of(self, section: "Section[D, Any]") -> D:
        """Return the data that a section collected."""
        return cast("D", self.own[section.name])

    def with_own(self, section: "Section[D, Any]", collected: D) -> Self:
        """Return a copy with other data of a section."""
        return replace(self, own={**self.own, section.name: collected})


class Point(NamedTuple):
    """A finding of the review by rules, and the action that it suggests."""

    severity: Literal["info", "warning", "error"]
    about: str
    text: str
    step: str


class Rule(NamedTuple):
    """A rule of the review, over the document alone.

    Attributes
    ----------
    place
        Order among findings of the same severity, smallest first.
    find
        Yields the findings.
    """

    place: int
    find: Callable[[Document], Iterator[Point]]


def nothing_more(_warehouse: Warehouse, _data: ReportData) -> None:
    """Collect nothing: the section shows shared data only."""


def only_the_document(_part: Part, _data: ReportData) -> Mapping[str, object]:
    """Pass only the document to the template."""
    return {}


@dataclass(frozen=True, eq=False)
class Section(Generic[D, C]):
    """A section of the report, one file in `sections`.

    Attributes
    ----------
    name
        Its anchor in the page, and its name in `not_made`.
    heading
        Its heading in the page.
    link
        Its name in the navigation; empty if it is not listed there.
    template
        Its Jinja template, with the variables `report` (the document), `part` (the section's own) and those of `view`.
    part
        Its fields are keys of the report's JSON.
    collect
        Reads the data that only this section needs, as of the report.
    build
        Returns the part, from all data and the section's own.
    nothing
        Returns the empty part for the case that `build` fails.
    view
        Returns further variables of the template: tables (`page.tables.Table`) and plots.
    rules
        Its rules for the review.
    sql
        A query for what the section shows, with the times `{as_of}` and `{since}` (the day), `{strategies}` and
        `{models}` (the newest cycles) in it.
    last
        Whether it is rendered after all others, because it lists those that failed.
    """

    name: str
    heading: str
    template: Path
    part: type[C]
    collect: Callable[[Warehouse, ReportData], D]
    build: Callable[[ReportData, D], C]
    nothing: Callable[[ReportData], C]
    view: Callable[[C, ReportData], Mapping[str, object]] = only_the_document
    rules: tuple[Rule, ...] = ()
    link: str = ""
    sql: str = ""
    last: bool = False

    def query_at(self, report: Document) -> str:
        """Return the query of a report; empty where the section has none or its cycle has not run."""
        cycles = {"strategies": report.cycles.get(STRATEGY_CYCLE), "models": report.cycles.get(ML_CYCLE)}
        since = (datetime.fromisoformat(report.as_of) - DAY).isoformat()
        times = {"as_of": report.as_of, "since": since, **cycles}
        asked = {name for _, name, *_ in Formatter().parse(self.sql) if name}
        if any(times[name] is None for name in asked):
            return ""
        return self.sql.format(**{name: f"'{time}'" for name, time in times.items()})


_NAMED = 4


def listed(names: list[str]) -> str:
    """Return the first names as a text, with the number of further ones."""
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
