"""What is sent to the Messages API and what comes back, as values.

Belongs here: a request, a reply, a failure, and the bounds on a call. Does not belong here: sending (`messages`), which
alone needs the SDK.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from blofin_resources.claude.models import RoleModel, Usage

DEADLINE_SECONDS: Final = 300.0
"""How long a call may take, retries included: some 16,000 tokens are written in that time."""

RETRIES: Final = 3
"""How often the SDK sends again what was refused for the moment."""

Trouble = Literal["timeout", "network", "overloaded", "rejected", "broken"]


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes
    ----------
    role : RoleModel
        Model, longest answer and effort.
    system : str
        The long constant part, marked for caching by the API.
    question : str
        The part that differs between calls.
    schema : dict
        JSON schema of the answer, in the form that the API takes.
    """

    role: RoleModel
    system: str
    question: str
    schema: dict[str, Any]

    @property
    def text(self) -> str:
        """Both texts, as JSON."""
        return json.dumps({"system": self.system, "question": self.question}, ensure_ascii=False)

    @property
    def size(self) -> int:
        """Size in bytes of everything that becomes tokens."""
        sent = self.system + self.question + json.dumps(self.schema)
        return len(sent.encode(errors="replace"))

    def parameters(self) -> dict[str, Any]:
        """Return the arguments of the SDK's `messages.create`."""
        config: dict[str, Any] = {"format": {"type": "json_schema", "schema": self.schema}}
        if self.role.effort is not None:
            config["effort"] = self.role.effort
        return {
            "model": self.role.model,
            "max_tokens": self.role.max_tokens,
            "system": [{"type": "text", "text": self.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": self.question}],
            "output_config": config,
        }


@dataclass(frozen=True)
class Reply:
    """An answer: its text blocks joined, and the rest of the envelope."""

    text: str
    stop_reason: str
    usage: Usage
    note: str
    request_id: str | None


@dataclass(frozen=True)
class Failure:
    """No readable answer.

    Attributes
    ----------
    outcome : str
        One of `Trouble`.
    detail : str
        The reason, without secrets.
    paid : bool
        Whether an answer may have been produced, and charged, that never arrived.
    """

    outcome: Trouble
    detail: str
    paid: bool = False
