"""The planted cross-sectional edges, measured by books in plain loops on a few markets; `run_universe` takes more."""

import math

import numpy as np
import pytest

from blofin_resources.market.sample import Variant
from calibration.run_universe import ratios
from calibration.universe import BOOKS, COST, Panel, run, weights
from features.array_types import FloatArray

MARKETS = (101, 102, 103, 104)


def test_weights_are_neutral_and_of_gross_one() -> None:
    scores = np.array([3.0, np.nan, 1.0, 2.0, -1.0, 0.5, 7.0])
    sigma = np.array([0.01, 0.01, 0.02, 0.01, 0.03, 0.01, np.nan])
    found = weights(scores, sigma)
    assert found.sum() == pytest.approx(0.0, abs=1e-15)
    assert np.abs(found).sum() == pytest.approx(1.0)
    assert found[[1, 6]].tolist() == [0.0, 0.0]
    # ranks of -1, 0.5, 1, 2, 3 less their centre, over sigma
    assert found[[4, 5]] == pytest.approx([-0.5 * (2 / 0.03) / (2 / 0.03 + 1 / 0.01), -0.5 * 100 / (2 / 0.03 + 100)])
    assert not weights(scores[:5], sigma[:5]).any()


def test_a_book_in_numbers_that_can_be_followed_by_hand() -> None:
    hours, count = 800, 6
    opens = np.full((hours, count), 100.0)
    closes = opens.copy()
    # prices move only where the ratio needs them, so sigma is known
    closes[1::2] = 101.0
    opens[2::2] = 101.0
    opens[760:, 0] = closes[760:, 0] = 110.0
    rates = np.zeros((hours, count))
    rates[768, 5] = 0.001
    closes[780:, 3] = opens[780:, 3] = np.nan
    start_of_year = np.datetime64("2021-01-01T00:00").astype("datetime64[s]").item()
    market = Panel(start_of_year, opens, closes, rates)
    found = run(market, lambda _: np.tile(np.arange(count, 0.0, -1.0), (hours, 1)), 24)
    # before 30 days nothing is held: the first decision is at the close of hour 743, filled at the open of 744
    assert not found.before[:744].any()
    assert not found.costs[:744].any()
    assert found.costs[744] == pytest.approx(COST, rel=0.02)
    # at hour 760 the first symbol, the highest score and so the largest long, rises
    first = 0.5 * 2.5 / 4.5
    jump = first / closes[743, 0] * (110.0 - closes[759, 0])
    others = found.before[760] - jump
    assert abs(others) < 0.01 * abs(jump) + 0.003
    # at hour 768 the last symbol, the largest short, receives
    assert found.before[768] == pytest.approx(found.before[770] + first * 0.001, abs=1e-4)
    # the fourth symbol ends: its short is closed at its last price, at a cost
    assert found.costs[780] == pytest.approx(COST * 0.5 * 0.5 / 4.5, rel=0.05)
    assert not found.costs[781:791].any()


@pytest.mark.long
@pytest.mark.parametrize("variant", ["null", "edge"])
def test_books_pay_what_the_documentation_says(variant: Variant) -> None:
    found: FloatArray = np.mean([ratios(seed, variant, 18) for seed in MARKETS], axis=0)
    error = 0.9 / math.sqrt(len(MARKETS))
    by_book = dict(zip(BOOKS, found.tolist(), strict=True))
    if variant == "null":
        assert all(abs(gross) < 3 * error for gross, _ in by_book.values())
        return
    for book in ("momentum", "carry"):
        assert by_book[book][1] == pytest.approx(3.0, abs=3 * error)
    assert by_book["decoy"][0] > 1.0
    assert by_book["decoy"][1] < -1.0
