"""The report of a whole pass: its form, its page in a browser, and what it says where the forward side has rows."""

import dataclasses
import html
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError
from support.browser import look
from support.pages import WIDTHS, fits, needs_nothing
from support.platform import AS_OF, Platform, report_data

from blofin_assets.cli.report import WIDTH, summary_lines
from blofin_assets.reporting import Document, Report, ReportData, build_document, render_page
from blofin_assets.reporting.collect.forward import collect_forward
from blofin_assets.reporting.document import NotMade
from blofin_assets.reporting.page import formats
from blofin_assets.reporting.rules import rule_review
from blofin_assets.reporting.sections import changes, evidence, next_steps, ran, summary
from blofin_assets.reporting.sections import data as data_section
from blofin_assets.reporting.sections.live import LivePart
from blofin_assets.reporting.sections.strategies import StrategiesPart
from features.bars import TIMEFRAMES, TS

pytestmark = pytest.mark.slow

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
    return report_data(done.warehouse)


@pytest.fixture(scope="module")
def document(data: ReportData) -> Document:
    return build_document(data).model_copy(update={"provenance": PROVENANCE})


def test_the_symbols_are_the_cycles_and_not_todays(document: Document) -> None:
    assert document.part(data_section.DataPart).market.symbols == ["ETH-USDT", "BTC-USDT"]
    assert "2 symbols" in document.stored()["summary"]


def test_one_symbol_is_told_in_the_singular(data: ReportData) -> None:
    alone = dataclasses.replace(data, symbols=("BTC-USDT",)).with_own(next_steps.SECTION, None)
    assert build_document(alone).stored()["summary"].startswith("1 symbol of the sample market")


def test_a_report_of_another_form_is_not_written(document: Document) -> None:
    stored = document.stored()
    assert Report.model_validate(stored) == document
    best = document.part(StrategiesPart).top_5_strategies
    wrong = [best[0].model_copy(update={"score": "42.3"}), *best[1:]]
    broken = document.model_copy(
        update={"performance": document.performance.model_copy(update={"top_5_strategies": wrong})}
    )  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match="score"), pytest.raises(ValidationError, match="score"):
        broken.stored()
    with pytest.raises(ValidationError, match="more"):
        Report.model_validate({**stored, "more": 1})


def test_every_lane_is_covered_and_counted(document: Document) -> None:
    coverage = document.stored()["market"]["coverage"]
    lanes = {(lane["symbol"], lane["timeframe"]): lane for lane in coverage}
    assert len(lanes) == 2 * len(TIMEFRAMES)
    assert lanes["BTC-USDT", "1m"]["bars"] == lanes["BTC-USDT", "1m"]["expected"] == 12 * 1440
    assert lanes["ETH-USDT", "60m"]["recent_expected"] == lanes["ETH-USDT", "60m"]["recent_bars"] == 7 * 24


def test_the_summary_fits_a_terminal(done: Platform) -> None:
    lines = summary_lines(done.settings.warehouse / "reports" / "2026-03-12.json")
    assert max(map(len, lines)) <= WIDTH
    assert any("next steps" in line for line in lines)


def test_forward_rows_show_and_what_is_too_little_says_how_much(data: ReportData) -> None:
    first, second = data.cycles.strategy_ranking.head(2).to_dicts()
    known = _with_forward(data, first, second)
    report = build_document(known).model_copy(update={"provenance": PROVENANCE})
    live = report.part(LivePart).backtest_vs_live
    assert live.drift_detected is True
    assert (live.tested, live.insufficient) == (1, 1)
    stored = report.stored()["performance"]["backtest_vs_live"]["tests"][0]
    assert (stored["promise"], stored["promise_se"]) == (live.tests[0].expected, live.tests[0].expected_se), "its keys"
    top = report.part(StrategiesPart).top_5_strategies
    assert top[0].live.state == "drift"
    assert top[1].live.detail == "not yet: 3.0 of more than 7 forward days, 12 of at least 20 closed trades"
    page = render_page(report, known).html
    assert "not yet: 3.0 of more than 7 forward days" in page
    assert "Shortfall of 1 results relative to expected performance; 1 of 1 drift" in page
    assert "Too little data so far (1)" in page
    assert "the dashed line is 10 %." in page
    assert "{{" not in page
    assert page == render_page(report, known).html


