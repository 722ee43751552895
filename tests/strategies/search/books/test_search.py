"""The search for books: its texts mean what its genomes do, it looks at its window alone, and repeats itself."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.invented_universe import START, invented

from backtester import BookEvaluation, PreparedMarket
from backtester.statistics.windows import Window
from features.market import Market
from strategies.registry import load_books
from strategies.search.books import BookDesigns, InSample, evaluate_book, families_of_book, search_books, tune_book
from strategies.search.books.code_generation import genome_of, line_of, name_of, rendered
from strategies.search.books.fitness import BookFitness, costs_of
from strategies.search.books.genome import BookFactory, BookGenome, Score, canonicalise, without
from strategies.search.books.panel import rules_of
from strategies.search.books.vocabulary import SCORES
from strategies.search.map_elites.trials import Rejected
from strategies.untrusted.compiler import compile_book
from strategies.validation.duplicates import daily_weights

HOURS = 1300
WINDOW = Window(START + timedelta(days=20), START + timedelta(days=44))
FACTORY = BookFactory("60m", {"interest": 0.0})
BUDGET = 30


def prepared_of(market: Market) -> PreparedMarket:
    return PreparedMarket.of("60m", market.candles["60m"], market.funding)


@pytest.fixture(scope="module")
def market() -> Market:
    return invented(hours=HOURS)


@pytest.fixture(scope="module")
def prepared(market: Market) -> PreparedMarket:
    return prepared_of(market)


@pytest.fixture(scope="module")
def in_sample(prepared: PreparedMarket) -> InSample:
    return InSample(prepared, WINDOW)


@pytest.fixture(scope="module")
def found(prepared: PreparedMarket) -> BookDesigns:
    return search_books(prepared, WINDOW, budget=BUDGET, seed=1, finalists=4)


def drawn(seed: int) -> BookGenome:
    rng = np.random.default_rng(seed)
    genome = FACTORY.random(rng)
    for _ in range(seed % 4):
        genome = FACTORY.mutate(rng, genome)
    return FACTORY.crossover(rng, genome, FACTORY.random(rng)) if seed % 5 == 0 else genome


def said(designs: BookDesigns) -> list[object]:
    return [(one.strategy.source(), one.fitness, one.expected_sharpe) for one in designs.finalists]


@settings(deadline=None, derandomize=True, max_examples=15, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_the_text_of_a_genome_holds_the_same_weights(seed: int, in_sample: InSample) -> None:
    genome = drawn(seed)
    book = compile_book(rendered(genome, name_of(genome)))
    own, texts = in_sample.run_genome(genome, rules_of(genome)), in_sample.run(book).result
    for one, other in zip(own.tranches, texts.tranches, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(own.equity, texts.equity)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_genome_is_read_back_from_its_text_tuned_or_not(seed: int) -> None:
    genome = drawn(seed)
    book = compile_book(rendered(genome, name_of(genome)))
    assert genome_of(book) == genome
    assert book.rules == rules_of(genome)
    assert set(families_of_book(book)) >= {score.family for score in genome.scores}
    low = book.with_parameters(**{name: param.low for name, param in book.ranges().items()})
    tuned = genome_of(low)
    assert tuned is not None
    assert compile_book(rendered(tuned, "again")).rules == low.rules
    assert canonicalise(genome) == genome
    assert all(smaller.parts < genome.parts for smaller in without(genome))
    assert genome not in FACTORY.neighbours(genome)


def test_another_text_is_no_genome() -> None:
    assert [genome_of(book) for book in load_books()] == [None] * len(load_books())
    genome = drawn(3)
    text = rendered(genome, "mine")
    assert genome_of(compile_book(text.replace("rank_by=", "rank_by=1 * "))) is None


def test_every_family_is_known_where_its_data_are(in_sample: InSample) -> None:
    def known(family: str) -> float:
        lengths = next(term for term in SCORES if term.family == family).lengths_on("60m")
        return in_sample.known(BookGenome("60m", "24h", (Score(family, lengths[0]),)))

    shares = {term.family: known(term.family) for term in SCORES}
    assert {family for family, share in shares.items() if share < 0.9} == {"interest"}, "there is no positioning data"
    rejected = BookFitness(in_sample).run(BookGenome("60m", "24h", (Score("interest", (24,)),)), "first third")
    assert isinstance(rejected, Rejected)
    assert rejected.stage == "scores"


def test_a_trial_has_the_metrics_of_the_backtest(in_sample: InSample, found: BookDesigns) -> None:
    evaluator = BookFitness(in_sample)
    for finalist in found.finalists:
        metrics = in_sample.run(finalist.strategy).metrics()
        trial = evaluator.full(finalist.genome)
        assert trial.trades == metrics["trades"]
        assert trial.score == pytest.approx(metrics["score"])
        assert trial.sharpe == pytest.approx(metrics["sharpe"])
        assert trial.fitness == finalist.fitness


def test_returns_without_costs_are_those_of_a_run_at_no_cost(prepared: PreparedMarket) -> None:
    genome = BookGenome("60m", "24h", (Score("returns", (72,)),), size="rank")
    paid = InSample(prepared, WINDOW)
    result = paid.run_genome(genome, rules_of(genome))
    free = InSample(prepared, WINDOW, costs=result.costs.free()).run_genome(genome, rules_of(genome))
    gross = result.returns + costs_of(result)
    assert np.corrcoef(gross, free.returns)[0, 1] > 0.999
    assert gross.sum() == pytest.approx(free.returns.sum(), abs=0.01 * costs_of(result).sum() + 1e-4)
    assert costs_of(result).sum() > 0.005


def test_the_budget_is_spent_and_every_try_is_counted(found: BookDesigns) -> None:
    assert found.evaluations == BUDGET
    full = found.trials.filter(pl.col("stage") == "full")
    assert full.height == BUDGET
    assert full["candidate"].n_unique() == BUDGET
    assert found.trials.filter(pl.col("stage") == "third").height == found.rejected["third"]
    assert found.stopped == ""


def test_finalists_differ_from_each_other_and_from_what_is_known(
    found: BookDesigns, prepared: PreparedMarket, in_sample: InSample
) -> None:
    assert 2 <= len(found.finalists) <= 4
    forms = [in_sample.weights(in_sample.run(one.strategy).result) for one in found.finalists]
    assert all(form is not None for form in forms)
    likeness = np.array(forms) @ np.array(forms).T
    assert np.max(likeness - np.eye(len(forms))) < 0.99
    known = [one.strategy for one in found.finalists]
    again = search_books(
        prepared, WINDOW, known, budget=BUDGET, seed=1, finalists=4, taken=[book.name for book in known]
    )
    assert not {one.strategy.name for one in again.finalists} & {book.name for book in known}
    newer = [in_sample.weights(in_sample.run(one.strategy).result) for one in again.finalists]
    assert all(one is not None and two is not None and one @ two < 0.99 for one in newer for two in forms)


def test_the_same_on_one_thread_and_on_two(found: BookDesigns, prepared: PreparedMarket) -> None:
    again = search_books(prepared, WINDOW, budget=BUDGET, seed=1, finalists=4, threads=2)
    assert said(again) == said(found)
    assert again.trials.equals(found.trials)
    assert said(search_books(prepared, WINDOW, budget=BUDGET, seed=2, finalists=4)) != said(found)


def test_what_comes_after_the_window_changes_nothing(found: BookDesigns, market: Market, in_sample: InSample) -> None:
    end = WINDOW.end
    bars, paid = market.candles["60m"], market.funding
    later = pl.col("ts") >= end
    noise = pl.when(later).then(pl.col("close") * 3.0 + 1.0).otherwise(pl.col("close"))
    prices = [noise.alias(name) for name in ("open", "high", "low", "close")]
    changed = pl.concat([bars.filter(~later), bars.filter(later).with_columns(prices)]).sort("symbol", "ts")
    rates = paid.with_columns(pl.when(pl.col("ts") > end).then(-0.01).otherwise(pl.col("rate")).alias("rate"))
    other = Market({"60m": changed}, rates)
    assert said(search_books(prepared_of(other), WINDOW, budget=BUDGET, seed=1, finalists=4)) == said(found)
    cut = InSample(prepared_of(replace(market, candles={"60m": bars.filter(~later)})), WINDOW)
    for finalist in found.finalists:
        result = cut.run_genome(finalist.genome, rules_of(finalist.genome))
        np.testing.assert_array_equal(result.equity, in_sample.run(finalist.strategy).result.equity)


def test_a_window_without_bars_is_refused(prepared: PreparedMarket) -> None:
    with pytest.raises(ValueError, match="no bars from 2035"):
        InSample(prepared, Window(START.replace(year=2035), START.replace(year=2036)))
    with pytest.raises(ValueError, match="budget 0"):
        search_books(prepared, WINDOW, budget=0, seed=1)
    with pytest.raises(ValueError, match="leaves no score"):
        BookFactory("60m", dict.fromkeys([term.family for term in SCORES], 0.0))


def test_tuning_is_seeded_within_its_budget_and_counts_every_version(
    prepared: PreparedMarket, in_sample: InSample
) -> None:
    book = next(book for book in load_books() if book.name == "short_term_reversal")
    values = {"hours": 36}
    one, two = (tune_book(prepared, WINDOW, book, budget=8, seed=3, first=[values, {"hours": 10**6}]) for _ in range(2))
    assert [tried.strategy.version for tried in one.tried] == [tried.strategy.version for tried in two.tried]
    assert len(one.tried) == 8
    assert one.tried[1].strategy.parameters["hours"] == 36
    assert len(one.refused) == 1
    assert one.parent.objective == evaluate_book(in_sample, book).objective
    assert one.best is None or one.best.objective > one.parent.objective


def test_a_fold_is_scored_by_what_ended_in_it(in_sample: InSample) -> None:
    book = next(book for book in load_books() if book.name == "short_term_reversal")
    scored = evaluate_book(in_sample, book, folds=2)
    evaluation: BookEvaluation = scored.evaluation
    trades, result = evaluation.result.trades, evaluation.result
    half = result.market.time_of(result.begin + len(result.equity) // 2)
    first = trades.filter(pl.col("exit_ts") < half)
    returns = result.returns[: len(result.equity) // 2]
    curve = np.concatenate([[1.0], result.equity[: len(returns)] / result.capital])
    fall = np.max(np.maximum.accumulate(curve) - curve)
    ratio = returns.mean() / returns.std(ddof=1) * np.sqrt(24 * 365)
    expected = 40 * (first["net"] > 0).mean() + 30 * first["pnl_pct"].mean() + 20 * ratio - 10 * fall  # type: ignore[operator]
    assert scored.folds[0] == pytest.approx(expected, rel=2e-3)


def test_daily_weights_are_those_of_the_last_decision(in_sample: InSample) -> None:
    genome = BookGenome("60m", "24h", (Score("returns", (72,)),))
    result = in_sample.run_genome(genome, rules_of(genome))
    table = result.weights()
    days = daily_weights(result)
    rows = np.flatnonzero(days.any(axis=1))
    moment = result.market.time_of(result.begin + 24 * int(rows[5]) + 23)
    last = table.filter(pl.col("ts") <= moment).tail(1).select(result.market.symbols).to_numpy()[0]
    np.testing.assert_array_equal(days[rows[5]], last)


RUN = """
import sys
sys.path.append("tests")
from support.invented_universe import invented
sys.path.append("tests/strategies/search/books")
import test_search as t
found = t.search_books(t.prepared_of(invented(hours=t.HOURS)), t.WINDOW, budget=t.BUDGET, seed=1, finalists=4)
print(repr(t.said(found)))
"""


@pytest.mark.slow
def test_two_processes_find_the_same(found: BookDesigns) -> None:
    root = Path(__file__).resolve().parents[4]
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(root)}
    out = subprocess.run([sys.executable, "-c", RUN], cwd=root, env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == repr(said(found))


def test_a_line_says_what_a_genome_is() -> None:
    scores = (Score("returns", (72,), 1, scaled=True), Score("funding", (168,), -1, mix=0.5))
    genome = BookGenome("60m", "24h", scores, size="rank", band=0.2)
    assert line_of(genome) == (
        "60m 24h both most returns_72 scaled & least funding_168 x0.5; share 0.2, size rank, dollar, band 0.2, keep 0"
    )
    text = rendered(genome, "mine")
    assert "Buy what rose most, for its volatility; mixed by rank with what paid least funding" in text
