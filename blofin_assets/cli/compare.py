"""`blofin compare`: several strategies over one window beside each other, as tables, sentences and a page.

Belongs here: arguments, the tables, the sentences, the file. Does not belong here: one backtest and its trial
(`blofin_assets.cli.backtest`), comparing (`backtester.evaluation.comparison`), the page (`backtester.compare_page`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from backtester.compare_page import COLOURS, compare_page
from backtester.evaluation.comparison import CONFIDENCE, Comparison, compare
from backtester.evaluation.pooling import PooledResult
from blofin_assets.cli.backtest import Request, run_stored
from blofin_assets.cli.backtest_text import Ran
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.idea import split_named
from blofin_assets.cli.loading import with_parameters
from blofin_assets.cli.session import open_session
from blofin_assets.cli.stored import DEFAULT_DAYS, Span, Stored, chosen_timeframes, say, shown_path, stored_window
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import pooled_of, row_id
from blofin_resources.errors import BlofinError
from features.bars import TIMEFRAMES
from strategies.language.book import Book

RUN_ID: Final = "blofin compare"
"""`run_id` of the trials' rows: this is no Dagster run."""

EXAMPLE: Final = "for example: blofin compare ema_crossover aroon_trend:window=30"


@dataclass(frozen=True)
class Compared:
    """The arguments, unparsed."""

    named: Sequence[str]
    symbols: str | None
    timeframes: str | None
    span: Span
    as_json: bool = False


def run_compare(asked: Compared) -> None:
    """Backtest each strategy on the same window, count the trials, print what differs and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong.
    """
    strategies = {}
    for text in asked.named:
        name, pairs = split_named(text)
        found = with_parameters(name, pairs, EXAMPLE)
        if isinstance(found, Book):
            msg = f"{found.name} is a book, and blofin compare takes strategies; run: blofin backtest {found.name}"
            raise BlofinError(msg)
        if text in strategies:
            msg = f"{text} is named twice; name each version once"
            raise BlofinError(msg)
        strategies[text] = found
    if not 2 <= len(strategies) <= len(COLOURS):  # noqa: PLR2004 - a comparison is of two
        msg = f"{len(strategies)} named: give 2 to {len(COLOURS)} strategies; {EXAMPLE}"
        raise BlofinError(msg)
    each_on = {text: chosen_timeframes(asked.timeframes, strategy) for text, strategy in strategies.items()}
    session = open_session()
    every = tuple(name for name in TIMEFRAMES if any(name in chosen for chosen in each_on.values()))
    stored = stored_window(session, asked.symbols, every, asked.span, days=DEFAULT_DAYS)
    request = Request(asked.named[0], asked.symbols, asked.timeframes, None, [], asked.span.as_of)
    ran = {text: run_stored(stored, strategy, each_on[text], request, RUN_ID) for text, strategy in strategies.items()}
    results = {text: pooled_of(each.evaluation) for text, each in ran.items()}
    comparison = compare(results, seed=session.settings.seed)
    _finish(stored, ran, results, comparison, asked)


def _finish(
    stored: Stored,
    ran: Mapping[str, Ran],
    results: Mapping[str, PooledResult],
    comparison: Comparison,
    asked: Compared,
) -> None:
    first = next(iter(results.values()))
    said = _said(comparison)
    lanes = list(dict.fromkeys(lane.timeframe for each in ran.values() for lane in each.evaluation.scored))
    window = f"{stored.told(first.start, first.end, lanes)} · {stored.market}"
    page = compare_page(
        results,
        comparison,
        next(iter(ran.values())).parts.holding,
        parameters={text: _parameters(each) for text, each in ran.items()},
        said=said,
        window=window,
        notes=stored.kept_out,
    )
    versions = sorted(f"{each.evaluation.name} {each.evaluation.version}" for each in ran.values())
    which = row_id(versions, first.start, first.end, stored.symbols, lanes)[:8]
    path = write_whole(stored.page(f"compare_{first.end:%Y%m%dT%H%MZ}_{which}.html"), page)
    if asked.as_json:
        window_of = {"start": first.start, "end": first.end, "market": stored.market}
        print_json({**window_of, "names": list(results), **vars(comparison), "notes": stored.kept_out, "page": path})
        return
    out = Console()
    out.print(_table(results, comparison, window))
    say(out, (*said, *stored.kept_out, f"page: {shown_path(path)}"))


def _parameters(ran: Ran) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in ran.evaluation.parameters.items())


def _said(comparison: Comparison) -> list[str]:
    lines = []
    names = comparison.costs["name"].to_list()
    for row in comparison.differences.rows(named=True):
        value = comparison.correlations[names.index(row["one"]), names.index(row["two"])]
        alike = "unknown" if np.isnan(value) else f"{value:+.2f}"
        verdict = "told apart" if row["apart"] else "not told apart"
        lines.append(
            f"{row['one']} less {row['two']}: {row['day_pct']:+.3f} % a day, {row['low']:+.3f} to {row['high']:+.3f} "
            f"({CONFIDENCE:.0%} interval): {verdict}; correlation {alike}."
        )
    return lines


def _table(results: Mapping[str, PooledResult], comparison: Comparison, window: str) -> Table:
    table = Table(title=window, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for heading in ("before %", "costs %", "total %", "Sharpe", "max DD %", "trades", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (name, pooled), paid in zip(results.items(), comparison.costs.rows(named=True), strict=True):
        ratio = "–" if pooled.sharpe is None else f"{pooled.sharpe:.1f} ±{pooled.sharpe_se or 0.0:.1f}"
        table.add_row(
            name,
            f"{paid['before_pct']:+.2f}",
            f"{paid['before_pct'] - paid['total_pnl_pct']:.2f}",
            f"{pooled.total_pnl_pct:+.2f}",
            ratio,
            f"{100.0 * pooled.max_drawdown:.1f}",
            str(pooled.trades),
            "–" if pooled.score is None else f"{pooled.score:.1f}",
        )
    return table
