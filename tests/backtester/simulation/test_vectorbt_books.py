"""vectorbt's `from_orders` with shared cash on what both can express: given weights, fees, slippage, both sides."""

import importlib.util

import numpy as np
import polars as pl
import pytest
from vectorbt_book_cases import ANSWERS, BARS, CASES, BookCase, ask, ours


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equity_is_that_which_vectorbt_gave(case: BookCase) -> None:
    answer = pl.read_parquet(ANSWERS).filter(pl.col("case") == case.name)["equity"].to_numpy()
    assert len(answer) == BARS
    assert len(np.unique(answer)) > BARS / 2
    np.testing.assert_allclose(ours(case), answer, rtol=1e-11)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vectorbt") is None, reason="vectorbt is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vectorbt_still_gives_it(case: BookCase) -> None:
    np.testing.assert_allclose(ours(case), ask(case), rtol=1e-11)
