"""The record of every call, which is also the budget.

Belongs here: rows of `research.llm_calls`, what was spent on a day, holding the price of a call before it is made.
Does not belong here: prices (`models`), what a row means for a cycle (`claude`).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from blofin_resources.processes import exclusive
from blofin_resources.warehouse import Warehouse

TABLE: Final = "research.llm_calls"

_TURN_SECONDS: Final = 300.0
"""How long a process waits for others to reserve; each takes some 50 ms."""


@dataclass(frozen=True)
class Call:
    """One row of `research.llm_calls`; its columns are explained there."""

    id: str
    role: str
    model: str
    prompt_name: str
    prompt_version: int
    prompt_hash: str
    sequence: int
    round: int
    prompt: str
    as_of: datetime
    called_at: datetime
    run_id: str
    worst_case_usd: float
    outcome: str = "reserved"
    cost_usd: float = 0.0
    reply: str | None = None
    detail: str | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    cache_written_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    latency_seconds: float | None = None
    request_id: str | None = None


_COLUMNS: Final = ", ".join(f'"{column.name}"' for column in fields(Call))


class Ledger:
    """Calls in a warehouse.

    Parameters
    ----------
    warehouse : Warehouse
        Open for writing.
    clock : callable
        Tells the present time, UTC.
    """

    def __init__(self, warehouse: Warehouse, clock: Callable[[], datetime]) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def now(self) -> datetime:
        """Return the present time."""
        return self._clock().astimezone(UTC)

    def spent(self, moment: datetime) -> float:
        """Return what the calls of a moment's UTC day cost, those that still run at their worst case, US dollars."""
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        total = self._warehouse.read(
            f"SELECT coalesce(sum(cost_usd), 0) AS total FROM {TABLE} WHERE called_at >= ? AND called_at < ?",  # noqa: S608
            [day, day + timedelta(days=1)],
        )
        return float(total.item())

    def reserve(self, call: Call, budget_usd: float) -> float | None:
        """Hold a call's worst case against its day's budget; return None, or what was spent where it does not fit.

        Of several processes at once, each sees what the others hold: a lock goes around looking and holding. A call
        that is never settled, since its process was killed, keeps its worst case: it may have been charged.
        """
        with exclusive(self._warehouse.folder, "claude-budget", wait_seconds=_TURN_SECONDS):
            spent = self.spent(call.called_at)
            if spent + call.worst_case_usd > budget_usd:
                return spent
            self._add(replace(call, outcome="reserved", cost_usd=call.worst_case_usd))
        return None

    def refused(self, call: Call) -> None:
        """Store a call that was not made."""
        self._add(call)

    def settle(self, call: Call) -> None:
        """Store how a call ended, in place of what was held for it."""
        with self._warehouse.transaction(call.run_id) as tx:
            tx.replace(TABLE, _frame(call), id=call.id)

    def recorded(self, role: str, as_of: datetime, prompt_hash: str, sequence: int) -> dict[int, Call]:
        """Return the first call of each round that ended, by round."""
        rows = self._warehouse.read(
            f"SELECT {_COLUMNS} FROM {TABLE} WHERE role = ? AND as_of = ? AND prompt_hash = ? "  # noqa: S608
            "AND \"sequence\" = ? AND outcome <> 'reserved' ORDER BY round, called_at, id",
            [role, as_of, prompt_hash, sequence],
        )
        found: dict[int, Call] = {}
        for row in rows.iter_rows(named=True):
            found.setdefault(row["round"], Call(**row))
        return found

    def _add(self, call: Call) -> None:
        with self._warehouse.transaction(call.run_id) as tx:
            tx.append(TABLE, _frame(call))


def _frame(call: Call) -> pl.DataFrame:
    return pl.DataFrame([{column: value for column, value in asdict(call).items() if value is not None}])
