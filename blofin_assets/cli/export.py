"""`--export`: trades, equity, daily returns, positions and signals of a backtest, as frames and as files.

Belongs here: the frames, the files' names, formats and the check that none is there yet; positions by bar. Does not
belong here: what a trade or a signal is (`backtester`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from backtester import BookEvaluation, Evaluation
from backtester.evaluation.book_breakdown import earnings_of, sheet_of, universe_curve
from backtester.evaluation.breakdown import Breakdown
from backtester.evaluation.robustness import scored_lanes
from backtester.simulation.lanes import Lane
from backtester.simulation.signals import SIGNAL_COLUMNS
from blofin_assets.cli.idea import FORMATS, export_paths
from features.bars import TS

_LEVELS: Final = ("stop", "target", "trail", "time_stop", "size", "leverage", "entry_limit")


def strategy_frames(evaluation: Evaluation, parts: Breakdown) -> dict[str, pl.DataFrame]:
    """Return what a backtest of a strategy did, by the names of `EXPORTED`.

    Parameters
    ----------
    evaluation : Evaluation
        With trades.
    parts : Breakdown
        Of it: holding the same lanes, returns by day.

    Returns
    -------
    dict of str to DataFrame
        `trades` (`backtester.simulation.lanes.TRADE_SCHEMA`), `equity` (`ts`, `equity`, `with_bars`, `holding`),
        `returns` (`date`, `return`: each UTC day's PnL over the capital), `positions` (each scored lane's quantity at
        each bar's close, base units, negative for a short), `signals` (each scored lane's conditions and levels at each
        bar).
    """
    lanes = scored_lanes(evaluation)
    return {
        "trades": evaluation.scored_trades,
        "equity": evaluation.equity.with_columns(pl.Series("holding", parts.holding)),
        "returns": parts.sheet.days,
        "positions": pl.concat(_positions(lane, evaluation.scored_trades) for lane in lanes),
        "signals": pl.concat((_signals(lane) for lane in lanes), how="diagonal"),
    }


def book_frames(found: BookEvaluation) -> dict[str, pl.DataFrame]:
    """Return what a backtest of a book did, in the columns of `strategy_frames`; a book has no signals.

    Parameters
    ----------
    found : BookEvaluation
        On the stored universe.

    Returns
    -------
    dict of str to DataFrame
        `trades` (episodes, from flat to flat; `pnl` is net of all costs; `tranche`, and `lost` in a liquidation),
        `equity` (compounded; `holding` is the universe's equal-weighted average), `returns` (of each UTC day, on the
        equity before it), `positions` (`quantity` of each symbol at each bar's close in base units, negative for a
        short, all tranches together, and its `weight`: a fraction of equity).
    """
    result, equity = found.result, found.hourly()
    held, timeframe = earnings_of(result), pl.lit(result.market.timeframe).alias("timeframe")
    weights = np.divide(held.held, result.equity[:, None], out=np.zeros_like(held.held), where=held.held != 0.0)
    bars = pl.Series("ts", result.market.ts[result.begin :]).cast(TS)
    side = pl.when(pl.col("side") > 0).then(pl.lit("long")).otherwise(pl.lit("short")).alias("side")
    return {
        "trades": result.trades.select(
            "symbol", timeframe, side, "entry_ts", "exit_ts", "entry_price", "exit_price", "quantity",
            pl.col("net").alias("pnl"), "fees", "funding", "slippage", "pnl_pct", pl.col("reason").alias("exit_reason"),
            "tranche", "lost",
        ),
        "equity": equity.select("ts", "equity", "with_bars", pl.Series("holding", universe_curve(result))),
        "returns": sheet_of(found).days,
        "positions": pl.concat(
            pl.DataFrame({"ts": bars, "quantity": held.quantity[:, place], "weight": weights[:, place]}).select(
                pl.lit(symbol).alias("symbol"), timeframe, "ts", "quantity", "weight"
            )
            for place, symbol in enumerate(result.market.symbols)
        ),
    }  # fmt: skip


def export(frames: Mapping[str, pl.DataFrame], name: str, folder: Path, form: str) -> list[Path]:
    """Write what a backtest did as files, none of which is there yet.

    Parameters
    ----------
    frames : dict of str to DataFrame
        As of `strategy_frames` or `book_frames`.
    name : str
        Of the strategy or book.
    folder : Path
        Created where absent.
    form : str
        One of `FORMATS`.

    Returns
    -------
    list of Path
        The files: a frame each, named for both.

    Raises
    ------
    BlofinError
        If a file is there.
    """
    paths = export_paths(folder, [name], form, list(frames))
    folder.mkdir(parents=True, exist_ok=True)
    for path, frame in zip(paths, frames.values(), strict=True):
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
