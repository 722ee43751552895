"""The report of a whole pass: its form, its page in a browser, and what it says where the forward side has rows."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError
from support.browser import look
from support.platform import AS_OF, Platform

from blofin_assets.cli.report import WIDTH, summary_lines
from blofin_assets.reporting import ReportData, build_document, checked, collect, render_page
from blofin_assets.reporting.collect.forward import collect_forward
from blofin_assets.reporting.collect.stages import collect_stages
from blofin_assets.reporting.rules import rule_review
from features.bars import TS

PROVENANCE = {
    "run_id": "r",
    "snapshot": 1,
    "seed": 7,
    "search_budget": 24,
    "tuning_budget": 4,
    "made_at": "2026-03-13T00:00:00+00:00",
}

FAILED = "was due at 2026-03-13 00:00 UTC but has not succeeded"


@pytest.fixture(scope="module")
def data(done: Platform) -> ReportData:
    return collect(
        done.warehouse, AS_OF, market="sample", synthetic=True, symbols=("SOL-USDT", "ETH-USDT", "BTC-USDT"), seed=7
    )


@pytest.fixture(scope="module")
def document(data: ReportData) -> dict[str, Any]:
    return build_document(data)


def test_the_symbols_are_the_cycles_and_not_todays(document: dict[str, Any]) -> None:
    assert document["market"]["symbols"] == ["ETH-USDT", "BTC-USDT"]
    assert "2 symbols" in document["summary"]


def test_one_symbol_is_told_in_the_singular(data: ReportData) -> None:
    alone = dataclasses.replace(data, symbols=("BTC-USDT",), review=None)
    assert build_document(alone)["summary"].startswith("1 symbol of the sample market")


def test_a_report_of_another_form_is_not_written(document: dict[str, Any]) -> None:
    assert checked(document) is document
    broken = json.loads(json.dumps(document))
    broken["performance"]["top_5_strategies"][0]["score"] = "42.3"
    with pytest.raises(ValidationError, match="score"):
        checked(broken)
    with pytest.raises(ValidationError, match="more"):
        checked({**document, "more": 1})


def test_every_lane_is_covered_and_counted(document: dict[str, Any]) -> None:
    lanes = {(lane["symbol"], lane["timeframe"]): lane for lane in document["market"]["coverage"]}
    assert len(lanes) == 6
    assert lanes["BTC-USDT", "1m"]["bars"] == lanes["BTC-USDT", "1m"]["expected"] == 12 * 1440
    assert lanes["ETH-USDT", "60m"]["recent_expected"] == lanes["ETH-USDT", "60m"]["recent_bars"] == 7 * 24


def test_the_summary_fits_a_terminal(done: Platform) -> None:
    lines = summary_lines(done.settings.warehouse / "reports" / "2026-03-12.json")
    assert max(map(len, lines)) <= WIDTH
    assert any("next steps" in line for line in lines)


def test_forward_rows_show_and_what_is_too_little_says_how_much(data: ReportData) -> None:
    first, second = data.cycles.strategy_ranking.head(2).to_dicts()
    known = _with_forward(data, first, second)
    report = checked(build_document(known))
    live = report["performance"]["backtest_vs_live"]
    assert live["drift_detected"] is True
    assert (live["tested"], live["insufficient"]) == (1, 1)
    top = report["performance"]["top_5_strategies"]
    assert top[0]["live"]["state"] == "drift"
    assert top[1]["live"]["detail"] == "not yet: 3.0 of more than 7 forward days, 12 of at least 20 closed trades"
    page = render_page({**report, "provenance": PROVENANCE}, known)
    assert "not yet: 3.0 of more than 7 forward days" in page
    assert "By how much 1 results are worse than promised; 1 of 1 drift" in page
    assert "Too little data so far (1)" in page
    assert page == render_page({**report, "provenance": PROVENANCE}, known)


def test_the_tests_of_an_older_night_are_not_this_ones(data: ReportData) -> None:
    known = _with_forward(data, *data.cycles.strategy_ranking.head(2).to_dicts())
    assert build_document(known)["performance"]["backtest_vs_live"]["night"] == AS_OF.isoformat()
    older = known.forward.drift.with_columns(pl.lit(AS_OF - timedelta(days=1)).cast(TS).alias("as_of"))
    stale = dataclasses.replace(known, forward=dataclasses.replace(known.forward, drift=older))
    report = checked(build_document(stale))
    live = report["performance"]["backtest_vs_live"]
    assert live["night"] == (AS_OF - timedelta(days=1)).isoformat()
    assert live["drift_detected"] is None
    assert live["state"] == "not tested this night; shown as of 2026-03-12 00:00 UTC"
    assert report["performance"]["top_5_strategies"][0]["live"]["detail"] == "as of 2026-03-12 00:00 UTC: far below"
    assert not any("drifts" in finding.text for finding in rule_review(report).findings)
    page = render_page({**report, "provenance": PROVENANCE}, stale)
    assert "the tests below are as of 2026-03-12 00:00 UTC" in page


def test_the_forward_side_is_of_the_newest_keys_that_are_done(done: Platform) -> None:
    later, earlier = (collect_forward(done.warehouse, AS_OF + days * timedelta(days=1)) for days in (1, -1))
    assert (later.ledger_time, later.drift_time) == (AS_OF, AS_OF)
    assert (earlier.ledger_time, earlier.drift_time) == (None, None)


def test_a_stage_of_the_night_that_did_not_succeed_says_so(data: ReportData) -> None:
    known = _with_forward(data, *data.cycles.strategy_ranking.head(2).to_dicts())
    half_a_day, day = AS_OF - timedelta(hours=12), AS_OF - timedelta(days=1)
    late = dataclasses.replace(known.forward, ledger_time=half_a_day, drift_time=day)
    nothing = dataclasses.replace(known.forward, ledger_time=None, drift_time=None)
    for forward, ledger, tests in (
        (known.forward, "2 followed, as of 2026-03-13 00:00 UTC", "1 drift, 0 steady, 1 insufficient, as of"),
        (late, f"{FAILED}; shown as of 2026-03-12 12:00 UTC", f"{FAILED}; shown as of 2026-03-12 00:00 UTC"),
        (nothing, f"{FAILED}; nothing to show", f"{FAILED}; nothing to show"),
    ):
        made = {stage.name: stage for stage in collect_stages(AS_OF, data.cycles, data.changes, forward, None)}
        for name, told in (("forward ledger", ledger), ("drift tests", tests)):
            assert made[name].state == ("done" if forward is known.forward else "not run")
            assert made[name].detail.startswith(told)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(data: ReportData, document: dict[str, Any], tmp_path: Path, width: int) -> None:
    seen = look(render_page({**document, "provenance": PROVENANCE}, data), tmp_path, width)
    assert seen.width == width
    assert seen.scroll <= width
    assert seen.wide == []
    assert seen.errors == seen.console == []
    assert seen.requests == []
    assert seen.broken == seen.dead == 0
    assert len(seen.pictures) >= 5
    assert all(label for label, _ in seen.pictures)


@pytest.mark.slow
def test_the_browser_sees_what_is_wrong(tmp_path: Path) -> None:
    bad = (
        '<!doctype html><html><head><meta charset="utf-8"></head><body><div style="width:900px">wide</div>'
        '<img src="none.png">'
        '<img src="https://images.invalid/x.png"><a href="#nowhere">x</a>'
        '<script>throw new Error("broken")</script></body></html>'
    )
    seen = look(bad, tmp_path, 390)
    assert seen.scroll > 390
    assert seen.wide
    assert seen.errors
    assert seen.broken == 2
    assert seen.dead == 1
    assert {request.rpartition("/")[2] for request in seen.requests} == {"none.png", "x.png"}


def _with_forward(data: ReportData, first: dict[str, Any], second: dict[str, Any]) -> ReportData:
    """Return the data as if two strategies had been followed: one has drifted, one has too little."""
    since = AS_OF - timedelta(days=9)
    times = dict.fromkeys(("as_of", "activated_at"), TS)
    runs, drift = [], []
    for row, days, trades, decision in ((first, 9.0, 40, "drift"), (second, 3.0, 12, "insufficient")):
        who = {
            "as_of": AS_OF,
            "kind": "strategy",
            "name": row["name"],
            "version": row["version"],
            "activated_at": since,
        }
        runs.append(
            {**who, "state": "followed", "days": days, "trades": trades, "total_pnl_pct": -1.5, "compared": 0,
             "data_revisions": 0, "version_changes": 0, "look_ahead": 0}
        )  # fmt: skip
        drift.append(
            {**who, "metric": "net_return", "promise": 0.001, "promise_se": 0.0003, "forward": -0.0002,
             "difference": 0.0012, "low": 0.0005, "high": 0.0019, "effect": 1.2, "q": 0.01, "p": 0.004, "days": days,
             "trades": trades, "decision": decision, "reason": "far below"}
        )  # fmt: skip
    hours = [AS_OF - timedelta(hours=hour) for hour in range(48, 0, -1)]
    curve = pl.DataFrame({"ts": hours, "equity": [1 - 0.0003 * k for k in range(48)]}, schema_overrides={"ts": TS})
    named = {"kind": "strategy", "name": first["name"], "version": first["version"], "activated_at": since}
    equity = curve.with_columns(**{key: pl.lit(value) for key, value in named.items()})
    return dataclasses.replace(
        data,
        forward=dataclasses.replace(
            data.forward,
            runs=_like(data.forward.runs, runs, times),
            drift=_like(data.forward.drift, drift, times),
            equity=equity.select(data.forward.equity.columns).cast(dict(data.forward.equity.schema)),
        ),
    )


def _like(empty: pl.DataFrame, rows: list[dict[str, Any]], times: dict[str, pl.DataType]) -> pl.DataFrame:
    """Return rows with the columns of a query's result."""
    frame = pl.DataFrame(rows, schema_overrides=times, infer_schema_length=None)
    lacking = [pl.lit(None).alias(name) for name in empty.columns if name not in frame.columns]
    return frame.with_columns(lacking).select(empty.columns).cast(dict(empty.schema))
