"""How the platform is: what ran, what is due, how old the data is, what needs a person.

Belongs here: reading that from the warehouse, from Dagster's instance and from the disk. Does not belong here: the
terminal (`cli.status`), doing anything about it.

Nothing is written, and nothing is judged that was not looked at: what is absent is said to be absent.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.plan import CADENCES, DRIFT, FORWARD, MARKET_DATA, REPORT, Step, plan
from blofin_assets.progress import WarehouseProgress
from blofin_resources.errors import WarehouseError
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

STALE: Final = timedelta(hours=3)
"""Age of market data or features from which somebody should look; they come each hour."""

LATE: Final = timedelta(hours=2)
"""How long a cycle may be due before somebody should look."""

SILENT: Final = timedelta(minutes=5)
"""A daemon whose last heartbeat is older than this does not run; it beats every 30 seconds."""

LEAST_FREE: Final = 0.05
"""Share of the disk that should be free."""

LOOK_BACK: Final = timedelta(days=1)

SHOWN: Final = 3
"""How many keys of a cycle a line names."""

_NAMES: Final = {REPORT: "daily report", FORWARD: "forward ledger", DRIFT: "drift checks"}

_AGES: Final = (
    "SELECT symbol, max(through) AS through FROM market.coverage WHERE dataset = ? AND symbol IN (SELECT unnest(?)) "
    "GROUP BY symbol"
)
_GAPS: Final = (
    "SELECT symbol, count(*) AS gaps, sum(bars) AS bars FROM market.gaps WHERE closed_at IS NULL GROUP BY symbol "
    "ORDER BY bars DESC, symbol"
)
_DRIFT: Final = (
    "SELECT as_of, decision, count(*) AS n, string_agg(DISTINCT name, ', ' ORDER BY name) AS names "
    "FROM research.drift WHERE as_of = (SELECT max(as_of) FROM research.drift) GROUP BY ALL"
)
_SPENT: Final = (
    "SELECT coalesce(sum(cost_usd), 0) AS usd, count(*) FILTER (outcome NOT IN ('no_key', 'budget')) AS calls "
    "FROM research.llm_calls WHERE called_at >= ?"
)
_GROWTH: Final = 'SELECT "at", bytes FROM meta.storage WHERE table_name = \'*\' ORDER BY "at"'


@dataclass(frozen=True)
class Item:
    """One line: what it is about, whether a person should look, in words, and as values."""

    name: str
    well: bool
    detail: str
    values: dict[str, Any] = field(default_factory=dict)


def look(store: Warehouse, instance: dg.DagsterInstance | None, settings: Settings, now: datetime) -> list[Item]:
    """Return every item.

    Parameters
    ----------
    store : Warehouse
        Open for reading.
    instance : DagsterInstance or None
        Of this warehouse; None where no run has been made yet.
    settings : Settings
        Symbols, budget, notifier.
    now : datetime
        UTC.
    """
    progress = WarehouseProgress(store, settings.symbols)
    return [
        _age("market data", "candles_1m", store, settings, now),
        _age("features", "features_60m", store, settings, now),
        *_cycles(progress, settings, now),
        _gaps(store),
        _drift(store),
        _claude(store, settings, now),
        *(_runs(instance, now) if instance is not None else [Item("runs", True, "none was made here yet")]),
        *([_daemon(instance, now)] if instance is not None else []),
        _notifier(settings),
        _disk(store),
    ]


def _age(name: str, dataset: str, store: Warehouse, settings: Settings, now: datetime) -> Item:
    symbols = list(settings.symbols)
    through = dict(store.read(_AGES, [dataset, symbols]).iter_rows())
    absent = [symbol for symbol in symbols if symbol not in through]
    if absent:
        return Item(name, False, f"nothing is stored of {', '.join(absent)}; run: blofin run", {"absent": absent})
    oldest = min(through, key=lambda symbol: (through[symbol], symbol))
    age = now - through[oldest]
    values = {"through": through[oldest].isoformat(), "age_seconds": age.total_seconds()}
    behind = "" if len(set(through.values())) == 1 else f", {oldest} the oldest"
    return Item(name, age <= STALE, f"up to {_moment(through[oldest])}, {_length(age)} old{behind}", values)


def _cycles(progress: WarehouseProgress, settings: Settings, now: datetime) -> list[Item]:
    due = plan(now, settings.start_for(now), progress).steps
    found = []
    for cadence in CADENCES:
        done = [time for time in progress.succeeded(cadence.job) if time <= now]
        given_up = progress.given_up(cadence.job)
        open_steps = [step for step in due if step.job == cadence.job and step.as_of not in given_up]
        late = [step for step in open_steps if now - step.as_of > LATE]
        last = f"last {cadence.key(max(done))}" if done else "none yet"
        # of old it no longer matters once a later one is there
        missing = sorted(time for time in given_up if time <= now and (not done or time > max(done)))
        parts = [last, _due(open_steps) or f"next {_moment(cadence.floor(now) + cadence.every)}"]
        if missing:
            shown = "… " if len(missing) > SHOWN else ""
            parts.append(f"given up: {shown}{', '.join(cadence.key(time) for time in missing[-SHOWN:])}")
        values = {
            "last": max(done).isoformat() if done else None,
            "due": [step.run_key for step in open_steps],
            "given_up": [time.isoformat() for time in missing],
        }
        name = _NAMES.get(cadence.job, cadence.job.replace("_", " "))
        found.append(Item(name, not late and not missing, "; ".join(parts), values))
    market = [step for step in due if step.job == MARKET_DATA]
    days = f"{market[0].first_key} to {market[-1].last_key}" if market else "nothing"
    return [Item("due: market data", True, days, {"runs": [step.run_key for step in market]}), *found]


def _due(steps: list[Step]) -> str:
    if not steps:
        return ""
    return f"due: {', '.join(step.first_key for step in steps[:SHOWN])}" + (" …" if len(steps) > SHOWN else "")


def _gaps(store: Warehouse) -> Item:
    rows = store.read(_GAPS)
    values = {row["symbol"]: {"gaps": row["gaps"], "bars": int(row["bars"])} for row in rows.iter_rows(named=True)}
    told = ", ".join(f"{symbol} {each['bars']:,} bars in {each['gaps']}" for symbol, each in list(values.items())[:3])
    return Item("open gaps", True, told or "none", values)


def _drift(store: Warehouse) -> Item:
    try:
        rows = store.read(_DRIFT)
    except WarehouseError:  # a warehouse from before there was a forward ledger
        return Item("drift", True, "not looked for yet: this warehouse has no forward ledger")
    if rows.is_empty():
        return Item("drift", True, "not looked for yet: nothing has been followed forward for a night")
    counts = dict(rows.select("decision", "n").iter_rows())
    night = rows["as_of"][0]
    drifting = rows.filter(pl.col("decision") == "drift")["names"].to_list()
    told = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    names = f": {drifting[0]}" if drifting else ""
    return Item("drift", not drifting, f"{told} on {_moment(night)}{names}", {"night": night.isoformat(), **counts})


def _claude(store: Warehouse, settings: Settings, now: datetime) -> Item:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    row = store.read(_SPENT, [midnight]).row(0, named=True)
    key = settings.anthropic_api_key is not None
    calls = f"{row['calls']} call{'' if row['calls'] == 1 else 's'}"
    told = f"{row['usd']:.2f} of {settings.ai_budget_usd:.2f} USD spent today in {calls}"
    values = {"spent_usd": row["usd"], "budget_usd": settings.ai_budget_usd, "calls": row["calls"], "key": key}
    return Item("Claude", True, told if key else f"no key is set; {told}", values)


def _runs(instance: dg.DagsterInstance, now: datetime) -> list[Item]:
    after = dg.RunsFilter(created_after=now - LOOK_BACK)
    records = instance.get_run_records(after)
    states = [record.dagster_run.status for record in records]
    failed = [record.dagster_run for record in records if record.dagster_run.status == dg.DagsterRunStatus.FAILURE]
    running = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    good = sum(state == dg.DagsterRunStatus.SUCCESS for state in states)
    values = {
        "succeeded": good,
        "failed": [{"run_id": run.run_id, "job": run.job_name} for run in failed],
        "running": [{"run_id": run.run_id, "job": run.job_name} for run in running],
    }
    told = f"{good} succeeded, {len(failed)} failed in the last 24 hours, {len(running)} running"
    last = f"; last failed: {failed[0].job_name} {failed[0].run_id[:8]}" if failed else ""
    return [Item("runs", not failed, told + last, values)]


def _daemon(instance: dg.DagsterInstance, now: datetime) -> Item:
    beats = instance.get_daemon_heartbeats()
    needed = instance.get_required_daemon_types()
    times = {kind: datetime.fromtimestamp(beat.timestamp, UTC) for kind, beat in beats.items() if kind in needed}
    if not times:
        return Item("daemon", True, "has never run here; it runs with: blofin ui, or blofin daemon")
    silent = {kind: now - time for kind, time in times.items() if now - time > SILENT}
    errors = {kind: beat.errors[0].message.strip().partition("\n")[0] for kind, beat in beats.items() if beat.errors}
    values = {"heartbeats": {kind: time.isoformat() for kind, time in times.items()}, "errors": errors}
    if len(silent) == len(times):
        return Item("daemon", False, f"does not run; last heartbeat {_length(min(silent.values()))} ago", values)
    parts = [f"{kind.lower()} silent for {_length(age)}" for kind, age in silent.items()]
    parts += [f"{kind.lower()}: {message}" for kind, message in errors.items()]
    return Item("daemon", not parts, "; ".join(parts) or f"runs, {len(times)} parts with a fresh heartbeat", values)


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
    told = f"{_size(whole['bytes'])} in {whole['files']:,} files, {whole['delete_files']:,} snapshots"
    grown = f", {_size(growth)} more a day" if growth is not None else ""
    enough = used.free >= LEAST_FREE * used.total
    return Item("disk", enough, f"{told}{grown}; {_size(used.free)} free", values)


def _read_or_empty(store: Warehouse, query: str) -> pl.DataFrame | None:
    try:
        return store.read(query)
    except WarehouseError:  # a warehouse from before there was maintenance
        return None


def _growth(measured: pl.DataFrame) -> float | None:
    """Return bytes a day between the first and the last measurement, where a day lies between them."""
    if measured.height < 2:  # noqa: PLR2004 - two points make a line
        return None
    first, last = measured.row(0, named=True), measured.row(-1, named=True)
    days = (last["at"] - first["at"]) / timedelta(days=1)
    return float((last["bytes"] - first["bytes"]) / days) if days >= 1 else None


_UNITS: Final[tuple[tuple[str, Callable[[float], float]], ...]] = (
    ("GB", lambda size: size / 1e9),
    ("MB", lambda size: size / 1e6),
    ("kB", lambda size: size / 1e3),
)


def _size(size: float) -> str:
    for unit, scaled in _UNITS:
        if abs(scaled(size)) >= 1:
            return f"{scaled(size):.1f} {unit}"
    return f"{size:.0f} B"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _length(length: timedelta) -> str:
    hours = length / timedelta(hours=1)
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004 - two days
