"""The section on backtest and forward: performance expected at activation, realised since, and drift tests.

Belongs here: showing the forward ledger and drift tests. Does not belong here: the tests themselves.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import polars as pl
from markupsafe import Markup

from backtester.statistics.drift import LEAST_DAYS, LEAST_EFFECT, LEAST_TRADES, Decision
from blofin_assets.reporting import pictures
from blofin_assets.reporting.document import Count, Document, Number, Part, Share, Time, Under, stored_as
from blofin_assets.reporting.page.tables import Column, Table, columns_of
from blofin_assets.reporting.section import Point, ReportData, Rule, Section, nothing_more
from blofin_assets.shared.json_values import plain
from blofin_assets.shared.partitions import DAY
from blofin_assets.shared.vocabulary import ForwardState, Kind

_DAYS: Final = f"of more than {LEAST_DAYS:.0f} forward days"
_TRADES: Final = f"of at least {LEAST_TRADES} closed trades"
_MAIN_METRIC: Final = {"strategy": "net_return", "ensemble": "net_return", "model": "log_loss"}
_WAITS: Final = "insufficient"
_DRIFT: Final = "research.drift_tests"
_MOST_TESTS: Final = 30
"""Number of drift tests in the plot, the most significant first; the table has all."""
_MOST_NAMED: Final = 4
"""Number of drift tests that the review names."""


class Live(Part):
    """Performance of one strategy or model since activation."""

    state: Literal["not yet", "insufficient", "steady", "drift", "lost"]
    detail: str
    days: Number
    trades: int | None
    total_pnl_pct: Number


class Drift(Part):
    """One drift test."""

    kind: str
    name: str
    version: str
    metric: str
    expected: Annotated[Number, stored_as("promise")]
    expected_se: Annotated[Number, stored_as("promise_se")]
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


class Retune(Part):
    """What a failed drift check triggered."""

    kind: str
    name: str
    version: str
    reason: str | None
    state: str
    new_version: str | None
    detail: str | None


class Held(Part):
    """An open position of the forward ledger; no key of the report."""

    kind: str
    name: str
    symbol: str
    timeframe: str
    side: str
    entry_ts: Time
    entry_price: Number
    last_price: Number
    move_pct: Number


class BacktestVsLive(Part):
    """Expected against realised performance, by the newest drift tests up to the report.

    `drift_detected` is null before the first test, and if the tests are older than the report. `avg_accuracy` is of
    models' forward predictions.
    """

    state: str
    evaluation_date: Annotated[Time | None, stored_as("night")]
    drift_detected: bool | None
    avg_accuracy: Share
    tracked: Annotated[Count, stored_as("followed")]
    tested: Count
    insufficient: Count
    look_ahead: Count
    data_revisions: Count
    version_changes: Count
    tests: list[Drift]
    retunes: list[Retune]


class LivePart(Part):
    """Keys of the section in the report."""

    backtest_vs_live: Annotated[BacktestVsLive, Under("performance")]


def live_of(kind: str, name: str, version: str, data: ReportData) -> Live:
    """Return the performance of one strategy or model since activation, or why there is none yet.

    Parameters
    ----------
    kind : str
        strategy, model or ensemble.
    name, version : str
        Of a model or ensemble, any version of the name counts.
    data : ReportData
        Runs of the forward ledger and drift tests.

    Returns
    -------
    Live
        State, its reason in words, and the results so far.
    """
    tracked = _rows(data.forward.runs, kind, name, version)
    if not tracked:
        detail = _not_tracked(kind, name, data)
        return Live(state="not yet", detail=detail, days=None, trades=None, total_pnl_pct=None)
    run = tracked[-1]
    numbers = {"days": plain(run["days"]), "trades": run["trades"], "total_pnl_pct": plain(run["total_pnl_pct"])}
    if run["state"] == ForwardState.LOST:
        return Live(state="lost", detail=run["detail"] or "its code or files are gone", **numbers)
    tests = [row for row in _rows(data.forward.drift, kind, name, version) if row["metric"] == _MAIN_METRIC[kind]]
    if not tests:
        return Live(state="not yet", detail=f"not yet: {_progress(kind, run)}", **numbers)
    test = tests[-1]
    if test["decision"] == _WAITS:
        return Live(state="insufficient", detail=f"not yet: {_progress(kind, run)}", **numbers)
    old = "" if test["as_of"] == data.as_of else f"as of {test['as_of']:%Y-%m-%d %H:%M} UTC: "
    return Live(state=test["decision"], detail=f"{old}{test['reason'] or test['decision']}", **numbers)


def _rows(frame: pl.DataFrame, kind: str, name: str, version: str) -> list[dict[str, Any]]:
    """Return the rows of one version; for models, which are retrained each cycle, of all versions."""
    same = (pl.col("kind") == kind) & (pl.col("name") == name)
    rows = frame.filter(same if kind != Kind.STRATEGY else same & (pl.col("version") == version))
    return rows.sort("activated_at", maintain_order=True).to_dicts()


def _not_tracked(kind: str, name: str, data: ReportData) -> str:
    time = data.cycles.strategy_time if kind == Kind.STRATEGY else data.cycles.model_time
    if data.forward.runs.is_empty():
        return f"not yet: 0 {_DAYS}, the forward ledger has no rows so far"
    if time is not None and time > data.as_of - DAY:
        return f"not yet: 0 {_DAYS}, {name} is tracked from this cycle on if it is active"
    return f"{name} is not tracked, because it is not active"


def _progress(kind: str, run: dict[str, Any]) -> str:
    days = f"{run['days'] or 0:.1f} {_DAYS}"
    return days if kind == Kind.MODEL else f"{days}, {run['trades'] or 0} {_TRADES}"


def _build(data: ReportData, _: None) -> LivePart:
    """Return the newest drift tests; `drift_detected` only if they are of the report's as-of."""
    runs, drift = data.forward.runs, data.forward.drift
    evaluation_date: datetime | None = drift["as_of"].max()  # type: ignore[assignment]
    decided = drift.filter(pl.col("decision") != _WAITS)
    current = decided.filter(pl.col("as_of") == data.as_of)
    accuracy = drift.filter(pl.col("metric") == "accuracy")["forward"].mean()
    part = BacktestVsLive(
        state=_state(runs, decided, evaluation_date, data.as_of),
        evaluation_date=plain(evaluation_date),
        drift_detected=bool((current["decision"] == Decision.DRIFT).any()) if current.height else None,
        avg_accuracy=plain(accuracy),
        tracked=runs.height,
        tested=decided.height,
        insufficient=drift.height - decided.height,
        look_ahead=int(runs["look_ahead"].sum()),
        data_revisions=int(runs["data_revisions"].sum()),
        version_changes=int(runs["version_changes"].sum()),
        tests=[Drift.of(row) for row in drift.iter_rows(named=True)],
        retunes=[Retune.of(row) for row in data.forward.retunes.iter_rows(named=True)],
    )
    return LivePart(backtest_vs_live=part)


