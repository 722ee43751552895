"""The search: every text compiles and signals what its genome does; deterministic; blind to what it must not see."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtester import Lane
from backtester.evaluation.evaluate import largest_notional, unit_lanes
from backtester.resampling import aggregate
from backtester.simulation.bar_arrays import to_micros
from backtester.statistics.windows import Window
from blofin_resources.market.registry import open_market
from features.bars import DEFAULT_TIMEFRAMES, Timeframe
from features.feature_manager import FeatureManager
from features.market import Market
from strategies.language.strategy import Strategy
from strategies.registry import load_library
from strategies.search.map_elites.code_generation import genome_of, line_of, name_of, rendered
from strategies.search.map_elites.fitness import IDLE_PRICE, LEAST_TRADES, FitnessEvaluator
from strategies.search.map_elites.genome import Genome, GenomeFactory, Test, without
from strategies.search.map_elites.loop import TRIALS, Designs
from strategies.search.map_elites.search import design
from strategies.search.map_elites.signal_kernels import signals_of
from strategies.search.map_elites.trials import Trial
from strategies.search.objective import _hours
from strategies.search.panel import Panel
from strategies.untrusted.compiler import compile_strategy
from strategies.validation.checks import signals_of as evaluated
from strategies.validation.duplicates import SAME, resemblance

END = datetime(2025, 6, 12, tzinfo=UTC)
WINDOW = Window(END - timedelta(days=15), END - timedelta(days=1))
SYMBOLS = ("BTC-USDT", "SOL-USDT")


@pytest.fixture(scope="module")
def market() -> Market:
    source = open_market("sample", archive=None, api_url="", seed=7)
    minutes = source.candles(SYMBOLS, "1m", END - timedelta(days=25), END)
    # flagged and missing bars, as a real market has them
    flagged = pl.when(pl.int_range(pl.len()) % 4999 == 5).then(pl.lit("repaired"))
    minutes = minutes.with_columns(flag=flagged).filter(pl.int_range(pl.len()) % 7001 != 7)
    longer: tuple[Timeframe, ...] = ("5m", "60m", "1d")
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in longer}}
    return Market(candles, source.funding(SYMBOLS, END - timedelta(days=25), END))


@pytest.fixture(scope="module")
def panel(market: Market) -> Panel:
    return Panel.read(FeatureManager(market.source(), END), SYMBOLS, WINDOW)


@pytest.fixture(scope="module")
def found(panel: Panel) -> Designs[Genome, Strategy]:
    return searched(panel)


def searched(panel: Panel, threads: int = 1, seed: int = 3) -> Designs[Genome, Strategy]:
    return design(panel, load_library()[:8], budget=100, seed=seed, finalists=5, threads=threads)


def genomes(count: int, seed: int = 0) -> list[Genome]:
    rng, maker = np.random.default_rng(seed), GenomeFactory(DEFAULT_TIMEFRAMES, {})
    drawn = [maker.random(rng) for _ in range(count)]
    mutated = [maker.mutate(rng, each) for each in drawn]
    return [*drawn, *mutated, *(maker.crossover(rng, one, other) for one, other in zip(drawn, mutated, strict=True))]


def test_every_text_compiles_and_signals_what_its_genome_does(panel: Panel) -> None:
    keys = list(panel.lanes)
    entries = 0
    for genome in genomes(25):
        strategy = compile_strategy(rendered(genome, name_of(genome)))
        assert strategy.timeframes == genome.timeframes
        wanted = zip(keys, signals_of(genome, panel, keys), strict=True)
        declared = [Lane(panel.lanes[key].bars, signals) for key, signals in wanted]
        made = unit_lanes(declared, panel.market, largest_notional(declared, genome.timeframes))
        for key, lane, unit in zip(keys, panel.packed(strategy), made, strict=True):
            signals = unit.signals
            np.testing.assert_array_equal(lane.signals.bits, signals.bits, err_msg=f"{key} {line_of(genome)}")
            assert lane.signals.parameters.keys() == signals.parameters.keys()
            entering = lane.signals.bits & 3 != 0
            for name, column in lane.signals.parameters.items():
                theirs, ours = (np.broadcast_to(each, len(entering)) for each in (column, signals.parameters[name]))
                np.testing.assert_array_equal(theirs[entering], ours[entering], err_msg=f"{name} {line_of(genome)}")
            entries += signals.entries
    assert entries > 10_000


def test_a_trial_has_the_numbers_of_the_strategy(panel: Panel) -> None:
    bench = FitnessEvaluator(panel)
    for genome in genomes(6, seed=5):
        trial, run = bench.full(genome), panel.run(compile_strategy(rendered(genome, name_of(genome))))
        assert trial.trades == run.trades
        assert trial.score == (None if run.score is None else pytest.approx(run.score, rel=1e-12))
        assert trial.sharpe == (None if run.sharpe is None else pytest.approx(run.sharpe, rel=1e-12))
        np.testing.assert_array_equal(trial.returns, run.returns)


def test_the_cascade_changes_no_result(panel: Panel) -> None:
    bench = FitnessEvaluator(panel)
    full = 0
    for genome in genomes(20, seed=1):
        result = bench.run(genome, SYMBOLS[0])
        if isinstance(result, Trial):
            full += 1
            np.testing.assert_array_equal(result.returns, bench.full(genome).returns)
    assert full >= 3


def test_finalists_are_different_readable_and_named(found: Designs[Genome, Strategy], panel: Panel) -> None:
    assert len(found.finalists) == 5
    assert len({each.cell for each in found.finalists}) == 5
    held = [panel.positions(each.strategy) for each in found.finalists]
    for place, one in enumerate(held):
        assert all(resemblance(one, other) < SAME for other in held[:place])
    for each in found.finalists:
        text = each.strategy.source()
        assert compile_strategy(text).version == each.strategy.version
        assert "Edge:" in each.strategy.description
        assert "Fails:" in each.strategy.description
        assert each.strategy.ranges(), text
        moved = {name: given.low for name, given in each.strategy.ranges().items()}
        assert each.strategy.with_parameters(**moved).parameters == moved


def test_a_strategy_of_the_search_is_read_back_as_its_genome() -> None:
    for genome in genomes(60, seed=9):
        strategy = compile_strategy(rendered(genome, name_of(genome)))
        assert genome_of(strategy) == genome
        tuned = strategy.with_parameters(**{name: given.high for name, given in strategy.ranges().items()})
        moved = genome_of(tuned)
        assert moved is not None
        same = compile_strategy(rendered(moved, "again_and_again"))
        assert same.parameters == pytest.approx(tuned.parameters, rel=1e-3)


def test_another_strategy_has_no_genome_whatever_its_docstring_says() -> None:
    assert [genome_of(each) for each in load_library()] == [None] * len(load_library())
    genome = genomes(1)[0]
    text, line = rendered(genome, name_of(genome)), line_of(genome)
    assert genome_of(compile_strategy(text)) == genome
    changed = text.replace("        return Signal(", "        idle = f.close\n        return Signal(")
    assert genome_of(compile_strategy(changed)) is None
    for wrong in ("nothing at all", line.replace(";", ""), f"{line}, hold x", "1m both fade close 1; hold 3"):
        assert genome_of(compile_strategy(text.replace(line, wrong))) is None


def test_the_text_behind_names_and_digests_stays() -> None:
    genome = Genome(("5m",), "both", (Test("rsi", (14,), "", 1, 20.0, "fresh", 6),), exit_rule="centre", hold=12)
    assert genome.key == (
        "Genome(timeframes=('5m',), direction='both', tests=(Test(family='rsi', numbers=(14,), context='', side=1, "
        "level=20.0, how='fresh', bars=6),), leave='centre', hold=12, stop=0.0, target=0.0, trail=0.0, risk=0.0)"
    )
    assert name_of(genome) == "follow_rsi_5m_93f5"


def test_names_that_are_taken_are_not_given(found: Designs[Genome, Strategy], panel: Panel) -> None:
    taken = {each.strategy.name for each in found.finalists}
    again = design(panel, load_library()[:8], budget=100, seed=3, finalists=5, taken=taken)
    assert not taken & {each.strategy.name for each in again.finalists}


def test_every_try_is_counted(found: Designs[Genome, Strategy]) -> None:
    assert found.trials.schema == TRIALS
    assert found.evaluations == found.trials.filter(stage="full").height == 100
    assert found.rejected["symbol"] == found.trials.filter(stage="symbol").height
    assert found.trials["candidate"].n_unique() == found.trials.height
    assert 0 < found.coverage < 1


def test_the_same_whatever_the_number_of_threads(found: Designs[Genome, Strategy], market: Market) -> None:
    other = searched(Panel.read(FeatureManager(market.source(), END), SYMBOLS, WINDOW), threads=2)
    assert [each.strategy.source() for each in other.finalists] == [each.strategy.source() for each in found.finalists]
    assert other.trials.equals(found.trials)
    assert not searched(Panel.read(FeatureManager(market.source(), END), SYMBOLS, WINDOW), seed=4).trials.equals(
        found.trials
    )


def test_what_comes_after_the_window_changes_nothing(found: Designs[Genome, Strategy], market: Market) -> None:
    noised = market.noised(WINDOW.end, seed=1)
    other = searched(Panel.read(FeatureManager(noised.source(), END), SYMBOLS, WINDOW))
    assert other.trials.equals(found.trials)
    assert [each.expected_sharpe for each in other.finalists] == [each.expected_sharpe for each in found.finalists]


def test_simplification_takes_parts_away_and_keeps_a_way_out() -> None:
    for genome in genomes(40, seed=2):
        for smaller in without(genome):
            assert smaller.size < genome.size
            assert smaller.hold or smaller.exit_rule != "none" or smaller.trail or (smaller.stop and smaller.target)


def test_a_part_that_does_nothing_is_dropped(panel: Panel) -> None:
    lead = Test("zscore", (20,), "", -1, 2.0)
    idle = Test("hours_to_funding", (), "", 1, -1.0)  # always true
    plain, bloated = (Genome(("5m",), "both", tests, hold=12) for tests in ((lead,), (lead, idle)))
    bench = FitnessEvaluator(panel)
    np.testing.assert_array_equal(bench.full(plain).returns, bench.full(bloated).returns)
    assert bench.full(plain).fitness > bench.full(bloated).fitness
    assert plain in without(bloated)


def test_a_smaller_position_must_gain_by_being_smaller(panel: Panel, market: Market) -> None:
    lead = Test("zscore", (20,), "", -1, 2.0)
    whole, part = (Genome(("5m",), "both", (lead,), hold=12, risk=risk) for risk in (0.0, 0.0005))
    bench = FitnessEvaluator(panel)
    found = bench.full(part)
    [signals] = evaluated([compile_strategy(rendered(part, "part"))], market, "5m")
    inside = pl.col("ts").is_between(WINDOW.start, WINDOW.end - timedelta(minutes=5))
    entering = signals.filter(inside & (pl.col("long_entry") | pl.col("short_entry")))
    size = float(entering["size"].to_numpy().mean())
    assert 0.0 < size < 0.95
    plain = bench.fitness(found.returns, found.trades, part)
    assert found.fitness == pytest.approx(plain - abs(plain) * (1 - size**IDLE_PRICE))
    assert found.fitness < plain
    full = bench.full(whole)
    assert full.fitness == bench.fitness(full.returns, full.trades, whole)


def test_too_few_trades_have_no_fitness(panel: Panel) -> None:
    rare = Genome(("60m",), "both", (Test("zscore", (20,), "", -1, 3.5),), hold=12)
    trial = FitnessEvaluator(panel).full(rare)
    assert trial.trades < LEAST_TRADES
    assert trial.fitness == -np.inf


def test_emphasis_keeps_words_out(panel: Panel) -> None:
    families = {"zscore", "rsi", "cci"}
    rng, maker = np.random.default_rng(0), GenomeFactory(DEFAULT_TIMEFRAMES, dict.fromkeys(families, 0.0))
    for _ in range(200):
        genome = maker.random(rng)
        assert not families & {test.family for test in maker.mutate(rng, genome).tests}
    with pytest.raises(ValueError, match="emphasis"):
        design(panel, budget=1, seed=0, emphasis={"zscore": -1.0})


def test_progress_is_told(panel: Panel) -> None:
    seen: list[tuple[int, int]] = []
    design(panel, budget=30, seed=0, finalists=1, on_progress=lambda done, budget: seen.append((done, budget)))
    assert seen[-1] == (30, 30)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_budget_of_nothing_is_refused(panel: Panel) -> None:
    with pytest.raises(ValueError, match="budget 0"):
        design(panel, budget=0, seed=0)


def test_a_search_that_takes_too_long_is_stopped_and_says_so(panel: Panel) -> None:
    ticks = iter(range(100_000))
    found = design(panel, budget=400, seed=0, finalists=1, seconds=3, clock=lambda: float(next(ticks)))
    assert 0 < found.evaluations < 400
    assert found.stopped == f"stopped after {found.evaluations} of 400 evaluations: more than 3 s of processor"
    assert found.finalists or not found.coverage


def test_hours_without_bars_are_no_returns_of_zero(market: Market, panel: Panel) -> None:
    begin, end = WINDOW.start + timedelta(days=2), WINDOW.start + timedelta(days=3)
    silent = pl.col("ts").is_between(begin, end, closed="left")
    holed = Market({name: frame.filter(~silent) for name, frame in market.candles.items()}, market.funding)
    holed_panel = Panel.read(FeatureManager(holed.source(), END), SYMBOLS, WINDOW)
    whole, cut = FitnessEvaluator(panel).cut, FitnessEvaluator(holed_panel).cut
    gone = set(range(48, 72))
    for part, kept in zip((*whole.folds, whole.inner, whole.check), (*cut.folds, cut.inner, cut.check), strict=True):
        assert kept.tolist() == [row for row in part.tolist() if row not in gone]
    assert len(cut.whole) == len(whole.whole) - 24
    for days, gone_hours in (((0, 2), 0), ((1, 4), 24), ((2, 3), 24)):
        first, last = (to_micros(WINDOW.start + timedelta(days=day)) for day in days)
        curve, returns = _hours(holed_panel.run(load_library()[0]).pooled, first, last)
        assert len(returns) == len(curve) - 1 - gone_hours
