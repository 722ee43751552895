"""The report as a page: one HTML file that works offline and on a phone.

Belongs here: turning a document and frames into HTML. Does not belong here: what the report says (`document`).
"""

from blofin_assets.reporting.page.render import render_page

__all__ = ["render_page"]
