"""Ask Claude for one structured answer; without one, return a value that says why.

Belongs here: the sequence around a call: replay, key, budget, sending, validating the answer, one repair. Does not
belong here: prompts, what is done with the answer.
"""

import hashlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from blofin_resources.claude.credentials import Credentials
from blofin_resources.claude.ledger import Call, Ledger
from blofin_resources.claude.models import Models, Role, load_models
from blofin_resources.claude.request import DEADLINE_SECONDS, RETRIES, Failure, Reply, Request
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

T = TypeVar("T", bound=BaseModel)

Reason = Literal[
    "no_key",
    "budget",
    "refusal",
    "max_tokens",
    "timeout",
    "network",
    "overloaded",
    "rejected",
    "broken",
    "invalid",
]

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Why there may be no answer."""

ROUNDS: Final = 2
"""The question, and one repair."""

_MOST_PROBLEMS: Final = 8
_WHOLE: Final = frozenset({"end_turn", "stop_sequence"})
_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})


class Prompt(Protocol):
    """The interface that `Claude.ask` needs of a prompt; `strategies.llm.prompts.Prompt` implements it."""

    @property
    def name(self) -> str:
        """Name of its file."""

    @property
    def version(self) -> int:
        """Version of its file."""

    @property
    def system(self) -> str:
        """The long part that is equal in many calls."""

    @property
    def question(self) -> str:
        """The part specific to this call."""

    def again(self, reply: str, problem: str) -> "Prompt":
        """Return the prompt for a second attempt, after `reply` had a problem."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer that fits its type.

    Attributes
    ----------
    value : BaseModel
        Of the requested type.
    model : str
        Model that answered.
    cost_usd : float
        Cost when it was asked, repair included, in US dollars.
    calls : tuple of str
        Ids of its rows in `research.llm_calls`.
    replayed : bool
        Whether it was read from these rows, without a call.
    question : str
        The call-specific part of the prompt, as sent.
    knows_until : datetime
        End of what the model may know of a market (UTC).
    """

    value: T
    model: str
    cost_usd: float
    calls: tuple[str, ...]
    replayed: bool
    question: str
    knows_until: datetime


@dataclass(frozen=True)
class Unavailable:
    """No answer, and the reason; the cycle continues without it.

    Attributes
    ----------
    reason : Reason
        One word.
    detail : str
        A sentence without secrets.
    model, cost_usd, calls, replayed
        As in `Answer`; a refused or truncated answer costs too.
    """

    reason: Reason
    detail: str
    model: str
    cost_usd: float
    calls: tuple[str, ...]
    replayed: bool


class Claude:
    """Claude within a daily budget, with a record of every call.

    Parameters
    ----------
    warehouse : Warehouse
        Where calls are recorded, and replayed from.
    key : SecretStr or None
        Without one nothing is sent, but recorded answers are still replayed.
    budget_usd : float
        Largest cost of the calls of one UTC day, US dollars.
    base_url : str, optional
        Address of the API, if not the usual one.
    models : Models, optional
        Models and prices, if not those of `models.toml`.
    deadline_seconds : float
        Largest duration of one call, retries included.
    retries : int
        How often a request that failed temporarily is sent again.
    clock : callable
        Returns the current time; its UTC day is the budget's day.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        *,
        key: SecretStr | None,
        budget_usd: float,
        base_url: str | None = None,
        models: Models | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        retries: int = RETRIES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._credentials = Credentials(key, base_url)
        self._models = models or load_models()
        self._budget = budget_usd
        self._deadline = deadline_seconds
        self._retries = retries
        self._ledger = Ledger(warehouse, clock)
        self._asked: Counter[tuple[str, str, datetime, str]] = Counter()
        self._turn = threading.Lock()

    @classmethod
    def of(
        cls,
        settings: Settings,
        warehouse: Warehouse,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """Build the client that the settings describe.

        Parameters
        ----------
        settings : Settings
            Key, budget, address and models.
        warehouse : Warehouse
            Where calls are recorded.
        clock : callable
            Returns the current time.

        Returns
        -------
        Claude
            The client.

        Raises
        ------
        SettingsError
            If BLOFIN_AI_MODELS names a file that cannot be used.
        """
        return cls(
            warehouse,
            key=settings.anthropic_api_key,
            budget_usd=settings.ai_budget_usd,
            base_url=settings.anthropic_base_url,
            models=load_models(settings.ai_models),
            clock=clock,
        )

    def __repr__(self) -> str:
        return f"Claude({self._credentials!r}, budget_usd={self._budget:g})"

    @property
    def has_key(self) -> bool:
        """Whether requests can be sent at all."""
        return self._credentials.key is not None

    def ask(
        self, role: Role, prompt: Prompt, answer_type: type[T], *, as_of: datetime, run_id: str
    ) -> Answer[T] | Unavailable:
        """Return Claude's answer, or the reason why there is none.

        The same question for the same as-of is answered from the record, whatever its outcome was. A cycle that is
        materialised again therefore gets the same result, without a call or a key. A run that asks the same question n
        times gets the n answers of the earlier run, in order.

        With a budget of zero, as when another version of the code reproduces a report, a prompt in other words is
        answered from the record by its call-specific part, or if there was only one question of its kind.

        Parameters
        ----------
        role : Role
            Role in which Claude is asked; selects the model.
        prompt : Prompt
            The prompt.
        answer_type : type of BaseModel
            Type of the answer. An answer that does not fit is sent back once, with the validation errors.
        as_of : datetime
            As-of of the cycle, with a time zone.
        run_id : str
            Dagster run that asks.

        Returns
        -------
        Answer or Unavailable
            The validated answer, or why there is none.

        Raises
        ------
        BlofinError
            If the record cannot be read or written: without it there is neither a budget nor a replay.
        ValueError
            If `as_of` has no time zone.
        """
        if as_of.tzinfo is None:
            msg = f"{as_of!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
            raise ValueError(msg)
        from anthropic import transform_schema

        schema = transform_schema(answer_type)
        digest = _digest(prompt, schema)
        sequence = self._next(run_id, role, as_of, digest)
        recorded = self._ledger.recorded(role, as_of, digest, sequence)
        if not recorded and not self._budget:
            recorded = self._ledger.reworded(role, as_of, prompt.name, self._sendable(prompt.question), sequence)
        calls: list[Call] = []
        for number in range(ROUNDS):
            call = recorded.get(number)
            if call is None:
                request = self._request(role, prompt, schema)
                draft = self._draft(request, prompt, role=role, digest=digest, as_of=as_of, run_id=run_id)
                call = self._made(replace(draft, sequence=sequence, round=number), request, role, answer_type)
            calls.append(call)
            if call.outcome != "invalid":
                break
            prompt = prompt.again(call.reply or "", call.detail or "")
        knows_until = self._models.knows_until(calls[-1].model, as_of)
        replayed = all(call in recorded.values() for call in calls)
        return _outcome(calls, answer_type, knows_until=knows_until, replayed=replayed)

    def _next(self, run_id: str, role: Role, as_of: datetime, digest: str) -> int:
        with self._turn:
            key = (run_id, role, as_of, digest)
            self._asked[key] += 1
            return self._asked[key] - 1

    def _request(self, role: Role, prompt: Prompt, schema: dict[str, Any]) -> Request:
        return Request(self._models.roles[role], self._sendable(prompt.system), self._sendable(prompt.question), schema)

    def _sendable(self, text: str) -> str:
        """Return the text without secrets and without unpaired surrogates, which cannot be encoded."""
        return self._credentials.hide(text).encode(errors="replace").decode()

    def _draft(
        self, request: Request, prompt: Prompt, *, role: Role, digest: str, as_of: datetime, run_id: str
    ) -> Call:
        return Call(
            id=uuid.uuid4().hex,
            role=role,
            model=request.role.model,
            prompt_name=prompt.name,
            prompt_version=prompt.version,
            prompt_hash=digest,
            sequence=0,
            round=0,
            prompt=request.text,
            as_of=as_of.astimezone(UTC),
            called_at=self._ledger.now(),
            run_id=run_id,
            worst_case_usd=self._models.price(role).worst_case(request.size, request.role.max_tokens),
        )

    def _made(self, call: Call, request: Request, role: Role, answer_type: type[BaseModel]) -> Call:
        """Make a call if the key and the budget allow it, and record its outcome."""
        refused = self._refused(call)
        if refused is not None:
            self._ledger.refused(refused)
            return refused
        spent = self._ledger.reserve(call, self._budget)
        if spent is not None:
            needs = f"${spent:.4f} of ${self._budget:g} spent today, and this call may cost ${call.worst_case_usd:.4f}"
            refused = replace(call, outcome="budget", detail=needs)
            self._ledger.refused(refused)
            return refused
        ended = self._sent(call, request, role, answer_type)
        self._ledger.settle(ended)
        return ended

    def _refused(self, call: Call) -> Call | None:
        """Return the call with its outcome if there is no usable key, else None."""
        if not self.has_key:
            return replace(call, outcome="no_key", detail="ANTHROPIC_API_KEY is not set")
        if not self._credentials.sendable:
            return replace(call, outcome="rejected", detail="ANTHROPIC_API_KEY holds letters that no key has")
        return None

    def _sent(self, call: Call, request: Request, role: Role, answer_type: type[BaseModel]) -> Call:
        from blofin_resources.claude.messages import Messages

        messages = Messages(self._credentials, deadline_seconds=self._deadline, retries=self._retries)
        begun = time.monotonic()
        came = messages.send(request)
        call = replace(call, latency_seconds=round(time.monotonic() - begun, 3))
        if isinstance(came, Failure):
            # what may have been paid for counts as paid
            cost = call.worst_case_usd if came.paid else 0.0
            return replace(call, outcome=came.outcome, detail=came.detail, cost_usd=cost)
        outcome, detail = _judged(came, answer_type)
        return replace(
            call,
            outcome=outcome,
            detail=detail,
            reply=came.text,
            stop_reason=came.stop_reason,
            input_tokens=came.usage.input_tokens,
            cache_written_tokens=came.usage.cache_creation_input_tokens or 0,
            cached_tokens=came.usage.cache_read_input_tokens or 0,
            output_tokens=came.usage.output_tokens,
            cost_usd=self._models.price(role).charge(came.usage),
            request_id=came.request_id,
        )


def _digest(prompt: Prompt, schema: dict[str, Any]) -> str:
    """Hash everything that determines an answer except the model: changing the model keeps old answers valid."""
    asked = [prompt.name, prompt.version, prompt.system, prompt.question, schema]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _judged(reply: Reply, answer_type: type[BaseModel]) -> tuple[str, str | None]:
    if reply.stop_reason == "refusal":
        return "refusal", reply.note or "the model declined to answer"
    if reply.stop_reason in _CUT:
        return "max_tokens", f"the answer was cut off after {reply.usage.output_tokens} tokens"
    if reply.stop_reason not in _WHOLE:
        return "broken", f"the model stopped for {reply.stop_reason or 'no reason'}"
    try:
        answer_type.model_validate_json(reply.text)
    except ValidationError as error:
        return "invalid", _problems(error)
    return "answered", None


def _problems(error: ValidationError) -> str:
    """Return the validation errors of an answer, one line each, without quoting the answer."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{'.'.join(str(part) for part in each['loc']) or 'answer'}: {each['msg']}" for each in found]
    more = [f"and {len(lines) - _MOST_PROBLEMS} more"] if len(lines) > _MOST_PROBLEMS else []
    return "\n".join(lines[:_MOST_PROBLEMS] + more)


def _outcome(
    calls: list[Call], answer_type: type[T], *, knows_until: datetime, replayed: bool
) -> Answer[T] | Unavailable:
    last = calls[-1]
    cost = sum(call.cost_usd for call in calls)
    ids = tuple(call.id for call in calls)
    detail = last.detail or ""
    if last.outcome == "answered":
        try:
            value = answer_type.model_validate_json(last.reply or "")
            return Answer(value, last.model, cost, ids, replayed, json.loads(last.prompt)["question"], knows_until)
        except ValidationError as error:
            # the type's own checks became stricter since it was answered
            detail = _problems(error)
    reason: Reason = next((known for known in REASONS if known == last.outcome), "invalid")
    return Unavailable(reason, detail, last.model, cost, ids, replayed)
