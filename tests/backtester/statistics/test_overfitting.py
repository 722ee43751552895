"""The statistics against the papers' own numbers, and against worlds whose truth is known."""

import math
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_1samp
from scipy.stats import t as student

from backtester.simulation.lanes import TRADE_SCHEMA
from backtester.statistics.metrics import Moments, sharpe_se
from backtester.statistics.overfitting import (
    effective_trials,
    episodes_of,
    expected_max_sharpe,
    min_track_record,
    overfitting_risk,
    probabilistic_sharpe,
    sharpe_errors,
    sharpe_evidence,
    sharpe_se_newey_west,
    sharpe_z,
    superior,
)
from calibration.run_sharpe import MOST_FALSE, WORTHLESS, WORTHY, share

BEGIN = datetime(2025, 6, 1, tzinfo=UTC)


def test_the_parts_of_the_ratios_are_the_papers() -> None:
    # Bailey & López de Prado 2014, the numerical example: annual ratio 2.5, five years of daily returns.
    daily, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert expected_max_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    for trials, skew, kurtosis, deflated in (
        (100, -3.0, 10.0, 0.9004),
        (46, -3.0, 10.0, 0.9505),
        (88, 0.0, 3.0, 0.9505),
    ):
        above = daily - expected_max_sharpe(trials, variance)
        assert norm.cdf(above / sharpe_se(daily, 1250, skew, kurtosis)) == pytest.approx(deflated, abs=5e-5)
    # the same, 2012: two years of monthly returns, ratio 0.458, skew -2.448, kurtosis 10.164
    assert norm.cdf(0.458 / sharpe_se(0.458, 24, 0.0, 3.0)) == pytest.approx(0.982, abs=5e-4)
    assert norm.cdf(0.458 / sharpe_se(0.458, 24, -2.448, 10.164)) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_min_track_record_of_the_paper(periods: int, skew: float, kurtosis: float, years: float) -> None:
    # The same paper: an annual ratio of 2 against 1 at 95 %.
    root = math.sqrt(periods)
    needed = min_track_record((1 / root) / sharpe_se(2 / root, 500, skew, kurtosis), 500)
    assert needed is not None
    assert needed / periods == pytest.approx(years, abs=0.005)


def test_edges() -> None:
    assert expected_max_sharpe(1, 1.0) == 0.0
    assert min_track_record(0.0, 100) is None
    flat = sharpe_evidence(np.zeros(100), np.empty(0), 5)
    assert (flat.sharpe, flat.deflated, flat.supported, flat.unknown) == (None, None, False, "returns do not vary")
    with pytest.raises(ValueError, match="trials is 0"):
        sharpe_evidence(np.zeros(100), np.empty(0), 0)
    with pytest.raises(ValueError, match="blocks"):
        overfitting_risk(np.zeros((20, 3)))
    assert overfitting_risk(np.zeros((168, 3))).probability is None


def test_the_best_of_many_worthless_tries_is_what_the_formula_expects() -> None:
    rng = np.random.default_rng(1)
    best = [max(rng.normal(0.0, 0.1, 200)) for _ in range(2000)]
    assert np.mean(best) == pytest.approx(expected_max_sharpe(200, 0.01), rel=0.01)


def test_newey_west_sees_serial_correlation_and_is_never_below_independence() -> None:
    rng = np.random.default_rng(2)
    shocks = rng.normal(0.02, 1.0, 20_001)
    calm, sticky = shocks[1:], shocks[1:] + 0.8 * shocks[:-1]
    independent = Moments.of(calm).annual_sharpe_se(1.0)
    assert independent is not None
    assert sharpe_se_newey_west(calm) == pytest.approx(independent, rel=0.05)
    spread = np.std([Moments.of(s[1:] + 0.8 * s[:-1]).sharpe for s in rng.normal(0.02, 1.0, (2000, 1001))])
    assert sharpe_se_newey_west(sticky, lags=20) * math.sqrt(20) == pytest.approx(spread, rel=0.1)
    assert sharpe_se_newey_west(np.tile([1.0, -0.9], 500)) >= Moments.of(np.tile([1.0, -0.9], 500)).annual_sharpe_se(
        1.0
    )


