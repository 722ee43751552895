"""`blofin sweep`: every point of a grid of parameters on stored candles, as a table, a verdict and a page.

Belongs here: arguments, the table, the sentences, the trials, the file. Does not belong here: running points
(`strategies.search.sweep`), the plateau (`backtester.statistics.plateau`), the page itself (`backtester.sweep_page`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from backtester.evaluation.pooling import FEW_TRADES
from backtester.statistics.overfitting import SharpeEvidence, sharpe_evidence
from backtester.statistics.plateau import Plateau, nearest, neighbours_on_grid, plateau
from backtester.sweep_page import sweep_page
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.idea import Range, check_names, idea_of, ranges, refuse_large
from blofin_assets.cli.loading import loaded
from blofin_assets.cli.session import open_session
from blofin_assets.cli.stored import (
    DEFAULT_DAYS,
    Span,
    Stored,
    chosen_timeframes,
    progress,
    say,
    shown_path,
    stored_window,
)
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import row_id, swept_rows
from blofin_assets.shared.trial_ledger import Configuration, count_seen
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.language.values import LanguageError
from strategies.search.panel import Panel
from strategies.search.sweep import Axis, Swept, grid, sobol, step_of, sweep

RUN_ID: Final = "blofin sweep"
"""`run_id` of the trials' rows: this is no Dagster run."""

SHOWN: Final = 5
"""Points in the terminal's table."""

EXAMPLE: Final = "for example: blofin sweep ema_crossover --param fast=5:15:1 --param ratio=2:6:1"

_WIDE: Final = 0.5
"""Share of all points within the best's standard error from which being within it says little."""


@dataclass(frozen=True)
class Request:
    """The arguments, unparsed."""

    strategy: str
    params: Sequence[str]
    points: int | None
    symbols: str | None
    timeframes: str | None
    span: Span
    as_json: bool = False


def run_sweep(request: Request) -> None:
    """Run every point of a grid, or a sample of it, print what came and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong, or no point can be run.
    """
    idea = idea_of(request.strategy, EXAMPLE)
    asked = ranges(idea, request.params, grid=request.points is None)
    strategy = loaded(request.strategy, EXAMPLE)
    if isinstance(strategy, Book):
        one = f"blofin backtest {strategy.name} --param {asked[0].name}={asked[0].low:g}"
        msg = f"{strategy.name} is a book, and a sweep runs strategies; try one value: {one}"
        raise BlofinError(msg)
    check_names(idea, [each.name for each in asked], list(strategy.parameters))
    axes = _axes(strategy, asked)
    if request.points is None:
        refuse_large(int(np.prod([len(axis.values) for axis in axes])))
    timeframes = tuple(each for each in chosen_timeframes(request.timeframes, strategy) if each in strategy.timeframes)
    session = open_session()
    stored = stored_window(session, request.symbols, timeframes, request.span, days=DEFAULT_DAYS)
    places = grid(axes) if request.points is None else sobol(axes, request.points, session.settings.seed)
    panel = Panel.read(stored.manager, stored.symbols, stored.window, timeframes=timeframes, rules=stored.rules)
    began = time.perf_counter()
    with progress("points", len(places)) as advance:
        swept = sweep(panel, strategy, axes, places, ran=advance)
    seconds = time.perf_counter() - began
    if not len(swept.frame):
        reasons = "; ".join(list(swept.refused)[:1])
        msg = f"none of the {len(places):,} points can be run: {reasons}"
        raise BlofinError(msg)
    _finish(stored, panel, strategy, swept, seconds, request)


def _axes(strategy: Strategy, asked: Sequence[Range]) -> list[Axis]:
    """Return the axes, those with several values first; refuse values that a parameter cannot take."""
    declared = strategy.ranges()
    axes = []
    for each in asked:
        param = declared[each.name]
        values = each.values(each.step or step_of(param))
        try:
            checked = tuple(float(param.checked(each.name, value)) for value in (values[0], values[-1], *values))[2:]
        except LanguageError as error:
            msg = f"--param {each.name}: {error}"
            raise BlofinError(msg) from None
        axes.append(Axis(each.name, checked))
    return sorted(axes, key=lambda axis: len(axis.values) == 1)


