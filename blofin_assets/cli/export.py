"""`--export`: trades, equity, daily returns, positions and signals of a backtest as files.

Belongs here: the files' names, formats and the check that none is there yet; positions by bar. Does not belong here:
what a trade or a signal is (`backtester`).
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from backtester import Evaluation
from backtester.evaluation.breakdown import Breakdown
from backtester.evaluation.robustness import scored_lanes
from backtester.simulation.lanes import Lane
from backtester.simulation.signals import SIGNAL_COLUMNS
from blofin_assets.cli.idea import FORMATS, export_paths
from features.bars import TS

_LEVELS: Final = ("stop", "target", "trail", "time_stop", "size", "leverage", "entry_limit")


def export(evaluation: Evaluation, folder: Path, form: str, parts: Breakdown) -> list[Path]:
    """Write what a backtest did as files, none of which is there yet.

    Parameters
    ----------
    evaluation : Evaluation
        With trades.
    folder : Path
        Created where absent.
    form : str
        One of `FORMATS`.
    parts : Breakdown
        Of it: holding the same lanes, returns by day.

    Returns
    -------
    list of Path
        The files: `_trades` (`backtester.simulation.lanes.TRADE_SCHEMA`), `_equity` (`ts`, `equity`, `with_bars`,
        `holding`), `_returns` (`date`, `return`: each UTC day's PnL over the capital), `_positions` (each scored lane's
        quantity at each bar's close, base units, negative for a short), `_signals` (each scored lane's conditions and
        levels at each bar).

    Raises
    ------
    BlofinError
        If a file is there.
    """
    paths = export_paths(folder, [evaluation.name], form)
    lanes = scored_lanes(evaluation)
    frames = {
        "trades": evaluation.scored_trades,
        "equity": evaluation.equity.with_columns(pl.Series("holding", parts.holding)),
        "returns": parts.sheet.days,
        "positions": pl.concat(_positions(lane, evaluation.scored_trades) for lane in lanes),
        "signals": pl.concat((_signals(lane) for lane in lanes), how="diagonal"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        frame = frames[path.stem.rpartition("_")[2]]
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        _WRITE[form](frame, partial)
        partial.replace(path)
    return paths


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path)


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path)


_WRITE: Final = dict(zip(FORMATS, (_write_parquet, _write_csv), strict=True))


def _positions(lane: Lane, trades: pl.DataFrame) -> pl.DataFrame:
    """Return `symbol`, `timeframe`, `ts` (open of the bar) and `quantity` at its close."""
    bars = lane.bars
    own = trades.filter(pl.col("symbol") == bars.symbol, pl.col("timeframe") == bars.timeframe)
    begun, ended = (np.searchsorted(bars.ts, own[name].dt.epoch("us").to_numpy()) for name in ("entry_ts", "exit_ts"))
    signed = own["quantity"].to_numpy() * np.where(own["side"].to_numpy() == "long", 1.0, -1.0)
    held = np.zeros(len(bars))
    for first, last, quantity in zip(begun, ended, signed, strict=True):  # a sum of changes would leave rounding errors
        held[first:last] = quantity
    return _lane_frame(lane).with_columns(pl.Series("quantity", held))


def _signals(lane: Lane) -> pl.DataFrame:
    """Return `symbol`, `timeframe`, `ts`, the four conditions and the levels that the strategy sets."""
    signals = lane.signals
    conditions = [pl.Series(name, (signals.bits & bit) != 0) for name, bit in SIGNAL_COLUMNS.items()]
    levels = [
        pl.Series(name, np.broadcast_to(signals.parameters[name], len(lane.bars)).copy(), nan_to_null=True)
        for name in _LEVELS
        if name in signals.parameters
    ]
    return _lane_frame(lane).with_columns(*conditions, *levels)


def _lane_frame(lane: Lane) -> pl.DataFrame:
    bars = lane.bars
    return pl.DataFrame({"ts": pl.Series(bars.ts).cast(TS)}).select(
        pl.lit(bars.symbol).alias("symbol"), pl.lit(bars.timeframe).alias("timeframe"), "ts"
    )