def test_evidence_takes_the_larger_variance() -> None:
    returns = np.random.default_rng(3).normal(0.1, 1.0, 168)
    alone = sharpe_evidence(returns, returns, 50)
    assert alone.variance == pytest.approx(alone.se**2)
    wide = sharpe_evidence(returns, returns, 50, [1.0, 2.0, float("nan")])
    assert wide.variance == pytest.approx(2.5)
    assert wide.deflated < alone.deflated < alone.probabilistic
    assert sharpe_evidence(returns + 1.5, returns + 1.5, 50).supported


def test_the_bar_is_the_papers_where_nothing_is_there_and_not_raised_by_what_is() -> None:
    rng = np.random.default_rng(6)
    worthless = rng.standard_t(5, (400, 168))
    ratios = [Moments.of(each).sharpe for each in worthless]
    errors = [sharpe_se_newey_west(each) for each in worthless]
    assert np.mean(np.square(errors)) == pytest.approx(np.var(ratios), rel=0.15)
    # ten finalists on one edge: the ratios' variance grows, their errors do not
    edge = [sharpe_se_newey_west(each) for each in worthless[:10] + 0.5]
    assert np.mean(np.square(edge)) < 1.5 * np.mean(np.square(errors))
    good = worthless[0] - worthless[0].mean() + 0.7
    found = sharpe_evidence(good, good, 40, [*errors[:30], *edge])
    assert found.supported


def test_two_winning_hours_say_nothing() -> None:
    returns = np.zeros(168)
    returns[[40, 90]] = 0.004
    found = sharpe_evidence(returns, np.array([0.004, 0.004]), 1)
    assert found.sharpe == pytest.approx(0.109, abs=0.001)
    assert (found.probabilistic, found.deflated, found.min_track_record, found.supported) == (None, None, None, False)
    assert found.unknown == "2 independent episodes, 2 won and 0 lost; 10, 3 and 3 are needed"


def test_ten_equal_wins_after_sixty_tries_are_not_supported() -> None:
    returns = np.zeros(168)
    returns[5:165:16] = 0.004
    found = sharpe_evidence(returns, np.full(10, 0.004), 60)
    assert (found.episodes, found.winners, found.losers) == (10, 10, 0)
    assert (found.probabilistic, found.deflated, found.supported) == (None, None, False)


@pytest.mark.parametrize(
    ("won", "lost", "told"), [(6, 3, False), (7, 3, True), (3, 7, True), (8, 2, False), (2, 9, False)]
)
def test_ten_episodes_three_winners_and_three_losers_are_needed(won: int, lost: int, told: bool) -> None:
    episodes = np.array([1.0, -1.1] * 9)[: 2 * min(won, lost)].tolist() + [1.0] * (won - lost) + [-1.1] * (lost - won)
    returns = np.concatenate([episodes, np.zeros(50)])
    assert (probabilistic_sharpe(returns, np.array(episodes)) is not None) is told


