"""How often the night's tests find what was planted, and alarm where nothing was: bars, kernel, library, models.

    python -m benchmarks.calibrate_planted_drift [--seeds 60] [--models 10]

Each seed is a market of its own, in which one strategy earns a planted effect (`benchmarks.drifting`). It and the
whole library take an exam of seven days and are then followed for ten, once where the effect reverses on the first of
these and once where it stays. `calibrate_drift.py` asks the same of simulated returns, by thousands.

And a model: that of volatility, trained anew each day as ever. From the first of the ten days on, the hours of each day
come in any order, so that what it knew of volatility is worth little; in another run of the market nothing happens.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl
from scipy.stats import binomtest

from backtester.aggregator import aggregate
from backtester.drift import Test, compare, night
from backtester.evaluation import Evaluation, evaluate
from benchmarks.drifting import FADE, drifting_candles, shuffled
from blofin_assets.assets.results import pooled_of
from blofin_assets.promises import hits
from blofin_resources.market.sample.market import SampleMarket
from features.bars import CANDLE_SCHEMA, FrameSource
from features.feature_manager import FeatureManager
from model_zoo.trainer import default_spec, train_cycle
from strategies.compiler import compile_strategy
from strategies.registry import load_library

SYMBOL: Final = "BTC-USDT"
ACTIVE: Final = datetime(2026, 2, 14, tzinfo=UTC)
EXAM: Final = timedelta(days=7)
WARM_UP: Final = timedelta(days=11)
NIGHTS: Final = (8, 9, 10)
"""Days after activation: the first night of more than seven days, and two more."""
SURE: Final = 4.5
"""Standard errors by which a promise must exceed 0 for its reversal to be asked for."""


@dataclass(frozen=True)
class Followed:
    """What became of one market.

    Attributes
    ----------
    t : float
        Sharpe ratio of the planted strategy's exam over its standard error.
    flagged : tuple of int
        Nights of `NIGHTS` on which the planted strategy was said to drift.
    others : tuple of int
        How many others were, on each of `NIGHTS`.
    """

    t: float
    flagged: tuple[int, ...]
    others: tuple[int, ...]


def followed(seed: int, *, reverses: bool) -> Followed:
    """Return what the nights say of one market, whose effect reverses at activation or stays."""
    end = ACTIVE + timedelta(days=NIGHTS[-1])
    source = market_source(seed, ACTIVE - EXAM - WARM_UP, end, ACTIVE if reverses else end)
    strategies = [compile_strategy(FADE), *load_library()]

    def judged(start: datetime, until: datetime) -> list[Evaluation]:
        manager = FeatureManager(source, until)
        return evaluate(strategies, manager, [SYMBOL], start, until, source=source, replays=False)

    exam, forward = judged(ACTIVE - EXAM, ACTIVE), judged(ACTIVE, end)
    drifted = [_drifted(exam, forward, days, seed) for days in NIGHTS]
    return Followed(
        _t(exam[0]),
        tuple(days for days, (first, *_) in zip(NIGHTS, drifted, strict=True) if first),
        tuple(sum(others) for _, *others in drifted),
    )


def foreseen(seed: int, *, forgets: bool) -> tuple[int, ...]:
    """Return the nights that say that the model of volatility drifts, where its market forgets or does not."""
    end = ACTIVE + timedelta(days=NIGHTS[-1])
    source = market_source(seed, ACTIVE - EXAM - 2 * WARM_UP, end, end, forgets=ACTIVE if forgets else end)
    spec = default_spec("volatility", "5m", seed)

    def held_out(days: int) -> pl.DataFrame:
        as_of = ACTIVE + timedelta(days=days)
        trained = train_cycle(FeatureManager(source, as_of), [SYMBOL], as_of, spec)
        said = trained.predictions.select("ts", "probability", pl.col("label_event").cast(pl.Float64).alias("label"))
        return said.drop_nulls()

    before = hits(pl.concat([held_out(days) for days in range(1 - EXAM.days, 1)]))
    since = pl.concat([held_out(days) for days in range(1, NIGHTS[-1] + 1)])
    found = []
    for days in NIGHTS:
        came = hits(since.filter(pl.col("ts") < ACTIVE + timedelta(days=days)))
        pairs = [(before[metric].to_numpy(), came[metric].to_numpy()) for metric in ("accuracy", "log_loss")]
        tests = [Test(compare(*pair, seed=seed), days, None) for pair in pairs]
        found += [days] * any(verdict.decision == "drift" for verdict in night(tests))
    return tuple(found)


def market_source(
    seed: int, start: datetime, end: datetime, reverses: datetime, forgets: datetime | None = None
) -> FrameSource:
    """Return the candles and funding of one market."""
    market = SampleMarket(seed, "null", clock=lambda: end + timedelta(minutes=1))
    minutes = drifting_candles(market, SYMBOL, start, end, reverses).select(list(CANDLE_SCHEMA))
    if forgets is not None:
        minutes = shuffled(minutes, forgets, seed)
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, end) for timeframe in ("5m", "60m", "1d")}}
    return FrameSource(candles, market.funding([SYMBOL], start, end))


def _drifted(exam: Sequence[Evaluation], forward: Sequence[Evaluation], days: int, seed: int) -> list[bool]:
    """Return which of the strategies a night so long after activation calls drift."""
    until = ACTIVE + timedelta(days=days)
    tests = []
    for promise, came in zip(exam, forward, strict=True):
        closed = came.trades.filter(pl.col("exit_reason") != "open", pl.col("exit_ts") < until).height
        found = compare(pooled_of(promise).returns, pooled_of(came).returns[: days * 24], seed=seed)
        tests.append(Test(found, days, closed))
    return [verdict.decision == "drift" for verdict in night(tests)]


def _t(exam: Evaluation) -> float:
    pooled = pooled_of(exam)
    return (pooled.sharpe or 0.0) / (pooled.sharpe_se or 1.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--models", type=int, default=10)
    given = parser.parse_args()
    if given.seeds:
        strategies(range(given.seeds))
    if given.models:
        models(range(given.models))


def strategies(seeds: Sequence[int]) -> None:
    """Print what becomes of a planted edge."""
    reversed_ = [followed(seed, reverses=True) for seed in seeds]
    sure = [each for each in reversed_ if each.t >= SURE]
    for label, markets in ((f"exam of {SURE} standard errors or more", sure), ("whatever the exam", reversed_)):
        found, first = sum(bool(each.flagged) for each in markets), sum(NIGHTS[0] in each.flagged for each in markets)
        print(f"reversed, {label}: found within three nights {found} of {len(markets)}, in the first {first}")
    steady = [followed(seed, reverses=False) for seed in seeds]
    for place, days in enumerate(NIGHTS):
        wrong = sum(bool(each.others[place]) or days in each.flagged for each in steady)
        p = binomtest(wrong, len(steady), 0.10, alternative="greater").pvalue
        print(f"nothing changed, night {days}: false alarm in {wrong} of {len(steady)} markets; p of <= 10 %: {p:.3f}")


def models(seeds: Sequence[int]) -> None:
    """Print what becomes of what a model knew."""
    for label, forgets in (("hours in any order", True), ("nothing changed", False)):
        flagged = sum(bool(foreseen(seed, forgets=forgets)) for seed in seeds)
        print(f"model of volatility, {label}: flagged within three nights in {flagged} of {len(seeds)} markets")


if __name__ == "__main__":
    main()
