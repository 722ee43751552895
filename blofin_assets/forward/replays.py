"""Replays of the forward ledger: what one run adds at one key.

Belongs here: what all runs of a key share, a replay from activation, the row of a run. Does not belong here: the asset
(`assets`), the ledger's arithmetic (`backtester.forward_ledger`), replays of what was archived (`archived`).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Final

import polars as pl

from backtester import MarginRules, evaluate
from backtester.forward_ledger import (
    DIFFERENCE_SCHEMA,
    ENTRY_COLUMNS,
    KEY,
    TRADE_COLUMNS,
    Advance,
    Attribution,
    Ledger,
    advance,
    attribute,
    engine_version,
    replay_of,
)
from backtester.simulation.lanes import TRADE_SCHEMA
from backtester.statistics.windows import SEARCH_REACH
from blofin_assets.forward.books import advanced_book, engine_of
from blofin_assets.forward.revisions import first_change, first_deep_change
from blofin_assets.forward.tracked import TrackedRun
from blofin_assets.forward.written import IDENTITY, SAID, Written
from blofin_assets.shared.backtest_rows import pooled_of
from blofin_assets.shared.candle_cache import CachedCandleSource
from blofin_assets.shared.deep_market import DeepMarket, shared_market
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.fence import OF_ALL
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.shared.vocabulary import ForwardState, Kind
from blofin_resources.market.ingestion import delisted_at
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS, CandleSource, Timeframe
from features.registry import Registry
from model_zoo.serving.version_chain import VersionChain
from strategies.language.book import Book

_SCALES: Final = (
    "SELECT strategy_name, version, max_by(largest_size, as_of) FROM research.strategy_backtest_results "
    "WHERE as_of <= ? AND symbol = '*' AND largest_size IS NOT NULL GROUP BY strategy_name, version"
)


@dataclass(frozen=True, eq=False)
class Common:
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
    last_bar
        Opening time of the last bar of a symbol that has closed by a time, None without one.
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
    last_bar: Callable[[str, Timeframe, datetime], datetime | None]

    def over(self, start: datetime, until: datetime) -> list[str]:
        """Return the symbols that were delisted in a period."""
        return [symbol for symbol, moment in self.delisted_at.items() if start < moment <= until]


def common_inputs(
    store: Warehouse, symbols: Sequence[str], as_of: datetime, tracked: Sequence[TrackedRun] = ()
) -> Common:
    """Return the shared inputs of the runs of a key, cached by activation.

    Parameters
    ----------
    store : Warehouse
        Where they are read.
    symbols : sequence of str
        Symbols traded by strategies and models.
    as_of : datetime
        The key (UTC); nothing later is read.
    tracked : sequence of TrackedRun
        Whose books share a market where they were activated together.

    Returns
    -------
    Common
        Each input is read when it is first asked for.
    """

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

    @cache
    def last_bar(symbol: str, timeframe: Timeframe, moment: datetime) -> datetime | None:
        times = source.last_candles([symbol], timeframe, moment, 1)["ts"]
        return times[0] if times.len() else None

    source, over = CachedCandleSource(store, as_of), delisted_at(store, symbols, as_of)
    known = known_features(store)
    return Common(store, source, known, symbols, over, rules, changed, largest, deep_changed, universe, last_bar)


@dataclass(frozen=True, eq=False)
class Found:
    """Rows that one run adds at one key."""

    row: dict[str, Any]
    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame
    differences: pl.DataFrame


def replayed(run: TrackedRun, common: Common, written: Written, as_of: datetime) -> Found:
    """Replay one run from its activation up to the as-of, and compare it with the stored rows.

    Parameters
    ----------
    run : TrackedRun
        What is replayed.
    common : Common
        Inputs of all runs of the key.
    written : Written
        Rows of earlier keys.
    as_of : datetime
        The key (UTC).

    Returns
    -------
    Found
        New rows and differences.
    """
    start, until = run.period.start, min(as_of, run.period.end or as_of)
    own, source, symbols = written.of(run), common.source, common.symbols
    ledger, equity = _ledger(own, until, symbols)
    step, failed = nothing_new(), ""
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
        over = common.over(start, until)
        step = step if failed else advance(ledger, replay_of(evaluation.trades, pooled_of(evaluation), over), until)
    differences = _explained(common, run, step.differences, own, ledger.horizon)
    before = Before(
        own.entries.filter(pl.col("as_of") <= as_of).height, own.trades.filter(pl.col("as_of") <= as_of).height, equity
    )
    return found_of(run, replace(step, differences=differences), before, common, as_of, failed)


@dataclass(frozen=True)
class Before:
    """What keys up to this one wrote of a run: entries, closed trades, and the equity at the last hour."""

    entries: int
    trades: int
    equity: float | None


def nothing_new() -> Advance:
    """Return what a replay adds that finds nothing."""
    hours, none = pl.DataFrame(schema=_HOURS), pl.DataFrame(schema=DIFFERENCE_SCHEMA)
    return Advance(blank(ENTRY_COLUMNS), blank(TRADE_COLUMNS), hours, none, 0)


def found_of(
    run: TrackedRun, step: Advance, before: Before, common: Common, as_of: datetime, failed: str = ""
) -> Found:
    """Return the rows that a run adds at a key.

    Parameters
    ----------
    run : TrackedRun
        What was replayed.
    step : Advance
        New rows; its differences have an attribution where there are any.
    before : Before
        What earlier keys wrote.
    common : Common
        Inputs of all runs of the key.
    as_of : datetime
        The key (UTC).
    failed : str
        Why it could not be replayed; '' where it could.

    Returns
    -------
    Found
        Rows with the key of the run.
    """
    start, until = run.period.start, min(as_of, run.period.end or as_of)
    differences, trades = step.differences, before.trades + step.trades.height
    causes = differences["attribution"].to_list() if "attribution" in differences.columns else []
    grown = step.returns["net_return"].cum_sum() + (1.0 if before.equity is None else before.equity)
    last = grown[-1] if grown.len() else before.equity
    row = {
        **dict(zip(IDENTITY, (run.kind, run.name, run.version, start), strict=True)),
        "ends_at": run.period.end,
        "archived": run.past_grace(as_of),
        "state": ForwardState.TRACKED if run.tradable is not None and not failed else ForwardState.LOST,
        "detail": run.detail or failed or None,
        "days": (until - start) / timedelta(days=1),
        "trades": trades,
        "open_positions": before.entries + step.entries.height - trades,
        "total_pnl_pct": None if last is None else (last - 1.0) * 100.0,
        "compared": step.compared,
        "data_revisions": causes.count(Attribution.DATA_REVISION),
        "version_changes": causes.count(Attribution.VERSION_CHANGE),
        "look_ahead": causes.count(Attribution.LOOK_AHEAD),
        "symbols": json.dumps(sorted(common.symbols)),
        "engine": engine_version(engine_of(run.kind)),
    }
    hours, engine = step.returns.with_columns(grown.alias("equity")), pl.lit(row["engine"]).alias("engine")
    return Found(
        row,
        _named(step.entries, run, "signal_ts").with_columns(engine),
        _named(step.trades, run, "signal_ts").with_columns(engine),
        _named(hours, run, "ts").with_columns(engine),
        _named(differences.drop("known_at", "written_at"), run, "entry_ts"),
    )


_HOURS: Final[dict[str, Any]] = {"ts": TS, "net_return": pl.Float64, "with_bars": pl.Boolean}


def _ledger(own: Written, until: datetime, symbols: Sequence[str]) -> tuple[Ledger, float | None]:
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
    common: Common, run: TrackedRun, differences: pl.DataFrame, own: Written, horizon: datetime | None
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

    noted = {tuple(row[:4]): (row[4], row[5]) for row in own.noted.select(*KEY, "item", *SAID).iter_rows()}
    return attribute(differences, changed_since, other_code, noted, _joined(own, horizon, common.symbols))


def _read_then(own: Written) -> dict[datetime, tuple[int, str]]:
    """Return the snapshot and the engine of each key.

    The run of a repeated key has those of the last repetition; its entries and trades have their own.
    """
    stamps = pl.concat([rows.select("as_of", "snapshot_id", "engine") for rows in (own.runs, own.entries, own.trades)])
    return {at: (snapshot, engine) for at, snapshot, engine in stamps.iter_rows()}


def _joined(own: Written, horizon: datetime | None, symbols: Sequence[str]) -> set[str]:
    """Return the symbols that the last key did not track; older keys without this column tracked all."""
    if horizon is None:
        return set()
    then = own.runs.filter(pl.col("as_of") == horizon)["symbols"].drop_nulls().to_list()
    return set(symbols).difference(*(json.loads(stored) for stored in then)) if then else set()


def _in_force(run: TrackedRun) -> Callable[[datetime], str]:
    """Return the version of a run in force at a time, as known today."""
    chain = run.tradable
    return chain.version_at if isinstance(chain, VersionChain) else lambda _: run.version


def stamped(rows: pl.DataFrame, stamp: dict[str, Any]) -> pl.DataFrame:
    """Return rows with the key that writes them, and what else it says of all of them."""
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


def blank(columns: Sequence[str]) -> pl.DataFrame:
    """Return no rows of some of `ENTRY_COLUMNS` or `TRADE_COLUMNS`."""
    kinds = {**TRADE_SCHEMA, "signal_ts": TS}
    return pl.DataFrame(schema={name: kinds[name] for name in columns})
