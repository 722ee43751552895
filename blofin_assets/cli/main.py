"""Entry point of `blofin`: the commands, and errors as one line.

Belongs here: the list of commands, and errors. Does not belong here: the work of a command.

Heavy imports wait until a command needs them, so that `blofin --help` answers at once.
"""

import importlib.metadata
import io
import sys
import traceback
import warnings
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from blofin_assets.cli.times import parse_day, parse_moment
from blofin_resources.errors import BlofinError
from blofin_resources.texts import for_terminal

ALMOST_NOTHING: Final = 1_000_000
"""Bytes: with less free disk space, an unexpected error is attributed to the disk."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Research platform for crypto-perpetual strategies. Settings come from BLOFIN_* variables and .env.",
)

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Run as of this time (UTC), such as 2025-06-12T00:00:00Z.", show_default="now"),
]

Symbols = Annotated[str | None, typer.Option(help="Comma-separated list.", show_default="all traded symbols")]
Timeframes = Annotated[
    str | None, typer.Option(help="Comma-separated list, such as 15m,60m,4h.", show_default="its own")
]
BenchDays = Annotated[int | None, typer.Option("--days", help="Length of the window.", show_default="45")]
Start = Annotated[str | None, typer.Option(help="Start of the window (UTC), such as 2025-03-01.")]
End = Annotated[str | None, typer.Option(help="End of the window (UTC).", show_default="all stored")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells count it: 128 and the number of the signal."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blofin {importlib.metadata.version('blofin-research')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")] = False,
) -> None:
    """Research platform for crypto-perpetual strategies."""
    from blofin_resources.settings import Settings, unknown_variables

    del version, verbose  # the callback's, and read by `main`, which outlives the command
    Settings()  # a malformed one is reported at once, before the slow imports of a command
    unknown = unknown_variables()
    if unknown:
        line = f"blofin: {', '.join(unknown)}: unknown setting, ignored; see README.md, Settings"
        typer.secho(line, fg=typer.colors.YELLOW, err=True)


@app.command(epilog="For example: blofin run --as-of 2025-06-12T00:00:00Z")
def run(
    as_of: AsOf = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait if the exchange states when its block ends.")] = False,
) -> None:
    """Run everything that is due: market data, then cycles and reports."""
    from blofin_assets.cli.run import run_due

    run_due(parse_moment(as_of), wait=wait)


@app.command(epilog="For example: blofin backtest ema_crossover aroon_trend --days 3 --timeframes 60m --fee 0.0005")
def backtest(
    strategy: Annotated[
        list[str],
        typer.Argument(help="Strategies of the library, or .py files of them; or one book.", show_default=False),
    ],
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    days: Annotated[
        int | None, typer.Option(help="Length of the window.", show_default="7; of a book, all that is stored")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(help="A parameter, name=number; repeatable.")] = None,
    as_of: AsOf = None,
    start: Start = None,
    end: End = None,
    fee: Annotated[float | None, typer.Option(help="Taker fee a side, a fraction.", show_default="0.0006")] = None,
    slippage: Annotated[float | None, typer.Option(help="Slippage a side, a fraction.", show_default="0.0002")] = None,
    maker: Annotated[
        float | None, typer.Option(help="Fee of targets, as resting orders.", show_default="the taker fee")
    ] = None,
    capital: Annotated[
        float | None, typer.Option(help="Of each lane, or of a book, in quote currency.", show_default="10000")
    ] = None,
    leverage: Annotated[
        float | None, typer.Option(help="Of every entry, in the declared replay.", show_default="as declared")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Folder for trades, equity, positions and signals as files.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="Of these files: parquet or csv.")] = "parquet",
    as_json: Json = False,
) -> None:
    """Backtest strategies on stored candles (a table and a page each), or a book on the stored universe (tables)."""
    from blofin_assets.cli.idea import export_paths, idea_of, numbers

    for name in strategy:
        numbers(idea_of(name, "for example: blofin backtest ema_crossover --days 7 --param fast=8"), param or [])
    if export is not None:
        export_paths(export, [Path(name).stem for name in strategy], form)
    begin, until = _window(start, end)
    from blofin_assets.cli.backtest import Request, run_backtest

    of = parse_moment(as_of)
    run_backtest(
        Request(
            strategy[0], symbols, timeframes, days, param or [], of, begin, until, capital, fee, slippage, maker,
            leverage, export, form, as_json, strategy[1:],
        )
    )  # fmt: skip


@app.command(epilog="For example: blofin sweep ema_crossover --param fast=5:15:1 --param slow=20:60:5 --days 10")
def sweep(
    strategy: Annotated[str, typer.Argument(help="A strategy of the library, or a .py file of one.")],
    param: Annotated[
        list[str] | None, typer.Option(help="A range, name=low:high:step; or name=number, fixed; repeatable.")
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="Draw so many points by Sobol.", show_default="the whole grid", min=1)
    ] = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    days: BenchDays = None,
    as_of: AsOf = None,
    start: Start = None,
    end: End = None,
) -> None:
    """Run every point of a grid of parameters on stored candles: heat maps, the plateau around the best, its luck."""
    from blofin_assets.cli.idea import idea_of, ranges

    named = idea_of(strategy, "for example: blofin sweep ema_crossover --param fast=5:15:1")
    ranges(named, param or [], grid=points is None)
    begin, until = _window(start, end)
    from blofin_assets.cli.stored import Span
    from blofin_assets.cli.sweep import Request, run_sweep

    span = Span(parse_moment(as_of), begin, until, days)
    run_sweep(Request(strategy, param or [], points, symbols, timeframes, span))


@app.command(
    "walk-forward", epilog="For example: blofin walk-forward ema_crossover --train 10d --test 5d --timeframes 60m"
)
def walk_forward(
    strategy: Annotated[str, typer.Argument(help="A strategy of the library, or a .py file of one.")],
    train: Annotated[str, typer.Option(help="Length of each training window, such as 90d, 36h, 4w.")] = "90d",
    test: Annotated[str, typer.Option(help="Length of each test after it.")] = "30d",
    anchored: Annotated[bool, typer.Option("--anchored", help="Train on everything before each test.")] = False,
    budget: Annotated[
        int | None, typer.Option(help="Evaluations in each window.", show_default="BLOFIN_TUNING_BUDGET", min=2)
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of the version to begin with, name=number; repeatable.")
    ] = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    as_of: AsOf = None,
    start: Annotated[
        str | None, typer.Option(help="Start of the first training window (UTC).", show_default="all stored")
    ] = None,
    end: End = None,
) -> None:
    """Choose parameters on each window and trade them on the next: the joined tests, and how far training lasted."""
    from blofin_assets.cli.idea import idea_of, length_of, numbers

    numbers(idea_of(strategy, "for example: blofin walk-forward ema_crossover --train 28d --test 7d"), param or [])
    for option, text in (("--train", train), ("--test", test)):
        length_of(text, option)
    begin, until = _window(start, end)
    from blofin_assets.cli.stored import Span
    from blofin_assets.cli.walk_forward import Request, run_walk

    span = Span(parse_moment(as_of), begin, until)
    run_walk(Request(strategy, train, test, anchored, budget, param or [], symbols, timeframes, span))


@app.command(epilog="For example: blofin compare ema_crossover ema_crossover:fast=20 --days 10")
def compare(
    strategy: Annotated[
        list[str], typer.Argument(help="Two or more strategies; with parameters as NAME:parameter=number,….")
    ],
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    days: BenchDays = None,
    as_of: AsOf = None,
    start: Start = None,
    end: End = None,
    as_json: Json = False,
) -> None:
    """Compare strategies over one window: equity, correlation, paired differences, costs, when each earned."""
    from blofin_assets.cli.idea import idea_of, numbers, split_named

    for text in strategy:
        name, pairs = split_named(text)
        numbers(idea_of(name, "for example: blofin compare ema_crossover aroon_trend:window=30"), pairs)
    begin, until = _window(start, end)
    from blofin_assets.cli.compare import Compared, run_compare
    from blofin_assets.cli.stored import Span

    run_compare(Compared(strategy, symbols, timeframes, Span(parse_moment(as_of), begin, until, days), as_json))


@app.command(epilog="For example: blofin report 2025-06-11 --open")
def report(
    day: Annotated[str, typer.Argument(help="UTC day, such as 2025-06-11.")],
    show: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Regenerate the report of a day from stored results; print a summary and its path."""
    from blofin_assets.cli.run import make_report

    make_report(parse_day(day), show=show)


