"""The forward ledger's arithmetic: what a replay adds to what was written before, and where it disagrees.

Belongs here: taking a replay apart into entries and closed trades, deciding which rows are new, comparing the rest,
attributing differences. Does not belong here: who is followed from when (`blofin_assets.following`), storing.

A replay starts flat at activation and is deterministic, so what an earlier replay wrote must be a prefix of what a
later one gives. Live is what was written when it happened: an entry is written by the first replay that sees its bar
closed, a trade by the first that sees it closed, and a trade only where its entry was written. What a later replay
finds in time that was followed already is never written, only noted: it did not happen.
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from backtester.lanes import TRADE_SCHEMA
from backtester.pooling import PooledResult
from features.bars import MINUTES, TS

Place = tuple[Any, ...]
"""Symbol, timeframe, time of the entry, and entry or trade."""

Noted = Mapping[Place, tuple[str, str]]
"""Attribution and reason of what was seen before."""

ONLY_IN_REPLAY: Final = "only in replay"

KEY: Final = ("symbol", "timeframe", "entry_ts")
"""Tells the entries and the trades of one replay apart."""

ENTRY_COLUMNS: Final = ("symbol", "timeframe", "signal_ts", "side", "entry_ts", "entry_price", "quantity")
TRADE_COLUMNS: Final = (
    *ENTRY_COLUMNS, "exit_ts", "exit_price", "pnl", "fees", "funding", "slippage", "pnl_pct", "exit_reason",
)  # fmt: skip

_COMPARED: Final = {
    "entry": ("side", "entry_price", "quantity"),
    "trade": ("side", "entry_price", "quantity", "exit_ts", "exit_price", "pnl_pct", "exit_reason"),
}
TOLERANCE: Final = 1e-9
"""Relative difference up to which two numbers are the same: sums may be taken in another order on another machine."""
NOTHING: Final = 1e-12
"""Absolute difference up to which two numbers are the same, for results near 0."""

DIFFERENCE_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "timeframe": pl.String(),
        "entry_ts": TS,
        "item": pl.String(),
        "difference": pl.String(),
        "differing": pl.String(),
        "ledger": pl.String(),
        "replay": pl.String(),
        "known_at": TS,
        "written_at": TS,
    }
)
"""Differences: `known_at` when what differs had happened; `written_at` the key that wrote the ledger's row, or null."""

_FILLS: Final = ("kernel", "signals", "bars", "lanes", "pooling", "costs", "evaluation", "marks")


@dataclass(frozen=True, eq=False)
class Replay:
    """What was found when a period was replayed.

    Attributes
    ----------
    entries : DataFrame
        `ENTRY_COLUMNS`: every entry, of open positions too.
    trades : DataFrame
        `TRADE_COLUMNS`: closed trades.
    returns : DataFrame
        `ts` (full hour that ends the return), `net_return` (fraction).
    """

    entries: pl.DataFrame
    trades: pl.DataFrame
    returns: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Ledger:
    """What earlier replays of one run wrote.

    Attributes
    ----------
    entries, trades : DataFrame
        As in `Replay`, and `as_of`: the key that wrote the row.
    horizon : datetime or None
        Last key that followed the run; None where this is the first.
    """

    entries: pl.DataFrame
    trades: pl.DataFrame
    horizon: datetime | None


@dataclass(frozen=True, eq=False)
class Advance:
    """What a replay adds to a ledger, and where the two disagree.

    Attributes
    ----------
    entries, trades : DataFrame
        New rows, as in `Replay`.
    returns : DataFrame
        New hours, as in `Replay`.
    differences : DataFrame
        `DIFFERENCE_SCHEMA`, by the time at which they happened.
    compared : int
        Rows of earlier keys that were held against the replay.
    """

    entries: pl.DataFrame
    trades: pl.DataFrame
    returns: pl.DataFrame
    differences: pl.DataFrame
    compared: int


def replay_of(trades: pl.DataFrame, pooled: PooledResult) -> Replay:
    """Return a replay from the trades and the pooled result of an evaluation that starts at activation.

    Parameters
    ----------
    trades : DataFrame
        `TRADE_SCHEMA` of the scored lanes; a position open at the end has the exit reason `open`.
    pooled : PooledResult
        Its hourly returns, the first of which ends one hour after activation.
    """
    rows = trades.cast(TRADE_SCHEMA).with_columns((pl.col("entry_ts") - _bar()).alias("signal_ts")).sort(KEY)
    hours = pooled.equity_frame()["ts"].tail(len(pooled.returns))
    returns = pl.DataFrame({"ts": hours, "net_return": pooled.returns}, schema={"ts": TS, "net_return": pl.Float64})
    return Replay(
        rows.select(ENTRY_COLUMNS), rows.filter(pl.col("exit_reason") != "open").select(TRADE_COLUMNS), returns
    )


