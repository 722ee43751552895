"""The bench in Python: what `blofin backtest` and `blofin features` do, as values for a notebook.

Belongs here: the functions that a notebook calls, on the warehouse of the settings (`BLOFIN_*`, `.env`). Does not
belong here: the commands and their work (`blofin_assets.cli`), backtests of frames, which need no warehouse
(`backtester`).

`warehouse` opens for reading alone; `tables` and `described` say what is in it. `backtest` and `feature` look at
returns, so they write: a trial in the ledger, the same configuration on the same window once, and a page. Where the
warehouse cannot be written they refuse: a look that nobody counts makes every later result look better than it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from blofin_assets.cli.backtest import Request, backtests
from blofin_assets.cli.features import Request as FeatureRequest
from blofin_assets.cli.features import measured
from blofin_assets.cli.loading import loaded
from blofin_assets.cli.session import open_session
from blofin_assets.cli.sql import described, tables
from blofin_assets.cli.stored import Span
from blofin_assets.cli.times import parse_moment
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse
from features.bars import Timeframe
from strategies.language.book import Book
from strategies.language.strategy import Strategy

__all__ = ["Backtested", "backtest", "described", "feature", "tables", "warehouse"]

EXAMPLE: Final = "for example: backtest('ema_crossover', days=7)"


@dataclass(frozen=True, eq=False)
class Backtested:
    """A backtest of a strategy or a book.

    Attributes
    ----------
    document : dict of str to value
        What `blofin backtest --json` prints; its tables are frames.
    frames : dict of str to DataFrame
        What `--export` writes: `trades`, `equity`, `returns`, `positions`, and of a strategy `signals`.
    """

    document: dict[str, Any]
    frames: dict[str, pl.DataFrame]


def warehouse() -> Warehouse:
    """Open the warehouse of the settings for reading alone: `read(sql)`, `candles(…)`, `funding(…)`."""
    settings = Settings()
    return Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog)


def backtest(
    what: str | Strategy | Book,
    *,
    parameters: Mapping[str, float] | None = None,
    symbols: Sequence[str] | None = None,
    timeframes: Sequence[Timeframe] | None = None,
    days: int | None = None,
    start: str | datetime | None = None,
    end: str | datetime | None = None,
    fee: float | None = None,
    slippage: float | None = None,
    maker: float | None = None,
    impact: float | None = None,
    capital: float | None = None,
    leverage: float | None = None,
) -> Backtested:
    """Backtest a strategy or a book on what is stored, as `blofin backtest` does; a counted trial.

    Parameters
    ----------
    what : str, Strategy or Book
        A name of the library, a path of a `.py` file, which is compiled, or an object.
    parameters : dict of str to float, optional
        Of the version; by default as it is written.
    symbols, timeframes : sequence of str, optional
        By default all traded symbols and its own timeframes; a book takes neither.
    days : int, optional
        Length of the window; by default 7, of a book all that is stored.
    start, end : str or datetime, optional
        Of the window (UTC).
    fee, slippage, maker, impact, capital, leverage : float, optional
        As the options of the command.

    Returns
    -------
    Backtested
        Document and frames.
    """
    named = loaded(what, EXAMPLE) if isinstance(what, str) else what
    version = named.with_parameters(**parameters) if parameters else named
    request = Request(
        version.name, _joined(symbols), _joined(timeframes), days, [], datetime.now(UTC), _moment(start), _moment(end),
        capital, fee, slippage, maker, impact, leverage,
    )  # fmt: skip
    (done,) = backtests(open_session(), [version], request)
    return Backtested(done.document(), done.frames())


def feature(
    name: str,
    *,
    symbols: Sequence[str] | None = None,
    timeframe: Timeframe = "60m",
    days: int | None = None,
    start: str | datetime | None = None,
    end: str | datetime | None = None,
    fee: float | None = None,
    slippage: float | None = None,
) -> dict[str, Any]:
    """Measure a feature, a group or a text, as `blofin features` does; each feature and horizon is a counted trial.

    Parameters
    ----------
    name : str
        A feature, a group, or a path of a file that holds an expression.
    symbols : sequence of str, optional
        By default the universe, or the traded symbols where there is none.
    timeframe : Timeframe
        Of the bars.
    days : int, optional
        Length of the window; by default 365, of traded symbols 45.
    start, end : str or datetime, optional
        Of the window (UTC).
    fee, slippage : float, optional
        A side, fractions, of the quantile book.

    Returns
    -------
    dict of str to value
        What `blofin features --json` prints, its tables as frames, and `said`: what they say, a sentence each.
    """
    file = Path(name) if Path(name).suffix else None
    span = Span(datetime.now(UTC), _moment(start), _moment(end), days)
    asked = FeatureRequest(None if file else name, file, _joined(symbols), timeframe, span, fee=fee, slippage=slippage)
    done = measured(asked)
    return {**done.document, "said": done.said}


def _moment(given: str | datetime | None) -> datetime | None:
    return parse_moment(given) if isinstance(given, str) else given


def _joined(names: Sequence[str] | None) -> str | None:
    return None if names is None else ",".join(names)
