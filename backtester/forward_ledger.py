"""The forward ledger: which rows a replay adds, and where it disagrees with rows written before.

Belongs here: splitting a replay into entries and closed trades, deciding which rows are new, comparing the rest,
attributing differences. Does not belong here: what is tracked from when (`blofin_assets.forward.tracked`), storing.

A replay starts flat at activation and is deterministic, so the rows of an earlier replay must be a prefix of those of
a later one. A row is live if it was written when it happened: an entry by the first replay after its bar closed, a
trade by the first replay after it closed, and only if its entry was written. Trades that only a later replay produces
for an already covered period are logged as differences and never added to the ledger.
"""

import ast
import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from backtester.evaluation.book_evaluation import BookEvaluation
from backtester.evaluation.pooling import PooledResult
from backtester.simulation.lanes import TRADE_SCHEMA
from features.bars import MINUTES, TS

RowKey = tuple[Any, ...]
"""Symbol, timeframe, time of the entry, and entry or trade."""

PastExplanations = Mapping[RowKey, tuple[str, str]]
"""Attribution and reason of differences that earlier replays logged, by row."""

DELISTED: Final = "delisted"
"""Exit reason of a position that was closed with the last bar of its symbol."""


class Item(StrEnum):
    """Which kind of row differs."""

    ENTRY = "entry"
    TRADE = "trade"


class Difference(StrEnum):
    """How the ledger and its replay differ."""

    ONLY_IN_LEDGER = "only in ledger"
    ONLY_IN_REPLAY = "only in replay"
    OTHER_VALUES = "other values"


class Attribution(StrEnum):
    """Cause of a difference; look-ahead where there is no other."""

    DATA_REVISION = "data revision"
    VERSION_CHANGE = "version change"
    LOOK_AHEAD = "look-ahead"


KEY: Final = ("symbol", "timeframe", "entry_ts")
"""Columns that identify an entry or a trade within one replay."""

ENTRY_COLUMNS: Final = ("symbol", "timeframe", "signal_ts", "side", "entry_ts", "entry_price", "quantity")
TRADE_COLUMNS: Final = (
    *ENTRY_COLUMNS, "exit_ts", "exit_price", "pnl", "fees", "funding", "slippage", "pnl_pct", "exit_reason",
)  # fmt: skip

_COMPARED_COLUMNS: Final = {
    Item.ENTRY: ("side", "entry_price", "quantity"),
    Item.TRADE: ("side", "entry_price", "quantity", "exit_ts", "exit_price", "pnl_pct", "exit_reason"),
}
TOLERANCE: Final = 1e-9
"""Relative difference up to which two numbers are equal: the order of sums may differ between machines."""
NOTHING: Final = 1e-12
"""Absolute difference up to which two numbers near 0 are equal."""

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
"""Differences. `known_at`: close of the bar in which the row happened; `written_at`: key that wrote it, or null."""

_PACKAGE: Final = Path(__file__).parent
ENGINE: Final = "backtester.evaluation.evaluate"
"""The module that turns signals into fills and results; what it imports of this package is the engine as well."""
BOOK_ENGINE: Final = "backtester.evaluation.book_evaluation"
"""The same of books."""


@dataclass(frozen=True, eq=False)
class Replay:
    """Result of replaying a period.

    Attributes
    ----------
    entries : DataFrame
        `ENTRY_COLUMNS`: every entry, of open positions too.
    trades : DataFrame
        `TRADE_COLUMNS`: closed trades.
    returns : DataFrame
        `ts` (full hour that ends the return), `net_return` (fraction), `with_bars` (whether a bar closed in the hour).
    """

    entries: pl.DataFrame
    trades: pl.DataFrame
    returns: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Ledger:
    """Rows that earlier replays of one run wrote.

    Attributes
    ----------
    entries, trades : DataFrame
        As in `Replay`, and `as_of`: the key that wrote the row.
    horizon : datetime or None
        Last key that tracked the run; None where this is the first.
    """

    entries: pl.DataFrame
    trades: pl.DataFrame
    horizon: datetime | None


@dataclass(frozen=True, eq=False)
class Advance:
    """New rows of a replay, and its differences from the ledger.

    Attributes
    ----------
    entries, trades : DataFrame
        New rows, as in `Replay`.
    returns : DataFrame
        New hours, as in `Replay`.
    differences : DataFrame
        `DIFFERENCE_SCHEMA`, by the time at which they happened.
    compared : int
        Rows of earlier keys that were compared with the replay.
    """

    entries: pl.DataFrame
    trades: pl.DataFrame
    returns: pl.DataFrame
    differences: pl.DataFrame
    compared: int


