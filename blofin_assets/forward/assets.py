"""The asset of the forward ledger: every twelve hours everything active is replayed from its activation.

Belongs here: the ledger's asset. Does not belong here: its arithmetic (`backtester.forward_ledger`), what is tracked
(`blofin_assets.forward.tracked`), whether it performs as expected (`drift`).

New entries, trades and hours are appended. For the period that is stored already, the replay validates the ledger: it
must give the same rows.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester import MarginRules, evaluate
from backtester.forward_ledger import (
    ENTRY_COLUMNS,
    KEY,
    TRADE_COLUMNS,
    Attribution,
    Difference,
    Ledger,
    Replay,
    advance,
    attribute,
    engine_version,
    replay_of,
)
from backtester.simulation.lanes import TRADE_SCHEMA
from backtester.statistics.windows import SEARCH_REACH
from blofin_assets.forward.books import advanced_book, engine_of
from blofin_assets.forward.revisions import first_change, first_deep_change
from blofin_assets.forward.tracked import TrackedRun, tracked_runs
from blofin_assets.ml_cycle.ensembles import ensembles
from blofin_assets.ml_cycle.ranking import model_ranking
from blofin_assets.shared.asset import lineage, stage_asset, table_preview
from blofin_assets.shared.backtest_rows import pooled_of
from blofin_assets.shared.cadences import FORWARD
from blofin_assets.shared.candle_cache import CachedCandleSource
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.cycle_events import mark_done
from blofin_assets.shared.deep_market import DeepMarket, shared_market
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.fence import OF_ALL, each_alone
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.shared.partitions import half_day_key, half_day_start, half_days
from blofin_assets.shared.vocabulary import ForwardState, Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_ranking import book_ranking
from blofin_assets.strategy_cycle.ranking import strategy_ranking
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.market.ingestion import delisted_at
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS, CandleSource, Timeframe
from features.registry import Registry
from model_zoo.serving.version_chain import VersionChain
from strategies.language.book import Book

GROUP: Final = "forward"
HALF_DAY: Final = timedelta(hours=12)

_IDENTITY: Final = ("kind", "name", "version", "activated_at")
_SAID: Final = ("attribution", "reason")
_UNLIVED: Final = f"difference = '{Difference.ONLY_IN_REPLAY}'"
_OWN: Final = "activated_at IN (SELECT unnest(?))"
_SCALES: Final = (
    "SELECT strategy_name, version, max_by(largest_size, as_of) FROM research.strategy_backtest_results "
    "WHERE as_of <= ? AND symbol = '*' AND largest_size IS NOT NULL GROUP BY strategy_name, version"
)
_LAST: Final = "SELECT max(as_of) AS as_of FROM research.forward_runs WHERE as_of < ?"


@stage_asset(
    group=GROUP,
    table="research.forward_trades",
    partitions=half_days,
    deps=[lineage(strategy_ranking, steps_back=4), lineage(book_ranking, steps_back=4), model_ranking, ensembles],
    kinds=("polars", "duckdb", "numba"),
)
def forward_ledger(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Paper trades of everything active, on data after its activation. Append-only."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - HALF_DAY, as_of)
    snapshot = store.snapshot_id()
    since = store.read(_LAST, [as_of])["as_of"][0]
    tracked = tracked_runs(store, Path(warehouse.folder) / "models", as_of, since)
    written, common = _read_written(store, tracked), _common(store, market.symbols, as_of, tracked)
    replayed = each_alone(tracked, lambda run: _replayed(run, common, written, as_of))
    lost = [replace(run, tradable=None, detail=reason) for run, reason in replayed.failed]
    recorded = each_alone(lost, lambda run: _replayed(run, common, written, as_of))
    parts = [part for _, part in (*replayed.done, *recorded.done)]
    stamp = {"as_of": as_of, "snapshot_id": snapshot}
    runs = pl.DataFrame([part.row | stamp for part in parts], schema_overrides=_RUN_TYPES, infer_schema_length=None)
    with store.transaction(context.run.run_id) as tx:
        for name, part in (("entries", "entries"), ("trades", "trades"), ("equity", "hours")):
            rows = [getattr(run_part, part) for run_part in parts if getattr(run_part, part).height]
            if rows:
                tx.append(f"research.forward_{name}", _stamped(pl.concat(rows), stamp))
        noted = [part.differences for part in parts if part.differences.height]
        if noted:
            tx.append("research.forward_validation", _stamped(pl.concat(noted), {"as_of": as_of}))
        if runs.height:
            tx.replace("research.forward_runs", runs, as_of=as_of)
        mark_done(tx, FORWARD, half_day_key(as_of), as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(part.trades.height for part in parts),
            "tracked": runs.height,
            "new_entries": sum(part.entries.height for part in parts),
            **{name: int(runs[name].sum()) if runs.height else 0 for name in _COUNTED},
            "failed": "; ".join(f"{run.kind} {run.name}: {why}" for run, why in replayed.failed) or "none",
            **({"runs": table_preview(runs.drop(*stamp, "engine"), rows=60)} if runs.height else {}),
            "snapshot": tx.snapshot,
        }
    )


_COUNTED: Final = ("compared", "data_revisions", "version_changes", "look_ahead")
_RUN_TYPES: Final[dict[str, Any]] = {
    "activated_at": TS, "ends_at": TS, "as_of": TS, "detail": pl.String, "total_pnl_pct": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Common:
    """Inputs that all runs of a key share.

    Attributes
    ----------
    delisted_at
        Close of the last bar of each delisted symbol.
    rules
        Margin rules of the symbols at an activation.
    changed
        For a snapshot, an activation and a key: the time from which the replay's inputs differ from those of the
        snapshot, or None if they are equal.
    largest
        For a kind, a name, a version and an activation: the size * leverage that counts as 1. It is that of the holdout
        from which the expected performance comes, so a larger one asked for later changes no stored row.
    deep_changed
        As `changed`, of deep history and the universe before a key.
    universe
        What a book activated at a time runs on; books on the same bars that were activated together share it.
    """

    store: Warehouse
    source: CandleSource
    known: Registry
    symbols: Sequence[str]
    delisted_at: dict[str, datetime]
    rules: Callable[[datetime], dict[str, MarginRules]]
    changed: Callable[[int, datetime, datetime], datetime | None]
    largest: Callable[[str, str, str, datetime], float]
    deep_changed: Callable[[int, datetime], datetime | None]
    universe: Callable[[Book, datetime], DeepMarket]


def _common(store: Warehouse, symbols: Sequence[str], as_of: datetime, tracked: Sequence[TrackedRun] = ()) -> _Common:
    """Return the shared inputs of the runs of a key, cached by activation."""

    @cache
    def rules(start: datetime) -> dict[str, MarginRules]:
        return margin_rules(store, symbols, start)

    @cache
    def changed(snapshot: int, start: datetime, key: datetime) -> datetime | None:
        if rules(start) != margin_rules(store, symbols, start, snapshot=snapshot):
            return start  # from the start of the replay: the instrument was first described after the activation
        return first_change(store, snapshot, symbols, start - SEARCH_REACH, key)

    @cache
    def scales(start: datetime) -> dict[tuple[str, str], float]:
        return {(name, version): scale for name, version, scale in store.read(_SCALES, [start]).iter_rows()}

    def largest(kind: str, name: str, version: str, start: datetime) -> float:
        return scales(start).get((name, version), 1.0) if kind == Kind.STRATEGY else 1.0

    @cache
    def deep_changed(snapshot: int, key: datetime) -> datetime | None:
        return first_deep_change(store, snapshot, key)

    @cache
    def together(timeframe: Timeframe, start: datetime) -> DeepMarket:
        books = [run.tradable for run in tracked if run.period.start == start and isinstance(run.tradable, Book)]
        return shared_market(store, [book for book in books if book.timeframe == timeframe], start, as_of)

    def universe(book: Book, start: datetime) -> DeepMarket:
        return together(book.timeframe, start)

    source, over = CachedCandleSource(store, as_of), delisted_at(store, symbols, as_of)
    return _Common(store, source, known_features(store), symbols, over, rules, changed, largest, deep_changed, universe)


@dataclass(frozen=True)
class _Written:
    """Rows of earlier keys: entries, trades, hourly equity, the keys themselves, and recorded differences."""

    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame
    runs: pl.DataFrame
    noted: pl.DataFrame

    def of(self, run: TrackedRun) -> "_Written":
        """Return the rows of one run; for models and ensembles, of all versions."""
        mine = (pl.col("kind") == run.kind) & (pl.col("name") == run.name)
        mine &= pl.col("activated_at") == run.period.start
        if not run.by_name:
            mine &= pl.col("version") == run.version
        frames = (self.entries, self.trades, self.hours, self.runs, self.noted)
        return _Written(*(frame.filter(mine) for frame in frames))


@dataclass(frozen=True, eq=False)
class _Found:
    """Rows that one run adds at one key."""

    row: dict[str, Any]
    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame
    differences: pl.DataFrame


def _replayed(run: TrackedRun, common: _Common, written: _Written, as_of: datetime) -> _Found:
    """Replay one run up to the as-of, and compare it with the stored rows."""
    start, until = run.period.start, min(as_of, run.period.end or as_of)
    own, source, symbols = written.of(run), common.source, common.symbols
    ledger, equity = _ledger(own, until, symbols)
    blank = Replay(_blank(ENTRY_COLUMNS), _blank(TRADE_COLUMNS), pl.DataFrame(schema=_HOURS))
    step = advance(Ledger(ledger.entries.clear(), ledger.trades.clear(), ledger.horizon), blank, until)
    failed = ""
    if isinstance(run.tradable, Book):
        step, failed = advanced_book(
            common.store, run.tradable, partial(common.universe, run.tradable, start), (start, until), own, step
        )
    elif run.tradable is not None and until > start:
        timeframes = run.tradable.timeframes
        manager = FeatureManager(source, until, common.known)
        evaluation = evaluate(
            [run.tradable], manager, symbols, start, until, timeframes=timeframes, replays=False, source=source,
            rules=common.rules(start), largest=common.largest(run.kind, run.name, run.version, start),
            on_error="report", fatal=OF_ALL,
        )[0]  # fmt: skip
        failed = evaluation.error
        over = [symbol for symbol, moment in common.delisted_at.items() if start < moment <= until]
        step = step if failed else advance(ledger, replay_of(evaluation.trades, pooled_of(evaluation), over), until)
    differences = _explained(common, run, step.differences, own, ledger.horizon)
    grown = step.returns["net_return"].cum_sum() + (1.0 if equity is None else equity)
    last = grown[-1] if grown.len() else equity
    row = {
        **dict(zip(_IDENTITY, (run.kind, run.name, run.version, start), strict=True)),
        "ends_at": run.period.end,
        "state": ForwardState.TRACKED if run.tradable is not None and not failed else ForwardState.LOST,
        "detail": run.detail or failed or None,
        "days": (until - start) / timedelta(days=1),
        "trades": _count(own.trades, step.trades, as_of),
        "open_positions": _count(own.entries, step.entries, as_of) - _count(own.trades, step.trades, as_of),
        "total_pnl_pct": None if last is None else (last - 1.0) * 100.0,
        "compared": step.compared,
        "data_revisions": differences.filter(pl.col("attribution") == Attribution.DATA_REVISION).height,
        "version_changes": differences.filter(pl.col("attribution") == Attribution.VERSION_CHANGE).height,
        "look_ahead": differences.filter(pl.col("attribution") == Attribution.LOOK_AHEAD).height,
        "symbols": json.dumps(sorted(symbols)),
        "engine": engine_version(engine_of(run.kind)),
    }
    hours, engine = step.returns.with_columns(grown.alias("equity")), pl.lit(row["engine"]).alias("engine")
    return _Found(
        row,
        _named(step.entries, run, "signal_ts").with_columns(engine),
        _named(step.trades, run, "signal_ts").with_columns(engine),
        _named(hours, run, "ts").with_columns(engine),
        _named(differences.drop("known_at", "written_at"), run, "entry_ts"),
    )


_HOURS: Final[dict[str, Any]] = {"ts": TS, "net_return": pl.Float64, "with_bars": pl.Boolean}


def _read_written(store: Warehouse, tracked: Sequence[TrackedRun]) -> _Written:
    """Return the stored rows of all runs, read at once: a query costs more than its rows."""
    starts = [sorted({run.period.start for run in tracked})]

    def rows(columns: Sequence[str], table: str, where: str = _OWN) -> pl.DataFrame:
        names = ", ".join(dict.fromkeys((*_IDENTITY, *columns)))
        return store.read(f"SELECT {names} FROM research.{table} WHERE {where}", starts)  # noqa: S608 - constant names

    stamp = ("as_of", "snapshot_id", "engine")
    return _Written(
        rows((*ENTRY_COLUMNS, *stamp), "forward_entries"),
        rows((*TRADE_COLUMNS, *stamp), "forward_trades"),
        rows(("ts", "equity"), "forward_equity"),
        rows((*stamp, "symbols"), "forward_runs", f"state = 'tracked' AND {_OWN}"),
        rows((*KEY, "item", *_SAID), "forward_validation", f"{_UNLIVED} AND {_OWN}"),
    )


def _ledger(own: _Written, until: datetime, symbols: Sequence[str]) -> tuple[Ledger, float | None]:
    """Return the stored rows of a run, and its equity at the last hour; a repeated key finds its own rows.

    Rows of a symbol that is no longer configured stay in the ledger and are not compared.
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
    common: _Common, run: TrackedRun, differences: pl.DataFrame, own: _Written, horizon: datetime | None
) -> pl.DataFrame:
    """Return the differences with their explanations: data revised since a key, or changed code."""
    read, today = _read_then(own), _in_force(run)
    taken_over = any(version != today(at) for at, version in own.runs.select("as_of", "version").iter_rows())

    def changed_since(written_at: datetime | None) -> datetime | None:
        key = written_at or horizon
        if key is None or key not in read:
            return None
        if run.kind == Kind.BOOK:
            return common.deep_changed(read[key][0], key)
        return common.changed(read[key][0], run.period.start, key)

    def other_code(written_at: datetime | None) -> bool:
        key = written_at or horizon
        return key is not None and key in read and (taken_over or read[key][1] != engine_version(engine_of(run.kind)))

    noted = {tuple(row[:4]): (row[4], row[5]) for row in own.noted.select(*KEY, "item", *_SAID).iter_rows()}
    return attribute(differences, changed_since, other_code, noted, _joined(own, horizon, common.symbols))


