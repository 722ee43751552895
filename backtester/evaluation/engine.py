"""`BacktestEngine`: one symbol, one window, one strategy or model, and its metrics.

Belongs here: the interface for notebooks and single backtests. Does not belong here: evaluating many things at once
(`backtester.evaluation.evaluate`), which is what the cycles use; both run the same kernel on the same semantics.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol, Self, runtime_checkable

import polars as pl

from backtester.evaluation.evaluate import Evaluation, Market, StrategyLike, WindowReader, evaluate
from backtester.evaluation.standard_metrics import values
from backtester.simulation.costs import Costs, MarginRules
from backtester.simulation.lanes import DEFAULT_CAPITAL
from features.bars import TIMEFRAMES, CandleSource, Timeframe


@runtime_checkable
class Tradable(Protocol):
    """A model that hands out the strategy by which its predictions are traded."""

    def as_strategy(self) -> StrategyLike:
        """Return the strategy that trades this model's predictions."""
        ...


class BacktestEngine:
    """Backtest one strategy or model on one symbol.

    Parameters
    ----------
    symbol : str
        The instrument, e.g. `BTC-USDT`.
    start_date, end_date : datetime, date or str
        The window: UTC times, or dates (the start of that day), or ISO texts of either.
    source : CandleSource, optional
        Where funding and mark prices come from; by default that of the feature manager.
    costs : Costs, optional
        By default a taker fee of 0.06 % and 2 basis points of slippage a side.
    rules : MarginRules, optional
        Leverage limits and maintenance margin of the instrument.
    timeframes : sequence of Timeframe, optional
        Timeframes to run, by default those that the strategy declares.
    capital : float
        Starting capital of each timeframe, in quote currency.

    Examples
    --------
    >>> engine = BacktestEngine("BTC-USDT", "2025-06-01", "2025-06-08")  # doctest: +SKIP
    >>> engine.run_strategy(strategy, feature_manager).calculate_metrics()["score"]  # doctest: +SKIP
    """

    def __init__(
        self,
        symbol: str,
        start_date: datetime | date | str,
        end_date: datetime | date | str,
        source: CandleSource | None = None,
        *,
        costs: Costs | None = None,
        rules: MarginRules | None = None,
        timeframes: Sequence[Timeframe] | None = None,
        capital: float = DEFAULT_CAPITAL,
    ) -> None:
        self.symbol = symbol
        self.start, self.end = utc(start_date), utc(end_date)
        if self.start >= self.end:
            msg = f"start_date {self.start} is not before end_date {self.end}"
            raise ValueError(msg)
        self.source = source
        self.costs = costs or Costs()
        self.rules = {symbol: rules or MarginRules()}
        self.timeframes = None if timeframes is None else tuple(timeframes)
        self.capital = capital
        self._evaluation: Evaluation | None = None

    def run_strategy(
        self, strategy: StrategyLike, feature_manager: WindowReader, *, market: Market | None = None
    ) -> Self:
        """Run a strategy over the window.

        Parameters
        ----------
        strategy : StrategyLike
            What is backtested.
        feature_manager : FeatureManager
            Where candles and features come from.
        market : Market, optional
            Data already read for this window.

        Returns
        -------
        BacktestEngine
            The engine itself, so that calls can be chained.

        Raises
        ------
        TypeError
            If `strategy` lacks a part of `StrategyLike`.
        LookupError
            If the symbol is unknown.
        ValueError
            If there are no bars in the window, or bars or signals are malformed; the message names row and value.

        Notes
        -----
        No look-ahead: signals of a bar are filled at the next bar's open.
        """
        missing = [name for name in ("timeframes", "features", "signals") if not hasattr(strategy, name)]
        if missing:
            msg = f"{strategy!r} has no {', '.join(missing)}; a strategy has name, timeframes, features() and signals()"
            raise TypeError(msg)
        chosen = self.timeframes or tuple(tf for tf in TIMEFRAMES if tf in strategy.timeframes)
        self._evaluation = evaluate(
            [strategy],
            feature_manager,
            [self.symbol],
            self.start,
            self.end,
            self.costs,
            timeframes=chosen,
            rules=self.rules,
            source=self.source,
            market=market,
            trades=True,
            equity=True,
            capital=self.capital,
        )[0]
        return self

    def run_model(self, model: Any, feature_manager: WindowReader, *, market: Market | None = None) -> Self:
        """Trade a model's predictions over the window, by the same kernel and costs as a strategy.

        Parameters
        ----------
        model : StrategyLike or Tradable
            A model with `features` and `signals`, or with `as_strategy()`.
        feature_manager : FeatureManager
            Where candles and features come from.
        market : Market, optional
            Data already read for this window.

        Returns
        -------
        BacktestEngine
            The engine itself, so that calls can be chained.
        """
        strategy = model.as_strategy() if isinstance(model, Tradable) else model
        return self.run_strategy(strategy, feature_manager, market=market)

    @property
    def evaluation(self) -> Evaluation:
        """Everything about the last run.

        Raises
        ------
        RuntimeError
            If nothing has been run.
        """
        if self._evaluation is None:
            msg = "nothing has been run; call run_strategy or run_model first"
            raise RuntimeError(msg)
        return self._evaluation

    @property
    def trades(self) -> pl.DataFrame:
        """Trades of the last run's unit replay, `backtester.simulation.lanes.TRADE_SCHEMA`."""
        return self.evaluation.trades

    @property
    def equity(self) -> pl.DataFrame:
        """Capital and PnL of the last run at full hours: `ts`, `equity` (starting capital = 1; not compounded)."""
        return self.evaluation.equity

    def calculate_metrics(self) -> dict[str, float | int | None]:
        """Return the standard metrics of the last run by name, pooled over its timeframes; null where undefined.

        `avg_pnl`, `total_pnl` and `total_trades` are the same as `avg_pnl_pct`, `total_pnl_pct` and `trades`.

        Raises
        ------
        RuntimeError
            If nothing has been run.
        """
        pooled = self.evaluation.pooled
        if pooled is None:
            msg = f"{self.evaluation.name} was not evaluated: {self.evaluation.error}"
            raise RuntimeError(msg)
        metrics = values(pooled)
        aliases = {"avg_pnl": "avg_pnl_pct", "total_pnl": "total_pnl_pct", "total_trades": "trades"}
        return {**metrics, **{alias: metrics[name] for alias, name in aliases.items()}}


def utc(moment: datetime | date | str) -> datetime:
    """Convert a time, a date or an ISO text to a UTC time.

    Raises
    ------
    ValueError
        If it is not a time, or a time without a zone.

    Examples
    --------
    >>> utc("2025-06-12").isoformat()
    '2025-06-12T00:00:00+00:00'
    """
    if isinstance(moment, str):
        try:
            moment = date.fromisoformat(moment) if len(moment) == len("2025-06-12") else datetime.fromisoformat(moment)
        except ValueError:
            msg = f"{moment!r} is not a date or time; give 2025-06-12 or 2025-06-12T00:00:00Z"
            raise ValueError(msg) from None
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time.min, UTC)
    if moment.utcoffset() != timedelta(0):
        msg = f"{moment.isoformat()} is not UTC; give a UTC time such as 2025-06-12T00:00:00Z"
        raise ValueError(msg)
    return moment
