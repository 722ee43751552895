"""What drift tests compare, from stored curves and the ledger: the hours in which there were bars."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support.platform import Platform

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.drift.performance import build_tests
from features.bars import TS

EVALUATED_AT = datetime(2026, 3, 12, tzinfo=UTC)
ACTIVE = EVALUATED_AT - timedelta(days=9)
WHO = {"kind": "strategy", "name": "tracked", "version": "1"}


def hours(start: datetime, end: datetime) -> pl.Series:
    return pl.datetime_range(start, end, "1h", closed="right", eager=True)


@pytest.mark.parametrize("told", [True, False])
def test_hours_without_bars_are_neither_expected_nor_realised(platform: Platform, *, told: bool) -> None:
    rng = np.random.default_rng(5)
    holdout, since = hours(ACTIVE - HOLDOUT_LENGTH, ACTIVE), hours(ACTIVE, EVALUATED_AT)
    expected, realised = rng.normal(1e-4, 1e-3, len(holdout)), rng.normal(1e-4, 1e-3, len(since))
    had, have = np.arange(len(holdout)) % 168 >= 72, np.arange(len(since)) >= 24
    expected[~had] = realised[~have] = 0.0
    marks = [pl.Series("with_bars", each.tolist() if told else [None] * len(each), pl.Boolean) for each in (had, have)]
    who = [pl.lit(value).alias(name) for name, value in WHO.items()]
    first = pl.DataFrame(
        {"ts": [ACTIVE - HOLDOUT_LENGTH], "equity": [1.0], "with_bars": pl.Series([None], dtype=pl.Boolean)}
    )
    curve = pl.concat(
        [first, pl.DataFrame([holdout.alias("ts"), pl.Series("equity", 1 + expected.cumsum()), marks[0]])]
    )
    ledger = pl.DataFrame(
        [since.alias("ts"), pl.Series("net_return", realised), pl.Series("equity", 1 + realised.cumsum()), marks[1]]
    )
    counted = ("trades", "open_positions", "compared", "data_revisions", "version_changes", "look_ahead")
    run = {
        **WHO,
        "as_of": EVALUATED_AT,
        "activated_at": ACTIVE,
        "state": "tracked",
        "days": 9.0,
        "engine": "e",
    }
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.forward_runs", pl.DataFrame([run | dict.fromkeys(counted, 0)]))
        tx.append("research.equity", curve.with_columns(*who, pl.lit(ACTIVE).cast(TS).alias("as_of")))
        stamp = [pl.lit(ACTIVE).cast(TS).alias("activated_at"), pl.lit(EVALUATED_AT).cast(TS).alias("as_of")]
        tx.append(
            "research.forward_equity", ledger.with_columns(*who, *stamp, snapshot_id=pl.lit(1), engine=pl.lit("e"))
        )
    (asked,) = build_tests(platform.warehouse, EVALUATED_AT, seed=7)
    found = asked.test.comparison
    assert found is not None
    if told:
        assert found.expected == pytest.approx(expected[had].mean())
        assert found.forward == pytest.approx(realised[have].mean())
        assert asked.expected_days == had.sum() / 24
    else:
        assert (found.expected, found.forward) == (pytest.approx(expected.mean()), pytest.approx(realised.mean()))
