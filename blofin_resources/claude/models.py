"""The model of each role, the price of a call, and what a model may know.

Belongs here: reading `models.toml` and a user's changes to it, prices of calls, knowledge cut-offs. Does not belong
here: what was spent (`ledger`), sending (`messages`).
"""

import tomllib
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from blofin_resources.errors import SettingsError

Role = Literal["designer", "reviewer", "tuner", "summariser"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""What Claude can be asked as."""

ADDED_TOKENS: Final = 2_000
"""Most tokens that the API adds to a prompt of ours, for the answer's schema above all."""

DEFAULTS: Final = Path(__file__).with_name("models.toml")

_MILLION: Final = 1_000_000

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Usage(BaseModel):
    """Tokens of one call, as the API counts them.

    Attributes
    ----------
    input_tokens : int
        Read at the full price.
    cache_creation_input_tokens, cache_read_input_tokens : int
        Written to and read from the prompt cache; not among `input_tokens`.
    output_tokens : int
        Written, thinking included.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    cache_creation_input_tokens: int | None = Field(default=None, ge=0)
    cache_read_input_tokens: int | None = Field(default=None, ge=0)


class Rates(_Entry):
    """US dollars for a million tokens of each kind."""

    input: Dollars
    cache_write: Dollars
    cache_read: Dollars
    output: Dollars

    def cost(self, usage: Usage) -> float:
        """Return the cost of a call in US dollars."""
        parts = (
            usage.input_tokens * self.input,
            (usage.cache_creation_input_tokens or 0) * self.cache_write,
            (usage.cache_read_input_tokens or 0) * self.cache_read,
            usage.output_tokens * self.output,
        )
        return sum(parts) / _MILLION


class LongRates(Rates):
    """Rates of a call whose prompt has more than `above` tokens, those of the cache included."""

    above: int = Field(ge=0)


class Price(Rates):
    """Prices of one model, and what it may know.

    Attributes
    ----------
    long : LongRates, optional
        Prices of long prompts.
    knowledge_cutoff : date, optional
        Last day that its training data may hold; None if unknown.
    """

    long: LongRates | None = None
    knowledge_cutoff: date | None = None

    def charge(self, usage: Usage) -> float:
        """Return the cost of a call in US dollars."""
        cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
        return self._rates(usage.input_tokens + cached).cost(usage)

    def worst_case(self, prompt_bytes: int, max_tokens: int) -> float:
        """Return the largest possible cost of a call in US dollars.

        Parameters
        ----------
        prompt_bytes : int
            Size of everything that is sent, as UTF-8: a tokenizer makes at most one token of a byte.
        max_tokens : int
            Largest number of tokens of the answer.
        """
        tokens = prompt_bytes + ADDED_TOKENS
        rates = self._rates(tokens)
        return (tokens * max(rates.input, rates.cache_write) + max_tokens * rates.output) / _MILLION

    def _rates(self, prompt_tokens: int) -> Rates:
        return self.long if self.long is not None and prompt_tokens > self.long.above else self


class RoleModel(_Entry):
    """Model and parameters of one role.

    Attributes
    ----------
    model : str
        Name of the model.
    max_tokens : int
        Longest answer, thinking included.
    effort : str or None
        How much the model should think; not sent if None, because older models reject it.
    """

    model: str
    max_tokens: int = Field(ge=1)
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class Models(_Entry):
    """A model for each role, and a price for each model."""

    roles: dict[Role, RoleModel]
    models: dict[str, Price]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        absent = [role for role in ROLES if role not in self.roles]
        unpriced = sorted({given.model for given in self.roles.values()} - set(self.models))
        if absent or unpriced:
            msg = f"no model for {', '.join(absent)}" if absent else f"no price for {', '.join(unpriced)}"
            raise ValueError(msg)
        return self

    def knows_until(self, model: str, asked: datetime) -> datetime:
        """Return the end of what a model may know of a market.

        Parameters
        ----------
        model : str
            Name of the model; one that is not in the table, such as that of an old answer, has no known cut-off.
        asked : datetime
            Time of the question (UTC).

        Returns
        -------
        datetime
            Midnight after the model's cut-off (UTC), but never later than the question; the time of the question where
            no cut-off is known.
        """
        cutoff = self.models[model].knowledge_cutoff if model in self.models else None
        if cutoff is None:
            return asked
        return min(datetime.combine(cutoff, time.min, UTC) + timedelta(days=1), asked)

    def price(self, role: Role) -> Price:
        """Return the price of the role's model."""
        return self.models[self.roles[role].model]


def load_models(changes: Path | None = None) -> Models:
    """Return the default models and prices, with a user's changes applied.

    Parameters
    ----------
    changes : Path, optional
        TOML file of the same form as `models.toml`; its entries replace or extend the defaults.

    Returns
    -------
    Models
        The merged table.

    Raises
    ------
    SettingsError
        If the file cannot be read or does not fit, in one line.
    """
    if changes is None:
        return _defaults()
    way = f"; see {DEFAULTS} for the form"
    try:
        given = tomllib.loads(changes.read_text(encoding="utf-8"))
        return Models.model_validate(_merged(tomllib.loads(DEFAULTS.read_text(encoding="utf-8")), given))
    except OSError as error:
        msg = f"BLOFIN_AI_MODELS={str(changes)!r} cannot be read ({error.strerror})"
        raise SettingsError(msg) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        msg = f"BLOFIN_AI_MODELS={str(changes)!r} does not fit: {where} {problem['msg']}".replace("  ", " ") + way
        raise SettingsError(msg) from None
    except ValueError as error:
        msg = f"BLOFIN_AI_MODELS={str(changes)!r} is not valid TOML: {error}{way}"
        raise SettingsError(msg) from None


@cache
def _defaults() -> Models:
    return Models.model_validate(tomllib.loads(DEFAULTS.read_text(encoding="utf-8")))


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the entries of `changes`, tables within tables likewise."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
