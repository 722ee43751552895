"""Drift: the arithmetic against oracles, the decisions at their edges, and a small calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control, ttest_ind

from backtester.statistics.drift import BLOCK, LEAST_EFFECT, DriftTest, MeanDifference, _bounds, _ratio, compare, decide
from calibration.run_drift import detected, false_alarms

HOURS = 7 * BLOCK


def series(seed: int, mean: float = 0.0, hours: int = HOURS) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, hours)


def made(p: float, difference: float = 1.0, expected: float = 1.0) -> MeanDifference:
    return MeanDifference(expected, 0.1, expected - difference, difference, 0.2, 0.0, 2.0, p, 12.0)


def test_the_p_value_is_never_below_welchs_on_the_blocks() -> None:
    for seed in range(20):
        expected, forward = series(seed, 0.1), series(seed + 100)
        result = compare(expected, forward, seed=seed, draws=999)
        assert result is not None
        blocks = [side.reshape(-1, BLOCK).mean(axis=1) for side in (expected, forward)]
        welch = ttest_ind(*blocks, equal_var=False, alternative="greater")
        assert result.p >= welch.pvalue - 1e-12
        assert result.difference / result.se == pytest.approx(welch.statistic)
        assert result.p == pytest.approx(max(result.p, welch.pvalue), abs=0.05)


def test_the_bootstrap_agrees_with_one_written_plainly() -> None:
    expected, forward = series(3, 0.3), series(4, 0.0)
    fast = compare(expected, forward, seed=5, draws=1_999)
    rng = np.random.default_rng(11)

    def drawn(side: np.ndarray) -> tuple[float, float]:
        starts = rng.integers(0, len(side), len(side) // BLOCK)
        means = [np.mean([side[(start + hour) % len(side)] for hour in range(BLOCK)]) for start in starts]
        return float(np.mean(means) - side.mean()), float(np.var(means, ddof=1) / len(means))

    assert fast is not None
    count = 0
    for _ in range(1_000):
        (left, left_var), (right, right_var) = drawn(expected), drawn(forward)
        count += (left - right) / np.sqrt(left_var + right_var) >= fast.difference / fast.se
    welch = ttest_ind(
        *(side.reshape(-1, BLOCK).mean(axis=1) for side in (expected, forward)), equal_var=False, alternative="greater"
    )
    assert fast.p == pytest.approx(max(count / 1_000, welch.pvalue), abs=0.015)


def test_the_same_seed_gives_the_same_and_the_interval_holds_the_difference() -> None:
    first, second = (compare(series(1, 0.5), series(2), seed=9) for _ in range(2))
    assert first == second
    assert first is not None
    assert first.low < first.difference < first.high
    assert first.minimum_detectable(20) > first.minimum_detectable(1) > 0


@pytest.mark.parametrize("lacking", [series(1, hours=47), np.zeros(HOURS)])
def test_a_series_that_says_nothing_gives_no_comparison(lacking: np.ndarray) -> None:
    assert compare(lacking, series(2), seed=1) is None


def test_too_little_is_insufficient_whatever_it_says() -> None:
    sure = made(1e-6)
    tests = [
        DriftTest(sure, 7.0, 99),
        DriftTest(sure, 8.0, 19),
        DriftTest(None, 30.0, 99),
        DriftTest(sure, 7.5, 20),
        DriftTest(sure, 9.0, None),
    ]
    assert [each.decision for each in decide(tests)] == ["insufficient"] * 3 + ["drift"] * 2
    assert decide(tests)[0].q is None
    assert decide(tests)[3].q == pytest.approx(1e-6)


def test_a_sure_difference_that_is_small_against_the_expected_value_is_steady() -> None:
    small = made(1e-6, difference=0.9 * LEAST_EFFECT * 10.0, expected=10.0)
    assert decide([DriftTest(small, 9.0, 50)])[0].decision == "steady"


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=40))
def test_q_is_that_of_benjamini_and_hochberg_over_what_could_be_tested(values: list[float]) -> None:
    tests = [DriftTest(made(p), 9.0, 50) for p in values]
    found_q = [each.q for each in decide([*tests, DriftTest(made(1e-9), 1.0, 50)])][:-1]
    assert found_q == pytest.approx(list(false_discovery_control(values)))
    order = sorted(values)
    plain = [min(p * len(order) / rank for rank, p in enumerate(order, 1) if p >= own) for own in values]
    assert found_q == pytest.approx([min(1.0, each) for each in plain])


def test_nights_are_seldom_false_and_a_reversed_edge_is_found() -> None:
    wrong = false_alarms(60, 10)
    assert binomtest(wrong, 60, 0.10, alternative="greater").pvalue > 0.01
    assert detected(10, count=10) >= 9


def test_a_draw_that_is_nowhere_away_warns_of_nothing() -> None:
    """Warnings are errors here, and one would end a night: a strategy that stands still often draws its own mean."""
    away, spread = np.array([0.0, 2.0, -2.0, 0.0, 3.0]), np.array([1.0, 0.0, 0.0, 0.0, 2.0])
    assert _ratio(away, spread).tolist() == [0.0, np.inf, -np.inf, 0.0, 1.5]


def test_a_strategy_that_mostly_stands_still_is_compared_all_the_same() -> None:
    """A tenth of the draws finds nothing but zeros, whose spread is zero: their ratios are infinite, and sort."""
    expected = np.zeros(HOURS)
    expected[10:34] = np.linspace(0.1, 1.0, 24)
    found = compare(expected, np.zeros(HOURS), seed=1)
    assert found is not None
    assert 0.0 < found.p < 1.0
    assert found.low <= found.difference <= found.high
    assert np.isinf([found.low, found.high]).any()


def test_the_interval_lies_at_the_quantiles() -> None:
    drawn = np.random.default_rng(3).normal(size=9_999)
    assert _bounds(drawn) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])), abs=0.01)
