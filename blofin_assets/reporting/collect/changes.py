"""What the day changed among the strategies, and who did it at which cost.

Belongs here: designs, tunings, archived strategies, the designers, the tries. Does not belong here: results of what
was there before (`cycles`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from blofin_assets.partitions import DAY
from blofin_resources.warehouse import Warehouse

_DESIGNERS: Final = (
    "SELECT stage, designer, state, detail, budget, evaluations, proposals, finalists, accepted, supported, "
    "mean_score, best_score, model, cost_usd FROM research.designers WHERE as_of = ? ORDER BY stage, designer"
)
_PROPOSALS: Final = (
    "SELECT p.stage, p.designer, p.slot, p.name, p.version, p.parent_version, p.attempt, p.changes, p.reason, "
    "p.fails_when, p.state, p.refusal, p.evaluations, p.search_score, p.search_trades, p.parent_search_score, "
    "p.cost_usd, e.score, e.trades, e.sharpe, e.parent_score, e.rank, e.dsr, e.supported, e.accepted, e.replaces, "
    "e.reason AS outcome FROM research.proposals AS p LEFT JOIN research.exam_outcomes AS e "
    "ON e.as_of = p.as_of AND e.name = p.name AND e.version = p.version "
    "WHERE p.as_of = ? ORDER BY p.stage, e.accepted DESC NULLS LAST, e.score DESC NULLS LAST, p.designer, p.slot"
)
_ARCHIVED: Final = (
    'SELECT name, version, reason, "at" FROM research.strategy_events '
    'WHERE event = \'archived\' AND "at" > ? AND "at" <= ? ORDER BY "at", name, version'
)
_TRIALS: Final = (
    "SELECT author, coalesce(purpose, 'exam') AS purpose, count(*) AS trials FROM research.trials "
    "WHERE as_of > ? AND as_of <= ? GROUP BY ALL ORDER BY ALL"
)
_MODEL_TUNING: Final = (
    "SELECT model_name AS name, action, decision, reason, trials, champion_log_loss, challenger_log_loss, gain, "
    "gain_low FROM ml.model_tuning WHERE as_of > ? AND as_of <= ? ORDER BY as_of, model_name"
)


@dataclass(frozen=True)
class Changes:
    """What changed within the day.

    Attributes
    ----------
    designers : DataFrame
        What each author of designs and tunings did in the day's strategy cycle; empty where none was due.
    proposals : DataFrame
        What they proposed, with what the exam said of those that took it.
    archived : DataFrame
        name, version, reason, at.
    trials : DataFrame
        author, purpose (search or exam), trials: evaluations of the day.
    model_tuning : DataFrame
        What was done about models that drift.
    """

    designers: pl.DataFrame
    proposals: pl.DataFrame
    archived: pl.DataFrame
    trials: pl.DataFrame
    model_tuning: pl.DataFrame


def collect_changes(warehouse: Warehouse, as_of: datetime, strategy_time: datetime | None) -> Changes:
    """Return what changed in the day that ends at `as_of`."""
    cycle = strategy_time if strategy_time is not None and strategy_time > as_of - DAY else None
    day = [as_of - DAY, as_of]
    return Changes(
        designers=warehouse.read(_DESIGNERS, [cycle]),
        proposals=warehouse.read(_PROPOSALS, [cycle]),
        archived=warehouse.read(_ARCHIVED, day),
        trials=warehouse.read(_TRIALS, day),
        model_tuning=warehouse.read(_MODEL_TUNING, day),
    )
