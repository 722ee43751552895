"""The docs list the markets that there are."""

from pathlib import Path

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
