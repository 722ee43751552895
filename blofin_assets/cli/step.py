"""`blofin step`: declare whether a price step is a market move or a change of units.

Belongs here: the terminal side. Does not belong here: the effect of a step (`blofin_resources.market.steps`).
"""

from datetime import datetime
from typing import Final

import typer

from blofin_assets.cli.session import open_session
from blofin_resources.errors import BlofinError
from blofin_resources.market.steps import MEANINGS, set_step_meaning

RUN_ID: Final = "blofin step"
"""`run_id` of the row: this is no Dagster run."""


def set_step(symbol: str, moment: datetime, meaning: str) -> None:
    """Store the meaning of a price step, and print its effect.

    Parameters
    ----------
    symbol : str
        The symbol, upper or lower case.
    moment : datetime
        Minute of the step (UTC).
    meaning : str
        `real` or `units`.

    Raises
    ------
    BlofinError
        For another meaning, or if there is no such step.
    """
    chosen = next((candidate for candidate in MEANINGS if candidate == meaning), None)
    if chosen is None:
        msg = f"{meaning!r} is neither real (the market moved) nor units (prices are in another unit from then on)"
        raise BlofinError(msg)
    step = set_step_meaning(open_session().warehouse, symbol.strip().upper(), moment, chosen, run_id=RUN_ID)
    follows = "it is traded as it is" if chosen == "real" else "the symbol begins there"
    typer.echo(f"{step}: {chosen}; {follows}, from the next cycle on")
