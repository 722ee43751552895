"""Ways of trading of strategies: the cells of the archive, so that the search keeps many different strategies.

Belongs here: the cell of a strategy's trial. Does not belong here: which trial lives in a cell
(`strategies.search.map_elites.archive`), the cells of books (`strategies.search.books.fitness`).
"""

from bisect import bisect_right
from typing import Final

from features.bars import DEFAULT_TIMEFRAMES
from strategies.search.map_elites.genome import DIRECTIONS, Genome
from strategies.search.map_elites.trials import Cell

TURNOVER: Final = (0.5, 2.0, 6.0)
"""Edges of turnover: trades a day and lane."""
HOLDING: Final = (0.5, 1.5, 6.0)
"""Edges of holding time: hours of a mean trade."""
CELLS: Final = len(DEFAULT_TIMEFRAMES) * (len(TURNOVER) + 1) * len(DIRECTIONS) * (len(HOLDING) + 1)


def cell_of(genome: Genome, trades_a_day: float, held_hours: float) -> Cell:
    """Return the way of trading of a genome: timeframe (the shortest scored), turnover, direction, holding time.

    Parameters
    ----------
    genome : Genome
        What traded.
    trades_a_day : float
        Trades a day and scored lane.
    held_hours : float
        Mean length of a trade.

    Returns
    -------
    Cell
        Places of the four among their edges.
    """
    return (
        min(DEFAULT_TIMEFRAMES.index(timeframe) for timeframe in genome.timeframes),
        bisect_right(TURNOVER, trades_a_day),
        DIRECTIONS.index(genome.direction),
        bisect_right(HOLDING, held_hours),
    )
