"""The daily report: collected from the warehouse as of a time, as JSON for machines and as a page for people.

Belongs here: the content and the layout of a report. Does not belong here: computing the results in it.

A section is one file in `sections`, and one line in its list: `report` collects and builds the document from that
list, `rules` and `review` review a draft of it, `page` shows it.
"""

from blofin_assets.reporting.document import Document
from blofin_assets.reporting.page.render import render_page
from blofin_assets.reporting.report import Report, build_document, collect, with_not_made
from blofin_assets.reporting.section import ReportData

__all__ = ["Document", "Report", "ReportData", "build_document", "collect", "render_page", "with_not_made"]
