"""A start that is moved back: afterwards, the rows are those of a platform left in peace.

Elsewhere: kills (`test_kill`), two daemons (`test_operations`), an exchange that is cut off and a clock that jumps
(`test_market_blofin`), writers beside maintenance (`test_upkeep`).
"""

from datetime import timedelta

import pytest
from support.platform import AS_OF, START, Make, content, differing

from blofin_assets.shared.cadences import MARKET_DATA

SOON = AS_OF - timedelta(days=10)
TABLES = (
    "market.candles_1m", "market.candles_5m", "market.candles_1d", "market.funding_rates", "market.coverage",
    "features.features_1m", "features.features_5m", "features.features_60m",
)  # fmt: skip


@pytest.mark.long
def test_an_earlier_start_makes_the_features_of_later_days_again(make_platform: Make) -> None:
    early = make_platform("early")
    early.run(SOON, (MARKET_DATA,))
    moved = make_platform("moved", start=(START + timedelta(days=1)).isoformat())
    moved.run(SOON, (MARKET_DATA,))
    assert moved.plan(SOON).steps[0].job != MARKET_DATA
    again = make_platform("moved")
    again.run(SOON, (MARKET_DATA,))
    for table in TABLES:
        assert differing(content(again.warehouse, table), content(early.warehouse, table)) == [], table
    assert again.plan(SOON).steps[0].job != MARKET_DATA
