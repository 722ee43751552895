"""What books earned in a stretch is what a backtest of the stretch gives."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.book_cycles import FIRST, SECOND, UNIVERSE, book_platform, run_books

from blofin_assets.replay.stretches import _daily, _Earned, _of_books, _parities
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
        earned, universe_pct = _of_books(store, UNIVERSE, ranked, records, (FIRST, SECOND))
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
        members = store.read("SELECT symbol FROM market.universe WHERE day = ? AND member", [FIRST])["symbol"].to_list()
        moves = [
            store.read(
                "SELECT last(close ORDER BY ts) FILTER (ts < $until) / last(close ORDER BY ts) FILTER (ts < $begin) "
                "AS move FROM market.deep_60m WHERE symbol = $symbol",
                {"symbol": symbol, "begin": FIRST, "until": SECOND},
            )["move"].item()
            for symbol in members
        ]
        assert universe_pct == pytest.approx(100 * (sum(moves) / len(moves) - 1))


def test_capital_by_risk_parity_is_that_of_the_hours_known_to_all() -> None:
    rng = np.random.default_rng(1)
    hours = pl.datetime_range(FIRST - timedelta(days=7), FIRST, "1h", eager=True)
    curves = {
        ("strategy", "a", "1"): 1 + rng.normal(0, 0.001, len(hours)).cumsum(),
        ("strategy", "b", "1"): 1 + rng.normal(0, 0.003, len(hours)).cumsum(),
        ("strategy", "a", "2"): np.ones(len(hours)),
        ("strategy", "out", "1"): 1 + rng.normal(0, 0.002, len(hours)).cumsum(),
        ("book", "c", "1"): 1 + rng.normal(0, 0.002, len(hours)).cumsum(),
    }
    known = pl.concat(
        pl.DataFrame({"ts": hours, "equity": curve}).select(
            pl.lit(kind).alias("kind"), pl.lit(name).alias("name"), pl.lit(version).alias("version"), "ts", "equity"
        )
        for (kind, name, version), curve in curves.items()
    ).filter(~((pl.col("name") == "b") & (pl.col("ts") < hours[24])))
    active = pl.DataFrame([key for key in curves if key[1] != "out"], schema=["kind", "name", "version"], orient="row")
    found = _parities(known, active)
    both = np.diff([curves["strategy", "a", "1"][24:], curves["strategy", "b", "1"][24:]], axis=1)
    inverse = 1 / both.var(axis=1)
    assert found == {
        ("strategy", "a", "1"): pytest.approx(inverse[0] / inverse.sum()),
        ("strategy", "b", "1"): pytest.approx(inverse[1] / inverse.sum()),
        ("book", "c", "1"): pytest.approx(1),
    }
