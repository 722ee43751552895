"""The report's form: every key with its type, checked when a report is written.

Belongs here: names and types. Does not belong here: what the values are. What a number means and its unit stand in
the comments of the tables' columns that it comes from; docs/REPORT_GUIDE.md tells it for people.

The keys of the older system's report (`report_date` to `ai_next_steps`) keep their meaning; all others are more.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from blofin_assets.reporting.document.plain import plain

Json = dict[str, Any]
Number = Annotated[float, Field(allow_inf_nan=False)] | None
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)] | None
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def of(cls, row: Mapping[str, Any], **given: Any) -> Self:
        """Return the part with the fields of a row that it has, and those given."""
        return cls(
            **{name: plain(row[name]) for name in cls.model_fields if name in row and name not in given}, **given
        )


class Designed(_Part):
    """A strategy that was designed and took the exam."""

    name: str
    version: str
    designer: str
    reason: str | None
    fails_when: str | None
    backtest_score: Number
    trades: int | None
    sharpe: Number
    dsr: Share
    supported: bool | None
    search_score: Number
    accepted: bool | None
    replaces: str | None
    outcome: str | None
    evaluations: int | None
    cost_usd: Number


class Tuned(_Part):
    """A set of parameters that was tuned and took the exam; `improvement` is in percent of the parent's score."""

    name: str
    version: str
    designer: str
    params_changed: dict[str, str]
    reason: str | None
    improvement: Number
    improvement_points: Number
    backtest_score: Number
    parent_score: Number
    attempt: int | None
    accepted: bool | None
    outcome: str | None
    evaluations: int | None
    cost_usd: Number


class Archived(_Part):
    """A strategy that is active no longer."""

    name: str
    version: str
    reason: str | None
    at: Time


class Refused(_Part):
    """A proposal that never took the exam."""

    stage: str
    designer: str
    name: str | None
    reason: str | None
    refusal: str | None


class Designer(_Part):
    """One author in one stage of the day's cycle."""

    stage: str
    designer: str
    state: str
    detail: str | None
    budget: int | None
    evaluations: int | None
    proposals: int | None
    finalists: int | None
    accepted: int | None
    supported: int | None
    mean_score: Number
    best_score: Number
    model: str | None
    cost_usd: Number


class StrategyChanges(_Part):
    """What became of strategies within the day; `waiting` proposals were sound but took no exam."""

    designed: list[Designed]
    tuned: list[Tuned]
    archived: list[Archived]
    refused: list[Refused]
    waiting: Count
    designers: list[Designer]


class Trained(_Part):
    """A model that was trained within the day."""

    name: str
    type: str
    timeframe: str
    features: Count
    accuracy: Share
    baseline_accuracy: Share
    log_loss: Number
    baseline_log_loss: Number
    better: bool | None
    status: str | None


class Ensemble(_Part):
    """An ensemble that was tried within the day; `models` names its members."""

    rank: int | None
    name: str
    models: list[str]
    method: str
    weights: list[float] | None
    status: str | None
    timeframe: str
    f1: Share
    accuracy: Share
    baseline_accuracy: Share
    log_loss: Number
    baseline_log_loss: Number
    log_loss_gain: Number
    log_loss_gain_low: Number
    log_loss_gain_high: Number
    better: bool | None
    backtest_sharpe: Number
    score: Number
    total_trades: int | None


class ModelTuning(_Part):
    """What was done about a model that drifts."""

    name: str
    action: str
    decision: str
    reason: str
    trials: Count
    champion_log_loss: Number
    challenger_log_loss: Number
    gain: Number
    gain_low: Number


class MlChanges(_Part):
    """What became of models within the day."""

    trained: list[Trained]
    ensembles_tested: list[Ensemble]
    tuned: list[ModelTuning]


class Live(_Part):
    """What came of one strategy or model since it became active."""

    state: Literal["not yet", "insufficient", "steady", "drift", "lost"]
    detail: str
    days: Number
    trades: int | None
    total_pnl_pct: Number


class TopStrategy(_Part):
    """One of the best strategies with all that stands beside its score."""

    rank: int | None
    previous_rank: int | None
    name: str
    version: str
    status: str | None
    author: str | None
    source: str | None
    score: Number
    score_win_rate: Number
    score_avg_pnl: Number
    score_sharpe: Number
    score_drawdown: Number
    trades: int | None
    win_rate: Share
    avg_pnl_pct: Number
    total_pnl_pct: Number
    sharpe: Number
    sharpe_se: Number
    sortino: Number
    max_drawdown: Share
    profit_factor: Number
    exposure: Number
    turnover: Number
    fees_pct: Number
    slippage_pct: Number
    funding_pct: Number
    psr: Share
    dsr: Share
    supported: bool | None
    timing_p: Share
    worst_pnl_pct: Number
    best_pnl_pct: Number
    ambiguous: int | None
    unresolved: int | None
    break_even_slippage: Number
    break_even_fee: Number
    hold_pnl_pct: Number
    alpha: Number
    alpha_se: Number
    beta: Number
    volume_share_median: Number
    volume_share_largest: Number
    volume_warning: str | None
    live: Live


