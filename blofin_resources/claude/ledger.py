"""The record of every call, which also enforces the budget.

Belongs here: rows of `research.llm_calls`, the spending of a day, reserving the cost of a call before it is made. Does
not belong here: prices (`models`), what a row means for a cycle (`claude`).
"""

import json
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
    """Recorded calls in a warehouse.

    Parameters
    ----------
    warehouse : Warehouse
        Open for writing.
    clock : callable
        Returns the current time, UTC.
    """

    def __init__(self, warehouse: Warehouse, clock: Callable[[], datetime]) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def now(self) -> datetime:
        """Return the present time."""
        return self._clock().astimezone(UTC)

    def spent(self, moment: datetime) -> float:
        """Return what the calls of a moment's UTC day cost in US dollars; unsettled calls count at their worst case."""
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        total = self._warehouse.read(
            f"SELECT coalesce(sum(cost_usd), 0) AS total FROM {TABLE} WHERE called_at >= ? AND called_at < ?",  # noqa: S608
            [day, day + timedelta(days=1)],
        )
        return float(total.item())

    def reserve(self, call: Call, budget_usd: float) -> float | None:
        """Reserve a call's worst case within its day's budget; return None, or what was spent if it does not fit.

        A lock around checking and reserving makes concurrent processes see each other's reservations. A call that is
        never settled because its process was killed keeps its worst case: it may have been charged.
        """
        with exclusive(self._warehouse.folder, "claude-budget", wait_seconds=_TURN_SECONDS):
            spent = self.spent(call.called_at)
            if spent + call.worst_case_usd > budget_usd:
                return spent
            self._add(replace(call, outcome="reserved", cost_usd=call.worst_case_usd))
        return None

    def refused(self, call: Call) -> None:
        """Record a call that was not made."""
        self._add(call)

    def settle(self, call: Call) -> None:
        """Replace a call's reservation by its outcome."""
        with self._warehouse.transaction(call.run_id) as tx:
            tx.replace(TABLE, _frame(call), id=call.id)

    def recorded(self, role: str, as_of: datetime, prompt_hash: str, sequence: int) -> dict[int, Call]:
        """Return the recorded calls of one question.

        Parameters
        ----------
        role : str
            Role of the question.
        as_of : datetime
            As-of of the cycle.
        prompt_hash : str
            Hash of prompt and answer type.
        sequence : int
            Which of several equal questions of a run, from 0.

        Returns
        -------
        dict of int to Call
            The first settled call of each round (0 the question, 1 the repair).
        """
        return _by_round(
            self._warehouse.read(
                f"SELECT {_COLUMNS} FROM {TABLE} WHERE role = ? AND as_of = ? AND prompt_hash = ? "  # noqa: S608
                "AND \"sequence\" = ? AND outcome <> 'reserved' ORDER BY round, called_at, id",
                [role, as_of, prompt_hash, sequence],
            )
        )

    def reworded(self, role: str, as_of: datetime, prompt_name: str, question: str, sequence: int) -> dict[int, Call]:
        """Return the recorded calls of a question whose prompt had another wording.

        That is the question with the same call-specific part, such as the same strategy to tune; else the only question
        of its kind.

        Parameters
        ----------
        role : str
            Role of the question.
        as_of : datetime
            As-of of the cycle.
        prompt_name : str
            Name of the prompt, which is the kind of question.
        question : str
            The call-specific part, as sent.
        sequence : int
            How many times the question was asked before in its run.

        Returns
        -------
        dict of int to Call
            As `recorded`; empty if no question of that kind, or none of several, has this call-specific part.
        """
        rows = self._warehouse.read(
            f"SELECT {_COLUMNS} FROM {TABLE} WHERE role = ? AND as_of = ? AND prompt_name = ? "  # noqa: S608
            "AND outcome <> 'reserved' ORDER BY round, called_at, id",
            [role, as_of, prompt_name],
        )
        asked = rows.filter(pl.col("round") == 0).select("prompt_hash", "prompt").iter_rows()
        same = {digest for digest, prompt in asked if json.loads(prompt)["question"] == question}
        digests = same or set(rows["prompt_hash"])
        if len(digests) != 1:
            return {}
        return _by_round(rows.filter(pl.col("prompt_hash").is_in(digests) & (pl.col("sequence") == sequence)))

    def _add(self, call: Call) -> None:
        with self._warehouse.transaction(call.run_id) as tx:
            tx.append(TABLE, _frame(call))


def _by_round(rows: pl.DataFrame) -> dict[int, Call]:
    found: dict[int, Call] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["round"], Call(**row))
    return found


def _frame(call: Call) -> pl.DataFrame:
    return pl.DataFrame([{column: value for column, value in asdict(call).items() if value is not None}])
