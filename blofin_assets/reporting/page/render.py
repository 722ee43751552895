"""Renders the page section by section.

Belongs here: the environment of the templates, the frame around the sections. Does not belong here: the content of a
section (`sections`), definitions (`glossary`), formats (`formats`).
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
from markupsafe import Markup

from backtester.charts import page_head, stackable
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.reporting.document import Document, NotMade
from blofin_assets.reporting.page import formats
from blofin_assets.reporting.page.glossary import Glossary
from blofin_assets.reporting.section import ReportData, Section
from blofin_assets.shared.fence import Failed, fenced

_TEMPLATES: Final = Path(__file__).parent / "templates"
_NOT_MADE: Final = '<p class="absent">This section could not be made: {}</p>'


class Page(NamedTuple):
    """A page, and the sections that failed to render; the page names them in their place and in the next steps."""

    html: str
    failed: list[NotMade]


def render_page(report: Document, data: ReportData) -> Page:
    """Return the page of a report.

    Parameters
    ----------
    report : Document
        From `build_document`, with `provenance` added.
    data : ReportData
        Data of the plots, and of tables that are not in the document.
    """
    glossary = Glossary()
    environment = _environment(data.sections, glossary)
    reasons = {section.section: section.reason for section in report.not_made}
    failed: list[NotMade] = []
    bodies: dict[str, Markup] = {}
    for section in sorted(data.sections, key=lambda section: section.last):
        if section.name not in reasons:
            body = fenced(_body, environment, section, report, data, [*report.not_made, *failed])
            if not isinstance(body, Failed):
                bodies[section.name] = body
                continue
            reasons[section.name] = body.reason
            failed.append(NotMade(section=section.name, reason=body.reason))
        bodies[section.name] = Markup(_NOT_MADE).format(reasons[section.name])  # noqa: S704 - a constant; format escapes
    queries = {section.name: section.query_at(report) for section in data.sections}
    html = environment.get_template("report.html.j2").render(
        report=report, bodies=bodies, glossary=glossary, queries=queries, page_head=page_head(), ui_url=data.ui_url
    )
    return Page(stackable(html), failed)


def _environment(sections: tuple[Section[Any, Any], ...], glossary: Glossary) -> jinja2.Environment:
    folders = [_TEMPLATES, *{section.template.parent: None for section in sections}]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(formats.FORMATS)
    environment.globals.update(define=glossary.term, show=_show, holdout_days=HOLDOUT_LENGTH.days, sections=sections)
    environment.globals["m"] = environment.get_template("macros.html.j2").module
    return environment


def _body(
    environment: jinja2.Environment,
    section: Section[Any, Any],
    report: Document,
    data: ReportData,
    not_made: list[NotMade],
) -> Markup:
    part = report.part(section.part)
    shown = section.view(part, data)
    template = environment.get_template(section.template.name)
    return Markup(template.render(report=report, part=part, not_made=not_made, **shown))  # noqa: S704 - it escapes


def _show(value: Any, form: str) -> str:
    return formats.FORMATS[form](value)