def test_evidence_shows_what_is_confirmed_and_what_is_broken(data: ReportData) -> None:
    today = AS_OF - timedelta(days=1)
    records = evidence._labelled(
        pl.DataFrame(
            [
                evidence_record("strong", capital=60.0, first_confirmed=today),
                evidence_record("lapsed", capital=12.0, last_day=today - timedelta(days=9), first_confirmed=today),
                evidence_record("weak", capital=0.4, capital_worse=25.0),
                evidence_record("ruined", capital=0.0, broken_on=today),
                evidence_record("long_ruined", capital=0.0, broken_on=today - timedelta(days=3)),
            ],
            infer_schema_length=None,
        )
    )
    days = [AS_OF - timedelta(days=n) for n in (5, 4, 3, 2, 1)]
    paths = pl.concat(
        records.select("kind", "name", "version", "activated_at").join(
            pl.DataFrame({"day": days, "capital": [1.0, 1.0, 1.0, 1.0, end]}).cast({"day": TS}), how="cross"
        ).filter(pl.col("name") == name)
        for name, end in records.select("name", "capital").iter_rows()
    )  # fmt: skip
    known = data.with_own(evidence.SECTION, evidence.Collected(records, paths))
    report = build_document(known).model_copy(update={"provenance": PROVENANCE})
    part = report.part(evidence.EvidencePart).forward_evidence
    # the lapsed one was confirmed while it was alone: 12 of 1 record was enough, of 5 it is not
    assert (part.records, part.confirmed, part.broken, part.worse) == (5, 1, 2, 1)
    assert [record.name for record in part.rows][:2] == ["strong", "lapsed"]
    assert [record.days_more for record in part.rows] == [0, 105, 795, None, None]
    page = render_page(report, known).html
    assert "1 of 5 records is confirmed; 1 has done worse than expected; 2 lost more than their stated bound." in page
    assert "The newest day is" not in page
    assert summary._by_rules(known).endswith("Forward days confirm 1 of 5 records: strong.")
    assert "Capital of each record by days since activation" in page
    younger = known.with_own(evidence.SECTION, evidence.Collected(records, paths.filter(pl.col("day") > days[0])))
    assert "Capital of each record" not in render_page(report, younger).html, "no stake has been settled"
    assert page == render_page(report, known).html
    told = [(finding.severity, finding.text) for finding in rule_review(report).findings]
    assert ("info", "confirmed by forward days: strong") in told
    broken = [text for severity, text in told if severity == "warning" and "has lost more than the bound" in text]
    assert [text.split()[0] for text in broken] == ["ruined"], "a warning is given on its day alone"


def test_evidence_begins_with_the_first_day_and_says_so_before(data: ReportData, document: Document) -> None:
    begun = document.part(evidence.EvidencePart).forward_evidence
    assert begun.records > 0
    assert {record.capital for record in begun.rows} == {1.0}, "the first stake is settled after five days"
    assert "Forward days confirm nothing that is tracked so far." in render_page(document, data).html
    collected = data.of(evidence.SECTION)
    before = data.with_own(evidence.SECTION, evidence.Collected(collected.records.clear(), collected.paths.clear()))
    none = build_document(before).model_copy(update={"provenance": PROVENANCE})
    assert none.part(evidence.EvidencePart).forward_evidence.newest_day is None
    assert "Evidence grows from the first day after activation." in render_page(none, before).html
    assert "Forward days confirm" not in summary._by_rules(before)


def evidence_record(name: str, **changes: object) -> dict[str, object]:
    usual = {
        "kind": "strategy", "name": name, "version": "1", "activated_at": AS_OF - timedelta(days=12),
        "last_day": AS_OF - timedelta(days=1), "days": 3, "total_pnl_pct": 1.0, "capital": 1.0, "capital_worse": 1.0,
        "weight": 1.0, "broken_on": None, "first_confirmed": None,
        "expected": 0.001, "deviation": 0.01, "loss_bound": 0.1,
    }  # fmt: skip
    return usual | changes


def test_a_strategy_whose_author_may_know_the_holdout_says_so(data: ReportData, document: Document) -> None:
    told = "its author may know these days"
    assert told not in render_page(document, data).html, "nobody knows a synthetic market"
    performance = document.model_copy(deep=True).performance  # type: ignore[attr-defined]
    best = performance.top_5_strategies[0].model_copy(update={"supported": False, "author_may_know": True})
    known = performance.model_copy(update={"top_5_strategies": [best, *performance.top_5_strategies[1:]]})
    assert told in render_page(document.model_copy(update={"performance": known}), data).html


