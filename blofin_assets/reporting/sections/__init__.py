"""The sections of the report, each one file with its template beside it.

Belongs here: the list of sections. Does not belong here: data that several sections show (`reporting.collect`).

Collecting, the document, the review by rules, the order of the page and its navigation follow from this list
(docs/extending/report_section.md).
"""

from typing import Any, Final

from blofin_assets.reporting.section import Section
from blofin_assets.reporting.sections import (
    active_set,
    books,
    changes,
    data,
    evidence,
    live,
    luck,
    models,
    next_steps,
    ran,
    strategies,
    summary,
)

SECTIONS: Final[tuple[Section[Any, Any], ...]] = (
    summary.SECTION,
    evidence.SECTION,
    strategies.SECTION,
    books.SECTION,
    changes.SECTION,
    live.SECTION,
    active_set.SECTION,
    models.SECTION,
    luck.SECTION,
    data.SECTION,
    next_steps.SECTION,
    ran.SECTION,
)
"""The sections in the order of the page."""
