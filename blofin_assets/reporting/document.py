"""The report as JSON: the keys that the user's programs read, in plain values.

Belongs here: keys, rounding, sentences. Does not belong here: queries (`collect`), HTML (`page`).
"""

import json
import math
from typing import Any

import polars as pl

from blofin_assets.partitions import DAY, day_key
from blofin_assets.plan import ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.reporting.collect import TOP, ReportData
from blofin_assets.reporting.evolution import designers, strategy_changes

Json = dict[str, Any]


def build_document(data: ReportData) -> Json:
    """Return the report's content: equal for equal data, whoever makes it and whenever.

    Run id, snapshot and wall-clock time are added by the asset under `provenance`.
    """
    strategies = strategy_table(data)
    models = ranked(data.model_ranking, data.models, "model_name")
    return {
        "report_date": day_key(data.as_of - DAY),
        "as_of": data.as_of.isoformat(),
        "cycle": _cycle(data),
        "cycles": {STRATEGY_CYCLE: _iso(data.strategy_ranking), ML_CYCLE: _iso(data.model_ranking)},
        "summary": summary(data),
        "market": {
            "source": data.market,
            "synthetic": data.synthetic,
            "symbols": list(data.symbols),
            "seed": data.seed if data.synthetic else None,
            "coverage": _rows(data.coverage),
        },
        "strategy_changes": strategy_changes(data.evolution),
        "designers": designers(data.evolution),
        "ml_changes": {
            "trained": [_trained(row) for row in data.models.iter_rows(named=True)],
            "ensembles_tested": [_ensemble(row) for row in data.ensembles.iter_rows(named=True)],
        },
        "overfitting": _overfitting(data),
        "performance": {
            "top_5_strategies": [_strategy(row) for row in strategies.head(TOP).iter_rows(named=True)],
            "top_5_models": [_model(row) for row in models.head(TOP).iter_rows(named=True)],
            "backtest_vs_live": {
                "state": "not run",
                "drift_detected": None,
                "avg_accuracy": None,
            },
        },
        "ai_next_steps": "not run: there is no reviewer yet",
        "stages": [{"name": stage.name, "state": stage.state, "detail": stage.detail} for stage in data.stages],
    }


