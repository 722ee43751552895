"""The section on evidence: what the forward days of each record say so far.

Belongs here: which records are confirmed, how the others grow. Does not belong here: the arithmetic
(`backtester.statistics.e_process`), what the holdout says (`luck`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from markupsafe import Markup

from backtester.statistics.e_process import BLOCK, CONFIRMS, MEDIAN_DAYS, confirmed, days_to_confirm
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
_KEY: Final = ("kind", "name", "version", "activated_at")


class EvidenceRecord(Part):
    """The evidence of one record of the forward ledger."""

    kind: str
    name: str
    version: str
    activated_at: Time
    last_day: Time
    days: Count
    total_pnl_pct: Number
    log_loss_gain: Number = None
    capital: Number
    capital_worse: Number
    days_more: Count | None
    confirmed: bool
    first_confirmed: Time | None
    broken_on: Time | None


class Evidence(Part):
    """All records, the confirmed first, then by capital; `newest_day` is the last with evidence, null without any."""

    newest_day: Time | None
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
    return Collected(_labelled(records), warehouse.read(_PATHS, [data.as_of]))


def _labelled(records: pl.DataFrame) -> pl.DataFrame:
    """Return records with `confirmed`, among all that ever began in its year, and `days_more` to 20 if as expected.

    A row of the warehouse says it of its own day. A record that is no longer tracked has none of later days, so its
    label would stay, however many records have begun since.
    """
    years = records["activated_at"].dt.year().cast(pl.String).to_list()
    labels = confirmed(records["capital"].to_list(), records["weight"].to_list(), years)
    terms = records.select("capital", "expected", "deviation", "loss_bound").iter_rows()
    labelled = records.with_columns(
        confirmed=pl.Series(labels, dtype=pl.Boolean),
        days_more=pl.Series([days_to_confirm(*row) for row in terms], dtype=pl.Int64),
    )
    return labelled.sort("confirmed", descending=True, maintain_order=True)


def _build(_: ReportData, collected: Collected) -> EvidencePart:
    records = collected.records
    return EvidencePart(
        forward_evidence=Evidence(
            newest_day=plain(records["last_day"].max()),
            records=records.height,
            confirmed=int(records["confirmed"].sum()),
            broken=int(records["broken_on"].is_not_null().sum()),
            worse=int((records["capital_worse"] >= CONFIRMS).sum()),
            rows=[EvidenceRecord.of(row) for row in records.iter_rows(named=True)],
        )
    )


def _nothing(_: ReportData) -> EvidencePart:
    return EvidencePart(forward_evidence=Evidence(newest_day=None, records=0, confirmed=0, broken=0, worse=0, rows=[]))


_COLUMNS: Final = (
    Column("what", "name"),
    Column("kind", "kind"),
    *columns_of(_TABLE, ("capital", "capital", "n2"), ("worse", "capital_worse", "n2")),
    Column("days", "days", "int"),
    Column("days more", "days_more", "int", "report.days_more"),
    Column("total %", "total_pnl_pct", "n2"),
    Column("log-loss gain", "log_loss_gain", "sig", "ml.ml_model_results.log_loss_gain"),
    Column("confirmed", "confirmed", "yes", f"{_TABLE}.confirmed"),
    Column("first on", "first_confirmed", "day"),
    Column("broken on", "broken_on", "day", f"{_TABLE}.broken"),
)
TOP: Final = 8
"""Records that the page shows unfolded, and that the reviewer reads."""


def _view(part: EvidencePart, data: ReportData) -> Mapping[str, object]:
    rows = part.forward_evidence.rows
    return {
        "table": Table(_COLUMNS, rows[:TOP]),
        "more": Table(_COLUMNS, rows[TOP:]),
        "bar": f"{CONFIRMS:g}",
        "block": BLOCK,
        "median_days": MEDIAN_DAYS,
        "picture": _picture(data.of(SECTION)),
    }


def _broken(report: Document) -> Iterator[Point]:
    for record in report.part(EvidencePart).forward_evidence.rows:
        if record.broken_on and record.broken_on.startswith(report.report_date):
            yield Point(
                "warning",
                record.name,
                f"{record.name} has lost more than the bound on which its evidence rests: its evidence is 0 for good",
                "Compare its loss with its backtests (research.evidence_daily, loss_bound)",
            )


def _confirmed(report: Document) -> Iterator[Point]:
    names = listed([record.name for record in report.part(EvidencePart).forward_evidence.rows if record.confirmed])
    if names:
        yield Point(
            "info", "evidence", f"confirmed by forward days: {names}", "Nothing to do; a label can be lost again"
        )


def _picture(collected: Collected) -> Markup:
    """Return the capital of what is tracked, and of the records with the most that are no longer."""
    records, paths = collected
    if paths["day"].n_unique() < BLOCK:
        return Markup()  # no stake has been settled
    tracked = pl.col("last_day") == pl.col("last_day").max()
    drawn = records.filter(tracked | (pl.col("capital").rank("ordinal", descending=True) <= pictures.NAMED))
    figure = pictures.evidence_figure(paths.join(drawn, on=_KEY, how="semi"))
    return pictures.live(figure, "evidence", "Capital of each record by days since activation")


SECTION: Final = Section(
    name="evidence",
    heading="Evidence from forward days",
    link="Evidence",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.evidence_daily WHERE day < {as_of} ORDER BY day DESC, name",
    part=EvidencePart,
    collect=_collect,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(15, _broken), Rule(15, _confirmed)),
)
