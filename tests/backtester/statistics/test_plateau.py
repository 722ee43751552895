"""The plateau around the best of many values: neighbours by a plain loop, and who counts as within."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.statistics.plateau import nearest, neighbours_on_grid, plateau


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.randoms())
def test_neighbours_on_a_grid_are_those_of_a_plain_loop(counts: list[int], random: object) -> None:
    places = np.array(list(np.ndindex(*counts)), dtype=np.int64)
    best = int(random.randrange(len(places)))  # type: ignore[attr-defined]
    expected = [
        row
        for row, place in enumerate(places)
        if row != best and all(abs(int(a) - int(b)) <= 1 for a, b in zip(place, places[best], strict=True))
    ]
    assert neighbours_on_grid(places, best).tolist() == expected


def test_the_nearest_count_every_axis_by_its_span() -> None:
    places = np.array([[0, 0], [10, 0], [0, 1], [100, 1], [1, 0]], dtype=np.int64)
    assert nearest(places, 0, 2).tolist() == [4, 1]  # a step of the second axis is its whole span
    assert nearest(places, 0).tolist() == [4, 1, 2, 3]


@pytest.mark.parametrize(("around", "within", "alone"), [((1.9, 1.4), 1, False), ((1.4, 1.3), 0, True)])
def test_a_neighbour_is_within_one_standard_error(around: tuple[float, ...], within: int, alone: bool) -> None:
    found = plateau(np.array([2.0, *around]), np.array([1, 2]), 0, 0.5)
    assert (found.within, found.neighbours, found.alone) == (within, 2, alone)
    assert found.mean == pytest.approx(sum(around) / 2)


def test_a_neighbour_without_a_value_is_within_nothing() -> None:
    found = plateau(np.array([2.0, np.nan, 1.9, np.nan]), np.array([1, 2, 3]), 0, 0.5)
    assert (found.within, found.neighbours, found.mean, found.alone) == (1, 3, pytest.approx(1.9), True)


def test_without_neighbours_nothing_is_said() -> None:
    found = plateau(np.array([2.0]), np.array([], dtype=np.int64), 0, 0.5)
    assert (found.share, found.mean, found.alone) == (None, None, False)
