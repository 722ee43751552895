"""Parse the exchange's answers into frames, strictly: an undocumented form is refused.

Belongs here: the documented form of each answer. Does not belong here: requests (`client`). Numbers arrive as decimal
text, small ones with an exponent (`7.68E-6`); prices are accepted only where Float64 holds every digit.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Any, Final

import numpy as np
import polars as pl

from blofin_resources.market import checks
from blofin_resources.market import source as base
from features.bars import (
    CANDLE_SCHEMA,
    FUNDING_SCHEMA,
    MARK_SCHEMA,
    MINUTES,
    MOST_FUNDING,
    TS,
    Timeframe,
    funding_time,
)

TAKER_FEE: Final = 0.0006
MAKER_FEE: Final = 0.0002
"""Fees of the lowest tier, which the public API does not state."""

_PRICES: Final = ("open", "high", "low", "close")
_CANDLE: Final = ("ts", *_PRICES, "contracts", "volume", "quote_volume", "confirm")
_MARK: Final = ("ts", *_PRICES, "confirm")
_UNSIGNED: Final = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
_SIGNED: Final = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
_MILLISECONDS: Final = r"^[0-9]{12,14}$"
_DIGITS: Final = 15
"""Decimal digits that Float64 always holds: reading and writing them again gives the same text."""

_SHOWN: Final = 300

TICKER_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "ts": TS,
        "last": pl.Float64(),
        "bid": pl.Float64(),
        "bid_size": pl.Float64(),
        "ask": pl.Float64(),
        "ask_size": pl.Float64(),
        "open_24h": pl.Float64(),
        "high_24h": pl.Float64(),
        "low_24h": pl.Float64(),
        "contracts_24h": pl.Float64(),
        "volume_24h": pl.Float64(),
    }
)
"""The market now: prices in quote currency, sizes in contracts, `volume_24h` in base units."""

_TICKER: Final = {
    "last": "last",
    "bidPrice": "bid",
    "bidSize": "bid_size",
    "askPrice": "ask",
    "askSize": "ask_size",
    "open24h": "open_24h",
    "high24h": "high_24h",
    "low24h": "low_24h",
    "vol24h": "contracts_24h",
    "volCurrency24h": "volume_24h",
}
_INSTRUMENT: Final = {
    "contractValue": "contract_value",
    "tickSize": "tick_size",
    "lotSize": "lot_size",
    "minSize": "min_size",
    "maxLeverage": "max_leverage",
}


class FormError(Exception):
    """An answer does not have the documented form. The text says how, and shows the payload shortened."""

    def __init__(self, what: str, payload: object) -> None:
        shown = payload if isinstance(payload, str) else json.dumps(payload, default=repr)
        shown = " ".join(shown.split())
        super().__init__(f"{what}; payload: {shown[:_SHOWN]}{'…' if len(shown) > _SHOWN else ''}")


def candles(symbol: str, data: object, timeframe: Timeframe) -> pl.DataFrame:
    """Return the closed bars of one page; the forming bar is dropped.

    Parameters
    ----------
    symbol : str
        Instrument that was requested.
    data : object
        The answer's data.
    timeframe : Timeframe
        Length of the bars that were requested.

    Returns
    -------
    DataFrame
        `CANDLE_SCHEMA`, oldest first.

    Raises
    ------
    FormError
        If a row has not nine texts, a number is none, or rows are not newest first on the timeframe's grid in UTC.
    """
    page = _page(data, _CANDLE)
    unknown = pl.lit(None, pl.String).alias("flag")
    minutes = pl.lit(MINUTES[timeframe], pl.Int32).alias("minutes")
    constant = [pl.lit(symbol).alias("symbol"), minutes, pl.lit("blofin").alias("origin")]
    bars = _closed(page, data, timeframe, (*_PRICES, *checks.VOLUMES), *constant, unknown)
    return checks.flag_single_price(bars).select(CANDLE_SCHEMA.names())


def mark_candles(symbol: str, data: object) -> pl.DataFrame:
    """Return the closed mark-price bars of one page with `MARK_SCHEMA`, oldest first; errors as of `candles`."""
    return _closed(_page(data, _MARK), data, "1m", _PRICES, pl.lit(symbol).alias("symbol")).select(MARK_SCHEMA.names())


def oldest(data: object) -> int | None:
    """Return the time of a parsed page's last row in milliseconds, or None for an empty page."""
    if not isinstance(data, list) or not data:
        return None
    last = data[-1]
    return int(last[0] if isinstance(last, list) else last["fundingTime"])


