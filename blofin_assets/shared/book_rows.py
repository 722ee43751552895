"""Results of books as rows of the warehouse's tables.

Belongs here: column names and ids. Does not belong here: backtesting (`backtester`), writing (the assets), the rows of
strategies and models (`backtest_rows`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from backtester import BookEvaluation, Costs
from backtester.statistics.score import score_terms
from blofin_assets.shared.backtest_rows import frame_of, row_id, trial_labels
from blofin_assets.shared.deep_market import DeepMarket
from blofin_assets.shared.trial_ledger import Configuration
from blofin_assets.shared.vocabulary import Kind, Purpose
from features.array_types import FloatArray
from features.bars import TS
from strategies.language.book import Book

SIDES: Final = {1: "long", -1: "short"}
_TERMS: Final = ("score_win_rate", "score_avg_pnl", "score_sharpe", "score_drawdown")


@dataclass(frozen=True, eq=False)
class BookRun:
    """A book that was run on a window of the stored universe.

    Attributes
    ----------
    book : Book
        The version.
    market : DeepMarket
        What it ran on.
    evaluation : BookEvaluation
        What it came to.
    universe : str
        The rule of the universe.
    """

    book: Book
    market: DeepMarket
    evaluation: BookEvaluation
    universe: str

    @property
    def name(self) -> str:
        """Of the book."""
        return self.book.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.book.version

    @property
    def configuration(self) -> Configuration:
        """What counts as one trial: a book on a universe."""
        return Kind.BOOK, self.book.name, self.book.version, f"{self.universe} {self.book.timeframe}"


def book_rows(runs: Sequence[BookRun], as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return the rows of `research.book_backtest_results`, without the state before the holdout.

    Parameters
    ----------
    runs : sequence of BookRun
        On the holdout.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        One row for each.
    """
    rows = []
    for run in runs:
        metrics = run.evaluation.metrics()
        ratio, drawdown = metrics["sharpe"], metrics["max_drawdown"] or 0.0
        terms = score_terms(metrics["win_rate"], metrics["avg_pnl_pct"], ratio, drawdown)
        rows.append(
            {
                "as_of": as_of,
                "name": run.book.name,
                "version": run.book.version,
                "timeframe": run.book.timeframe,
                "rebalance": run.book.rebalance,
                "tranches": len(run.evaluation.result.tranches),
                "window_start": run.market.start,
                "window_end": run.market.end,
                "snapshot_id": snapshot,
                "capital": run.evaluation.result.capital,
                "universe": run.universe,
                "members_fewest": run.market.members[0],
                "members_most": run.market.members[1],
                "chosen_today": run.market.chosen_today,
                **dict(zip(_TERMS, terms or (None,) * len(_TERMS), strict=True)),
                **{"total_trades" if name == "trades" else name: value for name, value in metrics.items()},
            }
        )
    return frame_of(rows)


def book_trade_rows(runs: Sequence[BookRun], as_of: datetime) -> pl.DataFrame:
    """Return the rows of `research.trades`: one for each trade; `pnl` is net as of every kind."""
    return pl.concat(
        run.evaluation.result.trades.select(
            "symbol", "tranche", "entry_ts", "exit_ts", "entry_price", "exit_price", "quantity",
            pl.lit(run.book.timeframe).alias("timeframe"),
            pl.col("side").replace_strict(SIDES, return_dtype=pl.String),
            pl.col("net").alias("pnl"), "fees", "funding", "slippage", "pnl_pct",
            pl.col("reason").alias("exit_reason"),
            pl.lit(value=True).alias("scored"),
        ).with_columns(labels(run, as_of))
        for run in runs
    )  # fmt: skip


def book_equity_rows(runs: Sequence[BookRun], as_of: datetime) -> pl.DataFrame:
    """Return the rows of `research.equity`: the equity at full hours."""
    return pl.concat(
        run.evaluation.hourly().drop("net_return").with_columns(labels(run, as_of)) for run in runs
    )  # fmt: skip


def book_trial_rows(
    runs: Sequence[BookRun], author: str, as_of: datetime, snapshot: int, purpose: Purpose = Purpose.HOLDOUT
) -> pl.DataFrame:
    """Return the rows of `research.trials`: every backtest of a book counts as one trial.

    Parameters
    ----------
    runs, as_of, snapshot
        As in `book_rows`.
    author : str
        Who proposed what was run.
    purpose : Purpose
        On which kind of window.

    Returns
    -------
    DataFrame
        One row for each.
    """
    rows = []
    for run in runs:
        metrics = run.evaluation.metrics()
        window = run.market.start, run.market.end
        rows.append(
            {
                "id": row_id("trial", author, as_of, *run.configuration, run.market.start),
                **trial_labels(run.configuration, author, as_of, snapshot, window, purpose),
                "score": metrics["score"],
                "trades": metrics["trades"],
                "sharpe": metrics["sharpe"],
                "params": json.dumps(run.book.parameters, sort_keys=True),
            }
        )
    return frame_of(rows)


def hourly_book_returns(evaluation: BookEvaluation) -> FloatArray:
    """Return a book's returns of the hours with bars, of shape (n_hours,)."""
    returns: FloatArray = evaluation.hourly().slice(1).filter("with_bars")["net_return"].to_numpy()
    return returns


def zero_cost_returns(run: BookRun) -> FloatArray:
    """Return the hourly returns of a book that pays neither fees nor slippage, of shape (n_hours,)."""
    free = run.market.prepared.backtest(
        run.book, start=run.market.start, costs=Costs(taker_fee=0.0, slippage=0.0),
        capital=run.evaluation.result.capital,
    )  # fmt: skip
    return hourly_book_returns(free)


def labels(run: BookRun, as_of: datetime) -> list[pl.Expr]:
    """Return the columns that say of which book and cycle a row is."""
    named = (("kind", Kind.BOOK), ("name", run.book.name), ("version", run.book.version))
    return [pl.lit(as_of).cast(TS).alias("as_of"), *(pl.lit(str(value)).alias(name) for name, value in named)]