def ranked(ranking: pl.DataFrame, results: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the ranking in order, each row with its results."""
    extra = results.drop([column for column in ("version", "score", "status", "as_of") if column in results.columns])
    return ranking.join(extra, left_on="name", right_on=name, how="left", maintain_order="left")


def strategy_table(data: ReportData) -> pl.DataFrame:
    """Return the strategies in order of rank, each with its results and what stands beside them."""
    return ranked(ranked(data.strategy_ranking, data.strategies, "strategy_name"), data.evidence, "name")


def summary(data: ReportData) -> str:
    """Return what a reader must know, in three sentences."""
    kind = "synthetic" if data.synthetic else "real"
    first = f"{len(data.symbols)} symbols of the {data.market} market ({kind}), as of {data.as_of:%Y-%m-%d %H:%M} UTC."
    return " ".join([first, _strategy_sentence(data), _model_sentence(data)])


def _strategy_sentence(data: ReportData) -> str:
    table = strategy_table(data)
    if table.is_empty():
        return "No strategy has been scored yet."
    best = table.row(0, named=True)
    earned = table.filter(pl.col("total_pnl_pct") > 0).height
    supported = table.filter(pl.col("supported").fill_null(value=False)).height
    return (
        f"Of {table.height} strategies {earned} earned money after costs on their last 7 days, the first, "
        f"{best['name']}, {_percent(best['total_pnl_pct'])} in {best['trades']} trades; given the number of tries "
        f"{supported or 'none'} of them is more than luck would show."
    )


def _overfitting(data: ReportData) -> Json:
    """Return what holds for the cycle as a whole: how many tries, how often the best of them disappoints."""
    if data.evidence.is_empty():
        return {"trials": None, "search_trials": None, "pbo": None, "pbo_columns": None, "supported": None}
    row = data.evidence.row(0, named=True)
    supported = data.evidence.filter(pl.col("supported")).height
    return {
        **{key: _plain(row[key]) for key in ("trials", "search_trials", "pbo", "pbo_columns")},
        "supported": supported,
    }


def _model_sentence(data: ReportData) -> str:
    if data.models.is_empty():
        return "No model has been trained yet."
    # Volatility clusters in any market, so that predicting it is no feat: directions are counted apart.
    gated = pl.col("model_type").is_in(["volatility", "risk"])
    counts = [
        (frame.height, frame.filter(pl.col("better").fill_null(value=False)).height)
        for frame in (data.models.filter(~gated), data.models.filter(gated))
    ]
    (directional, better), (others, calm) = counts
    return (
        f"Of {directional} models of direction {better or 'none'}, and of {others} of volatility and risk "
        f"{calm or 'none'}, beat their naive baseline on the holdout day (5 % level)."
    )


def _iso(ranking: pl.DataFrame) -> str | None:
    """Return the as-of of the cycle that a ranking comes from."""
    return ranking["as_of"][0].isoformat() if ranking.height else None


def _cycle(data: ReportData) -> str:
    ran = {stage.name for stage in data.stages if stage.state == "done"}
    if any(name.startswith("strategy") for name in ran):
        return "strategy_day"
    return "ml_day" if ran else "no_cycle"


def _strategy(row: Json) -> Json:
    keys = (
        "rank", "name", "version", "status", "score", "score_win_rate", "score_avg_pnl", "score_sharpe",
        "score_drawdown", "trades", "win_rate", "avg_pnl_pct", "total_pnl_pct", "sharpe", "sharpe_se", "max_drawdown",
        "profit_factor",        "exposure", "turnover", "fees_pct", "slippage_pct", "funding_pct",
        "psr", "dsr", "supported", "timing_p",
        "worst_pnl_pct", "best_pnl_pct", "ambiguous", "unresolved", "break_even_slippage", "break_even_fee",
        "hold_pnl_pct", "alpha", "alpha_se", "beta", "volume_share_largest", "volume_warning",
    )  # fmt: skip
    return {key: _plain(row.get(key)) for key in keys}


def _model(row: Json) -> Json:
    keys = (
        "rank", "name", "version", "status", "model_type", "timeframe", "score", "trades", "accuracy",
        "baseline_accuracy", "log_loss", "baseline_log_loss", "log_loss_gain",
        "log_loss_gain_low", "log_loss_gain_high", "better", "f1", "win_rate", "avg_pnl_pct", "sharpe", "max_drawdown",
    )  # fmt: skip
    return {key: _plain(row.get(key)) for key in keys}


def _trained(row: Json) -> Json:
    return {
        "name": row["model_name"],
        "type": row["model_type"],
        "timeframe": row["timeframe"],
        "features": len(row["features_used"].split(",")) if row["features_used"] else 0,
        "accuracy": _plain(row["accuracy"]),
        "baseline_accuracy": _plain(row["baseline_accuracy"]),
        "log_loss": _plain(row["log_loss"]),
        "baseline_log_loss": _plain(row["baseline_log_loss"]),
    }


def _ensemble(row: Json) -> Json:
    """Return one ensemble that was tried; `models` names its members."""
    keys = (
        "rank", "status", "timeframe", "accuracy", "baseline_accuracy", "log_loss", "baseline_log_loss", "better", "f1",
        "backtest_sharpe", "score", "total_trades",
    )  # fmt: skip
    told = {"name": row["ensemble_name"], "models": json.loads(row["members"]), "method": row["combination_method"]}
    return {**told, **{key: _plain(row[key]) for key in keys}}


def _rows(frame: pl.DataFrame) -> list[Json]:
    return [{key: _plain(value) for key, value in row.items()} for row in frame.iter_rows(named=True)]


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: floats to ten significant digits, times in ISO form, no NaN."""
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _percent(value: float | None) -> str:
    return "nothing" if value is None else f"{value:+.2f} %"
