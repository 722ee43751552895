"""What holds for the text of every page that the product writes."""

import re
from pathlib import Path

from support.browser import look

from backtester.charts import page_head

WIDTHS = (1300, 390)
"""Pixels: a window on a desk, a phone held upright."""

_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL)


def needs_nothing(page: str) -> None:
    """Assert that a page loads nothing and runs no script but those of `page_head`; data are data."""
    own = {(kind, text) for kind, text in _SCRIPT.findall(page_head())}
    loaded = re.findall(r"(?:src|href)=\"(?!#|data:)([^\"]*)\"", _SCRIPT.sub("", page))
    assert loaded == []
    for kind, text in _SCRIPT.findall(page):
        assert kind == ' type="application/json"' or (kind, text) in own
    assert page.count(page_head()) == 1


def fits(page: str, folder: Path) -> None:
    """Assert that a page fits a desk's window and a phone's, every detail unfolded, nothing cut without a sign."""
    for width in WIDTHS:
        seen = look(page, folder, width, unfolded=True)
        assert (seen.width, seen.scroll) == (width, width)
        assert seen.wide == seen.cut == seen.errors == seen.console == seen.requests == []
        assert seen.broken == seen.dead == 0
