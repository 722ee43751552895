"""The daily report: collected from the warehouse as of a time, as JSON for machines and as a page for people.

Belongs here: what a report says and how it looks. Does not belong here: computing any result in it.

In order: `collect` reads, `document` says, `review` judges a draft of what is said, `page` shows.
"""

from blofin_assets.reporting.collect import ReportData, Stage, collect
from blofin_assets.reporting.document import build_document, checked
from blofin_assets.reporting.page import render_page

__all__ = ["ReportData", "Stage", "build_document", "checked", "collect", "render_page"]
