"""From settings to a market source.

Belongs here: the one place that knows which sources there are. Does not belong here: reading settings. A source's code
is loaded when it is opened: the synthetic market waits for a compiler, the exchange for an HTTP library.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from blofin_resources.errors import MarketError
from blofin_resources.market.base import Clock, MarketSource, utc_now

if TYPE_CHECKING:
    from blofin_resources.market.sample import Variant

_SAMPLES: Final[dict[str, "Variant"]] = {"sample": "plain", "sample:null": "null", "sample:edge": "edge"}

MARKETS: Final = (*_SAMPLES, "archive", "blofin")
"""The values that `BLOFIN_MARKET` can take."""


def open_market(
    market: str,
    *,
    archive: Path | None,
    api_url: str,
    seed: int,
    clock: Clock = utc_now,
    patience: float | None = None,
) -> MarketSource:
    """Return the market source that the settings name.

    Parameters
    ----------
    market : str
        One of `MARKETS`.
    archive : Path or None
        The folder of candles, needed by `archive`.
    api_url : str
        Address of the exchange, used by `blofin`.
    seed : int
        Which synthetic market, used by `sample`.
    clock : callable, optional
        Tells the present, for sources that grow with time.
    patience : float, optional
        Seconds that one call of the exchange may take in all, used by `blofin`; its own default where omitted.

    Raises
    ------
    MarketError
        For an unknown market, or where its setting is absent or unusable.
    """
    if market in _SAMPLES:
        from blofin_resources.market.sample import SampleMarket

        return SampleMarket(seed, _SAMPLES[market], clock)
    if market == "archive":
        if archive is None:
            msg = "BLOFIN_MARKET=archive needs BLOFIN_ARCHIVE, a folder of <SYMBOL>_1m.parquet or .csv"
            raise MarketError(msg)
        from blofin_resources.market.archive import ArchiveMarket

        return ArchiveMarket(archive)
    if market == "blofin":
        from blofin_resources.market.blofin import PATIENCE, BlofinMarket

        return BlofinMarket(_http_url(api_url), clock, patience=PATIENCE if patience is None else patience)
    msg = f"unknown market {market!r}; BLOFIN_MARKET is one of: {', '.join(MARKETS)}"
    raise MarketError(msg)


def _http_url(api_url: str) -> str:
    if not api_url.startswith(("https://", "http://")):
        msg = f"BLOFIN_API_URL={api_url!r} is no web address; the exchange's is https://openapi.blofin.com"
        raise MarketError(msg)
    return api_url