def advance(ledger: Ledger, replay: Replay, as_of: datetime) -> Advance:
    """Return what a replay up to `as_of` adds to the ledger, and where it disagrees with it.

    Notes
    -----
    Whatever the keys and their order, each row comes out as new exactly once; a replay up to an earlier time than the
    ledger's horizon adds nothing. Rows of the ledger that happened after `as_of` are not looked at.
    """
    horizon = ledger.horizon
    entries, trades = _timed(replay.entries, "entry_ts"), _timed(replay.trades, "exit_ts")
    fresh = pl.lit(value=True) if horizon is None else pl.col("known_at") > horizon
    new_entries = entries.filter(fresh).join(ledger.entries, on=KEY, how="anti")
    lived = pl.concat([ledger.entries.select(KEY), new_entries.select(KEY)])
    happened = trades.join(lived, on=KEY, how="semi")
    new_trades = happened.filter(fresh).join(ledger.trades, on=KEY, how="anti")
    old_entries = _timed(ledger.entries, "entry_ts").filter(pl.col("known_at") <= as_of)
    old_trades = _timed(ledger.trades, "exit_ts").filter(pl.col("known_at") <= as_of)
    differences = pl.concat(
        [
            _differences("entry", old_entries, entries.filter(~fresh)),
            _differences("trade", old_trades, happened.join(new_trades, on=KEY, how="anti")),
        ]
    ).sort("known_at", "symbol", "timeframe", "item")
    hours = replay.returns if horizon is None else replay.returns.filter(pl.col("ts") > horizon)
    return Advance(
        new_entries.select(ENTRY_COLUMNS).sort(KEY),
        new_trades.select(TRADE_COLUMNS).sort(KEY),
        hours,
        differences,
        sum(rows.filter(pl.col("as_of") < as_of).height for rows in (old_entries, old_trades)),
    )


def attribute(
    differences: pl.DataFrame,
    changed_since: Callable[[datetime | None], datetime | None],
    other_code: Callable[[datetime | None], bool],
    noted: Noted | None = None,
    joined: Collection[str] = (),
) -> pl.DataFrame:
    """Return the differences with what explains each.

    Parameters
    ----------
    differences : DataFrame
        `DIFFERENCE_SCHEMA`.
    changed_since : function of a ledger's key
        The time of the first bar or payment that is now other than when that key wrote; None where all is as it was.
        Asked with None for what the ledger lacks.
    other_code : function of a ledger's key
        Whether that key wrote with other code than today's.
    noted : mapping, optional
        What was said of rows that only a replay has, when each was first seen. The last key before that is what it was
        compared with; later keys know the change already, and find nothing that changed since.
    joined : collection of str
        Symbols that the last key did not follow.

    Returns
    -------
    DataFrame
        With `attribution` and `reason`. What neither changed data nor other code explains is look-ahead: the same
        code on the same past said something else once it knew more.
    """
    known = noted or {}
    found = [
        _noted(row, known) or _explained(row, changed_since, other_code, joined)
        for row in differences.iter_rows(named=True)
    ]
    return differences.with_columns(
        pl.Series("attribution", [kind for kind, _ in found], pl.String),
        pl.Series("reason", [reason for _, reason in found], pl.String),
    )


@cache
def engine_version() -> str:
    """Return 12 hexadecimal digits that name the code which turns signals into fills."""
    folder = Path(__file__).parent
    text = b"".join((folder / f"{name}.py").read_bytes() for name in _FILLS)
    return hashlib.sha256(text).hexdigest()[:12]


def _explained(
    row: dict[str, Any],
    changed_since: Callable[[datetime | None], datetime | None],
    other_code: Callable[[datetime | None], bool],
    joined: Collection[str],
) -> tuple[str, str]:
    if row["difference"] == ONLY_IN_REPLAY and row["symbol"] in joined:
        return "version change", f"{row['symbol']} was not among the symbols that were followed then"
    changed = changed_since(row["written_at"])
    if changed is not None and changed < row["known_at"]:
        return (
            "data revision",
            f"the market data of {changed:%Y-%m-%d %H:%M} UTC is not what it was when this was written",
        )
    if other_code(row["written_at"]):
        return "version change", "the code that turns signals into fills was changed since"
    return "look-ahead", "the same code on the same data says something else now that it knows what came later"


def _noted(row: dict[str, Any], noted: Noted) -> tuple[str, str] | None:
    """Return what was said of a row that only the replay has; what was written is explained anew by each key."""
    return noted.get((*(row[name] for name in KEY), row["item"])) if row["difference"] == ONLY_IN_REPLAY else None


def _bar() -> pl.Expr:
    return pl.duration(minutes=pl.col("timeframe").replace_strict(MINUTES, return_dtype=pl.Int64))


def _timed(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the rows with `known_at`: when the bar in which they happened had closed."""
    return rows.with_columns((pl.col(column) + _bar()).alias("known_at"))


def _differences(item: str, ledger: pl.DataFrame, replay: pl.DataFrame) -> pl.DataFrame:
    only_ledger, only_replay = ledger.join(replay, on=KEY, how="anti"), replay.join(ledger, on=KEY, how="anti")
    both = ledger.join(replay, on=KEY, how="inner", suffix="_replay")
    rows = [_row(item, "only in ledger", row, row, None) for row in only_ledger.iter_rows(named=True)]
    rows += [_row(item, ONLY_IN_REPLAY, row, None, row) for row in only_replay.iter_rows(named=True)]
    for row in both.iter_rows(named=True):
        other = {name: row[f"{name}_replay"] for name in _COMPARED[item]}
        unlike = [name for name in _COMPARED[item] if not _same(row[name], other[name])]
        if unlike:
            rows.append(_row(item, "other values", row, row, other, unlike))
    return pl.DataFrame(rows, schema=DIFFERENCE_SCHEMA)


def _row(
    item: str,
    difference: str,
    row: dict[str, Any],
    ledger: dict[str, Any] | None,
    replay: dict[str, Any] | None,
    differing: list[str] | None = None,
) -> dict[str, Any]:
    shown = differing or list(_COMPARED[item])
    return {
        **{name: row[name] for name in KEY},
        "item": item,
        "difference": difference,
        "differing": json.dumps(differing) if differing else None,
        "ledger": _json(ledger, shown),
        "replay": _json(replay, shown),
        "known_at": row["known_at"],
        "written_at": None if ledger is None else row["as_of"],
    }


def _json(row: dict[str, Any] | None, names: list[str]) -> str | None:
    return None if row is None else json.dumps({name: row[name] for name in names}, default=str)


def _same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=NOTHING)
    return left == right
