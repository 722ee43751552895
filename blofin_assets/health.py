"""Health of the platform: runs, due work, age of the data, and what needs attention.

Belongs here: reading it from the warehouse, Dagster's instance and the disk. Does not belong here: the terminal
(`cli.status`), acting on it.

Nothing is written, and unknown items are reported as unknown.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.drift import Decision
from blofin_assets.scheduling.plan import plan
from blofin_assets.scheduling.progress import WarehouseProgress
from blofin_assets.shared.cadences import CADENCES, DRIFT, FORWARD, MARKET_DATA, REPORT, Step
from blofin_assets.shared.coverage import DATASETS
from blofin_assets.shared.partitions import DAY, day_start
from blofin_assets.strategy_cycle.books_now import books_now
from blofin_resources.dagster_resources import AS_OF_TAG
from blofin_resources.errors import MarketError, WarehouseError
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.ingestion import delisted_at
from blofin_resources.market.steps import load_steps, way_out
from blofin_resources.market.universe import parse_rule
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse
from features.bars import floor_time

STALE: Final = timedelta(hours=3)
"""Age of market data or features that needs attention; they are updated every hour."""

LATE: Final = timedelta(hours=2)
"""Time for which a cycle may be due before it needs attention."""

SILENT: Final = timedelta(minutes=5)
"""Age of a heartbeat above which the daemon counts as stopped; heartbeats come every 30 seconds."""

LEAST_FREE: Final = 0.05
"""Smallest free share of the disk that needs no attention."""

LOOK_BACK: Final = timedelta(days=1)

SHOWN: Final = 3
"""Number of keys that a line names."""

_PARTITION: Final = "dagster/partition"
_RANGE: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

_NAMES: Final = {REPORT: "daily report", FORWARD: "forward ledger", DRIFT: "drift checks"}

_AGES: Final = (
    "SELECT symbol, max(through) AS through FROM market.coverage WHERE dataset = ? AND symbol IN (SELECT unnest(?)) "
    "GROUP BY symbol"
)
_GAPS: Final = (
    "SELECT symbol, count(*) AS gaps, sum(bars) AS bars FROM market.gaps WHERE closed_at IS NULL GROUP BY symbol "
    "ORDER BY bars DESC, symbol"
)
_DEEP_GAPS: Final = (
    "SELECT count(*) AS gaps, coalesce(sum(bars), 0)::BIGINT AS bars FROM market.deep_gaps WHERE closed_at IS NULL"
)
_DRIFT: Final = (
    "SELECT as_of, decision, count(*) AS n, string_agg(DISTINCT name, ', ' ORDER BY name) AS names "
    "FROM research.drift_tests WHERE as_of = (SELECT max(as_of) FROM research.drift_tests) GROUP BY ALL"
)
_SPENT: Final = (
    "SELECT coalesce(sum(cost_usd), 0) AS usd, count(*) FILTER (outcome NOT IN ('no_key', 'budget')) AS calls "
    "FROM research.llm_calls WHERE called_at >= ?"
)
_MEMBERS: Final = (
    "SELECT day, count(*) FILTER (member) AS members, count(*) AS symbols FROM market.universe "
    "WHERE day = (SELECT max(day) FROM market.universe) GROUP BY day"
)
_GROWTH: Final = "SELECT measured_at, bytes FROM meta.storage_history WHERE table_name = '*' ORDER BY measured_at"


@dataclass(frozen=True)
class Item:
    """One line: its subject, whether it is fine, a text, and values for programs."""

    name: str
    ok: bool
    detail: str
    values: dict[str, Any] = field(default_factory=dict)


def collect_health(
    store: Warehouse, instance: dg.DagsterInstance | None, settings: Settings, now: datetime, unreadable: str = ""
) -> list[Item]:
    """Return all items.

    Parameters
    ----------
    store : Warehouse
        Open for reading.
    instance : DagsterInstance or None
        Of this warehouse; None before the first run.
    settings : Settings
        Symbols, budget, notifier.
    now : datetime
        Current time (UTC).
    unreadable : str
        Reason why the run storage cannot be read, if so.

    Returns
    -------
    list of Item
        In the order of the table.
    """
    progress = WarehouseProgress(store, settings.symbols, settings.universe, settings.deep_start, one_look=True)
    known, archive = _ended(settings, now)
    return [
        *archive,
        _age("market data", "candles_1m", store, settings, known),
        _age("features", "features_60m", store, settings, known),
        *_cycles(progress, settings, known),
        *_universe(store, progress, settings, known),
        *_delisted(store, settings, now),
        *_steps(store, settings, now),
        _gaps(store),
        _drift(store),
        *([Item("books", True, *books_now(store))] if parse_rule(settings.universe) else []),
        _claude(store, settings, now),
        _runs(instance, progress, now) if instance is not None else _no_runs(unreadable),
        *([_daemon(instance, now)] if instance is not None else []),
        _notifier(settings),
        _disk(store),
    ]


def _ended(settings: Settings, now: datetime) -> tuple[datetime, list[Item]]:
    """Return the time as of which things are late, and a line if that is the end of an archive that does not go on."""
    end = None
    if settings.market == ArchiveMarket.name and settings.archive is not None:
        with suppress(MarketError):  # a run says what is wrong with the files
            end = ArchiveMarket(settings.archive).ended(settings.symbols, now)
    if end is None:
        return now, []
    told = f"the files end at {_moment(end)}, {_length(now - end)} ago; what is due and how old data is are as of then"
    return end, [Item("archive", True, told, {"end": end.isoformat()})]


def _age(name: str, dataset: str, store: Warehouse, settings: Settings, now: datetime) -> Item:
    symbols = list(settings.symbols)
    through = dict(store.read(_AGES, [dataset, symbols]).iter_rows())
    absent = [symbol for symbol in symbols if symbol not in through]
    if absent:
        return Item(name, False, f"no data stored for {', '.join(absent)}; run `blofin run`", {"absent": absent})
    oldest = min(through, key=lambda symbol: (through[symbol], symbol))
    reached = min(through[oldest], now)  # a run after the end of an archive covers days that nothing came of
    age = now - reached
    values = {"through": reached.isoformat(), "age_seconds": age.total_seconds()}
    behind = "" if len(set(through.values())) == 1 else f", {oldest} the oldest"
    return Item(name, age <= STALE, f"up to {_moment(reached)}, {_length(age)} old{behind}", values)


def _cycles(progress: WarehouseProgress, settings: Settings, now: datetime) -> list[Item]:
    due = plan(now, settings.start_for(now), progress).steps
    items = []
    for cadence in CADENCES:
        done = [time for time in progress.succeeded(cadence.job) if time <= now]
        given_up = progress.given_up(cadence.job)
        open_steps = [step for step in due if step.job == cadence.job and step.as_of not in given_up]
        late = [step for step in open_steps if now - step.as_of > LATE]
        last = f"last {cadence.key(max(done))}" if done else "none yet"
        # an older one no longer matters once a later one is done
        missing = sorted(time for time in given_up if time <= now and (not done or time > max(done)))
        parts = [last, _due(open_steps) or f"next {_moment(cadence.floor(now) + cadence.every)}"]
        if missing:
            shown = "… " if len(missing) > SHOWN else ""
            parts.append(f"abandoned: {shown}{', '.join(cadence.key(time) for time in missing[-SHOWN:])}")
        values = {
            "last": max(done).isoformat() if done else None,
            "due": [step.run_key for step in open_steps],
            "given_up": [time.isoformat() for time in missing],
        }
        name = _NAMES.get(cadence.job, cadence.job.replace("_", " "))
        items.append(Item(name, not late and not missing, "; ".join(parts), values))
    market = [step for step in due if step.job == MARKET_DATA]
    days = f"{market[0].first_key} to {market[-1].last_key}" if market else "nothing"
    return [Item("due: market data", True, days, {"runs": [step.run_key for step in market]}), *items]


def _due(steps: list[Step]) -> str:
    if not steps:
        return ""
    return f"due: {', '.join(step.first_key for step in steps[:SHOWN])}" + (" …" if len(steps) > SHOWN else "")


def _universe(store: Warehouse, progress: WarehouseProgress, settings: Settings, now: datetime) -> list[Item]:
    rule = parse_rule(settings.universe)
    if rule is None:
        return []
    stored = _read_or_empty(store, _MEMBERS)
    day = stored["day"].max() if stored is not None else None
    name = "universe" + (" (chosen today)" if rule.chosen else "")
    if stored is None or not isinstance(day, date):
        return [Item(name, True, f"{settings.universe}: not decided yet; run `blofin run`")]
    today = stored.row(0, named=True)
    late = now - datetime(day.year, day.month, day.day, tzinfo=UTC) > DAY + LATE
    told = f"{settings.universe}: {today['members']} members of {today['symbols']} symbols on {day}"
    due = "; due: deep history" if progress.deep_due(floor_time(now, DAY)) else ""
    return [Item(name, not late, told + due, {**today, "day": day.isoformat()})]


def _delisted(store: Warehouse, settings: Settings, now: datetime) -> list[Item]:
    over = delisted_at(store, settings.symbols, now)
    ends = ", ".join(f"{symbol} ended at {_moment(moment)}" for symbol, moment in sorted(over.items()))
    values = {symbol: moment.isoformat() for symbol, moment in over.items()}
    return [Item("symbols", True, f"{ends}; its backtests end there", values)] if over else []


def _steps(store: Warehouse, settings: Settings, now: datetime) -> list[Item]:
    steps = load_steps(store, now, settings.symbols).open
    listed = "; ".join(f"{step}, symbol excluded: {way_out(step)}" for step in steps)
    return [Item("price steps", False, listed, {"symbols": sorted({step.symbol for step in steps})})] if steps else []


def _gaps(store: Warehouse) -> Item:
    rows = store.read(_GAPS)
    values = {row["symbol"]: {"gaps": row["gaps"], "bars": int(row["bars"])} for row in rows.iter_rows(named=True)}
    listed = ", ".join(f"{symbol} {gaps['bars']:,} bars in {gaps['gaps']}" for symbol, gaps in list(values.items())[:3])
    deep = _read_or_empty(store, _DEEP_GAPS)
    gaps, bars = (0, 0) if deep is None else deep.row(0)
    told = [listed] if listed else []
    if gaps:
        told.append(f"deep history {bars:,} bars in {gaps}")
        values["deep history"] = {"gaps": gaps, "bars": bars}
    return Item("open gaps", True, "; ".join(told) or "none", values)


def _drift(store: Warehouse) -> Item:
    rows = _read_or_empty(store, _DRIFT)
    if rows is None:
        return Item("drift", True, "not evaluated by this version yet; run `blofin run`")
    if rows.is_empty():
        return Item("drift", True, "not evaluated yet: no forward results")
    counts = dict(rows.select("decision", "n").iter_rows())
    evaluated_at = rows["as_of"][0]
    drifting = rows.filter(pl.col("decision") == Decision.DRIFT)["names"].to_list()
    decisions = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    names = f": {drifting[0]}" if drifting else ""
    return Item(
        "drift",
        not drifting,
        f"{decisions} on {_moment(evaluated_at)}{names}",
        {"night": evaluated_at.isoformat(), **counts},
    )


def _claude(store: Warehouse, settings: Settings, now: datetime) -> Item:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    row = store.read(_SPENT, [midnight]).row(0, named=True)
    key = settings.anthropic_api_key is not None
    calls = f"{row['calls']} call{'' if row['calls'] == 1 else 's'}"
    spent = f"{row['usd']:.2f} of {settings.ai_budget_usd:.2f} USD spent today in {calls}"
    values = {"spent_usd": row["usd"], "budget_usd": settings.ai_budget_usd, "calls": row["calls"], "key": key}
    return Item("Claude", True, spent if key else f"no key is set; {spent}", values)


def _no_runs(unreadable: str) -> Item:
    if not unreadable:
        return Item("runs", True, "no runs yet")
    return Item("runs", False, f"runs and daemon state cannot be read: {unreadable}", {"unreadable": unreadable})


def _runs(instance: dg.DagsterInstance, progress: WarehouseProgress, now: datetime) -> Item:
    """Summarise the runs of the last 24 hours; a failed one needs attention until its results exist."""
    runs = [record.dagster_run for record in instance.get_run_records(dg.RunsFilter(created_after=now - LOOK_BACK))]
    good, failed = (
        [(place, run) for place, run in enumerate(runs) if run.status == status]
        for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
    )  # the newest first
    bad = [
        run
        for place, run in failed
        if not any(later < place and _covers(other, run) for later, other in good) and not _made(run, progress)
    ]
    running = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    values = {
        "succeeded": len(good),
        "failed": [{"run_id": run.run_id, "job": run.job_name, "settled": run not in bad} for _, run in failed],
        "running": [{"run_id": run.run_id, "job": run.job_name} for run in running],
    }
    mended = f" ({len(failed) - len(bad)} resolved since)" if len(failed) > len(bad) else ""
    summary = f"{len(good)} succeeded, {len(failed)} failed{mended} in the last 24 hours, {len(running)} running"
    last = f"; last failed: {bad[0].job_name} {bad[0].run_id[:8]}" if bad else ""
    return Item("runs", not bad, summary + last, values)


def _covers(run: dg.DagsterRun, failed: dg.DagsterRun) -> bool:
    """Whether a run had the same assets and checks as a failed one, on all of its keys."""
    same = all(
        getattr(run, name) == getattr(failed, name) for name in ("job_name", "asset_selection", "asset_check_selection")
    )
    (first, last), (failed_first, failed_last) = _keys(run), _keys(failed)
    return same and first <= failed_first and failed_last <= last


def _keys(run: dg.DagsterRun) -> tuple[str, str]:
    """Return the first and last key of a run, empty without one; keys of a calendar sort by time."""
    only = run.tags.get(_PARTITION, "")
    first, last = (run.tags.get(name, only) for name in _RANGE)
    return first, last


def _made(run: dg.DagsterRun, progress: WarehouseProgress) -> bool:
    """Whether the results of a planned step exist by now, from any run or a later cycle."""
    if AS_OF_TAG not in run.tags:
        return False
    as_of = datetime.fromisoformat(run.tags[AS_OF_TAG])
    if run.job_name == MARKET_DATA:
        first, last = (day_start(key).date() for key in _keys(run))
        lacking = progress.warehouse.missing_days(DATASETS, progress.symbols, first, last + DAY, as_of)
        return not any(lacking.values())
    if run.job_name not in {cadence.job for cadence in CADENCES}:
        return False
    done = progress.succeeded(run.job_name)
    return as_of in done or (run.job_name != REPORT and any(time > as_of for time in done))  # each day has its own


def _daemon(instance: dg.DagsterInstance, now: datetime) -> Item:
    beats = instance.get_daemon_heartbeats()
    needed = instance.get_required_daemon_types()
    times = {kind: datetime.fromtimestamp(beat.timestamp, UTC) for kind, beat in beats.items() if kind in needed}
    if not times:
        return Item("daemon", True, "never started; start it with `blofin ui` or `blofin daemon`")
    silent = {kind: now - time for kind, time in times.items() if now - time > SILENT}
    errors = {kind: beat.errors[0].message.strip().partition("\n")[0] for kind, beat in beats.items() if beat.errors}
    values = {"heartbeats": {kind: time.isoformat() for kind, time in times.items()}, "errors": errors}
    if len(silent) == len(times):
        return Item("daemon", False, f"not running; last heartbeat {_length(min(silent.values()))} ago", values)
    parts = [f"{kind.lower()} silent for {_length(age)}" for kind, age in silent.items()]
    parts += [f"{kind.lower()}: {message}" for kind, message in errors.items()]
    return Item("daemon", not parts, "; ".join(parts) or f"running, {len(times)} components alive", values)


def _notifier(settings: Settings) -> Item:
    on = settings.notify_url is not None
    return Item("notifier", True, "on" if on else "off: BLOFIN_NOTIFY_URL is not set", {"on": on})


def _disk(store: Warehouse) -> Item:
    sizes = store.storage()
    whole = sizes.row(0, named=True)
    used = shutil.disk_usage(store.folder)
    measured = _read_or_empty(store, _GROWTH)
    growth = _growth(measured) if measured is not None else None
    values = {
        "bytes": whole["bytes"], "files": whole["files"], "snapshots": whole["delete_files"],
        "free_bytes": used.free, "bytes_a_day": growth,
    }  # fmt: skip
    usage = f"{_size(whole['bytes'])} in {whole['files']:,} files, {whole['delete_files']:,} snapshots"
    grown = f", {_size(growth)} more a day" if growth is not None else ""
    enough = used.free >= LEAST_FREE * used.total
    return Item("disk", enough, f"{usage}{grown}; {_size(used.free)} free", values)


def _read_or_empty(store: Warehouse, query: str) -> pl.DataFrame | None:
    try:
        return store.read(query)
    except WarehouseError:  # the warehouse is older than the table
        return None


def _growth(measured: pl.DataFrame) -> float | None:
    """Return the growth in bytes per day between the first and last measurement, if they are a day apart."""
    if measured.height < 2:  # noqa: PLR2004 - two points make a line
        return None
    first, last = measured.row(0, named=True), measured.row(-1, named=True)
    days = (last["measured_at"] - first["measured_at"]) / timedelta(days=1)
    return float((last["bytes"] - first["bytes"]) / days) if days >= 1 else None


def _size(size: float) -> str:
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size:.0f} B"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _length(length: timedelta) -> str:
    hours = length / timedelta(hours=1)
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004 - two days
