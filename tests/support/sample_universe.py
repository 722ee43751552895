"""Weeks of the sample market's universe in a test's warehouse, without fetching years of it."""

from datetime import datetime, timedelta
from typing import Literal

import polars as pl
from support.platform import AS_OF

from blofin_resources.market.deep import DEEP_1D, DEEP_60M, DEEP_FUNDING, store_deep
from blofin_resources.market.sample import SampleMarket
from blofin_resources.market.universe import WINDOW, Rule, membership
from blofin_resources.warehouse import Warehouse
from features.bars import TS


def store_universe(store: Warehouse, begin: datetime, variant: Literal["plain", "edge"] = "plain") -> None:
    """Store the hours of nine symbols from a time on, and the eight largest of each day as members."""
    source = SampleMarket(seed=7, variant=variant, clock=lambda: AS_OF)
    old = pl.col("list_time") < begin - timedelta(days=WINDOW)
    listings = source.listings().filter(old, pl.col("delist_time").is_null()).head(9)
    for dataset, first in ((DEEP_1D, begin - timedelta(days=WINDOW)), (DEEP_60M, begin), (DEEP_FUNDING, begin)):
        store_deep(store, source, dataset, listings, first, AS_OF, as_of=AS_OF, run_id="test")
    daily = store.read("SELECT symbol, ts, quote_volume FROM market.deep_1d").cast({"ts": TS})
    members = membership(daily, listings.select("symbol", listed="list_time"), Rule(8), begin.date(), AS_OF.date())
    with store.transaction("test") as tx:
        tx.append("market.listings", listings.with_columns(as_of=pl.lit(AS_OF, TS), origin=pl.lit("sample")))
        tx.append("market.universe", members)
