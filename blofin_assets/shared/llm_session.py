"""Claude within one stage of a cycle: the total cost, and when to stop asking.

Belongs here: adding up costs, giving up. Does not belong here: one call (`blofin_resources.claude`), prompts.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from blofin_assets.shared.vocabulary import StageState
from blofin_resources.claude import Answer, Claude, Role, Unavailable
from strategies.llm.prompts import Prompt

T = TypeVar("T", bound=BaseModel)

FINAL: Final = frozenset({"no_key", "budget", "rejected", "timeout", "network", "overloaded"})
"""Reasons after which a stage stops asking: the next call would fail as well."""


@dataclass
class LlmSession:
    """Claude for one stage.

    Attributes
    ----------
    claude : Claude
        The client.
    as_of : datetime
        As-of of the cycle.
    run_id : str
        Dagster run that asks.
    cost_usd : float
        Cost of all answers so far, at the time of the calls.
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
        """Ask Claude once.

        Parameters
        ----------
        role : Role
            Role in which Claude is asked.
        prompt : Prompt
            The prompt.
        kind : type of BaseModel
            Type of the answer.

        Returns
        -------
        Answer, Unavailable or None
            The answer or why there is none; None if an earlier failure of the session made asking pointless.
        """
        if self._over:
            return None
        self.asked += 1
        answer = self.claude.ask(role, prompt, kind, as_of=self.as_of, run_id=self.run_id)
        self.cost_usd += answer.cost_usd
        self._calls += answer.calls
        if isinstance(answer, Unavailable):
            self._reasons.append(f"{answer.reason}: {answer.detail}" if answer.detail else answer.reason)
            self._over = answer.reason in FINAL
        else:
            self.answered += 1
        if answer.cost_usd or isinstance(answer, Answer):
            self._models.append(answer.model)
        return answer

    @property
    def over(self) -> bool:
        """Whether asking again is pointless."""
        return self._over

    @property
    def state(self) -> StageState:
        """State for `research.designer_runs`: done, partial or not run."""
        if not self.answered:
            return StageState.NOT_RUN
        return StageState.PARTIAL if self._reasons else StageState.DONE

    @property
    def detail(self) -> str:
        """Why there were no answers, each reason once."""
        return "; ".join(dict.fromkeys(self._reasons))

    def spent(self) -> dict[str, Any]:
        """Return model, calls and cost for `proposals.run_row`."""
        return {
            "model": ", ".join(dict.fromkeys(self._models)) or None,
            "calls": json.dumps(self._calls) if self._calls else None,
            "cost_usd": self.cost_usd,
        }
