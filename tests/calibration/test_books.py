"""The calibration of the search for books, on one small market; `calibration.run_books` takes more."""

from datetime import timedelta

import numpy as np
import pytest

from backtester.statistics.windows import Window
from calibration import books
from calibration.books import FORWARD, ORACLES, START, Forward, market_of, oracle, run_holdout
from calibration.universe import BOOKS, Panel, run
from strategies.registry import load_books
from strategies.search.books import InSample
from strategies.validation.duplicates import daily_weights


def test_a_forward_result_is_good_where_it_earns_and_holds_like_the_oracle() -> None:
    assert Forward("momentum", 5.0, 10.0, 0.5).good is False, "more than half"
    assert Forward("momentum", 5.1, 10.0, 0.5).good
    assert not Forward("momentum", 5.1, 10.0, 0.49).good
    assert Forward("carry", 0.1, -4.0, 0.9).good
    assert not Forward("carry", 0.0, -4.0, 0.9).good


@pytest.mark.slow
def test_an_oracle_of_the_platform_is_that_of_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "FORWARD", timedelta(days=60))
    until = START + timedelta(days=120)
    prepared = market_of("edge", 7, until)
    after = InSample(prepared, Window(START + timedelta(days=50), until))
    assert 0 < prepared.market.member.sum(axis=1).max() <= books.MEMBERS
    market = after.market
    bars = Panel(market.time_of(0), market.open, market.close, market.funding)
    for name, score in ORACLES.items():
        result = oracle(after, name)
        held = daily_weights(result)
        assert np.abs(held[2:].sum(axis=1)).max() < 1e-9
        assert np.abs(held[2:]).sum(axis=1) == pytest.approx(1.0)
        plain = run(bars, score, BOOKS[name][1])
        hourly = (plain.before - plain.costs)[after.begin :]
        # every listed symbol and a decision an hour earlier there, the members here: near each other, not equal
        assert np.corrcoef(hourly, result.returns)[0, 1] > 0.7
    evidence = run_holdout(prepared, after.window, load_books()[:2], earlier=5)
    assert {one.trials for one in evidence.values()} == {7}
    assert timedelta(days=60) < FORWARD
