"""The asset of the holdout run.

Belongs here: running the evaluation set on the holdout and storing the results. Does not belong here: backtesting
(`backtester`), who is evaluated (`evaluation_set`), what precedes the holdout (`library`, `scoring`, `tuning`,
`design`), the ranking (`ranking`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester import Costs, Evaluation, evaluate
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.features.assets import FEATURE_ASSETS
from blofin_assets.shared.asset import lineage, stage_asset
from blofin_assets.shared.backtest_rows import backtest_rows, equity_rows, pooled_of, trade_rows, trial_rows
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.fence import OF_ALL, each_alone
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.shared.partitions import TWO_DAYS, day_start, two_days
from blofin_assets.shared.trial_ledger import configuration, count_searched, count_trials
from blofin_assets.shared.vocabulary import Kind, LifecycleNote
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.design import strategy_finalists
from blofin_assets.strategy_cycle.evaluation_set import drop_duplicates, duplicate_events, evaluation_set
from blofin_assets.strategy_cycle.evidence import evidence_rows, mark_known
from blofin_assets.strategy_cycle.expected import expected_rows
from blofin_assets.strategy_cycle.library import GROUP, noted_events, validated, verdicts
from blofin_assets.strategy_cycle.population import Key, StrategyRecord, load_population
from blofin_assets.strategy_cycle.search_window import windows_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.market import is_synthetic
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.search.map_elites.sampling_weights import families_of

STEPS_BACK: Final = -(-HOLDOUT_LENGTH // TWO_DAYS)
"""Length of the holdout in steps of the 48-hour grid, rounded up."""

_ATTEMPT: Final = (
    "SELECT name, version, max(attempt) AS attempt FROM research.proposals "
    "WHERE as_of = ? AND stage = 'tuning' AND version IS NOT NULL GROUP BY name, version ORDER BY name, version"
)
_PROMPTS: Final = (
    "SELECT name AS strategy_name, version, '*' AS symbol, design_prompt FROM research.strategies "
    "WHERE design_prompt IS NOT NULL AND created_at <= ?"
)


@stage_asset(
    group=GROUP,
    table="research.strategy_backtest_results",
    partitions=two_days,
    deps=[strategy_finalists, *(lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS)],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_backtests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The holdout backtest: deployed strategies and finalists, each run once on the unseen days before the as-of."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    records = evaluation_set(store, as_of)
    sound = validated([record.strategy for record in records], verdicts(store, as_of))
    windows = windows_of(store, market.symbols, as_of)
    starts = {(each.name, each.version): windows.of(each.timeframes).holdout.start for each in sound}
    require_market_data(store, market.symbols, min((as_of - HOLDOUT_LENGTH, *starts.values())), as_of)
    snapshot = store.snapshot_id()
    manager, rules = feature_manager(store, as_of), margin_rules(store, market.symbols, as_of)
    run: list[Evaluation] = []
    for start in sorted(set(starts.values()), reverse=True):
        run += evaluate(
            [each for each in sound if starts[each.name, each.version] == start], manager, market.symbols, start,
            as_of, costs=Costs(), rules=rules, on_error="report", fatal=OF_ALL,
        )  # fmt: skip
    failed = {(evaluation.name, evaluation.version): evaluation.error for evaluation in run if evaluation.error}
    if len(failed) == len(run):
        msg = f"no strategy could be run on the holdout: {'; '.join(failed.values()) or 'there is none'}"
        raise BlofinError(msg)
    evaluations, copies = drop_duplicates([evaluation for evaluation in run if not evaluation.error])
    noted = duplicate_events(copies, "positions", as_of)
    noted = noted.vstack(noted_events(LifecycleNote.FAILED, failed, as_of))
    searched = count_searched(store, Kind.STRATEGY, as_of)
    known = store.read(query("strategy_cycle/known_to_authors"), {"as_of": as_of, "holdout": HOLDOUT_LENGTH})
    if is_synthetic(market.market):
        known = known.with_columns(knows_until=pl.lit(None, TS))

    def judged(start: datetime) -> tuple[pl.DataFrame, Mapping[Key, str], int]:
        group = [each for each in evaluations if starts[each.name, each.version] == start]
        configurations = {configuration(each, Kind.STRATEGY) for each in group}
        trials = count_trials(store, Kind.STRATEGY, start, as_of, configurations)
        found, without = evidence_rows(group, Kind.STRATEGY, as_of, trials=trials, seed=market.seed, searched=searched)
        return mark_known(found, known, start), without, trials

    by_window = each_alone(sorted({starts[each.name, each.version] for each in evaluations}, reverse=True), judged)
    if not by_window.done:
        raise BlofinError("; ".join(why for _, why in by_window.failed))
    evidence = pl.concat([rows for _, (rows, _, _) in by_window.done], how="vertical_relaxed")
    unproven = {key: why for _, (_, without, _) in by_window.done for key, why in without.items()}
    unproven |= {key: why for start, why in by_window.failed for key, own in starts.items() if own == start}
    evidence = evidence.join(
        expected_rows(store, as_of, _measured(evaluations, evidence), _families(store, as_of)),
        on=["name", "version"], how="left", maintain_order="left",
    )  # fmt: skip
    rows = backtest_rows(evaluations, as_of, snapshot)
    results = _told(rows, records, store.read(_ATTEMPT, [as_of]), store.read(_PROMPTS, [as_of]))
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.strategy_backtest_results", results, as_of=as_of)
        tx.replace("research.trades", trade_rows(evaluations, Kind.STRATEGY, as_of), as_of=as_of, kind=Kind.STRATEGY)
        tx.replace("research.equity", equity_rows(evaluations, Kind.STRATEGY, as_of), as_of=as_of, kind=Kind.STRATEGY)
        for author, own in _by_author(evaluations, records).items():
            tx.append("research.trials", trial_rows(own, Kind.STRATEGY, author, as_of, snapshot), key=["id"])
        tx.replace("research.evidence", evidence, as_of=as_of, kind=Kind.STRATEGY)
        tx.replace(
            "research.strategy_lifecycle", noted, begins_at=as_of, event=[LifecycleNote.DUPLICATE, LifecycleNote.FAILED]
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": results.height,
            "strategies": len(evaluations),
            "copies": ", ".join(f"{name} repeats {original}" for (name, _), original in copies.items()) or "none",
            "failed": "; ".join(f"{name}: {why}" for (name, _), why in failed.items()) or "none",
            "without_evidence": "; ".join(f"{name}: {why}" for (name, _), why in unproven.items()) or "none",
            "trials": "; ".join(f"{(as_of - start).days} days: {count}" for start, (_, _, count) in by_window.done),
            "search_trials": searched,
            "trades": sum(pooled_of(evaluation).trades for evaluation in evaluations),
            "snapshot": tx.snapshot,
        }
    )


def _measured(evaluations: Sequence[Evaluation], evidence: pl.DataFrame) -> pl.DataFrame:
    """Return the holdout's ratios with their errors, as `expected_rows` reads them; what has no ratio is left out."""
    errors = {(row["name"], row["version"]): row["sharpe_error"] for row in evidence.iter_rows(named=True)}
    rows = [
        (
            each.name, each.version, pooled.start, pooled.end, pooled.sharpe, pooled.turnover,
            errors.get((each.name, each.version)) or pooled.sharpe_se,
        )
        for each in evaluations
        if (pooled := pooled_of(each)).sharpe is not None
    ]  # fmt: skip
    floats = dict.fromkeys(("sharpe", "turnover", "error"), pl.Float64)
    schema: dict[str, Any] = {"name": pl.String, "version": pl.String, "window_start": TS, "window_end": TS, **floats}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _families(store: Warehouse, as_of: datetime) -> dict[Key, list[str]]:
    """Return the families of features that each version reads; none for one whose code is gone."""
    return {record.key: families_of(record.strategy) for record in load_population(store, as_of)}


def _by_author(evaluations: Sequence[Evaluation], records: Sequence[StrategyRecord]) -> dict[str, list[Evaluation]]:
    authors = {record.key: record.author for record in records}
    by_author: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        by_author.setdefault(authors[evaluation.name, evaluation.version], []).append(evaluation)
    return by_author


def _told(
    results: pl.DataFrame, records: Sequence[StrategyRecord], attempts: pl.DataFrame, prompts: pl.DataFrame
) -> pl.DataFrame:
    """Return results with the state of each strategy before the holdout, and the attempt or prompt that produced it."""
    states = pl.DataFrame(
        [(*record.key, record.state) for record in records], schema=["strategy_name", "version", "status"], orient="row"
    )
    numbers = attempts.rename({"name": "strategy_name", "attempt": "tuning_attempt"})
    key = ["strategy_name", "version"]
    joined = results.join(states, on=key, how="left").join(numbers, on=key, how="left")
    return joined.join(prompts, on=[*key, "symbol"], how="left")
