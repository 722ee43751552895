"""Cross-sectional words against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.array_types import BoolArray, FloatArray
from strategies import across
from strategies.language.across import CrossSection, cross_section
from strategies.language.columns import Program, Truth
from strategies.language.values import LanguageError, feature_value, previous


def plainly(step: str, row: list[float], member: list[bool]) -> list[float]:
    known = [x for x, inside in zip(row, member, strict=True) if inside and not math.isnan(x)]
    if len(known) < 5:
        return [math.nan] * len(row)
    mean = math.fsum(known) / len(known)
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in known) / (len(known) - 1))
    result = []
    for x, inside in zip(row, member, strict=True):
        if not inside or (math.isnan(x) and step != "across share"):
            result.append(math.nan)
        elif step == "across rank":
            below, same = sum(y < x for y in known), sum(y == x for y in known)
            result.append((below + (same - 1) / 2) / (len(known) - 1))
        elif step == "across demean":
            result.append(x - mean)
        elif step == "across zscore":
            result.append((x - mean) / spread if len(set(known)) > 1 else math.nan)
        else:
            result.append(mean)
    return result


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 12),
    step=st.sampled_from(["across rank", "across demean", "across zscore", "across share"]),
)
def test_each_word_is_that_of_a_plain_loop(seed: int, symbols: int, step: str) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(0, 2, (6, symbols)), int(rng.integers(0, 4)))
    if step == "across share":
        values = (values > 0).astype(float)
    values[rng.random(values.shape) < 0.15] = np.nan
    member = rng.random(values.shape) < 0.85
    expected = [plainly(step, list(row), list(inside)) for row, inside in zip(values, member, strict=True)]
    np.testing.assert_allclose(cross_section(step, values, member), expected, rtol=1e-12, atol=1e-12)


def test_equal_values_of_any_size_have_no_spread() -> None:
    values = np.full((1, 7), 0.1 + 1e9)
    member = np.ones((1, 7), dtype=bool)
    assert np.isnan(cross_section("across zscore", values, member)).all()
    assert (cross_section("across rank", values, member) == 0.5).all()
    assert (cross_section("across demean", values, member) == 0.0).all()


def run(values: FloatArray, member: BoolArray) -> list[Truth | FloatArray]:
    x = feature_value("x", "number")
    program = Program([across.rank(previous(x)), across.share_above(x, 0.0)])
    rows = [np.flatnonzero(~np.isnan(values[:, symbol])) for symbol in range(values.shape[1])]
    columns = [{"x": values[own, symbol]} for symbol, own in enumerate(rows)]
    found = program.run_together(columns, [len(own) for own in rows], CrossSection(rows, member))
    return [column for own in found for column in own]


def test_words_over_time_count_sound_bars_and_words_across_meet_at_the_same_time() -> None:
    values = np.arange(12.0).reshape(2, 6)
    values[1] = [10, 9, 8, 7, 6, np.nan]
    found = run(values, np.ones(values.shape, dtype=bool))
    ranks, shares = found[0::2], found[1::2]
    assert [float(rank[-1]) for rank in ranks[:5]] == [0.0, 0.25, 0.5, 0.75, 1.0]  # type: ignore[arg-type]
    assert len(ranks[5]) == 1
    assert [round(float(share[0]), 3) for share in shares] == [round(5 / 6, 3)] * 6  # type: ignore[arg-type]


def test_one_symbol_alone_has_no_cross_section() -> None:
    x = feature_value("x", "number")
    (found,) = Program([across.rank(x)]).run({"x": np.arange(4.0)}, 4)
    assert np.isnan(found).all()


def test_truth_values_have_no_rank() -> None:
    with pytest.raises(LanguageError, match=r"across\.rank needs numbers"):
        across.rank(feature_value("x", "number") > 1)
