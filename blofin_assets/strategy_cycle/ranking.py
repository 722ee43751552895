"""The ranking of a cycle: ranks, states and outcomes of the finalists.

Belongs here: the asset, and the rows that follow from the results on the holdout. Does not belong here: the order of
ranks (`backtester.evaluation.ranking`), running the holdout (`evaluation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.evaluation.ranking import last_fifth, ranked
from backtester.statistics.windows import HOLDOUT_NAME
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.cycle_events import require_cycle_order
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.plots import curve_names, equity_figure, markdown_png
from blofin_assets.shared.vocabulary import Kind, LifecycleNote, LifecycleState, ProposalState, Source
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.evaluation import strategy_backtests
from blofin_assets.strategy_cycle.library import GROUP
from blofin_assets.strategy_cycle.older_tables import config_rows, score_rows
from blofin_assets.strategy_cycle.population import (
    STRATEGIES,
    TICK,
    Key,
    VersionRecord,
    Versions,
    load_versions,
    loaded_versions,
    lost,
)
from blofin_resources.dagster_resources import ClockResource, WarehouseResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS

ACTIVE: Final = 20
"""Number of active strategies; the rank alone decides."""

_FINALISTS: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.finalists WHERE as_of = ? AND stage IN (SELECT unnest(?)) ORDER BY place"
)
_PROPOSALS: Final = "SELECT * EXCLUDE (run_id) FROM research.proposals WHERE as_of = ? AND stage = ? ORDER BY slot"
_UNRANKED: Final = "SELECT name, version, reason FROM {} WHERE begins_at = ? AND event IN (SELECT unnest(?))"


BEGUN: Final = [LifecycleState.ACTIVE, LifecycleState.ARCHIVED, LifecycleState.TUNING]
"""States that a ranking can start."""

_SHOWN: Final = (
    "rank", "name", "version", "score", "total_trades", "total_pnl_pct", "sharpe", "sharpe_se", "win_rate",
    "coverage", "declared_pnl_pct", "ruined",
)  # fmt: skip

_EVENTS: Final[dict[str, Any]] = {**dict.fromkeys(("name", "version", "event", "reason"), pl.String), "begins_at": TS}
_OUTCOMES: Final[dict[str, Any]] = {
    "as_of": TS, **dict.fromkeys(("stage", "designer", "name", "version"), pl.String), "score": pl.Float64,
    "trades": pl.Int32, "sharpe": pl.Float64, "parent_score": pl.Float64, "rank": pl.Int32, "dsr": pl.Float64,
    "supported": pl.Boolean, "accepted": pl.Boolean, "replaces": pl.String, "reason": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Ranking:
    """The results of a cycle, as rows.

    Attributes
    ----------
    table : DataFrame
        The ranking with its numbers, best first, for display.
    rows, events, outcomes : DataFrame
        Rows of `research.ranking_history`, of the kind's lifecycle, and of `holdout_outcomes`.
    configs, scores : DataFrame
        Rows of `strategy_configs` and `strategy_scores`; empty for other kinds.
    """

    table: pl.DataFrame
    rows: pl.DataFrame
    events: pl.DataFrame
    outcomes: pl.DataFrame
    configs: pl.DataFrame = field(default_factory=pl.DataFrame)
    scores: pl.DataFrame = field(default_factory=pl.DataFrame)


def rank_evaluated(store: Warehouse, as_of: datetime) -> Ranking:
    """Rank the strategies of a cycle by their holdout and return all rows that follow."""
    results = pooled_results(store, as_of)
    ranking = rank_versions(store, as_of, STRATEGIES, results, ACTIVE)
    return replace(
        ranking,
        configs=config_rows(store, ranking.outcomes.iter_rows(named=True), _proposals(store, as_of, STRATEGIES), as_of),
        scores=score_rows(results, ranking.rows, as_of),
    )


def rank_versions(
    store: Warehouse,
    as_of: datetime,
    of: Versions[Any],
    results: pl.DataFrame,
    most: int,
) -> Ranking:
    """Rank what a cycle ran of a kind, and return the rows that follow for every kind.

    Parameters
    ----------
    store : Warehouse
        Where lives are read.
    as_of : datetime
        As-of of the cycle.
    of : Versions
        The kind.
    results : DataFrame
        `name`, `version`, `score`, `total_trades`, `sharpe`, `dsr`, `supported` on the holdout.
    most : int
        Number of active versions.

    Returns
    -------
    Ranking
        Without `configs` and `scores`.
    """
    finalists, proposals = store.read(_FINALISTS, [as_of, of.stages]), _proposals(store, as_of, of)
    before = {record.key: record for record in load_versions(store, as_of - TICK, of)}
    newcomers = set(finalists.select("name", "version").iter_rows())
    kept, beaten = _one_version_each(results, newcomers, before)
    table = ranked(kept)
    rows = _ranking_rows(table, as_of, of.kind, most)
    unmade = {key: why for key, why in lost(store, as_of, of).items() if key in newcomers}
    gone = {**unmade, **beaten, **_gone(store, of, before, proposals, rows, beaten, as_of)}
    placed = {(row["name"], row["version"]): row for row in rows.iter_rows(named=True)}
    outcomes = _outcomes(results, finalists, placed, gone, before, as_of)
    return Ranking(
        table.select(name for name in _SHOWN if name in table.columns),
        rows,
        _events(rows, gone, before, proposals, as_of),
        pl.DataFrame(outcomes, schema=_OUTCOMES),
    )


def _proposals(store: Warehouse, as_of: datetime, of: Versions[Any]) -> pl.DataFrame:
    return store.read(_PROPOSALS, [as_of, of.tuning])


def pooled_results(store: Warehouse, as_of: datetime) -> pl.DataFrame:
    """Return the pooled rows of `research.strategy_backtest_results` of a cycle, with `dsr` and `supported`.

    The strategy's name is in `name`; in order of name and version.
    """
    return store.read(query("strategy_cycle/pooled_results"), {"as_of": as_of}).rename({"strategy_name": "name"})


def active_before(store: Warehouse, as_of: datetime, of: Versions[Any] = STRATEGIES) -> set[Key]:
    """Return the versions of a kind that were active just before a time.

    Parameters
    ----------
    store : Warehouse
        Where events are read.
    as_of : datetime
        The time (UTC).
    of : Versions
        The kind.

    Returns
    -------
    set of Key
        Names and versions.
    """
    sql = query("strategy_cycle/active_before").format(lifecycle=of.lifecycle)
    return set(store.read(sql, {"as_of": as_of}).iter_rows())


def best_numbers(table: pl.DataFrame) -> dict[str, Any]:
    """Return the numbers of the best strategy, which the UI plots over partitions."""
    if table.is_empty():
        return {}
    first = table.row(0, named=True)
    numbers = {"best_score": first["score"], "best_sharpe": first["sharpe"], "best_trades": first["total_trades"]}
    return {name: value for name, value in numbers.items() if value is not None}


def _one_version_each(
    results: pl.DataFrame, newcomers: set[Key], before: Mapping[Key, VersionRecord[Any]]
) -> tuple[pl.DataFrame, dict[Key, str]]:
    """Return the best version of each name, and for each other version the reason why it is not ranked.

    A version that was run only for comparison, and is not deployed, is not ranked, whatever it scored.
    """
    order = ranked(results)
    best: dict[str, dict[str, Any]] = {}
    out: dict[Key, str] = {}
    for row in order.iter_rows(named=True):
        first = best.setdefault(row["name"], row)
        if first is not row:
            out[row["name"], row["version"]] = (
                f"{_told(row)} on the holdout; version {first['version']} has {_told(first)}"
            )
    for name, row in best.items():
        key = (name, row["version"])
        record = before.get(key)
        alive = record is not None and (
            record.running or (record.source == Source.LIBRARY and record.state == LifecycleState.CANDIDATE)
        )
        if key not in newcomers and not alive:
            out[key] = "not deployed; run only for comparison with a tuned version"
    kept = {(name, row["version"]) for name, row in best.items()} - set(out)
    mask = [key in kept for key in results.select("name", "version").iter_rows()]
    return results.filter(pl.Series(mask, dtype=pl.Boolean)), out


def _ranking_rows(table: pl.DataFrame, as_of: datetime, kind: Kind, most: int) -> pl.DataFrame:
    last = last_fifth(table["name"].to_list())
    return table.select(
        pl.lit(as_of).alias("as_of"),
        pl.lit(kind).alias("kind"),
        "rank",
        "name",
        "version",
        "score",
        pl.col("total_trades").alias("trades"),
        pl.when(pl.col("rank") <= most)
        .then(pl.lit(LifecycleState.ACTIVE))
        .otherwise(pl.lit(LifecycleState.ARCHIVED))
        .alias("status"),
        pl.when(pl.col("name").is_in(last)).then(pl.lit("in the last fifth: to be replaced")).alias("reason"),
    )


def _gone(
    store: Warehouse,
    of: Versions[Any],
    before: Mapping[Key, VersionRecord[Any]],
    proposals: pl.DataFrame,
    rows: pl.DataFrame,
    beaten: Mapping[Key, str],
    as_of: datetime,
) -> dict[Key, str]:
    """Return the deployed strategies that are not ranked, with the reason."""
    exhausted = proposals.filter(pl.col("state") == ProposalState.EXHAUSTED)
    reasons: dict[Key, str] = {
        (row[0], row[1]): row[2] for row in exhausted.select("name", "version", "refusal").iter_rows()
    }
    reasons |= {
        (row[0], row[1]): row[2]
        for row in store.read(
            _UNRANKED.format(of.lifecycle), [as_of, [LifecycleNote.DUPLICATE, LifecycleNote.FAILED]]
        ).iter_rows()
    }
    ranked = set(rows.select("name", "version").iter_rows())
    unmade, broken = lost(store, as_of - TICK, of), loaded_versions(of)[1]
    gone = {}
    for key in active_before(store, as_of, of) - ranked - set(beaten):
        unloaded = broken.get(key[0], "its code is no longer in the library")
        usual = unloaded if key not in before else "it could not be ranked"
        gone[key] = reasons.get(key) or unmade.get(key) or usual
    fixed = {key: why for key, why in reasons.items() if key not in ranked}
    return {**fixed, **gone}


def _events(
    rows: pl.DataFrame,
    gone: Mapping[Key, str],
    before: Mapping[Key, VersionRecord[Any]],
    proposals: pl.DataFrame,
    as_of: datetime,
) -> pl.DataFrame:
    """Return an event for each version whose state changes with this cycle."""
    events: dict[tuple[str, str, str], str | None] = {}
    for row in rows.iter_rows(named=True):
        key = (row["name"], row["version"])
        was = before.get(key)
        if was is None or was.state != row["status"]:
            why = row["reason"] or f"rank {row['rank']}"
            events[*key, row["status"]] = why
    for key, why in gone.items():
        was = before.get(key)
        if was is None or was.state != LifecycleState.ARCHIVED:
            events[*key, LifecycleState.ARCHIVED] = why
    staying = set(rows.filter(pl.col("status") == LifecycleState.ACTIVE).select("name", "version").iter_rows())
    for row in proposals.filter(pl.col("attempt").is_not_null()).iter_rows(named=True):
        key = (row["name"], row["parent_version"])
        if key in staying:
            events[*key, LifecycleState.TUNING] = f"attempt {row['attempt']}: {row['refusal'] or row['changes']}"
    table = [(name, version, event, why) for (name, version, event), why in sorted(events.items())]
    names = ["name", "version", "event", "reason"]
    frame = pl.DataFrame(table, schema={name: _EVENTS[name] for name in names}, orient="row")
    return frame.with_columns(pl.lit(as_of).cast(TS).alias("begins_at"))


def _outcomes(
    results: pl.DataFrame,
    finalists: pl.DataFrame,
    placed: Mapping[Key, Mapping[str, Any]],
    gone: Mapping[Key, str],
    before: Mapping[Key, VersionRecord[Any]],
    as_of: datetime,
) -> list[dict[str, Any]]:
    """Return the outcome of each finalist; replaced strategies are assigned from the lowest rank up."""
    scored = {(row["name"], row["version"]): row for row in results.iter_rows(named=True)}
    leaving = [
        row["name"]
        for key, row in placed.items()
        if row["status"] == LifecycleState.ARCHIVED and key in before and before[key].running
    ]
    entering = [key for key, row in placed.items() if row["status"] == LifecycleState.ACTIVE and key not in before]
    tuned = {(row["name"], row["version"]): row["parent_version"] for row in finalists.iter_rows(named=True)}
    made_room = dict(zip((key for key in entering if tuned.get(key) is None), reversed(leaving), strict=False))
    outcomes = []
    for row in finalists.iter_rows(named=True):
        key = (row["name"], row["version"])
        score, rank = scored.get(key, {}), placed.get(key, {})
        parent = scored.get((row["name"], row["parent_version"]), {})
        accepted = rank.get("status") == LifecycleState.ACTIVE
        outcomes.append(
            {
                "as_of": as_of,
                **{name: row[name] for name in ("stage", "designer", "name", "version")},
                "score": score.get("score"),
                "trades": score.get("total_trades"),
                "sharpe": score.get("sharpe"),
                "parent_score": parent.get("score"),
                "rank": rank.get("rank"),
                "dsr": score.get("dsr"),
                "supported": score.get("supported"),
                "accepted": accepted,
                "replaces": row["name"] if accepted and row["parent_version"] else made_room.get(key),
                "reason": _outcome(row, rank, gone, before),
            }
        )
    return outcomes


def _outcome(
    row: Mapping[str, Any], rank: Mapping[str, Any], gone: Mapping[Key, str], before: Mapping[Key, VersionRecord[Any]]
) -> str:
    """Return the outcome of a finalist in words; it says so if the version that it was tuned from no longer exists."""
    name, parent = row["name"], row["parent_version"]
    usual = "not run: it duplicates another"
    reason = f"rank {rank['rank']} on the holdout" if rank else gone.get((name, row["version"]), usual)
    if parent is None or (name, parent) in before:
        return reason
    return f"{reason}; version {parent}, from which it was tuned, no longer exists for comparison"


def _told(row: Mapping[str, Any]) -> str:
    """Return a result in words, with its trades: few trades rank behind many, whatever the score."""
    score = "no score" if row["score"] is None else f"score {row['score']:.1f}"
    ruined = ", ruined by its size and leverage" if row.get("ruined") else ""
    return f"{score} in {row['total_trades']} trades{ruined}"


@stage_asset(group=GROUP, table="research.ranking_history", partitions=two_days, deps=[strategy_backtests])
def strategy_ranking(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Strategies ranked by score: the best twenty stay active, the bottom 20 % are replaced."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_cycle_order(store, STRATEGY_CYCLE, as_of)
    result: Ranking = rank_evaluated(store, as_of)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.ranking_history", result.rows, as_of=as_of, kind=Kind.STRATEGY)
        tx.replace("research.holdout_outcomes", result.outcomes, as_of=as_of, stage=STRATEGIES.stages)
        tx.replace("research.strategy_configs", result.configs, as_of=as_of)
        tx.replace("research.strategy_scores", result.scores, as_of=as_of, window=HOLDOUT_NAME)
        tx.replace("research.strategy_lifecycle", result.events, begins_at=as_of, event=BEGUN)
    equity = store.read(
        "SELECT name, ts, equity FROM research.equity AS e SEMI JOIN research.ranking_history AS r "
        "USING (as_of, kind, name, version) WHERE kind = ? AND as_of = ?",
        [Kind.STRATEGY, as_of],
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": result.rows.height,
            "ranking": table_preview(result.table),
            "newcomers": table_preview(result.outcomes.drop("as_of", "reason")),
            "equity": dg.MetadataValue.md(
                markdown_png(equity_figure(equity, curve_names(equity, result.rows, 5)), "equity of the top five")
            ),
            "snapshot": tx.snapshot,
            **best_numbers(result.table),
        }
    )
