"""`blofin backtest` of a book: on the stored universe, as tables in the terminal and a page.

Belongs here: the tables, the trial, the file. Does not belong here: arguments (`blofin_assets.cli.backtest`), reading
(`blofin_assets.shared.deep_market`), backtesting and the page itself (`backtester`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from backtester import BookEvaluation, Costs
from backtester.book_page import book_page
from backtester.evaluation.book_breakdown import by_quarter, by_regime, sheet_of
from backtester.statistics.overfitting import expected_max_sharpe
from blofin_assets.cli.export import book_frames
from blofin_assets.cli.session import Session
from blofin_assets.cli.stored import market_name, page_path
from blofin_assets.cli.stored_books import count_book, members_text
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.book_rows import BookRun
from blofin_assets.shared.deep_market import DeepMarket, deep_market
from features.steps import Step, find_steps
from strategies.language.book import Book

SHOWN: Final = 5
"""Best and worst symbols in the table."""

_ROWS: Final = (
    ("net return", "total_pnl_pct", "+.2f", " %"),
    ("  before costs", "pnl_before_costs_pct", "+.2f", " %"),
    ("  fees", "fees_pct", ".2f", " %"),
    ("  slippage", "slippage_pct", ".2f", " %"),
    ("  funding paid", "funding_pct", "+.2f", " %"),
    ("  lost in liquidations", "lost_pct", ".2f", " %"),
    ("max drawdown", "max_drawdown", ".1%", ""),
    ("  with all extremes at once", "adverse_drawdown", ".1%", ""),
    ("turnover a year", "turnover_year", ".1f", " × equity"),
    ("mean gross exposure", "gross_exposure", ".2f", " × equity"),
    ("mean net exposure", "net_exposure", "+.2f", " × equity"),
    ("trades", "trades", "d", ""),
    ("win rate", "win_rate", ".1%", ""),
    ("net PnL of a trade", "avg_pnl_pct", "+.3f", " %"),
    ("beta to the universe", "beta", "+.2f", ""),
    ("score", "score", ".1f", ""),
)
"""Name, metric, format and unit of the lines of the table."""


Metrics: TypeAlias = Mapping[str, float | int | None]


@dataclass(frozen=True, eq=False)
class RanBook:
    """One book backtested: what is printed and written of it.

    Attributes
    ----------
    run : BookRun
        The book, what it ran on, and the result.
    market : str
        Name of the market.
    metrics : dict of str to number
        Of the result.
    tries : int
        Configurations of books tried on an overlapping window.
    notes : list of str
        What must be known to believe the numbers.
    page : Path
        Its page.
    exported : sequence of Path
        Its files.
    """

    run: BookRun
    market: str
    metrics: Metrics
    tries: int
    notes: list[str]
    page: Path
    exported: Sequence[Path] = ()

    def document(self) -> dict[str, object]:
        """Return it for `blofin_assets.cli.documents.json_of`."""
        run, found = self.run, self.run.evaluation
        sheet = sheet_of(found)
        return {
            "name": run.name,
            "version": run.version,
            "parameters": run.book.parameters,
            "market": self.market,
            "universe": run.universe,
            "members": run.market.members,
            "chosen_today": run.market.chosen_today,
            "start": run.market.start,
            "end": run.market.end,
            "capital": found.result.capital,
            "costs": found.result.costs,
            "metrics": self.metrics,
            "by_tranche": found.by_tranche(),
            "by_symbol": found.result.by_symbol(),
            "by_month": sheet.months,
            "worst_drawdowns": sheet.drawdowns,
            "by_quarter": by_quarter(found),
            "by_regime": by_regime(found),
            "capacity": found.capacity(),
            "tries": self.tries,
            "notes": self.notes,
            "page": self.page,
            "exported": list(self.exported),
        }

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return what it did, as it is exported."""
        return book_frames(self.run.evaluation)


def backtest_stored_book(
    session: Session,
    book: Book,
    start: datetime | timedelta | None,
    end: datetime,
    capital: float,
    run_id: str,
    costs: Costs | None = None,
) -> RanBook:
    """Backtest a book on the stored universe, count the trial and write the page.

    Parameters
    ----------
    session : Session
        Open warehouse.
    book : Book
        Of the library or a file.
    start, end
        As for `deep_market`.
    capital : float
        Of all tranches together, quote currency.
    run_id : str
        Writer of the trial's row.
    costs : Costs, optional
        As for `backtester.backtest_book`.

    Returns
    -------
    RanBook
        For `show_book`.
    """
    market = deep_market(session.warehouse, book, start, end)
    found = market.prepared.backtest(book, start=market.start, costs=costs, capital=capital)
    metrics = found.metrics()
    run = BookRun(book, market, found, session.settings.universe)
    tries = count_book(session, run, run_id)
    name = market_name(session)
    notes = [f"universe {session.settings.universe}: {members_text(market)}", *_notes(book, market, metrics, tries)]
    page = book_page(
        found, market=name, parameters=book.parameters, idea=book.description, chosen_today=market.chosen_today,
        notes=notes,
    )  # fmt: skip
    other = [] if costs in {None, Costs()} else [costs]
    which = row_id(*run.configuration, book.parameters, market.start, market.end, capital, *other)[:8]
    path = write_whole(page_path(session, f"{book.name}_{market.end:%Y%m%dT%H%MZ}_{which}.html"), page)
    return RanBook(run, name, metrics, tries, notes, path)