def _finish(stored: Stored, panel: Panel, strategy: Strategy, swept: Swept, seconds: float, request: Request) -> None:
    whole_grid = request.points is None
    names = [axis.name for axis in swept.moving]
    lanes = [f"{symbol}:{timeframe}" for symbol, timeframe in panel.lanes]
    tried = (Kind.STRATEGY.value, strategy.name, "", ",".join(sorted(lanes)))
    tries = _count(stored, panel, swept, tried)
    around = _plateau(swept, whole_grid=whole_grid)
    luck = _luck(panel, strategy, swept, tries)
    said = _said(swept, strategy, around, luck, whole_grid=whole_grid)
    begin, end = panel.market.start, panel.market.end
    window = stored.told(begin, end, (timeframe for _, timeframe in panel.lanes))
    left_out = (f"{count:,} points left out: {reason}" for reason, count in swept.refused.items())
    notes = [*stored.kept_out, *left_out, *stored.late(begin)]
    page = sweep_page(
        strategy.name,
        swept.frame,
        names,
        best=swept.best,
        plateau=around,
        sharpe=luck,
        whole_grid=whole_grid,
        said=said,
        window=f"{window} · {stored.market}",
        notes=notes,
    )
    which = row_id(*tried, begin, [(axis.name, axis.values) for axis in swept.axes], whole_grid, len(swept.frame))[:8]
    path = write_whole(stored.page(f"{strategy.name}_sweep_{end:%Y%m%dT%H%MZ}_{which}.html"), page)
    if request.as_json:
        told = {"market": stored.market, "start": begin, "end": end, "lanes": lanes, "seconds": seconds, "said": said}
        print_json({**_document(strategy, swept, around, luck, tries), **told, "notes": notes, "page": path})
        return
    out = Console()
    out.print(_table(strategy, swept, stored.market, window))
    rate = f"{60.0 * len(swept.frame) / max(seconds, 1e-9):,.0f} a minute"
    ran = f"{len(swept.frame):,} points, each a trial, in {seconds:.1f} s ({rate})"
    say(out, (ran, *said, *notes, f"page: {shown_path(path)}"))


def _count(stored: Stored, panel: Panel, swept: Swept, tried: Configuration) -> int:
    """Record every point as a trial; return how many configurations were tried on an overlapping window."""
    store = stored.session.warehouse
    window = panel.market.start, panel.market.end
    rows = swept_rows(tried, Author.USER, window[1], store.snapshot_id(), window, swept.frame)
    with store.transaction(RUN_ID) as tx:
        tx.append("research.trials", rows, key=["id"])
    return count_seen(store, *window)


def _plateau(swept: Swept, *, whole_grid: bool) -> Plateau | None:
    best = swept.best
    if best is None:
        return None
    several = [place for place, axis in enumerate(swept.axes) if len(axis.values) > 1]
    places = swept.places[:, several]
    around = neighbours_on_grid(places, best) if whole_grid else nearest(places, best)
    return plateau(swept.sharpe, around, best, float(swept.frame["sharpe_se"][best]))


def _luck(panel: Panel, strategy: Strategy, swept: Swept, tries: int) -> SharpeEvidence | None:
    """Return the evidence of the best point's Sharpe ratio with the number of trials."""
    if swept.best is None:
        return None
    run = panel.run(strategy.with_parameters(**swept.parameters(swept.best)), evidence=True)
    errors = () if run.gross_se is None else (run.gross_se,)
    assert run.episodes is not None  # noqa: S101 - evidence was asked for
    return sharpe_evidence(run.pooled.present_returns, run.episodes, tries, errors)


