"""The score against its formula."""

import pytest

from backtester import score
from backtester.statistics.score import score_terms


def test_the_score_is_the_formula_verbatim() -> None:
    assert score(0.55, 0.12, 1.4, 0.08) == pytest.approx(40 * 0.55 + 30 * 0.12 + 20 * 1.4 - 10 * 0.08)
    assert score(None, 0.1, 1.0, 0.1) is None
    assert score(0.5, 0.1, None, 0.1) is None
    assert score_terms(0.55, 0.12, 1.4, 0.08) == pytest.approx((22.0, 3.6, 28.0, -0.8))
