"""Cases that this kernel and vectorbt can both express, and vectorbt's answers to them.

vectorbt is no dependency: `vectorbt_answers.parquet` beside this file keeps what vectorbt 1.2.0 answered, so that every
test run compares with it. To ask it anew, put it on the path and run this file:
``pip install --target peers vectorbt==1.2.0; PYTHONPATH=.:peers python tests/backtester/vectorbt_cases.py``.

Its signals are shifted by a bar and filled at the open. It does not look at an entry bar's range, so those bars are
still here; it takes an exit at the stop's or the target's price, so opens follow the close before them; and it lets a
stop go before a signal at the same bar's open, so stops are tried with one side. It has no limit orders: whether one is
filled is worked out here, from the bar after its signal, and vectorbt is given the price.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from lane_cases import stamps
from reference import Bar

from backtester import Costs

ANSWERS = Path(__file__).with_name("vectorbt_answers.parquet")
MINUTE = 60_000_000
START = 1_748_736_000_000_000
COUNT = 3000
SEEDS = range(5)
FREE = Costs(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class VectorbtCase:
    """Bars, signals and costs; `levels` are stop and target, or the distance of limit entries."""

    name: str
    bars: list[Bar]
    bits: np.ndarray
    costs: Costs
    levels: dict[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Name of the input: answers are to this and nothing else."""
        prices = np.array([(bar.open, bar.high, bar.low, bar.close) for bar in self.bars])
        return hashlib.sha256(prices.tobytes() + self.bits.tobytes()).hexdigest()[:16]


def cases() -> Iterator[VectorbtCase]:
    """Yield signals alone, stops and targets of each side, and fees."""
    moving = np.zeros(COUNT, dtype=bool)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        bits = rng.choice([0, 1, 2, 4, 8], COUNT, p=[0.92, 0.02, 0.02, 0.02, 0.02]).astype(np.uint8)
        yield VectorbtCase(f"signals {seed}", _bars(rng, moving), bits, Costs(0.0, 0.0, 0.0002))
    for side, name in ((1, "long"), (2, "short")):
        for seed in SEEDS:
            rng = np.random.default_rng(100 + seed)
            bits = np.where(rng.random(COUNT) < 0.05, side, 0).astype(np.uint8)
            still = np.concatenate([[False], bits[:-1] != 0])
            levels = {"stop": 0.006, "target": 0.009}
            yield VectorbtCase(f"stop and target {name} {seed}", _bars(rng, still), bits, FREE, levels)
    for seed in SEEDS:
        rng = np.random.default_rng(200 + seed)
        bits = rng.choice([0, 1 | 8, 2 | 4, 4, 8], COUNT, p=[0.92, 0.03, 0.03, 0.01, 0.01]).astype(np.uint8)
        yield VectorbtCase(f"exit with the opposite entry {seed}", _bars(rng, moving), bits, Costs(0.0, 0.0, 0.0002))
    for side, leave, name in ((1, 4, "long"), (2, 8, "short")):
        for seed in SEEDS:
            rng = np.random.default_rng(300 + seed)
            bits = rng.choice([0, side, leave], COUNT, p=[0.9, 0.06, 0.04]).astype(np.uint8)
            costs = Costs(0.0006, 0.0, 0.0002)
            yield VectorbtCase(f"limit entry {name} {seed}", _bars(rng, moving), bits, costs, {"entry_limit": 0.001})
    rng = np.random.default_rng(9)
    bits = rng.choice([0, 1, 4], COUNT, p=[0.94, 0.03, 0.03]).astype(np.uint8)
    yield VectorbtCase("fees", _bars(rng, moving), bits, Costs(0.0006, 0.0, 0.0002))


def ask(case: VectorbtCase) -> pl.DataFrame:
    """Return vectorbt's trades: rows of entry and exit, prices, net return per notional, equity when all is done.

    A trade that is open at the end has no exit.
    """
    import pandas as pd  # noqa: PLC0415 - only where answers are asked for
    import vectorbt as vbt  # noqa: PLC0415

    index = stamps([bar.ts for bar in case.bars]).to_numpy()
    prices = {
        name: pd.Series([getattr(bar, name) for bar in case.bars], index) for name in ("open", "high", "low", "close")
    }

    def later(bit: int) -> Any:
        return pd.Series(np.concatenate([[False], (case.bits[:-1] & bit) != 0]), index)

    filled, price = limit_fills(case)
    book = vbt.Portfolio.from_signals(
        prices["close"],
        entries=later(1) & filled,
        short_entries=later(2) & filled,
        exits=later(4),
        short_exits=later(8),
        price=pd.Series(price, index),
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        fees=case.costs.taker_fee,
        slippage=pd.Series(np.where(price == prices["open"], case.costs.slippage, 0.0), index),
        init_cash=1.0,
        sl_stop=case.levels.get("stop", np.nan),
        tp_stop=case.levels.get("target", np.nan),
        stop_entry_price="fillprice",
        upon_opposite_entry="reverse",
        freq="1min",
    )
    records, shown = book.trades.records, book.trades.records_readable
    closed = (shown["Status"] == "Closed").to_numpy()
    return pl.DataFrame(
        {
            "case": [case.name] * len(records),
            "digest": [case.digest] * len(records),
            "entry_row": records["entry_idx"].to_numpy(),
            "exit_row": np.where(closed, records["exit_idx"].to_numpy(), -1),
            "entry_price": shown["Avg Entry Price"].to_numpy(),
            "exit_price": np.where(closed, shown["Avg Exit Price"].to_numpy(), np.nan),
            "net_return": np.where(closed, shown["Return"].to_numpy(), np.nan),
            "equity": [float(book.value().iloc[-1])] * len(records),
        }
    )


def limit_fills(case: VectorbtCase) -> tuple[np.ndarray, np.ndarray]:
    """Return at which bars an entry of the bar before may be filled, and the price of what is filled at each bar."""
    prices = np.array([(bar.open, bar.high, bar.low, bar.close) for bar in case.bars])
    opens, highs, lows, closes = prices.T
    filled, price = np.ones(COUNT, dtype=bool), opens.copy()
    distance = case.levels.get("entry_limit")
    if distance is not None:
        for row in range(1, COUNT):
            if case.bits[row - 1] & 1:
                limit = closes[row - 1] * (1 - distance)
                filled[row], price[row] = lows[row] < limit, limit
            elif case.bits[row - 1] & 2:
                limit = closes[row - 1] * (1 + distance)
                filled[row], price[row] = highs[row] > limit, limit
    return filled, price


def _bars(rng: np.random.Generator, still: np.ndarray) -> list[Bar]:
    bars, price = [], 100.0
    for k in range(COUNT):
        steps = np.zeros(4) if still[k] else rng.normal(0.0, 0.15, 4)
        path = price + np.cumsum(np.concatenate([[0.0], steps]))
        bars.append(Bar(START + k * MINUTE, *(float(x) for x in (path[0], path.max(), path.min(), path[-1]))))
        price = float(path[-1])
    return bars


if __name__ == "__main__":
    pl.concat(ask(case) for case in cases()).write_parquet(ANSWERS, compression="zstd")
