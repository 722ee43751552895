"""Quotas: who is tuned, who takes the holdout."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from strategies.quotas import FINALISTS, Proposal, choose_finalists, to_tune


def proposed(stage: str, designer: str, count: int, *, prefix: str | None = None) -> list[Proposal]:
    name = prefix or f"{stage}_{designer}"
    return [Proposal(stage, designer, f"{name}_{place}", "v", -float(place)) for place in range(count)]  # type: ignore[arg-type]


def counts(chosen: list[Proposal]) -> Counter[str]:
    return Counter(each.designer for each in chosen)


def test_tuned_versions_and_both_designers_share_the_places() -> None:
    everyone = [*proposed("tuning", "tuner", 9), *proposed("design", "claude", 9), *proposed("design", "search", 9)]
    chosen = choose_finalists(everyone)
    assert counts(chosen) == {"tuner": 4, "claude": 3, "search": 3}
    assert [each.name for each in chosen if each.designer == "claude"] == [f"design_claude_{n}" for n in range(3)]


def test_what_drift_called_for_stands_among_the_tuned_and_takes_no_place_of_a_designer() -> None:
    claude, search = proposed("design", "claude", 9), proposed("design", "search", 9)
    tuned = [*proposed("tuning", "tuner", 6), *proposed("tuning", "drift", 2)]
    assert counts(choose_finalists([*tuned, *claude, *search])) == {"tuner": 2, "drift": 2, "claude": 3, "search": 3}
    assert counts(choose_finalists([*tuned, *search])) == {"tuner": 2, "drift": 2, "search": 6}


def test_places_that_one_cannot_fill_go_to_the_others() -> None:
    search = proposed("design", "search", 12)
    assert counts(choose_finalists([*proposed("tuning", "tuner", 1), *search])) == {"tuner": 1, "search": 9}
    assert counts(choose_finalists([*proposed("design", "claude", 1), *search])) == {"claude": 1, "search": 9}
    assert counts(choose_finalists(proposed("tuning", "tuner", 12))) == {"tuner": 10}
    assert choose_finalists([]) == []


def test_a_name_takes_the_holdout_once() -> None:
    same = [Proposal("tuning", "tuner", "a", "1", 5.0), Proposal("design", "search", "a", "2", 0.0)]
    assert choose_finalists(same) == same[:1]


@given(st.integers(0, 15), st.integers(0, 15), st.integers(0, 15))
def test_never_more_than_the_places_and_never_fewer_than_there_could_be(tuned: int, one: int, two: int) -> None:
    everyone = [
        *proposed("tuning", "tuner", tuned),
        *proposed("design", "claude", one),
        *proposed("design", "search", two),
    ]
    chosen = choose_finalists(everyone)
    assert len(chosen) == min(FINALISTS, len(everyone))
    assert len({each.name for each in chosen}) == len(chosen)
    assert choose_finalists(list(reversed(everyone))) == chosen


def test_the_last_fifth_is_tuned_the_worst_first() -> None:
    names = [f"s{place:02}" for place in range(27)]
    due, spent = to_tune(names, {}, frozenset())
    assert due == ["s26", "s25", "s24", "s23", "s22", "s21"]
    assert spent == []


def test_three_attempts_and_who_waits_for_a_holdout() -> None:
    names = [f"s{place}" for place in range(10)]
    assert to_tune(names, {"s9": 2, "s8": 3}, frozenset()) == (["s9"], ["s8"])
    assert to_tune(names, {"s9": 3}, frozenset({"s9"})) == (["s8"], [])
    assert to_tune(names, {}, frozenset(), frozenset({"s8"})) == (["s9"], ["s8"])
    assert to_tune([], {}, frozenset()) == ([], [])