class TopModel(_Part):
    """One of the best models, as predictor and as strategy."""

    rank: int | None
    previous_rank: int | None
    name: str
    version: str
    status: str | None
    model_type: str | None
    timeframe: str | None
    event: str | None
    score: Number
    trades: int | None
    accuracy: Share
    baseline_accuracy: Share
    log_loss: Number
    baseline_log_loss: Number
    log_loss_gain: Number
    log_loss_gain_low: Number
    log_loss_gain_high: Number
    better: bool | None
    calibration_error: Number
    precision: Share
    recall: Share
    f1: Share
    r2: Number
    mae: Number
    baseline_mae: Number
    value_unit: str | None
    ungated_difference: Number
    win_rate: Share
    avg_pnl_pct: Number
    sharpe: Number
    max_drawdown: Share
    live: Live


class Ranked(_Part):
    """One line of the whole ranking; `reason` says why it has its status."""

    rank: int | None
    previous_rank: int | None
    name: str
    version: str
    status: str | None
    author: str | None
    score: Number
    trades: int | None
    total_pnl_pct: Number
    dsr: Share
    reason: str | None


class Drift(_Part):
    """One test of one night."""

    kind: str
    name: str
    version: str
    metric: str
    promise: Number
    promise_se: Number
    forward: Number
    difference: Number
    effect: Number
    low: Number
    high: Number
    p: Share
    q: Share
    trades: int | None
    rows: int | None
    days: Number
    minimum_detectable: Number
    decision: str
    reason: str | None


class Retune(_Part):
    """What a failed drift check set off."""

    kind: str
    name: str
    version: str
    reason: str | None
    state: str
    new_version: str | None
    detail: str | None


class BacktestVsLive(_Part):
    """What came of promises, by the newest tests up to the report, which are of `night`.

    `drift_detected` is null while nothing has been tested, and where `night` is not the report's own (its `as_of`).
    `avg_accuracy` is of models' forward predictions.
    """

    state: str
    night: Time | None
    drift_detected: bool | None
    avg_accuracy: Share
    followed: Count
    tested: Count
    insufficient: Count
    look_ahead: Count
    data_revisions: Count
    version_changes: Count
    tests: list[Drift]
    retunes: list[Retune]


class Performance(_Part):
    """How the best did."""

    top_5_strategies: list[TopStrategy]
    top_5_models: list[TopModel]
    backtest_vs_live: BacktestVsLive


class Pair(_Part):
    """Two strategies and the correlation of their hourly returns."""

    first: str
    second: str
    correlation: Number


class ActiveSet(_Part):
    """The active strategies held together with equal capital."""

    strategies: Count
    total_pnl_pct: Number
    max_drawdown: Share
    sharpe: Number
    median_correlation: Number
    closest: list[Pair]


class Overfitting(_Part):
    """How many tries the best was chosen from, and how often such a choice disappoints."""

    trials: int | None
    search_trials: int | None
    trials_today: dict[str, int]
    pbo: Share
    pbo_columns: int | None
    supported: int | None


class Lane(_Part):
    """Stored and missing bars of one lane."""

    symbol: str
    timeframe: str
    first_day: Day
    through: Time
    bars: Count
    expected: Count
    missing: int
    recent_bars: Count
    recent_expected: Count
    flagged: int | None


class Gap(_Part):
    """A stretch without bars."""

    symbol: str
    from_ts: Time
    to_ts: Time
    bars: Count
    kind: str


class Market(_Part):
    """Where the numbers come from."""

    source: str
    synthetic: bool
    symbols: list[str]
    seed: int | None
    coverage: list[Lane]
    open_gaps: Count
    gaps: list[Gap]
    revised: Count


class Calls(_Part):
    """Calls of one role to one model."""

    role: str
    model: str
    calls: Count
    answered: Count
    outcomes: str
    cost_usd: Number


class Claude(_Part):
    """What Claude was asked for the day and what it cost, US dollars."""

    cost_usd: float
    calls: list[Calls]


class Finding(_Part):
    """Something that the review noticed."""

    severity: Literal["info", "warning", "error"]
    about: str
    text: str


class NextStep(_Part):
    """What to do next; no design before `usable_from` may read it."""

    text: str
    usable_from: Time


class AiReview(_Part):
    """The review of the day."""

    author: Literal["claude", "rules"]
    model: str | None
    detail: str | None
    verdict: str
    findings: list[Finding]
    next_steps: list[NextStep]
    usable_from: Time
    cost_usd: Number


class SummaryBy(_Part):
    """Who wrote the summary, and why not Claude."""

    author: Literal["claude", "rules"]
    model: str | None
    detail: str | None


class StageState(_Part):
    """Whether a stage ran."""

    name: str
    state: Literal["done", "partial", "not run"]
    detail: str


class Report(_Part):
    """A whole report; `provenance` tells of its making and is the only part that differs when it is made again."""

    report_date: Day
    as_of: Time
    cycle: Literal["strategy_day", "ml_day", "no_cycle"]
    cycles: dict[str, Time | None]
    summary: str
    summary_by: SummaryBy
    market: Market
    strategy_changes: StrategyChanges
    ml_changes: MlChanges
    overfitting: Overfitting
    performance: Performance
    ranking: list[Ranked]
    active_set: ActiveSet | None
    claude: Claude
    ai_next_steps: str
    ai_review: AiReview | None
    stages: list[StageState]
    provenance: dict[str, Any] | None = None


def checked(document: Json) -> Json:
    """Return a report as it may be written.

    Raises
    ------
    ValueError
        If it has not the form that its readers rely on.
    """
    Report.model_validate(document)
    return document
