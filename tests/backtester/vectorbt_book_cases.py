"""Books that this kernel and vectorbt can both express, and the equity that vectorbt gave them.

vectorbt is no dependency: `vectorbt_book_answers.parquet` beside this file keeps what vectorbt 1.2.0 answered. To ask
it anew, put it on the path and run this file:
``pip install --target peers vectorbt==1.2.0; PYTHONPATH=.:peers python tests/backtester/vectorbt_book_cases.py``.

Its orders have a target percent, the previous close as the value price and the open as the fill price, with shared cash
and sells first. It knows no lots, band, margin, funding or ends, so neither do these books.
"""

import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from book_cases import universe

from backtester import BookRules, Costs, run_book
from features.array_types import FloatArray

ANSWERS = Path(__file__).with_name("vectorbt_book_answers.parquet")
BARS, SYMBOLS, EVERY = 400, 8, 6
CAPITAL = 10_000.0


@dataclass(frozen=True)
class BookCase:
    name: str
    seed: int
    lowest: float
    costs: Costs

    def market(self):  # type: ignore[no-untyped-def]  # noqa: ANN201  # of `book_cases`
        whole = {"gaps": 0.0, "silences": 0.0, "leaves": 1.0, "ends": 0.0, "lots": False, "payments": 0}
        return universe(self.seed, BARS, SYMBOLS, **whole).market

    def weights(self) -> FloatArray:
        rng = np.random.default_rng(self.seed)
        drawn = rng.uniform(self.lowest, 1.0, (BARS, SYMBOLS)) * (rng.random((BARS, SYMBOLS)) < 0.7)
        return drawn / np.maximum(np.abs(drawn).sum(axis=1, keepdims=True), 1e-9) * 0.9


CASES = [
    BookCase(f"{name} {seed}", seed, lowest, costs)
    for name, lowest, costs in (
        ("long only", 0.0, Costs(slippage=0.0)),
        ("long and short", -1.0, Costs(slippage=0.0)),
        ("long and short with slippage", -1.0, Costs(slippage=0.001)),
    )
    for seed in range(3)
]


def ours(case: BookCase) -> FloatArray:
    rules = BookRules(timedelta(hours=EVERY), neutral="none", given_weights=True)
    return run_book(case.market(), rules, case.weights(), costs=case.costs, capital=CAPITAL).equity


def ask(case: BookCase) -> FloatArray:
    """Return vectorbt's equity at each close."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd  # noqa: PLC0415
        import vectorbt  # noqa: PLC0415
    market = case.market()
    size = np.full((BARS, SYMBOLS), np.nan)
    rows = market.rebalance_rows(timedelta(hours=EVERY))
    size[rows + 1] = case.weights()[rows]
    before = np.concatenate([market.close[:1], market.close[:-1]])
    portfolio = vectorbt.Portfolio.from_orders(
        pd.DataFrame(market.close),
        size=pd.DataFrame(size),
        size_type="targetpercent",
        price=pd.DataFrame(market.open),
        val_price=pd.DataFrame(before),
        fees=case.costs.taker_fee,
        slippage=case.costs.slippage,
        init_cash=CAPITAL,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        freq="1h",
    )
    equity: FloatArray = portfolio.value().to_numpy()
    return equity


if __name__ == "__main__":
    frames = [pl.DataFrame({"case": case.name, "row": np.arange(BARS), "equity": ask(case)}) for case in CASES]
    pl.concat(frames).write_parquet(ANSWERS)
