"""The standard metrics of a result, each written once: its name, its unit, where it is stored and how it is shown.

Belongs here: the list, and values and columns that follow from it. Does not belong here: the arithmetic behind a metric
(`backtester.statistics.metrics`, `backtester.evaluation.pooling`), how a page or a terminal writes a number.

To add a metric, add it to `STANDARD` and add a column of its name to `research.strategy_backtest_results`. Stored rows,
`BacktestEngine`, the page of a backtest and the report take it from here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backtester.evaluation.pooling import PooledResult
from backtester.simulation.lanes import LaneResult

Result = LaneResult | PooledResult
Value = float | int | None

RESULTS: Final = "research.strategy_backtest_results"
EVIDENCE: Final = "research.evidence"


class Unit(StrEnum):
    """What a value is; it decides how the value is shown."""

    FRACTION = "fraction"
    """Of a whole; shown as a percentage without a sign."""
    PERCENT = "percent"
    """A gain or a cost; shown as a percentage with its sign."""
    NUMBER = "number"
    """A ratio, a multiple or points of the score."""
    COUNT = "count"


@dataclass(frozen=True)
class Metric:
    """One metric of a result.

    Attributes
    ----------
    name : str
        Attribute of `LaneResult` and `PooledResult`, key of `BacktestEngine.calculate_metrics`.
    unit : Unit
        Of its values.
    label : str
        What people read beside it on the page of a backtest; empty where the page does not list it by itself.
    brief : str
        What people read above it in the report; empty where the report does not list it by itself.
    digits : int
        Decimals where it is shown.
    column : str
        Where it is stored; its name where empty.
    table : str
        Where it is stored with the pooled result; a lane stores what is in `RESULTS`. Empty: nowhere.
    pooled_only : bool
        Whether a lane has no such value.
    of_models : bool
        Whether results of models and ensembles store it, too.
    optional : bool
        Whether the page leaves it out where it is null.
    reported : bool
        Whether the report has it for each of the best strategies, where it is stored.
    beside : tuple of (str, str), optional
        Another metric that is shown with it, and how: `("sharpe_se", "{} ({})")`.
    compute : callable, optional
        From a result to the value, where that is no attribute of it.
    """

    name: str
    unit: Unit
    label: str = ""
    brief: str = ""
    digits: int = 2
    column: str = ""
    table: str = RESULTS
    pooled_only: bool = False
    of_models: bool = False
    optional: bool = False
    reported: bool = True
    beside: tuple[str, str] | None = None
    compute: Callable[[Result], Value] | None = None

    @property
    def stored_as(self) -> str:
        """Name of its column."""
        return self.column or self.name

    def of(self, result: Result) -> Value:
        """Return its value for a result; null where it is undefined."""
        value: Value = getattr(result, self.name) if self.compute is None else self.compute(result)
        return value


_PART, _PCT, _NUMBER, _COUNT = Unit.FRACTION, Unit.PERCENT, Unit.NUMBER, Unit.COUNT

STANDARD: Final = (
    Metric("score", _NUMBER, "Score", "score"),
    Metric("total_pnl_pct", _PCT, "Total result", "return"),
    Metric("worst_pnl_pct", _PCT, "Worst to best case", table=EVIDENCE, beside=("best_pnl_pct", "{} to {}")),
    Metric("best_pnl_pct", _PCT, table=EVIDENCE),
    Metric("trades", _COUNT, "Trades", "trades", column="total_trades"),
    Metric("win_rate", _PART, "Win rate", "win rate", digits=1, of_models=True),
    Metric("avg_pnl_pct", _PCT, "Average result of a trade", "average PnL", digits=3, of_models=True),
    Metric("sharpe", _NUMBER, "Sharpe ratio (standard error)", "Sharpe", beside=("sharpe_se", "{} ({})")),
    Metric("sharpe_se", _NUMBER),
    Metric("sortino", _NUMBER, "Sortino ratio"),
    Metric("max_drawdown", _PART, "Largest drawdown", "max drawdown", digits=1, of_models=True),
    Metric("profit_factor", _NUMBER, "Profit factor"),
    Metric("exposure", _PART, "Exposure", "exposure", digits=1),
    Metric("turnover", _NUMBER, brief="turnover"),
    Metric("fees_pct", _PCT, brief="fees"),
    Metric("slippage_pct", _PCT, brief="slippage"),
    Metric("funding_pct", _PCT, brief="funding"),
    Metric("funding_known", _PART, reported=False),
    Metric("coverage", _PART, "Tradable bars", "tradable bars", digits=1, of_models=True),
    Metric(
        "declared_pnl_pct", _PCT, "With the declared size and leverage", "declared return", of_models=True,
        optional=True,
    ),
    Metric("declared_drawdown", _PART, "Its drawdown", "its drawdown", digits=1, of_models=True, optional=True),
    Metric("declared_liquidations", _COUNT, "Its liquidations", "liquidations", of_models=True, optional=True),
    Metric("ruined", _COUNT, of_models=True),
    Metric("liquidations", _COUNT, table=""),
    Metric("unresolved", _COUNT, "Fills undecided within a bar", table=EVIDENCE, beside=("ambiguous", "{} of {}")),
    Metric("ambiguous", _COUNT, table=EVIDENCE),
    Metric("limit_fills", _COUNT, "Limit orders filled", table="", optional=True, beside=("limit_orders", "{} of {}")),
    Metric("limit_orders", _COUNT, table=""),
    Metric(
        "rounded_away_pct", _PCT, "Left out by lots and smallest orders", table="", optional=True,
        beside=("too_small", "{} of what was asked for; whole entries: {}"),
    ),
    Metric("too_small", _COUNT, table=""),
    Metric("score_win_rate", _NUMBER, brief="40·win rate", pooled_only=True, of_models=True),
    Metric("score_avg_pnl", _NUMBER, brief="30·avg PnL", pooled_only=True, of_models=True),
    Metric("score_sharpe", _NUMBER, brief="20·Sharpe", pooled_only=True, of_models=True),
    Metric("score_drawdown", _NUMBER, brief="−10·drawdown", pooled_only=True, of_models=True),
)  # fmt: skip
"""In the order in which they are shown."""


def metric_named(name: str) -> Metric:
    """Return a standard metric by its name."""
    return next(metric for metric in STANDARD if metric.name == name)


def values(result: Result) -> dict[str, Value]:
    """Return the metrics of a result by name; those that only a pooled result has, of such a one alone."""
    return {metric.name: metric.of(result) for metric in _held(result)}


def stored(result: Result, table: str = RESULTS) -> dict[str, Value]:
    """Return the metrics of a result by column of a table."""
    return {metric.stored_as: metric.of(result) for metric in _held(result) if metric.table == table}


def stored_of_model(pooled: PooledResult) -> dict[str, Value]:
    """Return by column what tables of models and ensembles store of a pooled result, all but score and Sharpe ratio."""
    return {metric.stored_as: metric.of(pooled) for metric in STANDARD if metric.of_models}


def figures(result: Result, text: Callable[[Metric, Value], str]) -> Iterator[tuple[str, str]]:
    """Yield the label and the text of each metric that is listed by itself, in their order.

    Parameters
    ----------
    result : LaneResult or PooledResult
        Whose metrics.
    text : callable
        Writes a value of a metric.

    Yields
    ------
    tuple of two str
        Label and text.
    """
    for metric in _held(result):
        value = metric.of(result)
        if not metric.label or (metric.optional and value is None):
            continue
        shown = text(metric, value)
        if metric.beside is not None:
            other, form = metric_named(metric.beside[0]), metric.beside[1]
            shown = form.format(shown, text(other, other.of(result)))
        yield metric.label, shown


def _held(result: Result) -> Iterator[Metric]:
    return (metric for metric in STANDARD if isinstance(result, PooledResult) or not metric.pooled_only)