def _read_then(own: _Written) -> dict[datetime, tuple[int, str]]:
    """Return the snapshot and the engine of each key.

    The run of a repeated key has those of the last repetition; its entries and trades have their own.
    """
    stamps = pl.concat([rows.select("as_of", "snapshot_id", "engine") for rows in (own.runs, own.entries, own.trades)])
    return {at: (snapshot, engine) for at, snapshot, engine in stamps.iter_rows()}


def _joined(own: _Written, horizon: datetime | None, symbols: Sequence[str]) -> set[str]:
    """Return the symbols that the last key did not track; older keys without this column tracked all."""
    if horizon is None:
        return set()
    then = own.runs.filter(pl.col("as_of") == horizon)["symbols"].drop_nulls().to_list()
    return set(symbols).difference(*(json.loads(stored) for stored in then)) if then else set()


def _in_force(run: TrackedRun) -> Callable[[datetime], str]:
    """Return the version of a run in force at a time, as known today."""
    chain = run.tradable
    return chain.version_at if isinstance(chain, VersionChain) else lambda _: run.version


def _stamped(rows: pl.DataFrame, stamp: dict[str, Any]) -> pl.DataFrame:
    return rows.with_columns(pl.lit(value).alias(name) for name, value in stamp.items()).with_columns(
        pl.col("as_of").cast(TS)
    )


def _named(rows: pl.DataFrame, run: TrackedRun, when: str) -> pl.DataFrame:
    """Return rows with the key of their run; for models and ensembles with the version in force."""
    versions = [_in_force(run)(moment) for moment in rows[when]]
    return rows.with_columns(
        pl.lit(run.kind).alias("kind"),
        pl.lit(run.name).alias("name"),
        pl.Series("version", versions, pl.String),
        pl.lit(run.period.start).cast(TS).alias("activated_at"),
    )


def _blank(columns: Sequence[str]) -> pl.DataFrame:
    kinds = {**TRADE_SCHEMA, "signal_ts": TS}
    return pl.DataFrame(schema={name: kinds[name] for name in columns})


def _count(written: pl.DataFrame, new: pl.DataFrame, as_of: datetime) -> int:
    """Return the number of rows written up to a key, including its own."""
    return written.filter(pl.col("as_of") <= as_of).height + new.height
