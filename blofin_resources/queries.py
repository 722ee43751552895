"""Queries of more than two lines, each a file in `warehouse/queries/`.

Belongs here: finding such a file. Does not belong here: asking (`blofin_resources.warehouse`), any query itself.
"""

from functools import cache
from pathlib import Path
from typing import Final

FILES: Final = Path(__file__).resolve().parents[1] / "warehouse" / "queries"


@cache
def query(name: str) -> str:
    """Return the text of a query.

    Parameters
    ----------
    name : str
        Room that asks and name of the file without its ending, such as `drift/equity_curves`. The first lines of the
        file say, as a comment, what a row of the answer is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    return (FILES / f"{name}.sql").read_text(encoding="utf-8")
