"""The strategy cycle before the exam: how what exists does in the search window, and other parameters for the last.

Belongs here: the assets that score and tune existing strategies. Does not belong here: searching parameters
(`strategies.evolution.tuning`), who is tuned (`strategies.evolution.selection`), designs (`designs`).

No look-ahead: the search window ends a week before the as-of, where the exam starts. Who is looked at is decided by
states as they were at that time, and by attempts, which no exam decides.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.ranking import ranked
from backtester.windows import EXAM_LENGTH, Window
from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset, table_preview
from blofin_assets.assets.features import ASSETS as FEATURE_ASSETS
from blofin_assets.assets.library import GROUP, strategy_validation, validated, verdicts
from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.material import lessons, market_state, search_results
from blofin_assets.evolution.rows import (
    EXHAUSTED,
    REFUSED,
    SOUND,
    Made,
    Try,
    proposal_rows,
    run_row,
    seen_in_search,
    strategy_rows,
    tries_rows,
)
from blofin_assets.evolution.windows import search_panel, windows_of
from blofin_assets.partitions import day_start, two_days
from blofin_assets.roster import Member, roster
from blofin_resources.claude import Answer
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    WarehouseResource,
)
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.base import Strategy
from strategies.evolution.answers import Tuning
from strategies.evolution.judging import Judged, judge
from strategies.evolution.panel import Panel
from strategies.evolution.prompting import tune_prompt
from strategies.evolution.selection import ATTEMPTS, Stage, to_tune
from strategies.evolution.tuning import Tuned, Values, changes, tune

STEPS_BACK: Final = 18
"""The search window's 35 days, in steps of the 48-hour grid, rounded up."""

NOT_RUN: Final = "not run"
AUTHORS: Final = ("claude", "tuner")
DRIFT_DESIGNER: Final = "drift"
"""Under which challengers that drift called for stand among the proposals of the next cycle."""

_ATTEMPTS: Final = (
    "SELECT name, count(*) AS attempts, max(as_of) AS latest FROM research.proposals "
    "WHERE stage = 'tuning' AND attempt IS NOT NULL AND (as_of < ? OR (as_of = ? AND designer = ?)) "
    "GROUP BY name ORDER BY name"
)


