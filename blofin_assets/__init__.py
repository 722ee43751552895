"""The application: assets by stage, partitions, checks, schedules, sensors, jobs, reports and the `blofin` command.

Belongs here: what runs when, which data it reads, and where results are stored and shown. Does not belong here:
features, backtests, strategies and models, which know no Dagster.
"""

import os

# Polars keeps what it has freed for ten seconds unless told otherwise, hundreds of megabytes beside what the next
# stage needs; its allocator reads this when Polars is imported.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:200,muzzy_decay_ms:0")
