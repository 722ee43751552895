"""Rank alone decides, and the order is the same however the rows come."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.pooling import FEW_TRADES
from strategies.ranking import StrategyRanker

SCORES = pl.DataFrame(
    {
        "name": ["few", "tie_b", "best", "none", "tie_a", "worst", "flat"],
        "score": [99.0, 5.0, 7.0, None, 5.0, -40.0, float("nan")],
        "total_trades": [9, 10, 50, 0, 80, 12, 15],
    }
)


def test_order() -> None:
    ranker = StrategyRanker(SCORES)
    assert ranker.table["name"].to_list() == ["best", "tie_a", "tie_b", "worst", "few", "flat", "none"]
    assert ranker.table["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert ranker.get_top_strategies(2) == ["best", "tie_a"]
    assert len(ranker.get_top_strategies()) == 7


def test_a_fifth_rounded_up_unless_told() -> None:
    ranker = StrategyRanker(SCORES)
    assert ranker.get_to_replace() == ["none", "flat"]
    assert ranker.get_to_replace(1) == ["none"]
    assert ranker.get_to_replace(0) == []
    assert StrategyRanker(SCORES.clear()).get_to_replace() == []
    with pytest.raises(ValueError, match="negative"):
        ranker.get_to_replace(-1)


def test_bad_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="total_trades"):
        StrategyRanker(SCORES.drop("total_trades"))
    with pytest.raises(ValueError, match="best occurs twice"):
        StrategyRanker(pl.concat([SCORES, SCORES.filter(pl.col("name") == "best")]))


ROWS = st.lists(
    st.tuples(st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 2.5])), st.integers(0, 20)), min_size=1, max_size=12
)


@given(ROWS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[float | None, int]], random: object) -> None:
    scores = pl.DataFrame(
        [(f"s{i}", score, trades) for i, (score, trades) in enumerate(rows)],
        schema={"name": pl.String, "score": pl.Float64, "total_trades": pl.Int32},
        orient="row",
    )
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    table = StrategyRanker(scores).table
    assert StrategyRanker(scores[order]).table.equals(table)
    known = table.filter(pl.col("score").is_not_null())
    enough = known["total_trades"] >= FEW_TRADES
    assert enough.to_list() == sorted(enough.to_list(), reverse=True)
    assert table["score"].is_null().to_list() == sorted(table["score"].is_null().to_list())
