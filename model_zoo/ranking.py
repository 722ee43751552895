"""Which models stay and which are replaced, by rank alone.

Belongs here: `ModelRanker`. Does not belong here: the order itself (`backtester.ranking`), scoring.
"""

import polars as pl

from backtester.ranking import ranked, worst


class ModelRanker:
    """The ranking of one cycle's models.

    Parameters
    ----------
    scores : DataFrame
        One row a model: `name`, `score`, `total_trades`, and any other columns.

    Attributes
    ----------
    table : DataFrame
        The same rows from best to worst with `rank` first; see `backtester.ranking.ranked`.
    """

    def __init__(self, scores: pl.DataFrame) -> None:
        self.table = ranked(scores)

    def get_top_models(self, count: int = 5) -> list[str]:
        """Return the names of the best `count`, best first; all where there are fewer."""
        return self.table.head(max(count, 0))["name"].to_list()

    def get_to_replace(self, count: int | None = 2) -> list[str]:
        """Return the names of the worst `count`, worst first; a fifth of all, rounded up, where None."""
        return worst(self.table, count)