def test_lanes_say_whether_they_are_scored(data: ReportData, document: Document) -> None:
    lanes = data.cycles.lanes
    scored = lanes.filter("scored").group_by("strategy_name", "version").agg(pl.col("total_trades").sum().alias("n"))
    known = {(row.name, row.version): row.trades for row in document.part(StrategiesPart).ranking}
    assert {(name, version): n for name, version, n in scored.iter_rows()} == known
    assert ">scored</" in render_page(document, data).html


def test_calls_that_were_not_made_are_not_counted(data: ReportData) -> None:
    calls = data.of(ran.SECTION)
    assert calls["due"].sum() > 0
    assert calls["calls"].to_list() == [0] * calls.height, "there is no key: nothing was sent"


def test_only_names_that_are_active_no_longer_are_told_as_archived(done: Platform) -> None:
    before = report_data(done.warehouse).of(changes.SECTION).archived
    now = AS_OF - timedelta(hours=1)
    events = [
        ("kept", "old", "active", now - timedelta(days=9)), ("kept", "tuned", "archived", now),
        ("given_way", "old", "active", now - timedelta(days=9)), ("given_way", "old", "archived", now),
        ("given_way", "new", "active", now),
        ("gone", "old", "active", now - timedelta(days=9)), ("gone", "old", "archived", now),
    ]  # fmt: skip
    names = ["name", "version", "event", "begins_at"]
    rows = pl.DataFrame(events, schema=names, orient="row").with_columns(pl.lit("why").alias("reason"))
    with done.warehouse.transaction("test") as tx:
        tx.append("research.strategy_lifecycle", rows)
    try:
        told = report_data(done.warehouse).of(changes.SECTION).archived
        assert set(told["name"]) - set(before["name"]) == {"gone"}
    finally:
        with done.warehouse.transaction("test") as tx:
            tx.replace("research.strategy_lifecycle", rows.clear(), name=["kept", "given_way", "gone"])


def test_what_never_traded_is_not_told_to_lose() -> None:
    assert formats.break_even(None, 0) == "no trades"
    assert formats.break_even(None, 3) == "loses without"
    assert formats.break_even(0.00025, 3) == "2.5 bp"


def test_the_tests_of_an_older_night_are_not_this_ones(data: ReportData) -> None:
    known = _with_forward(data, *data.cycles.strategy_ranking.head(2).to_dicts())
    assert build_document(known).part(LivePart).backtest_vs_live.evaluation_date == AS_OF.isoformat()
    older = known.forward.drift.with_columns(pl.lit(AS_OF - timedelta(days=1)).cast(TS).alias("as_of"))
    stale = dataclasses.replace(known, forward=dataclasses.replace(known.forward, drift=older))
    report = build_document(stale).model_copy(update={"provenance": PROVENANCE})
    live = report.part(LivePart).backtest_vs_live
    assert live.evaluation_date == (AS_OF - timedelta(days=1)).isoformat()
    assert live.drift_detected is None
    assert live.state == "not tested this night; shown as of 2026-03-12 00:00 UTC"
    assert report.part(StrategiesPart).top_5_strategies[0].live.detail == "as of 2026-03-12 00:00 UTC: far below"
    assert not any("drifts" in finding.text for finding in rule_review(report).findings)
    assert "the tests below are as of 2026-03-12 00:00 UTC" in render_page(report, stale).html


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
        (known.forward, "2 tracked, as of 2026-03-13 00:00 UTC", "1 drift, 0 steady, 1 insufficient, as of"),
        (late, f"{FAILED}; shown as of 2026-03-12 12:00 UTC", f"{FAILED}; shown as of 2026-03-12 00:00 UTC"),
        (nothing, f"{FAILED}; nothing to show", f"{FAILED}; nothing to show"),
    ):
        document = build_document(dataclasses.replace(data, forward=forward))
        made = {stage.name: stage for stage in document.part(ran.RanPart).stages}
        for name, told in (("forward ledger", ledger), ("drift tests", tests)):
            assert made[name].state == ("done" if forward is known.forward else "not run")
            assert made[name].overdue == (forward is not known.forward)
            assert made[name].detail.startswith(told)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_in_a_browser(data: ReportData, document: Document, tmp_path: Path, width: int) -> None:
    page = render_page(document, data).html
    seen = look(page, tmp_path, width)
    assert len(seen.pictures) >= 5
    assert all(label for label, _ in seen.pictures)
    assert seen.height < 22_000
    assert [page.index(each.question) for each in summary.answers(document)] == sorted(
        page.index(each.question) for each in summary.answers(document)
    )
    assert page.index("What is there to do?") < page.index('<p class="lead">')