def test_the_ratio_is_what_a_plain_reading_of_the_rule_gives() -> None:
    rng = np.random.default_rng(11)
    for _ in range(30):
        n = int(rng.integers(40, 200))
        x = rng.standard_t(4, n + 1)
        x = x[1:] + rng.uniform(-0.5, 0.9) * x[:-1] + rng.uniform(-0.2, 0.3)
        episodes = rng.normal(rng.uniform(-0.2, 0.6), 1.0, int(rng.integers(12, 60)))
        benchmark = float(rng.uniform(0.0, 0.2))
        ratio = x.mean() / x.std(ddof=1)
        z = (x - x.mean()) / x.std()
        mertens = math.sqrt((1 - (z**3).mean() * ratio + ((z**4).mean() - 1) / 4 * ratio**2) / (n - 1))
        psi = [z[t] - ratio / 2 * (z[t] ** 2 - 1) for t in range(n)]
        long_run = sum(p * p for p in psi) / n
        for lag in range(1, 5):
            long_run += 2 * (1 - lag / 5) * sum(psi[t] * psi[t - lag] for t in range(lag, n)) / n
        r1 = sum(z[t] * z[t - 1] for t in range(1, n)) / sum(v * v for v in z)
        r = np.clip(r1 + (1 + 3 * r1) / n, 0, 0.9)
        errors = [
            mertens,
            max(mertens, math.sqrt(max(long_run, 0) / (n - 1))),
            1 / math.sqrt(n - 1),
            math.sqrt((1 + r) / (1 - r) / (n - 1)),
        ]
        assert sharpe_errors(x) == pytest.approx(errors, rel=1e-9)
        k = len(episodes)
        t_ratio = ttest_1samp(episodes, 0.0).statistic * math.sqrt((k - 1) / k) - benchmark * math.sqrt(n - 1)
        least = min(*((ratio - benchmark) / error for error in errors), t_ratio)
        if min((episodes > 0).sum(), (episodes < 0).sum()) >= 3:
            assert sharpe_z(x, episodes, benchmark) == pytest.approx(least, rel=1e-9)
            assert probabilistic_sharpe(x, episodes, benchmark) == pytest.approx(student.cdf(least, k - 1), rel=1e-9)


def trades_of(spans: list[tuple[int, int]], reason: str = "signal") -> pl.DataFrame:
    """Trades of one unit each, from minute to minute, on bars of a minute."""
    return pl.DataFrame(
        {
            "timeframe": ["1m"] * len(spans),
            "entry_ts": [BEGIN + timedelta(minutes=first) for first, _ in spans],
            "exit_ts": [BEGIN + timedelta(minutes=last) for _, last in spans],
            "pnl": [1.0] * len(spans),
            "exit_reason": [reason] * len(spans),
        },
        schema={name: TRADE_SCHEMA[name] for name in ("timeframe", "entry_ts", "exit_ts", "pnl", "exit_reason")},
    )


def test_trades_that_overlap_are_one_episode() -> None:
    assert episodes_of(trades_of([])).tolist() == []
    assert episodes_of(trades_of([(0, 10), (2, 8), (7, 20), (20, 30)])).tolist() == [3.0, 1.0]
    assert episodes_of(trades_of([(0, 10), (10, 20), (20, 30)])).tolist() == [1.0] * 3  # reversals: none overlaps
    assert episodes_of(trades_of([(0, 10), (10, 20)], "stop")).tolist() == [2.0]  # out somewhere in the bar of 10


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=9))
def test_episodes_are_as_many_as_trades_of_which_no_two_overlap(drawn: list[tuple[int, int]]) -> None:
    spans = [(first, first + length) for first, length in drawn]
    found = episodes_of(trades_of(spans))
    assert found.sum() == len(spans)
    apart = max(
        len(some)
        for size in range(len(spans) + 1)
        for some in combinations(sorted(spans), size)
        if all(one[1] <= two[0] for one, two in pairwise(some))
    )
    assert len(found) == apart


QUICK = (
    "Gaussian, episodes of 4 h",
    "AR(1) 0.4, episodes of 4 h",
    "30 fair bets, win rate 0.5",
    "10 fair bets, win rate 0.9",
)


@pytest.mark.parametrize("case", QUICK)
def test_worthless_returns_seldom_look_sure(case: str) -> None:
    draws = 400
    hits = round(share(WORTHLESS[case], draws, seed=5) * draws)
    assert binomtest(hits, draws, MOST_FALSE, alternative="greater").pvalue > 0.01


def test_what_is_there_is_seen() -> None:
    assert share(WORTHY["Gaussian, episodes of 4 h"], 200, seed=5) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("case", WORTHLESS)
