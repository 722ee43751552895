"""Asking Claude within one stage of a cycle: what it cost in all, and when to stop asking.

Belongs here: adding up and giving up. Does not belong here: one call (`blofin_resources.claude`), what is asked.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from blofin_resources.claude import Answer, Claude, Role, Unavailable
from strategies.evolution.prompting import Prompt

T = TypeVar("T", bound=BaseModel)

FINAL: Final = frozenset({"no_key", "budget", "rejected", "timeout", "network", "overloaded"})
"""Reasons after which a stage does not ask again: the next call would end the same, later."""


@dataclass
class Asker:
    """Claude for one stage.

    Attributes
    ----------
    claude : Claude
        The client.
    as_of : datetime
        Of the cycle.
    run_id : str
        Dagster run that asks.
    cost_usd : float
        What all answers so far cost when they were made.
    """

    claude: Claude
    as_of: datetime
    run_id: str
    cost_usd: float = 0.0
    asked: int = 0
    answered: int = 0
    _calls: list[str] = field(default_factory=list)
    _models: list[str] = field(default_factory=list)
    _reasons: list[str] = field(default_factory=list)
    _over: bool = False

    def ask(self, role: Role, prompt: Prompt, kind: type[T]) -> Answer[T] | Unavailable | None:
        """Return the answer or why there is none; None where a reason before made asking pointless."""
        if self._over:
            return None
        self.asked += 1
        came = self.claude.ask(role, prompt, kind, as_of=self.as_of, run_id=self.run_id)
        self.cost_usd += came.cost_usd
        self._calls += came.calls
        if isinstance(came, Unavailable):
            self._reasons.append(f"{came.reason}: {came.detail}" if came.detail else came.reason)
            self._over = came.reason in FINAL
        else:
            self.answered += 1
        if came.cost_usd or isinstance(came, Answer):
            self._models.append(came.model)
        return came

    @property
    def over(self) -> bool:
        """Whether asking again is pointless."""
        return self._over

    @property
    def state(self) -> str:
        """What `research.designer_runs` says: done, partial or not run."""
        if not self.answered:
            return "not run"
        return "partial" if self._reasons else "done"

    @property
    def detail(self) -> str:
        """Why there were no answers, each reason once."""
        return "; ".join(dict.fromkeys(self._reasons))

    def spent(self) -> dict[str, Any]:
        """Return what `rows.run_row` wants to know of the calls."""
        return {
            "model": ", ".join(dict.fromkeys(self._models)) or None,
            "calls": json.dumps(self._calls) if self._calls else None,
            "cost_usd": self.cost_usd,
        }
