"""A derived seed is a number that stored results were made with."""

from datetime import UTC, datetime

from backtester.statistics.seeds import derived_seed


def test_seeds_are_those_of_stored_results() -> None:
    night = datetime(2026, 3, 13, tzinfo=UTC)
    assert derived_seed(7, night, "strategy", "vwap_reversion", "3f2a", "net_return") == 16882942977599992023
    assert derived_seed(7, night, "vwap_reversion", size=4) == 3943997274


def test_each_part_matters() -> None:
    seeds = {derived_seed(1, "a"), derived_seed(1, "b"), derived_seed(2, "a"), derived_seed(1), derived_seed("1|a", 1)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**64 for seed in seeds)
