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
    assert rows["name"].to_list() == [book.name for book in load_books()]
    for book in load_books():
        row = rows.row(by_predicate=pl.col("name") == book.name, named=True)
        market = deep_market(cycled.warehouse, book, row["window_start"], FIRST)
        found = market.prepared.backtest(book, start=row["window_start"])
        for name, value in found.metrics().items():
            stored = row["total_trades" if name == "trades" else name]
            unknown = value is None or math.isnan(value)  # a book that never traded
            expected = None if unknown else pytest.approx(value, rel=1e-9, abs=1e-9)
            assert stored == expected, (book.name, name)
        curve = cycled.warehouse.read("SELECT equity FROM research.equity WHERE name = ? ORDER BY ts", [book.name])
        assert curve["equity"].to_list() == pytest.approx(found.hourly()["equity"].to_list(), rel=1e-9)
        trades = cycled.warehouse.read("SELECT sum(pnl) AS pnl FROM research.trades WHERE name = ?", [book.name])
        assert (trades["pnl"][0] or 0.0) == pytest.approx(found.result.trades["net"].sum(), rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_every_run_is_counted_ranked_and_shown(cycled: Platform) -> None:
    tried = cycled.warehouse.read("SELECT * FROM research.trials WHERE kind = ?", [Kind.BOOK])
    assert sorted(tried["name"]) == [book.name for book in load_books()]
    evidence = cycled.warehouse.read("SELECT trials FROM research.evidence WHERE kind = ?", [Kind.BOOK])
    assert set(evidence["trials"]) == {tried.height}
    ranks = cycled.warehouse.read("SELECT * FROM research.ranking_history WHERE kind = ? ORDER BY rank", [Kind.BOOK])
    assert ranks["status"].to_list() == ["active"] * ACTIVE + ["archived"] * (ranks.height - ACTIVE)
    replaced = ranks.filter(pl.col("reason").is_not_null())["name"]
    assert sorted(replaced) == sorted(last_fifth(ranks["name"].to_list()))
    states = dict(cycled.warehouse.read("SELECT name, state FROM research.book_state").iter_rows())
    assert states == dict(ranks.select("name", "status").iter_rows())
    data = report_data(cycled.warehouse, SECOND, sections=(section.SECTION,))
    part = section.SECTION.build(data, data.of(section.SECTION))
    assert [row.name for row in part.books.rows] == ranks["name"].to_list()


@pytest.mark.slow
def test_running_a_cycle_again_changes_no_row(cycled: Platform) -> None:
    before = {table: content(cycled.warehouse, table) for table in TABLES}
    run_books(cycled, FIRST)
    assert all(content(cycled.warehouse, table).equals(before[table]) for table in TABLES)


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
