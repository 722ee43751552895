"""One request to the Messages API, bounded in time; every failure is returned as a value.

Belongs here: sending through the SDK, the deadline, reading the answer's envelope. Does not belong here: prompts and
whether an answer fits (`claude`), its cost (`models`), its record (`ledger`).

The SDK retries refused and failed requests. It must not retry a request whose answer was lost in transit: that answer
may have been charged, and the budget reserves the cost of one.
"""

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anthropic
import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from blofin_resources.claude.credentials import Credentials
from blofin_resources.claude.models import Usage
from blofin_resources.claude.request import DEADLINE_SECONDS, RETRIES, Failure, Reply, Request

_GRACE_SECONDS: Final = 2.0
_LONGEST_DETAIL: Final = 300
_RETRYABLE: Final = frozenset({408, 409, 429})


class Messages:
    """Sends requests; safe to share between threads.

    Parameters
    ----------
    credentials : Credentials
        With a key.
    deadline_seconds : float
        Largest duration of one call.
    retries : int
        Retries of the SDK.
    """

    def __init__(
        self, credentials: Credentials, *, deadline_seconds: float = DEADLINE_SECONDS, retries: int = RETRIES
    ) -> None:
        self._credentials = credentials
        self._deadline = deadline_seconds
        self._retries = retries

    def send(self, request: Request) -> Reply | Failure:
        """Return the answer or the reason why there is none, at the latest shortly after the deadline."""
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
            address = self._credentials.address or "api.anthropic.com"
            return Failure("network", f"{address} cannot be reached ({reason})")
        except Exception as error:  # noqa: BLE001  # no text of an unknown error: it may hold the key
            return Failure("broken", f"{type(error).__name__} while asking", paid=attempts.in_flight)

    async def _sent(self, request: Request, attempts: "_Attempts") -> Reply | Failure:
        assert self._credentials.key is not None  # noqa: S101  # `Claude` sends nothing without one
        # without redirects: they would carry the key to another host
        http = anthropic.DefaultAsyncHttpxClient(follow_redirects=False)
        async with anthropic.AsyncAnthropic(
            api_key=self._credentials.key.get_secret_value(),
            base_url=self._credentials.address,
            default_headers=self._credentials.headers(),
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
        """Parse an answer; anything but an answer of the Messages API is a failure."""
        try:
            message = _Message.model_validate_json(response.content)
        except ValidationError:
            return Failure("broken", "the answer is not one of the Messages API", paid=True)
        text = "".join(block.text for block in message.content if block.type == "text")
        note = message.stop_details.explanation or message.stop_details.category if message.stop_details else None
        return Reply(
            self._credentials.hide(text),
            self._credentials.hide(message.stop_reason or ""),
            message.usage,
            self._credentials.hide(note or "")[:_LONGEST_DETAIL],
            self._credentials.hide(response.headers.get("request-id", "")) or None,
        )

    def _refused(self, error: anthropic.APIStatusError) -> Failure:
        said = error.api_message if isinstance(error.api_message, str) else ""
        words = self._credentials.hide(" ".join(said.split()))[:_LONGEST_DETAIL]
        passing = error.status_code in _RETRYABLE or error.status_code >= 500  # noqa: PLR2004  # the server's own errors
        return Failure("overloaded" if passing else "rejected", f"HTTP {error.status_code} {words}".strip())

    def _too_long(self, status: int | None = None) -> str:
        after = f" after HTTP {status}" if status is not None else ""
        return f"no answer within {self._deadline:g} s{after}"


class _AnswerLostError(Exception):
    """The request was sent, and the connection broke before its answer was complete."""


@dataclass
class _Attempts(anthropic.Middleware):
    """Tracks whether a request is in flight, and keeps the SDK from resending one that may have been answered.

    Attributes
    ----------
    in_flight : bool
        Whether a request was sent and its answer is outstanding.
    last_status : int or None
        HTTP status of the last answer.
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
    """The envelope of an answer, reduced to the fields used here."""

    type: Literal["message"]
    content: list[_Block]
    stop_reason: str | None
    stop_details: _Stop | None = None
    usage: Usage
