"""Stored price steps: which symbols they exclude, where others begin, and recording what a step means.

Belongs here: reading and writing `market.steps`. Does not belong here: finding steps (`features.steps`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, get_args

import polars as pl

from blofin_resources.errors import MarketError, WarehouseError
from blofin_resources.market.source import iso
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.steps import Step

Meaning = Literal["real", "units"]
MEANINGS: Final[tuple[Meaning, ...]] = get_args(Meaning)

LOOKED_BACK: Final = timedelta(days=60)
"""For how long after it a step keeps its symbol out where nobody says what it is: longer than any window reaches back.
Later the symbol begins at it."""

_SCHEMA: Final = {"symbol": pl.String(), "ts": TS, "ratio": pl.Float64(), "meaning": pl.String()}
_STEPS: Final = "SELECT symbol, ts, ratio, meaning FROM market.steps WHERE ts < ? ORDER BY symbol, ts"
_THERE: Final = "SELECT 1 FROM duckdb_columns() WHERE schema_name = 'market' AND table_name = 'steps' LIMIT 1"


class Steps(NamedTuple):
    """The effect of price steps on the symbols of a warehouse as of a time.

    Attributes
    ----------
    open
        Steps without a meaning yet; they exclude their symbols.
    begins
        For each redenominated symbol, the time from which prices are in its present unit.
    real
        Symbol and time of steps that are market moves.
    """

    open: tuple[Step, ...]
    begins: dict[str, datetime]
    real: frozenset[tuple[str, datetime]]

    @property
    def out(self) -> frozenset[str]:
        """The excluded symbols."""
        return frozenset(step.symbol for step in self.open)

    def kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows (by symbol and ts) that a backtest may use."""
        for symbol in self.out.intersection(rows["symbol"].unique()):
            rows = rows.filter(pl.col("symbol") != symbol)
        for symbol, moment in self.begins.items():
            rows = rows.filter((pl.col("symbol") != symbol) | (pl.col("ts") >= moment))
        return rows


def load_steps(store: Warehouse, as_of: datetime, symbols: Sequence[str] | None = None) -> Steps:
    """Load the effect of price steps as of a time.

    Parameters
    ----------
    store : Warehouse
        Where steps are stored. One written before steps were recorded has none.
    as_of : datetime
        Later steps are ignored (UTC).
    symbols : sequence of str, optional
        Symbols to look up; all where omitted.

    Returns
    -------
    Steps
        Excluded symbols, beginnings and real moves.

    Raises
    ------
    WarehouseError
        If the table exists and cannot be read.
    """
    try:
        rows = store.read(_STEPS, [as_of]).cast(_SCHEMA)  # type: ignore[arg-type]
    except WarehouseError:
        if store.read(_THERE, []).height:
            raise
        return Steps((), {}, frozenset())  # a warehouse from before they were looked for, read only
    rows = rows if symbols is None else rows.filter(pl.col("symbol").is_in(list(symbols)))
    waiting = pl.col("meaning").is_null() & (pl.col("ts") > as_of - LOOKED_BACK)
    begins = rows.filter(~waiting, pl.col("meaning").ne_missing("real")).group_by("symbol").agg(pl.col("ts").max())
    real = rows.filter(pl.col("meaning") == "real")
    return Steps(
        tuple(Step(symbol, ts, ratio) for symbol, ts, ratio, _ in rows.filter(waiting).iter_rows()),
        dict(begins.iter_rows()),
        frozenset(real.select("symbol", "ts").iter_rows()),
    )


def way_out(step: Step) -> str:
    """Return the commands that resolve a step."""
    command = f"blofin step {step.symbol} {step.ts:%Y-%m-%dT%H:%MZ}"
    return f"say which it is: {command} real (the market moved), or {command} units (the symbol begins there)"


def set_step_meaning(store: Warehouse, symbol: str, moment: datetime, meaning: Meaning, *, run_id: str) -> Step:
    """Record what a price step means, and return the step.

    Parameters
    ----------
    store : Warehouse
        Where steps are stored.
    symbol : str
        Its symbol.
    moment : datetime
        Minute of the step (UTC).
    meaning : {'real', 'units'}
        A market move, or a change of the unit of prices.
    run_id : str
        Run that writes.

    Returns
    -------
    Step
        The step with its ratio.

    Raises
    ------
    MarketError
        If the symbol has no step in that minute; the text lists the known ones.
    """
    rows = store.read("SELECT * EXCLUDE (run_id) FROM market.steps ORDER BY symbol, ts").with_columns(
        pl.col("ts").cast(TS)
    )
    found = rows.filter(pl.col("symbol") == symbol, pl.col("ts") == moment)
    if found.is_empty():
        there = "; ".join(str(Step(*row)) for row in rows.select("symbol", "ts", "ratio").iter_rows()) or "none"
        msg = f"{symbol} has no step at {iso(moment)}; known steps: {there}"
        raise MarketError(msg)
    with store.transaction(run_id) as tx:
        tx.replace("market.steps", found.with_columns(meaning=pl.lit(meaning)), symbol=symbol, ts=moment)
    return Step(*found.select("symbol", "ts", "ratio").row(0))
