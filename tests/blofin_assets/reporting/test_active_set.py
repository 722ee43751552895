"""The ways in which the capital of the active set could be divided."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtester.evaluation.portfolio import combine_equity
from blofin_assets.reporting.sections.active_set import _divided

START = datetime(2025, 6, 1, tzinfo=UTC)


def test_capital_is_divided_by_what_moved_less() -> None:
    hours = pl.datetime_range(START + timedelta(hours=1), START + timedelta(days=7), "1h", eager=True)
    moves = np.random.default_rng(1).normal(0, [[0.001], [0.004], [0.0]], (3, len(hours)))
    curves = 1 + moves.cumsum(axis=1)
    held = combine_equity(
        pl.concat(
            pl.DataFrame({"ts": hours, "equity": curve}).select(
                pl.lit(name).alias("name"), "ts", "equity", pl.lit(value=True).alias("with_bars")
            )
            for name, curve in zip("abc", curves, strict=True)
        ),
        START,
    )
    one, other, still = _divided(held)
    deviation = np.array([np.std(held.returns[0]), np.std(held.returns[1])])
    assert (one.name, other.name, still.name) == ("a", "b", "c")
    assert one.by_inverse_volatility == pytest.approx(deviation[1] / deviation.sum())
    assert one.by_risk_parity == pytest.approx(deviation[1] ** 2 / (deviation**2).sum()), "of two: by variance"
    assert other.by_risk_parity == pytest.approx(1 - one.by_risk_parity)
    assert still.by_inverse_volatility is still.by_risk_parity is None
