"""Orchestration: assets by stage, partitions, checks, schedules, sensors, jobs, reports and the `blofin` command.

Belongs here: what is computed when, from what, and where it is shown. Does not belong here: any logic that could be
tested without Dagster.
"""
