"""The section on evidence: what the forward days of each record say so far.

Belongs here: which records are confirmed, how the others grow. Does not belong here: the arithmetic
(`backtester.statistics.e_process`), what the holdout says (`luck`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from markupsafe import Markup

from backtester.statistics.e_process import BLOCK, CONFIRMS, MEDIAN_DAYS
from blofin_assets.reporting import pictures
from blofin_assets.reporting.document import Count, Document, Number, Part, Time
from blofin_assets.reporting.page.tables import Column, Table, columns_of
from blofin_assets.reporting.section import Point, ReportData, Rule, Section, listed
from blofin_assets.shared.json_values import plain
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_PATHS: Final = (
    "SELECT kind, name, version, activated_at, day, capital FROM research.evidence_daily WHERE as_of <= ? "
    "ORDER BY kind, name, version, activated_at, day"
)
_TABLE: Final = "research.evidence_daily"


class EvidenceRecord(Part):
    """The evidence of one record of the forward ledger."""

    kind: str
    name: str
    version: str
    activated_at: Time
    days: Count
    total_pnl_pct: Number
    capital: Number
    capital_worse: Number
    broken: bool
    confirmed: bool
    first_confirmed: Time | None


class Evidence(Part):
    """All records, those with the largest capital first; `night` is the newest up to the report, null without any."""

    night: Time | None
    records: Count
    confirmed: Count
    broken: Count
    worse: Count
    rows: list[EvidenceRecord]


class EvidencePart(Part):
    """The section's keys of the report."""

    forward_evidence: Evidence


class Collected(NamedTuple):
    """Records with their newest evidence, and the capital of each by day."""

    records: pl.DataFrame
    paths: pl.DataFrame


def _collect(warehouse: Warehouse, data: ReportData) -> Collected:
    records = warehouse.read(query("reporting/evidence"), {"as_of": data.as_of})
    return Collected(records, warehouse.read(_PATHS, [data.as_of]))


def _build(_: ReportData, collected: Collected) -> EvidencePart:
    records = collected.records
    return EvidencePart(
        forward_evidence=Evidence(
            night=plain(records["night"].max()),
            records=records.height,
            confirmed=int(records["confirmed"].sum()),
            broken=int(records["broken"].sum()),
            worse=int((records["capital_worse"] >= CONFIRMS).sum()),
            rows=[EvidenceRecord.of(row) for row in records.iter_rows(named=True)],
        )
    )


def _nothing(_: ReportData) -> EvidencePart:
    return EvidencePart(forward_evidence=Evidence(night=None, records=0, confirmed=0, broken=0, worse=0, rows=[]))


_COLUMNS: Final = (
    Column("what", "name"),
    Column("kind", "kind"),
    Column("since", "activated_at", "time"),
    *columns_of(_TABLE, ("capital", "capital", "n2"), ("worse", "capital_worse", "n2")),
    Column("days", "days", "int"),
    Column("total %", "total_pnl_pct", "n2"),
    Column("confirmed", "first_confirmed", "time", f"{_TABLE}.confirmed"),
    Column("broken", "broken", "yes", f"{_TABLE}.broken"),
)
_MOST: Final = 8
"""Records that the page shows in full; the others are folded away."""


def _view(part: EvidencePart, data: ReportData) -> Mapping[str, object]:
    rows = part.forward_evidence.rows
    paths = data.of(SECTION).paths
    return {
        "table": Table(_COLUMNS, rows[:_MOST]),
        "more": Table(_COLUMNS, rows[_MOST:]),
        "bar": f"{CONFIRMS:g}",
        "block": BLOCK,
        "median_days": MEDIAN_DAYS,
        "picture": _picture(paths),
    }


def _broken(report: Document) -> Iterator[Point]:
    for record in report.part(EvidencePart).forward_evidence.rows:
        if record.broken:
            yield Point(
                "warning",
                record.name,
                f"{record.name} has lost more than the bound on which its evidence rests: its evidence is 0 for good",
                "Compare its loss with its backtests (research.evidence_daily, loss_bound)",
            )


def _confirmed(report: Document) -> Iterator[Point]:
    confirmed = [record for record in report.part(EvidencePart).forward_evidence.rows if record.confirmed]
    if confirmed:
        names = listed([record.name for record in confirmed])
        yield Point(
            "info", "evidence", f"confirmed by forward days: {names}", "Nothing to do; a label can be lost again"
        )


def _picture(paths: pl.DataFrame) -> Markup:
    if paths["day"].n_unique() < BLOCK:
        return Markup()  # no stake has been settled
    return pictures.inline(
        pictures.evidence_figure(paths), "evidence", "Capital of each record by days since activation"
    )


SECTION: Final = Section(
    name="evidence",
    heading="Evidence from forward days",
    link="Evidence",
    template=Path(__file__).with_suffix(".html.j2"),
    part=EvidencePart,
    collect=_collect,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(15, _broken), Rule(15, _confirmed)),
)
