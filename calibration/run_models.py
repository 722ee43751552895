"""Whether models find what is there, and nothing where nothing is: pooled holdouts on markets whose truth is known.

Run ``make calibrate-models`` or ``python -m calibration.run_models [--seeds 20] [--jobs 1] [--days 28]``. Each
seed is a market of its own; each of its holdout days is predicted by a model trained on the seven days before it, and
the days are pooled. On `sample:edge` log-loss must beat the baseline's in at least 17 of 20 seeds; on `sample:null`
it must not be better at the one-sided 5 % level in at least 17 of 20. `--market FOLDER` judges real candles instead,
every type beside its baseline: no target, a plain table. Volatility and risk are predictable on any market.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from backtester.resampling import aggregate
from backtester.statistics.windows import Window
from blofin_resources.market.registry import open_market
from features.bars import FrameSource, Timeframe
from features.feature_manager import FeatureManager
from model_zoo.datasets.folds import decided_at, split
from model_zoo.evaluation.metrics import Metrics, ValueMetrics, measure, measure_values
from model_zoo.models.catalog import MODELS
from model_zoo.training.fitting import fit, predicted, rows_of
from model_zoo.training.trainer import BLOCK, default_spec

END = datetime(2025, 6, 12, tzinfo=UTC)
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
TRAINING = timedelta(days=7)
WARMUP = timedelta(days=4)
DAY = timedelta(days=1)
WANTED, OF = 17, 20


class Case(NamedTuple):
    """One market and one model."""

    market: str
    seed: int
    type_name: str
    timeframe: Timeframe
    days: int
    end: datetime = END


class Pooled(NamedTuple):
    """Pooled results of all holdout days of a case."""

    case: Case
    metrics: Metrics
    values: ValueMetrics | None


def manager_of(case: Case) -> FeatureManager:
    folder = Path(case.market)
    archive = folder if folder.is_dir() else None
    source = open_market("archive" if archive else case.market, archive=archive, api_url="", seed=case.seed)
    start, end = case.end - case.days * DAY - TRAINING - WARMUP, case.end
    minutes = source.candles(SYMBOLS, "1m", start, end)
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, end) for timeframe in ("5m", "60m", "1d")}}
    return FeatureManager(FrameSource(candles, source.funding(SYMBOLS, start, end)), end)


def pooled(case: Case) -> Pooled:
    """Return the pooled holdouts of one model on one market."""
    spec = default_spec(case.type_name, case.timeframe, case.seed)
    first = case.end - case.days * DAY
    rows = rows_of(manager_of(case), SYMBOLS, spec, Window(first - TRAINING, case.end))
    days, constants = [], []
    for number in range(1, case.days + 1):
        train, holdout = split(first + number * DAY)
        seen = rows.filter(decided_at(spec.timeframe).is_between(train.start, holdout.end, closed="left"))
        fitted = fit(seen, spec, train)
        held_out = seen.filter(decided_at(spec.timeframe) >= holdout.start)
        days.append(predicted(fitted.model, held_out).with_columns(pl.lit(fitted.base_rate).alias("base_rate")))
        constants.append(fitted.base_value)
    everything = pl.concat(days)
    metrics = measure(everything, None, BLOCK, case.seed)
    regresses = MODELS[case.type_name].regresses
    constant = sum(constants) / len(constants)
    return Pooled(case, metrics, measure_values(everything, constant, BLOCK, case.seed) if regresses else None)


def line(result: Pooled) -> str:
    case, metrics, values = result
    gain, low = metrics.log_loss_gain or 0.0, metrics.log_loss_gain_low or 0.0
    skill = "" if values is None else f"  skill {values.skill or 0.0:+.4f} from {values.skill_low or 0.0:+.4f}"
    return (
        f"{case.market:12} seed {case.seed:3} {case.type_name + '_' + case.timeframe:15} rows {metrics.rows:7,}  "
        f"accuracy {metrics.accuracy or 0.0:.4f} (naive {metrics.baseline_accuracy or 0.0:.4f})  log-loss "
        f"{metrics.log_loss:.5f} (naive {metrics.baseline_log_loss:.5f})  gain {gain:+.5f} from {low:+.5f}  "
        f"{'better' if metrics.better else 'not better'}{skill}"
    )


def verdicts(results: Sequence[Pooled]) -> bool:
    """Print how many seeds held, for each market and model; return whether direction reached its targets."""
    reached = True
    groups = sorted({(result.case.market, result.case.type_name, result.case.timeframe) for result in results})
    for market, type_name, timeframe in groups:
        same = [
            result.metrics
            for result in results
            if (result.case.market, result.case.type_name, result.case.timeframe) == (market, type_name, timeframe)
        ]
        if market not in {"sample:edge", "sample:null"}:
            continue
        edge = market == "sample:edge"
        held = sum((result.log_loss_gain or 0.0) > 0 if edge else not result.better for result in same)
        enough = held * OF >= WANTED * len(same)
        reached = reached and (enough or type_name != "direction")
        mean = sum(result.log_loss_gain or 0.0 for result in same) / len(same)
        print(
            f"{market:12} {type_name}_{timeframe}: {'beats its baseline' if edge else 'not better'} in {held} of "
            f"{len(same)} seeds (wanted {WANTED} of {OF}){'' if enough else '  MISSED'}; mean gain {mean:+.5f} nats, "
            f"surely better in {sum(result.better for result in same)}"
        )
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=OF)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--market", action="append", help="sample:edge, sample:null, or a folder of real candles")
    parser.add_argument("--type", action="append", choices=sorted(MODELS))
    parser.add_argument("--timeframe", action="append", choices=["1m", "5m", "60m"])
    parser.add_argument("--end", type=lambda day: datetime.fromisoformat(day).replace(tzinfo=UTC), default=END)
    options = parser.parse_args()
    markets = options.market or ["sample:edge", "sample:null"]
    real = any(Path(market).is_dir() for market in markets)
    seeds = [1] if real else range(options.first_seed, options.first_seed + options.seeds)
    cases = [
        Case(market, seed, type_name, timeframe, options.days, options.end)
        for market in markets
        for type_name in options.type or (sorted(MODELS) if real else ["direction"])
        for timeframe in options.timeframe or (["1m", "5m", "60m"] if real else ["5m"])
        for seed in seeds
    ]
    began = time.perf_counter()
    results = []
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        for result in pool.map(pooled, cases):
            results.append(result)
            print(line(result), flush=True)
    reached = verdicts(results)
    print(f"{len(cases)} cases in {time.perf_counter() - began:.0f} s")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
