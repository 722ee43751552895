"""Entry point of `blofin`: the commands, and errors as one line.

Belongs here: the list of commands, and errors. Does not belong here: the commands of the bench (`cli.bench`), or the
work of any.

Heavy imports wait until a command needs them, so that `blofin --help` answers at once.
"""

import errno
import importlib.metadata
import io
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from blofin_assets.cli import bench
from blofin_assets.cli.options import AsOf, Json
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
    as_json: Json = False,
) -> None:
    """Run everything that is due: market data, then cycles and reports."""
    from blofin_assets.cli.run import run_due

    run_due(parse_moment(as_of), wait=wait, as_json=as_json)


app.add_typer(bench.app)  # without a name: its commands stand beside the others


@app.command(epilog="For example: blofin report 2025-06-11 --open")
def report(
    day: Annotated[str, typer.Argument(help="UTC day, such as 2025-06-11.")],
    show: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Regenerate the report of a day from stored results; print a summary and its path."""
    from blofin_assets.cli.run import make_report

    make_report(parse_day(day), show=show, as_json=as_json)


@app.command(epilog="For example: blofin reproduce 2025-06-11")
def reproduce(
    report: Annotated[str, typer.Argument(help="UTC day, such as 2025-06-11, or a report's .json file.")],
    as_json: Json = False,
) -> None:
    """Recompute a report and its cycles from its snapshot, and list the values that differ."""
    from blofin_assets.cli.reproduce import reproduce_report

    reproduce_report(report, as_json=as_json)


@app.command(epilog="For example: blofin replay --from 2025-05-01 --to 2025-06-01")
def replay(
    begin: Annotated[str, typer.Option("--from", help="First choice, such as 2025-05-01 (UTC).")],
    end: Annotated[str, typer.Option("--to", help="End of the last stretch, such as 2025-06-01 (UTC).")],
    every: Annotated[int, typer.Option(help="Days between two choices, a multiple of 2.")] = 2,
    budget: Annotated[
        int | None, typer.Option(help="Evaluations of the search at each choice.", show_default="BLOFIN_SEARCH_BUDGET")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay the desk on stored history: what following it would have made, choosing only by what was known."""
    from datetime import timedelta

    from blofin_assets.cli.replay import replay_desk

    first, last = parse_moment(begin, "--from"), parse_moment(end, "--to")
    replay_desk(first, last, timedelta(days=every), budget, as_json=as_json)


@app.command(epilog="For example: blofin step BTC-USDT 2025-05-10T07:31Z real")
def step(
    symbol: Annotated[str, typer.Argument(help="Such as BTC-USDT.")],
    moment: Annotated[str, typer.Argument(help="UTC time of the step, as blofin status and the report name it.")],
    meaning: Annotated[str, typer.Argument(help="real: the market moved; units: history starts there.")],
) -> None:
    """Explain a price step; until then its symbol is excluded from all backtests."""
    from blofin_assets.cli.step import set_step

    set_step(symbol, parse_moment(moment, "the step's time"), meaning)


@app.command("import-ticks", epilog="For example: blofin import-ticks blofin_monitor.db")
def import_ticks(
    file: Annotated[Path, typer.Argument(help="The older system's SQLite file, such as blofin_monitor.db.")],
    as_json: Json = False,
) -> None:
    """Import a file of the older system: ticks as 1-minute bars, scores, knowledge, configurations."""
    from blofin_assets.cli.import_ticks import import_file

    import_file(file, as_json=as_json)


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
    as_json: Json = False,
) -> None:
    """Convert candles, mark prices, funding and positioning data of other programs into an archive."""
    from blofin_assets.cli.import_archive import import_into, plain_format

    plain = plain_format(columns or [], symbol=symbol, timeframe=timeframe, percent=percent)
    import_into(folder, to, plain, dry_run=dry_run, as_json=as_json)


@app.command(epilog="For example: blofin sql 'SELECT * FROM research.leaderboard'")
def sql(
    query: Annotated[str | None, typer.Argument(help="One statement; opens a prompt if omitted.")] = None,
    as_json: Json = False,
) -> None:
    """Query the warehouse (read-only): one statement, or a prompt."""
    from blofin_assets.cli.sql import run_sql

    run_sql(query, as_json=as_json)


@app.command(epilog="For example: blofin mcp")
def mcp() -> None:
    """Serve the warehouse and counted backtests to programs, by the Model Context Protocol over stdio."""
    from blofin_assets.cli.mcp_server import serve

    serve()


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
            line = "interrupted; what is stored is complete. Run the same command again to continue"
            typer.secho(f"blofin: {line}", fg=typer.colors.YELLOW, err=True)
        raise
    except (BlofinError, ValueError, LookupError) as error:  # the domain packages raise the latter two
        if "--verbose" in sys.argv:
            traceback.print_exc()
        _end(str(error))
    except Exception as error:
        told = _full_disk() or (_of_a_file(error) if isinstance(error, OSError) else None)
        if told is None or "--verbose" in sys.argv:
            raise
        _end(told)


def _end(line: str) -> NoReturn:
    typer.secho(f"blofin: {for_terminal(line)}", fg=typer.colors.RED, err=True)
    sys.exit(1)


def _of_a_file(error: OSError) -> str | None:
    """Return what the system refused, and of which file; None if that is not known."""
    if error.filename is None and error.errno == errno.ENOSPC:  # that of the warehouse has room: `_full_disk` looked
        # what waits for the standard output would fail once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"the output cannot be written: {error.strerror}; free some space, or send it elsewhere"
    if error.filename is None or error.strerror is None:
        return None
    return f"{error.filename}: {error.strerror}; check its rights and its folder, then run the command again"


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
