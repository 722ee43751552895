"""Every book of the library says what it bets on, sees no future and trades; on real bars where they are there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.invented_universe import invented

from backtester import BookEvaluation, PreparedMarket, contracts_of
from blofin_resources.market.sample import SampleMarket
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS, funding_time
from strategies import Book, load_books
from strategies.validation.books import validate_book

BOOKS = load_books()
UNIVERSE = Path(__file__).resolve().parents[3] / "shared/data/universe"
QUARTER = timedelta(days=90)
WARM = {"volume_shock": 300, "weekly_liquidity_shock": 400}
"""Hours that warm up books whose shortest windows are longer than those of the others."""


def each(test: object) -> object:
    return pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.name)(test)  # type: ignore[arg-type]


def test_there_are_ten_books_or_more_and_no_two_are_the_same() -> None:
    assert len(BOOKS) >= 10
    assert len({book.version for book in BOOKS}) == len(BOOKS)


@each
def test_a_book_says_its_bet_its_failure_and_its_source(book: Book) -> None:
    assert [word for word in ("Edge:", "Fails:", "Source:") if f"\n{word}" not in book.description] == []


@pytest.mark.slow
@each
def test_a_book_sees_no_future_and_knows_no_prices(book: Book) -> None:
    assert validate_book(shorter(book), invented(hours=WARM.get(book.name, 200)), cuts=1) == []


def shorter(book: Book) -> Book:
    """Return the book with the shortest windows that it may have, so that a small market warms it up."""
    lows = {name: param.low for name, param in book.ranges().items() if param.whole}
    return book.with_parameters(**lows)


def changed_and_closed(evaluation: BookEvaluation) -> tuple[int, int]:
    trades = evaluation.result.trades
    return evaluation.result.fills.height, trades.filter(pl.col("reason") != "open").height


@pytest.fixture(scope="module")
def sample() -> PreparedMarket:
    end = datetime(2025, 6, 12, tzinfo=UTC)
    start = end - timedelta(days=135)
    market = SampleMarket(seed=7, variant="edge", clock=lambda: end)
    listings = market.listings()
    symbols = listings.filter(pl.col("list_time") < start)["symbol"].to_list()[:16]
    announced = listings.with_columns(announced=listings["delist_time"] - timedelta(days=7))
    contracts = contracts_of(market.instruments(symbols, end), announced)
    candles, funding = market.candles(symbols, "60m", start, end), market.funding(symbols, start, end)
    return PreparedMarket.of("60m", candles, funding, contracts=contracts)


@pytest.fixture(scope="module")
def real() -> PreparedMarket:
    if not UNIVERSE.exists():
        pytest.skip("no real universe here")
    begin = datetime(2025, 5, 1, tzinfo=UTC)
    candles, funding = [], []
    for path in sorted(UNIVERSE.glob("*_1h.parquet")):
        symbol = path.name.removesuffix("_1h.parquet")
        time = pl.col("ts").cast(pl.Datetime("ms", "UTC")).cast(TS)
        frame = pl.read_parquet(path).with_columns(
            time,
            symbol=pl.lit(symbol),
            quote_volume=pl.col("volume") * pl.col("close"),
            contracts=pl.lit(None, pl.Float64),
            minutes=pl.lit(60, pl.Int32),
            origin=pl.lit("archive"),
            flag=pl.lit(None, pl.String),
        )
        candles.append(frame.filter(pl.col("ts") >= begin).select(CANDLE_SCHEMA.names()).cast(CANDLE_SCHEMA))
        paid = pl.read_parquet(path.with_name(f"{symbol}_funding.parquet"))
        paid = paid.with_columns(time, symbol=pl.lit(symbol)).with_columns(ts=funding_time(pl.col("ts")))
        funding.append(paid.filter(pl.col("ts") >= begin).select(FUNDING_SCHEMA.names()).cast(FUNDING_SCHEMA))
    return PreparedMarket.of("60m", pl.concat(candles), pl.concat(funding))


@each
def test_a_book_changes_and_closes_positions_on_the_sample_market(book: Book, sample: PreparedMarket) -> None:
    start = sample.market.time_of(len(sample.market.ts) - 90 * 24)
    changed, closed = changed_and_closed(sample.backtest(book, start=start, capital=100_000.0))
    assert changed >= 30
    assert closed >= 10


@each
def test_a_book_changes_and_closes_positions_on_real_bars(book: Book, real: PreparedMarket) -> None:
    start = datetime(2025, 8, 3, tzinfo=UTC)
    evaluation = real.backtest(book, start=start)
    changed, closed = changed_and_closed(evaluation)
    assert changed >= 30
    assert closed >= 10
    assert evaluation.metrics()["ruined"] == 0
