"""vectorbt on what both can express: fills at the next open, fees, slippage, stops and targets without ambiguity.

Every run compares with vectorbt's stored answers; where vectorbt is installed, the slow run asks it again.
"""

import importlib.util
import warnings
from functools import cache

import numpy as np
import polars as pl
import pytest
from lane_cases import frame_of
from vectorbt_cases import ANSWERS, VectorbtCase, ask, cases

from backtester import Bars, Lane, LaneResult, Signals, run_lanes

CASES = list(cases())


@cache
def stored() -> pl.DataFrame:
    return pl.read_parquet(ANSWERS)


def ours(case: VectorbtCase) -> LaneResult:
    bars = Bars.from_frame(frame_of(case.bars), "1m")
    signals = Signals.from_arrays(case.bits, bars, **case.levels)
    return run_lanes([Lane(bars, signals, case.costs)], trades=True, equity=True)[0]


def assert_same(case: VectorbtCase, answer: pl.DataFrame) -> None:
    mine = ours(case)
    rows = mine.trade_rows
    assert mine.ambiguous == 0 or not case.levels
    assert rows is not None
    assert len(rows) == len(answer) > 20
    assert rows[:, 0].astype(int).tolist() == answer["entry_row"].to_list()
    closed = len(rows) - mine.open_at_end
    assert rows[:closed, 1].astype(int).tolist() == answer["exit_row"][:closed].to_list()
    assert answer["exit_row"][closed:].to_list() == [-1] * mine.open_at_end
    assert rows[:, 3] == pytest.approx(answer["entry_price"].to_numpy(), rel=1e-12)
    assert rows[:closed, 4] == pytest.approx(answer["exit_price"].to_numpy()[:closed], rel=1e-12)
    net = (rows[:, 6] - rows[:, 7]) / (rows[:, 3] * rows[:, 5])
    assert net[:closed] == pytest.approx(answer["net_return"].to_numpy()[:closed], rel=1e-9, abs=1e-12)
    assert mine.equity is not None
    assert mine.equity[-1] == pytest.approx(answer["equity"][0], rel=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_trades_and_returns_are_those_that_vectorbt_gave(case: VectorbtCase) -> None:
    answer = stored().filter(pl.col("case") == case.name)
    assert set(answer["digest"]) == {case.digest}, "the case is another than the one asked about; ask anew"
    assert_same(case, answer)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vectorbt") is None, reason="vectorbt is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vectorbt_still_gives_them(case: VectorbtCase) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = ask(case)
    assert_same(case, answer)
    kept = stored().filter(pl.col("case") == case.name)
    for column in ("entry_row", "exit_row", "entry_price", "exit_price", "net_return"):
        assert np.allclose(kept[column], answer[column], rtol=1e-12, atol=0.0, equal_nan=True), column
