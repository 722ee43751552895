"""What stands beside every score of a cycle, as rows of `research.evidence`.

Belongs here: gathering the evidence of evaluations that share one exam. Does not belong here: any statistic
(`backtester.evidence`, `backtester.overfitting`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from backtester import Evaluation
from backtester.evidence import Evidence, gather
from backtester.overfitting import OverfittingRisk, SharpeEvidence, overfitting_risk, sharpe_evidence
from blofin_assets.assets.results import pooled_of
from features.bars import TS


def evidence_rows(
    evaluations: Sequence[Evaluation],
    kind: str,
    as_of: datetime,
    *,
    trials: int,
    seed: int,
    searched: int | None = None,
) -> pl.DataFrame:
    """Return `research.evidence` for everything that was run on one exam.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Over the same window, with trades.
    kind : str
        `strategy`, `model` or `ensemble`.
    as_of : datetime
        End of the exam.
    trials : int
        Configurations ever run on an overlapping window, these included.
    seed : int
        Of the random timing.
    searched : int, optional
        Configurations that searches tried before the exam: told beside, not counted in `trials`.
    """
    gathered = [gather(found, seed=seed) for found in evaluations]
    errors = [each.zero_cost_se for each in gathered if each.zero_cost_se is not None]
    risk = overfitting_risk(np.column_stack([pooled_of(found).returns for found in evaluations]))
    rows = [
        _row(found, evidence, sharpe_evidence(pooled_of(found).returns, trials, errors), risk)
        for found, evidence in zip(evaluations, gathered, strict=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.lit(as_of).cast(TS).alias("as_of"),
        pl.lit(kind).alias("kind"),
        pl.lit(searched, dtype=pl.Int64).alias("search_trials"),
    )


def _row(found: Evaluation, evidence: Evidence, sharpe: SharpeEvidence, risk: OverfittingRisk) -> dict[str, Any]:
    pooled, held, volume = pooled_of(found), evidence.buy_and_hold, evidence.volume
    return {
        "name": found.name,
        "version": found.version,
        "trials": sharpe.trials,
        "psr": sharpe.probabilistic,
        "dsr": sharpe.deflated,
        "supported": sharpe.supported,
        "expected_max_sharpe": sharpe.expected_max,
        "min_track_record_hours": sharpe.min_track_record,
        "pbo": risk.probability,
        "pbo_columns": risk.columns,
        "timing_p": evidence.timing_p,
        "worst_pnl_pct": pooled.worst_pnl_pct,
        "best_pnl_pct": pooled.best_pnl_pct,
        "ambiguous": pooled.ambiguous,
        "unresolved": pooled.unresolved,
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