def funding(symbol: str, data: object) -> pl.DataFrame:
    """Return the payments of one page with `FUNDING_SCHEMA`, oldest first, each at its due time.

    Raises `FormError` as `candles`, and for a rate beyond `features.bars.MOST_FUNDING`.
    """
    rows = _objects(data, ("instId", "fundingRate", "fundingTime"))
    page = pl.DataFrame(rows, schema=dict.fromkeys(("instId", "fundingRate", "fundingTime"), pl.String))
    _require_text(page, ("fundingRate",), _SIGNED, data)
    _require_text(page, ("fundingTime",), _MILLISECONDS, data)
    _require_symbol(page, symbol, data)
    paid = page.select(
        symbol=pl.lit(symbol),
        ts=funding_time(pl.from_epoch(pl.col("fundingTime").cast(pl.Int64), time_unit="ms").cast(TS)),
        rate=pl.col("fundingRate").cast(FUNDING_SCHEMA["rate"], strict=True),
    )
    _require_newest_first(paid["ts"].to_physical(), data)
    _require_rows(paid["rate"].abs() <= MOST_FUNDING, f"a funding rate beyond {MOST_FUNDING}", page, data)
    return paid.reverse()


def instruments(data: object, as_of: datetime) -> pl.DataFrame:
    """Return the perpetuals listed, with `INSTRUMENT_SCHEMA`, sorted; the maintenance margin is null, see `tiers`.

    Contracts of another kind than linear swaps are left out: their sizes mean something else. One that is still listed
    after the time at which it expires is delisted.
    """
    names = ("instId", "baseCurrency", "quoteCurrency", "listTime", "instType", "contractType", "state", *_INSTRUMENT)
    rows = _objects(data, names)
    expires = [row.get("expireTime") for row in data] if isinstance(data, list) else []
    page = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String)).with_columns(
        pl.Series("expireTime", [text if isinstance(text, str) else None for text in expires], pl.String)
    )
    page = page.filter(pl.col("instType") == "SWAP", pl.col("contractType") == "linear")
    _require_text(page, tuple(_INSTRUMENT), _UNSIGNED, data)
    _require_text(page, ("listTime",), _MILLISECONDS, data)
    numbers = {new: pl.col(old).cast(pl.Float64, strict=True) for old, new in _INSTRUMENT.items()}
    frame = page.select(
        symbol="instId",
        as_of=pl.lit(as_of, TS),
        base_currency="baseCurrency",
        quote_currency="quoteCurrency",
        maintenance_margin_rate=pl.lit(None, pl.Float64),
        taker_fee=pl.lit(TAKER_FEE),
        maker_fee=pl.lit(MAKER_FEE),
        list_time=pl.from_epoch(pl.col("listTime").cast(pl.Int64), time_unit="ms").cast(TS),
        state=pl.when(_expired(as_of)).then(pl.lit(base.DELISTED)).otherwise("state"),
        origin=pl.lit("blofin"),
        **numbers,
    )
    return frame.select(base.INSTRUMENT_SCHEMA.names()).sort("symbol")


def _expired(as_of: datetime) -> pl.Expr:
    """Return whether an instrument has an expiry time that has passed; zero or an empty text is no expiry."""
    told = pl.col("expireTime").str.contains(_MILLISECONDS)
    moment = pl.when(told).then(pl.col("expireTime")).cast(pl.Int64)
    return (moment <= int(as_of.timestamp() * 1000)).fill_null(value=False)


def maintenance_rate(data: object) -> float:
    """Return the maintenance margin rate of the lowest position tier."""
    names = ("minSize", "maintenanceMarginRate")
    page = pl.DataFrame(_objects(data, names), schema=dict.fromkeys(names, pl.String))
    _require_text(page, names, _UNSIGNED, data)
    if page.is_empty():
        what = "no position tiers"
        raise FormError(what, data)
    lowest = page.cast(pl.Float64).sort("minSize").row(0, named=True)
    return float(lowest["maintenanceMarginRate"])


def tickers(data: object) -> pl.DataFrame:
    """Return the current tickers with `TICKER_SCHEMA`, sorted by symbol."""
    names = ("instId", "ts", *_TICKER)
    page = pl.DataFrame(_objects(data, names), schema=dict.fromkeys(names, pl.String))
    _require_text(page, tuple(_TICKER), _UNSIGNED, data)
    _require_text(page, ("ts",), _MILLISECONDS, data)
    return page.select(
        symbol="instId",
        ts=pl.from_epoch(pl.col("ts").cast(pl.Int64), time_unit="ms").cast(TS),
        **{new: pl.col(old).cast(pl.Float64, strict=True) for old, new in _TICKER.items()},
    ).sort("symbol")


