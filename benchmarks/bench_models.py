"""How long the whole ML cycle takes on the sample market, and how long a day of predictions.

Run ``make bench`` or ``python benchmarks/bench_models.py [sample:edge] [seed]``. One process, three symbols pooled,
three timeframes; targets on two cores: the cycle under 3 minutes and 3 GB, a day of all models' predictions under 1 s.
The table says for each model how it did against its baseline.
"""

import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from records import record

from backtester import ranked
from backtester.resampling import aggregate
from blofin_resources.market.registry import open_market
from features.bars import DEFAULT_TIMEFRAMES, FrameSource
from features.feature_manager import FeatureManager
from model_zoo.ensembles import Member, search
from model_zoo.models.base import Regressor
from model_zoo.models.catalog import MODELS
from model_zoo.training.trainer import Trained, default_spec, train_cycle

END = datetime(2025, 6, 12, tzinfo=UTC)
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")


def manager_as_of_end(market: str, archive: Path | None, seed: int) -> FeatureManager:
    source = open_market(market, archive=archive, api_url="", seed=seed)
    start = END - timedelta(days=12)
    minutes = source.candles(SYMBOLS, "1m", start, END)
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in ("5m", "60m", "1d")}}
    return FeatureManager(FrameSource(candles, source.funding(SYMBOLS, start, END)), END)


def shown(value: float | None, places: int = 4) -> str:
    return "-" if value is None else f"{value:+.{places}f}"


def row(trained: Trained, seconds: float) -> str:
    measured, values, pooled = trained.metrics, trained.values, trained.evaluation.pooled
    better = "better" if measured.better else "not better"
    return (
        f"{trained.model.spec.name:15}{seconds:6.2f} s  accuracy {measured.accuracy:.3f} (naive "
        f"{measured.baseline_accuracy:.3f})  log-loss gain {shown(measured.log_loss_gain)} from "
        f"{shown(measured.log_loss_gain_low)}  {better:10}  R2 {shown(values and values.r2, 3):>6}  skill "
        f"{shown(values and values.skill, 3):>6}  trades {pooled.trades if pooled else 0:4}  "
        f"score {shown(pooled and pooled.score, 0):>6}  "
        f"{'' if trained.sound else 'REJECTED'}"
    )


def predictions_of_a_day(manager: FeatureManager, models: list[Trained]) -> float:
    """Return the seconds that all models take for one day, features at hand."""
    frames: dict[str, pl.DataFrame] = {}
    for timeframe in DEFAULT_TIMEFRAMES:
        wanted = {
            name for model in models if model.model.spec.timeframe == timeframe for name in model.model.spec.inputs
        }
        frames[timeframe] = manager.window(list(SYMBOLS), timeframe, sorted(wanted), END - timedelta(days=1), END)
    before = time.perf_counter()
    for model in models:
        frame = frames[model.model.spec.timeframe]
        model.model.predict(frame)
        if isinstance(model.model, Regressor):
            model.model.predict_value(frame)
    return time.perf_counter() - before


def main() -> None:
    market, seed = (sys.argv[1:2] or ["sample"])[0], int((sys.argv[2:3] or ["1"])[0])
    folder = Path(market)
    manager = manager_as_of_end("archive" if folder.is_dir() else market, folder if folder.is_dir() else None, seed)
    began, processor = time.perf_counter(), time.process_time()
    models = []
    for type_name in MODELS:
        for timeframe in DEFAULT_TIMEFRAMES:
            before = time.perf_counter()
            models.append(train_cycle(manager, SYMBOLS, END, default_spec(type_name, timeframe, seed)))
            print(row(models[-1], time.perf_counter() - before))
    before = time.perf_counter()
    members = [
        Member(each.model, each.threshold, each.version, each.base_rate, each.out_of_fold)
        for each in models
        if each.model.directional and each.sound
    ]
    tried = search(manager, SYMBOLS, models[0].holdout, members, seed=seed)
    scores = [
        {
            "name": each.ensemble.name,
            "score": each.evaluation.pooled.score,
            "total_trades": each.evaluation.pooled.trades,
        }
        for each in tried
        if each.evaluation.pooled is not None
    ]
    ranked(pl.DataFrame(scores))
    print(f"{len(tried)} ensembles  {time.perf_counter() - before:6.2f} s")
    for each in tried:
        print(f"  {each.ensemble.name:42} log-loss gain {shown(each.metrics.log_loss_gain)}")
    print(f"whole cycle    {time.perf_counter() - began:6.2f} s ({time.process_time() - processor:.2f} s of processor)")
    print(f"a day of predictions of {len(models)} models  {predictions_of_a_day(manager, models):.3f} s")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    record("a whole ML cycle", time.perf_counter() - began, "s", limit="< 180")
    record("a whole ML cycle, peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "GB", limit="< 3")


if __name__ == "__main__":
    main()
