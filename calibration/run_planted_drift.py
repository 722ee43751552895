"""Error rates of the drift tests on whole markets: planted drift found, and false alarms.

    python -m calibration.run_planted_drift [--seeds 60] [--models 10]

Each seed is a market of its own, in which one strategy earns a planted effect (`calibration.drifting`). It and the
whole library are run on a holdout of seven days and then tracked for ten, once with the effect reversed from the first
of these days on, and once unchanged. `calibration.run_drift` does the same with thousands of simulated series.

The volatility model is retrained each day as usual. In one run, the hours of each of the ten days are shuffled, which
destroys the patterns that it was trained on; in the other run nothing changes.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl
from scipy.stats import binomtest

from backtester.evaluation.evaluate import Evaluation, evaluate
from backtester.resampling import aggregate
from backtester.statistics.drift import Decision, DriftTest, compare, decide
from blofin_assets.drift.performance import hits
from blofin_assets.shared.backtest_rows import pooled_of
from blofin_resources.market.sample.market import SampleMarket
from calibration.drifting import FADE, drifting_candles, shuffled
from features.bars import CANDLE_SCHEMA, FrameSource
from features.feature_manager import FeatureManager
from model_zoo.training.trainer import default_spec, train_cycle
from strategies.registry import load_library
from strategies.untrusted.compiler import compile_strategy

SYMBOL: Final = "BTC-USDT"
ACTIVE: Final = datetime(2026, 2, 14, tzinfo=UTC)
HOLDOUT: Final = timedelta(days=7)
WARM_UP: Final = timedelta(days=11)
DAYS_AFTER: Final = (8, 9, 10)
"""Days after activation of the tests: the first with more than seven forward days, and two more."""
SURE: Final = 4.5
"""Standard errors by which the expectation must exceed 0 for its reversal to be counted."""


@dataclass(frozen=True)
class TrackedRun:
    """Drift decisions on one market.

    Attributes
    ----------
    t : float
        Sharpe ratio of the planted strategy's holdout over its standard error.
    flagged : tuple of int
        Days of `DAYS_AFTER` on which the planted strategy was flagged.
    others : tuple of int
        Number of other strategies flagged, on each of `DAYS_AFTER`.
    """

    t: float
    flagged: tuple[int, ...]
    others: tuple[int, ...]


def tracked(seed: int, *, reverses: bool) -> TrackedRun:
    """Return the drift decisions on one market, whose effect reverses at activation or stays."""
    end = ACTIVE + timedelta(days=DAYS_AFTER[-1])
    source = market_source(seed, ACTIVE - HOLDOUT - WARM_UP, end, ACTIVE if reverses else end)
    strategies = [compile_strategy(FADE), *load_library()]

    def evaluated(start: datetime, until: datetime) -> list[Evaluation]:
        manager = FeatureManager(source, until)
        return evaluate(strategies, manager, [SYMBOL], start, until, source=source, replays=False)

    holdout, forward = evaluated(ACTIVE - HOLDOUT, ACTIVE), evaluated(ACTIVE, end)
    drifted = [_drifted(holdout, forward, days, seed) for days in DAYS_AFTER]
    return TrackedRun(
        _t(holdout[0]),
        tuple(days for days, (first, *_) in zip(DAYS_AFTER, drifted, strict=True) if first),
        tuple(sum(others) for _, *others in drifted),
    )


def model_flagged(seed: int, *, forgets: bool) -> tuple[int, ...]:
    """Return the days on which the volatility model is flagged, with the market shuffled or unchanged."""
    end = ACTIVE + timedelta(days=DAYS_AFTER[-1])
    source = market_source(seed, ACTIVE - HOLDOUT - 2 * WARM_UP, end, end, forgets=ACTIVE if forgets else end)
    spec = default_spec("volatility", "5m", seed)

    def held_out(days: int) -> pl.DataFrame:
        as_of = ACTIVE + timedelta(days=days)
        trained = train_cycle(FeatureManager(source, as_of), [SYMBOL], as_of, spec)
        predictions = trained.predictions.select(
            "ts", "probability", pl.col("label_event").cast(pl.Float64).alias("label")
        )
        return predictions.drop_nulls()

    before = hits(pl.concat([held_out(days) for days in range(1 - HOLDOUT.days, 1)]))
    since = pl.concat([held_out(days) for days in range(1, DAYS_AFTER[-1] + 1)])
    flagged = []
    for days in DAYS_AFTER:
        after = hits(since.filter(pl.col("ts") < ACTIVE + timedelta(days=days)))
        pairs = [(before[metric].to_numpy(), after[metric].to_numpy()) for metric in ("accuracy", "log_loss")]
        tests = [DriftTest(compare(*pair, seed=seed), days, None) for pair in pairs]
        flagged += [days] * any(verdict.decision == Decision.DRIFT for verdict in decide(tests))
    return tuple(flagged)


def market_source(
    seed: int, start: datetime, end: datetime, reverses: datetime, forgets: datetime | None = None
) -> FrameSource:
    """Return the candles and funding of one market.

    Parameters
    ----------
    seed : int
        Seed of the market.
    start, end : datetime
        Extent of the candles (UTC).
    reverses : datetime
        Time from which the planted effect is reversed.
    forgets : datetime, optional
        Time from which the hours of each day are shuffled.

    Returns
    -------
    FrameSource
        Candles of all timeframes, and funding.
    """
    market = SampleMarket(seed, "null", clock=lambda: end + timedelta(minutes=1))
    minutes = drifting_candles(market, SYMBOL, start, end, reverses).select(list(CANDLE_SCHEMA))
    if forgets is not None:
        minutes = shuffled(minutes, forgets, seed)
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, end) for timeframe in ("5m", "60m", "1d")}}
    return FrameSource(candles, market.funding([SYMBOL], start, end))


def _drifted(holdout: Sequence[Evaluation], forward: Sequence[Evaluation], days: int, seed: int) -> list[bool]:
    """Return which strategies are flagged so many days after activation."""
    until = ACTIVE + timedelta(days=days)
    tests = []
    for expected, later in zip(holdout, forward, strict=True):
        closed = later.trades.filter(pl.col("exit_reason") != "open", pl.col("exit_ts") < until).height
        comparison = compare(pooled_of(expected).returns, pooled_of(later).returns[: days * 24], seed=seed)
        tests.append(DriftTest(comparison, days, closed))
    return [verdict.decision == Decision.DRIFT for verdict in decide(tests)]


def _t(holdout: Evaluation) -> float:
    pooled = pooled_of(holdout)
    return (pooled.sharpe or 0.0) / (pooled.sharpe_se or 1.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--models", type=int, default=10)
    options = parser.parse_args()
    if options.seeds:
        strategies(range(options.seeds))
    if options.models:
        models(range(options.models))


def strategies(seeds: Sequence[int]) -> None:
    """Print how often a planted reversal is found."""
    reversed_ = [tracked(seed, reverses=True) for seed in seeds]
    sure = [market for market in reversed_ if market.t >= SURE]
    for label, markets in ((f"holdout of {SURE} standard errors or more", sure), ("whatever the holdout", reversed_)):
        detected, first = (
            sum(bool(market.flagged) for market in markets),
            sum(DAYS_AFTER[0] in market.flagged for market in markets),
        )
        print(f"reversed, {label}: detected within three days {detected} of {len(markets)}, in the first {first}")
    steady = [tracked(seed, reverses=False) for seed in seeds]
    for place, days in enumerate(DAYS_AFTER):
        wrong = sum(bool(market.others[place]) or days in market.flagged for market in steady)
        p = binomtest(wrong, len(steady), 0.10, alternative="greater").pvalue
        print(f"nothing changed, night {days}: false alarm in {wrong} of {len(steady)} markets; p of <= 10 %: {p:.3f}")


def models(seeds: Sequence[int]) -> None:
    """Print what becomes of what a model knew."""
    for label, forgets in (("hours in any order", True), ("nothing changed", False)):
        flagged = sum(bool(model_flagged(seed, forgets=forgets)) for seed in seeds)
        print(f"model of volatility, {label}: flagged within three nights in {flagged} of {len(seeds)} markets")


if __name__ == "__main__":
    main()