def _page(data: object, names: Sequence[str]) -> pl.DataFrame:
    """Return rows of texts as a frame of text columns, newest first."""
    if not isinstance(data, list):
        what = f"data is {type(data).__name__}, not a list"
        raise FormError(what, data)
    lists = all(map(isinstance, data, repeat(list)))
    if not lists or set(map(len, data)) - {len(names)} or set(map(type, chain.from_iterable(data))) - {str}:
        number, row = next((n, r) for n, r in enumerate(data) if not _is_row(r, len(names)))
        what = f"row {number} is not {len(names)} texts ({', '.join(names)})"
        raise FormError(what, row)
    columns = zip(*data, strict=True) if data else [()] * len(names)
    page = pl.DataFrame(
        {name: list(column) for name, column in zip(names, columns, strict=True)},
        schema=dict.fromkeys(names, pl.String),
    )
    volumes = [name for name in names if name not in (*_PRICES, "ts", "confirm")]
    rules = {"ts": _MILLISECONDS, "confirm": "^[01]$", **dict.fromkeys((*_PRICES, *volumes), _UNSIGNED)}
    # One query for all rules where all is well; which rule is broken is asked only when one is.
    kept = [pl.col(name).str.contains(pattern).all().alias(name) for name, pattern in rules.items()]
    short = (pl.max_horizontal(pl.col(name).str.len_bytes() for name in _PRICES) <= _DIGITS).all()
    sound, is_short = page.select(pl.all_horizontal(kept), short.alias("short")).row(0)
    if not sound or not (is_short or page.select((_digits() <= _DIGITS).all()).item()):
        for name, pattern in rules.items():
            _require_text(page, (name,), pattern, data)
        digits = page.select(_digits() <= _DIGITS).to_series()
        _require_rows(digits, "a price of more digits than Float64 holds", page, data)
    return page


def _closed(
    page: pl.DataFrame, data: object, timeframe: Timeframe, numbers: Sequence[str], *constant: pl.Expr
) -> pl.DataFrame:
    """Return the closed bars of a page, oldest first: their times, some columns as numbers, and constant ones."""
    times = page["ts"].cast(pl.Int64)
    _require_newest_first(times, data)
    if (times.to_numpy() % (MINUTES[timeframe] * 60_000)).any():
        what = f"a bar does not open on the {timeframe} grid in UTC"
        raise FormError(what, data)
    ts = pl.from_epoch(pl.col("ts").cast(pl.Int64), time_unit="ms").cast(TS)
    bars = page.select(ts, *(pl.col(name).cast(pl.Float64) for name in numbers), *constant)
    closed = page["confirm"] == "1"
    return (bars if closed.all() else bars.filter(closed)).reverse()


def _objects(data: object, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of an answer reduced to `names`, all of which must be present as text."""
    if not isinstance(data, list):
        what = f"data is {type(data).__name__}, not a list"
        raise FormError(what, data)
    for row in data:
        wrong = row if not isinstance(row, dict) else [name for name in names if type(row.get(name)) is not str]
        if wrong:
            what = f"an object without the texts {', '.join(wrong) if isinstance(wrong, list) else names}"
            raise FormError(what, row)
    return [{name: row[name] for name in names} for row in data]


def _require_text(page: pl.DataFrame, names: Sequence[str], pattern: str, data: object) -> None:
    sound = page.select(pl.all_horizontal(pl.col(name).str.contains(pattern) for name in names)).to_series()
    _require_rows(sound, f"not a number as documented among {', '.join(names)}", page, data)


def _require_rows(sound: pl.Series, what: str, page: pl.DataFrame, data: object) -> None:
    """Raise `FormError` for the first row that is not sound: its place and what it holds."""
    if not sound.all():
        row = int((~sound).arg_max() or 0)
        what = f"{what}: row {row + 1} of {len(page)} is {page.row(row, named=True)}"
        raise FormError(what, data)


def _is_row(row: object, length: int) -> bool:
    return isinstance(row, list) and len(row) == length and all(type(value) is str for value in row)


def _digits() -> pl.Expr:
    """Return the expression of the number of significant digits of a row's longest price."""
    return pl.max_horizontal(
        pl.col(name).str.replace("[eE].*$", "").str.replace(".", "", literal=True).str.strip_chars("0").str.len_chars()
        for name in _PRICES
    )


def _require_newest_first(times: pl.Series, data: object) -> None:
    if (np.diff(times.to_numpy()) >= 0).any():
        what = "rows are not newest first, each time once"
        raise FormError(what, data)


def _require_symbol(page: pl.DataFrame, symbol: str, data: object) -> None:
    if (page["instId"] != symbol).any():
        what = f"rows of another instrument than {symbol}"
        raise FormError(what, data)
