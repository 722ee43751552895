"""Rows of the forward ledger that earlier keys wrote.

Belongs here: reading them, once for all runs of a key. Does not belong here: replays (`replays`, `archived`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from backtester.forward_ledger import ENTRY_COLUMNS, KEY, TRADE_COLUMNS, Difference
from blofin_assets.forward.tracked import TrackedRun
from blofin_resources.warehouse import Warehouse

IDENTITY: Final = ("kind", "name", "version", "activated_at")
SAID: Final = ("attribution", "reason")
_UNLIVED: Final = f"difference = '{Difference.ONLY_IN_REPLAY}'"
_OWN: Final = "activated_at IN (SELECT unnest(?)) AND name IN (SELECT unnest(?))"


@dataclass(frozen=True)
class Written:
    """Rows of earlier keys: entries, trades, hourly equity, the keys themselves, and recorded differences."""

    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame
    runs: pl.DataFrame
    noted: pl.DataFrame

    def of(self, run: TrackedRun) -> "Written":
        """Return the rows of one run; for models and ensembles, of all versions."""
        mine = (pl.col("kind") == run.kind) & (pl.col("name") == run.name)
        mine &= pl.col("activated_at") == run.period.start
        if not run.by_name:
            mine &= pl.col("version") == run.version
        frames = (self.entries, self.trades, self.hours, self.runs, self.noted)
        return Written(*(frame.filter(mine) for frame in frames))


def read_written(store: Warehouse, tracked: Sequence[TrackedRun]) -> Written:
    """Return the stored rows of all runs, read at once: a query costs more than its rows."""
    records = [sorted({run.period.start for run in tracked}), sorted({run.name for run in tracked})]

    def rows(columns: Sequence[str], table: str, where: str = _OWN) -> pl.DataFrame:
        names = ", ".join(dict.fromkeys((*IDENTITY, *columns)))
        return store.read(f"SELECT {names} FROM research.{table} WHERE {where}", records)  # noqa: S608 - constant names

    stamp = ("as_of", "snapshot_id", "engine")
    return Written(
        rows((*ENTRY_COLUMNS, *stamp), "forward_entries"),
        rows((*TRADE_COLUMNS, *stamp), "forward_trades"),
        rows(("ts", "equity"), "forward_equity"),
        rows((*stamp, "symbols"), "forward_runs", f"state = 'tracked' AND {_OWN}"),
        rows((*KEY, "item", *SAID), "forward_validation", f"{_UNLIVED} AND {_OWN}"),
    )
