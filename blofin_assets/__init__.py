"""The application: assets by stage, partitions, checks, schedules, sensors, jobs, reports and the `blofin` command.

Belongs here: what runs when, which data it reads, and where results are stored and shown. Does not belong here:
features, backtests, strategies and models, which know no Dagster.
"""
