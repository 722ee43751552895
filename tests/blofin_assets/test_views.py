"""Views that answer a question: one row for each thing, with the numbers of the tables behind them."""

import polars as pl
import pytest
from support.platform import Platform

from blofin_resources.warehouse.description import view_comments


def test_every_view_answers(done: Platform) -> None:
    for view in view_comments():
        assert done.warehouse.read(f"SELECT * FROM {view} LIMIT 1").width > 1, view


def test_the_leaderboard_is_the_ranking_with_its_results(done: Platform) -> None:
    board = done.warehouse.read("SELECT * FROM research.leaderboard")
    ranking = done.warehouse.read("SELECT * FROM research.current_ranking")
    keys = ["kind", "rank", "name", "version"]
    assert board.select(keys).equals(ranking.select(keys))
    strategies = board.filter(pl.col("kind") == "strategy", pl.col("trades") > 0)
    assert strategies.height > 20
    stored = done.warehouse.read(
        "SELECT strategy_name AS name, total_pnl_pct, sharpe, fees_pct + slippage_pct AS costs_pct "
        "FROM research.latest_results WHERE symbol = '*' AND timeframe = '*'"
    )
    both = strategies.join(stored, on="name", suffix="_stored")
    assert both.height == strategies.height
    for column in ("total_pnl_pct", "sharpe", "costs_pct"):
        assert both[column].equals(both[f"{column}_stored"]), column
    assert board.filter(pl.col("kind") == "model")["window_end"].null_count() == 0


def test_a_trade_earned_what_it_made_less_its_costs(done: Platform) -> None:
    trades = done.warehouse.read("SELECT * FROM research.trade_costs WHERE kind = 'strategy'")
    direction = pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
    moved = direction * (pl.col("exit_price") - pl.col("entry_price")) * pl.col("quantity")
    # prices of fills hold the slippage already
    apart = trades.select((moved + pl.col("slippage") - pl.col("pnl_before_costs")).abs().max()).item()
    assert trades.height > 100
    assert apart == pytest.approx(0, abs=1e-6)


def test_what_was_archived_has_its_reason_and_changes_are_told(done: Platform) -> None:
    gone = done.warehouse.read("SELECT * FROM research.why_archived")
    state = done.warehouse.read("SELECT * FROM research.strategy_state WHERE state = 'archived'")
    assert gone.height == state.height > 0
    assert gone["reason"].null_count() == 0
    told = done.warehouse.read(
        "SELECT DISTINCT name FROM research.changes WHERE event = 'archived' AND kind = 'strategy'"
    )
    assert set(gone["name"]) == set(told["name"])


def test_evidence_now_is_the_last_day_of_each_record(done: Platform) -> None:
    now = done.warehouse.read("SELECT * FROM research.evidence_now")
    daily = done.warehouse.read("SELECT * FROM research.evidence_daily")
    record = ["kind", "name", "version", "activated_at"]
    assert now.height == daily.select(record).n_unique() > 0
    sums = daily.group_by(record).agg(total=100 * pl.col("net_return").sum(), length=pl.len())
    both = now.join(sums, on=record)
    assert (both["total_pct"] - both["total"]).abs().max() == pytest.approx(0, abs=1e-9)
    assert both["days"].cast(pl.Int64).equals(both["length"].cast(pl.Int64))
