"""Entry point of `blofin`: the commands, and errors as one line.

Belongs here: the list of commands and what happens when one fails. Does not belong here: what a command does.

Heavy imports wait until a command needs them, so that `blofin --help` answers at once.
"""

import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from blofin_assets.cli.times import parse_day, parse_moment
from blofin_resources.errors import BlofinError

ALMOST_NOTHING: Final = 1_000_000
"""Bytes: with less left on a disk, an error that nobody foresaw is the disk's."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Research platform for crypto-perpetual strategies. Settings come from BLOFIN_* variables and .env.",
)

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of", help="Pretend that it is this time (UTC), such as 2025-06-12T00:00:00Z.", show_default="now"
    ),
]


@app.callback()
def common(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")] = False,
) -> None:
    """Research platform for crypto-perpetual strategies."""
    from blofin_resources.settings import Settings

    del verbose  # read by `main`, which outlives the command
    Settings()  # a malformed one is told at once, before the seconds that a command's imports take


@app.command()
def run(as_of: AsOf = None) -> None:
    """Bring everything up to date: market data, then each cycle and report that is due."""
    from blofin_assets.cli.run import run_due

    run_due(parse_moment(as_of))


@app.command()
def backtest(
    strategy: Annotated[str, typer.Argument(help="A name in the library, or a .py file.")],
    symbols: Annotated[str | None, typer.Option(help="Comma list.", show_default="all that are traded")] = None,
    timeframes: Annotated[str | None, typer.Option(help="Comma list of 1m, 5m, 60m.", show_default="its own")] = None,
    days: Annotated[int, typer.Option(help="Length of the window.")] = 7,
    param: Annotated[list[str] | None, typer.Option(help="A parameter, name=number; can be repeated.")] = None,
    as_of: AsOf = None,
) -> None:
    """Backtest one strategy on stored candles: a table here, and a page with plots."""
    from blofin_assets.cli.backtest import Request, run_backtest

    run_backtest(Request(strategy, symbols, timeframes, days, param or [], parse_moment(as_of)))


@app.command()
def report(
    day: Annotated[str, typer.Argument(help="UTC day, such as 2025-06-11.")],
    show: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Make the report of a day again from what is stored; print what it says and where it is."""
    from blofin_assets.cli.run import make_report

    make_report(parse_day(day), show=show)


@app.command()
def reproduce(
    report: Annotated[str, typer.Argument(help="UTC day, such as 2025-06-11, or a report's .json file.")],
    force: Annotated[bool, typer.Option("--force", help="Compare although other code made the report.")] = False,
) -> None:
    """Compute a report and its cycles again from its snapshot, and say which number differs."""
    from blofin_assets.cli.reproduce import reproduce_report

    reproduce_report(report, force=force)


@app.command("import-ticks")
def import_ticks(
    file: Annotated[Path, typer.Argument(help="The older system's SQLite file, such as blofin_monitor.db.")],
) -> None:
    """Take over an older system's file: ticks as 1-minute bars, scores, knowledge, configurations."""
    from blofin_assets.cli.import_ticks import import_file

    import_file(file)


@app.command()
def sql(query: Annotated[str | None, typer.Argument(help="One statement; a prompt opens without.")] = None) -> None:
    """Query the warehouse, reading only: one statement, or a prompt."""
    from blofin_assets.cli.sql import run_sql

    run_sql(query)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show what ran, what is due, how old the data is; exit code 3 if something needs a person."""
    from blofin_assets.cli.status import show_status

    show_status(as_json=as_json)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
    no_daemon: Annotated[bool, typer.Option("--no-daemon", help="The UI alone; the daemon runs elsewhere.")] = False,
) -> None:
    """Open Dagster's UI, with its daemon, on this warehouse; on 127.0.0.1 only."""
    from blofin_assets.cli.ui import serve

    serve(port, daemon=not no_daemon)


@app.command()
def daemon() -> None:
    """Run Dagster's daemon alone, as a service: schedules and sensors start what is due."""
    from blofin_assets.cli.ui import run_daemon

    run_daemon()


def main() -> None:
    """Run the command; an error that a user can put right is one line and exit code 1."""
    warnings.filterwarnings("ignore", module="dagster")
    try:
        app()
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
    typer.secho(f"blofin: {line}", fg=typer.colors.RED, err=True)
    sys.exit(1)


def _full_disk() -> str | None:
    """Return what to say where the warehouse's disk is full: each library has an error of its own for that."""
    import shutil

    from blofin_resources.settings import Settings

    folder = Settings().warehouse.resolve()
    free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    if free > ALMOST_NOTHING:
        return None
    return (
        f"the disk of {folder} is full ({free / 1e6:.1f} MB left); make room, then run the same again: "
        "what was stored is whole, and what was not is still due"
    )
