"""The section on the best strategies: cards with curves, the whole ranking, each lane.

Belongs here: ranks, results and evidence. Does not belong here: scoring and ranking.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import polars as pl
from markupsafe import Markup
from pydantic import create_model

from backtester.evaluation.pooling import FEW_TRADES
from backtester.evaluation.standard_metrics import STANDARD, Metric, Unit, metric_named
from backtester.simulation.costs import Costs
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.reporting import pictures
from blofin_assets.reporting.collect.cycles import holdout_words, strategy_table
from blofin_assets.reporting.document import Document, Number, Part, Share, Under
from blofin_assets.reporting.page import formats
from blofin_assets.reporting.page.tables import EVIDENCE, RANKING, RESULTS, Column, Table, columns_of
from blofin_assets.reporting.section import TOP, Point, ReportData, Rule, Section, listed, nothing_more
from blofin_assets.reporting.sections.live import Live, live_of
from blofin_assets.shared.json_values import at_most
from blofin_assets.shared.vocabulary import Kind

THIN: Final = 0.0001
"""Margin of break-even over assumed slippage, fraction per side, below which a result depends on fills."""
SLIPPAGE: Final = Costs().slippage
"""Slippage per side that backtests assume."""
RANDOM: Final = 0.2
"""Share of random timings with an equal or better result, above which the timing is not significant."""


class _Placed(Part):
    """Name, author and rank of one of the best strategies."""

    rank: int | None
    previous_rank: int | None
    name: str
    version: str
    status: str | None
    author: str | None
    source: str | None
    backtest_period: str | None = None


_TYPES: Final[dict[Unit, Any]] = {
    Unit.COUNT: int | None,
    Unit.FRACTION: Share,
    Unit.PERCENT: Number,
    Unit.NUMBER: Number,
}

if TYPE_CHECKING:

    class _Measured(_Placed):
        def __getattr__(self, name: str) -> Any: ...

else:
    _Measured = create_model(
        "_Measured",
        __base__=_Placed,
        **{metric.name: (_TYPES[metric.unit], ...) for metric in STANDARD if metric.table and metric.reported},
    )


class TopStrategy(_Measured):
    """One of the best strategies with its standard metrics and its evidence."""

    psr: Share
    dsr: Share
    trials: int | None = None
    effective_trials: Number = None
    supported: bool | None
    step_m: bool | None = None
    expected_sharpe: Number = None
    expected_low: Number = None
    expected_high: Number = None
    expected_windows: int | None = None
    author_may_know: bool | None
    episodes: int | None
    winners: int | None
    losers: int | None
    timing_p: Share
    timing_shifts: int | None
    break_even_slippage: Number
    break_even_fee: Number
    hold_pnl_pct: Number
    alpha: Number
    alpha_se: Number
    beta: Number
    volume_share_median: Number
    volume_share_largest: Number
    volume_warning: str | None
    live: Live

    @property
    def break_even(self) -> str:
        """Break-even slippage per side."""
        return formats.break_even(self.break_even_slippage, self.trades)

    @property
    def sharpe_range(self) -> str:
        """Sharpe ratio ± its standard error."""
        return formats.plus_minus(self.sharpe, self.sharpe_se, 1)

    @property
    def expected_range(self) -> str:
        """Expected Sharpe ratio, and where that of the next month is to be expected."""
        return formats.expected(self.expected_sharpe, self.expected_low, self.expected_high)

    @property
    def tries(self) -> str:
        """Tries behind the deflated ratio, and the independent ones that they are worth."""
        worth = "" if self.effective_trials is None else f", worth {formats.number(self.effective_trials, 0)}"
        return f"{formats.number(self.trials, 0)}{worth}"

    @property
    def alpha_range(self) -> str:
        """Alpha ± its standard error."""
        return formats.plus_minus(self.alpha, self.alpha_se, 1)

    @property
    def worst_to_best(self) -> str:
        """Total for the worse and the better order of events inside bars."""
        worst = formats.percent(self.worst_pnl_pct)
        if self.worst_pnl_pct is None or self.worst_pnl_pct == self.best_pnl_pct:
            return worst
        return f"{worst} to {formats.percent(self.best_pnl_pct)}"


class Ranked(Part):
    """One row of the whole ranking; `reason` is the reason of its status."""

    rank: int | None
    previous_rank: int | None
    name: str
    version: str
    status: str | None
    author: str | None
    score: Number
    trades: int | None
    total_pnl_pct: Number
    declared_pnl_pct: Number
    ruined: int | None
    coverage: Share
    dsr: Share
    losers: int | None
    reason: str | None
    expected_sharpe: Number = None
    expected_low: Number = None
    expected_high: Number = None
    expected_windows: int | None = None
    backtest_period: str | None = None

    @property
    def expected_range(self) -> str:
        """Expected Sharpe ratio, and where that of the next month is to be expected."""
        return formats.expected(self.expected_sharpe, self.expected_low, self.expected_high)


class LaneResult(Part):
    """One strategy on one lane; only on the page, not in the JSON."""

    strategy_name: str
    symbol: str
    timeframe: str
    scored: bool | None
    total_trades: int | None
    win_rate: Share
    avg_pnl_pct: Number
    total_pnl_pct: Number
    max_drawdown: Number
    sharpe: Number
    coverage: Number
    declared_pnl_pct: Number
    declared_liquidations: int | None


class StrategiesPart(Part):
    """Keys of the section in the report."""

    top_5_strategies: Annotated[list[TopStrategy], Under("performance")]
    ranking: list[Ranked]


def _build(data: ReportData, _: None) -> StrategiesPart:
    table = strategy_table(data.cycles)
    best = [
        TopStrategy.of(
            row,
            break_even_slippage=at_most(row["break_even_slippage"]),
            break_even_fee=at_most(row["break_even_fee"]),
            live=live_of("strategy", row["name"], row["version"], data),
        )
        for row in table.head(TOP).iter_rows(named=True)
    ]
    return StrategiesPart(top_5_strategies=best, ranking=[Ranked.of(row) for row in table.iter_rows(named=True)])


_RANKING: Final = (
    Column("strategy", "name"),
    *columns_of(RANKING, ("rank", "rank", "int")),
    Column("before", "previous_rank", "int", "report.previous_rank"),
    *columns_of(RANKING, ("score", "score", "n1"), ("trades", "trades", "int")),
    *columns_of(
        RESULTS, ("return", "total_pnl_pct", "pct"), ("declared", "declared_pnl_pct", "pct"),
        ("ruined", "ruined", "int"), ("tradable", "coverage", "share0"), ("holdout", "backtest_period", "text"),
    ),
    Column("DSR", "dsr", "share", f"{EVIDENCE}.dsr"),
    Column("lost", "losers", "int", f"{EVIDENCE}.losers"),
    Column("expected", "expected_range", "text", "report.expected_range"),
    Column("status", "status", "text", f"{RANKING}.status"),
    Column("author", "author", "text", "report.author"),
    Column("why", "reason"),
)  # fmt: skip
_LANES: Final = (
    Column("strategy", "strategy_name"),
    Column("symbol", "symbol"),
    Column("bars", "timeframe"),
    Column("scored", "scored", "yes", f"{RESULTS}.scored"),
    *columns_of(
        RESULTS, ("trades", "total_trades", "int"), ("win rate", "win_rate", "share0"),
        ("avg PnL", "avg_pnl_pct", "pct3"), ("return", "total_pnl_pct", "pct"), ("max DD", "max_drawdown", "share"),
        ("Sharpe", "sharpe", "n1"), ("tradable", "coverage", "share0"), ("declared", "declared_pnl_pct", "pct"),
        ("liquidated", "declared_liquidations", "int"),
    ),
)  # fmt: skip


def _measured(*names: str, **forms: str) -> tuple[Column, ...]:
    """Return columns of standard metrics, each in the format of its unit unless another is given."""
    metrics = [metric_named(name) for name in names]
    return tuple(
        Column(metric.brief, metric.name, forms.get(metric.name, _form(metric)), f"{metric.table}.{metric.stored_as}")
        for metric in metrics
    )


def _form(metric: Metric) -> str:
    if metric.unit == Unit.PERCENT:
        return "pct3" if metric.digits == 3 else "pct"  # noqa: PLR2004 - decimals
    return {Unit.FRACTION: "share", Unit.COUNT: "int"}.get(metric.unit, "n1")


_LEADING: Final = (
    *_measured("total_pnl_pct", "score", "trades", "win_rate", "avg_pnl_pct"),
    Column("Sharpe", "sharpe_range", "text", "report.sharpe"),
    *_measured("max_drawdown"),
    Column("expected Sharpe", "expected_range", "text", "report.expected_range"),
    *columns_of(EVIDENCE, ("deflated Sharpe", "dsr", "share")),
    Column("after tries", "tries", "text", "report.tries"),
)
"""Figures of each of the best strategies that are always visible."""
_PLACED: Final = (
    *columns_of(
        EVIDENCE, ("probabilistic", "psr", "share"), ("StepM names it", "step_m", "yes"),
        ("holdouts behind expected", "expected_windows", "int"), ("episodes", "episodes", "int"),
        ("lost episodes", "losers", "int"),
    ),
    *_measured("declared_pnl_pct", "declared_drawdown", "declared_liquidations", "coverage"),
    *columns_of(EVIDENCE, ("random timing p", "timing_p", "n3"), ("number of shifts", "timing_shifts", "int")),
    Column("break-even slippage", "break_even", "text", f"{EVIDENCE}.break_even_slippage"),
    Column("worst to best", "worst_to_best", "text", "report.range"),
    *columns_of(EVIDENCE, ("buy and hold", "hold_pnl_pct", "pct"), ("beta", "beta", "n2")),
    Column("alpha a year", "alpha_range", "text", "report.alpha"),
    *_measured("fees_pct", "slippage_pct", "funding_pct", "exposure", "turnover", exposure="share0"),
    *columns_of(EVIDENCE, ("largest share of a bar", "volume_share_largest", "share2")),
    *_measured("score_win_rate", "score_avg_pnl", "score_sharpe", "score_drawdown"),
)  # fmt: skip
_SHOWN: Final = {"sharpe", *(column.key for column in (*_LEADING, *_PLACED))}
_FURTHER: Final = (
    *_PLACED,
    *_measured(*(metric.name for metric in STANDARD if metric.brief and metric.name not in _SHOWN)),
)
"""Figures that unfold on a click; metrics without a place of their own come last."""


class Card(NamedTuple):
    """One of the best strategies with its curve, which is empty if the cycle stored none."""

    row: TopStrategy
    plot: Markup


def _view(part: StrategiesPart, data: ReportData) -> Mapping[str, object]:
    lanes = [LaneResult.of(row) for row in data.cycles.lanes.iter_rows(named=True)]
    return {
        "cards": [Card(row, _curve(row, data)) for row in part.top_5_strategies],
        "holdout": holdout_words(strategy_table(data.cycles)),
        "usual": f"{HOLDOUT_LENGTH.days}d",
        "leading": _LEADING,
        "further": _FURTHER,
        "ranking": Table(_RANKING, part.ranking),
        "lanes": Table(_LANES, lanes),
    }


def _curve(row: TopStrategy, data: ReportData) -> Markup:
    same = (pl.col("name") == row.name) & (pl.col("version") == row.version)
    equity = data.cycles.strategy_equity.filter(same)
    if equity.is_empty():
        return Markup()
    forward = data.forward.equity.filter((pl.col("kind") == Kind.STRATEGY) & same)
    newest = forward.filter(pl.col("activated_at") == pl.col("activated_at").max())
    label = (
        f"Equity and drawdown of {row.name} over the holdout: {formats.percent(row.total_pnl_pct)} in "
        f"{row.trades} trades, maximum drawdown {formats.share(row.max_drawdown)}"
    )
    return pictures.live(pictures.curve_figure(equity, newest), f"s{row.rank}", label)


def _ruined(report: Document) -> Iterator[Point]:
    ruined = [row.name for row in report.part(StrategiesPart).ranking if row.ruined]
    if ruined:
        yield Point(
            "warning",
            ruined[0],
            f"{len(ruined)} strategies are ruined by their declared size and leverage and rank last: {listed(ruined)}",
            f"Lower the size or leverage of {listed(ruined)}",
        )


def _silent(report: Document) -> Iterator[Point]:
    silent = [row.name for row in report.part(StrategiesPart).ranking if not row.trades]
    if silent:
        yield Point(
            "warning",
            silent[0],
            f"{len(silent)} strategies did not trade on the holdout: {listed(silent)}",
            f"Relax the entry rule of, or replace, strategies that never trade: {listed(silent)}",
        )


def _timing(report: Document) -> Iterator[Point]:
    best = report.part(StrategiesPart).top_5_strategies
    rows = [(row.timing_p, row.name) for row in best if row.timing_p is not None and row.timing_p > RANDOM]
    if rows:
        p, worst = max(rows, key=lambda row: row[0])
        yield Point(
            "warning",
            worst,
            f"{p:.0%} of random timings did as well as {worst}: its entries show no skill",
            f"Compare {listed([name for _, name in rows])} with random entries before tuning further",
        )


def _tops(report: Document) -> Iterator[Point]:
    for row in report.part(StrategiesPart).top_5_strategies:
        name, margin = row.name, row.break_even_slippage
        if row.trades is not None and 0 < row.trades < FEW_TRADES:
            yield Point("warning", name, f"{name} rests on {row.trades} trades", "")
        if margin is not None and SLIPPAGE <= margin < SLIPPAGE + THIN:
            yield Point(
                "warning",
                name,
                f"{name} breaks even at {1e4 * margin:.1f} bp slippage per side, {1e4 * SLIPPAGE:.0f} bp are assumed",
                f"Measure the real slippage of {name}: its result depends on it",
            )
        if row.volume_warning:
            yield Point("warning", name, f"{name}: {row.volume_warning}", "")


SECTION: Final = Section(
    name="strategies",
    heading="The best strategies",
    link="Strategies",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.ranking_history WHERE kind = 'strategy' AND as_of = {strategies} ORDER BY rank",
    part=StrategiesPart,
    collect=nothing_more,
    build=_build,
    nothing=lambda _: StrategiesPart(top_5_strategies=[], ranking=[]),
    view=_view,
    rules=(Rule(60, _ruined), Rule(70, _silent), Rule(80, _timing), Rule(100, _tops)),
)