def show_book(out: Console, ran: RanBook) -> None:
    """Print a backtest of a book: its metrics, tranches, capacity and symbols, and what to know of them."""
    market, found = ran.run.market, ran.run.evaluation
    window = " to ".join(_day(moment) for moment in (market.start, market.end))
    _show(out, f"{ran.run.name}, {window}\non the {ran.market} market", _summary(ran.metrics, found.result.capital))
    if len(found.result.tranches) > 1:
        _show(out, "tranches, by the day on which they rebalance", _tranches(found))
    earned = found.result.by_symbol()
    if earned.height:
        _show(out, "capacity: the share of their bars' traded value that fills take", _capacity(found))
        best = f"the best and the worst of {earned.height} symbols" if earned.height > 2 * SHOWN else "symbols"
        _show(out, f"{best}, amounts in quote currency", _symbols(earned))
    quiet = found.capacity()[0].without_volume
    if quiet:
        out.print(f"{quiet} fills are in bars without trades: no price was available there", markup=False)
    for line in ran.notes:
        out.print(line, markup=False, soft_wrap=True)


def _day(moment: datetime) -> str:
    """Return a day where the time is midnight, else day and time."""
    return f"{moment:%Y-%m-%d}" if moment.time() == time() else f"{moment:%Y-%m-%d %H:%M}"


def _show(out: Console, title: str, table: Table) -> None:
    out.print(title, style="bold", markup=False, highlight=False)
    out.print(table)


def _summary(metrics: Metrics, capital: float) -> Table:
    table = _small("", "")
    table.show_header = False
    table.add_row("capital", f"{capital:,.0f}")
    ratio = _told(metrics["sharpe"], "+.2f")
    error = metrics["sharpe_se"]
    table.add_row("Sharpe ratio", ratio if error is None else f"{ratio} ±{error:.2f}", style="bold")
    for label, metric, form, unit in _ROWS:
        value = metrics[metric]
        table.add_row(label, _told(value, form) + (unit if value is not None else ""))
    if metrics["ruined"]:
        table.add_row("RUINED: tranches", _told(metrics["ruined"], "d"), style="bold red")
    return table


def _tranches(found: BookEvaluation) -> Table:
    table = _small("tranche", "net %", "Sharpe", "max DD %", "trades")
    for row in found.by_tranche().iter_rows(named=True):
        table.add_row(
            f"day {row['days']:g}{' (ruined)' if row['ruined'] else ''}",
            f"{row['total_pnl_pct']:+.2f}",
            _told(row["sharpe"], "+.2f"),
            f"{100 * row['max_drawdown']:.1f}",
            str(row["trades"]),
        )
    return table


def _capacity(found: BookEvaluation) -> Table:
    table = _small("capital", "median %", "largest %", "above 1 %")
    for each in found.capacity():
        table.add_row(
            f"{each.capital:,.0f}",
            *(_told(None if share is None else 100 * share, ".3f") for share in (each.median, each.largest)),
            _told(each.above_limit, ".1%"),
        )
    return table


def _symbols(earned: pl.DataFrame) -> Table:
    shown = earned if earned.height <= 2 * SHOWN else pl.concat([earned.head(SHOWN), earned.tail(SHOWN)])
    left = earned.height - shown.height
    table = _small("symbol", "trades", "win %", "PnL", "fees", "funding", "net", "net %")
    for place, row in enumerate(shown.iter_rows(named=True)):
        if left and place == SHOWN:
            table.add_section()
        amounts = (f"{row[name]:+,.0f}" for name in ("pnl", "fees", "funding", "net"))
        table.add_row(
            row["symbol"], str(row["trades"]), f"{100 * row['win_rate']:.0f}", *amounts, f"{row['net_pct']:+.2f}"
        )
    return table


def _small(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _notes(book: Book, market: DeepMarket, metrics: Metrics, tries: int) -> list[str]:
    """Return what must be known to believe the tables, one line each."""
    lines = []
    if not metrics["trades"]:
        read = ", ".join(book.features())
        lines.append(f"it never traded: no decision had enough known scores; is all there that it reads? ({read})")
    known = metrics["funding_known"]
    if known is not None and known < 1.0:
        lines.append(f"funding is known for {known:.0%} of the traded value; nothing is paid where it is not")
    if not any(contract.lot for contract in market.prepared.market.contracts):
        lines.append("lots and smallest orders are unknown: quantities are not rounded")
    alpha, error = metrics["alpha"], metrics["alpha_se"]
    if alpha is not None and error is not None:
        lines.append(f"alpha a year over the universe's equal-weighted average: {alpha:+.2f} ±{error:.2f}")
    se = metrics["sharpe_se"]
    if se is not None:
        luck = expected_max_sharpe(tries, se * se)
        lines.append(
            f"books tried on this time: {tries}; the best of so many without any edge shows a ratio of {luck:.2f}"
        )
    lines += [
        f"{Step(*row)}: traded as stored; compare it with another source"
        for row in find_steps(market.candles).select("symbol", "ts", "ratio").iter_rows()
    ]
    return lines


def _told(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
