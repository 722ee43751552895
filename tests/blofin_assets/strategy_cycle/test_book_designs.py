"""Claude and books: designs by the same checks and budgets as strategies, hints for tuning, lessons, duplicates."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support import fake_messages as fake
from support.book_cycles import FIRST, SECOND, book_platform, run_books
from support.cycles import Author, served
from support.fake_messages import GOOD_BOOK
from support.invented_universe import START, invented
from support.platform import Platform

from backtester import PreparedMarket
from backtester.statistics.windows import LONG_HOLDOUT_LENGTH, Window
from blofin_assets.shared.book_rows import BookRun
from blofin_assets.shared.deep_market import shared_market
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.evaluation_set import drop_copies
from blofin_assets.strategy_cycle.prompt_context import emphasis, lessons, universe_state
from blofin_resources.dagster_resources import ClaudeResource
from strategies.registry import BOOKS, load_books
from strategies.search.books import InSample
from strategies.untrusted.compiler import compile_book
from strategies.validation.duplicates import weights_held

OTHER = GOOD_BOOK.replace("SteadyClimbers", "Fallers").replace("steady_climbers", "fallers")
OTHER = OTHER.replace('f.feature("up_share", self.hours)', "-across.zscore(f.bbands_percent)")
HOSTILE = OTHER.replace("        return Weights(", '        __import__("os").system("id")\n        return Weights(')
COPY = (BOOKS / "low_volatility.py").read_text().replace("low_volatility", "calm_ones").replace("LowVolatil", "Calm")
LATE = GOOD_BOOK.replace('"60m", "24h"', '"5m", "24h"').replace("steady_climbers", "hasty")
HINT = {"diagnosis": "Too few names.", "variants": [{"reason": "r", "changes": [{"parameter": "share", "value": 0.4}]}]}


@pytest.fixture(scope="module")
def author() -> Author:
    """What Claude answers: a sound book, one that comes back from a refusal, and twice a copy of the library."""
    designs = [fake.design(code) for code in (GOOD_BOOK, HOSTILE, OTHER, COPY, LATE)]
    return Author(designs, [fake.answer(HINT)])


@pytest.fixture(scope="module")
def cycled(tmp_path_factory: pytest.TempPathFactory, author: Author) -> Iterator[Platform]:
    """A platform after the books' part of one cycle, with Claude."""
    with (
        book_platform(tmp_path_factory.mktemp("designs"), search_budget=60, tuning_budget=16) as platform,
        served(author),
    ):
        run_books(platform, FIRST, resources={"claude": ClaudeResource(budget_usd=50.0)})
        yield platform


@pytest.mark.long
def test_claude_designs_books_by_the_checks_and_the_budget_of_the_search(cycled: Platform) -> None:
    store = cycled.warehouse
    made = store.read("SELECT * FROM research.proposals WHERE stage = 'book design' AND designer = 'claude'")
    sound, refused = made.filter(state="sound"), made.filter(state="refused")
    assert sorted(sound["name"]) == ["fallers", "steady_climbers"]
    reasons = sorted(refused["refusal"])
    assert len(reasons) == 3
    assert any("weigh holds name = expression lines" in reason for reason in reasons)
    assert "it trades like low_volatility; design something different" in reasons
    assert any("deep history has hours and days: write it on 60m, 4h or 1d" in reason for reason in reasons)
    runs = store.read("SELECT * FROM research.designer_runs WHERE stage = 'book design' ORDER BY designer")
    claude, search = runs.iter_rows(named=True)
    assert (claude["designer"], claude["state"], search["state"]) == ("claude", "done", "done")
    assert claude["budget"] == search["budget"] > 0
    assert 0 < claude["evaluations"] <= claude["budget"]
    assert claude["cost_usd"] > 0
    tried = store.read("SELECT * FROM research.trials WHERE kind = 'book' AND author = 'claude' AND purpose = 'search'")
    assert tried.height == claude["evaluations"] == made["evaluations"].sum()
    assert set(tried["name"]) == {"fallers", "steady_climbers", "calm_ones"}
    assert tried["window_end"].unique().to_list() == [FIRST - timedelta(days=28)]
    written = store.read("SELECT * FROM research.books WHERE author = 'claude'")
    assert set(written["name"]) == {"fallers", "steady_climbers"}
    assert written["knows_until"].null_count() == written["design_prompt"].null_count() == 0
    finals = store.read("SELECT name FROM research.finalists WHERE designer = 'claude' AND stage = 'book design'")
    assert sorted(finals["name"]) == ["fallers", "steady_climbers"]