def _said(
    swept: Swept, strategy: Strategy, around: Plateau | None, luck: SharpeEvidence | None, *, whole_grid: bool
) -> list[str]:
    best = swept.best
    if best is None or around is None or luck is None:
        return [f"No point made {FEW_TRADES} trades with a Sharpe ratio: there is no best."]
    row = swept.frame.row(best, named=True)
    at = ", ".join(f"{axis.name} = {row[axis.name]:g}" for axis in swept.moving)
    lines = [f"Best: {at}, with a Sharpe ratio of {row['sharpe']:.2f} ± {row['sharpe_se']:.2f}."]
    who = "neighbours" if whole_grid else "nearest points"
    counted = f"{around.within} of its {around.neighbours} {who} are within its standard error"
    if not around.neighbours:
        lines.append("None of its neighbours could be run, so nothing says whether it stands alone.")
    elif around.alone:
        lines.append(f"The best stands alone: {counted}. A small change loses it, as luck does.")
    else:
        lines.append(f"The best stands on a plateau: {counted}.")
    share = float(np.mean(swept.sharpe >= row["sharpe"] - row["sharpe_se"]))
    if share >= _WIDE and not around.alone:
        lines.append(f"That says little here: so are {share:.0%} of all points. A longer window tells more apart.")
    lines.extend(_edges(swept, strategy, best))
    if luck.unknown:
        lines.append(f"No deflated ratio: {luck.unknown}.")
    else:
        verdict = "supported" if luck.supported else "not supported"
        deflated = "–" if luck.deflated is None else f"{luck.deflated:.3f}"
        lines.append(f"Deflated Sharpe ratio {deflated} after {luck.trials:,} tries, taken as independent: {verdict}.")
    return lines


def _edges(swept: Swept, strategy: Strategy, best: int) -> list[str]:
    """Return a line for each range at whose end the best lies, where the parameter may go further."""
    lines = []
    values = swept.parameters(best)
    for axis in swept.moving:
        param = strategy.ranges()[axis.name]
        low, high = axis.values[0], axis.values[-1]
        at = values[axis.name]
        if (at == low and low > param.low) or (at == high and high < param.high):
            further = f"{param.low:g} to {param.high:g}"
            lines.append(f"It lies at an end of {axis.name}, {at:g}: the range may go on, {further} is allowed.")
    return lines


def _document(
    strategy: Strategy, swept: Swept, around: Plateau | None, luck: SharpeEvidence | None, tries: int
) -> dict[str, object]:
    best = swept.best
    return {
        "name": strategy.name,
        "parameters": strategy.parameters,
        "axes": {axis.name: axis.values for axis in swept.axes},
        "points": swept.frame.drop("params"),
        "left_out": swept.refused,
        "best": None if best is None else swept.frame.drop("params").row(best, named=True),
        "plateau": None if around is None else {**vars(around), "share": around.share, "alone": around.alone},
        "deflated_sharpe": None if luck is None else luck.deflated,
        "tries": tries,
    }


def _table(strategy: Strategy, swept: Swept, market: str, window: str) -> Table:
    table = Table(title=f"{strategy.name} on the {market} market\n{window}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for axis in swept.moving:
        table.add_column(axis.name, justify="right")
    for heading in ("Sharpe", "score", "trades", "total %", "max DD %"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = swept.frame.with_row_index("row").sort("sharpe", "row", descending=[True, False], nulls_last=True)
    for row in best.head(SHOWN).rows(named=True):
        sharpe = "–" if row["sharpe"] is None else f"{row['sharpe']:.2f} ±{row['sharpe_se']:.2f}"
        score = "–" if row["score"] is None else f"{row['score']:.1f}"
        cells = (sharpe, score, str(row["trades"]), f"{row['total_pnl_pct']:+.2f}", f"{100 * row['max_drawdown']:.1f}")
        table.add_row(*(f"{row[axis.name]:g}" for axis in swept.moving), *cells)
    return table
