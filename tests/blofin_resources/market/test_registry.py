"""The docs list the markets that there are."""

import math
from pathlib import Path

from blofin_resources.market.blofin.client import FUNDING_PAGE, PAGE
from blofin_resources.market.blofin.rate_limiter import PER_SECOND
from blofin_resources.market.registry import MARKETS, Options, markets_table
from blofin_resources.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]


def test_the_docs_have_the_table_of_the_registry() -> None:
    assert markets_table() in (PROJECT / "docs" / "guides" / "MARKET_DATA.md").read_text(encoding="utf-8")
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in readme.splitlines() if line.startswith("| `BLOFIN_MARKET` |")]
    assert [name for name in MARKETS if f"`{name}`" not in row] == []


def test_every_setting_of_an_entry_is_one() -> None:
    named = {name for entry in MARKETS.values() for name in (*entry.settings, *entry.needs)}
    assert named <= set(Settings.model_fields)
    assert {name for entry in MARKETS.values() for name in entry.needs} <= set(Options.__dataclass_fields__)


def test_an_exchange_is_told_apart_by_its_host() -> None:
    assert MARKETS["blofin"].market_id(Options()) == "openapi.blofin.com"
    assert MARKETS["blofin"].market_id(Options(api_url="http://127.0.0.1:9")) == "127.0.0.1"


def test_the_docs_count_the_requests_that_the_pages_of_the_exchange_take() -> None:
    text = (PROJECT / "docs" / "guides" / "MARKET_DATA.md").read_text(encoding="utf-8")
    days = MARKETS["blofin"].deep.days
    bars, payments = (
        100 * (math.ceil(days * 24 / PAGE) + math.ceil(days / PAGE)),
        100 * math.ceil(days * 3 / FUNDING_PAGE),
    )
    minutes = (bars + payments) / PER_SECOND / 60
    assert f"take {bars:,} requests for bars and {payments:,} for funding, {minutes:.0f} minutes at the limit" in text
    assert f"3 symbols and 45 days: {135 * 1440 // PAGE} pages, {135 / PER_SECOND:.0f} seconds once" in text
