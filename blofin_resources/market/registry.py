"""The market sources that `BLOFIN_MARKET` can name, one entry each.

Belongs here: everything that differs between sources before one is opened. Settings, error messages, the id of a
warehouse and the tables of the docs derive from `MARKETS`, so a further exchange is one entry here and one package
beside it (docs/extending/exchange.md). Does not belong here: reading settings, how a source works.

An entry imports its source when it opens it: the synthetic market waits for a compiler, the exchange for an HTTP
library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from blofin_resources.errors import MarketError
from blofin_resources.market.source import Clock, MarketSource, utc_now
from blofin_resources.market.times import EARLIEST

if TYPE_CHECKING:
    from blofin_resources.market.sample import Variant

BLOFIN_URL: Final = "https://openapi.blofin.com"
"""Where the Blofin exchange's public API is."""

_SAMPLE_DEEP: Final = timedelta(days=180)
"""Half a year of hours is made and stored in seconds, so that a first run stays quick."""


@dataclass(frozen=True)
class Options:
    """What the settings say about a source; each source uses the fields that it needs.

    Attributes
    ----------
    archive : Path or None
        Folder of candle files.
    api_url : str or None
        Address of an exchange's API; its usual one where None or empty.
    seed : int
        Which synthetic market.
    clock : callable
        Tells the present, for sources that grow with time.
    patience : float or None
        Seconds that one call of an exchange may take in all; the source's own default where None.
    wait : bool
        Whether a call waits for longer where the exchange states when it opens again.
    """

    archive: Path | None = None
    api_url: str | None = None
    seed: int = 0
    clock: Clock = utc_now
    patience: float | None = None
    wait: bool = False


@dataclass(frozen=True)
class Entry:
    """One value of `BLOFIN_MARKET`.

    Attributes
    ----------
    about : str
        What it is, for the docs.
    open : callable
        Makes the source; imports its package.
    market_id : callable
        Tells two markets of this name apart. A warehouse keeps it and refuses another one.
    settings : tuple of str
        Fields of `Settings` that only some sources read, and this one does.
    needs : tuple of str
        Those of them that must be set.
    synthetic : bool
        Whether the prices are made up.
    deep : timedelta
        Deep history before the as-of where `BLOFIN_DEEP_START` is not set.
    """

    about: str
    open: Callable[[Options], MarketSource]
    market_id: Callable[[Options], str]
    settings: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    synthetic: bool = False
    deep: timedelta = timedelta(days=3 * 365)


def _sample(about: str, variant: "Variant") -> Entry:
    def opened(options: Options) -> MarketSource:
        from blofin_resources.market.sample import SampleMarket

        return SampleMarket(options.seed, variant, options.clock)

    return Entry(about, opened, lambda options: f"seed={options.seed}", ("seed",), synthetic=True, deep=_SAMPLE_DEEP)


def _archive(options: Options) -> MarketSource:
    from blofin_resources.market.archive import ArchiveMarket

    return ArchiveMarket(_folder(options))


def _folder(options: Options) -> Path:
    if options.archive is None:
        msg = "BLOFIN_MARKET=archive needs BLOFIN_ARCHIVE, a folder of <SYMBOL>_1m.parquet or .csv"
        raise MarketError(msg)
    return options.archive


def _blofin(options: Options) -> MarketSource:
    from blofin_resources.market.blofin import PATIENCE, BlofinMarket

    url = options.api_url or BLOFIN_URL
    if not url.startswith(("https://", "http://")):
        msg = f"BLOFIN_API_URL={url!r} is not a web address; the exchange's is {BLOFIN_URL}"
        raise MarketError(msg)
    patience = PATIENCE if options.patience is None else options.patience
    return BlofinMarket(url, options.clock, patience=patience, wait=options.wait)


MARKETS: Final[dict[str, Entry]] = {
    "sample": _sample("an embedded synthetic exchange, the same on every machine; the default", "plain"),
    "sample:null": _sample("the synthetic exchange with nothing to find", "null"),
    "sample:edge": _sample("the synthetic exchange with planted edges", "edge"),
    "archive": Entry(
        "a folder of candle files that you have",
        _archive,
        lambda options: str(_folder(options).resolve()),
        settings=("archive",),
        needs=("archive",),
        deep=timedelta(days=36_500),
    ),
    "blofin": Entry(
        "the Blofin exchange's public REST API",
        _blofin,
        lambda options: urlsplit(options.api_url or BLOFIN_URL).hostname or "",
        settings=("api_url", "api_patience", "api_wait"),
    ),
}
"""Every value of `BLOFIN_MARKET`."""


def open_market(
    market: str,
    *,
    archive: Path | None,
    api_url: str | None,
    seed: int,
    clock: Clock = utc_now,
    patience: float | None = None,
    wait: bool = False,
) -> MarketSource:
    """Open the market source of a name.

    Parameters
    ----------
    market : str
        One of `MARKETS`.
    archive, api_url, seed, clock, patience, wait
        See `Options`.

    Returns
    -------
    MarketSource
        The source.

    Raises
    ------
    MarketError
        For an unknown market, or where its setting is absent or unusable.
    """
    if market not in MARKETS:
        msg = f"unknown market {market!r}; BLOFIN_MARKET is one of: {', '.join(MARKETS)}"
        raise MarketError(msg)
    return MARKETS[market].open(Options(archive, api_url, seed, clock, patience, wait))


def deep_start(market: str, day: date | None, as_of: datetime) -> datetime:
    """Return when deep history begins.

    Parameters
    ----------
    market : str
        One of `MARKETS`.
    day : date or None
        `BLOFIN_DEEP_START`; what the market's entry says where None.
    as_of : datetime
        End of the history (UTC).

    Returns
    -------
    datetime
        A midnight (UTC).

    Raises
    ------
    MarketError
        If the day is not before `as_of`.
    """
    first = max((as_of - MARKETS[market].deep).date(), EARLIEST.date()) if day is None else day
    begin = datetime.combine(first, time(), UTC)
    if begin >= as_of:
        msg = f"BLOFIN_DEEP_START={day} is not before the as-of {as_of:%Y-%m-%dT%H:%MZ}; set an earlier day"
        raise MarketError(msg)
    return begin


def is_synthetic(market: str) -> bool:
    """Return whether a market's prices are made up, by its name alone."""
    return market in MARKETS and MARKETS[market].synthetic


def markets_table() -> str:
    """Return the table of markets that stands in the docs, as Markdown."""
    rows = [
        f"| `{name}` | {entry.about} | {', '.join(f'`BLOFIN_{field.upper()}`' for field in entry.settings)} |"
        for name, entry in MARKETS.items()
    ]
    return "\n".join(["| `BLOFIN_MARKET` | What it is | Further settings |", "|---|---|---|", *rows])
