"""The section on data: stored and missing bars of each lane.

Belongs here: coverage, gaps, flagged and revised bars. Does not belong here: filling anything.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from backtester.simulation.lanes import THIN_COVERAGE
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.reporting.document import Count, Day, Document, Part, Share, Time
from blofin_assets.reporting.page.tables import Column, Table
from blofin_assets.reporting.section import Point, ReportData, Rule, Section
from blofin_assets.shared.json_values import plain
from blofin_resources.market.bases import shorter_than, stored_by_base
from blofin_resources.market.fetching import REVISED_CANDLES
from blofin_resources.market.ingestion import delisted_at, trading_periods
from blofin_resources.market.steps import load_steps, way_out
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import MINUTES, TIMEFRAMES
from features.steps import Step

RECENT: Final = HOLDOUT_LENGTH
"""Length of the holdout, for which coverage is shown separately."""
MOST_GAPS: Final = 20
"""Number of gaps that a report lists, the longest first; all are counted."""

_GAPS: Final = (
    "SELECT symbol, from_ts, to_ts, bars, kind, found_at FROM market.gaps WHERE found_at <= $1 AND from_ts < $1 "
    "AND (closed_at IS NULL OR closed_at > $1) AND symbol IN (SELECT unnest($2)) ORDER BY bars DESC, symbol, from_ts"
)
_FLAGGED: Final = (
    "SELECT symbol, count(*) AS flagged FROM market.candles_{base} WHERE flag IS NOT NULL AND ts < ? GROUP BY symbol"
)
_REVISED: Final = (
    "SELECT count(*) AS n FROM (SELECT DISTINCT symbol, ts FROM market.candle_revisions "
    "WHERE seen_at > ? AND seen_at <= ? AND symbol IN (SELECT unnest(?)) AND field IN (SELECT unnest(?)))"
)


class Lane(Part):
    """Stored and missing bars of one lane."""

    symbol: str
    timeframe: str
    first_day: Day
    through: Time
    bars: Count
    expected: Count
    missing: int
    recent_bars: Count
    recent_expected: Count
    flagged: int | None
    tradable: Share

    @property
    def present(self) -> float | None:
        """Stored bars as a share of the bars without gaps."""
        return self.bars / self.expected if self.expected else None

    @property
    def recent(self) -> float | None:
        """The same over the length of the holdout."""
        return self.recent_bars / self.recent_expected if self.recent_expected else None


class Gap(Part):
    """An interval without bars."""

    symbol: str
    from_ts: Time
    to_ts: Time
    bars: Count
    kind: str


class Ended(Part):
    """A symbol whose trading has ended, and the close of its last bar: its lanes end there."""

    symbol: str
    at: Time


class PriceStep(Part):
    """A price step, which excludes its symbol until it is explained."""

    symbol: str
    at: Time
    told: str
    way_out: str


class Market(Part):
    """The market of the numbers, and the coverage of its data."""

    source: str
    synthetic: bool
    symbols: list[str]
    seed: int | None
    coverage: list[Lane]
    ended: list[Ended]
    steps: list[PriceStep]
    open_gaps: Count
    gaps: list[Gap]
    revised: Count


class DataPart(Part):
    """Keys of the section in the report."""

    market: Market


@dataclass(frozen=True)
class MarketData:
    """Coverage, gaps and revisions of the data.

    Attributes
    ----------
    lanes : DataFrame
        symbol, timeframe, first_day, through, bars, expected, missing, recent_bars, recent_expected, flagged (shortest
        bars only).
    gaps : DataFrame
        Open gaps, longest first.
    revised : int
        Shortest bars of these symbols whose values the source changed within the day; deep history has its own.
    ended : dict of str to datetime
        Delisted symbols, and the close of their last bar. Bars after it, and before a symbol's listing, do not count as
        missing.
    steps : tuple of Step
        Price steps, which exclude their symbols until they are explained.
    """

    lanes: pl.DataFrame
    gaps: pl.DataFrame
    revised: int
    ended: Mapping[str, datetime]
    steps: tuple[Step, ...]


def _collect(warehouse: Warehouse, data: ReportData) -> MarketData:
    """Return coverage, gaps and revisions of the symbols as of the report."""
    as_of, symbols = data.as_of, data.symbols
    recent = as_of - RECENT
    chosen = {"as_of": as_of, "recent": recent.date(), "symbols": list(symbols)}
    stored = warehouse.read(query("reporting/coverage"), chosen)
    bases = stored_by_base(warehouse, symbols)
    base_of = {symbol: base for base, group in bases.items() for symbol in group}
    flagged = {
        symbol: count
        for base in bases
        for symbol, count in warehouse.read(_FLAGGED.format(base=base), [as_of]).iter_rows()
        if base_of.get(symbol) == base
    }
    over, began = delisted_at(warehouse, symbols, as_of), trading_periods(warehouse, symbols, as_of)[0]

    def expected(symbol: str, first: date, days: int, minutes: int) -> int:
        start = datetime.combine(first, time(), UTC)
        end = start + timedelta(days=days)
        life = min(over.get(symbol, end), end) - min(max(began.get(symbol, start), start), end)
        return max(life, timedelta()) // timedelta(minutes=minutes)

    rows = [
        {
            "symbol": row["symbol"],
            "timeframe": timeframe,
            "first_day": row["first_day"],
            "through": row["through"],
            "bars": row["bars"],
            "expected": (whole := expected(row["symbol"], row["first_day"], row["days"], MINUTES[timeframe])),
            "missing": max(whole - row["bars"], 0),
            "recent_bars": row["recent_bars"],
            "recent_expected": expected(row["symbol"], recent.date(), RECENT.days, MINUTES[timeframe]),
            "flagged": flagged.get(row["symbol"], 0) if timeframe == base_of[row["symbol"]] else None,
        }
        for timeframe in TIMEFRAMES
        for row in stored.filter(pl.col("dataset") == f"candles_{timeframe}").sort("symbol").iter_rows(named=True)
        if timeframe not in shorter_than(base_of[row["symbol"]])
    ]
    return MarketData(
        lanes=pl.DataFrame(rows, infer_schema_length=None).sort("symbol", maintain_order=True) if rows else _NO_LANES,
        gaps=warehouse.read(_GAPS, [as_of, list(symbols)]),
        revised=int(
            warehouse.read(_REVISED, [as_of - timedelta(days=1), as_of, list(symbols), list(REVISED_CANDLES)]).item()
        ),
        ended=over,
        steps=load_steps(warehouse, as_of, symbols).open,
    )


_NO_LANES: Final = pl.DataFrame(
    schema={
        "symbol": pl.String, "timeframe": pl.String, "first_day": pl.Date, "through": pl.Datetime("us", "UTC"),
        "bars": pl.Int64, "expected": pl.Int64, "missing": pl.Int64, "recent_bars": pl.Int64,
        "recent_expected": pl.Int64, "flagged": pl.Int64,
    }
)  # fmt: skip


def _build(data: ReportData, collected: MarketData) -> DataPart:
    lanes = data.cycles.lanes.select("symbol", "timeframe", "coverage").unique(["symbol", "timeframe"])
    tradable = {(symbol, timeframe): share for symbol, timeframe, share in lanes.iter_rows()}
    return _part(
        data,
        coverage=[
            Lane.of(row, tradable=plain(tradable.get((row["symbol"], row["timeframe"]))))
            for row in collected.lanes.iter_rows(named=True)
        ],
        ended=[Ended.of({"symbol": symbol, "at": at}) for symbol, at in sorted(collected.ended.items())],
        steps=[
            PriceStep.of({"symbol": step.symbol, "at": step.ts, "told": str(step), "way_out": way_out(step)})
            for step in collected.steps
        ],
        open_gaps=collected.gaps.height,
        gaps=[Gap.of(row) for row in collected.gaps.head(MOST_GAPS).iter_rows(named=True)],
        revised=collected.revised,
    )


def _nothing(data: ReportData) -> DataPart:
    return _part(data, coverage=[], ended=[], steps=[], open_gaps=0, gaps=[], revised=0)


def _part(data: ReportData, **coverage: Any) -> DataPart:
    """Return the section's part: the market, and the coverage of its data."""
    seed = data.seed if data.synthetic else None
    market = Market(source=data.market, synthetic=data.synthetic, symbols=list(data.symbols), seed=seed, **coverage)
    return DataPart(market=market)


