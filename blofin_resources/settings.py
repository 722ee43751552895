"""What a user can set, by environment or `.env`, checked before any work begins.

Belongs here: names, defaults and checks of settings. Does not belong here: reading a market or opening a warehouse,
even to see whether they exist; each source says itself what it cannot find.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from blofin_resources.errors import SettingsError
from blofin_resources.market.registry import MARKETS, Options
from blofin_resources.market.universe import parse_rule
from blofin_resources.suggestions import did_you_mean, nearest

HISTORY: Final = timedelta(days=45)
"""Market history kept before the as-of where no start is set: 35 days of search and 8.3 of warm-up, and a little."""

ENV_FILE: Final = Path(".env")
"""File in the working folder that is read beside the environment, which wins."""

PREFIX: Final = "BLOFIN_"
"""How the variable of a setting begins, but for those of Anthropic's own library."""

TEST_PREFIX: Final = "BLOFIN_TEST_"
"""How variables of the test suite begin, which are no settings."""

LEAST_KEPT: Final = 60
"""Fewest days of minutes that can be kept: `HISTORY`, and a fortnight in which a late pass still finds its own."""

_SYMBOL: Final = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")
_WITHOUT_DASH: Final = re.compile(r"([A-Z0-9]+?)[/_:]?(USDT|USDC|USD)")

_EXAMPLES: Final = {
    "archive": "a folder of <SYMBOL>_1m.parquet files, such as /data/market",
    "api_url": "an http(s) address, such as https://openapi.blofin.com",
    "api_patience": "seconds above 0, such as 120",
    "api_wait": "on or off",
    "mark_prices": "on or off",
    "symbols": "BASE-QUOTE names joined by commas, such as BTC-USDT,ETH-USDT",
    "start": "a day, such as 2025-05-05",
    "keep": f"a number of days, {LEAST_KEPT} or more, such as 365",
    "universe": "top:N, all, off, or symbols joined by commas, such as top:30",
    "deep_start": "a day, such as 2022-01-01",
    "warehouse": "a folder, such as warehouse",
    "catalog": "a file or a DuckLake catalog, such as postgres:dbname=blofin",
    "ai_budget_usd": "US dollars a day, 0 or more, such as 5",
    "ai_models": "a TOML file of models and prices, such as models.toml",
    "search_budget": "a number of evaluations, 0 or more, such as 600",
    "tuning_budget": "a number of evaluations, 0 or more, such as 40",
    "seed": "a whole number, 0 or more, such as 7",
    "anthropic_api_key": "a key that starts with sk-ant-",
    "anthropic_base_url": "an http(s) address, such as https://api.anthropic.com",
    "notify_url": "an http(s) address that takes a POST",
    "notify_format": "json, slack or telegram",
    "notify_chat": "the id of a chat, such as -1001234567890",
    "ui_url": "an http(s) address, such as http://127.0.0.1:3000",
}

_SECRET: Final = frozenset({"anthropic_api_key", "anthropic_base_url", "catalog", "notify_url"})
"""Fields whose value may not be shown: a key, and addresses that may hold one."""


def _split_symbols(value: object) -> object:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        return names
    cleaned = (str(name).strip().upper() for name in names)
    return tuple(dict.fromkeys(name for name in cleaned if name))


def _check_symbols(symbols: tuple[str, ...]) -> tuple[str, ...]:
    bad = [symbol for symbol in symbols if not _SYMBOL.fullmatch(symbol)]
    if bad or not symbols:
        msg = f"{', '.join(bad) or 'nothing'} is not a symbol"
        raise ValueError(msg)
    return symbols


def _check_universe(value: str) -> str:
    rule = parse_rule(value)
    return ",".join(rule.chosen) if rule is not None and rule.chosen else value.strip().lower()


def _parse_day(value: object) -> object:
    # pydantic alone reads 20250505 as seconds since 1970
    return date.fromisoformat(value.strip()) if isinstance(value, str) else value


def _check_market(value: str) -> str:
    if value not in MARKETS:
        msg = "no market"
        raise ValueError(msg)
    return value


def _check_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", value):
        msg = "no address"
        raise ValueError(msg)
    return value.rstrip("/")


def _check_secret_url(value: SecretStr) -> SecretStr:
    return SecretStr(_check_url(value.get_secret_value().strip()))


