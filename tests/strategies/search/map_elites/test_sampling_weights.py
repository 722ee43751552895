"""What outcomes of holdouts teach the search, and how little any of them can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.registry import load_library
from strategies.search.books.vocabulary import SCORE_TERMS
from strategies.search.map_elites.sampling_weights import PRIOR, Outcome, emphasis_of, families_of
from strategies.search.map_elites.vocabulary import TERMS

FAMILIES = st.frozensets(st.sampled_from([*TERMS, "close", "no_such_word"]), max_size=4)


@given(st.lists(st.builds(Outcome, FAMILIES, st.booleans()), max_size=60))
def test_factors_are_bounded_and_do_not_depend_on_the_order(outcomes: list[Outcome]) -> None:
    factors = emphasis_of(outcomes)
    assert factors == emphasis_of(reversed(outcomes))
    assert all(0.5 < factor < 2.0 for factor in factors.values())
    assert set(factors) == {family for each in outcomes for family in each.families} & TERMS.keys()


def test_what_earned_is_drawn_more_often_and_what_lost_as_much_less() -> None:
    won, lost = Outcome(frozenset({"rsi"}), earned=True), Outcome(frozenset({"rsi"}), earned=False)
    assert emphasis_of([]) == {}
    assert emphasis_of([won])["rsi"] == pytest.approx(2 ** (1 / (1 + PRIOR)))
    assert emphasis_of([won])["rsi"] * emphasis_of([lost])["rsi"] == pytest.approx(1.0)
    assert emphasis_of([won, lost]) == {"rsi": 1.0}
    assert emphasis_of([won] * 5)["rsi"] > emphasis_of([won])["rsi"]


def test_families_are_the_words_that_a_strategy_reads() -> None:
    library = {each.name: families_of(each) for each in load_library()}
    assert library["rsi_reversion"] == sorted({"rsi", *library["rsi_reversion"]})
    assert all(set(families) <= TERMS.keys() for families in library.values())
    assert sum(map(bool, library.values())) > len(library) / 2


def test_books_have_a_vocabulary_of_their_own() -> None:
    outcomes = [Outcome(frozenset({"funding", "rsi"}), earned=True)]
    assert set(emphasis_of(outcomes)) == {"rsi"}
    assert emphasis_of(outcomes, SCORE_TERMS) == {"funding": pytest.approx(2 ** (1 / (1 + PRIOR)))}
