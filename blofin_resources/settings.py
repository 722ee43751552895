"""What a user can set, by environment or `.env`, checked before any work begins.

Belongs here: names, defaults and checks of settings. Does not belong here: reading a market or opening a warehouse,
even to see whether they exist; each source says itself what it cannot find.
"""

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from blofin_resources.errors import SettingsError

Market = Literal["sample", "sample:null", "sample:edge", "archive", "blofin"]

MARKETS: Final[tuple[Market, ...]] = get_args(Market)
"""Every value of `BLOFIN_MARKET`."""

HISTORY: Final = timedelta(days=45)
"""Market history kept before the as-of where no start is set: 35 days of search and 8.3 of warm-up, and a little."""

_SYMBOL: Final = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")

_EXAMPLES: Final = {
    "market": f"one of {', '.join(MARKETS)}",
    "archive": "a folder of <SYMBOL>_1m.parquet files, such as /data/market",
    "api_url": "an http(s) address, such as https://openapi.blofin.com",
    "api_patience": "seconds above 0, such as 120",
    "mark_prices": "on or off",
    "symbols": "BASE-QUOTE names joined by commas, such as BTC-USDT,ETH-USDT",
    "start": "a day, such as 2025-05-05",
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

_SECRET: Final = frozenset({"anthropic_api_key", "catalog", "notify_url"})
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
        msg = f"{', '.join(bad) or 'nothing'} is no symbol"
        raise ValueError(msg)
    return symbols


def _parse_day(value: object) -> object:
    # pydantic alone reads 20250505 as seconds since 1970
    return date.fromisoformat(value.strip()) if isinstance(value, str) else value


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
    as unset, a variable that is not known here is not looked at.

    Attributes
    ----------
    market : str
        Source of market data: `sample` (synthetic), its variants `sample:null` and `sample:edge`, `archive`, `blofin`.
    archive : Path or None
        Folder of candle files; needed where `market` is `archive`.
    api_url : str
        Address of the exchange's REST API, without a slash at its end.
    api_patience : float
        Seconds that one call of the exchange may take in all, retries and waiting included.
    mark_prices : bool
        Whether mark-price candles are brought in, by which leveraged positions are liquidated.
    symbols : tuple of str
        Perpetual futures to follow, as BASE-QUOTE in capitals, each once, in the order given.
    start : date or None
        First market day (UTC); see `start_for`.
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
        If a value cannot be used: one line with the variable, the value (never that of a secret) and an example.
    """

    model_config = SettingsConfigDict(
        env_prefix="BLOFIN_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    market: Market = "sample"
    archive: UserPath | None = None
    api_url: Url = "https://openapi.blofin.com"
    api_patience: Annotated[float, AfterValidator(_check_seconds)] = 120.0
    mark_prices: bool = True
    symbols: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_symbols), AfterValidator(_check_symbols)] = (
        "BTC-USDT",
        "ETH-USDT",
        "SOL-USDT",
    )
    start: Annotated[date | None, BeforeValidator(_parse_day)] = None
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
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError("; ".join(_describe(problem) for problem in _rejected(error, values))) from None
        except UnicodeDecodeError:
            msg = ".env is not UTF-8 text; write it anew as NAME=value lines"
            raise SettingsError(msg) from None
        if self.market == "archive" and self.archive is None:
            msg = f"BLOFIN_MARKET=archive needs BLOFIN_ARCHIVE: {_EXAMPLES['archive']}"
            raise SettingsError(msg)

    @property
    def market_id(self) -> str:
        """What tells two markets of the same name apart: seed, folder of the archive, or host of the exchange."""
        if self.market == "archive" and self.archive is not None:
            return str(self.archive.resolve())
        return f"seed={self.seed}" if self.market.startswith("sample") else urlsplit(self.api_url).hostname or ""

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
    return f"{_variable(name)}{shown} cannot be used; give {_EXAMPLES.get(name, 'another value')}"