def _check_seconds(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        msg = "no length of time"
        raise ValueError(msg)
    return value


def _check_amount(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        msg = "not an amount"
        raise ValueError(msg)
    return value


Url = Annotated[str, AfterValidator(_check_url)]
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]


class Settings(BaseSettings):
    """Settings of one process, from the environment, then `.env` in the working folder, then the defaults.

    Each field is the variable `BLOFIN_<FIELD>`, but for the two that start with ANTHROPIC. An empty variable counts
    as unset. A variable that begins with `BLOFIN_` and is no setting is refused where it looks like a misspelt one;
    `unknown_variables` names the others.

    Attributes
    ----------
    market : str
        Source of market data: one of `blofin_resources.market.MARKETS`.
    archive : Path or None
        Folder of candle files; needed where `market` is `archive`.
    api_url : str or None
        Address of the exchange's REST API, without a slash at its end; None for its usual one.
    api_patience : float
        Seconds that one call of the exchange may take in all, retries and waiting included.
    api_wait : bool
        Whether a call waits for longer than that where the exchange states when it opens again.
    mark_prices : bool
        Whether mark-price candles are brought in, by which positions are liquidated.
    symbols : tuple of str
        Perpetual futures to follow, as BASE-QUOTE in capitals, each once, in the order given.
    start : date or None
        First market day (UTC); see `start_for`.
    keep : int or None
        Days after which maintenance drops stored minutes and logs; None keeps all. Not together with `start`.
    universe : str
        Which symbols have deep history: `top:N`, `all`, a list of symbols, or `off`; see `market.universe`.
    deep_start : date or None
        First day (UTC) of deep history; see `blofin_resources.market.registry.deep_start`.
    warehouse : Path
        Folder of the warehouse, relative to the working folder unless absolute.
    catalog : str or None
        DuckLake catalog; None for the file `catalog.sqlite` in the warehouse folder.
    ai_budget_usd : float
        What calls of Claude may cost in one day, in US dollars.
    ai_models : Path or None
        TOML file that changes which model answers in which role, or what a model costs.
    search_budget : int
        Evaluations in the search window that each designer of strategies is given in one cycle.
    tuning_budget : int
        Evaluations in the search window that one attempt to tune a strategy is given.
    seed : int
        Seed of the sample market and of every search.
    anthropic_api_key : SecretStr or None
        Key for Claude; without one, the embedded search designs alone.
    anthropic_base_url : str or None
        Where Claude is called, if not at its usual address.
    notify_url : SecretStr or None
        Webhook that is told of failed runs and checks; none where omitted. Whoever knows it can post, so it is secret.
    notify_format : str or None
        What the webhook takes: `json`, `slack` or `telegram`; told from the address where omitted.
    notify_chat : str or None
        Telegram's chat id; needed where the webhook is Telegram's.
    ui_url : str
        Where people reach Dagster's UI, for links in messages.

    Raises
    ------
    SettingsError
        If a value cannot be used: one line with the variable, the value (never that of a secret) and an example. If a
        line of `.env` cannot be read, or a variable's name is misspelt.
    """

    model_config = SettingsConfigDict(
        env_prefix="BLOFIN_",
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    market: Annotated[str, AfterValidator(_check_market)] = "sample"
    archive: UserPath | None = None
    api_url: Url | None = None
    api_patience: Annotated[float, AfterValidator(_check_seconds)] = 120.0
    api_wait: bool = False
    mark_prices: bool = True
    symbols: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_symbols), AfterValidator(_check_symbols)] = (
        "BTC-USDT",
        "ETH-USDT",
        "SOL-USDT",
    )
    start: Annotated[date | None, BeforeValidator(_parse_day)] = None
    keep: Annotated[int | None, Field(ge=LEAST_KEPT, le=100_000)] = None
    universe: Annotated[str, AfterValidator(_check_universe)] = "top:30"
    deep_start: Annotated[date | None, BeforeValidator(_parse_day)] = None
    warehouse: UserPath = Path("warehouse")
    catalog: str | None = None
    ai_budget_usd: Annotated[float, AfterValidator(_check_amount)] = 5.0
    ai_models: UserPath | None = None
    search_budget: Annotated[int, Field(ge=0, le=1_000_000)] = 600
    tuning_budget: Annotated[int, Field(ge=0, le=100_000)] = 40
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    anthropic_api_key: Annotated[SecretStr | None, Field(validation_alias="ANTHROPIC_API_KEY")] = None
    anthropic_base_url: Annotated[Url | None, Field(validation_alias="ANTHROPIC_BASE_URL")] = None
    notify_url: Annotated[SecretStr | None, AfterValidator(lambda url: url and _check_secret_url(url))] = None
    notify_format: Literal["json", "slack", "telegram"] | None = None
    notify_chat: str | None = None
    ui_url: Url = "http://127.0.0.1:3000"

    def __init__(self, **values: Any) -> None:
        _refuse_misspelt()
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError("; ".join(_describe(problem) for problem in _rejected(error, values))) from None
        for name in MARKETS[self.market].needs:
            if getattr(self, name) is None:
                msg = f"BLOFIN_MARKET={self.market} needs {_variable(name)}: {_EXAMPLES.get(name, 'set it')}"
                raise SettingsError(msg)
        if self.keep is not None and self.start is not None:
            msg = f"BLOFIN_KEEP={self.keep} and BLOFIN_START={self.start} contradict each other; set one of them"
            raise SettingsError(msg)

    @property
    def market_id(self) -> str:
        """What tells two markets of the same name apart: seed, folder of the archive, or host of the exchange."""
        return MARKETS[self.market].market_id(Options(self.archive, self.api_url, self.seed))

    def environment(self) -> dict[str, str]:
        """Return what is set, and the warehouse, as variables: they give the same settings in any working folder.

        The values of secrets are among them: for the environment of a child, nothing else.
        """
        texts = {name: _as_text(getattr(self, name)) for name in ("warehouse", *sorted(self.model_fields_set))}
        if self.catalog is not None and not self.catalog.strip().lower().startswith(("postgres:", "postgresql:")):
            texts["catalog"] = _as_text(Path(self.catalog.removeprefix("sqlite:")).expanduser())
        return {_variable(name): text for name, text in texts.items() if text}

    def start_for(self, as_of: datetime) -> date:
        """Return the first market day (UTC) for a pass as of `as_of`: the one set, else 45 days before.

        Raises
        ------
        SettingsError
            If the day that is set is not before `as_of`.
        """
        if self.start is None:
            return (as_of - HISTORY).date()
        if datetime.combine(self.start, time(), UTC) >= as_of:
            msg = f"BLOFIN_START={self.start} is not before the as-of {as_of:%Y-%m-%dT%H:%MZ}; set an earlier day"
            raise SettingsError(msg)
        return self.start