def _state(runs: pl.DataFrame, decided: pl.DataFrame, evaluation_date: datetime | None, as_of: datetime) -> str:
    if runs.is_empty():
        return "not run"
    if evaluation_date is not None and evaluation_date != as_of:
        return f"not tested this night; shown as of {evaluation_date:%Y-%m-%d %H:%M} UTC"
    if decided.is_empty():
        longest = float(runs["days"].max() or 0.0)  # type: ignore[arg-type]
        return f"not yet: the longest has {longest:.1f} {_DAYS}"
    return f"{decided.height} tested"


def _nothing(_: ReportData) -> LivePart:
    return LivePart(
        backtest_vs_live=BacktestVsLive(
            state="could not be made", evaluation_date=None, drift_detected=None, avg_accuracy=None, tracked=0,
            tested=0, insufficient=0, look_ahead=0, data_revisions=0, version_changes=0, tests=[], retunes=[],
        )
    )  # fmt: skip


_TESTS: Final = (
    Column("what", "name"),
    Column("metric", "metric", "text", f"{_DRIFT}.metric"),
    *columns_of(
        _DRIFT, ("expected", "expected", "sig"), ("forward", "forward", "sig"), ("shortfall", "difference", "sig"),
        ("from", "low", "sig"), ("to", "high", "sig"), ("effect", "effect", "n2"), ("p", "p", "n3"),
        ("q", "q", "n3"), ("detectable", "minimum_detectable", "sig"), ("days", "days", "n1"),
        ("trades", "trades", "int"),
    ),
    Column("decision", "decision", "text", f"{_DRIFT}.decision"),
    Column("why", "reason"),
)  # fmt: skip
_WAITING: Final = (
    Column("what", "name"),
    Column("metric", "metric", "text", f"{_DRIFT}.metric"),
    *columns_of(_DRIFT, ("days", "days", "n1"), ("trades", "trades", "int")),
    Column("why", "reason"),
)
_RETUNES: Final = (
    Column("what", "name"), Column("kind", "kind"), Column("state", "state"), Column("new version", "new_version"),
    Column("because", "reason"), Column("detail", "detail"),
)  # fmt: skip