def replay_of(trades: pl.DataFrame, pooled: PooledResult, ended: Collection[str] = ()) -> Replay:
    """Return a replay from the trades and the pooled result of an evaluation that starts at activation.

    Parameters
    ----------
    trades : DataFrame
        `TRADE_SCHEMA` of the scored lanes; a position open at the end has the exit reason `open`.
    pooled : PooledResult
        Its hourly returns, the first of which ends one hour after activation.
    ended : collection of str
        Symbols that have had their last bar. A position still open there is closed at that bar's close, after costs,
        with the exit reason `delisted`.

    Returns
    -------
    Replay
        Entries, closed trades and hourly returns.
    """
    last = (pl.col("exit_reason") == "open") & pl.col("symbol").is_in(list(ended))
    reason = pl.when(last).then(pl.lit(DELISTED)).otherwise("exit_reason").alias("exit_reason")
    rows = (
        trades.cast(TRADE_SCHEMA)
        .with_columns(reason)
        .with_columns((pl.col("entry_ts") - _bar()).alias("signal_ts"))
        .sort(KEY)
    )
    hours = pooled.equity_frame().tail(len(pooled.returns))
    returns = hours.select("ts", pl.Series("net_return", pooled.returns, pl.Float64), "with_bars")
    return Replay(
        rows.select(ENTRY_COLUMNS), rows.filter(pl.col("exit_reason") != "open").select(TRADE_COLUMNS), returns
    )


def replay_of_book(found: BookEvaluation) -> Replay:
    """Return a replay from the backtest of a book that starts at activation.

    Parameters
    ----------
    found : BookEvaluation
        Up to the last closed bar.

    Returns
    -------
    Replay
        Each entry with the price and the quantity of its first fill, since later rebalances change those of the trade.
        Where two parts of a book open a symbol in the same bar, the first stands for both; the returns are of all.
    """
    result, timeframe = found.result, pl.lit(found.result.market.timeframe).alias("timeframe")
    place = ["symbol", "tranche", "entry_ts"]
    fills = result.fills.select("symbol", "tranche", pl.col("ts").alias("entry_ts"), "price", "quantity")
    first = fills.group_by(place, maintain_order=True).last().rename({"price": "fill", "quantity": "filled"})
    rows = (
        result.trades.join(first, on=place, how="left", maintain_order="left")
        .with_columns(
            timeframe,
            pl.col("side").replace_strict({1: "long", -1: "short"}, return_dtype=pl.String),
            pl.col("net").alias("pnl"),
            pl.col("reason").alias("exit_reason"),
        )
        .with_columns((pl.col("entry_ts") - _bar()).alias("signal_ts"))
        .sort(*KEY, "tranche")
        .unique(KEY, keep="first", maintain_order=True)
    )
    entries = rows.with_columns(entry_price="fill", quantity=pl.col("filled").abs()).select(ENTRY_COLUMNS)
    closed = rows.filter(pl.col("exit_reason") != "open").select(TRADE_COLUMNS)
    return Replay(entries, closed, found.hourly().slice(1).select("ts", "net_return", "with_bars"))


