"""The review of a day: by Claude where there is an answer, by rules where there is none; made again, the same."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr
from support.claude import KEY
from support.fake_messages import FakeMessages, Got, Sent, answer, error, prose
from support.platform import Make, Platform, platforms

from blofin_assets.reporting import Document, Report
from blofin_assets.reporting.document import Part
from blofin_assets.reporting.review import review_day
from blofin_assets.reporting.rules import rule_review
from blofin_assets.reporting.sections.active_set import ActiveSet, Pair
from blofin_assets.reporting.sections.books import Books
from blofin_assets.reporting.sections.changes import StrategyChanges
from blofin_assets.reporting.sections.data import Lane, Market
from blofin_assets.reporting.sections.evidence import Evidence
from blofin_assets.reporting.sections.live import BacktestVsLive, Drift, Live
from blofin_assets.reporting.sections.luck import Overfitting
from blofin_assets.reporting.sections.models import MlChanges, Trained
from blofin_assets.reporting.sections.ran import Claude as ClaudeCalls
from blofin_assets.reporting.sections.strategies import Ranked, TopStrategy
from blofin_assets.reporting.sections.summary import SummaryBy
from blofin_assets.reproduction import scratch_settings
from blofin_assets.shared.cadences import REPORT
from blofin_resources.claude import Claude

pytestmark = pytest.mark.slow

P = TypeVar("P", bound=Part)
DAY = "2026-03-01"
AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
REVIEW = {
    "verdict": "Nothing here would convince.",
    "findings": [{"severity": "warning", "about": "history", "text": "one day is too short"}],
    "next_steps": ["Wait for more days", "Look at the gaps"],
}


def answers(got: Got) -> dict[str, Any]:
    """Answer as reviewer or as summariser, whatever is asked."""
    review = "Review this report" in got.question
    made = answer(REVIEW if review else {"text": "A quiet day on a made-up market."}).body
    assert isinstance(made, dict)
    return made


def make_whole_day(platform: Platform) -> dict[str, Any]:
    result = platform.defs.resolve_job_def(REPORT).execute_in_process(
        instance=platform.instance, partition_key=DAY, raise_on_error=False
    )
    assert result.success
    text = (platform.settings.warehouse / "reports" / f"{DAY}.json").read_text(encoding="utf-8")
    made = json.loads(text)
    assert isinstance(made, dict)
    return made


def make_day(platform: Platform) -> dict[str, Any]:
    made = make_whole_day(platform)
    made.pop("provenance")
    return made


@pytest.fixture(scope="module")
def market_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with one day of market data and nothing else."""
    with platforms(tmp_path_factory.mktemp("review")) as make:
        platform = make(symbols="BTC-USDT")
        platform.run(AS_OF, ("market_data",))
        yield platform


@pytest.mark.slow
def test_without_a_key_rules_review_and_the_report_says_so(market_day: Platform) -> None:
    report = make_day(market_day)
    assert report["ai_review"]["author"] == report["summary_by"]["author"] == "rules"
    assert "ANTHROPIC_API_KEY" in report["ai_review"]["detail"]
    stage = next(stage for stage in report["stages"] if stage["name"] == "AI review")
    assert stage["state"] == "not run"
    page = (market_day.settings.warehouse / "reports" / f"{DAY}.html").read_text(encoding="utf-8")
    assert "Reviewed by rules" in page
    assert make_day(market_day) == report


def test_a_report_names_the_settings_with_which_it_is_made_again(market_day: Platform, tmp_path: Path) -> None:
    report, settings = make_whole_day(market_day), market_day.settings
    made_with = {"seed": settings.seed, "search_budget": 24, "tuning_budget": 4}
    assert {name: report["provenance"][name] for name in made_with} == made_with
    today = settings.model_copy(update={name: value + 1 for name, value in made_with.items()})
    again = scratch_settings(today, report, tmp_path)
    assert {name: getattr(again, name) for name in made_with} == made_with
    older = {**report, "provenance": {"snapshot": 1}}
    assert scratch_settings(today, older, tmp_path).search_budget == today.search_budget