_COVERAGE: Final = (
    Column("symbol", "symbol"),
    Column("bars", "timeframe"),
    Column("from", "first_day"),
    Column("through", "through", "time"),
    Column("stored", "bars", "int"),
    Column("expected", "expected", "int", "report.expected"),
    Column("present", "present", "share2", "report.present"),
    Column(f"last {HOLDOUT_LENGTH.days} days", "recent", "share2", "report.recent"),
    Column("missing", "missing", "int", "report.missing"),
    Column("flagged", "flagged", "int", "report.flagged"),
    Column("tradable", "tradable", "share2", "report.tradable"),
)
_OPEN: Final = (
    Column("symbol", "symbol"), Column("from", "from_ts", "time"), Column("to", "to_ts", "time"),
    Column("bars", "bars", "int", "market.gaps.bars"), Column("kind", "kind", "text", "market.gaps.kind"),
)  # fmt: skip


def _view(part: DataPart, _: ReportData) -> Mapping[str, object]:
    return {"coverage": Table(_COVERAGE, part.market.coverage), "gaps": Table(_OPEN, part.market.gaps)}


def thin_lanes(lanes: Iterable[tuple[str, str, float | None]]) -> list[str]:
    """Return the lanes with too low a coverage, each with its coverage.

    Parameters
    ----------
    lanes
        symbol, timeframe, coverage; None if unknown.
    """
    return [
        f"{symbol} {timeframe} {share:.0%}"
        for symbol, timeframe, share in lanes
        if share is not None and share < THIN_COVERAGE
    ]


