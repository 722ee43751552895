"""One request to the Messages API, bounded in time, whose every failure is a value.

Belongs here: sending through the SDK, the deadline, reading the answer's envelope. Does not belong here: what is
asked and whether the answer fits (`claude`), what it costs (`models`), the record of it (`ledger`).

The SDK retries refused and failed requests by itself. One thing it may not retry is a request whose answer was lost
on the way: that answer may have been paid for, and the budget holds the price of one.
"""

import asyncio
import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anthropic
import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from blofin_resources.claude.models import RoleModel, Usage
from blofin_resources.claude.secrets import Secrets

DEADLINE_SECONDS: Final = 300.0
"""How long a call may take, retries included: some 16,000 tokens are written in that time."""

RETRIES: Final = 3
"""How often the SDK sends again what was refused for the moment."""

_GRACE_SECONDS: Final = 2.0
_LONGEST_DETAIL: Final = 300
_RETRYABLE: Final = frozenset({408, 409, 429})

Trouble = Literal["timeout", "network", "overloaded", "rejected", "broken"]


@dataclass(frozen=True)
class Request:
    """What is sent.

    Attributes
    ----------
    role : RoleModel
        Model, longest answer and effort.
    system : str
        The long constant part, which the API is told to cache.
    question : str
        The part that differs from call to call.
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
        """Bytes of all that becomes tokens."""
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
    """What came back: the texts of the answer joined, and the rest of the envelope."""

    text: str
    stop_reason: str
    usage: Usage
    note: str
    request_id: str | None


@dataclass(frozen=True)
class Failure:
    """Nothing came back that can be read.

    Attributes
    ----------
    outcome : str
        One of `Trouble`.
    detail : str
        Why, without any secret.
    paid : bool
        Whether an answer may have been written, and so be charged, that never arrived.
    """

    outcome: Trouble
    detail: str
    paid: bool = False


class Messages:
    """Sends requests; safe to share between threads.

    Parameters
    ----------
    secrets : Secrets
        With a key.
    deadline_seconds : float
        Bound on one call as a whole.
    retries : int
        Of the SDK.
    """

    def __init__(self, secrets: Secrets, *, deadline_seconds: float = DEADLINE_SECONDS, retries: int = RETRIES) -> None:
        self._secrets = secrets
        self._deadline = deadline_seconds
        self._retries = retries

    def send(self, request: Request) -> Reply | Failure:
        """Return the answer, or why there is none; no later than the deadline and a moment."""
        waiting: Future[Reply | Failure] = Future()

        def run() -> None:
            try:
                waiting.set_result(asyncio.run(self._bounded(request)))
            except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
                waiting.set_exception(error)

        # a thread of its own: the caller may have an event loop, and looking up an address cannot be interrupted
        threading.Thread(target=run, name="claude", daemon=True).start()
        try:
            return waiting.result(self._deadline + _GRACE_SECONDS)
        except TimeoutError:
            return Failure("timeout", self._too_long(), paid=True)

    async def _bounded(self, request: Request) -> Reply | Failure:
        attempts = _Attempts()
        try:
            async with asyncio.timeout(self._deadline):
                return await self._sent(request, attempts)
        except TimeoutError:
            return Failure("timeout", self._too_long(attempts.last_status), paid=attempts.in_flight)
        except _AnswerLostError as error:
            return Failure("network", f"the connection broke before the answer was whole ({error})", paid=True)
        except anthropic.APIStatusError as error:
            return self._refused(error)
        except anthropic.APIConnectionError as error:
            reason = type(error.__cause__ or error).__name__
            return Failure("network", f"{self._secrets.address or 'api.anthropic.com'} cannot be reached ({reason})")
        except Exception as error:  # noqa: BLE001  # no text of an unknown error: it may hold the key
            return Failure("broken", f"{type(error).__name__} while asking", paid=attempts.in_flight)

    async def _sent(self, request: Request, attempts: "_Attempts") -> Reply | Failure:
        assert self._secrets.key is not None  # noqa: S101  # `Claude` sends nothing without one
        # without redirects: they would carry the key to another host
        http = anthropic.DefaultAsyncHttpxClient(follow_redirects=False)
        async with anthropic.AsyncAnthropic(
            api_key=self._secrets.key.get_secret_value(),
            base_url=self._secrets.address,
            default_headers=self._secrets.headers(),
            timeout=self._deadline,
            max_retries=self._retries,
            http_client=http,
            middleware=[attempts],
            open_telemetry=False,
        ) as client:
            # the SDK's own parsing raises on an answer that does not fit, and the usage would be lost with it
            raw = await client.messages.with_raw_response.create(**request.parameters())
            return self._read(raw.http_response)

    def _read(self, response: httpx2.Response) -> Reply | Failure:
        """Return what an answer says, or a failure for one that is no answer of the Messages API."""
        try:
            message = _Message.model_validate_json(response.content)
        except ValidationError:
            return Failure("broken", "the answer is not one of the Messages API", paid=True)
        text = "".join(block.text for block in message.content if block.type == "text")
        note = message.stop_details.explanation or message.stop_details.category if message.stop_details else None
        return Reply(
            self._secrets.hide(text),
            self._secrets.hide(message.stop_reason or ""),
            message.usage,
            self._secrets.hide(note or "")[:_LONGEST_DETAIL],
            self._secrets.hide(response.headers.get("request-id", "")) or None,
        )

    def _refused(self, error: anthropic.APIStatusError) -> Failure:
        said = error.api_message if isinstance(error.api_message, str) else ""
        words = self._secrets.hide(" ".join(said.split()))[:_LONGEST_DETAIL]
        passing = error.status_code in _RETRYABLE or error.status_code >= 500  # noqa: PLR2004  # the server's own errors
        return Failure("overloaded" if passing else "rejected", f"HTTP {error.status_code} {words}".strip())

    def _too_long(self, status: int | None = None) -> str:
        after = f" after HTTP {status}" if status is not None else ""
        return f"no answer within {self._deadline:g} s{after}"


class _AnswerLostError(Exception):
    """The request was sent, and its answer broke off."""


@dataclass
class _Attempts(anthropic.Middleware):
    """Knows whether a request is on its way, and keeps the SDK from sending one again that may have been answered.

    Attributes
    ----------
    in_flight : bool
        Whether a request was sent and its answer is being waited for.
    last_status : int or None
        Of the last answer.
    """

    in_flight: bool = field(default=False)
    last_status: int | None = field(default=None)

    async def handle_async(self, request: Any, call_next: Any) -> Any:
        """See `anthropic.Middleware`."""
        self.in_flight = True
        try:
            response = await call_next(request)
        except anthropic.APIConnectionError as error:
            if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                self.in_flight = False
                raise
            raise _AnswerLostError(type(error.__cause__ or error).__name__) from None
        self.in_flight = False
        self.last_status = response.status_code
        return response


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Block(_Part):
    type: str
    text: str = ""


class _Stop(_Part):
    category: str | None = None
    explanation: str | None = None


class _Message(_Part):
    """The envelope of an answer, as far as it is read here."""

    type: Literal["message"]
    content: list[_Block]
    stop_reason: str | None
    stop_details: _Stop | None = None
    usage: Usage
