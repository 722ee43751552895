"""Which strategies stay and which are replaced, by rank alone.

Belongs here: `StrategyRanker`. Does not belong here: the order itself (`backtester.ranking`), scoring, the record of
what became active or archived (the warehouse).
"""

import polars as pl

from backtester.ranking import ranked, worst


class StrategyRanker:
    """The ranking of one cycle's scores. There are no thresholds: the best stay, the worst go.

    Parameters
    ----------
    scores : DataFrame
        One row a strategy: `name`, `score`, `total_trades`, and any other columns.

    Attributes
    ----------
    table : DataFrame
        The same rows from best to worst with `rank` first; see `backtester.ranking.ranked`.

    Raises
    ------
    ValueError
        If a column is missing or a name occurs twice.
    """

    def __init__(self, scores: pl.DataFrame) -> None:
        self.table = ranked(scores)

    def get_top_strategies(self, count: int = 20) -> list[str]:
        """Return the names of the best `count`, best first; all where there are fewer."""
        return self.table.head(max(count, 0))["name"].to_list()

    def get_to_replace(self, count: int | None = None) -> list[str]:
        """Return the names of the worst, worst first: `count`, or a fifth of all, rounded up."""
        return worst(self.table, count)
