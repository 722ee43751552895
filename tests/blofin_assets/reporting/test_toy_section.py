"""A section is one file and one line: a toy section stands in the document, the review, the page and its navigation."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.platform import Platform, report_data

from blofin_assets.reporting import Document, ReportData, build_document, render_page
from blofin_assets.reporting.document import Number, Part
from blofin_assets.reporting.page.tables import Column, Table
from blofin_assets.reporting.report import form
from blofin_assets.reporting.review import sections as shown_to_reviewer
from blofin_assets.reporting.rules import rule_review
from blofin_assets.reporting.section import Point, Rule, Section
from blofin_assets.reporting.sections import SECTIONS
from blofin_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

TEMPLATE = """<p>Mean rate {{ part.funding.mean | sig }}, in a report of {{ report.market.source }}.</p>
{{ m.table("Payments of the day", payments, "none") }}
"""


class Payment(Part):
    symbol: str
    rate: Number


class Funding(Part):
    mean: Number
    payments: list[Payment]


class FundingPart(Part):
    funding: Funding


def _collect(warehouse: Warehouse, data: ReportData) -> pl.DataFrame:
    text = "SELECT symbol, rate FROM market.funding_rates WHERE ts > ? AND ts <= ? ORDER BY ALL"
    return warehouse.read(text, [data.as_of - timedelta(days=1), data.as_of])


def _build(_: ReportData, rates: pl.DataFrame) -> FundingPart:
    payments = [Payment.of(row) for row in rates.iter_rows(named=True)]
    return FundingPart(funding=Funding.of({"mean": rates["rate"].mean()}, payments=payments))


def _view(part: FundingPart, _: ReportData) -> Mapping[str, object]:
    columns = (Column("symbol", "symbol"), Column("rate", "rate", "sig", "market.funding_rates.rate"))
    return {"payments": Table(columns, part.funding.payments)}


def _rule(report: Document) -> Iterator[Point]:
    count = len(report.part(FundingPart).funding.payments)
    yield Point("error", "funding", f"{count} payments of funding", "Look at the funding")


@pytest.fixture
def toy(tmp_path: Path) -> Section[pl.DataFrame, FundingPart]:
    (tmp_path / "funding.html.j2").write_text(TEMPLATE)
    return Section(
        name="funding",
        heading="Funding of the day",
        link="Funding",
        template=tmp_path / "funding.html.j2",
        part=FundingPart,
        collect=_collect,
        build=_build,
        nothing=lambda _: FundingPart(funding=Funding(mean=None, payments=[])),
        view=_view,
        rules=(Rule(5, _rule),),
    )


def test_a_section_more_is_one_file_and_one_line(done: Platform, toy: Section[pl.DataFrame, FundingPart]) -> None:
    sections: tuple[Section[Any, Any], ...] = (*SECTIONS[:3], toy, *SECTIONS[3:])
    data = report_data(done.warehouse, sections=sections)
    provenance = dict.fromkeys(("run_id", "snapshot", "seed", "search_budget", "tuning_budget", "made_at"), 1)
    report = build_document(data).model_copy(update={"provenance": provenance})

    stored = report.stored()
    assert len(stored["funding"]["payments"]) == 3 * 2
    assert {**stored, "provenance": None} == {
        **build_document(report_data(done.warehouse)).stored(), "funding": stored["funding"],
    }  # fmt: skip
    schema = form(sections).model_json_schema()
    assert "funding" in schema["required"]
    assert "funding" not in form(SECTIONS).model_json_schema()["properties"]

    review = rule_review(report, sections)
    assert review.findings[0].text == "6 payments of funding"
    assert {"section": "funding", "content": stored["funding"]} in shown_to_reviewer(stored)

    page = render_page(report, data)
    assert page.failed == []
    assert '<a href="#funding">Funding</a>' in page.html
    begins = [page.html.index(f'<section id="{name}"') for name in ("strategies", "funding", "changes")]
    assert begins == sorted(begins)
    section = page.html[begins[1] : begins[2]]
    assert "Funding of the day" in section
    assert "in a report of sample" in section
    assert section.count('<th scope="row">') == 6
    assert 'href="#d-rate"' in section
