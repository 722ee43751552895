"""Backtests: bar aggregation, the kernel, costs, metrics, overfitting statistics and `BacktestEngine`.

Belongs here: everything between signals and results. Does not belong here: what makes the signals (`strategies`,
`model_zoo`), anything that reads a database or a network.
"""

from backtester.aggregator import aggregate
from backtester.bars import BarError, Bars
from backtester.costs import Costs, MarginRules
from backtester.engine import BacktestEngine
from backtester.evaluation import Evaluation, Market, StrategyLike, evaluate, read_market
from backtester.lanes import TRADE_SCHEMA, Lane, LaneResult, run_lanes
from backtester.metrics import score
from backtester.pooling import PooledResult, pool, ranking_key
from backtester.signals import SignalError, Signals

__all__ = [
    "TRADE_SCHEMA",
    "BacktestEngine",
    "BarError",
    "Bars",
    "Costs",
    "Evaluation",
    "Lane",
    "LaneResult",
    "MarginRules",
    "Market",
    "PooledResult",
    "SignalError",
    "Signals",
    "StrategyLike",
    "aggregate",
    "evaluate",
    "pool",
    "ranking_key",
    "read_market",
    "run_lanes",
    "score",
]