def advance(ledger: Ledger, replay: Replay, as_of: datetime) -> Advance:
    """Return the rows that a replay up to `as_of` adds to the ledger, and its differences from the ledger.

    Parameters
    ----------
    ledger : Ledger
        Rows of earlier replays.
    replay : Replay
        From activation to `as_of`.
    as_of : datetime
        Key of the replay, UTC.

    Returns
    -------
    Advance
        New rows and differences.

    Notes
    -----
    Whatever the order of the keys, each row is new exactly once. A replay up to a time before the ledger's horizon adds
    nothing. Rows of the ledger that happened after `as_of` are ignored.
    """
    horizon = ledger.horizon
    entries, trades = _timed(replay.entries, "entry_ts"), _timed(replay.trades, "exit_ts")
    is_new = pl.lit(value=True) if horizon is None else pl.col("known_at") > horizon
    new_entries = entries.filter(is_new).join(ledger.entries, on=KEY, how="anti")
    lived = pl.concat([ledger.entries.select(KEY), new_entries.select(KEY)])
    happened = trades.join(lived, on=KEY, how="semi")
    # a delisting may be noticed only after a later key than that of the last bar
    new_trades = happened.filter(is_new | (pl.col("exit_reason") == DELISTED)).join(ledger.trades, on=KEY, how="anti")
    old_entries = _timed(ledger.entries, "entry_ts").filter(pl.col("known_at") <= as_of)
    old_trades = _timed(ledger.trades, "exit_ts").filter(pl.col("known_at") <= as_of)
    differences = pl.concat(
        [
            _differences(Item.ENTRY, old_entries, entries.filter(~is_new)),
            _differences(Item.TRADE, old_trades, happened.join(new_trades, on=KEY, how="anti")),
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
    noted: PastExplanations | None = None,
    joined: Collection[str] = (),
) -> pl.DataFrame:
    """Attribute each difference to a cause.

    Parameters
    ----------
    differences : DataFrame
        `DIFFERENCE_SCHEMA`.
    changed_since : function of a ledger's key
        Returns the time of the first bar or payment that has changed since that key wrote, or None. Called with None
        for rows that the ledger lacks.
    other_code : function of a ledger's key
        Returns whether that key wrote with different code than today's.
    noted : mapping, optional
        Attribution and reason of rows that only a replay has, from the first key that saw each. That key was compared
        with the data of the key before it; later keys would find no further change.
    joined : collection of str
        Symbols that the last key did not track.

    Returns
    -------
    DataFrame
        With `attribution` and `reason`. A difference that neither changed data nor changed code explains is look-ahead:
        the same code on the same past gave another result once it had later data.
    """
    earlier = noted or {}
    explanations = [
        _noted(row, earlier) or _explained(row, changed_since, other_code, joined)
        for row in differences.iter_rows(named=True)
    ]
    return differences.with_columns(
        pl.Series("attribution", [kind for kind, _ in explanations], pl.String),
        pl.Series("reason", [reason for _, reason in explanations], pl.String),
    )


@cache
def engine_version(module: str = ENGINE) -> str:
    """Return 12 hexadecimal digits that name the code which turns signals into fills; of books: `BOOK_ENGINE`."""
    texts = engine_sources(module)
    named = b"".join(name.encode() + b"\0" + texts[name] for name in sorted(texts))
    return hashlib.sha256(named).hexdigest()[:12]


def engine_sources(module: str = ENGINE) -> dict[str, bytes]:
    """Return the source of every module of this package that an engine imports, itself included, by module name."""
    sources, due = dict[str, bytes](), [module]
    while due:
        name = due.pop()
        path = _PACKAGE.parent / f"{name.replace('.', '/')}.py"
        if name not in sources and path.is_relative_to(_PACKAGE) and path.exists():
            sources[name] = path.read_bytes()
            due += _imported(ast.parse(sources[name]))
    return sources


def _imported(tree: ast.Module) -> list[str]:
    """Return the modules that a source may import; a name imported from a package may be a module."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _explained(
    row: dict[str, Any],
    changed_since: Callable[[datetime | None], datetime | None],
    other_code: Callable[[datetime | None], bool],
    joined: Collection[str],
) -> tuple[Attribution, str]:
    if row["difference"] == Difference.ONLY_IN_REPLAY and row["symbol"] in joined:
        return Attribution.VERSION_CHANGE, f"{row['symbol']} was not among the symbols tracked then"
    changed = changed_since(row["written_at"])
    if changed is not None and changed < row["known_at"]:
        return (
            Attribution.DATA_REVISION,
            f"the market data of {changed:%Y-%m-%d %H:%M} UTC has changed since this was written",
        )
    if other_code(row["written_at"]):
        return Attribution.VERSION_CHANGE, "the code that turns signals into fills has changed since"
    return (
        Attribution.LOOK_AHEAD,
        "the same code on the same data gives another result with later data",
    )


def _noted(row: dict[str, Any], noted: PastExplanations) -> tuple[str, str] | None:
    """Return the earlier attribution of a row that only the replay has; other rows are attributed at each key."""
    return (
        noted.get((*(row[name] for name in KEY), row["item"]))
        if row["difference"] == Difference.ONLY_IN_REPLAY
        else None
    )


def _bar() -> pl.Expr:
    return pl.duration(minutes=pl.col("timeframe").replace_strict(MINUTES, return_dtype=pl.Int64))


def _timed(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the rows with `known_at`, the close of the bar in which they happened."""
    return rows.with_columns((pl.col(column) + _bar()).alias("known_at"))


def _differences(item: Item, ledger: pl.DataFrame, replay: pl.DataFrame) -> pl.DataFrame:
    only_ledger, only_replay = ledger.join(replay, on=KEY, how="anti"), replay.join(ledger, on=KEY, how="anti")
    both = ledger.join(replay, on=KEY, how="inner", suffix="_replay")
    rows = [_row(item, Difference.ONLY_IN_LEDGER, row, row, None) for row in only_ledger.iter_rows(named=True)]
    rows += [_row(item, Difference.ONLY_IN_REPLAY, row, None, row) for row in only_replay.iter_rows(named=True)]
    for row in both.iter_rows(named=True):
        other = {name: row[f"{name}_replay"] for name in _COMPARED_COLUMNS[item]}
        unlike = [name for name in _COMPARED_COLUMNS[item] if not _same(row[name], other[name])]
        if unlike:
            rows.append(_row(item, Difference.OTHER_VALUES, row, row, other, unlike))
    return pl.DataFrame(rows, schema=DIFFERENCE_SCHEMA)


def _row(
    item: Item,
    difference: Difference,
    row: dict[str, Any],
    ledger: dict[str, Any] | None,
    replay: dict[str, Any] | None,
    differing: list[str] | None = None,
) -> dict[str, Any]:
    shown = differing or list(_COMPARED_COLUMNS[item])
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
