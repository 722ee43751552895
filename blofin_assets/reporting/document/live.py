"""Backtest against forward: what was promised at activation and what came since.

Belongs here: saying how far the forward side has come. Does not belong here: the tests themselves.
"""

from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester.drift import LEAST_DAYS, LEAST_TRADES
from blofin_assets.partitions import DAY
from blofin_assets.reporting.collect import ReportData
from blofin_assets.reporting.document import schema
from blofin_assets.reporting.document.plain import plain

_DAYS: Final = f"of more than {LEAST_DAYS:.0f} forward days"
_TRADES: Final = f"of at least {LEAST_TRADES} closed trades"

_MAIN_METRIC: Final = {"strategy": "net_return", "ensemble": "net_return", "model": "log_loss"}


def live_of(kind: str, name: str, version: str, data: ReportData) -> schema.Live:
    """Return what came of one strategy or model since it became active; where there is nothing yet, why."""
    followed = _rows(data.forward.runs, kind, name, version)
    if not followed:
        return schema.Live(
            state="not yet",
            detail=_not_followed(kind, name, data),
            days=None,
            trades=None,
            total_pnl_pct=None,
        )
    run = followed[-1]
    numbers = {"days": plain(run["days"]), "trades": run["trades"], "total_pnl_pct": plain(run["total_pnl_pct"])}
    if run["state"] == "lost":
        return schema.Live(state="lost", detail=run["detail"] or "its code or files are gone", **numbers)
    tests = [row for row in _rows(data.forward.drift, kind, name, version) if row["metric"] == _MAIN_METRIC[kind]]
    if not tests:
        return schema.Live(state="not yet", detail=f"not yet: {_progress(kind, run)}", **numbers)
    test = tests[-1]
    if test["decision"] == "insufficient":
        return schema.Live(state="insufficient", detail=f"not yet: {_progress(kind, run)}", **numbers)
    old = "" if test["as_of"] == data.as_of else f"as of {test['as_of']:%Y-%m-%d %H:%M} UTC: "
    return schema.Live(state=test["decision"], detail=f"{old}{test['reason'] or test['decision']}", **numbers)


def backtest_vs_live(data: ReportData) -> schema.BacktestVsLive:
    """Return the newest night's tests as a whole; whether there is drift only where that is the report's own night."""
    runs, drift = data.forward.runs, data.forward.drift
    night: datetime | None = drift["as_of"].max()  # type: ignore[assignment]
    decided = drift.filter(pl.col("decision") != "insufficient")
    tonight = decided.filter(pl.col("as_of") == data.as_of)
    accuracy = drift.filter(pl.col("metric") == "accuracy")["forward"].mean()
    return schema.BacktestVsLive(
        state=_state(runs, decided, night, data.as_of),
        night=plain(night),
        drift_detected=bool((tonight["decision"] == "drift").any()) if tonight.height else None,
        avg_accuracy=plain(accuracy),
        followed=runs.height,
        tested=decided.height,
        insufficient=drift.height - decided.height,
        look_ahead=int(runs["look_ahead"].sum()),
        data_revisions=int(runs["data_revisions"].sum()),
        version_changes=int(runs["version_changes"].sum()),
        tests=[schema.Drift.of(row) for row in drift.iter_rows(named=True)],
        retunes=[schema.Retune.of(row) for row in data.forward.retunes.iter_rows(named=True)],
    )


def _state(runs: pl.DataFrame, decided: pl.DataFrame, night: datetime | None, as_of: datetime) -> str:
    if runs.is_empty():
        return "not run"
    if night is not None and night != as_of:
        return f"not tested this night; shown as of {night:%Y-%m-%d %H:%M} UTC"
    if decided.is_empty():
        longest = float(runs["days"].max() or 0.0)  # type: ignore[arg-type]
        return f"not yet: the longest has {longest:.1f} {_DAYS}"
    return f"{decided.height} tested"


def _rows(frame: pl.DataFrame, kind: str, name: str, version: str) -> list[dict[str, Any]]:
    """Return the rows of one version; of models, which are trained anew each cycle, of the name."""
    same = (pl.col("kind") == kind) & (pl.col("name") == name)
    found = frame.filter(same if kind != "strategy" else same & (pl.col("version") == version))
    return found.sort("activated_at", maintain_order=True).to_dicts()


def _not_followed(kind: str, name: str, data: ReportData) -> str:
    time = data.cycles.strategy_time if kind == "strategy" else data.cycles.model_time
    if data.forward.runs.is_empty():
        return f"not yet: 0 {_DAYS}, the forward ledger has no rows so far"
    if time is not None and time > data.as_of - DAY:
        return f"not yet: 0 {_DAYS}, {name} is followed from this cycle on if it is active"
    return f"{name} is not followed: only what is active is"


def _progress(kind: str, run: dict[str, Any]) -> str:
    days = f"{run['days'] or 0:.1f} {_DAYS}"
    return days if kind == "model" else f"{days}, {run['trades'] or 0} {_TRADES}"
