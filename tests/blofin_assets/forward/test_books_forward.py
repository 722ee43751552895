"""Books in the forward ledger: what is written is what a backtest from activation gives, and later replays agree."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.book_cycles import END, FIRST, SECOND, book_platform, run_books
from support.platform import Platform

from blofin_assets.drift.evidence import evidence_rows
from blofin_assets.drift.performance import build_tests, holdout_returns, runs_of
from blofin_assets.drift.retuning import REQUEST_TAG
from blofin_assets.forward.replays import common_inputs, replayed, stamped
from blofin_assets.forward.tracked import tracked_runs
from blofin_assets.forward.written import read_written
from blofin_assets.scheduling.jobs import RETUNE
from blofin_assets.scheduling.runner import _errors
from blofin_assets.shared.deep_market import deep_market
from blofin_assets.shared.vocabulary import Kind
from features.bars import TS
from strategies.language.book import Book

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose active books were followed for two keys."""
    with book_platform(tmp_path_factory.mktemp("forward")) as platform:
        run_books(platform, FIRST)
        for key in (SECOND, END):
            follow(platform, key)
        yield platform


def follow(platform: Platform, as_of: datetime) -> None:
    """Write what the forward ledger writes of books at one key."""
    store = platform.warehouse
    tracked = tracked_runs(store, Path(store.folder) / "models", as_of, None)
    written, common = read_written(store, tracked), common_inputs(store, [], as_of, tracked)
    parts = [replayed(run, common, written, as_of) for run in tracked]
    stamp = {"as_of": as_of, "snapshot_id": store.snapshot_id()}
    with store.transaction("test") as tx:
        for table, name in (("entries", "entries"), ("trades", "trades"), ("equity", "hours")):
            rows = pl.concat(getattr(part, name) for part in parts)
            tx.append(f"research.forward_{table}", stamped(rows, stamp))
        rows = pl.DataFrame([part.row | stamp for part in parts], infer_schema_length=None)
        tx.replace("research.forward_runs", rows.with_columns(pl.col("activated_at", "as_of").cast(TS)), as_of=as_of)


def test_the_ledger_is_the_backtest_from_activation(followed: Platform) -> None:
    store = followed.warehouse
    runs = tracked_runs(store, Path(store.folder), END, None)
    assert {run.kind for run in runs} == {Kind.BOOK}
    assert len(runs) == 10
    for run in runs[:3]:
        book = run.tradable
        assert isinstance(book, Book)
        found = deep_market(store, book, FIRST, END).prepared.backtest(book, start=FIRST)
        hours = store.read("SELECT net_return FROM research.forward_equity WHERE name = ? ORDER BY ts", [run.name])
        assert hours["net_return"].to_list() == pytest.approx(found.hourly()["net_return"].drop_nulls().to_list())
        closed = found.result.trades.filter(pl.col("reason") != "open")
        trades = store.read("SELECT pnl FROM research.forward_trades WHERE name = ?", [run.name])
        assert trades["pnl"].sum() == pytest.approx(closed["net"].sum(), abs=1e-9)
    rows = store.read("SELECT * FROM research.forward_runs WHERE as_of = ?", [END])
    assert rows["compared"].sum() > 0
    assert rows.select("data_revisions", "version_changes", "look_ahead").sum().row(0) == (0, 0, 0)


def test_a_book_that_drifts_is_tuned_for_the_next_holdout(followed: Platform) -> None:
    store, run = followed.warehouse, runs_of(followed.warehouse, END)[0]
    drifted = [{"name": run[1], "version": run[2], "reason": "below expected"}]
    request = json.dumps({"request": "r", "kind": Kind.BOOK, "drifted": drifted})
    result = followed.defs.resolve_job_def(RETUNE).execute_in_process(
        instance=followed.instance, partition_key=f"{END:%Y-%m-%d}", tags={REQUEST_TAG: request}, raise_on_error=False
    )
    assert result.success, _errors(result)
    (row,) = store.read("SELECT * FROM research.retunes").iter_rows(named=True)
    assert row["state"] in {"tuned", "unchanged"}, row
    asked = store.read("SELECT * FROM research.proposals WHERE designer = 'drift'")
    assert asked.select("as_of", "stage", "name").rows() == [(END + timedelta(days=2), "book tuning", run[1])]
    assert store.read("SELECT 1 FROM research.trials WHERE author = 'tuner' AND as_of = ?", [END]).height


def test_evidence_and_drift_tests_are_made_of_books_as_of_strategies(followed: Platform) -> None:
    store = followed.warehouse
    runs = runs_of(store, END)
    expected = holdout_returns(store, runs)
    assert all(len(hours) == 28 * 24 for hours in expected.values())
    tests = build_tests(store, END, seed=7)
    assert [(test.kind, test.metric) for test in tests] == [(Kind.BOOK, "net_return")] * len(runs)
    rows = evidence_rows(store, [], END)
    assert rows.group_by("name").len()["len"].to_list() == [4] * rows["name"].n_unique()
    assert rows["loss_bound"].min() > 0.0
