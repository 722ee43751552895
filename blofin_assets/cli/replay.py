"""`blofin replay`: the desk replayed, as a progress bar, tables and a page.

Belongs here: the terminal side. Does not belong here: replaying (`blofin_assets.replay`).
"""

import os
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from backtester.statistics.choosing import CONFIDENCE
from blofin_assets.cli.documents import console, print_json
from blofin_assets.cli.run import bring_market
from blofin_assets.cli.session import open_session
from blofin_assets.definitions import build_resources
from blofin_assets.replay.desk import ReplayPlan, choice_times
from blofin_assets.replay.page import interval, verdict
from blofin_assets.replay.stages import replay
from blofin_assets.replay.summary import SCALE, ReplaySummary
from blofin_assets.reporting.page.formats import number, percent, share
from blofin_resources.settings import HISTORY


def replay_desk(begin: datetime, end: datetime, every: timedelta, budget: int | None, *, as_json: bool = False) -> None:
    """Replay the desk and print what following it would have made.

    Parameters
    ----------
    begin, end, every
        As for `choice_times`.
    budget : int or None
        Evaluations of the search at each choice; that of the settings if None.
    as_json : bool
        Print one document in place of tables.

    Raises
    ------
    BlofinError
        If there is no whole stretch, the market is not stored, or a cycle fails.
    """
    times = choice_times(begin, end, every)
    session = open_session()
    settings = session.settings if budget is None else session.settings.model_copy(update={"search_budget": budget})
    out = console(as_json=as_json)
    bring_market(session, times[0] - HISTORY, times[-1], out)
    resources = build_resources(settings)
    plan = ReplayPlan(times, every, resources["market"], resources["evolution"])
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out) as bars:
        task = bars.add_task("stretches", total=len(plan.stretches))
        pages = replay(
            session.warehouse, plan, settings.market_id, f"replay-{uuid.uuid4()}", lambda _: bars.advance(task)
        )
    if as_json:
        print_json(
            {"replays": [{**vars(summary), "verdict": verdict(summary), "page": page} for summary, page in pages]}
        )
        return
    for summary, page in pages:
        _show(summary, out)
        shown = Path(os.path.relpath(page)) if page.is_relative_to(Path.cwd()) else page
        out.print(f"page: {shown}\n", markup=False, soft_wrap=True)


def _show(summary: ReplaySummary, out: Console) -> None:
    span = f"{summary.begin:%Y-%m-%d} to {summary.end:%Y-%m-%d}"
    table = Table(
        title=f"{summary.what.capitalize()} of the desk replayed, {span}, a choice every {summary.every_days} days"
    )
    for name in ("held", "members", f"a stretch ({share(CONFIDENCE, 0)})", "in all", "Sharpe"):
        table.add_column(name, justify="left" if name == "held" else "right")
    for held in summary.sets:
        table.add_row(
            held.name, f"{held.members:.1f}", interval(held.net), percent(held.total_pct), number(held.sharpe)
        )
    out.print(table)
    added = Table(title=f"What choosing added a stretch, each scaled to {100 * SCALE:.0f} % a day")
    for name in ("active less all candidates", f"mean ({share(CONFIDENCE, 0)})", "p"):
        added.add_column(name, justify="left" if name.startswith("active") else "right")
    for name, found in (("before costs", summary.gross), ("costs saved", summary.saved), ("net", summary.net)):
        added.add_row(name, interval(found), number(found.p_value, 3))
    out.print(added)
    out.print(verdict(summary), markup=False)
