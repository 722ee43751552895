"""A whole pass on the sample market: real runs, real rows, a report; again and in another place, the same."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import httpx
import numpy as np
import polars as pl
import pytest
from rich.console import Console
from support.platform import AS_OF, START, Make, Platform, content, differing

from blofin_assets.cli.costs import Costs
from blofin_assets.cli.run import _execute, run_due
from blofin_assets.cli.session import Session, open_session
from blofin_assets.definitions import build_defs
from blofin_assets.reporting.report import new_since
from blofin_assets.scheduling.conductor import MAX_ATTEMPTS
from blofin_assets.scheduling.plan import Plan
from blofin_assets.scheduling.runner import CONSOLE, LOCATION, execute
from blofin_assets.shared.asset import STEP_TAG
from blofin_assets.shared.cadences import CADENCES, DRIFT, FORWARD, MARKET_DATA, ML_CYCLE, REPORT, STRATEGY_CYCLE
from blofin_assets.shared.code_version import PROJECT
from blofin_assets.shared.coverage import _require_bars
from blofin_assets.shared.partitions import two_days
from blofin_resources.dagster_resources import ClockResource
from blofin_resources.errors import BlofinError
from strategies.registry import load_library

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
    "research.strategy_lifecycle",
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
    "research.drift_tests",
)


def document(platform: Platform) -> dict[str, object]:
    text = (platform.settings.warehouse / "reports" / "2026-03-12.json").read_text(encoding="utf-8")
    made = json.loads(text)
    assert isinstance(made, dict)
    made.pop("provenance")
    return made


@pytest.mark.slow
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
    assert states["strategy scores and ranking"] == "done"
    assert report["cycle"] == "strategy_day", "the first report tells of the first cycle, a day before its end"
    designers = report["strategy_changes"]["designers"]  # type: ignore[index, call-overload]
    assert {row["stage"] for row in designers} == {"design", "tuning"}
    assert [row["name"] for row in report["strategy_changes"]["archived"]]  # type: ignore[index, call-overload]
    page = (done.settings.warehouse / "reports" / "2026-03-12.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "Synthetic market" in page
    assert not re.search(r"""<link[^>]*https?:|src=["']?https?:|url\(\s*["']?https?:|@import""", page)


@pytest.mark.slow
def test_only_the_first_report_tells_of_a_cycle_of_the_day_before(done: Platform) -> None:
    first = AS_OF - timedelta(days=1)
    assert done.warehouse.read(
        "SELECT DISTINCT as_of FROM research.ranking_history WHERE kind = 'strategy'"
    ).rows() == [(first,)]
    assert new_since(done.warehouse, AS_OF) == first - timedelta(microseconds=1)
    assert new_since(done.warehouse, first) == first - timedelta(days=1)
    assert new_since(done.warehouse, AS_OF + timedelta(days=1)) == AS_OF


@pytest.mark.slow
def test_a_time_before_what_is_done_is_refused_before_anything_runs(
    done: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(done.settings.warehouse))
    monkeypatch.setenv("BLOFIN_SYMBOLS", ",".join(done.settings.symbols))
    monkeypatch.setenv("BLOFIN_START", START.isoformat())
    monkeypatch.setenv("BLOFIN_UNIVERSE", "off")
    open_session()  # a copy takes note of its new folder
    snapshot, runs = done.warehouse.snapshot_id(), done.instance.get_runs_count()
    asked = AS_OF - timedelta(days=2)
    with pytest.raises(BlofinError) as refused:
        run_due(asked)
    told = str(refused.value)
    assert "the strategy cycle of 2026-03-10 00:00 UTC cannot run: that of 2026-03-12 00:00 UTC is done" in told
    assert "BLOFIN_WAREHOUSE=<folder> blofin run --as-of 2026-03-11T00:00:00Z" in told
    assert (done.warehouse.snapshot_id(), done.instance.get_runs_count()) == (snapshot, runs)
    step = next(cadence for cadence in CADENCES if cadence.job == STRATEGY_CYCLE).step(asked - timedelta(days=1))
    outcome = execute(step, done.defs.resolve_job_def(STRATEGY_CYCLE), done.instance)
    refusals = "the strategy cycle of 2026-03-10 00:00 UTC cannot run"
    assert {error.split(": ")[0] for error in outcome.errors if refusals in error} == {
        "book_library",
        "strategy_library",
    }
    assert done.warehouse.snapshot_id() == snapshot, "nor by hand, which leaves nothing behind"


HEAVY = ("anthropic", "lightgbm", "matplotlib", "optuna", "scipy.stats", "sklearn", "torch")
"""Packages that take seconds to import, and that neither a pass with nothing due nor the status needs."""


@pytest.mark.slow
def test_commands_that_have_nothing_to_compute_import_nothing_heavy(done: Platform) -> None:
    program = (
        "import sys; from blofin_assets.cli.times import parse_moment; from blofin_assets.cli import run, status\n"
        "try: status.show_status(as_json=True)\n"
        "except BaseException as error: assert getattr(error, 'exit_code', 0) in (0, 3), error\n"
        "assert 'pandas' not in sys.modules\n"
        "run.run_due(parse_moment(sys.argv[1]))\n"
        f"print('imported', sorted(set({HEAVY}) & sys.modules.keys()))"
    )
    environment = {
        **os.environ,
        **done.settings.environment(),
        "BLOFIN_START": START.isoformat(),
        "BLOFIN_UNIVERSE": "off",
    }
    answer = subprocess.run(
        [sys.executable, "-c", program, f"{AS_OF:%Y-%m-%dT%H:%MZ}"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "nothing is due" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "imported []"


@pytest.mark.slow
def test_runs_have_the_origin_by_which_the_ui_finds_them(done: Platform) -> None:
    """Its timeline drops runs without one; a job's list of runs asks for the label as a tag."""
    assert f"location_name: {LOCATION}\n" in (PROJECT / "workspace.yaml").read_text(encoding="utf-8")
    label = f"__repository__@{LOCATION}"
    for job in (MARKET_DATA, STRATEGY_CYCLE, ML_CYCLE, REPORT):
        runs = done.instance.get_runs(dg.RunsFilter(job_name=job, tags={".dagster/repository": label}))
        assert runs, job
        origin = runs[0].remote_job_origin
        assert origin is not None
        assert (origin.job_name, origin.repository_origin.get_label()) == (job, label)


@pytest.mark.slow
def test_the_ui_shows_runs_in_its_timeline_and_in_the_list_of_their_job(done: Platform) -> None:
    """A real webserver on the warehouse, asked what the UI's pages ask."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = done.settings.warehouse
    environment = {**os.environ, "DAGSTER_HOME": str(folder / ".dagster"), "BLOFIN_WAREHOUSE": str(folder)}
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    workspace = ["-w", str(PROJECT / "workspace.yaml")]
    server = subprocess.Popen(
        [*command, *workspace], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        seen = _asked(port)
    finally:
        server.terminate()
        server.wait()
    assert seen["pipelineOrError"]["runs"], "the squares of the job"
    origins = [run["repositoryOrigin"] for run in seen["runsOrError"]["results"] if run["pipelineName"] == MARKET_DATA]
    assert {"repositoryName": "__repository__", "repositoryLocationName": LOCATION} in origins


def _asked(port: int) -> dict[str, Any]:
    job = f'repositoryName: "__repository__", repositoryLocationName: "{LOCATION}", pipelineName: "{MARKET_DATA}"'
    query = (
        "{ runsOrError(limit: 50) { ... on Runs { results { pipelineName "
        "repositoryOrigin { repositoryName repositoryLocationName } } } } "
        f"pipelineOrError(params: {{{job}}}) {{ ... on Pipeline {{ runs(limit: 5) {{ id }} }} }} }}"
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=60)
            answer.raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            found: dict[str, Any] = answer.json()["data"]
            return found


@pytest.mark.slow
def test_every_row_names_a_run_that_exists(done: Platform) -> None:
    runs = {run.run_id for run in done.instance.get_runs()}
    for table in RESULTS:
        written_by = set(done.warehouse.read(f"SELECT DISTINCT run_id FROM {table}")["run_id"])
        assert written_by, table
        assert written_by <= runs, table


@pytest.mark.slow
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


@pytest.mark.slow
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
    returns = np.diff(equity, axis=0)  # of fixed capital
    pairs = done.warehouse.read("SELECT name, other, correlation FROM research.active_correlations")
    assert pairs.height == len(members) * (len(members) - 1) // 2
    for name, other, correlation in pairs.drop_nulls().sample(20, seed=1).iter_rows():
        both = returns[:, [members.index(name), members.index(other)]]
        assert correlation == pytest.approx(np.corrcoef(both.T)[0, 1], abs=1e-9)


@pytest.mark.slow
def test_every_hour_of_a_curve_says_whether_it_had_bars(done: Platform) -> None:
    rows = done.warehouse.read(
        "SELECT with_bars, ts = min(ts) OVER (PARTITION BY as_of, kind, name) AS begins FROM research.equity"
    )
    assert rows.filter(pl.col("begins"))["with_bars"].null_count() == rows["begins"].sum() > 0
    assert rows.filter(pl.col("begins").not_())["with_bars"].all(ignore_nulls=False)
    ledger = done.warehouse.read("SELECT with_bars FROM research.forward_equity")
    assert ledger.height > 0
    assert ledger["with_bars"].all(ignore_nulls=False)


@pytest.mark.slow
def test_every_ensemble_that_was_tried_has_its_predictions_not_only_the_best(done: Platform) -> None:
    tried = set(done.warehouse.read("SELECT ensemble_name FROM ml.ml_ensembles")["ensemble_name"])
    assert len(tried) > 3
    assert tried <= set(done.warehouse.read("SELECT DISTINCT model_name FROM ml.predictions")["model_name"])


@pytest.mark.slow
def test_lanes_and_trades_say_whether_they_are_scored(done: Platform) -> None:
    pooled = done.warehouse.read(
        "SELECT strategy_name AS name, version, as_of, total_trades FROM research.strategy_backtest_results "
        "WHERE symbol = '*' AND scored AND total_trades > 0"
    )
    assert pooled.height > 20
    lanes = done.warehouse.read(
        "SELECT strategy_name AS name, version, as_of, sum(total_trades)::INTEGER AS total_trades "
        "FROM research.strategy_backtest_results WHERE symbol <> '*' AND scored GROUP BY ALL"
    )
    trades = done.warehouse.read(
        "SELECT name, version, as_of, count(*)::INTEGER AS total_trades FROM research.trades "
        "WHERE scored AND kind = 'strategy' GROUP BY ALL"
    )
    for rows in (lanes, trades):
        assert pooled.join(rows, on=pooled.columns, how="anti").is_empty()
    every = done.warehouse.read("SELECT count(*) FROM research.trades WHERE kind = 'strategy'").item()
    assert every > pooled["total_trades"].sum(), "lanes that are not scored have trades, too"


@pytest.mark.slow
def test_every_holdout_in_the_trial_ledger_has_its_parameters(done: Platform) -> None:
    rows = done.warehouse.read("SELECT kind, name, params FROM research.trials WHERE purpose = 'holdout'")
    assert rows["params"].null_count() == 0
    told = rows.filter(pl.col("name") == "ema_crossover", pl.col("kind") == "strategy")["params"][0]
    assert set(json.loads(told)) == set(next(s for s in load_library() if s.name == "ema_crossover").parameters)


@pytest.mark.slow
def test_a_cycle_before_the_history_says_where_it_begins(done: Platform) -> None:
    early = datetime(2024, 5, 1, tzinfo=UTC)
    with pytest.raises(
        BlofinError, match=r"BTC-USDT has (no bars before 2024-05-01|a 1-minute bar between 2024-04-24)"
    ):
        _require_bars(done.warehouse, ["BTC-USDT"], early - timedelta(days=7), early)


@pytest.mark.slow
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
        errors = _execute(Plan((first, second)), session, Console(file=io.StringIO()), Costs())
        tried = {
            step: platform.instance.get_runs_count(dg.RunsFilter(tags={STEP_TAG: step.run_key}))
            for step in (first, second)
        }
        assert tried == {first: attempt, second: int(attempt == MAX_ATTEMPTS)}
        assert len(errors) == 2
        assert ("waits for its predecessor" in errors[1]) == (attempt < MAX_ATTEMPTS)
    assert platform.progress.given_up(ML_CYCLE) == {first.as_of}


def test_a_key_in_the_future_is_refused(platform: Platform) -> None:
    last = str(two_days.get_partition_keys()[-1])
    eve = datetime.fromisoformat(f"{last}T00:00:00+00:00") - timedelta(minutes=1)
    defs = build_defs(platform.settings, resources={"clock": ClockResource(fixed=eve.isoformat())})
    result = defs.resolve_job_def(STRATEGY_CYCLE).execute_in_process(
        instance=platform.instance, partition_key=last, raise_on_error=False
    )
    assert not result.success
    assert "is in the future" in str(result.all_events)


@pytest.mark.slow
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
    stored = done.warehouse.read("SELECT * FROM meta.storage_history")
    assert stored.filter(pl.col("table_name") == "*")["bytes"].item() == event.metadata["bytes"].value
    assert done.warehouse.integrity() == []
