"""Rank alone decides, and the order is the same however the rows come."""

import ast
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.evaluation.pooling import FEW_TRADES
from backtester.evaluation.ranking import best_row, last_fifth, ranked

SCORES = pl.DataFrame(
    {
        "name": ["few", "tie_b", "best", "none", "tie_a", "worst", "flat"],
        "score": [99.0, 5.0, 7.0, None, 5.0, -40.0, float("nan")],
        "total_trades": [9, 10, 50, 0, 80, 12, 15],
    }
)


def test_order() -> None:
    table = ranked(SCORES)
    assert table["name"].to_list() == ["best", "tie_a", "tie_b", "worst", "few", "flat", "none"]
    assert table["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7]


def test_what_its_own_leverage_ruins_comes_last_whatever_its_score() -> None:
    ruined = SCORES.with_columns(ruined=pl.Series([0, 0, 2, None, 0, 0, 1], dtype=pl.Int32))
    assert ranked(ruined)["name"].to_list() == [
        "tie_a", "tie_b", "worst", "few", "none", "best", "flat",
    ]  # fmt: skip


def test_the_last_fifth_is_rounded_up_and_the_worst_comes_first() -> None:
    assert last_fifth(ranked(SCORES)["name"].to_list()) == ["none", "flat"]
    assert last_fifth(["only"]) == ["only"]
    assert last_fifth([]) == []


def test_the_order_is_written_once() -> None:
    """Whatever else sorts by scores would have to know which results rest on too few trades."""
    project = Path(__file__).resolve().parents[3]
    compares = [
        path.relative_to(project).as_posix()
        for package in ("backtester", "strategies", "model_zoo", "blofin_assets")
        for path in sorted((project / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and any(isinstance(each, ast.Name) and each.id == "FEW_TRADES" for each in (node.left, *node.comparators))
    ]
    sections = "blofin_assets/reporting/sections"
    said = {f"{sections}/strategies.py", f"{sections}/books.py"}  # tell of few trades, and sort nothing
    assert set(compares) - said == {"backtester/evaluation/ranking.py"}


def test_the_best_row_rests_on_enough_trades() -> None:
    values = np.array([9.0, np.nan, 2.0, 3.0, 3.0])
    trades = np.array([FEW_TRADES - 1, 50, 50, FEW_TRADES, 50])
    assert best_row(values, trades) == 3
    assert best_row(values[:2], trades[:2]) is None
    assert best_row(values[:0], trades[:0]) is None


def test_bad_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="total_trades"):
        ranked(SCORES.drop("total_trades"))
    with pytest.raises(ValueError, match="best occurs twice"):
        ranked(pl.concat([SCORES, SCORES.filter(pl.col("name") == "best")]))


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
    table = ranked(scores)
    assert ranked(scores[order]).equals(table)
    known = table.filter(pl.col("score").is_not_null())
    enough = known["total_trades"] >= FEW_TRADES
    assert enough.to_list() == sorted(enough.to_list(), reverse=True)
    assert table["score"].is_null().to_list() == sorted(table["score"].is_null().to_list())
