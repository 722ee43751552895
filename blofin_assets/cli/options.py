"""Options that several commands have, each with its one name, meaning and default.

Belongs here: what an option is called and says. Does not belong here: what a command does with it.
"""

from typing import Annotated

import typer

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Run as of this time (UTC), such as 2025-06-12T00:00:00Z.", show_default="now"),
]

Symbols = Annotated[str | None, typer.Option(help="Comma-separated list.", show_default="all traded symbols")]
Timeframes = Annotated[
    str | None, typer.Option(help="Comma-separated list, such as 15m,60m,4h.", show_default="its own")
]
BenchDays = Annotated[
    int | None,
    typer.Option("--days", help="Length of the window.", show_default="45; of books alone, all that is stored"),
]
Start = Annotated[str | None, typer.Option(help="Start of the window (UTC), such as 2025-03-01.")]
End = Annotated[str | None, typer.Option(help="End of the window (UTC).", show_default="all stored")]
Fee = Annotated[float | None, typer.Option(help="Taker fee a side, a fraction.", show_default="0.0006")]
Slippage = Annotated[float | None, typer.Option(help="Slippage a side, a fraction.", show_default="0.0002")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
