"""What was planted in real bars is found within three nights; where nothing changes, nights are seldom false."""

import pytest
from scipy.stats import binomtest

from calibration.run_planted_drift import DAYS_AFTER, SURE, model_flagged, tracked

pytestmark = pytest.mark.long


def test_a_reversal_is_found_within_three_nights_in_nine_of_ten_markets() -> None:
    sure = [each for each in (tracked(seed, reverses=True) for seed in range(20)) if each.t >= SURE][:10]
    assert len(sure) == 10
    assert sum(bool(each.flagged) for each in sure) >= 9


def test_nights_are_seldom_false_where_nothing_changed() -> None:
    steady = [tracked(seed, reverses=False) for seed in range(20)]
    wrong = sum(bool(each.others[0]) or DAYS_AFTER[0] in each.flagged for each in steady)
    assert binomtest(wrong, len(steady), 0.10, alternative="greater").pvalue > 0.01


def test_a_model_whose_market_forgets_is_found_and_another_is_not() -> None:
    assert sum(bool(model_flagged(seed, forgets=True)) for seed in range(3)) >= 2
    assert not any(model_flagged(seed, forgets=False) for seed in range(3))
