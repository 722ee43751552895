"""Books in the strategy cycle: what is stored is what a backtest gives, and nothing of the holdout is seen before."""

import math
from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pytest
from support.book_cycles import BOOK_STAGES, FIRST, SECOND, book_platform, run_books
from support.platform import Make, Platform, content, report_data

from backtester.evaluation.ranking import last_fifth
from blofin_assets.reporting.sections import books as section
from blofin_assets.shared.deep_market import deep_market, shared_market
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.book_market import book_windows
from blofin_assets.strategy_cycle.book_ranking import ACTIVE
from blofin_resources.dagster_resources import MarketResource
from strategies import load_books

TABLES = (
    "research.books",
    "research.book_lifecycle",
    "research.book_backtest_results",
    "research.trades",
    "research.equity",
    "research.evidence",
    "research.ranking_history",
    "research.trials",
    "research.proposals",
    "research.designer_runs",
    "research.finalists",
    "research.holdout_outcomes",
)


@pytest.fixture(scope="module")
def cycled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform after the books' part of one cycle."""
    with book_platform(tmp_path_factory.mktemp("books")) as platform:
        run_books(platform, FIRST)
        yield platform


def results(platform: Platform) -> pl.DataFrame:
    return platform.warehouse.read("SELECT * FROM research.book_backtest_results ORDER BY name")


def market_of(platform: Platform) -> MarketResource:
    settings = platform.settings
    return MarketResource(
        market=settings.market, archive=None, api_url=None, seed=7, symbols=list(settings.symbols),
        universe=settings.universe,
    )  # fmt: skip


@pytest.mark.slow
def test_a_stored_row_is_what_a_direct_backtest_gives(cycled: Platform) -> None:
    rows = results(cycled)
    assert {book.name for book in load_books()} <= set(rows["name"])
    for book in load_books():
        own = (pl.col("name") == book.name) & (pl.col("version") == book.version)
        row = rows.row(by_predicate=own, named=True)
        market = deep_market(cycled.warehouse, book, row["window_start"], FIRST)
        found = market.prepared.backtest(book, start=row["window_start"])
        for name, value in found.metrics().items():
            stored = row["total_trades" if name == "trades" else name]
            unknown = value is None or math.isnan(value)  # a book that never traded
            expected = None if unknown else pytest.approx(value, rel=1e-9, abs=1e-9)
            assert stored == expected, (book.name, name)
        curve = cycled.warehouse.read(
            "SELECT equity FROM research.equity WHERE version = ? ORDER BY ts", [book.version]
        )
        assert curve["equity"].to_list() == pytest.approx(found.hourly()["equity"].to_list(), rel=1e-9)
        trades = cycled.warehouse.read("SELECT sum(pnl) AS pnl FROM research.trades WHERE version = ?", [book.version])
        assert (trades["pnl"][0] or 0.0) == pytest.approx(found.result.trades["net"].sum(), rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_every_run_is_counted_ranked_and_shown(cycled: Platform) -> None:
    tried = cycled.warehouse.read("SELECT * FROM research.trials WHERE kind = ? AND purpose = 'holdout'", [Kind.BOOK])
    assert {book.name for book in load_books()} <= set(tried["name"])
    evidence = cycled.warehouse.read("SELECT trials FROM research.evidence WHERE kind = ?", [Kind.BOOK])
    assert set(evidence["trials"]) == {tried.height}
    ranks = cycled.warehouse.read("SELECT * FROM research.ranking_history WHERE kind = ? ORDER BY rank", [Kind.BOOK])
    assert ranks["status"].to_list() == ["active"] * ACTIVE + ["archived"] * (ranks.height - ACTIVE)
    replaced = ranks.filter(pl.col("reason").is_not_null())["name"]
    assert sorted(replaced) == sorted(last_fifth(ranks["name"].to_list()))
    states = {
        row[:2]: row[2] for row in cycled.warehouse.read("SELECT name, version, state FROM research.book_state").rows()
    }
    assert all(states[row[:2]] == row[2] for row in ranks.select("name", "version", "status").rows())
    data = report_data(cycled.warehouse, SECOND, sections=(section.SECTION,))
    part = section.SECTION.build(data, data.of(section.SECTION))
    assert [row.name for row in part.books.rows] == ranks["name"].to_list()


@pytest.mark.slow
def test_what_is_searched_is_counted_before_the_holdout_and_takes_it_once(cycled: Platform) -> None:
    store = cycled.warehouse
    runs = {row["stage"]: row for row in store.read("SELECT * FROM research.designer_runs").iter_rows(named=True)}
    assert {stage: row["state"] for stage, row in runs.items()} == {"book tuning": "done", "book design": "done"}
    assert runs["book design"]["evaluations"] == runs["book design"]["budget"] > 0
    searched = store.read("SELECT * FROM research.trials WHERE kind = ? AND purpose = 'search'", [Kind.BOOK])
    assert set(searched["author"]) == {"library", "tuner", "search"}
    assert searched["window_end"].unique().to_list() == [FIRST - timedelta(days=28)]
    counted = store.read("SELECT DISTINCT search_trials FROM research.evidence WHERE kind = ?", [Kind.BOOK])
    assert counted["search_trials"].to_list() == [searched.select("name", "version", "lanes").n_unique()]
    finalists = store.read("SELECT name, version FROM research.finalists ORDER BY place")
    outcomes = store.read("SELECT name, version FROM research.holdout_outcomes")
    assert sorted(outcomes.rows()) == sorted(finalists.rows())
    ran = set(results(cycled).select("name", "version").iter_rows())
    assert set(finalists.rows()) <= ran


@pytest.mark.slow
def test_running_a_cycle_again_changes_no_row(cycled: Platform) -> None:
    before = {table: content(cycled.warehouse, table) for table in TABLES}
    run_books(cycled, FIRST)
    assert all(content(cycled.warehouse, table).equals(before[table]) for table in TABLES)


@pytest.mark.slow
def test_without_a_universe_each_stage_says_so_and_the_cycle_goes_on(make_platform: Make) -> None:
    result = run_books(make_platform(), FIRST)
    said = [each.materialization.metadata["books"].value for each in result.get_asset_materialization_events()]
    assert said == ["not run: BLOFIN_UNIVERSE is off"] * len(BOOK_STAGES)


@pytest.mark.slow
def test_what_precedes_the_holdout_reads_nothing_of_it(cycled: Platform) -> None:
    windows = book_windows(cycled.warehouse, market_of(cycled), FIRST)
    assert not isinstance(windows, str)
    assert windows.holdout.length == timedelta(days=28)
    assert windows.search is not None
    until = windows.search.end
    assert until == windows.holdout.start
    start = until - timedelta(days=10)
    frames = shared_market(cycled.warehouse, load_books(), start, until).frames(8, start)
    assert frames.candles["60m"]["ts"].max() == until - timedelta(hours=1)
    assert frames.funding["ts"].max() <= until
