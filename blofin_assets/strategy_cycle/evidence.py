"""The statistical evidence beside every score of a cycle, as rows of `research.evidence`.

Belongs here: gathering the evidence of evaluations that share one holdout. Does not belong here: any statistic
(`backtester.evaluation.robustness`, `backtester.statistics.overfitting`).
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from backtester import Evaluation, PooledResult
from backtester.evaluation.book_breakdown import book_episodes
from backtester.evaluation.robustness import Evidence, gather
from backtester.evaluation.standard_metrics import EVIDENCE, stored
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments
from backtester.statistics.overfitting import (
    BLOCKS,
    LAGS,
    OverfittingRisk,
    SharpeEvidence,
    effective_trials,
    episodes_of,
    overfitting_risk,
    sharpe_evidence,
    sharpe_se_newey_west,
    superior,
)
from backtester.statistics.seeds import derived_seed
from blofin_assets.shared.backtest_rows import pooled_of
from blofin_assets.shared.book_rows import BookRun, hourly_book_returns, zero_cost_returns
from blofin_assets.shared.fence import Failed, each_alone, fenced
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.population import Key
from blofin_resources.errors import BlofinError
from features.array_types import FloatArray
from features.bars import TS


def evidence_rows(
    evaluations: Sequence[Evaluation],
    kind: str,
    as_of: datetime,
    *,
    trials: int,
    seed: int,
    searched: int | None = None,
) -> tuple[pl.DataFrame, Mapping[Key, str]]:
    """Return `research.evidence` for everything evaluated on one holdout, and why some of it has no row.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Over the same window, with trades.
    kind : str
        `strategy`, `model` or `ensemble`.
    as_of : datetime
        End of the holdout.
    trials : int
        Configurations ever run on an overlapping window, these included.
    seed : int
        Of the random timing.
    searched : int, optional
        Configurations that searches tried before the holdout: reported separately, not counted in `trials`.

    Returns
    -------
    tuple of DataFrame and mapping of Key to str
        Rows of the table; for each name and version without a row, the reason.

    Raises
    ------
    BlofinError
        If no result has evidence.
    """
    gathered = each_alone(evaluations, lambda evaluation: gather(evaluation, seed=seed))
    errors = [evidence.zero_cost_se for _, evidence in gathered.done if evidence.zero_cost_se is not None]
    moves = _moves([pooled_of(evaluation) for evaluation in evaluations])
    risk, effective = _risk(moves), effective_trials(moves, trials)
    second = fenced(superior, moves, derived_seed(seed, as_of, "StepM", size=4))
    named = None if isinstance(second, Failed) else dict(zip(map(_key, evaluations), second, strict=True))
    rated = each_alone(
        gathered.done,
        lambda of: {
            **_row(*of, _judged(of[0], trials, errors, effective), risk),
            "step_m": None if named is None else named[_key(of[0])],
        },
    )
    failed = [*gathered.failed, *((evaluation, why) for (evaluation, _), why in rated.failed)]
    rows = _labelled([row for _, row in rated.done], kind, as_of, searched, [why for _, why in failed])
    return rows, {_key(evaluation): why for evaluation, why in failed}


def book_evidence_rows(
    runs: Sequence[BookRun], as_of: datetime, *, trials: int, seed: int, searched: int | None = None
) -> tuple[pl.DataFrame, Mapping[Key, str]]:
    """Return `research.evidence` for books on one holdout; see `evidence_rows`.

    Parameters
    ----------
    runs : sequence of BookRun
        Over the same window.
    as_of : datetime
        End of the holdout.
    trials : int
        Configurations ever run on an overlapping window, these included.
    seed : int
        Of the second opinion's bootstrap.
    searched : int, optional
        Configurations that searches tried before the holdout.

    Returns
    -------
    tuple of DataFrame and mapping of Key to str
        Rows of the table; for each name and version without a row, the reason.

    Raises
    ------
    BlofinError
        If no result has evidence.

    Notes
    -----
    Ratios rest on hourly returns. There is no random timing of a book, and its market is the equal-weighted average of
    the universe instead of its lanes.
    """
    gathered = each_alone(runs, zero_cost_returns)
    errors = [se for _, free in gathered.done if (se := sharpe_se_newey_west(free, LAGS)) is not None]
    hourly = [run.evaluation.hourly().slice(1) for run in runs]
    there = np.any([frame["with_bars"].to_numpy() for frame in hourly], axis=0)
    moves = np.column_stack([frame["net_return"].to_numpy()[there] for frame in hourly])
    risk, effective = _risk(moves), effective_trials(moves, trials)
    second = fenced(superior, moves, derived_seed(seed, as_of, Kind.BOOK, "StepM", size=4))
    named = None if isinstance(second, Failed) else dict(zip((_book_key(run) for run in runs), second, strict=True))
    rated = each_alone(
        gathered.done,
        lambda of: {
            **_book_row(*of, trials, errors, risk, effective),
            "step_m": None if named is None else named[_book_key(of[0])],
        },
    )
    failed = [*gathered.failed, *((run, why) for (run, _), why in rated.failed)]
    rows = _labelled([row for _, row in rated.done], Kind.BOOK, as_of, searched, [why for _, why in failed])
    return rows, {_book_key(run): why for run, why in failed}


def _labelled(
    rows: Sequence[dict[str, Any]], kind: str, as_of: datetime, searched: int | None, failed: Sequence[str]
) -> pl.DataFrame:
    if not rows:
        msg = f"there is no evidence of any result: {'; '.join(failed)}"
        raise BlofinError(msg)
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.lit(as_of).cast(TS).alias("as_of"),
        pl.lit(kind).alias("kind"),
        pl.lit(searched, dtype=pl.Int64).alias("search_trials"),
    )


def mark_known(evidence: pl.DataFrame, known: pl.DataFrame, start: datetime) -> pl.DataFrame:
    """Return evidence of strategies that says which of them a model may have designed for this very holdout.

    No holdout is out of sample for an author who has read about it. Later versions of a name keep the mark: they are
    tuned from the text that was written with that knowledge.

    Parameters
    ----------
    evidence : DataFrame
        Rows of `research.evidence`.
    known : DataFrame
        `name`; `knows_until`, the end of what a model knew when it was trained; `told_until`, that of what the prompt
        of a design told it (both UTC). Null without a model.
    start : datetime
        Start of the holdout (UTC).

    Returns
    -------
    DataFrame
        With `author_may_know`, null where no model had a part; what is marked is not supported.
    """
    told = pl.col("told_until") > start
    marked = evidence.join(known, on="name", how="left", maintain_order="left").with_columns(
        author_may_know=pl.when(told).then(told).otherwise(pl.col("knows_until") > start)
    )
    unknown = pl.col("author_may_know").fill_null(value=False).not_()
    return marked.with_columns(supported=pl.col("supported") & unknown).drop("knows_until", "told_until")


def _key(evaluation: Evaluation) -> Key:
    return evaluation.name, evaluation.version


def _book_key(run: BookRun) -> Key:
    return run.book.name, run.book.version


def _moves(results: Sequence[PooledResult]) -> FloatArray:
    """Return the returns of results over one window in the hours with bars, shape (n_hours, n_results)."""
    there = np.any([result.present for result in results], axis=0)
    return np.column_stack([result.returns[there] for result in results])


def _risk(moves: FloatArray) -> OverfittingRisk:
    """Return the PBO of hourly returns; null if there are too few."""
    if len(moves) < 2 * BLOCKS:
        return OverfittingRisk(None, None, 0, 0, np.empty(0))
    return overfitting_risk(moves)


def _judged(evaluation: Evaluation, trials: int, errors: Sequence[float], effective: float) -> SharpeEvidence:
    episodes = episodes_of(evaluation.scored_trades)
    return sharpe_evidence(pooled_of(evaluation).present_returns, episodes, trials, errors, effective=effective)


def _row(evaluation: Evaluation, evidence: Evidence, sharpe: SharpeEvidence, risk: OverfittingRisk) -> dict[str, Any]:
    pooled, held, volume = pooled_of(evaluation), evidence.buy_and_hold, evidence.volume
    return {
        "name": evaluation.name,
        "version": evaluation.version,
        **_luck(sharpe, risk),
        "timing_p": None if evidence.timing is None else evidence.timing.p,
        "timing_shifts": None if evidence.timing is None else evidence.timing.shifts,
        **stored(pooled, EVIDENCE),
        "break_even_slippage": evidence.break_even_slippage,
        "break_even_fee": evidence.break_even_fee,
        "zero_cost_sharpe": evidence.zero_cost_sharpe,
        "hold_pnl_pct": held.total_pnl_pct,
        "alpha": held.alpha,
        "alpha_se": held.alpha_se,
        "beta": held.beta,
        "volume_share_median": volume.median,
        "volume_share_largest": volume.largest,
        "volume_warning": volume.warning or None,
    }


def _luck(sharpe: SharpeEvidence, risk: OverfittingRisk) -> dict[str, Any]:
    """Return the columns that say how much of a ratio may be luck."""
    return {
        "trials": sharpe.trials,
        "effective_trials": sharpe.effective,
        "sharpe_error": None if sharpe.error is None else sharpe.error * math.sqrt(HOURS_PER_YEAR),
        "psr": sharpe.probabilistic,
        "dsr": sharpe.deflated,
        "supported": sharpe.supported,
        "episodes": sharpe.episodes,
        "winners": sharpe.winners,
        "losers": sharpe.losers,
        "expected_max_sharpe": sharpe.expected_max,
        "min_track_record_hours": sharpe.min_track_record,
        "pbo": risk.probability,
        "pbo_columns": risk.columns,
    }


def _book_row(
    run: BookRun,
    free: FloatArray,
    trials: int,
    errors: Sequence[float],
    risk: OverfittingRisk,
    effective: float,
) -> dict[str, Any]:
    episodes = book_episodes(run.evaluation)
    sharpe = sharpe_evidence(hourly_book_returns(run.evaluation), episodes, trials, errors, effective=effective)
    metrics, (size,) = run.evaluation.metrics(), run.evaluation.capacity((run.evaluation.result.capital,))
    return {
        "name": run.book.name,
        "version": run.book.version,
        **_luck(sharpe, risk),
        "zero_cost_sharpe": Moments.of(free).sharpe,
        **{name: metrics[name] for name in ("alpha", "alpha_se", "beta")},
        "volume_share_median": size.median,
        "volume_share_largest": size.largest,
        "volume_warning": size.warning or None,
    }
