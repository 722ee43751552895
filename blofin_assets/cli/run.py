"""`blofin run` and `blofin report`: execute what is due, show progress, end with a table and a path.

Belongs here: the terminal side of a pass. Does not belong here: what is due (`plan`), how a step is executed
(`runner`).
"""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import dagster as dg
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blofin_assets.cli.costs import Costs, StageMeter
from blofin_assets.cli.documents import console, print_json
from blofin_assets.cli.session import Session, open_session, report_path
from blofin_assets.cli.stages import shown_stages
from blofin_assets.scheduling.plan import Plan, deep_steps, market_steps, plan
from blofin_assets.scheduling.runner import Outcome, execute
from blofin_assets.scheduling.runner import console as console_logger
from blofin_assets.shared.cadences import CADENCES, DEEP_HISTORY, IN_ORDER, MARKET_DATA, REPORT, Step
from blofin_assets.shared.cycle_events import superseded
from blofin_assets.shared.partitions import DAY
from blofin_assets.shared.vocabulary import CycleState
from blofin_resources.claude import load_models
from blofin_resources.errors import BlofinError
from blofin_resources.settings import Settings
from blofin_resources.texts import for_terminal

SKIPPED_BY: str = "catch-up"
"""`run_id` of the rows of abandoned steps."""

LOADING: Final = "loading"
"""Name in the table of costs of importing and building the definitions."""

SHOWN = 5
"""Number of rows of each kind in the final table."""


def run_due(as_of: datetime, *, wait: bool = False, as_json: bool = False) -> Costs:
    """Execute everything that is due at `as_of`; print what it took, the ranking and the path of the newest report.

    Parameters
    ----------
    as_of : datetime
        Nothing later is due (UTC).
    wait : bool
        Wait for the end of a block by the exchange, as with BLOFIN_API_WAIT.
    as_json : bool
        Print one document in place of tables.

    Returns
    -------
    Costs
        What each stage took; empty if nothing was due.

    Raises
    ------
    BlofinError
        If a cycle of that time can no longer run, before anything is executed, or if a step fails.
    """
    _check_inputs(Settings())
    session = open_session()
    if wait:
        session = replace(session, settings=session.settings.model_copy(update={"api_wait": True}))
    due = plan(as_of, session.settings.start_for(as_of), session.progress)
    if due.passed:
        step, newest = due.passed[0]
        raise BlofinError(superseded(step.job, step.as_of, newest, as_of))
    session.progress.mark(due.skipped, CycleState.SKIPPED, SKIPPED_BY)
    out = console(as_json=as_json)
    if due.skipped:
        out.print(f"skipped after downtime: {', '.join(step.run_key for step in due.skipped)}")
    if not due.steps:
        out.print(f"nothing is due as of {as_of:%Y-%m-%d %H:%M} UTC")
    costs = Costs()
    errors = _execute(due, session, out, costs)
    ranked, report = _ranking(session, as_of), _newest_report(session, as_of)
    if as_json:
        stages = [{"stage": job, **vars(cost)} for job, cost in costs.stages.items()]
        told = {"skipped": [step.run_key for step in due.skipped], "stages": stages, "errors": errors}
        print_json({"as_of": as_of, "market": session.settings.market, **told, "ranking": ranked, "report": report})
    else:
        if costs.stages:
            out.print(costs.table())
        _show_ranking(ranked, f"Ranking as of {as_of:%Y-%m-%d %H:%M} UTC ({session.settings.market} market)", out)
        if report is not None:
            out.print(f"report: {report}", markup=False, soft_wrap=True)
    _complain(errors)
    return costs


def _check_inputs(settings: Settings) -> None:
    """Refuse at once what stages would refuse after minutes: an archive that is not there, models that do not fit."""
    if settings.market == "archive" and settings.archive is not None and not settings.archive.is_dir():
        what = "is a file" if settings.archive.exists() else "does not exist"
        msg = f"BLOFIN_ARCHIVE: {settings.archive} {what}; give a folder of <SYMBOL>_1m.parquet or .csv files"
        raise BlofinError(msg)
    load_models(settings.ai_models)


def bring_market(session: Session, first: datetime, until: datetime, out: Console) -> None:
    """Store the market between two times, as far as it is not stored.

    Parameters
    ----------
    session : Session
        Open warehouse.
    first, until : datetime
        The times (UTC); `BLOFIN_START` wins over the first.
    out : Console
        Where progress is shown.

    Raises
    ------
    BlofinError
        If the market's source does not answer or a check fails.
    """
    _check_inputs(session.settings)
    start = session.settings.start or first.date()
    steps = (*market_steps(until, start, session.progress), *deep_steps(until, session.progress))
    _complain(_execute(Plan(steps), session, out, Costs()))


