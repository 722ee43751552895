"""Replays that begin in the middle: each lane from the last moment at which it held nothing.

Belongs here: taking up a unit replay of a strategy where an earlier one ended. Does not belong here: a replay from its
first bar (`backtester.evaluation.evaluate`), what is compared with stored rows (`backtester.forward_ledger`).

A lane of the unit replay has no memory but its position: every order is sized by the starting capital. So a lane that
holds nothing at a time goes on as one that begins there, and one that holds a position goes on as one that begins with
the signal of its entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from backtester.evaluation.evaluate import Market, StrategyLike, pack, unit_lanes
from backtester.evaluation.pooling import PooledResult, pool
from backtester.simulation.bar_arrays import to_micros
from backtester.simulation.costs import Costs, MarginRules
from backtester.simulation.kernel import LONG_ENTRY, SHORT_ENTRY
from backtester.simulation.lanes import Lane, run_lanes, trades_of
from features.bars import Timeframe

_ENTRIES: Final = np.uint8(LONG_ENTRY | SHORT_ENTRY)


@dataclass(frozen=True, eq=False)
class Resumed:
    """A replay that was taken up again.

    Attributes
    ----------
    trades : DataFrame
        `TRADE_SCHEMA`: the positions that were open, and all trades since.
    pooled : PooledResult
        Of the lanes that have a bar in the window. Its hours before the replay was taken up lack what was closed by
        then.
    """

    trades: pl.DataFrame
    pooled: PooledResult


def resume(
    strategy: StrategyLike,
    market: Market,
    flat_until: datetime,
    held: Mapping[tuple[str, Timeframe], datetime],
    *,
    largest: float,
    rules: Mapping[str, MarginRules] | None = None,
    costs: Costs | None = None,
) -> Resumed:
    """Take up the unit replay of a strategy.

    Parameters
    ----------
    strategy : StrategyLike
        What is backtested, on its own timeframes.
    market : Market
        From a bar or more before the earliest entry that is still open.
    flat_until : datetime
        Where the earlier replay ended (UTC): lanes without a position held nothing then.
    held : mapping of (str, Timeframe) to datetime
        The lanes that held a position, with the opening time of the bar of its entry.
    largest : float
        The size * leverage that counts as 1.
    rules : mapping of str to MarginRules, optional
        Leverage limits by symbol.
    costs : Costs, optional
        By default as `evaluate`'s.

    Returns
    -------
    Resumed
        What happens after `flat_until` is as in a replay from the beginning.

    Raises
    ------
    ValueError
        If the market has no lane of the strategy.
    SignalError
        If signals do not fit their bars.
    """
    packed = pack(strategy, market, costs or Costs(), rules, strategy.timeframes)
    begun = [_from(lane, held.get((lane.bars.symbol, lane.bars.timeframe), flat_until)) for lane in packed]
    results = run_lanes(unit_lanes(begun, market, largest), trades=True, replays=False)
    return Resumed(trades_of(results), pool(results))


def _from(lane: Lane, moment: datetime) -> Lane:
    """Return a lane without entries that would be filled before a moment."""
    bits = lane.signals.bits.copy()
    bits[lane.bars.ts < to_micros(moment) - lane.bars.step] &= ~_ENTRIES
    return replace(lane, signals=replace(lane.signals, bits=bits))
