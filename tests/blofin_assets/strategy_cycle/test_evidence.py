"""What stands beside every score: of the hours in which there were bars."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl

from backtester import PooledResult, evaluate
from backtester.statistics.overfitting import BLOCKS, overfitting_risk
from blofin_assets.strategy_cycle.evidence import _moves, _risk, mark_known
from tests.backtester.toy import START, SYMBOLS, Momentum, ToyManager, toy_source


def results(returns: np.ndarray, present: np.ndarray) -> list[PooledResult]:
    end = START + timedelta(days=2)
    pooled = evaluate([Momentum()], ToyManager(toy_source()), SYMBOLS, START + timedelta(days=1), end)[0].pooled
    assert pooled is not None
    return [replace(pooled, returns=column, present=present) for column in returns.T]


def test_hours_without_bars_are_in_no_half_of_the_time() -> None:
    moves = np.random.default_rng(4).normal(0.0, 1e-3, (96, 6))
    present = np.zeros(168, dtype=np.bool_)
    present[:60] = present[132:] = True
    stopped = np.zeros((168, 6))
    stopped[present] = moves
    told = _risk(_moves(results(stopped, present)))
    assert told.logits.tolist() == overfitting_risk(moves).logits.tolist()
    assert told.logits.tolist() != overfitting_risk(stopped).logits.tolist()


def test_too_few_hours_with_bars_say_nothing_and_stop_nothing() -> None:
    moves = np.random.default_rng(4).normal(0.0, 1e-3, (168, 6))
    present = np.arange(168) < 2 * BLOCKS
    assert _risk(_moves(results(moves, present))).probability is not None
    assert _risk(_moves(results(moves, np.arange(168) < 2 * BLOCKS - 1))).probability is None


def test_a_holdout_that_the_author_may_know_supports_nothing() -> None:
    names = ["library", "knew", "knew_the_last_hour", "came_after", "weak"]
    evidence = pl.DataFrame({"name": names, "version": "1", "supported": [True, True, True, True, False]})
    hour = timedelta(hours=1)
    known = pl.DataFrame(
        {
            "name": names,
            "knows_until": [None, START + 9 * hour, START + hour, START, START + hour],
            "told_until": [None, None, START - hour, START, None],
        }
    )
    marked = mark_known(evidence, known, START)
    assert marked["name"].to_list() == names
    assert marked["author_may_know"].to_list() == [None, True, True, False, True]
    assert marked["supported"].to_list() == [True, False, False, True, False]
    assert marked.columns == [*evidence.columns, "author_may_know"]