@app.command(epilog="For example: blofin reproduce 2025-06-11")
def reproduce(
    report: Annotated[str, typer.Argument(help="UTC day, such as 2025-06-11, or a report's .json file.")],
) -> None:
    """Recompute a report and its cycles from its snapshot, and list the values that differ."""
    from blofin_assets.cli.reproduce import reproduce_report

    reproduce_report(report)


@app.command(epilog="For example: blofin replay --from 2025-05-01 --to 2025-06-01")
def replay(
    begin: Annotated[str, typer.Option("--from", help="First choice, such as 2025-05-01 (UTC).")],
    end: Annotated[str, typer.Option("--to", help="End of the last stretch, such as 2025-06-01 (UTC).")],
    every: Annotated[int, typer.Option(help="Days between two choices, a multiple of 2.")] = 2,
    budget: Annotated[
        int | None, typer.Option(help="Evaluations of the search at each choice.", show_default="BLOFIN_SEARCH_BUDGET")
    ] = None,
) -> None:
    """Replay the desk on stored history: what following it would have made, choosing only by what was known."""
    from datetime import timedelta

    from blofin_assets.cli.replay import replay_desk

    replay_desk(parse_moment(begin, "--from"), parse_moment(end, "--to"), timedelta(days=every), budget)


@app.command(epilog="For example: blofin step BTC-USDT 2025-05-10T07:31Z real")
def step(
    symbol: Annotated[str, typer.Argument(help="Such as BTC-USDT.")],
    moment: Annotated[str, typer.Argument(help="UTC time of the step, as blofin status and the report name it.")],
    meaning: Annotated[str, typer.Argument(help="real: the market moved; units: history starts there.")],
) -> None:
    """Explain a price step; until then its symbol is excluded from all backtests."""
    from blofin_assets.cli.step import set_step

    set_step(symbol, parse_moment(moment), meaning)


