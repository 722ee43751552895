"""Duplicates among what is evaluated: the same positions on the scored lanes."""

from datetime import timedelta

from backtester import evaluate
from blofin_assets.strategy_cycle.evaluation_set import drop_duplicates
from tests.backtester.toy import START, SYMBOLS, Momentum, ToyManager, toy_source


def test_one_formula_on_two_timeframes_is_two_strategies_and_twice_on_one_is_a_duplicate() -> None:
    strategies = [
        Momentum("quarter", ("15m",)), Momentum("four", ("4h",), length=1), Momentum("hour", ("60m",)),
        Momentum("again", ("15m",)),
    ]  # fmt: skip
    found = evaluate(strategies, ToyManager(toy_source()), SYMBOLS, START, START + timedelta(days=3))
    stay, copies = drop_duplicates(found)
    assert [each.name for each in stay] == ["quarter", "four", "hour"]
    assert copies == {("again", "1"): "quarter"}


def test_windows_of_different_lengths_are_compared_where_both_are() -> None:
    manager, end = ToyManager(toy_source()), START + timedelta(days=3)
    found = [
        evaluate([Momentum(name, timeframes)], manager, SYMBOLS, start, end)[0]
        for name, timeframes, start in (
            ("quarter", ("15m",), START + timedelta(days=2)), ("hour", ("60m",), START), ("again", ("15m",), START),
        )
    ]  # fmt: skip
    stay, copies = drop_duplicates(found)
    assert [each.name for each in stay] == ["quarter", "hour"]
    assert copies == {("again", "1"): "quarter"}
