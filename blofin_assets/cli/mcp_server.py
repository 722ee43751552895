"""`blofin mcp`: the warehouse and counted backtests for programs, by the Model Context Protocol over stdio.

Belongs here: the tools, their bounds and their errors. Does not belong here: what a tool does (`sql`, `backtest` and
`backtest_book` of `blofin_assets.cli`).

Nothing is written but the trials of backtests, as the command counts them, and their pages. A text is compiled from the
allow-list of the language (`strategies.untrusted`), never executed, and first evaluated in a process of its own. The
SDK keeps the standard output for the protocol: what anything else prints goes to the standard error. What a tool needs
is imported when it is first called, so that a client may ask for a table before the compiler behind the kernels is
loaded.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from blofin_assets.cli.documents import MOST_ROWS, bounded
from blofin_assets.cli.sql import asked, described, rows_of, tables
from blofin_assets.cli.times import parse_day, parse_moment
from blofin_resources.errors import BlofinError
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

if TYPE_CHECKING:
    from blofin_assets.cli.session import Session
    from strategies.language.book import Book
    from strategies.language.strategy import Strategy

SECONDS: Final = 30
"""After which a query is stopped, unless the client asks for more."""
MOST_SECONDS: Final = 300
"""The most that a client can ask for."""

LONG: Final = 4_000
"""Characters above which a part of a report is told by its length, until it is asked for."""

INSTRUCTIONS: Final = (
    "A research desk for crypto perpetuals. It never trades. Begin with list_tables and leaderboard; query answers "
    "read-only SQL (DuckDB). backtest and backtest_text run a strategy or a book on stored candles, costs paid, and "
    "count as trials: every look at returns makes each later result less convincing. language says how a text is "
    "written. What is cut to fit says so under 'cut'."
)

_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_COUNTS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_REPORT: Final = (
    "SELECT report_date, report_json FROM reports.daily_reports WHERE report_date <= ? "
    "ORDER BY report_date DESC LIMIT 1"
)
_LEADERS: Final = (
    "SELECT * FROM research.leaderboard WHERE $kind IS NULL OR kind = $kind ORDER BY kind, rank NULLS LAST, name"
)


def serve() -> None:
    """Answer a client on the standard input and output until it hangs up."""
    Desk().server().run("stdio")


class Desk:
    """The tools, and the warehouse of the settings that they work on: opened when first asked for."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    def server(self) -> MCPServer[Any]:
        """Return the server with its tools, not running."""
        server: MCPServer[Any] = MCPServer("blofin", instructions=INSTRUCTIONS, log_level="WARNING")
        reading = (
            self._list_tables, self._describe_table, self._query, self._leaderboard, self._read_report, self._language,
        )  # fmt: skip
        for tool in (*reading, self._backtest, self._backtest_text):
            name = tool.__name__.removeprefix("_")
            server.tool(name=name, annotations=_READS if tool in reading else _COUNTS)(tool)
        return server

    @cached_property
    def _store(self) -> Warehouse:
        """The warehouse, sealed: each statement is one that reads."""
        settings = Settings()
        return Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog)

    @cached_property
    def _session(self) -> "Session":
        """The warehouse with its ledger of trials."""
        from blofin_assets.cli.session import open_session

        return open_session()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold back other calls, each of which takes all cores; tell the caller what a user of the command is told.

        Anything else is a fault, which the SDK logs.

        Raises
        ------
        ToolError
            In place of errors that a user can mend.
        """
        with self._busy:
            try:
                yield
            except (BlofinError, ValueError, LookupError) as error:
                raise ToolError(str(error)) from error

    def _list_tables(self) -> dict[str, Any]:
        """List every table and view of the warehouse with what it holds."""
        with self._alone():
            return bounded({"tables": tables(self._store)})

    def _describe_table(self, name: str) -> dict[str, Any]:
        """Describe the columns of a table or view, such as research.leaderboard: type, unit, meaning."""
        with self._alone():
            return bounded({"name": name, "columns": described(self._store, name)})

    def _query(self, sql: str, rows: int = 100, seconds: float = SECONDS) -> dict[str, Any]:
        """Answer one read-only SQL statement (DuckDB; tables as schema.table; times are UTC); at most 500 rows.

        It is stopped after `seconds`, at most 300.
        """
        with self._alone():
            return _first(asked(self._store, sql, _checked(rows) + 1, _limited(seconds)), rows)

    def _leaderboard(
        self, kind: Literal["strategy", "book", "model", "ensemble"] | None = None, rows: int = 40
    ) -> dict[str, Any]:
        """Show what leads now, on its holdout and after costs, and how much of it may be luck; by kind and rank."""
        with self._alone():
            return _first(self._store.read(_LEADERS, {"kind": kind}, most=_checked(rows) + 1), rows)

    def _read_report(self, day: str | None = None, section: str | None = None) -> dict[str, Any]:
        """Read the newest daily report, or that of a UTC day such as 2025-06-11; long parts by section=their key."""
        with self._alone():
            return _report(self._store, day, section)

    def _language(self, of: Literal["strategies", "books", "features"] = "strategies") -> dict[str, Any]:
        """Tell how the text of a strategy or a book is written, with a whole example, or which features there are."""
        from strategies.llm.language_reference import book_reference, feature_reference, language_reference

        references = {"strategies": language_reference, "books": book_reference, "features": feature_reference}
        with self._alone():
            return bounded({"language": references[of]()})

    def _backtest(
        self,
        name: str,
        parameters: dict[str, float] | None = None,
        symbols: list[str] | None = None,
        timeframes: list[str] | None = None,
        days: int | None = None,
        start: str | None = None,
        end: str | None = None,
    ) -> dict[str, Any]:
        """Backtest a strategy or book of the library on stored data; a counted trial.

        By default the last 7 days of all traded symbols on the strategy's own timeframes; of a book all that is stored
        of the universe (it takes neither symbols nor timeframes). start and end are UTC; start and days exclude each
        other.
        """
        with self._alone():
            found = _of_library(name)
            return _backtested(self._session, found, parameters, (symbols, timeframes), (days, start, end))

    def _backtest_text(
        self,
        text: str,
        parameters: dict[str, float] | None = None,
        symbols: list[str] | None = None,
        timeframes: list[str] | None = None,
        days: int | None = None,
        start: str | None = None,
        end: str | None = None,
    ) -> dict[str, Any]:
        """Backtest a strategy or book given as text, one class as `language` tells; a counted trial.

        The text is compiled from the language's words alone; it is not executed as Python. It is first evaluated in a
        process of its own, whose time and memory are limited, and checked for look-ahead. The rest is as of backtest.
        """
        from blofin_assets.cli.first_evaluation import evaluated_text

        with self._alone():
            found = evaluated_text(self._session, text, parameters or {})
            return _backtested(self._session, found, None, (symbols, timeframes), (days, start, end))


def _checked(rows: int) -> int:
    if not 1 <= rows <= MOST_ROWS:
        msg = f"rows = {rows}: give 1 to {MOST_ROWS}, and let SQL aggregate or page the rest"
        raise BlofinError(msg)
    return rows


def _limited(seconds: float) -> float:
    if not 0.0 < seconds <= MOST_SECONDS:
        msg = f"seconds = {seconds:g}: give more than 0 and at most {MOST_SECONDS}"
        raise BlofinError(msg)
    return seconds


def _first(frame: pl.DataFrame, rows: int) -> dict[str, Any]:
    more = {"rows": f"the first {rows}; there are more"} if frame.height > rows else {}
    return bounded({"columns": frame.columns, "rows": rows_of(frame.head(rows))}, more)


def _of_library(name: str) -> "Strategy | Book":
    """Return a strategy or book of the library: files are not read here."""
    from blofin_assets.cli.loading import loaded

    if name.endswith(".py"):
        msg = f"{name!r} is a file; give a name of the library, or the text itself to backtest_text"
        raise BlofinError(msg)
    return loaded(name, "for example: ema_crossover")


def _report(store: Warehouse, day: str | None, section: str | None) -> dict[str, Any]:
    wanted = datetime.now(UTC).date() if day is None else parse_day(day)
    stored = store.read(_REPORT, [wanted])
    if stored.is_empty() or (day is not None and stored["report_date"].item() != wanted):
        days = store.read("SELECT min(report_date), max(report_date) FROM reports.daily_reports").row(0)
        have = "there is none yet" if days[0] is None else f"there are reports from {days[0]} to {days[1]}"
        msg = f"there is no report{f' of {day}' if day else ''}: {have}"
        raise BlofinError(msg)
    report: dict[str, Any] = json.loads(stored["report_json"].item())
    if section is not None:
        if section not in report:
            msg = f"the report has no section {section!r}; there are {', '.join(report)}"
            raise BlofinError(msg)
        return bounded({"report_date": report["report_date"], section: report[section]})
    lengths = {name: len(json.dumps(value)) for name, value in report.items()}
    cut = {
        name: f"left out: {length:,} characters; ask for section={name!r}"
        for name, length in lengths.items()
        if length > LONG
    }
    return bounded({name: value for name, value in report.items() if name not in cut}, cut)


def _backtested(
    session: "Session",
    found: "Strategy | Book",
    parameters: Mapping[str, float] | None,
    on: tuple[Sequence[str] | None, Sequence[str] | None],
    window: tuple[int | None, str | None, str | None],
) -> dict[str, Any]:
    """Backtest what was compiled, as the command does; symbols and timeframes, then days, start and end."""
    from blofin_assets.cli.backtest import Request, backtests

    symbols, timeframes = (None if names is None else ",".join(names) for names in on)
    days, begin, until = window
    start, end = (
        None if text is None else parse_moment(text, name) for name, text in (("start", begin), ("end", until))
    )
    request = Request(found.name, symbols, timeframes, days, [], datetime.now(UTC), start, end)
    version = found.with_parameters(**parameters) if parameters else found
    (done,) = backtests(session, [version], request)
    return bounded(done.document())