@stage_asset(
    group=GROUP,
    table="research.strategy_scores",
    partitions=two_days,
    deps=[strategy_validation, *(lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS)],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_scores(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """What exists, in the search window before the exam: the last fifth there is tuned and may be replaced."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    window = windows_of(store, market.symbols, as_of)
    if window.search is None:
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "search_window": window.reason})
    require_market_data(store, market.symbols, window.search.start, as_of)
    panel = search_panel(store, market.symbols, window.search, context.run.run_id)
    snapshot = store.snapshot_id()
    judged, failed = _judged(panel, [each.strategy for each in in_play(store, as_of)])
    tries = [Try.of(each) for each in judged]
    with store.transaction(context.run.run_id) as tx:
        tx.replace(
            "research.strategy_scores",
            _score_rows(judged, as_of, window.search),
            as_of=as_of,
            window=_days(window.search),
        )
        tx.append(
            "research.trials",
            tries_rows(tries, "library", as_of, (window.search.start, window.search.end), snapshot),
            key=["id"],
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(judged),
            "search_window": f"{window.search.start:%Y-%m-%d %H:%M} to {window.search.end:%Y-%m-%d %H:%M} UTC",
            "ranking": table_preview(_table(judged)),
            "failed": "; ".join(f"{name}: {why}" for name, why in failed.items()) or "none",
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(
    group=GROUP,
    table="research.proposals",
    name="strategy_tuning",
    partitions=two_days,
    deps=[strategy_scores],
    kinds=("polars", "duckdb", "numba", "optuna"),
)
def strategy_tuning(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    claude: ClaudeResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """Other parameters for the last fifth, searched in the search window; the better ones may take the exam once."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    window = windows_of(store, market.symbols, as_of)
    run_id = context.run.run_id
    if window.search is None:
        runs = [run_row("tuning", each, as_of, state=NOT_RUN, budget=0, detail=window.reason) for each in AUTHORS]
        return stored(store, "tuning", as_of, [], runs, {}, None, run_id)
    panel = search_panel(store, market.symbols, window.search, run_id)
    due, spent, attempts = _due(store, in_play(store, as_of), as_of, window.search)
    made = [_exhausted(each, attempts.get(each.strategy.name, 0)) for each in spent]
    asker = Asker(claude.open(store, clock), as_of, run_id)
    state = market_state(store, market.symbols, window.search.end)
    tries: list[Try] = []
    for member in due if evolution.tuning_budget else ():
        name, before = member.strategy.name, asker.cost_usd
        attempt = attempts.get(name, 0) + 1
        first, diagnosis = _suggested(store, panel, asker, member.strategy, state, attempt)
        result = tune(
            panel, member.strategy, budget=evolution.tuning_budget, seed=seed_of(market.seed, as_of, name),
            first=first, known=_versions(store, name, as_of),
        )  # fmt: skip
        tries += [Try.of(each) for each in result.tried]
        made.append(attempted(member, result, attempt, asker.cost_usd - before, diagnosis))
    made.sort(key=lambda each: (each.state != SOUND, (each.parent_objective or 0.0) - (each.objective or 0.0)))
    budget = evolution.tuning_budget * len(due)
    ran = "done" if budget else NOT_RUN
    idle = "nobody was to be tuned" if not due else "BLOFIN_TUNING_BUDGET is 0" if not budget else ""
    runs = [
        run_row("tuning", "tuner", as_of, state=ran, detail=idle, budget=budget, made=made),
        run_row(
            "tuning", "claude", as_of, state=asker.state, detail=idle or asker.detail, budget=0, spent=asker.spent()
        ),
    ]
    return stored(store, "tuning", as_of, made, runs, {"tuner": tries}, window.search, run_id)


def in_play(store: Warehouse, as_of: datetime) -> list[Member]:
    """Return who is looked at in a search window: what was not archived when the exam started, each name once.

    Of several versions of a name the one that was followed then, else the library's. A proposal that was not among the
    finalists of its cycle took no exam and was not validated for one: it is a row, and nobody's incumbent.
    """
    judged = verdicts(store, as_of)
    found: dict[str, Member] = {}
    for each in roster(store, as_of - EXAM_LENGTH):
        if each.state in {"archived", "refused"} or judged.get(each.key) == "refused":
            continue
        if each.source != "library" and each.key not in judged:
            continue
        other = found.get(each.strategy.name)
        if other is None or (each.running and not other.running):
            found[each.strategy.name] = each
    members = [found[name] for name in sorted(found)]
    allowed = {(each.name, each.version) for each in validated([each.strategy for each in members], judged)}
    return [each for each in members if each.key in allowed]


def _judged(panel: Panel, strategies: Sequence[Strategy]) -> tuple[list[Judged], dict[str, str]]:
    """Return how each did in the search window, and by name why some could not be run: they do not stop the others.

    Raises
    ------
    BlofinError
        If none could.
    """
    judged: list[Judged] = []
    failed: dict[str, str] = {}
    for each in strategies:
        try:
            judged.append(judge(panel, each))
        except ValueError as error:
            failed[each.name] = str(error)
    if not judged:
        msg = f"no strategy could be run on the search window: {'; '.join(failed.values()) or 'there is none'}"
        raise BlofinError(msg)
    return judged, failed


def seed_of(seed: int, as_of: datetime, name: str) -> int:
    """Return a seed that belongs to one thing in one cycle."""
    digest = hashlib.sha256(f"{seed}|{as_of.isoformat()}|{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _due(
    store: Warehouse, played: Sequence[Member], as_of: datetime, window: Window
) -> tuple[list[Member], list[Member], dict[str, int]]:
    """Return who is tuned, who has been tuned often enough, and the attempts in each life so far.

    Who drifted since the last cycle has been tuned for this exam already.
    """
    scores = store.read(
        "SELECT strategy AS name, score, trades AS total_trades FROM research.strategy_scores "
        "WHERE as_of = ? AND \"window\" = ? AND symbol = '*'",
        [as_of, _days(window)],
    )
    so_far = store.read(_ATTEMPTS, [as_of, as_of, DRIFT_DESIGNER])
    attempts = {str(name): int(count) for name, count in so_far.select("name", "attempts").iter_rows()}
    waiting = so_far.filter(pl.col("latest") > as_of - EXAM_LENGTH)["name"].to_list()
    members = {each.strategy.name: each for each in played}
    fixed = [name for name, each in members.items() if not _tunable(each.strategy)]
    due, spent = to_tune(ranked(scores)["name"].to_list(), attempts, frozenset(waiting), frozenset(fixed))
    return [members[name] for name in due], [members[name] for name in spent], attempts


def _tunable(strategy: Strategy) -> bool:
    return any(given.low < given.high for given in strategy.ranges().values())


def _exhausted(member: Member, attempts: int) -> Made:
    why = (
        f"{attempts} tuning attempts, and still in the last fifth of the search window"
        if attempts >= ATTEMPTS
        else "in the last fifth of the search window, without a parameter to tune"
    )
    name, version = member.key
    return Made("tuning", "tuner", EXHAUSTED, name=name, version=version, parent_version=version, refusal=why)


def _suggested(
    store: Warehouse, panel: Panel, asker: Asker, strategy: Strategy, state: list[dict[str, Any]], attempt: int
) -> tuple[list[Values], str | None]:
    """Return the parameter sets that Claude suggests, and its diagnosis; nothing where there is no answer."""
    if asker.over:
        return [], None
    prompt = tune_prompt(
        strategy,
        results=search_results(panel, judge(panel, strategy)),
        lessons=lessons(store, asker.as_of, strategy.name),
        market=state,
        attempt=attempt,
        costs=panel.costs,
    )
    came = asker.ask("tuner", prompt, Tuning)
    if not isinstance(came, Answer):
        return [], None
    variants: list[Values] = [
        {change.parameter: change.value for change in each.changes} for each in came.value.variants
    ]
    return variants, came.value.diagnosis


def attempted(member: Member, result: Tuned, attempt: int, cost: float, diagnosis: str | None) -> Made:
    """Return the proposal of one attempt: the best other version, or that there is none."""
    parent, best = result.parent, result.best
    shared: dict[str, Any] = {
        "name": member.strategy.name,
        "parent_version": member.strategy.version,
        "attempt": attempt,
        "evaluations": len(result.tried),
        "parent_search_score": parent.pooled.score,
        "parent_objective": parent.objective,
        "reason": diagnosis,
        "cost_usd": cost,
    }
    if best is None:
        why = f"none of {len(result.tried) - 1} other sets of parameters was better in the search window"
        return Made("tuning", "tuner", REFUSED, refusal=why, **shared)
    told = json.dumps(changes(parent.strategy.parameters, best.strategy.parameters), ensure_ascii=False)
    found = {**shared, **seen_in_search(best), "changes": told}
    return Made("tuning", "tuner", SOUND, version=best.strategy.version, strategy=best.strategy, **found)


def _versions(store: Warehouse, name: str, as_of: datetime) -> list[str]:
    rows = store.read(
        "SELECT version FROM research.finalists WHERE name = ? AND as_of < ? ORDER BY version", [name, as_of]
    )
    return list(rows["version"])


def _days(window: Window) -> str:
    """Return what a search window is called; never as the exam, whose scores have the same key but for this."""
    return f"search_{window.length.days}d"


def _table(judged: Sequence[Judged]) -> pl.DataFrame:
    rows = [
        {
            "name": each.strategy.name,
            "version": each.strategy.version,
            "score": each.pooled.score,
            "total_trades": each.pooled.trades,
            "objective": each.objective,
            "sharpe": each.pooled.sharpe,
        }
        for each in judged
    ]
    schema = {
        "name": pl.String,
        "version": pl.String,
        "score": pl.Float64,
        "total_trades": pl.Int64,
        "objective": pl.Float64,
        "sharpe": pl.Float64,
    }
    return ranked(pl.DataFrame(rows, schema=schema))


def _score_rows(judged: Sequence[Judged], as_of: datetime, window: Window) -> pl.DataFrame:
    rows = [
        {
            "timestamp": as_of,
            "strategy": each.strategy.name,
            "version": each.strategy.version,
            "symbol": "*",
            "window": _days(window),
            "trades": each.pooled.trades,
            "wins": each.pooled.wins,
            "losses": each.pooled.trades - each.pooled.wins,
            "win_rate": each.pooled.win_rate,
            "avg_pnl_pct": each.pooled.avg_pnl_pct,
            "total_pnl_pct": each.pooled.total_pnl_pct,
            "sharpe_ratio": each.pooled.sharpe,
            "max_drawdown_pct": each.pooled.max_drawdown * 100,
            "score": each.pooled.score,
            "as_of": as_of,
        }
        for each in judged
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("timestamp", "as_of").cast(TS))


def stored(
    store: Warehouse,
    stage: Stage,
    as_of: datetime,
    made: Sequence[Made],
    runs: Sequence[dict[str, Any]],
    tries: Mapping[str, Sequence[Try]],
    window: Window | None,
    run_id: str,
) -> dg.MaterializeResult[Any]:
    """Store what a stage proposed, how it went and every try, in one commit; return it for the UI."""
    snapshot = store.snapshot_id()
    proposals = proposal_rows(made, as_of)
    told = pl.DataFrame(list(runs), infer_schema_length=None).with_columns(pl.col("as_of").cast(TS))
    with store.transaction(run_id) as tx:
        designers = sorted({each["designer"] for each in runs})  # challengers that drift called for stay
        tx.replace("research.proposals", proposals, as_of=as_of, stage=stage, designer=designers)
        tx.replace("research.designer_runs", told, as_of=as_of, stage=stage)
        tx.append("research.strategies", strategy_rows(made, as_of), key=["name", "version"])
        if window is not None:
            for author, found in tries.items():
                rows = tries_rows(found, author, as_of, (window.start, window.end), snapshot)
                tx.append("research.trials", rows, key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": proposals.height,
            "proposals": table_preview(
                proposals.select("designer", "name", "state", "changes", "search_score", "refusal")
            ),
            "authors": table_preview(told.select("designer", "state", "detail", "budget", "evaluations", "cost_usd")),
            "evaluations": sum(len(found) for found in tries.values()),
            "cost_usd": float(told["cost_usd"].sum()),
            "snapshot": tx.snapshot,
        }
    )
