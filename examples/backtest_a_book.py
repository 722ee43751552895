"""Backtest a book of your own in Python: one capital over a universe, frames in and frames out.

Run it with ``.venv/bin/python examples/backtest_a_book.py``. The universe is synthetic and holds planted edges; any
frames with the same columns do.
"""

from datetime import UTC, datetime, timedelta

from backtester import backtest_book, contracts_of
from blofin_resources.market.sample import SampleMarket
from strategies import Book, Features, Param, Weights, across

END = datetime(2025, 6, 12, tzinfo=UTC)
START = END - timedelta(days=90)
SYMBOLS = 20
NOTICE = timedelta(days=7)
"""How long before it the synthetic exchange announces a delisting; an end that nobody announced is not known."""


class CalmCarry(Book):
    """Buy where shorts pay for their leverage, sell where longs do, and leave out what has just moved.

    Edge: the crowded side pays the other.
    Fails: when the crowd is right for long.
    """

    name = "calm_carry"
    timeframe, rebalance = "60m", "24h"
    share = Param(0.25, 0.1, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        carry = across.rank(-f.funding_rate) - across.rank(abs(f.returns_24))
        return Weights(rank_by=carry, long=self.share, short=self.share, size="inverse_volatility", band=0.2)


def main() -> None:
    """Backtest the last 60 days and print what came of it."""
    market = SampleMarket(seed=7, variant="edge", clock=lambda: END)
    listings = market.listings()
    symbols = listings.filter(listings["list_time"] < START)["symbol"].to_list()[:SYMBOLS]
    candles, funding = market.candles(symbols, "60m", START, END), market.funding(symbols, START, END)
    notice = listings.with_columns(announced=listings["delist_time"] - NOTICE)
    contracts = contracts_of(market.instruments(symbols, END), notice)
    first = END - timedelta(days=60)
    found = backtest_book(CalmCarry(), candles, funding, contracts=contracts, start=first, capital=100_000)
    for name, value in found.metrics().items():
        print(f"{name:>20}  {value}")
    print(found.result.by_symbol().head())
    for capacity in found.capacity():
        print(
            f"at {capacity.capital:,.0f}: {capacity.above_limit:.1%} of the fills are above 1 % of their bar's volume"
        )


if __name__ == "__main__":
    main()
