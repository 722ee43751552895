"""Asking Claude in tests: a prompt of plain words, an answer type, a client for a server on this machine."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, SecretStr

from blofin_resources.claude import Answer, Claude, Role, Unavailable
from blofin_resources.claude.ledger import Ledger
from blofin_resources.warehouse import Warehouse

KEY = "sk-ant-test-key"
NO_SERVER = "http://127.0.0.1:9"


class Idea(BaseModel):
    """The fields of `fake_messages.design`."""

    model_config = ConfigDict(extra="forbid")

    idea: str
    fails_when: str
    code: str


@dataclass(frozen=True)
class Words:
    """A prompt without a file."""

    name: str = "words"
    version: int = 3
    system: str = "You design strategies. " * 200
    question: str = "Design one."

    def again(self, reply: str, problem: str) -> Self:
        """Repeat the question with the reply and its problem."""
        return replace(self, question=f"{self.question}\n[reply]{reply}\n[problem]{problem}")


_DAYS = itertools.count()


@dataclass
class Desk:
    """One day of asking: a clock that stands still, an as-of, and a budget day that no other desk shares."""

    warehouse: Warehouse
    number: int = field(default_factory=lambda: next(_DAYS))

    @property
    def as_of(self) -> datetime:
        """Two days apart, so that a test may go on to the next day."""
        return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=2 * self.number)

    def claude(self, base_url: str = NO_SERVER, **given: Any) -> Claude:
        """Return a client with a key, five dollars and the patience of a slow machine."""
        usual: dict[str, Any] = {
            "key": SecretStr(KEY),
            "budget_usd": 5.0,
            "deadline_seconds": 60.0,
            "clock": lambda: self.as_of + timedelta(hours=7),
        }
        return Claude(self.warehouse, base_url=base_url, **{**usual, **given})

    def ask(
        self, claude: Claude, prompt: Words | None = None, *, role: Role = "designer", run_id: str = "run"
    ) -> Answer[Idea] | Unavailable:
        """Ask for an idea."""
        return claude.ask(role, prompt or Words(), Idea, as_of=self.as_of, run_id=run_id)

    def spent(self) -> float:
        """Return what the day's calls cost, US dollars."""
        return Ledger(self.warehouse, lambda: self.as_of).spent(self.as_of)

    def rows(self) -> list[dict[str, Any]]:
        """Return the day's calls, in order."""
        sql = 'SELECT * FROM research.llm_calls WHERE as_of = ? ORDER BY called_at, "sequence", round'
        return self.warehouse.read(sql, [self.as_of]).to_dicts()
