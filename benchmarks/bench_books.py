"""How fast a book is: 50 symbols, three years of hourly bars, a rebalance a day.

Run ``make bench`` or ``python benchmarks/bench_books.py``. Processor time of this thread, the best of some runs, since
other work on the machine only ever adds time; beside it stands a bare loop over the same arrays in the same run: every
symbol's open and close in every bar, times its quantity. Scores come from features that are computed already.

vectorbt is no dependency; to compare with it, put it elsewhere on the path: ``pip install --target peers
vectorbt==1.2.0`` and ``PYTHONPATH=peers python benchmarks/bench_books.py``. It is given the weights that the book
decided, as targets of `from_orders` with shared cash, and is asked for the same statistics, as far as it has them.
"""

import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numba
import numpy as np
import polars as pl
from records import record

from backtester import BookEvaluation, PreparedMarket
from features.array_types import FloatArray
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS
from strategies import load_books

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        import vectorbt as vbt
except ImportError:
    vbt = pd = None

SYMBOLS, HOURS = 50, 3 * 365 * 24
START = datetime(2022, 1, 1, tzinfo=UTC)
NAMES = ("cross_sectional_momentum", "volatility_scaled_momentum", "short_term_reversal", "low_volatility")
RUNS = 15


def frames(symbols: int = SYMBOLS, hours: int = HOURS) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return candles and funding of a universe of random walks with a common part."""
    rng = np.random.default_rng(1)
    times = pl.Series("ts", pl.datetime_range(START, START + timedelta(hours=hours - 1), "1h", eager=True)).cast(TS)
    common = rng.normal(0, 0.004, hours)
    candles, payments = [], []
    for place in range(symbols):
        close = rng.uniform(0.1, 500) * np.exp(np.cumsum(common + rng.normal(0, 0.006, hours)))
        opens = np.concatenate([close[:1], close[:-1]])
        bars = {
            "symbol": f"S{place:02}-USDT", "ts": times, "open": opens, "high": np.maximum(opens, close) * 1.002,
            "low": np.minimum(opens, close) * 0.998, "close": close, "volume": rng.lognormal(9, 1, hours),
            "quote_volume": 1e4 * close, "contracts": None, "minutes": 60, "origin": "bench", "flag": None,
        }  # fmt: skip
        candles.append(pl.DataFrame(bars, schema=CANDLE_SCHEMA))
        rates = rng.normal(1e-4, 1e-4, len(times[::8]))
        payments.append(pl.DataFrame({"symbol": f"S{place:02}-USDT", "ts": times[::8], "rate": rates}, FUNDING_SCHEMA))
    return pl.concat(candles), pl.concat(payments)


@numba.njit(nogil=True)
def bare(opens: FloatArray, closes: FloatArray, quantities: FloatArray) -> float:
    total = 0.0
    for row in range(len(opens)):
        equity = 0.0
        for column in range(opens.shape[1]):
            equity += quantities[column] * opens[row, column]
        for column in range(opens.shape[1]):
            equity += quantities[column] * closes[row, column]
        total += max(equity, 0.0)
    return total


def best(run: Callable[[], object], runs: int = RUNS) -> float:
    run()
    taken = []
    for _ in range(runs):
        before = time.thread_time()
        run()
        taken.append(time.thread_time() - before)
    return 1e3 * min(taken)


def in_vectorbt(evaluation: BookEvaluation) -> Callable[[], object]:
    """Return what runs the book's weights in vectorbt and asks for the same statistics."""
    market, costs, (tranche,) = evaluation.result.market, evaluation.result.costs, evaluation.result.tranches
    index = pd.date_range(START, periods=HOURS, freq="1h")
    size = np.full(market.close.shape, np.nan)
    size[tranche.decisions[:, 0].astype(np.int64) + 1] = tranche.weights
    before = np.concatenate([market.close[:1], market.close[:-1]])
    close, sizes, opens, value = (
        pd.DataFrame(array, index=index) for array in (market.close, size, market.open, before)
    )

    def run() -> object:
        portfolio = vbt.Portfolio.from_orders(
            close, size=sizes, size_type="targetpercent", price=opens, val_price=value, fees=costs.taker_fee,
            slippage=costs.slippage, init_cash=10_000.0, cash_sharing=True, group_by=True, call_seq="auto", freq="1h",
        )  # fmt: skip
        trades, returns, orders = portfolio.trades, portfolio.returns(), portfolio.orders
        return (
            (portfolio.total_return(), portfolio.max_drawdown(), portfolio.sharpe_ratio(), portfolio.sortino_ratio()),
            (trades.count(), trades.win_rate(), trades.pnl.sum(), trades.returns.mean()),
            (returns.skew(), returns.kurt(), portfolio.gross_exposure().mean(), portfolio.net_exposure().mean()),
            (orders.fees.sum(), (orders.size * orders.price).sum()),
        )

    return run


def main() -> None:
    candles, funding = frames()
    prepared = PreparedMarket.of("60m", candles, funding)
    market = prepared.market
    quantities = np.ones(SYMBOLS)
    loop = best(lambda: bare(market.open, market.close, quantities))
    print(f"a bare loop over {SYMBOLS} symbols and {HOURS} bars: {loop:.1f} ms")
    for book in load_books():
        if book.name in NAMES:
            simulated = best(lambda book=book: prepared.backtest(book))
            whole = best(lambda book=book: prepared.backtest(book).metrics())
            evaluation = prepared.backtest(book)
            fills = evaluation.result.fills.height
            print(
                f"{book.name}: {simulated:.1f} ms to simulate ({fills} fills), {whole:.1f} ms with all metrics, "
                f"{whole / loop:.1f} bare loops"
            )
            record(f"{book.name}, {SYMBOLS} symbols, three years", whole, "ms", peer="a bare loop", ratio=loop / whole)
            if vbt is not None:
                other = best(in_vectorbt(evaluation), 3)
                print(f"  vectorbt and the same statistics: {other:.0f} ms, {other / whole:.0f} times as long")
                record(f"{book.name}, the same statistics", whole, "ms", peer="vectorbt", ratio=other / whole)
    if vbt is None:
        print("vectorbt is not on the path: no comparison")


if __name__ == "__main__":
    main()