def _steps(report: Document) -> Iterator[Point]:
    for step in report.part(DataPart).market.steps:
        yield Point(
            "warning", step.symbol, f"{step.told}: the symbol is excluded from every lane", f"Prices: {step.way_out}"
        )


def _gaps(report: Document) -> Iterator[Point]:
    coverage = report.part(DataPart).market.coverage
    lanes = [lane for lane in coverage if lane.missing > 0]
    if lanes:
        worst = max(lanes, key=lambda lane: lane.missing / lane.expected)
        share = worst.missing / worst.expected
        yield Point(
            "warning" if share > 0.001 else "info",  # noqa: PLR2004 - a minute and a half a day
            f"{worst.symbol} {worst.timeframe}",
            f"{worst.symbol} {worst.timeframe} lacks {worst.missing:,} of {worst.expected:,} bars ({share:.2%}), the "
            f"most of {len(lanes)} incomplete lanes",
            f"Ask the source again for the gaps of {worst.symbol} (market.gaps)",
        )
    thin = thin_lanes((lane.symbol, lane.timeframe, lane.tradable) for lane in coverage)
    if thin:
        yield Point(
            "warning",
            thin[0],
            f"{len(thin)} lanes are thin, by their coverage of the holdout: {', '.join(thin)}",
            "Treat scores from thin lanes with care, or leave these symbols out",
        )
    flagged = sum(lane.flagged or 0 for lane in coverage)
    if flagged:
        yield Point("info", "flagged bars", f"{flagged:,} 1-minute bars are flagged and never traded on", "")


SECTION: Final = Section(
    name="data",
    heading="Data",
    link="Data",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM market.completeness WHERE day < {as_of} ORDER BY day DESC, symbol",
    part=DataPart,
    collect=_collect,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(40, _steps), Rule(50, _gaps)),
)
