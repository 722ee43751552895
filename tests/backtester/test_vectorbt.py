"""vectorbt on what both can express: fills at the next open, fees, slippage, stops and targets without ambiguity.

Skips where vectorbt is not installed. Its signals are shifted by a bar and filled at the open. It does not look at an
entry bar's range, so those bars are still here; it takes an exit at the stop's or the target's price, so opens follow
the close before them; and it lets a stop go before a signal at the same bar's open, so stops are tried with one side.
"""

import warnings
from typing import Any

import numpy as np
import pytest
from lane_cases import frame_of, stamps
from reference import Bar

from backtester import Bars, Costs, Lane, Signals, run_lanes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    vbt = pytest.importorskip("vectorbt")
    pd = pytest.importorskip("pandas")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

MINUTE = 60_000_000
START = 1_748_736_000_000_000
COUNT = 3000


def random_bars(rng: np.random.Generator, still: np.ndarray) -> list[Bar]:
    bars, price = [], 100.0
    for k in range(COUNT):
        steps = np.zeros(4) if still[k] else rng.normal(0.0, 0.15, 4)
        path = price + np.cumsum(np.concatenate([[0.0], steps]))
        bars.append(Bar(START + k * MINUTE, *(float(x) for x in (path[0], path.max(), path.min(), path[-1]))))
        price = float(path[-1])
    return bars


def ours(bars: list[Bar], bits: np.ndarray, costs: Costs, **levels: float) -> Any:
    made = Bars.from_frame(frame_of(bars), "1m")
    return run_lanes([Lane(made, Signals.from_arrays(bits, made, **levels), costs)], trades=True, equity=True)[0]


def theirs(bars: list[Bar], bits: np.ndarray, costs: Costs, **levels: float) -> Any:
    index = stamps([b.ts for b in bars]).to_numpy()
    column = {name: pd.Series([getattr(b, name) for b in bars], index) for name in ("open", "high", "low", "close")}

    def later(bit: int) -> Any:
        return pd.Series(np.concatenate([[False], (bits[:-1] & bit) != 0]), index)

    return vbt.Portfolio.from_signals(
        column["close"],
        entries=later(1),
        short_entries=later(2),
        exits=later(4),
        short_exits=later(8),
        price=column["open"],
        open=column["open"],
        high=column["high"],
        low=column["low"],
        fees=costs.taker_fee,
        slippage=costs.slippage,
        init_cash=1.0,
        sl_stop=levels.get("stop", np.nan),
        tp_stop=levels.get("target", np.nan),
        stop_entry_price="fillprice",
        upon_opposite_entry="reverse",
        freq="1min",
    )


def assert_same(mine: Any, other: Any) -> None:
    records = other.trades.records_readable
    rows = mine.trade_rows
    assert len(rows) == len(records) > 20
    assert rows[:, 0].astype(int).tolist() == list(other.trades.records["entry_idx"])
    closed = len(rows) - mine.open_at_end
    assert rows[:closed, 1].astype(int).tolist() == list(other.trades.records["exit_idx"][:closed])
    assert rows[:, 3] == pytest.approx(records["Avg Entry Price"].to_numpy(), rel=1e-12)
    assert rows[:closed, 4] == pytest.approx(records["Avg Exit Price"].to_numpy()[:closed], rel=1e-12)
    net = rows[:, 6] - rows[:, 7]
    notional = rows[:, 3] * rows[:, 5]
    assert (net / notional)[:closed] == pytest.approx(records["Return"].to_numpy()[:closed], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_signals_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.choice([0, 1, 2, 4, 8], COUNT, p=[0.92, 0.02, 0.02, 0.02, 0.02]).astype(np.uint8)
    bars = random_bars(rng, np.zeros(COUNT, dtype=bool))
    costs = Costs(0.0, 0.0, 0.0002)
    mine, other = ours(bars, bits, costs), theirs(bars, bits, costs)
    assert_same(mine, other)
    assert mine.equity == pytest.approx(other.value().to_numpy(), rel=1e-9)


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_stop_and_target(side: int, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    bits = np.where(rng.random(COUNT) < 0.05, side, 0).astype(np.uint8)
    still = np.concatenate([[False], bits[:-1] != 0])
    bars = random_bars(rng, still)
    levels = {"stop": 0.006, "target": 0.009}
    mine, other = ours(bars, bits, Costs(0.0, 0.0, 0.0), **levels), theirs(bars, bits, Costs(0.0, 0.0, 0.0), **levels)
    assert mine.ambiguous == 0
    assert_same(mine, other)


def test_fees_are_taken_on_both_sides() -> None:
    # vectorbt takes the entry fee out of the size, this kernel out of the cash beside it: the same return per notional.
    rng = np.random.default_rng(9)
    bits = rng.choice([0, 1, 4], COUNT, p=[0.94, 0.03, 0.03]).astype(np.uint8)
    bars = random_bars(rng, np.zeros(COUNT, dtype=bool))
    costs = Costs(0.0006, 0.0, 0.0002)
    assert_same(ours(bars, bits, costs), theirs(bars, bits, costs))
