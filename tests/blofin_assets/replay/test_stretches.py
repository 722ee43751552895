"""What books earned in a stretch is what a backtest of the stretch gives."""

from datetime import timedelta
from pathlib import Path

import pytest
from support.book_cycles import FIRST, SECOND, UNIVERSE, book_platform, run_books

from blofin_assets.replay.stretches import _daily, _Earned, _of_books
from blofin_assets.shared.deep_market import deep_market
from blofin_assets.strategy_cycle.population import BOOKS, load_versions
from blofin_resources.queries import query


@pytest.mark.slow
def test_a_book_is_followed_from_flat_to_the_next_choice(tmp_path: Path) -> None:
    with book_platform(tmp_path) as platform:
        run_books(platform, FIRST)
        store = platform.warehouse
        ranked = store.read(query("replay/ranked"), {"as_of": FIRST})
        records = {record.key: record for record in load_versions(store, FIRST, BOOKS)}
        earned = _of_books(store, UNIVERSE, ranked, records, (FIRST, SECOND))
        assert set(earned) == set(ranked.select("name", "version").iter_rows())
        traded = 0
        for key, found in earned.items():
            assert isinstance(found, _Earned), (key, found)
            metrics = deep_market(store, records[key].strategy, FIRST, SECOND)
            alone = metrics.prepared.backtest(records[key].strategy, start=FIRST).metrics()
            assert found.net_pct == pytest.approx(alone["total_pnl_pct"])
            assert found.gross_pct >= found.net_pct
            days = _daily(found.hours)
            assert days["day"].to_list() == [FIRST, FIRST + timedelta(days=1)]
            assert days["net_return"].sum() * 100 == pytest.approx(found.net_pct)
            traded += found.gross_pct > found.net_pct
        assert traded >= 5