def variables() -> frozenset[str]:
    """Return the name of every variable that is a setting, in capitals; any other case is read as well."""
    return frozenset(_variable(name) for name in Settings.model_fields)


def unknown_variables() -> list[str]:
    """Return the variables of the environment and of `.env` that begin with `BLOFIN_` and are no setting.

    Raises
    ------
    SettingsError
        If `.env` is not UTF-8 text, or one of its lines is not `NAME=value`.
    """
    ours = [name for name in dict.fromkeys([*os.environ, *_names_in_file()]) if name.upper().startswith(PREFIX)]
    return [name for name in ours if name.upper() not in variables() and not name.startswith(TEST_PREFIX)]


def _refuse_misspelt() -> None:
    """Refuse a name that is no setting and is near one: what it was meant to set would be left at its default."""
    known = {name.removeprefix(PREFIX): name for name in sorted(variables())}
    for name in unknown_variables():
        meant = nearest(name.upper().removeprefix(PREFIX), known)
        if meant is not None:
            where = "the environment" if name in os.environ else str(ENV_FILE.resolve())
            msg = f"{name} in {where} is not a setting; did you mean {known[meant]}?"
            raise SettingsError(msg)


def _names_in_file() -> Iterator[str]:
    """Give the names that `.env` sets; a line is shown by its number alone, since it may hold a secret."""
    if not ENV_FILE.is_file():
        return
    try:
        with ENV_FILE.open(encoding="utf-8-sig") as file:
            bindings = list(parse_stream(file))
    except UnicodeDecodeError:
        msg = f"{ENV_FILE.resolve()} is not UTF-8 text; rewrite it as NAME=value lines"
        raise SettingsError(msg) from None
    except OSError as error:
        msg = f"{ENV_FILE.resolve()} cannot be read ({error.strerror}); make it readable, or remove it"
        raise SettingsError(msg) from None
    for binding in bindings:
        if binding.error or (binding.key is not None and binding.value is None):
            text = binding.original.string  # with the empty lines before it
            line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            msg = f"{ENV_FILE.resolve()}, line {line} is not NAME=value; correct or delete it"
            raise SettingsError(msg)
        if binding.key is not None:
            yield binding.key


def _variable(field: str) -> str:
    return field.upper() if field.startswith("anthropic") else f"BLOFIN_{field.upper()}"


def _as_text(value: object) -> str:
    """Return a value as a variable holds it, a path from the root on; nothing where it is None."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.resolve())
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)


def _rejected(error: ValidationError, given: dict[str, Any]) -> list[tuple[str, object]]:
    """Return (field, value) of everything that was refused, each field once, in the order of the fields."""
    names = {str(field.validation_alias or name): name for name, field in Settings.model_fields.items()}
    found: dict[str, object] = {}
    for problem in error.errors(include_url=False, include_context=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        name = names.get(field, field)
        if name not in found:
            found[name] = given.get(name, problem.get("input"))
    return list(found.items())


def _describe(problem: tuple[str, object]) -> str:
    name, value = problem
    shown = "" if name in _SECRET else f"={value!r}"
    example, hint = _EXAMPLES.get(name, "another value"), ""
    if name == "market":
        example, hint = f"one of {', '.join(MARKETS)}", did_you_mean([str(value)], MARKETS)
    elif name == "symbols":
        hint = did_you_mean_symbols(str(value).split(","))
    return f"{_variable(name)}{shown} cannot be used; give {example}{hint}"


def did_you_mean_symbols(names: Iterable[str]) -> str:
    """Return ` (did you mean BTC-USDT?)` for a name such as BTCUSDT or BTC/USDT; nothing where no name is like that."""
    found = [_WITHOUT_DASH.fullmatch(name.strip().upper()) for name in names]
    meant = ", ".join("-".join(each.groups()) for each in found if each)
    return f" (did you mean {meant}?)" if meant else ""