_POSITIONS: Final = (
    Column("what", "name"), Column("kind", "kind"), Column("symbol", "symbol"), Column("bars", "timeframe"),
    *columns_of(
        "research.forward_entries", ("side", "side", "text"), ("entered", "entry_ts", "time"),
        ("at", "entry_price", "sig"),
    ),
    Column("last price", "last_price", "sig"),
    Column("move", "move_pct", "pct", "report.move"),
)  # fmt: skip


def _view(part: LivePart, data: ReportData) -> Mapping[str, object]:
    live = part.backtest_vs_live
    decided = [test for test in live.tests if test.decision != _WAITS]
    return {
        "tests": Table(_TESTS, decided),
        "waiting": Table(_WAITING, [test for test in live.tests if test.decision == _WAITS]),
        "retunes": Table(_RETUNES, live.retunes),
        "positions": Table(_POSITIONS, [Held.of(row) for row in data.forward.positions.iter_rows(named=True)]),
        "picture": _picture(decided),
        "least_days": f"{LEAST_DAYS:.0f}",
        "least_trades": LEAST_TRADES,
        "least_effect": f"{100 * LEAST_EFFECT:.0f}",
    }


def _picture(decided: list[Drift]) -> Markup:
    # an interval may have no end
    tests = [test for test in decided if None not in (test.expected, test.expected_se, test.low, test.high)]
    if not tests:
        return Markup()
    drawn = tests[:_MOST_TESTS]
    drifting = sum(test.decision == "drift" for test in tests)
    return pictures.inline(
        pictures.drift_figure(
            pl.DataFrame([test.model_dump(by_alias=False) for test in drawn], infer_schema_length=None)
        ),
        "drift",
        f"Shortfall of {len(drawn)} results relative to expected performance; {drifting} of {len(tests)} drift",
    )


def _ledger(report: Document) -> Iterator[Point]:
    live = report.part(LivePart).backtest_vs_live
    if live.look_ahead:
        yield Point(
            "error",
            "forward ledger",
            f"{live.look_ahead} differences between ledger and replay can only be explained by look-ahead",
            "Find the cause (research.forward_validation, attribution look-ahead) before using any result",
        )


def _drift(report: Document) -> Iterator[Point]:
    live = report.part(LivePart).backtest_vs_live
    # older tests were reported on their own day
    drifted = [test for test in live.tests if live.drift_detected and test.decision == "drift"]
    for test in sorted(drifted, key=lambda test: -(test.effect or 0.0))[:_MOST_NAMED]:
        what = "net return per hour" if test.metric == "net_return" else test.metric.replace("_", " ")
        yield Point(
            "error",
            test.name,
            f"{test.name} drifts: {what} {test.forward:.3g} where {test.expected:.3g} was expected "
            f"(q = {test.q:.2g}, {test.days:.0f} days)",
            f"{'Re-tune' if test.kind == 'strategy' else 'Retrain'} {test.name}, challenger against champion",
        )


SECTION: Final = Section(
    name="live",
    heading="Backtest and forward",
    link="Backtest and forward",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.drift_tests WHERE as_of <= {as_of} ORDER BY as_of DESC, decision, q",
    part=LivePart,
    collect=nothing_more,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(10, _ledger), Rule(20, _drift)),
)