@pytest.mark.slow
def test_claude_reviews_and_summarises_once_and_is_replayed(
    make_platform: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeMessages([Sent(body=answers)]) as api:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        platform = make_platform(symbols="BTC-USDT")
        platform.run(AS_OF, ("market_data",))
        report = make_day(platform)
        assert len(api.got) == 2
        assert report["summary"] == "A quiet day on a made-up market."
        assert report["ai_next_steps"] == "Wait for more days; Look at the gaps"
        assert report["ai_review"]["author"] == report["summary_by"]["author"] == "claude"
        assert report["claude"]["cost_usd"] > 0
        assert {row["role"] for row in report["claude"]["calls"]} == {"reviewer", "summariser"}
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        assert make_day(platform) == report
        assert len(api.got) == 2
    row = platform.warehouse.read("SELECT * FROM reports.ai_reviews").row(0, named=True)
    assert row["usable_from"] == AS_OF + timedelta(days=7)
    told = platform.warehouse.read("SELECT * FROM research.knowledge_entries ORDER BY content")
    assert told["content"].to_list() == ["Look at the gaps", "Wait for more days"]
    assert set(told["usable_from"]) == {AS_OF + timedelta(days=7)}
    assert KEY not in json.dumps(report)


@pytest.mark.parametrize("sent", [error(500, "api_error"), prose()])
def test_an_answer_that_cannot_be_used_leaves_the_rules(market_day: Platform, sent: Sent) -> None:
    draft = _document()
    with FakeMessages([sent]) as api:
        claude = Claude(
            market_day.warehouse, key=SecretStr(KEY), budget_usd=5.0, base_url=api.url, deadline_seconds=60.0, retries=0
        )
        day = AS_OF + timedelta(days=30, minutes=sent.status)
        found = review_day(draft, claude, as_of=day, run_id="test")
    assert found.review == rule_review(draft)
    assert found.summary == "By rules."
    row = found.row()
    assert row["author"] == row["summary_author"] == "rules"
    assert row["detail"]


def test_rules_name_the_worst_first_with_its_figure() -> None:
    review = rule_review(_document())
    texts = [finding.text for finding in review.findings]
    assert [finding.severity for finding in review.findings] == sorted(
        (finding.severity for finding in review.findings), key=("error", "warning", "info").index
    )
    assert any("3 differences between ledger and replay" in text for text in texts)
    assert any("fading drifts" in text and "q = 0.02" in text for text in texts)
    assert any("1 strategies did not trade on the holdout: silent" in text for text in texts)
    assert any("ETH-USDT 1m lacks 144 of 1,440 bars (10.00%)" in text for text in texts)
    assert any("48% of random timings" in text for text in texts)
    assert any("2.4 bp slippage" in text for text in texts)
    assert any("rests on 4 trades" in text for text in texts)
    assert any("60% of splits" in text for text in texts)
    assert any("one bet (correlation 0.97)" in text for text in texts)
    assert any("1 of 2 models do not beat" in text and "guesser" in text for text in texts)
    assert "look-ahead" in review.next_steps[0]
    assert any(step.startswith("Re-tune fading") for step in review.next_steps)


def test_rules_are_silent_where_there_is_nothing_to_say() -> None:
    review = rule_review(_document(wrong=False))
    assert review.findings == []
    assert review.next_steps == []


def _filled(part: type[P], /, **given: Any) -> P:
    """Return a part with these fields, and null in the others."""
    return part(**{**dict.fromkeys(part.model_fields), **given})


def _document(*, wrong: bool = True) -> Document:
    """Return a report with one of everything that is wrong, or with nothing that the rules notice."""
    named = {"name": "fading", "version": "v"}
    best = _filled(
        TopStrategy, **named, trades=4, break_even_slippage=0.00024, timing_p=0.48, dsr=0.1, episodes=14, losers=6,
        live=_filled(Live, state="not yet", detail="not yet"),
    )  # fmt: skip
    test = _filled(
        Drift, **named, kind="strategy", metric="net_return", decision="drift", effect=1.5, expected=0.001,
        forward=-0.0005, q=0.02, days=9.0,
    )  # fmt: skip
    live = _filled(
        BacktestVsLive, state="1 tested", drift_detected=True, tracked=1, tested=1, insufficient=0,
        look_ahead=3 * wrong, data_revisions=0, version_changes=0, tests=[test] * wrong, retunes=[],
    )  # fmt: skip
    model = {"type": "direction", "timeframe": "5m", "features": 3, "baseline_log_loss": 0.69}
    guesser = _filled(Trained, name="guesser", better=False, log_loss=0.70, **model)
    knower = _filled(Trained, name="knower", better=True, log_loss=0.6, **model)
    lane = _filled(
        Lane, symbol="ETH-USDT", timeframe="1m", first_day=DAY, through=AS_OF.isoformat(), bars=1296, expected=1440,
        missing=144, recent_bars=1296, recent_expected=1440, flagged=0,
    )  # fmt: skip
    market = _filled(
        Market, source="sample", synthetic=True, symbols=["ETH-USDT"], coverage=[lane] * wrong, ended=[], steps=[],
        open_gaps=0, gaps=[], revised=0,
    )  # fmt: skip
    held = _filled(ActiveSet, strategies=2, closest=[Pair(first="a", second="b", correlation=0.97)], divided=[])
    ranking = [_filled(Ranked, **named, trades=4), _filled(Ranked, name="silent", version="v", trades=0)]
    performance = Report.model_fields["performance"].annotation
    assert performance is not None
    return Report(
        report_date=DAY,
        as_of=AS_OF.isoformat(),
        cycle="ml_day",
        cycles={},
        not_made=[],
        summary="By rules.",
        summary_by=SummaryBy(author="rules", model=None, detail=None),
        ai_next_steps="",
        ai_review=None,
        overfitting=_filled(Overfitting, trials=40, supported=0, pbo=0.6 if wrong else 0.1, trials_today={}),
        ranking=ranking * wrong,
        market=market,
        ml_changes=MlChanges(trained=[guesser, knower] * wrong, ensembles_tested=[], tuned=[]),
        books=_filled(Books, members_fewest=0, members_most=0, chosen_today=False, rows=[]),
        forward_evidence=Evidence(newest_day=None, records=0, confirmed=0, broken=0, worse=0, rows=[]),
        strategy_changes=StrategyChanges(designed=[], tuned=[], archived=[], refused=[], waiting=0, designers=[]),
        active_set=held if wrong else None,
        claude=ClaudeCalls(cost_usd=0.0, calls=[]),
        stages=[],
        performance=performance(top_5_strategies=[best] * wrong, top_5_models=[], backtest_vs_live=live),
    )
