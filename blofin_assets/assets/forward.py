"""The forward ledger: every twelve hours, what is active is replayed from its activation and new fills are written.

Belongs here: the ledger's asset. Does not belong here: its arithmetic (`backtester.forward`), who is followed
(`blofin_assets.following`), whether promises were kept (`drift`).

The same replay is the validation against live: what it says of time that was followed already must be what was
written then.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester import MarginRules, evaluate
from backtester.forward import (
    ENTRY_COLUMNS,
    KEY,
    ONLY_IN_REPLAY,
    TRADE_COLUMNS,
    Ledger,
    Replay,
    advance,
    attribute,
    engine_version,
    replay_of,
)
from backtester.lanes import TRADE_SCHEMA
from backtester.windows import SEARCH_REACH
from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset, table_preview
from blofin_assets.assets.models import ensembles, model_ranking
from blofin_assets.assets.results import pooled_of
from blofin_assets.assets.strategies import strategy_ranking
from blofin_assets.following import Followed, following
from blofin_assets.margin import margin_rules
from blofin_assets.partitions import half_day_key, half_day_start, half_days
from blofin_assets.plan import FORWARD
from blofin_assets.progress import say_done
from blofin_assets.sources import RememberedSource
from blofin_assets.written_inputs import known_features
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS, CandleSource
from features.registry import Registry
from model_zoo.relay import Relay

GROUP: Final = "forward"
HALF_DAY: Final = timedelta(hours=12)

_IDENTITY: Final = ("kind", "name", "version", "activated_at")
_SAID: Final = ("attribution", "reason")
_UNLIVED: Final = f"difference = '{ONLY_IN_REPLAY}'"
_OWN: Final = "activated_at IN (SELECT unnest(?))"
_LAST: Final = "SELECT max(as_of) AS as_of FROM research.forward_runs WHERE as_of < ?"
_MARKED: Final = (
    "SELECT symbol, time_bucket(INTERVAL 1 HOUR, ts) AS hour, count(*) AS rows, "
    "bit_xor(hash(ts, open, high, low)) AS content FROM market.mark_candles_1m "
    "WHERE ts >= ? AND ts < ? AND symbol IN (SELECT unnest(?)) GROUP BY ALL"
)
_HAS_MARKS: Final = (
    "SELECT 1 FROM information_schema.tables "
    "WHERE table_catalog = current_database() AND table_schema = 'market' AND table_name = 'mark_candles_1m'"
)
_CONTENT: Final = (
    "SELECT symbol, time_bucket(INTERVAL 1 HOUR, ts) AS hour, count(*) AS rows, "
    "bit_xor(hash(ts, open, high, low, close, volume, flag)) AS content FROM market.candles_1m "
    "WHERE ts >= ? AND ts < ? AND symbol IN (SELECT unnest(?)) GROUP BY ALL "
    "UNION ALL SELECT symbol, ts, -1, hash(rate) FROM market.funding_rates "
    "WHERE ts >= ? AND ts < ? AND symbol IN (SELECT unnest(?))"
)


@stage_asset(
    group=GROUP,
    table="research.forward_trades",
    partitions=half_days,
    deps=[lineage(strategy_ranking, steps_back=4), model_ranking, ensembles],
    kinds=("polars", "duckdb", "numba"),
)
def forward_ledger(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Entries and trades of everything active on data after its activation, each written once and never changed."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - HALF_DAY, as_of)
    snapshot = store.snapshot_id()
    since = store.read(_LAST, [as_of])["as_of"][0]
    followed = following(store, Path(warehouse.folder) / "models", as_of, since)
    written, common = _read_written(store, followed), _common(store, market.symbols, as_of)
    found = [_followed(each, common, written, as_of) for each in followed]
    stamp = {"as_of": as_of, "snapshot_id": snapshot, "engine": engine_version()}
    runs = pl.DataFrame([each.row | stamp for each in found], schema_overrides=_RUN_TYPES, infer_schema_length=None)
    with store.transaction(context.run.run_id) as tx:
        for name, part in (("entries", "entries"), ("trades", "trades"), ("equity", "hours")):
            rows = [getattr(each, part) for each in found if getattr(each, part).height]
            if rows:
                tx.append(f"research.forward_{name}", _stamped(pl.concat(rows), stamp))
        noted = [each.differences for each in found if each.differences.height]
        if noted:
            tx.append("research.forward_validation", _stamped(pl.concat(noted), {"as_of": as_of}))
        if runs.height:
            tx.replace("research.forward_runs", runs, as_of=as_of, ignore=["snapshot_id"])
        say_done(tx, FORWARD, half_day_key(as_of), as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(each.trades.height for each in found),
            "followed": runs.height,
            "new_entries": sum(each.entries.height for each in found),
            **{name: int(runs[name].sum()) if runs.height else 0 for name in _COUNTED},
            **({"runs": table_preview(runs.drop(stamp), rows=60)} if runs.height else {}),
            "snapshot": tx.snapshot,
        }
    )


ASSETS: Final = [forward_ledger]

_COUNTED: Final = ("compared", "data_revisions", "version_changes", "look_ahead")
_RUN_TYPES: Final[dict[str, Any]] = {
    "activated_at": TS, "ends_at": TS, "as_of": TS, "detail": pl.String, "total_pnl_pct": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Common:
    """What all runs of a key are replayed on.

    `rules` gives the margin rules of the symbols at activation; `changed`, of a snapshot, an activation and a key,
    since when what a replay reads is other than it was then, None where it is the same.
    """

    source: CandleSource
    known: Registry
    symbols: Sequence[str]
    rules: Callable[[datetime], dict[str, MarginRules]]
    changed: Callable[[int, datetime, datetime], datetime | None]


def _common(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> _Common:
    """Return what the runs of a key share; those that began at the same time ask the same."""

    @cache
    def rules(start: datetime) -> dict[str, MarginRules]:
        return margin_rules(store, symbols, start)

    @cache
    def changed(snapshot: int, start: datetime, key: datetime) -> datetime | None:
        if rules(start) != margin_rules(store, symbols, start, snapshot=snapshot):
            return start  # of the whole replay: an instrument was described only after it was first followed
        return first_change(store, snapshot, symbols, start - SEARCH_REACH, key)

    return _Common(RememberedSource(store, as_of), known_features(store), symbols, rules, changed)


@dataclass(frozen=True)
class _Written:
    """What earlier keys wrote: entries, trades, hours of equity, the keys themselves, and what they found otherwise."""

    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame
    runs: pl.DataFrame
    noted: pl.DataFrame

    def of(self, run: Followed) -> "_Written":
        """Return the part of one run; of models and ensembles whatever version was in force."""
        mine = (pl.col("kind") == run.kind) & (pl.col("name") == run.name)
        mine &= pl.col("activated_at") == run.stretch.start
        if not run.by_name:
            mine &= pl.col("version") == run.version
        frames = (self.entries, self.trades, self.hours, self.runs, self.noted)
        return _Written(*(frame.filter(mine) for frame in frames))


@dataclass(frozen=True, eq=False)
class _Found:
    """What one run adds at one key."""

    row: dict[str, Any]
    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame
    differences: pl.DataFrame


def _followed(run: Followed, common: _Common, written: _Written, as_of: datetime) -> _Found:
    """Replay one run up to the as-of, and hold it against what was written."""
    start, until = run.stretch.start, min(as_of, run.stretch.end or as_of)
    own, source, symbols = written.of(run), common.source, common.symbols
    ledger, equity = _ledger(own, until, symbols)
    blank = Replay(_blank(ENTRY_COLUMNS), _blank(TRADE_COLUMNS), pl.DataFrame(schema=_HOURS))
    made = advance(Ledger(ledger.entries.clear(), ledger.trades.clear(), ledger.horizon), blank, until)
    failed = ""
    if run.tradable is not None and until > start:
        timeframes = run.tradable.timeframes
        manager = FeatureManager(source, until, common.known)
        found = evaluate(
            [run.tradable], manager, symbols, start, until, timeframes=timeframes, replays=False, source=source,
            rules=common.rules(start), on_error="report",
        )[0]  # fmt: skip
        failed = found.error
        made = made if failed else advance(ledger, replay_of(found.trades, pooled_of(found)), until)
    differences = _explained(common, run, made.differences, own, ledger.horizon)
    grown = (made.returns["net_return"] + 1.0).cum_prod() * (equity or 1.0)
    last = grown[-1] if grown.len() else equity
    row = {
        **dict(zip(_IDENTITY, (run.kind, run.name, run.version, start), strict=True)),
        "ends_at": run.stretch.end,
        "state": "followed" if run.tradable is not None and not failed else "lost",
        "detail": run.detail or failed or None,
        "days": (until - start) / timedelta(days=1),
        "trades": _count(own.trades, made.trades, as_of),
        "open_positions": _count(own.entries, made.entries, as_of) - _count(own.trades, made.trades, as_of),
        "total_pnl_pct": None if last is None else (last - 1.0) * 100.0,
        "compared": made.compared,
        "data_revisions": differences.filter(pl.col("attribution") == "data revision").height,
        "version_changes": differences.filter(pl.col("attribution") == "version change").height,
        "look_ahead": differences.filter(pl.col("attribution") == "look-ahead").height,
        "symbols": json.dumps(sorted(symbols)),
    }
    hours = made.returns.with_columns(grown.alias("equity"))
    return _Found(
        row,
        _named(made.entries, run, "signal_ts"),
        _named(made.trades, run, "signal_ts"),
        _named(hours, run, "ts"),
        _named(differences.drop("known_at", "written_at"), run, "entry_ts"),
    )


_HOURS: Final[dict[str, Any]] = {"ts": TS, "net_return": pl.Float64}


def _read_written(store: Warehouse, followed: Sequence[Followed]) -> _Written:
    """Return what was written of all runs, read at once: a query costs more than its rows."""
    starts = [sorted({run.stretch.start for run in followed})]

    def rows(columns: Sequence[str], table: str, where: str = _OWN) -> pl.DataFrame:
        names = ", ".join(dict.fromkeys((*_IDENTITY, *columns)))
        return store.read(f"SELECT {names} FROM research.{table} WHERE {where}", starts)  # noqa: S608 - constant names

    stamp = ("as_of", "snapshot_id", "engine")
    return _Written(
        rows((*ENTRY_COLUMNS, *stamp), "forward_entries"),
        rows((*TRADE_COLUMNS, *stamp), "forward_trades"),
        rows(("ts", "equity"), "forward_equity"),
        rows((*stamp, "symbols"), "forward_runs", f"state = 'followed' AND {_OWN}"),
        rows((*KEY, "item", *_SAID), "forward_validation", f"{_UNLIVED} AND {_OWN}"),
    )


def _ledger(own: _Written, until: datetime, symbols: Sequence[str]) -> tuple[Ledger, float | None]:
    """Return what was written of a run, and its equity at the last hour; a key made again finds its own rows.

    What was written of a symbol that is not followed any more stays, but there is no replay to hold it against.
    """
    last = own.hours.filter(pl.col("ts") <= until).sort("ts").tail(1)["equity"]
    horizon, here = own.runs["as_of"].max(), pl.col("symbol").is_in(list(symbols))
    ledger = Ledger(
        own.entries.filter(here).select(*ENTRY_COLUMNS, "as_of"),
        own.trades.filter(here).select(*TRADE_COLUMNS, "as_of"),
        horizon if isinstance(horizon, datetime) else None,
    )
    return ledger, float(last[0]) if last.len() else None


def _explained(
    common: _Common, run: Followed, found: pl.DataFrame, own: _Written, horizon: datetime | None
) -> pl.DataFrame:
    """Return differences with what explains each: since when data is other than a key saw it, and whether code is."""
    read, today = _read_then(own), _in_force(run)
    taken_over = any(version != today(at) for at, version in own.runs.select("as_of", "version").iter_rows())

    def changed_since(written_at: datetime | None) -> datetime | None:
        key = written_at or horizon
        if key is None or key not in read:
            return None
        return common.changed(read[key][0], run.stretch.start, key)

    def other_code(written_at: datetime | None) -> bool:
        key = written_at or horizon
        return key is not None and key in read and (taken_over or read[key][1] != engine_version())

    noted = {tuple(row[:4]): (row[4], row[5]) for row in own.noted.select(*KEY, "item", *_SAID).iter_rows()}
    return attribute(found, changed_since, other_code, noted, _joined(own, horizon, common.symbols))


def _read_then(own: _Written) -> dict[datetime, tuple[int, str]]:
    """Return the snapshot and the engine that each key went by.

    A key that was made again says in its run what it read the last time; what its rows rest on stands on them.
    """
    stamps = pl.concat([rows.select("as_of", "snapshot_id", "engine") for rows in (own.runs, own.entries, own.trades)])
    return {at: (snapshot, engine) for at, snapshot, engine in stamps.iter_rows()}


def _joined(own: _Written, horizon: datetime | None, symbols: Sequence[str]) -> set[str]:
    """Return the symbols that the last key did not follow; a key of before it was stored followed them all."""
    if horizon is None:
        return set()
    then = own.runs.filter(pl.col("as_of") == horizon)["symbols"].drop_nulls().to_list()
    return set(symbols).difference(*(json.loads(each) for each in then)) if then else set()


def _in_force(run: Followed) -> Callable[[datetime], str]:
    """Return which version of a run was in force at a time, as it is known today."""
    relay = run.tradable
    return relay.version_at if isinstance(relay, Relay) else lambda _: run.version


def first_change(
    store: Warehouse, snapshot: int, symbols: Sequence[str], start: datetime, end: datetime
) -> datetime | None:
    """Return the hour of the first bar, payment or mark price in a window that is not what it was at a snapshot."""
    window = [start, end, list(symbols)]
    changed = [_unlike(store.read(_CONTENT, window * 2), store.read_at(snapshot, _CONTENT, window * 2))]
    marks = store.read(_MARKED, window)
    # a snapshot may be older than the table; what came in since is a change of what liquidations went by
    had = not store.read_at(snapshot, _HAS_MARKS).is_empty()
    changed.append(_unlike(marks, store.read_at(snapshot, _MARKED, window) if had else marks.clear()))
    first = pl.concat(each["hour"] for each in changed).min()
    return first if isinstance(first, datetime) else None


def _unlike(now: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([now.join(then, on=now.columns, how="anti"), then.join(now, on=now.columns, how="anti")])


def _stamped(rows: pl.DataFrame, stamp: dict[str, Any]) -> pl.DataFrame:
    return rows.with_columns(pl.lit(value).alias(name) for name, value in stamp.items()).with_columns(
        pl.col("as_of").cast(TS)
    )


def _named(rows: pl.DataFrame, run: Followed, when: str) -> pl.DataFrame:
    """Return rows with whose they are; of models and ensembles with the version that was in force."""
    versions = [_in_force(run)(moment) for moment in rows[when]]
    return rows.with_columns(
        pl.lit(run.kind).alias("kind"),
        pl.lit(run.name).alias("name"),
        pl.Series("version", versions, pl.String),
        pl.lit(run.stretch.start).cast(TS).alias("activated_at"),
    )


def _blank(columns: Sequence[str]) -> pl.DataFrame:
    kinds = {**TRADE_SCHEMA, "signal_ts": TS}
    return pl.DataFrame(schema={name: kinds[name] for name in columns})


def _count(written: pl.DataFrame, new: pl.DataFrame, as_of: datetime) -> int:
    """Return how many rows had been written up to a key, this one's among them."""
    return written.filter(pl.col("as_of") <= as_of).height + new.height
