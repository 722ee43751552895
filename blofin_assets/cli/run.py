"""`blofin run` and `blofin report`: execute what is due, show progress, end with a table and a path.

Belongs here: the terminal side of a pass. Does not belong here: what is due (`plan`), how a step is executed
(`runner`).
"""

from datetime import UTC, date, datetime

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from blofin_assets.cli.report import open_page, summary_lines
from blofin_assets.cli.session import Session, open_session, report_path
from blofin_assets.partitions import DAY
from blofin_assets.plan import CADENCES, IN_ORDER, MARKET_DATA, REPORT, Plan, Step, plan
from blofin_assets.runner import console, execute
from blofin_resources.errors import BlofinError

SKIPPED_BY: str = "catch-up"
"""What the rows about given-up steps carry in place of a run's id."""


SHOWN = 5
"""How many of each kind the table at the end shows."""


def run_due(as_of: datetime) -> None:
    """Execute everything that is due at `as_of`, then print what the newest report says and where it is."""
    session = open_session()
    made = plan(as_of, session.settings.start_for(as_of), session.progress)
    session.progress.mark(made.skipped, "skipped", SKIPPED_BY)
    out = Console()
    if made.skipped:
        out.print(f"given up after downtime: {', '.join(step.run_key for step in made.skipped)}")
    if not made.steps:
        out.print(f"nothing is due as of {as_of:%Y-%m-%d %H:%M} UTC")
    errors = _execute(made, session, out)
    _summarise(session, as_of, out)
    _complain(errors)


def make_report(day: date, *, show: bool = False) -> None:
    """Make one day's report again, print what it says and where it is; `show` opens its page."""
    session = open_session()
    cadence = next(cadence for cadence in CADENCES if cadence.job == REPORT)
    as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
    if as_of > datetime.now(UTC):
        msg = f"{day} has not ended; its report is made at {as_of:%Y-%m-%dT%H:%MZ}"
        raise BlofinError(msg)
    out = Console()
    _complain(_execute(Plan((cadence.step(as_of),)), session, out))
    page = report_path(session.settings.warehouse, as_of)
    for line in summary_lines(page.with_suffix(".json")):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(f"\nreport: {page}", soft_wrap=True)
    if show:
        open_page(page)


def _complain(errors: list[str]) -> None:
    if errors:
        raise BlofinError("; ".join(errors))


def _execute(made: Plan, session: Session, out: Console) -> list[str]:
    """Run the steps one after the other and return what failed.

    Everything needs market data, so its failure ends the pass; after a failed cycle the others and the report go on,
    and the report says what did not run. Later keys of a cycle that goes in order are left for the next pass, until
    the one that failed has had its attempts.
    """
    from blofin_assets.definitions import build_defs
    from blofin_assets.sensors import give_up

    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=out, transient=False,
    ) as bars:  # fmt: skip
        current: list[TaskID] = []
        errors: list[str] = []

        def listen(event: str, step_key: str) -> None:
            if event == dg.DagsterEventType.STEP_START.value:
                bars.update(current[-1], asset=step_key)
            if event in (dg.DagsterEventType.STEP_SUCCESS.value, dg.DagsterEventType.STEP_FAILURE.value):
                bars.advance(current[-1])

        defs = build_defs(session.settings, console=console(listen))
        held: set[str] = set()
        for step in made.steps:
            if step.job in held:
                errors.append(f"{_label(step)} waits for the one before it: blofin run")
                continue
            job = defs.resolve_job_def(step.job)
            current.append(bars.add_task(_label(step), total=len(job.graph.node_dict)))
            outcome = execute(step, job, session.instance)
            if outcome.errors:
                errors.append(f"{_label(step)} failed: {'; '.join(outcome.errors)} (run {outcome.run_id[:8]})")
                if step.job == MARKET_DATA:
                    break
                if step.job in IN_ORDER and not give_up([step], session.progress, session.instance):
                    held.add(step.job)
    return errors


def _label(step: Step) -> str:
    keys = step.first_key if step.first_key == step.last_key else f"{step.first_key}...{step.last_key}"
    return f"{step.job} {keys}"


def _summarise(session: Session, as_of: datetime, out: Console) -> None:
    """Print the ranking of the newest cycles and the path of the newest report, both as of `as_of`."""
    ranked = session.warehouse.read(
        "SELECT kind, rank, name, score, trades, as_of FROM research.ranking_history WHERE as_of <= ? "
        "QUALIFY as_of = max(as_of) OVER (PARTITION BY kind) AND rank <= ? ORDER BY kind DESC, rank",
        [as_of, SHOWN],
    )
    table = Table(title=f"Ranking as of {as_of:%Y-%m-%d %H:%M} UTC ({session.settings.market} market)")
    for name in ("kind", "rank", "name", "score", "trades", "cycle"):
        table.add_column(name, justify="left" if name in ("kind", "name", "cycle") else "right")
    for kind, rank, name, score, trades, cycle in ranked.iter_rows():
        shown = "-" if score is None else f"{score:.1f}"
        table.add_row(kind, str(rank), name, shown, str(trades), f"{cycle:%Y-%m-%d %H:%M}")
    if ranked.height:
        out.print(table)
    made = [time for time in session.progress.succeeded(REPORT) if time <= as_of]
    if made:
        out.print(f"report: {report_path(session.settings.warehouse, max(made))}", soft_wrap=True)
