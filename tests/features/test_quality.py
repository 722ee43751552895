"""Judging computed features: each rule fires on what breaks it and on nothing else."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import STANDARD_SET, compute
from features.market import example_market
from features.quality import merged, quality, violations


def seen(name: str, values: list[float | None]) -> dict[str, object]:
    return quality(pl.DataFrame({name: values}, schema={name: pl.Float64}), [name]).row(0, named=True)


def test_a_sound_feature_breaks_no_rule() -> None:
    row = seen("rsi_14", [None, 0.0, 50.0, 100.0])
    assert (row["nulls"], row["not_finite"], row["outside"]) == (0.25, 0, 0)
    assert (row["lowest"], row["highest"]) == (0.0, 100.0)


@pytest.mark.parametrize(("value", "column"), [(math.inf, "not_finite"), (math.nan, "not_finite"), (100.1, "outside")])
def test_each_rule_fires(value: float, column: str) -> None:
    assert seen("rsi_14", [50.0, value])[column] == 1


def test_rounding_at_a_bound_is_forgiven() -> None:
    assert seen("rsi_14", [-1e-12, 100.0 + 1e-8])["outside"] == 0


def test_too_many_nulls_are_a_violation() -> None:
    frame = quality(pl.DataFrame({"rsi_14": [None, None, 50.0]}, schema={"rsi_14": pl.Float64}), ["rsi_14"])
    assert violations(frame, most_nulls=0.5).height == 1
    assert violations(frame, most_nulls=0.7).is_empty()


def test_a_column_without_rows_is_sound() -> None:
    frame = quality(pl.DataFrame({"rsi_14": []}, schema={"rsi_14": pl.Float64}), ["rsi_14"])
    assert violations(frame, most_nulls=0.0).is_empty()


def test_the_standard_set_on_an_awkward_market_is_finite_and_in_range() -> None:
    market = example_market()
    frame = compute(market.candles["1m"], STANDARD_SET, market.funding, timeframe="1m", others=market.candles)
    broken = quality(frame, STANDARD_SET).filter((pl.col("not_finite") > 0) | (pl.col("outside") > 0))
    assert broken.is_empty(), broken


@given(
    parts=st.lists(
        st.lists(st.one_of(st.none(), st.floats(-50, 150), st.sampled_from([math.inf, math.nan])), max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_the_quality_of_parts_together_is_that_of_the_whole(parts: list[list[float | None]]) -> None:
    frames = [pl.DataFrame({"rsi_14": part}, schema={"rsi_14": pl.Float64}) for part in parts]
    whole = quality(pl.concat(frames), ["rsi_14"])
    found = merged([quality(frame, ["rsi_14"]) for frame in frames])
    assert found.schema == whole.schema
    assert found.drop("nulls").equals(whole.drop("nulls"))
    assert found["nulls"].item() == pytest.approx(whole["nulls"].item(), abs=1e-12)
