"""Reads what a report says from the warehouse, as of its time.

Belongs here: the report's queries, by section. Does not belong here: wording (`document`), looks (`page`).

No look-ahead: every query takes the report's as-of and returns nothing that was decided later.
"""

from blofin_assets.reporting.collect.data import ReportData, collect
from blofin_assets.reporting.collect.stages import Stage

TOP = 5
"""How many of each kind a report shows in full."""

__all__ = ["TOP", "ReportData", "Stage", "collect"]
