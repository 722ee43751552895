"""The report as JSON: the keys that the user's programs read, in plain values.

Belongs here: keys, their types, rounding, sentences. Does not belong here: queries (`collect`), HTML (`page`).
"""

from blofin_assets.reporting.document.build import Json, build_document
from blofin_assets.reporting.document.schema import Report, checked

__all__ = ["Json", "Report", "build_document", "checked"]
