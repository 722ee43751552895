"""Commands of the researcher's bench: an idea of one's own, on stored candles.

Belongs here: their names, options and help. Does not belong here: their work, whose heavy imports wait until it is
asked for.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from blofin_assets.cli.options import AsOf, BenchDays, End, Fee, Json, Slippage, Start, Symbols, Timeframes
from blofin_assets.cli.times import parse_moment
from blofin_resources.errors import BlofinError

app = typer.Typer()

PANEL: Final = "The bench: ideas of your own, on stored data"


@app.command(
    rich_help_panel=PANEL,
    epilog="For example: blofin backtest ema_crossover aroon_trend --days 3 --timeframes 60m --fee 0.0005",
)
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
    fee: Fee = None,
    slippage: Slippage = None,
    maker: Annotated[
        float | None, typer.Option(help="Fee of resting orders: targets, limits.", show_default="the taker fee")
    ] = None,
    impact: Annotated[
        float | None,
        typer.Option(
            help="Market impact: this times the root of fill / bar volume, added to slippage.", show_default="0"
        ),
    ] = None,
    capital: Annotated[
        float | None,
        typer.Option(
            help="Of each lane, in whole lots where it is given, or of a book, in quote currency.", show_default="10000"
        ),
    ] = None,
    leverage: Annotated[
        float | None, typer.Option(help="Of every entry, in the declared replay.", show_default="as declared")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Folder for trades, equity, daily returns, positions and signals as files.")
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
            impact, leverage, export, form, as_json, strategy[1:],
        )
    )  # fmt: skip


@app.command(
    rich_help_panel=PANEL,
    epilog="For example: blofin sweep ema_crossover --param fast=5:15:1 --param ratio=2:5:1 --days 10",
)
def sweep(
    strategy: Annotated[str, typer.Argument(help="A strategy or book of the library, or a .py file of one.")],
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
    as_json: Json = False,
) -> None:
    """Run every point of a grid of parameters on stored candles: heat maps, the plateau around the best, its luck."""
    from blofin_assets.cli.idea import idea_of, ranges

    named = idea_of(strategy, "for example: blofin sweep ema_crossover --param fast=5:15:1")
    ranges(named, param or [], grid=points is None)
    begin, until = _window(start, end)
    from blofin_assets.cli.stored import Span
    from blofin_assets.cli.sweep import Request, run_sweep

    span = Span(parse_moment(as_of), begin, until, days)
    run_sweep(Request(strategy, param or [], points, symbols, timeframes, span, as_json))


@app.command(
    "walk-forward",
    rich_help_panel=PANEL,
    epilog="For example: blofin walk-forward ema_crossover --train 10d --test 5d --timeframes 60m",
)
def walk_forward(
    strategy: Annotated[str, typer.Argument(help="A strategy or book of the library, or a .py file of one.")],
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
    as_json: Json = False,
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
    run_walk(Request(strategy, train, test, anchored, budget, param or [], symbols, timeframes, span, as_json))


@app.command(rich_help_panel=PANEL, epilog="For example: blofin compare ema_crossover ema_crossover:fast=20 --days 10")
def compare(
    strategy: Annotated[
        list[str], typer.Argument(help="Two or more strategies or books; with parameters as NAME:parameter=number,….")
    ],
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    days: BenchDays = None,
    as_of: AsOf = None,
    start: Start = None,
    end: End = None,
    as_json: Json = False,
) -> None:
    """Compare strategies and books over one window: equity, correlation, differences, costs, when each earned."""
    from blofin_assets.cli.idea import idea_of, numbers, split_named

    for text in strategy:
        name, pairs = split_named(text)
        numbers(idea_of(name, "for example: blofin compare ema_crossover aroon_trend:window=30"), pairs)
    begin, until = _window(start, end)
    from blofin_assets.cli.compare import Compared, run_compare
    from blofin_assets.cli.stored import Span

    run_compare(Compared(strategy, symbols, timeframes, Span(parse_moment(as_of), begin, until, days), as_json))


@app.command(rich_help_panel=PANEL, epilog="For example: blofin features rate_of_change_24 --days 180")
def features(
    name: Annotated[str | None, typer.Argument(help="A feature or a group.", show_default="list all")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with an expression such as zscore(f.rsi_14, 60).")] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated list.", show_default="the universe")] = None,
    timeframe: Annotated[str, typer.Option(help="Of the bars.")] = "60m",
    days: Annotated[
        int | None, typer.Option(help="Length of the window.", show_default="365; of traded symbols 45")
    ] = None,
    as_of: AsOf = None,
    start: Start = None,
    end: End = None,
    fee: Fee = None,
    slippage: Slippage = None,
    as_json: Json = False,
) -> None:
    """List the features, or show the tear sheet of one: what its values said about later returns, net of costs."""
    begin, until = _window(start, end)
    from blofin_assets.cli.feature_names import check_request

    check_request(name, file)
    if name is None and file is None:
        from blofin_assets.cli.feature_list import list_features

        list_features(as_json=as_json)
        return
    from blofin_assets.cli.features import Request, run_features
    from blofin_assets.cli.stored import Span

    span = Span(parse_moment(as_of), begin, until, days)
    run_features(Request(name, file, symbols, timeframe, span, as_json, fee, slippage))


def _window(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the times of a window; refuse one that is empty or reversed before anything is loaded."""
    begin, until = (
        None if text is None else parse_moment(text, f"--{name}") for name, text in (("start", start), ("end", end))
    )
    if begin is not None and until is not None and begin >= until:
        msg = f"the window is empty: --start {start} is not before --end {end}; swap them, or give an earlier start"
        raise BlofinError(msg)
    return begin, until