@pytest.mark.long
def test_its_prompts_show_the_universe_before_the_holdout_and_the_language_of_books(
    cycled: Platform, author: Author
) -> None:
    first, *_ = author.asked["design"]
    assert "Weights" in json.dumps(first.body["system"])
    assert "median_move_pct" in first.question
    assert "low_volatility" in first.question
    repaired = author.asked["design"][2].question
    assert "__import__" in repaired
    until = FIRST - timedelta(days=28)
    sql = "SELECT * FROM research.proposals WHERE stage = 'book tuning' ORDER BY slot LIMIT 1"
    (row,) = cycled.warehouse.read(sql).iter_rows(named=True)
    assert (row["attempt"], str(row["reason"]).split(";")[0]) == (1, "Too few names.")
    assert row["cost_usd"] > 0
    sql = "SELECT params FROM research.trials WHERE author = 'tuner' AND name = ?"
    hinted = [json.loads(each) for each in cycled.warehouse.read(sql, [row["name"]])["params"]]
    assert any(each["share"] == 0.4 for each in hinted), hinted
    market = shared_market(cycled.warehouse, load_books()[:1], until - timedelta(days=20), until)
    spans = [state["days"] for state in universe_state(market)]
    assert spans == [7, 30]
    again = shared_market(cycled.warehouse, load_books()[:1], until - timedelta(days=20), until + timedelta(days=3))
    assert universe_state(again) != universe_state(market)


@pytest.mark.long
def test_lessons_of_books_are_for_books_and_wait_for_the_longest_holdout(cycled: Platform) -> None:
    store = cycled.warehouse
    rows = store.read("SELECT * FROM research.knowledge_entries WHERE kind = 'book'")
    dated = {
        category: set(part["usable_from"]) for (category,), part in rows.partition_by("category", as_dict=True).items()
    }
    after = FIRST + LONG_HOLDOUT_LENGTH
    assert dated == {"change": {after}, "lesson": {FIRST}, "performance": {after}}
    finals = store.read("SELECT count(*) AS n FROM research.finalists").item()
    assert rows.filter(category="change").height == finals
    seen = lessons(store, SECOND, kind=Kind.BOOK)
    assert {each.category for each in seen} == {"lesson"}
    assert any("it trades like low_volatility" in each.content for each in seen)
    assert lessons(store, SECOND) == []
    assert lessons(store, FIRST, kind=Kind.BOOK) == []
    assert emphasis(store, after - timedelta(days=2), Kind.BOOK) == {}
    assert emphasis(store, after, Kind.BOOK)
    assert emphasis(store, after) == {}


@pytest.mark.long
def test_a_cycle_that_is_run_again_asks_nobody(cycled: Platform, author: Author) -> None:
    asked = {stage: len(got) for stage, got in author.asked.items()}
    before = cycled.warehouse.read("SELECT * EXCLUDE (run_id) FROM research.proposals ORDER BY ALL")
    run_books(cycled, FIRST, resources={"claude": ClaudeResource(budget_usd=50.0)})
    assert {stage: len(got) for stage, got in author.asked.items()} == asked
    assert cycled.warehouse.read("SELECT * EXCLUDE (run_id) FROM research.proposals ORDER BY ALL").equals(before)


def test_books_with_the_same_weights_are_one_whatever_their_text() -> None:
    market = invented(hours=900)
    prepared = PreparedMarket.of("60m", market.candles["60m"], market.funding)
    window = Window(START + timedelta(days=20), START + timedelta(days=37))
    in_sample = InSample(prepared, window)
    first = compile_book(GOOD_BOOK)
    twin = compile_book(GOOD_BOOK.replace("steady_climbers", "twin").replace("self.hours)", "self.hours) * 2"))
    other = compile_book(OTHER)
    idle = compile_book(
        OTHER.replace("fallers", "idle").replace(
            "f.bbands_percent", "where(f.close > 0, f.close, f.close) * (f.high / f.high) / (f.low - f.low)"
        )
    )
    books = (first, twin, other, idle)
    market_read: Any = None
    runs = [BookRun(book, market_read, in_sample.run(book), "all") for book in books]
    stay, copies = drop_copies(runs, lambda each: weights_held(each.evaluation.result))
    assert [each.name for each in stay] == ["steady_climbers", "fallers", "idle"]
    assert copies == {("twin", twin.version): "steady_climbers"}
    assert weights_held(runs[3].evaluation.result) == {}
