"""A whole pass on the sample market: real runs, real rows, a report; again and in another place, the same."""

import io
import json
from datetime import datetime, timedelta

import dagster as dg
import numpy as np
import polars as pl
import pytest
from rich.console import Console
from support.platform import AS_OF, Make, Platform, content, differing

from blofin_assets.cli.run import _execute
from blofin_assets.cli.session import Session
from blofin_assets.definitions import build_defs
from blofin_assets.partitions import two_days
from blofin_assets.plan import CADENCES, DRIFT, FORWARD, MARKET_DATA, ML_CYCLE, REPORT, STRATEGY_CYCLE, Plan
from blofin_assets.runner import CONSOLE, STEP_TAG, execute
from blofin_assets.sensors import MAX_ATTEMPTS
from blofin_resources.dagster_resources import ClockResource

RESULTS = (
    "market.instruments",
    "market.candles_1m",
    "market.candles_60m",
    "market.funding_rates",
    "market.coverage",
    "features.features_5m",
    "research.strategies",
    "research.strategy_backtest_results",
    "research.strategy_scores",
    "research.trades",
    "research.equity",
    "research.trials",
    "research.evidence",
    "research.strategy_events",
    "research.ranking_history",
    "research.active_set",
    "research.active_correlations",
    "ml.ml_model_results",
    "ml.predictions",
    "ml.ml_ensembles",
    "ml.validation_predictions",
    "ml.feature_importance",
    "research.forward_entries",
    "research.forward_trades",
    "research.forward_equity",
    "research.forward_runs",
    "research.drift",
)


def document(platform: Platform) -> dict[str, object]:
    text = (platform.settings.warehouse / "reports" / "2026-03-12.json").read_text(encoding="utf-8")
    made = json.loads(text)
    assert isinstance(made, dict)
    made.pop("provenance")
    return made


