"""Backtests: bar aggregation, the kernels, costs, metrics, overfitting statistics, `BacktestEngine`, `backtest_book`.

Belongs here: everything between signals and results. Does not belong here: what makes the signals (`strategies`,
`model_zoo`), anything that reads a database or a network.

Names are fetched from their modules on first use: whoever needs windows or names alone does not wait for the compiler
behind the kernels.
"""

from typing import TYPE_CHECKING, Final

from features.front_door import front_door

if TYPE_CHECKING:
    from backtester.evaluation.book_evaluation import Beside, BookEvaluation, BookLike, PreparedMarket, backtest_book
    from backtester.evaluation.engine import BacktestEngine
    from backtester.evaluation.evaluate import Evaluation, Market, StrategyLike, evaluate, read_market
    from backtester.evaluation.pooling import PooledResult, pool
    from backtester.evaluation.ranking import ranked
    from backtester.resampling import aggregate
    from backtester.simulation.bar_arrays import BarError, Bars
    from backtester.simulation.book_market import BookMarket, Contract, contracts_of
    from backtester.simulation.books import BOOK_TRADE_SCHEMA, BookResult, BookRules, run_book
    from backtester.simulation.costs import Costs, MarginRules
    from backtester.simulation.lanes import TRADE_SCHEMA, Lane, LaneResult, run_lanes
    from backtester.simulation.signals import SignalError, Signals
    from backtester.statistics.score import score

__all__ = [
    "BOOK_TRADE_SCHEMA",
    "TRADE_SCHEMA",
    "BacktestEngine",
    "BarError",
    "Bars",
    "Beside",
    "BookEvaluation",
    "BookLike",
    "BookMarket",
    "BookResult",
    "BookRules",
    "Contract",
    "Costs",
    "Evaluation",
    "Lane",
    "LaneResult",
    "MarginRules",
    "Market",
    "PooledResult",
    "PreparedMarket",
    "SignalError",
    "Signals",
    "StrategyLike",
    "aggregate",
    "backtest_book",
    "contracts_of",
    "evaluate",
    "pool",
    "ranked",
    "read_market",
    "run_book",
    "run_lanes",
    "score",
]

_HOMES: Final = {
    "BOOK_TRADE_SCHEMA": "backtester.simulation.books",
    "TRADE_SCHEMA": "backtester.simulation.lanes",
    "BacktestEngine": "backtester.evaluation.engine",
    "BarError": "backtester.simulation.bar_arrays",
    "Bars": "backtester.simulation.bar_arrays",
    "Beside": "backtester.evaluation.book_evaluation",
    "BookEvaluation": "backtester.evaluation.book_evaluation",
    "BookLike": "backtester.evaluation.book_evaluation",
    "BookMarket": "backtester.simulation.book_market",
    "BookResult": "backtester.simulation.books",
    "BookRules": "backtester.simulation.books",
    "Contract": "backtester.simulation.book_market",
    "Costs": "backtester.simulation.costs",
    "Evaluation": "backtester.evaluation.evaluate",
    "Lane": "backtester.simulation.lanes",
    "LaneResult": "backtester.simulation.lanes",
    "MarginRules": "backtester.simulation.costs",
    "Market": "backtester.evaluation.evaluate",
    "PooledResult": "backtester.evaluation.pooling",
    "PreparedMarket": "backtester.evaluation.book_evaluation",
    "SignalError": "backtester.simulation.signals",
    "Signals": "backtester.simulation.signals",
    "StrategyLike": "backtester.evaluation.evaluate",
    "aggregate": "backtester.resampling",
    "backtest_book": "backtester.evaluation.book_evaluation",
    "contracts_of": "backtester.simulation.book_market",
    "evaluate": "backtester.evaluation.evaluate",
    "pool": "backtester.evaluation.pooling",
    "ranked": "backtester.evaluation.ranking",
    "read_market": "backtester.evaluation.evaluate",
    "run_book": "backtester.simulation.books",
    "run_lanes": "backtester.simulation.lanes",
    "score": "backtester.statistics.score",
}

__getattr__: Final = front_door(__name__, _HOMES)
