"""The page's tables and lists of figures: which number, under which name, in which format, defined where.

Belongs here: columns. Does not belong here: rows (`document`), looks (templates).
"""

from typing import Final, NamedTuple

_RESULTS: Final = "research.strategy_backtest_results"
_EVIDENCE: Final = "research.evidence"
_MODELS: Final = "ml.ml_model_results"
_ENSEMBLES: Final = "ml.ml_ensembles"
_RANKING: Final = "research.ranking_history"
_DRIFT: Final = "research.drift"
_RUNS: Final = "research.designer_runs"


class Column(NamedTuple):
    """A column: its header, the key in the row, its format, and where it is defined ('' for plain words)."""

    header: str
    key: str
    form: str = "text"
    source: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it stands right-aligned."""
        return self.form not in ("text", "yes")


def _of(table: str, *columns: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(header, key, form, f"{table}.{key}") for header, key, form in columns)


TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "designers": (
        Column("who", "designer", "text", f"{_RUNS}.designer"),
        Column("stage", "stage"),
        Column("state", "state", "text", f"{_RUNS}.state"),
        *_of(_RUNS, ("budget", "budget", "int"), ("used", "evaluations", "int"), ("proposals", "proposals", "int")),
        Column("finalists", "finalists", "int"),
        Column("accepted", "accepted", "int", "research.exam_outcomes.accepted"),
        Column("mean score", "mean_score", "n1", "report.exam_score"),
        Column("cost", "cost_usd", "usd", f"{_RUNS}.cost_usd"),
        Column("model", "model"),
        Column("detail", "detail"),
    ),
    "designed": (
        Column("strategy", "name"),
        Column("by", "designer"),
        Column("exam score", "backtest_score", "n1", "report.exam_score"),
        Column("search score", "search_score", "n1", "research.proposals.search_score"),
        Column("trades", "trades", "int", "research.exam_outcomes.trades"),
        Column("DSR", "dsr", "share", f"{_EVIDENCE}.dsr"),
        Column("accepted", "accepted", "yes", "research.exam_outcomes.accepted"),
        Column("in place of", "replaces"),
        Column("cost", "cost_usd", "usd", "research.proposals.cost_usd"),
        Column("idea", "reason"),
        Column("outcome", "outcome"),
    ),
    "tuned": (
        Column("strategy", "name"),
        Column("by", "designer"),
        Column("changed", "changed"),
        Column("exam score", "backtest_score", "n1", "report.exam_score"),
        Column("parent", "parent_score", "n1", "research.exam_outcomes.parent_score"),
        Column("gain", "improvement_points", "n1", "report.improvement"),
        Column("attempt", "attempt", "int", "research.proposals.attempt"),
        Column("accepted", "accepted", "yes", "research.exam_outcomes.accepted"),
        Column("outcome", "outcome"),
    ),
    "archived": (Column("strategy", "name"), Column("since", "at", "time"), Column("why", "reason")),
    "refused": (
        Column("proposal", "name"), Column("by", "designer"), Column("stage", "stage"), Column("why", "refusal"),
    ),
    "ranking": (
        Column("strategy", "name"),
        *_of(_RANKING, ("rank", "rank", "int")),
        Column("before", "previous_rank", "int", "report.previous_rank"),
        *_of(_RANKING, ("score", "score", "n1"), ("trades", "trades", "int")),
        Column("return", "total_pnl_pct", "pct", f"{_RESULTS}.total_pnl_pct"),
        Column("DSR", "dsr", "share", f"{_EVIDENCE}.dsr"),
        Column("status", "status", "text", f"{_RANKING}.status"),
        Column("author", "author", "text", "report.author"),
        Column("why", "reason"),
    ),
    "lanes": (
        Column("strategy", "strategy_name"),
        Column("symbol", "symbol"),
        Column("bars", "timeframe"),
        *_of(
            _RESULTS, ("trades", "total_trades", "int"), ("win rate", "win_rate", "share0"),
            ("avg PnL", "avg_pnl_pct", "pct3"), ("return", "total_pnl_pct", "pct"), ("max DD", "max_drawdown", "share"),
        ),
        Column("Sharpe", "sharpe", "n1", f"{_RESULTS}.sharpe"),
    ),
    "tests": (
        Column("what", "name"),
        Column("metric", "metric", "text", f"{_DRIFT}.metric"),
        *_of(
            _DRIFT, ("promise", "promise", "sig"), ("forward", "forward", "sig"), ("worse by", "difference", "sig"),
            ("from", "low", "sig"), ("to", "high", "sig"), ("effect", "effect", "n2"), ("p", "p", "n3"),
            ("q", "q", "n3"), ("detectable", "minimum_detectable", "sig"), ("days", "days", "n1"),
            ("trades", "trades", "int"),
        ),
        Column("decision", "decision", "text", f"{_DRIFT}.decision"),
        Column("why", "reason"),
    ),
    "waiting": (
        Column("what", "name"),
        Column("metric", "metric", "text", f"{_DRIFT}.metric"),
        *_of(_DRIFT, ("days", "days", "n1"), ("trades", "trades", "int")),
        Column("why", "reason"),
    ),
    "retunes": (
        Column("what", "name"), Column("kind", "kind"), Column("state", "state"), Column("new version", "new_version"),
        Column("because", "reason"), Column("detail", "detail"),
    ),
    "models": (
        Column("model", "name"),
        *_of(_RANKING, ("rank", "rank", "int")),
        *_of(
            _MODELS, ("accuracy", "accuracy", "share"), ("guessing", "baseline_accuracy", "share"),
            ("log-loss", "log_loss", "n4"), ("guessing", "baseline_log_loss", "n4"),
        ),
        Column("gain", "gain", "text", "report.gain"),
        *_of(
            _MODELS, ("better", "better", "yes"), ("calibration", "calibration_error", "n3"), ("F1", "f1", "n2"),
            ("score", "score", "n1"),
        ),
        Column("trades", "trades", "int", f"{_RANKING}.trades"),
        *_of(_MODELS, ("avg PnL", "avg_pnl_pct", "pct3"), ("gate worth", "ungated_difference", "n1")),
        Column("forward", "live", "text", "report.live"),
    ),
    "trained": (
        Column("model", "name"),
        Column("inputs", "features", "int", f"{_MODELS}.features_used"),
        *_of(
            _MODELS, ("accuracy", "accuracy", "share"), ("guessing", "baseline_accuracy", "share"),
            ("log-loss", "log_loss", "n4"), ("guessing", "baseline_log_loss", "n4"), ("better", "better", "yes"),
        ),
        Column("status", "status"),
    ),
    "ensembles": (
        Column("ensemble", "name"),
        *_of(_ENSEMBLES, ("rank", "rank", "int")),
        Column("method", "method", "text", f"{_ENSEMBLES}.combination_method"),
        Column("models", "models", "text", f"{_ENSEMBLES}.members"),
        *_of(
            _ENSEMBLES, ("accuracy", "accuracy", "share"), ("guessing", "baseline_accuracy", "share"),
            ("log-loss", "log_loss", "n4"), ("guessing", "baseline_log_loss", "n4"),
        ),
        Column("gain", "gain", "text", "report.gain"),
        *_of(
            _ENSEMBLES, ("better", "better", "yes"), ("F1", "f1", "n2"), ("score", "score", "n1"),
            ("trades", "total_trades", "int"), ("status", "status", "text"),
        ),
    ),
    "model_tuning": (
        Column("model", "name"),
        Column("action", "action", "text", "ml.model_tuning.action"),
        Column("decision", "decision", "text", "ml.model_tuning.decision"),
        Column("tries", "trials", "int", "ml.model_tuning.trials"),
        Column("gain", "gain", "n4", "ml.model_tuning.gain"),
        Column("why", "reason"),
    ),
    "coverage": (
        Column("symbol", "symbol"),
        Column("bars", "timeframe"),
        Column("from", "first_day"),
        Column("through", "through", "time"),
        Column("stored", "bars", "int"),
        Column("expected", "expected", "int", "report.expected"),
        Column("present", "present", "share2", "report.present"),
        Column("last 7 days", "recent", "share2", "report.recent"),
        Column("missing", "missing", "int", "report.missing"),
        Column("flagged", "flagged", "int", "report.flagged"),
    ),
    "gaps": (
        Column("symbol", "symbol"), Column("from", "from_ts", "time"), Column("to", "to_ts", "time"),
        Column("bars", "bars", "int", "market.gaps.bars"), Column("kind", "kind", "text", "market.gaps.kind"),
    ),
    "closest": (
        Column("strategy", "first"), Column("and", "second"),
        Column("correlation", "correlation", "n2", "report.correlation"),
    ),
    "calls": (
        Column("as", "role"), Column("model", "model"), Column("calls", "calls", "int"),
        Column("answered", "answered", "int", "report.answered"),
        Column("outcomes", "outcomes", "text", "research.llm_calls.outcome"),
        Column("cost", "cost_usd", "usd", "research.llm_calls.cost_usd"),
    ),
    "stages": (Column("stage", "name"), Column("state", "state"), Column("detail", "detail")),
}  # fmt: skip
"""Columns of each table."""

FIGURES: Final[tuple[Column, ...]] = (
    *_of(_RESULTS, ("return", "total_pnl_pct", "pct"), ("score", "score", "n1"), ("trades", "total_trades", "int")),
    *_of(_RESULTS, ("win rate", "win_rate", "share"), ("average PnL", "avg_pnl_pct", "pct3")),
    Column("Sharpe", "sharpe_range", "text", "report.sharpe"),
    *_of(_RESULTS, ("max drawdown", "max_drawdown", "share")),
    *_of(_EVIDENCE, ("deflated Sharpe", "dsr", "share"), ("probabilistic", "psr", "share")),
    *_of(_EVIDENCE, ("random timing p", "timing_p", "n3"), ("break-even slippage", "break_even_slippage", "bp")),
    Column("worst to best", "range", "text", "report.range"),
    *_of(_EVIDENCE, ("buy and hold", "hold_pnl_pct", "pct"), ("beta", "beta", "n2")),
    Column("alpha a year", "alpha_range", "text", "report.alpha"),
    *_of(_RESULTS, ("fees", "fees_pct", "pct"), ("slippage", "slippage_pct", "pct"), ("funding", "funding_pct", "pct")),
    *_of(_RESULTS, ("exposure", "exposure", "share0"), ("turnover", "turnover", "n1")),
    *_of(_EVIDENCE, ("largest share of a bar", "volume_share_largest", "share2")),
    *_of(
        _RESULTS, ("40·win rate", "score_win_rate", "n1"), ("30·avg PnL", "score_avg_pnl", "n1"),
        ("20·Sharpe", "score_sharpe", "n1"), ("−10·drawdown", "score_drawdown", "n1"),
    ),
)  # fmt: skip
"""What is listed for each of the best strategies."""

LEADING: Final = 8
"""How many of `FIGURES` are seen at once; the others are a click away."""