def test_worthless_returns_of_every_kind_seldom_look_sure(case: str) -> None:
    draws = 3000
    hits = round(share(WORTHLESS[case], draws, seed=6) * draws)
    assert binomtest(hits, draws, MOST_FALSE, alternative="greater").pvalue > 0.01


def test_overfitting_risk_knows_noise_from_skill() -> None:
    rng = np.random.default_rng(4)
    noise = [overfitting_risk(rng.normal(0.0, 1.0, (168, 20))).probability for _ in range(40)]
    assert 0.4 < np.mean(noise) < 0.6
    skill = rng.normal(0.0, 1.0, (168, 20))
    skill[:, 7] += 1.0
    risk = overfitting_risk(skill)
    assert risk.probability == 0.0
    assert (risk.columns, risk.splits) == (20, 3432)


def test_overfitting_risk_by_hand() -> None:
    # Two blocks, two columns: whichever wins one half loses the other.
    returns = np.array([[2.0, -1.0], [1.0, -2.0], [-1.0, 2.0], [-2.0, 1.0]])
    risk = overfitting_risk(returns, blocks=2)
    assert risk.probability == 1.0
    assert risk.loss_probability == 1.0
    assert risk.logits == pytest.approx([math.log(1 / 2)] * 2)


def test_copies_and_idle_columns_are_dropped() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(0.0, 1.0, (168, 3))
    more = np.column_stack([base, base[:, 0] * 2.0, np.zeros(168), -base[:, 1]])
    assert overfitting_risk(more).columns == 4


def test_as_many_trials_as_are_unrelated_count() -> None:
    moves = np.random.default_rng(3).normal(size=(168, 60))
    assert effective_trials(moves, 60) == pytest.approx(60.0, rel=0.01)
    twins = np.repeat(moves[:, :30], 2, axis=1)
    assert effective_trials(twins, 60) == pytest.approx(30.0, rel=0.2)
    assert effective_trials(twins, 60) >= 30.0, "what is not known is counted"
    copies = np.repeat(moves[:, :1], 60, axis=1)
    assert effective_trials(copies, 60) == pytest.approx(math.sqrt(60.0))
    assert effective_trials(moves, 240) == pytest.approx(240.0, rel=0.01), "all trials by the share of those known"
    still = np.hstack([moves[:, :1], np.zeros((168, 5))])
    assert effective_trials(still, 9) == 9.0
    assert effective_trials(np.empty((0, 0)), 9) == 9.0
    many = np.random.default_rng(4).normal(size=(168, 400))
    assert effective_trials(many, 400) == pytest.approx(400.0, rel=0.02)


def test_the_deflated_ratio_is_after_the_effective_trials() -> None:
    returns = np.random.default_rng(1).normal(0.2, 1.0, 168)
    episodes = returns[:168].reshape(-1, 4).sum(axis=1)
    raw, worth = sharpe_evidence(returns, episodes, 60), sharpe_evidence(returns, episodes, 60, effective=12.0)
    assert (raw.effective, worth.effective, worth.trials) == (60.0, 12.0, 60)
    assert worth.deflated == sharpe_evidence(returns, episodes, 12).deflated
    assert worth.deflated is not None
    assert raw.deflated is not None
    assert worth.deflated > raw.deflated
    errors = sharpe_errors(returns)
    assert errors is not None
    assert worth.error == errors.max()
    assert expected_max_sharpe(1.1, 1.0) == 0.0


@pytest.mark.slow
def test_stepm_names_what_earns_and_nothing_else() -> None:
    moves = np.random.default_rng(2).normal(size=(168, 12)) * 0.01
    moves[:, 7] = 0.0
    moves[:, 4] += 0.005
    assert [place for place, named in enumerate(superior(moves, 1)) if named] == [4]
    assert superior(moves, 1) == superior(moves, 1)
    assert not any(superior(np.zeros((168, 3)), 1))
