"""Reads the data that several sections show, as of the report.

Belongs here: frames that more than one section reads. Does not belong here: data of a single section (`sections`).

No look-ahead: every query takes the report's as-of and returns no later rows.
"""
