"""What a child process finds out about untrusted text.

Belongs here: compiling, evaluating and checking one text, with every failure turned into a reason. Does not belong
here: limits (`strategies.sandbox_child`), the parent's side (`strategies.sandbox`).
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from features.bars import Timeframe
from features.market import Market
from strategies.base import StrategyError
from strategies.compiler import compile_strategy
from strategies.validation import signals_of, validate


def verdict(folder: Path) -> dict[str, Any]:
    """Compile, evaluate and check the text of an order; never raises for what the text does."""
    order = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    blank = {"accepted": False, "name": "", "version": "", "entries": {}}
    try:
        strategy = compile_strategy(order["text"])
        market = read_market(folder, order["timeframes"], order["predictions"])
        missing = [timeframe for timeframe in strategy.timeframes if timeframe not in market.candles]
        if missing:
            return {**blank, "reason": f"no candles of {', '.join(missing)} to evaluate it on"}
        found = validate(strategy, market, cuts=1, seed=order["seed"])
        signals = {timeframe: signals_of([strategy], market, timeframe)[0] for timeframe in strategy.timeframes}
    except StrategyError as error:
        return {**blank, "reason": str(error)}
    except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001  # whatever it is, it is a refusal
        return {**blank, "reason": f"{type(error).__name__}: {error}"}
    entries = {
        timeframe: int((frame["long_entry"] | frame["short_entry"]).sum()) for timeframe, frame in signals.items()
    }
    reason = "; ".join(f"{each.check} on {each.timeframe}: {each.detail}" for each in found)
    return {
        "accepted": not found,
        "reason": reason,
        "name": strategy.name,
        "version": strategy.version,
        "entries": entries,
    }


def read_market(folder: Path, timeframes: list[Timeframe], predictions: list[Timeframe]) -> Market:
    """Return the market that the parent wrote into `folder`."""
    candles = {timeframe: pl.read_ipc(folder / f"candles_{timeframe}.arrow") for timeframe in timeframes}
    said = {timeframe: pl.read_ipc(folder / f"predictions_{timeframe}.arrow") for timeframe in predictions}
    return Market(candles, pl.read_ipc(folder / "funding.arrow"), said)
