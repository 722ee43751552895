"""A label weighs as much as it says that no other label says."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.datasets.sample_weights import with_uniqueness
from model_zoo.models.base import thinned, weights_of

START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(places: list[int], symbol: str = "A", unknown: frozenset[int] = frozenset()) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(places),
            "ts": [START + timedelta(minutes=5 * place) for place in places],
            "label_event": [None if place in unknown else place % 2 == 0 for place in places],
        },
        schema={"symbol": pl.String, "ts": pl.Datetime("us", "UTC"), "label_event": pl.Boolean},
    )


@given(st.sets(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 8), st.sets(st.integers(0, 60), max_size=5))
def test_average_uniqueness_agrees_with_its_definition(places: set[int], horizon: int, unknown: set[int]) -> None:
    got = with_uniqueness(rows(sorted(places), unknown=frozenset(unknown)), "5m", horizon)
    known = sorted(places - unknown)
    spans = {place: set(range(place + 1, place + horizon + 1)) for place in known}
    for place, weight in zip(sorted(places), got["label_weight"], strict=True):
        if place in unknown:
            assert weight is None
            continue
        shares = [1 / sum(bar in other for other in spans.values()) for bar in spans[place]]
        assert weight == pytest.approx(np.mean(shares))


def test_symbols_do_not_share_and_order_is_kept() -> None:
    both = pl.concat([rows([3, 1, 2], "B"), rows([0, 9], "A")])
    got = with_uniqueness(both, "5m", 2)
    assert got.drop("label_weight").equals(both)
    assert got["label_weight"].to_list() == pytest.approx([0.75, 0.75, 0.5, 1.0, 1.0])
    assert with_uniqueness(both.clear(), "5m", 2).is_empty()
    assert weights_of(got).mean() == pytest.approx(1.0)
    assert weights_of(both).tolist() == [1.0] * 5


def test_thinning_keeps_whole_bars_evenly() -> None:
    both = pl.concat([rows(list(range(100)), symbol) for symbol in "AB"])
    kept = thinned(both, 70)
    assert kept.height <= 70
    assert kept.filter(pl.col("symbol") == "A")["ts"].equals(kept.filter(pl.col("symbol") == "B")["ts"])
    assert kept["ts"].unique().sort().diff().drop_nulls().n_unique() == 1
    assert thinned(both, 200).equals(both)
