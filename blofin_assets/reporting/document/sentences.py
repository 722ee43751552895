"""What a reader must know, in three sentences made by rules.

Belongs here: the summary where Claude writes none. Does not belong here: judging (`blofin_assets.reporting.rules`).
"""

import polars as pl

from blofin_assets.reporting.collect import ReportData


def rule_summary(data: ReportData, strategies: pl.DataFrame) -> str:
    """Return the day in three sentences: what market, what the strategies did, what the models knew."""
    kind = "synthetic" if data.synthetic else "real"
    count = "1 symbol" if len(data.symbols) == 1 else f"{len(data.symbols)} symbols"
    first = f"{count} of the {data.market} market ({kind}), as of {data.as_of:%Y-%m-%d %H:%M} UTC."
    return " ".join([first, _strategies(strategies), _models(data)])


def _strategies(table: pl.DataFrame) -> str:
    scored = table.filter(pl.col("score").is_not_null())
    if scored.is_empty():
        return "No strategy has been scored yet."
    best = scored.row(0, named=True)
    earned = scored.filter(pl.col("total_pnl_pct") > 0).height
    supported = scored.filter(pl.col("supported").fill_null(value=False)).height
    idle = table.height - scored.height
    silent = f" ({idle} never traded)" if idle else ""
    return (
        f"Of {table.height} strategies{silent} {earned} earned money after costs on their last 7 days, the first, "
        f"{best['name']}, {_percent(best['total_pnl_pct'])} in {best['trades']} trades; given the number of tries "
        f"{supported or 'none'} of them {'is' if supported < 2 else 'are'} more than luck would show."  # noqa: PLR2004
    )


def _models(data: ReportData) -> str:
    models = data.cycles.models
    if models.is_empty():
        return "No model has been trained yet."
    # Volatility clusters in any market, so that predicting it is no feat: directions are counted apart.
    gated = pl.col("model_type").is_in(["volatility", "risk"])
    counts = [
        (frame.height, frame.filter(pl.col("better").fill_null(value=False)).height)
        for frame in (models.filter(~gated), models.filter(gated))
    ]
    (directional, better), (others, calm) = counts
    return (
        f"Of {directional} models of direction {better or 'none'}, and of {others} of volatility and risk "
        f"{calm or 'none'}, beat their naive baseline on the holdout day (5 % level)."
    )


def _percent(value: float | None) -> str:
    return "nothing" if value is None else f"{value:+.2f} %"