def test_the_page_fits_with_everything_unfolded(data: ReportData, document: Document, tmp_path: Path) -> None:
    page = render_page(document, data).html
    needs_nothing(page.replace('href="2026-03-13.html"', "").replace(f'href="{data.ui_url}/runs/r"', ""))
    fits(page, tmp_path)


def test_the_sql_of_a_section_answers_with_the_numbers_of_the_page(
    done: Platform, data: ReportData, document: Document
) -> None:
    queries = {section.name: section.query_at(document) for section in data.sections}
    assert [name for name, text in queries.items() if not text] == ["summary"]
    page = html.unescape(render_page(document, data).html)
    answers = {name: done.warehouse.read(text) for name, text in queries.items() if text}
    assert [text in page for text in queries.values() if text] == [True] * len(answers)
    ranking = document.part(StrategiesPart).ranking
    assert answers["strategies"].select("name", "score").rows() == [
        (row.name, pytest.approx(row.score)) for row in ranking
    ]
    assert answers["active_set"]["equity"][-1] - 1 == pytest.approx(
        document.stored()["active_set"]["total_pnl_pct"] / 100
    )
    assert answers["luck"].height == len(data.cycles.evidence)
    assert [name for name, frame in answers.items() if frame.is_empty()] == ["books"], "none has been run"


def test_the_first_screen_answers_what_to_believe_what_changed_and_what_to_do(document: Document) -> None:
    believe, changed, to_do = (each.text for each in summary.answers(document))
    assert believe.startswith("Nothing on the holdout: none of ")
    assert "Forward days confirm none of" in believe
    made = document.stored()["strategy_changes"]
    assert f"{len(made['archived'])} archived" in changed.lower()
    assert "models trained" in changed
    first, *more = document.stored()["ai_review"]["next_steps"]
    assert to_do == f"{first['text']}. And {len(more)} more."
    review = document.model_copy(update={"not_made": [NotMade(section="luck", reason="x")], "ai_review": None})
    assert summary.answers(document.model_copy(update={"ai_review": None}))[2].text == "This day was not reviewed."
    assert summary.answers(review)[2].text == "Find out why the section luck could not be made."
    overfitting = document.overfitting.model_copy(update={"supported": 1})  # type: ignore[attr-defined]
    ranking = [document.ranking[0].model_copy(update={"dsr": 0.97}), *document.ranking[1:]]  # type: ignore[attr-defined]
    lucky = document.model_copy(update={"overfitting": overfitting, "ranking": ranking})
    assert summary.answers(lucky)[0].text.startswith(f"The holdout supports {ranking[0].name} after ")


def test_days_are_linked_where_there_is_a_report(data: ReportData, document: Document) -> None:
    page = render_page(document, data).html
    assert '<a href="2026-03-13.html" rel="next">' in page
    assert 'rel="prev"' not in page, "this is the first report"
    later = data.with_own(summary.SECTION, date(2026, 3, 11))
    assert '<a href="2026-03-11.html" rel="prev">' in render_page(document, later).html


def test_open_positions_are_what_the_ledger_holds_at_the_last_price(done: Platform, data: ReportData) -> None:
    held = data.forward.positions
    stored = done.warehouse.read("SELECT * FROM research.forward_open WHERE as_of <= ?", [AS_OF])
    assert held.height == stored.height > 0
    closes = done.warehouse.read("SELECT symbol, ts, close FROM market.candles_1m WHERE ts < ?", [AS_OF])
    for row in held.head(5).to_dicts():
        last = closes.filter(symbol=row["symbol"]).sort("ts")["close"][-1]
        assert row["last_price"] == last
        sign = 1 if row["side"] == "long" else -1
        assert row["move_pct"] == pytest.approx(100 * sign * (last / row["entry_price"] - 1))


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
    assert {request.rpartition("/")[2] for request in seen.requests} >= {"none.png", "x.png"}


def _with_forward(data: ReportData, first: dict[str, Any], second: dict[str, Any]) -> ReportData:
    """Return the data as if two strategies were tracked: one has drifted, one has too little data."""
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
            {**who, "state": "tracked", "days": days, "trades": trades, "total_pnl_pct": -1.5, "compared": 0,
             "data_revisions": 0, "version_changes": 0, "look_ahead": 0}
        )  # fmt: skip
        drift.append(
            {**who, "metric": "net_return", "expected": 0.001, "expected_se": 0.0003, "forward": -0.0002,
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
