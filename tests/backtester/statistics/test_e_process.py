"""E-processes against a plain loop, against exact expectations, and against what their source promises."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.statistics.e_process import (
    BLOCK,
    CONFIRMS,
    FALSE_SHARE,
    MEDIAN_DAYS,
    PRIOR_DAYS,
    confirmed,
    daily_returns,
    days_of,
    days_to_confirm,
    e_process,
    loss_bound,
    rank_weights,
)
from features.array_types import FloatArray

DAYS = st.lists(st.floats(-0.2, 0.2) | st.just(math.nan), min_size=1, max_size=40)


def plain(returns: list[float], deviation: float, loss: float) -> list[float]:
    """Return the capital after each day, day by day, as the formula says it."""
    mean = 3.0 / math.sqrt(365.0) * deviation
    seen: list[float] = []
    block: list[float] = []
    capital, dead, path = 1.0, False, []
    for day, value in enumerate(returns):
        if day % 5 == 0:
            m = (90.0 * mean + math.fsum(seen)) / (90.0 + len(seen))
            v = (90.0 * (deviation**2 + mean**2) + math.fsum(x * x for x in seen)) / (90.0 + len(seen))
            stake, block = min(max(m / v, 0.0), 1.0 / loss), []
        block.append(0.0 if math.isnan(value) else value)
        dead = dead or sum(block) < -loss
        if day % 5 == 4:
            capital *= max(1.0 + stake * sum(block), 0.0)
            seen += [x for x in returns[day - 4 : day + 1] if not math.isnan(x)]
        path.append(0.0 if dead else capital)
        capital = 0.0 if dead else capital
    return path


@given(DAYS, st.floats(0.001, 0.1), st.floats(0.05, 0.5))
def test_it_is_the_formula(returns: list[float], deviation: float, loss: float) -> None:
    found = e_process(np.array(returns), deviation, loss).capital
    np.testing.assert_allclose(found, plain(returns, deviation, loss), rtol=1e-12, atol=1e-300)


@given(st.lists(DAYS, min_size=2, max_size=4))
def test_many_records_are_each_alone(records: list[list[float]]) -> None:
    length = min(len(record) for record in records)
    together = e_process(np.array([record[:length] for record in records]), 0.02, 0.2)
    for row, record in enumerate(records):
        alone = e_process(np.array(record[:length]), 0.02, 0.2)
        for one, all_of in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, all_of[row])


@given(DAYS, st.integers(0, 39), st.floats(-1.0, 1.0))
def test_a_day_changes_nothing_before_it_nor_its_own_stake(returns: list[float], day: int, other: float) -> None:
    day %= len(returns)
    changed = [*returns[:day], other, *returns[day + 1 :]]
    was, became = (e_process(np.array(path), 0.02, 0.2) for path in (returns, changed))
    np.testing.assert_array_equal(was.capital[:day], became.capital[:day])
    np.testing.assert_array_equal(was.broken[:day], became.broken[:day])
    block_ends = (day // BLOCK + 1) * BLOCK
    np.testing.assert_array_equal(was.stake[:block_ends], became.stake[:block_ends])


@settings(max_examples=40)
@given(st.floats(0.01, 0.2), st.floats(0.05, 0.95), st.floats(0.005, 0.1))
def test_the_mean_capital_of_a_fair_bet_is_one_over_all_paths(gain: float, chance: float, deviation: float) -> None:
    lost = gain * chance / (1.0 - chance)  # the mean is zero
    paths = list(itertools.product((True, False), repeat=2 * BLOCK))
    returns = np.array([[gain if won else -lost for won in path] for path in paths])
    odds = np.array([math.prod(chance if won else 1.0 - chance for won in path) for path in paths])
    capital = e_process(returns, deviation, loss=5.0 * lost + 1e-12).capital
    np.testing.assert_allclose(odds @ capital, 1.0, rtol=1e-12)


def test_a_loss_beyond_the_bound_ends_the_record_for_good() -> None:
    returns = np.array([0.05] * 5 + [-0.06, -0.05] + [0.5] * 6)
    found = e_process(returns, 0.02, 0.1)
    assert found.capital[5] == found.capital[4] > 1.0
    assert found.capital[6:].tolist() == [0.0] * 7
    assert found.broken.tolist() == [False] * 6 + [True] * 7
    kept = e_process(returns, 0.02, 0.12)
    assert not kept.broken.any()
    assert kept.capital[-1] > 1.0


def test_without_hope_nothing_is_staked_but_a_broken_assumption_still_counts() -> None:
    returns = np.array([-0.03] * 60 + [-0.5])
    found = e_process(returns, 0.02, 0.2)
    assert found.stake[-1] == 0.0
    assert 0.0 < found.capital[-2] < 1.0
    assert found.capital[-1] == 0.0
    assert found.broken[-1]


def test_the_first_stake_is_that_of_the_prior() -> None:
    ratio = 3.0 / math.sqrt(365.0)
    assert e_process(np.array([0.0]), 0.02, 0.01).stake.item() == pytest.approx(ratio / (1.0 + ratio**2) / 0.02)
    assert e_process(np.array([0.0]), 0.02, 0.5).stake.item() == 2.0
    assert PRIOR_DAYS == 90.0


def test_the_guides_example() -> None:
    found = e_process(np.full(5 * 17, 0.004), 0.01, 0.1)
    assert found.capital[4::5][[0, 15, 16]].round(1).tolist() == [1.2, 18.5, 22.2]
    assert e_process(np.zeros(1), 0.01, 0.01).stake.item() == pytest.approx(15.3, abs=0.05)


@pytest.mark.parametrize(("deviation", "loss"), [(0.0, 0.1), (-1.0, 0.1), (math.nan, 0.1), (0.1, 0.0), (0.1, math.inf)])
def test_a_scale_that_is_none_is_refused(deviation: float, loss: float) -> None:
    with pytest.raises(ValueError, match=r"has to be a finite number above 0, not "):
        e_process(np.array([0.1]), deviation, loss)


@pytest.mark.parametrize(
    ("daily", "deviation", "move", "bound"),
    [([0.01, -0.01], 0.02, 0.1, 0.2), ([0.5, -0.2], 0.02, 0.1, 0.3), ([0.5], 0.02, 0.4, 0.4), ([], 0.01, 0.0, 0.1)],
)
def test_the_bound_is_the_largest_of_three(daily: list[float], deviation: float, move: float, bound: float) -> None:
    assert loss_bound(np.array(daily), deviation, move) == pytest.approx(bound)


def worthless(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return rng.standard_normal(shape)


def test_worthless_records_rarely_reach_twenty_and_good_ones_do() -> None:
    rng = np.random.default_rng(3)
    null = e_process(worthless(rng, (4_000, 730)), 1.0, 10.0).capital
    assert (null.max(axis=1) >= 20.0).mean() < 0.04  # 2.7 % over 80,000
    good = e_process(worthless(rng, (1_000, 730)) + 5.0 / math.sqrt(365.0), 1.0, 10.0).capital
    first = np.where((good >= 20.0).any(axis=1), (good >= 20.0).argmax(axis=1) + 1, 9_999)
    assert 120 < np.median(first) < 165  # 138 over 10,000


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12), st.data())
def test_confirmed_is_the_largest_set_that_meets_its_own_bar(capital: list[float], data: st.DataObject) -> None:
    weights = data.draw(st.permutations(rank_weights(len(capital))))
    labels = confirmed(capital, weights, ["one"] * len(capital))
    weighted = [one * weight for one, weight in zip(capital, weights, strict=True)]
    sizes = [
        size
        for size in range(len(capital) + 1)
        if sum(value >= len(capital) / (FALSE_SHARE * max(size, 1)) for value in weighted) >= size
    ]
    assert sum(labels) == max(sizes)
    chosen = [value for value, label in zip(weighted, labels, strict=True) if label]
    others = [value for value, label in zip(weighted, labels, strict=True) if not label]
    assert min(chosen, default=math.inf) >= max(others, default=0.0)


def test_families_are_judged_apart_and_weights_move_the_bar() -> None:
    assert confirmed([15.0, 15.0], [1.0, 1.0], ["2025", "2026"]) == [True, True]
    assert confirmed([15.0, 5.0], [1.0, 1.0], ["2025", "2025"]) == [False, False]
    assert confirmed([15.0, 5.0], [1.5, 0.5], ["2025", "2025"]) == [True, False]
    assert confirmed([], [], []) == []


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_weights_have_mean_one_and_fall(count: int) -> None:
    weights = rank_weights(count)
    assert np.mean(weights) == pytest.approx(1.0)
    assert weights == sorted(weights, reverse=True)
    assert min(weights) > 0.0


@pytest.mark.parametrize("ratio", MEDIAN_DAYS)
def test_the_days_that_are_left_are_about_those_that_the_median_record_takes(ratio: int) -> None:
    days = days_to_confirm(1.0, ratio / math.sqrt(365.0) * 0.02, 0.02, 0.2)
    assert days is not None
    assert days % BLOCK == 0
    assert days == pytest.approx(MEDIAN_DAYS[ratio], rel=0.2)


def test_days_like_the_mean_day_take_as_long_as_was_said() -> None:
    mean, deviation, loss = 0.001, 0.01, 0.1
    stake = min(mean / (deviation**2 + mean**2), 1.0 / loss)
    days = days_to_confirm(1.0, mean, deviation, loss)
    assert days is not None
    wins = (1.0 + stake * (mean + deviation)) * (1.0 + stake * (mean - deviation))
    assert math.log(wins) / 2.0 * days == pytest.approx(math.log(CONFIRMS), rel=0.1)


def test_what_is_there_needs_no_day_and_what_never_comes_has_none() -> None:
    assert days_to_confirm(20.0, -1.0, 0.01, 0.1) == 0
    assert days_to_confirm(0.0, 0.01, 0.01, 0.1) is None
    assert days_to_confirm(19.0, 0.0, 0.01, 0.1) is None
    near, far = days_to_confirm(10.0, 0.001, 0.01, 0.1), days_to_confirm(0.1, 0.001, 0.01, 0.1)
    assert near is not None and far is not None and near < far  # noqa: PT018 - one thought


def test_days_are_sums_of_whole_days_from_the_end() -> None:
    hours = np.arange(50.0)
    assert daily_returns(hours).tolist() == [sum(range(2, 26)), sum(range(26, 50))]
    found = days_of(np.where(np.arange(48) < 24, -1.0, 2.0) / 24)
    assert found is not None
    assert (found.worst, found.best) == pytest.approx((-1.0, 2.0))
    assert found.deviation == pytest.approx(1.5 / 24 * 24**0.5)
    assert days_of(np.ones(23)) is None