@app.command("import-ticks", epilog="For example: blofin import-ticks blofin_monitor.db")
def import_ticks(
    file: Annotated[Path, typer.Argument(help="The older system's SQLite file, such as blofin_monitor.db.")],
) -> None:
    """Import a file of the older system: ticks as 1-minute bars, scores, knowledge, configurations."""
    from blofin_assets.cli.import_ticks import import_file

    import_file(file)


@app.command("import-archive", epilog="For example: blofin import-archive user_data/data/binance --to archive")
def import_archive(
    folder: Annotated[
        Path, typer.Argument(help="Folder with files of freqtrade or Binance, CSV or Parquet; or one file.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder of the archive; created if absent.")],
    columns: Annotated[
        list[str] | None,
        typer.Option(help="Our names of the columns in CSV or Parquet files, such as ts=opened,close=last."),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Symbol of a CSV or Parquet file whose name has none.")] = None,
    timeframe: Annotated[
        str | None, typer.Option(help="Timeframe of CSV or Parquet files whose names have none, such as 1h.")
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="Funding rates are in percent.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the result and write nothing.")] = False,
) -> None:
    """Convert candles, mark prices, funding and positioning data of other programs into an archive."""
    from blofin_assets.cli.import_archive import import_into, plain_format

    plain = plain_format(columns or [], symbol=symbol, timeframe=timeframe, percent=percent)
    import_into(folder, to, plain, dry_run=dry_run)


@app.command(epilog="For example: blofin sql 'SELECT * FROM research.leaderboard'")
def sql(query: Annotated[str | None, typer.Argument(help="One statement; opens a prompt if omitted.")] = None) -> None:
    """Query the warehouse (read-only): one statement, or a prompt."""
    from blofin_assets.cli.sql import run_sql

    run_sql(query)


@app.command(epilog="For example: blofin status --json")
def status(
    as_json: Json = False,
) -> None:
    """Show runs, due work and the age of the data; exit code 3 if something needs attention."""
    from blofin_assets.cli.status import show_status

    show_status(as_json=as_json)


@app.command(epilog="For example: blofin ui --port 3001 --no-daemon")
def ui(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
    no_daemon: Annotated[bool, typer.Option("--no-daemon", help="Only the UI; the daemon runs elsewhere.")] = False,
) -> None:
    """Start Dagster's UI and daemon for this warehouse, on 127.0.0.1 only."""
    from blofin_assets.cli.ui import serve

    serve(port, daemon=not no_daemon)


@app.command(epilog="For example: BLOFIN_WAREHOUSE=real blofin daemon")
def daemon() -> None:
    """Run only Dagster's daemon, as a service: schedules and sensors start what is due."""
    from blofin_assets.cli.ui import run_daemon

    run_daemon()


def _window(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the times of a window; refuse one that is empty or reversed before anything is loaded."""
    begin, until = (
        None if text is None else parse_moment(text, f"--{name}") for name, text in (("start", start), ("end", end))
    )
    if begin is not None and until is not None and begin >= until:
        msg = f"the window is empty: --start {start} is not before --end {end}; swap them, or give an earlier start"
        raise BlofinError(msg)
    return begin, until


def main() -> None:
    """Run the command; an error that a user can fix is one line and exit code 1, Ctrl-C one line and 130."""
    warnings.filterwarnings("ignore", module="dagster")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # characters that the terminal's encoding lacks are escaped
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            line = "interrupted; everything stored is complete. The same command again goes on, or begins anew"
            typer.secho(f"blofin: {line}", fg=typer.colors.YELLOW, err=True)
        raise
    except (BlofinError, ValueError, LookupError) as error:  # the domain packages raise the latter two
        if "--verbose" in sys.argv:
            traceback.print_exc()
        _end(str(error))
    except Exception:
        full = _full_disk()
        if full is None or "--verbose" in sys.argv:
            raise
        _end(full)


def _end(line: str) -> NoReturn:
    typer.secho(f"blofin: {for_terminal(line)}", fg=typer.colors.RED, err=True)
    sys.exit(1)


def _full_disk() -> str | None:
    """Return a message if the disk of the warehouse is full, because each library has its own error for that."""
    import shutil

    from blofin_resources.settings import Settings

    folder = Settings().warehouse.resolve()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    if free > ALMOST_NOTHING:
        return None
    return (
        f"the disk of {folder} is full ({free / 1e6:.1f} MB left); free some space and run the command again: "
        "stored data is intact, and the rest is still due"
    )
