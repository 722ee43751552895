"""The verdict of the child process on untrusted text.

Belongs here: compiling, evaluating and checking one text, with every failure turned into a reason. Does not belong
here: limits (`strategies.untrusted.sandbox_child`), the parent's side (`strategies.untrusted.sandbox`).
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from features.bars import Timeframe
from features.market import Market
from strategies.language.book import Book
from strategies.language.strategy import StrategyError
from strategies.untrusted.compiler import compile_any
from strategies.validation.books import scores_of, validate_book
from strategies.validation.checks import signals_of, validate


def read_order(folder: Path) -> tuple[dict[str, Any], Market]:
    """Return the parent's order and market; the text in the order is not read yet."""
    order: dict[str, Any] = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    return order, read_market(folder, order["timeframes"], order["predictions"])


def start_threads() -> None:
    """Let Polars start the threads of its pool, since none can be started later."""
    pl.DataFrame({"a": [2, 1, 1]}).lazy().group_by("a").len().sort("a").collect()


def verdict(order: dict[str, Any], market: Market) -> dict[str, Any]:
    """Compile, evaluate and check the text of an order; never raises for what the text does."""
    blank = {"accepted": False, "name": "", "version": "", "entries": {}}
    try:
        strategy = compile_any(order["text"])
        if isinstance(strategy, Book):
            return _verdict_on_book(strategy, market, order["seed"])
        missing = [timeframe for timeframe in strategy.timeframes if timeframe not in market.candles]
        if missing:
            return {**blank, "reason": f"no candles of {', '.join(missing)} to evaluate it on"}
        findings = validate(strategy, market, cuts=1, seed=order["seed"], traded=False)
        signals = {timeframe: signals_of([strategy], market, timeframe)[0] for timeframe in strategy.timeframes}
    except StrategyError as error:
        return {**blank, "reason": str(error)}
    except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001  # whatever it is, it is a refusal
        return {**blank, "reason": f"{type(error).__name__}: {error}"}
    entries = {
        timeframe: int((frame["long_entry"] | frame["short_entry"]).sum()) for timeframe, frame in signals.items()
    }
    reason = "; ".join(f"{finding.check} on {finding.timeframe}: {finding.detail}" for finding in findings)
    return {
        "accepted": not findings,
        "reason": reason,
        "name": strategy.name,
        "version": strategy.version,
        "entries": entries,
    }


def _verdict_on_book(book: Book, market: Market, seed: int) -> dict[str, Any]:
    """Evaluate and check a book; its entries are the bars on which any symbol has a score."""
    blank = {"accepted": False, "name": "", "version": "", "entries": {}}
    if book.timeframe not in market.candles:
        return {**blank, "reason": f"no candles of {book.timeframe} to evaluate it on"}
    findings = validate_book(book, market, cuts=1, seed=seed)
    scored = scores_of(book, market).drop_nulls("score")["ts"].n_unique()
    return {
        "accepted": not findings,
        "reason": "; ".join(f"{finding.check} on {finding.timeframe}: {finding.detail}" for finding in findings),
        "name": book.name,
        "version": book.version,
        "entries": {book.timeframe: scored},
    }


def read_market(folder: Path, timeframes: list[Timeframe], predictions: list[Timeframe]) -> Market:
    """Return the market that the parent wrote into `folder`.

    Parameters
    ----------
    folder : Path
        Folder of Arrow files.
    timeframes, predictions : list of Timeframe
        Timeframes for which there are candles, and predictions.

    Returns
    -------
    Market
        Candles, funding, predictions and positioning data.
    """
    candles = {timeframe: pl.read_ipc(folder / f"candles_{timeframe}.arrow") for timeframe in timeframes}
    by_timeframe = {timeframe: pl.read_ipc(folder / f"predictions_{timeframe}.arrow") for timeframe in predictions}
    funding, held = (pl.read_ipc(folder / f"{name}.arrow") for name in ("funding", "positioning"))
    return Market(candles, funding, by_timeframe, positioning=held)