def test_a_pass_leaves_nothing_due_and_a_report_that_says_what_ran(done: Platform) -> None:
    assert done.plan().steps == ()
    report = document(done)
    for key in ("report_date", "cycle", "strategy_changes", "ml_changes", "performance", "ai_next_steps"):
        assert key in report
    assert report["report_date"] == "2026-03-12"
    states = {stage["name"]: stage["state"] for stage in report["stages"]}  # type: ignore[index, attr-defined]
    assert states["models: training, validation and ranking"] == "done"
    assert states["ensembles"] == "done"
    assert states["forward ledger"] == "done"
    assert states["drift tests"] == "done"
    assert states["strategy design"] == "not run"
    page = (done.settings.warehouse / "reports" / "2026-03-12.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "Synthetic market" in page
    assert "https://" not in page.replace("http://www.w3.org", "")


def test_every_row_names_a_run_that_exists(done: Platform) -> None:
    runs = {run.run_id for run in done.instance.get_runs()}
    for table in RESULTS:
        written_by = set(done.warehouse.read(f"SELECT DISTINCT run_id FROM {table}")["run_id"])
        assert written_by, table
        assert written_by <= runs, table


def test_the_numbers_in_the_report_are_those_in_the_tables(done: Platform) -> None:
    first = document(done)["performance"]["top_5_strategies"][0]  # type: ignore[index]
    row = done.warehouse.read(
        "SELECT * FROM research.strategy_backtest_results WHERE strategy_name = ? AND symbol = '*'", [first["name"]]
    ).row(0, named=True)
    assert first["score"] == pytest.approx(row["score"], rel=1e-9)
    assert first["score"] == pytest.approx(
        40 * row["win_rate"] + 30 * row["avg_pnl_pct"] + 20 * row["sharpe"] - 10 * row["max_drawdown"], rel=1e-9
    )
    trades = done.warehouse.read(
        "SELECT pnl_pct FROM research.trades AS t WHERE name = ? AND kind = 'strategy' AND as_of = ?",
        [first["name"], row["as_of"]],
    )
    assert trades.height >= row["total_trades"] > 0


def test_the_active_set_is_the_mean_of_its_members_with_numpys_correlations(done: Platform) -> None:
    curves = done.warehouse.read(
        "SELECT name, ts, equity FROM research.equity JOIN research.ranking_history USING (as_of, kind, name, version) "
        "WHERE kind = 'strategy' AND status = 'active' ORDER BY name, ts"
    )
    table = curves.pivot("name", index="ts", values="equity").sort("ts")
    members = table.columns[1:]
    assert len(members) >= 10
    held = done.warehouse.read("SELECT ts, equity, members FROM research.active_set ORDER BY ts")
    assert held["ts"].equals(table["ts"])
    assert set(held["members"]) == {len(members)}
    assert held["equity"].to_numpy() == pytest.approx(table.select(members).to_numpy().mean(axis=1), rel=1e-12)
    equity = table.select(members).to_numpy()
    returns = equity[1:] / equity[:-1] - 1
    pairs = done.warehouse.read("SELECT name, other, correlation FROM research.active_correlations")
    assert pairs.height == len(members) * (len(members) - 1) // 2
    for name, other, correlation in pairs.drop_nulls().sample(20, seed=1).iter_rows():
        both = returns[:, [members.index(name), members.index(other)]]
        assert correlation == pytest.approx(np.corrcoef(both.T)[0, 1], abs=1e-9)


def test_every_ensemble_that_was_tried_has_its_predictions_not_only_the_best(done: Platform) -> None:
    tried = set(done.warehouse.read("SELECT ensemble_name FROM ml.ml_ensembles")["ensemble_name"])
    assert len(tried) > 3
    assert tried <= set(done.warehouse.read("SELECT DISTINCT model_name FROM ml.predictions")["model_name"])


def test_results_say_for_how_much_of_the_window_there_were_bars(done: Platform) -> None:
    lanes = done.warehouse.read(
        "SELECT timeframe, bars, bars_expected, date_diff('minute', window_start, window_end) AS minutes "
        "FROM research.strategy_backtest_results WHERE symbol <> '*'"
    )
    length = pl.col("timeframe").str.strip_suffix("m").cast(pl.Int64)
    assert lanes.filter(pl.col("bars_expected") != pl.col("minutes") // length).is_empty()
    assert lanes.filter(pl.col("bars") != pl.col("bars_expected")).is_empty()


@pytest.mark.long
def test_any_step_made_again_gives_the_same_rows(done: Platform) -> None:
    before = {table: content(done.warehouse, table) for table in RESULTS}
    report = document(done)
    made = {
        MARKET_DATA: "2026-03-11",
        STRATEGY_CYCLE: "2026-03-12",
        ML_CYCLE: "2026-03-13-00:00",
        REPORT: "2026-03-12",
        FORWARD: "2026-03-13-00:00",
        DRIFT: "2026-03-13",
    }
    for job, key in made.items():
        result = done.defs.resolve_job_def(job).execute_in_process(
            instance=done.instance, partition_key=key, run_config=CONSOLE, raise_on_error=False
        )
        assert result.success, job
    for table in RESULTS:
        assert differing(content(done.warehouse, table), before[table]) == [], table
    assert document(done) == report


@pytest.mark.long
def test_the_same_seed_and_as_of_give_the_same_report_elsewhere(done: Platform, make_platform: Make) -> None:
    other = make_platform("elsewhere")
    other.run()
    assert document(other) == document(done)
    page = [p.settings.warehouse / "reports" / "2026-03-12.html" for p in (done, other)]
    bodies = [path.read_text(encoding="utf-8").split("<footer>")[0] for path in page]
    assert bodies[0] == bodies[1]
    for table in RESULTS:
        assert differing(content(other.warehouse, table), content(done.warehouse, table)) == [], table


@pytest.mark.slow
def test_a_day_alone_and_a_range_in_one_run_store_the_same(make_platform: Make) -> None:
    whole, single = make_platform("whole"), make_platform("single")
    end = AS_OF - timedelta(days=10)
    whole.run(end, (MARKET_DATA,))
    for step in single.plan(end).steps[:1]:
        for day in ("2026-03-01", "2026-03-02"):
            one = type(step)(step.job, day, day, step.as_of)
            assert execute(one, single.defs.resolve_job_def(step.job), single.instance).errors == ()
    for table in ("market.candles_1m", "market.candles_1d", "market.funding_rates", "features.features_1m"):
        assert differing(content(whole.warehouse, table), content(single.warehouse, table)) == [], table


@pytest.mark.slow
def test_today_can_be_materialised_again_as_it_goes_on(platform: Platform) -> None:
    noon = AS_OF - timedelta(days=11, hours=12)
    platform.run(noon, (MARKET_DATA,))
    half = content(platform.warehouse, "market.candles_1m")
    platform.run(noon + timedelta(hours=3), (MARKET_DATA,))
    more = content(platform.warehouse, "market.candles_1m")
    assert more.height == half.height + 2 * 180
    assert more.join(half, on=["symbol", "ts", "close", "volume"], how="semi").height == half.height


def test_a_cycle_without_its_market_data_fails_and_says_what_to_do(platform: Platform) -> None:
    step = next(step for step in platform.plan().steps if step.job == ML_CYCLE)
    outcome = execute(step, platform.defs.resolve_job_def(ML_CYCLE), platform.instance)
    assert any("run: blofin run --as-of 2026-03-13T00:00:00Z" in line for line in outcome.errors)
    assert platform.warehouse.read("SELECT * FROM ml.ml_model_results").is_empty()


@pytest.mark.slow
def test_after_a_failed_cycle_its_later_keys_wait_until_it_is_given_up(platform: Platform) -> None:
    cadence = next(cadence for cadence in CADENCES if cadence.job == ML_CYCLE)
    first, second = cadence.step(AS_OF - cadence.every), cadence.step(AS_OF)  # without market data, both fail
    session = Session(platform.settings, platform.warehouse, platform.instance, platform.progress)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        errors = _execute(Plan((first, second)), session, Console(file=io.StringIO()))
        tried = {
            step: platform.instance.get_runs_count(dg.RunsFilter(tags={STEP_TAG: step.run_key}))
            for step in (first, second)
        }
        assert tried == {first: attempt, second: int(attempt == MAX_ATTEMPTS)}
        assert len(errors) == 2
        assert ("waits for the one before it" in errors[1]) == (attempt < MAX_ATTEMPTS)
    assert platform.progress.given_up(ML_CYCLE) == {first.as_of}


def test_a_key_in_the_future_is_refused(platform: Platform) -> None:
    last = str(two_days.get_partition_keys()[-1])
    eve = datetime.fromisoformat(f"{last}T00:00:00+00:00") - timedelta(minutes=1)
    defs = build_defs(platform.settings, resources={"clock": ClockResource(fixed=eve.isoformat())})
    result = defs.resolve_job_def(STRATEGY_CYCLE).execute_in_process(
        instance=platform.instance, partition_key=last, raise_on_error=False
    )
    assert not result.success
    assert "lies in the future" in str(result.all_events)


def test_maintenance_after_a_pass_keeps_the_reports_snapshot_and_shows_figures_that_plot(done: Platform) -> None:
    report = done.warehouse.read("SELECT snapshot_id FROM reports.daily_reports").item()
    query = "SELECT count(*), sum(close) FROM market.candles_1m"
    before = done.warehouse.read_at(report, query).rows()
    result = done.defs.resolve_job_def("maintenance").execute_in_process(instance=done.instance)
    assert result.success
    assert done.warehouse.read_at(report, query).rows() == before
    event = result.asset_materializations_for_node("warehouse_maintenance")[0]
    for name in ("files", "bytes", "snapshots", "inlined_rows", "bytes of market.candles_1m"):
        assert isinstance(event.metadata[name], dg.IntMetadataValue), name
    stored = done.warehouse.read("SELECT * FROM meta.storage")
    assert stored.filter(pl.col("table_name") == "*")["bytes"].item() == event.metadata["bytes"].value
    assert done.warehouse.integrity() == []
