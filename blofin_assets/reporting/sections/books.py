"""The section on books: the newest ranking of what holds one capital over the universe.

Belongs here: ranks, results and evidence of books. Does not belong here: running and ranking them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from markupsafe import Markup

from backtester.evaluation.pooling import FEW_TRADES
from blofin_assets.reporting import pictures
from blofin_assets.reporting.document import Count, Document, Number, Part, Share, Time
from blofin_assets.reporting.page import formats
from blofin_assets.reporting.page.tables import EVIDENCE, RANKING, Column, Table, columns_of
from blofin_assets.reporting.section import TOP, Point, ReportData, Rule, Section, listed
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_TABLE: Final = "research.book_backtest_results"
_CURVES: Final = "SELECT name, ts, equity FROM research.equity WHERE as_of = ? AND kind = ? ORDER BY name, ts"


class RankedBook(Part):
    """One book of the ranking with its result on the holdout."""

    rank: int | None
    name: str
    version: str
    status: str | None
    author: str | None
    timeframe: str
    rebalance: str
    tranches: Count
    score: Number
    total_trades: Count
    total_pnl_pct: Number
    pnl_before_costs_pct: Number
    fees_pct: Number
    slippage_pct: Number
    funding_pct: Number
    sharpe: Number
    sharpe_se: Number
    max_drawdown: Share
    win_rate: Share
    avg_pnl_pct: Number
    turnover_year: Number
    gross_exposure: Number
    net_exposure: Number
    alpha: Number
    alpha_se: Number
    beta: Number
    ruined: Count
    psr: Share
    dsr: Share
    supported: bool | None
    expected_sharpe: Number = None
    expected_low: Number = None
    expected_high: Number = None
    expected_windows: int | None = None
    author_may_know: bool | None
    losers: int | None
    volume_share_largest: Number
    volume_warning: str | None
    reason: str | None

    @property
    def sharpe_range(self) -> str:
        """Sharpe ratio ± its standard error."""
        return formats.plus_minus(self.sharpe, self.sharpe_se, 1)

    @property
    def expected_range(self) -> str:
        """Expected Sharpe ratio, and where that of the next month is to be expected."""
        return formats.expected(self.expected_sharpe, self.expected_low, self.expected_high)

    @property
    def alpha_range(self) -> str:
        """Alpha ± its standard error."""
        return formats.plus_minus(self.alpha, self.alpha_se, 2)


class Books(Part):
    """The newest ranking of books; `as_of` is null before the first."""

    as_of: Time | None
    window_start: Time | None
    universe: str | None
    members_fewest: Count
    members_most: Count
    chosen_today: bool
    capital: Number
    trials: int | None
    search_trials: int | None
    pbo: Share
    rows: list[RankedBook]


class BooksPart(Part):
    """The section's keys of the report."""

    books: Books


class Collected(NamedTuple):
    """The ranking with its results, and the equity of each book at full hours."""

    table: pl.DataFrame
    curves: pl.DataFrame


def _collect(warehouse: Warehouse, data: ReportData) -> Collected:
    table = warehouse.read(query("reporting/books"), {"as_of": data.as_of})
    as_of = table["as_of"][0] if table.height else None
    return Collected(table, warehouse.read(_CURVES, [as_of, Kind.BOOK]))


def _build(data: ReportData, collected: Collected) -> BooksPart:
    table = collected.table
    if table.is_empty():
        return _nothing(data)
    first = {name: value for name, value in table.row(0, named=True).items() if name != "rows"}
    return BooksPart(books=Books.of(first, rows=[RankedBook.of(row) for row in table.iter_rows(named=True)]))


def _nothing(_: ReportData) -> BooksPart:
    absent = dict.fromkeys(("as_of", "window_start", "universe", "capital", "trials", "search_trials", "pbo"))
    return BooksPart(books=Books.of(absent, members_fewest=0, members_most=0, chosen_today=False, rows=[]))


_RANKING: Final = (
    Column("book", "name"),
    *columns_of(RANKING, ("rank", "rank", "int")),
    *columns_of(
        _TABLE, ("score", "score", "n1"), ("trades", "total_trades", "int"), ("return", "total_pnl_pct", "pct"),
    ),
    Column("Sharpe", "sharpe_range", "text", f"{_TABLE}.sharpe"),
    Column("expected", "expected_range", "text", "report.expected_range"),
    *columns_of(_TABLE, ("max DD", "max_drawdown", "share")),
    Column("DSR", "dsr", "share", f"{EVIDENCE}.dsr"),
    Column("lost", "losers", "int", f"{EVIDENCE}.losers"),
    Column("status", "status", "text", f"{RANKING}.status"),
    Column("author", "author", "text", "report.author"),
    Column("why", "reason"),
)  # fmt: skip
_HELD: Final = (
    Column("book", "name"),
    *columns_of(
        _TABLE, ("bars", "timeframe", "text"), ("rebalance", "rebalance", "text"),
        ("before costs", "pnl_before_costs_pct", "pct"), ("fees", "fees_pct", "pct"),
        ("slippage", "slippage_pct", "pct"), ("funding", "funding_pct", "pct"),
        ("turnover a year", "turnover_year", "n1"), ("gross", "gross_exposure", "n2"), ("net", "net_exposure", "n2"),
        ("beta", "beta", "n2"),
    ),
    Column("alpha a year", "alpha_range", "text", f"{_TABLE}.alpha"),
    Column("largest share of a bar", "volume_share_largest", "share2", f"{EVIDENCE}.volume_share_largest"),
)  # fmt: skip


def _view(part: BooksPart, data: ReportData) -> Mapping[str, object]:
    rows = part.books.rows
    return {"ranking": Table(_RANKING, rows), "held": Table(_HELD, rows), "picture": _picture(part, data.of(SECTION))}


def _picture(part: BooksPart, collected: Collected) -> Markup:
    """Return the equity of the best books over the holdout, empty without a curve."""
    names = [row.name for row in part.books.rows[:TOP]]
    curves = collected.curves.filter(pl.col("name").is_in(names))
    if curves.is_empty():
        return Markup()
    figure = pictures.lines_figure(curves, [name for name in names if name in set(curves["name"])])
    return pictures.live(figure, "books", f"Equity of {listed(names)} over the holdout")


def _large(report: Document) -> Iterator[Point]:
    books = report.part(BooksPart).books
    for row in books.rows[:TOP]:
        if row.volume_warning:
            yield Point("warning", row.name, f"{row.name}: {row.volume_warning}", "")
        if row.total_trades < FEW_TRADES:
            yield Point("warning", row.name, f"{row.name} rests on {row.total_trades} trades", "")
    ruined = [row.name for row in books.rows if row.ruined]
    if ruined:
        yield Point("warning", "books", f"ruined on the holdout: {listed(ruined)}", "Lower their gross exposure")
    if books.chosen_today:
        yield Point(
            "info",
            "books",
            f"the universe {books.universe} was chosen today: the list knows which symbols survived, which flatters "
            "books",
            "Set BLOFIN_UNIVERSE to top:N",
        )


SECTION: Final = Section(
    name="books",
    heading="Books: one capital over the universe",
    link="Books",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.ranking_history WHERE kind = 'book' AND as_of <= {as_of} ORDER BY as_of DESC, rank",
    part=BooksPart,
    collect=_collect,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(105, _large),),
)