def make_report(day: date, *, show: bool = False, as_json: bool = False) -> None:
    """Rebuild the report of a day, print its summary and path.

    Parameters
    ----------
    day : date
        UTC.
    show : bool
        Open its page in a browser.
    as_json : bool
        Print the whole report as one document instead.

    Raises
    ------
    BlofinError
        If the day has not ended, or nothing is stored of it, or the report fails.
    """
    from blofin_assets.cli.report import open_page, summary_lines

    session = open_session()
    cadence = next(cadence for cadence in CADENCES if cadence.job == REPORT)
    as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
    if as_of > datetime.now(UTC):
        msg = f"{day} has not ended; its report is due at {as_of:%Y-%m-%dT%H:%MZ}"
        raise BlofinError(msg)
    first = session.warehouse.read("SELECT min(day) AS day FROM market.coverage")["day"][0]
    if first is not None and day < first:
        msg = f"{day} is before the stored history, which begins on {first}; choose a later day, or set BLOFIN_START"
        raise BlofinError(msg)
    out = console(as_json=as_json)
    _complain(_execute(Plan((cadence.step(as_of),)), session, out, Costs()))
    page = report_path(session.settings.warehouse, as_of)
    if as_json:
        print_json(json.loads(page.with_suffix(".json").read_text(encoding="utf-8")))
    else:
        for line in summary_lines(page.with_suffix(".json")):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
        out.print(f"\nreport: {page}", markup=False, soft_wrap=True)
    if show:
        open_page(page)


def _complain(errors: list[str]) -> None:
    if errors:
        raise BlofinError("; ".join(errors))


def _execute(due: Plan, session: Session, out: Console, costs: Costs) -> list[str]:
    """Run the steps one after the other and return the failures.

    Every cycle needs market data, so its failure ends the pass, except for deep history, which does not need it.
    After a failed cycle the others and the report still run, and the report states what did not run. Later keys of a
    cycle that runs in order wait for the next pass, until the failed one has used up its attempts. After a signal
    nothing further runs.
    """
    if not due.steps:
        return []  # the definitions take longer than all the rest of a pass that has nothing to do
    meter = StageMeter()

    def listen(event: str, name: str) -> None:
        if event == dg.DagsterEventType.STEP_START.value:
            meter.begin(name)
        elif event in (dg.DagsterEventType.STEP_SUCCESS.value, dg.DagsterEventType.STEP_FAILURE.value):
            meter.end(name)
            stages.advance()

    with costs.stage(LOADING):
        from blofin_assets.definitions import build_defs
        from blofin_assets.scheduling.conductor import give_up

        defs = build_defs(session.settings, console=console_logger(listen))
    errors: list[str] = []
    with shown_stages(out) as stages:
        held: set[str] = set()
        jobs = {step.job for step in due.steps}
        for step in due.steps:
            if step.job not in jobs:
                continue
            if step.job in held:
                errors.append(f"{_label(step)} waits for its predecessor; run: blofin run")
                continue
            job = defs.resolve_job_def(step.job)
            stages.begin(_label(step), len(job.graph.node_dict))
            with costs.stage(step.job) as meter:
                outcome = execute(step, job, session.instance)
            stages.end(failed=bool(outcome.errors))
            if outcome.errors:
                errors.append(_why(step, outcome))
                jobs = _left(jobs, step, outcome)
                if step.job in IN_ORDER and not give_up([step], session.progress, session.instance):
                    held.add(step.job)
    return errors


def _left(jobs: set[str], step: Step, outcome: Outcome) -> set[str]:
    """Return the jobs that may still run after a step that failed."""
    if outcome.interrupted:
        return set()
    return {DEEP_HISTORY} if step.job == MARKET_DATA else jobs


def _why(step: Step, outcome: Outcome) -> str:
    if outcome.interrupted:
        return f"{_label(step)} was interrupted; resume with: blofin run"
    return f"{_label(step)} failed: {'; '.join(outcome.errors)} (run {outcome.run_id[:8]})"


def _label(step: Step) -> str:
    keys = step.first_key if step.first_key == step.last_key else f"{step.first_key}...{step.last_key}"
    return f"{step.job} {keys}"


def _ranking(session: Session, as_of: datetime) -> pl.DataFrame:
    """Return the first ranks of each kind in its newest cycle as of `as_of`."""
    return session.warehouse.read(
        "SELECT kind, rank, name, score, trades, as_of FROM research.ranking_history WHERE as_of <= ? "
        "QUALIFY as_of = max(as_of) OVER (PARTITION BY kind) AND rank <= ? ORDER BY kind DESC, rank",
        [as_of, SHOWN],
    )


def _newest_report(session: Session, as_of: datetime) -> Path | None:
    """Return the path of the newest report as of `as_of`."""
    reports = [time for time in session.progress.succeeded(REPORT) if time <= as_of]
    return report_path(session.settings.warehouse, max(reports)) if reports else None


def _show_ranking(ranked: pl.DataFrame, title: str, out: Console) -> None:
    table = Table(title=title)
    for name in ("kind", "rank", "name", "score", "trades", "cycle"):
        table.add_column(name, justify="left" if name in ("kind", "name", "cycle") else "right")
    for kind, rank, name, score, trades, cycle in ranked.iter_rows():
        shown = "-" if score is None else f"{score:.1f}"
        table.add_row(kind, str(rank), Text(for_terminal(name)), shown, str(trades), f"{cycle:%Y-%m-%d %H:%M}")
    if ranked.height:
        out.print(table)
