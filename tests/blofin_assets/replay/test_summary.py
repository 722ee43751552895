"""The numbers of a replay against plain loops over its rows; its page."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from support.pages import fits, needs_nothing
from support.platform import Platform

from backtester.statistics.choosing import FEWEST_STRETCHES
from blofin_assets.replay.page import replay_page, verdict
from blofin_assets.replay.summary import (
    ACTIVE,
    BY_PARITY,
    BY_RISK,
    EVERYTHING,
    HOLDING,
    HOLDING_UNIVERSE,
    LIBRARY,
    SCALE,
    ReplaySummary,
    summarise,
)
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.errors import BlofinError
from features.bars import TS

pytestmark = pytest.mark.slow

FIRST = datetime(2026, 1, 2, tzinfo=UTC)
STEP = timedelta(days=2)
NAMES = ("a", "b", "c", "d", "e", "still")
AUTHORS = ("library", "library", "search", "search", "tuner", "library")


def candidates(times: list[datetime], edge: float, kind: Kind = Kind.STRATEGY) -> list[dict[str, Any]]:
    """Return six candidates a stretch: the first two are active, `still` did not move on its holdout."""
    rng = np.random.default_rng(8)
    rows = []
    for as_of in times:
        for place, name in enumerate(NAMES):
            deviation = None if name == "still" else 0.005 * (place + 1)
            net = float(rng.normal(edge if place < 2 else 0.0, 1.0)) * (place + 1) / 2
            rows.append(
                {
                    "replay_id": "r", "as_of": as_of, "kind": kind, "name": name, "version": "1",
                    "author": AUTHORS[place], "rank": place + 1, "active": place < 2, "score": -float(place),
                    "supported": place == 0, "deviation": deviation, "net_pct": net, "gross_pct": net + 0.1 * place,
                    "parity": (0.75, 0.25)[place] if place < 2 else None, "trades": 5, "reason": None, "snapshot_id": 1,
                }
            )  # fmt: skip
    return rows


def put(platform: Platform, stretches: int, edge: float = 0.0, kind: Kind = Kind.STRATEGY) -> list[datetime]:
    times = [FIRST + number * STEP for number in range(stretches)]
    rows = candidates(times, edge, kind)
    chosen = [
        {
            "replay_id": "r", "as_of": as_of, "until": as_of + STEP, "every_days": 2, "search_budget": 10,
            "tuning_budget": 2, "seed": 7, "symbols": ["BTC-USDT"], "candidates": 6, "active": 2,
            "holding_pct": 0.5, "universe_pct": 0.25, "code_version": "x", "snapshot_id": 1,
        }
        for as_of in times
    ]  # fmt: skip
    # each earns a third of its stretch on the first day
    days = [
        {
            **{name: row[name] for name in ("replay_id", "as_of", "kind", "name", "version")},
            "day": row["as_of"] + number * timedelta(days=1), "net_return": share * row["net_pct"] / 100,
        }
        for row in rows
        for number, share in enumerate((1 / 3, 2 / 3))
    ]  # fmt: skip
    types: dict[str, Any] = dict.fromkeys(("as_of", "until", "day"), TS)
    with platform.warehouse.transaction("test") as tx:
        for table, part in (("stretches", chosen), ("candidates", rows), ("returns", days)):
            overrides = {name: kind for name, kind in types.items() if name in part[0]} | (
                {"deviation": pl.Float64, "parity": pl.Float64, "reason": pl.String} if table == "candidates" else {}
            )
            tx.append(f"replay.{table}", pl.DataFrame(part, schema_overrides=overrides, infer_schema_length=None))
    return times


def summary_of(platform: Platform, stretches: int = 14, edge: float = 0.0) -> ReplaySummary:
    return summarise(platform.warehouse, "r", put(platform, stretches, edge), Kind.STRATEGY)


def test_what_choosing_added_is_that_of_a_plain_loop(platform: Platform) -> None:
    found = summary_of(platform)
    rows = candidates([FIRST + number * STEP for number in range(14)], 0.0)
    expected, before = [], []
    for number in range(14):
        some = [row for row in rows if row["as_of"] == FIRST + number * STEP and row["deviation"] is not None]
        for name, values in (("net_pct", expected), ("gross_pct", before)):
            scaled = [row[name] * SCALE / row["deviation"] for row in some]
            values.append(sum(scaled[:2]) / 2 - sum(scaled) / len(scaled))
    assert found.by_stretch["added_pct"].to_list() == pytest.approx(expected)
    assert found.by_stretch["gross_pct"].to_list() == pytest.approx(before)
    assert found.net.mean == pytest.approx(sum(expected) / 14)
    assert found.saved.mean == pytest.approx((sum(expected) - sum(before)) / 14)
    assert found.net.low is not None


def test_sets_are_held_with_the_weights_of_their_choice(platform: Platform) -> None:
    found = {held.name: held for held in summary_of(platform).sets}
    rows = candidates([FIRST + number * STEP for number in range(14)], 0.0)
    assert list(found) == [
        ACTIVE,
        BY_RISK,
        BY_PARITY,
        EVERYTHING,
        LIBRARY,
        "by search alone",
        "by tuner alone",
        HOLDING,
    ]
    total = dict.fromkeys(found, 0.0)
    daily = []
    for number in range(14):
        some = [row for row in rows if row["as_of"] == FIRST + number * STEP]
        a, b = some[0]["net_pct"], some[1]["net_pct"]
        total[ACTIVE] += (a + b) / 2
        total[BY_RISK] += (a / 0.005 + b / 0.01) / (1 / 0.005 + 1 / 0.01)
        total[BY_PARITY] += 0.75 * a + 0.25 * b
        total[EVERYTHING] += sum(row["net_pct"] for row in some) / 6
        total[LIBRARY] += (a + b + some[5]["net_pct"]) / 3
        total["by search alone"] += (some[2]["net_pct"] + some[3]["net_pct"]) / 2
        total["by tuner alone"] += some[4]["net_pct"]
        total[HOLDING] += 0.5
        daily += [(a + b) / 600, (a + b) / 300]
    assert {name: held.total_pct for name, held in found.items()} == pytest.approx(total)
    assert found[ACTIVE].sharpe == pytest.approx(np.mean(daily) / np.std(daily, ddof=1) * math.sqrt(365))
    curve = summary_of_curve(platform, ACTIVE)
    assert curve["equity"].to_list() == pytest.approx((1.0 + np.cumsum(daily)).tolist())


def test_books_are_held_against_their_universe(platform: Platform) -> None:
    found = summarise(platform.warehouse, "r", put(platform, 14, kind=Kind.BOOK), Kind.BOOK)
    held = {held.name: held for held in found.sets}
    assert HOLDING not in held
    assert held[HOLDING_UNIVERSE].total_pct == pytest.approx(14 * 0.25)
    assert found.by_stretch["holding_pct"].to_list() == [0.25] * 14
    assert "holding the universe" in replay_page(found, "sample")


def summary_of_curve(platform: Platform, name: str) -> pl.DataFrame:
    times = [FIRST + number * STEP for number in range(14)]
    return summarise(platform.warehouse, "r", times, Kind.STRATEGY).curves.filter(pl.col("name") == name)


def test_labels_and_ranks_are_held_against_what_came_next(platform: Platform) -> None:
    found = summary_of(platform, edge=3.0)
    supported, others = found.labels
    assert (supported.cases, others.cases) == (14, 14 * 4)
    assert supported.mean_pct is not None
    assert others.mean_pct is not None
    assert supported.mean_pct > others.mean_pct
    assert found.ranks.mean is not None
    assert found.ranks.mean > 0.3
    assert found.added_capital > 1.0
    assert ": evidence of skill in choosing." in verdict(found)


def test_few_stretches_conclude_nothing_and_none_is_refused(platform: Platform) -> None:
    few = summary_of(platform, stretches=3)
    assert few.net.low is None
    assert f"cannot be told from 3 stretches: at least {FEWEST_STRETCHES} are needed" in verdict(few)
    with pytest.raises(BlofinError, match="replay other has no stretch yet"):
        summarise(platform.warehouse, "other", [FIRST], Kind.STRATEGY)


def test_the_page_shows_the_numbers_and_is_the_same_again(platform: Platform, tmp_path: Path) -> None:
    found = summary_of(platform)
    page = replay_page(found, "sample")
    assert page == replay_page(found, "sample")
    active = next(held for held in found.sets if held.name == ACTIVE)
    for text in (
        "Strategies of the desk replayed",
        verdict(found),
        f"{active.total_pct:+.2f} %".replace("-", "−"),
        "holding the symbols",
        "2026-01-02",
    ):
        assert text in page
    assert page.count("<img") == 2
    needs_nothing(page)
    fits(page, tmp_path)
