"""What the exam of a cycle comes to: ranks, states, what became of each finalist.

Belongs here: rows of the ranking and of everything that follows from it. Does not belong here: the order of ranks
(`strategies.ranking`), running the exam (`strategies`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from blofin_assets.assets.library import KIND
from blofin_assets.assets.results import row_id
from blofin_assets.roster import TICK, Key, Member, lost, roster
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.ranking import StrategyRanker

ACTIVE: Final = 20
"""How many strategies stay active, by rank alone."""

_RESULTS: Final = (
    "SELECT r.*, e.dsr, e.supported FROM research.strategy_backtest_results AS r "
    "LEFT JOIN research.evidence AS e ON e.as_of = r.as_of AND e.kind = 'strategy' "
    "AND e.name = r.strategy_name AND e.version = r.version "
    "WHERE r.as_of = ? AND r.symbol = '*' ORDER BY r.strategy_name, r.version"
)
_FINALISTS: Final = "SELECT * EXCLUDE (run_id) FROM research.finalists WHERE as_of = ? ORDER BY place"
_PROPOSALS: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.proposals WHERE as_of = ? AND stage = 'tuning' ORDER BY slot"
)
_UNRANKED: Final = (
    'SELECT name, version, reason FROM research.strategy_events WHERE "at" = ? AND event IN (SELECT unnest(?))'
)

REPEATS: Final = "repeats"
"""Event of what took the exam and was found to do the same as another; it is not ranked."""
FAILED: Final = "failed"
"""Event of what took the exam and could not be run on it: its signals do not fit their bars. It is not ranked."""

_EVENTS: Final[dict[str, Any]] = {**dict.fromkeys(("name", "version", "event", "reason"), pl.String), "at": TS}
_OUTCOMES: Final[dict[str, Any]] = {
    "as_of": TS, **dict.fromkeys(("stage", "designer", "name", "version"), pl.String), "score": pl.Float64,
    "trades": pl.Int32, "sharpe": pl.Float64, "parent_score": pl.Float64, "rank": pl.Int32, "dsr": pl.Float64,
    "supported": pl.Boolean, "accepted": pl.Boolean, "replaces": pl.String, "reason": pl.String,
}  # fmt: skip
_CONFIGS: Final[dict[str, Any]] = {
    "id": pl.String, "timestamp": TS, "as_of": TS, "accepted": pl.Boolean,
    **dict.fromkeys(
        ("strategy", "version", "previous_version", "config_json", "previous_json", "source", "note"), pl.String
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Standings:
    """What a cycle's exam comes to, as rows.

    Attributes
    ----------
    table : DataFrame
        The ranking with its numbers, best first, for people.
    rows, events, outcomes, configs, scores : DataFrame
        Of `research.ranking_history`, `strategy_events`, `exam_outcomes`, `strategy_configs`, `strategy_scores`.
    """

    table: pl.DataFrame
    rows: pl.DataFrame
    events: pl.DataFrame
    outcomes: pl.DataFrame
    configs: pl.DataFrame
    scores: pl.DataFrame


def standings(store: Warehouse, as_of: datetime) -> Standings:
    """Return what follows from the results of a cycle's exam."""
    results = store.read(_RESULTS, [as_of]).rename({"strategy_name": "name"})
    finalists = store.read(_FINALISTS, [as_of])
    proposals = store.read(_PROPOSALS, [as_of])
    before = {each.key: each for each in roster(store, as_of - TICK)}
    newcomers = set(finalists.select("name", "version").iter_rows())
    ranked, beaten = _one_version_each(results, newcomers, before)
    ranker = StrategyRanker(ranked)
    rows = _ranking_rows(ranker, as_of)
    unmade = {key: why for key, why in lost(store, as_of).items() if key in newcomers}
    gone = {**unmade, **beaten, **_gone(store, before, proposals, rows, beaten, as_of)}
    placed = {(row["name"], row["version"]): row for row in rows.iter_rows(named=True)}
    outcomes = _outcomes(results, finalists, placed, gone, before, as_of)
    shown = ("rank", "name", "version", "score", "total_trades", "total_pnl_pct", "sharpe", "sharpe_se", "win_rate")
    return Standings(
        ranker.table.select(shown),
        rows,
        _events(rows, gone, before, proposals, as_of),
        pl.DataFrame(outcomes, schema=_OUTCOMES),
        _configs(store, outcomes, proposals, as_of),
        _scores(results, rows, as_of),
    )


def best_numbers(table: pl.DataFrame) -> dict[str, Any]:
    """Return the first one's numbers, which the UI plots over partitions."""
    if table.is_empty():
        return {}
    first = table.row(0, named=True)
    numbers = {"best_score": first["score"], "best_sharpe": first["sharpe"], "best_trades": first["total_trades"]}
    return {name: value for name, value in numbers.items() if value is not None}


def _one_version_each(
    results: pl.DataFrame, newcomers: set[Key], before: Mapping[Key, Member]
) -> tuple[pl.DataFrame, dict[Key, str]]:
    """Return the best version of each name, and why each other one is out.

    A version that is not followed and was run only to be compared with is not ranked, whatever it scored.
    """
    order = StrategyRanker(results.with_columns(pl.col("name").alias("label"))).table
    best: dict[str, dict[str, Any]] = {}
    out: dict[Key, str] = {}
    for row in order.iter_rows(named=True):
        first = best.setdefault(row["name"], row)
        if first is not row:
            out[row["name"], row["version"]] = (
                f"{_told(row)} on the exam, where version {first['version']} of it has {_told(first)}"
            )
    for name, row in best.items():
        key = (name, row["version"])
        member = before.get(key)
        alive = member is not None and (member.running or (member.source == "library" and member.state == "candidate"))
        if key not in newcomers and not alive:
            out[key] = "not followed; run only to compare a tuned version with"
    kept = {(name, row["version"]) for name, row in best.items()} - set(out)
    mask = [key in kept for key in results.select("name", "version").iter_rows()]
    return results.filter(pl.Series(mask, dtype=pl.Boolean)), out


def _ranking_rows(ranker: StrategyRanker, as_of: datetime) -> pl.DataFrame:
    top, last = ranker.get_top_strategies(ACTIVE), ranker.get_to_replace()
    return ranker.table.select(
        pl.lit(as_of).alias("as_of"),
        pl.lit(KIND).alias("kind"),
        "rank",
        "name",
        "version",
        "score",
        pl.col("total_trades").alias("trades"),
        pl.when(pl.col("name").is_in(top)).then(pl.lit("active")).otherwise(pl.lit("archived")).alias("status"),
        pl.when(pl.col("name").is_in(last)).then(pl.lit("in the last fifth: to be replaced")).alias("reason"),
    )


def _gone(
    store: Warehouse,
    before: Mapping[Key, Member],
    proposals: pl.DataFrame,
    rows: pl.DataFrame,
    beaten: Mapping[Key, str],
    as_of: datetime,
) -> dict[Key, str]:
    """Return what was followed and is not ranked, with the reason."""
    exhausted = proposals.filter(pl.col("state") == "exhausted")
    reasons: dict[Key, str] = {
        (row[0], row[1]): row[2] for row in exhausted.select("name", "version", "refusal").iter_rows()
    }
    reasons |= {(row[0], row[1]): row[2] for row in store.read(_UNRANKED, [as_of, [REPEATS, FAILED]]).iter_rows()}
    ranked = set(rows.select("name", "version").iter_rows())
    unmade = lost(store, as_of - TICK)
    followed = store.read(
        "SELECT name, version FROM (SELECT name, version, event FROM research.strategy_events "
        "WHERE event IN ('active', 'archived') AND \"at\" < ? "
        'QUALIFY row_number() OVER (PARTITION BY name, version ORDER BY "at" DESC, event DESC) = 1) '
        "WHERE event = 'active'",
        [as_of],
    )
    found = {}
    for key in set(followed.iter_rows()) - ranked - set(beaten):
        usual = "its code is no longer in the library" if key not in before else "it could not be ranked"
        found[key] = reasons.get(key) or unmade.get(key) or usual
    fixed = {key: why for key, why in reasons.items() if key not in ranked}
    return {**fixed, **found}


def _events(
    rows: pl.DataFrame, gone: Mapping[Key, str], before: Mapping[Key, Member], proposals: pl.DataFrame, as_of: datetime
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
        if was is None or was.state != "archived":
            events[*key, "archived"] = why
    staying = set(rows.filter(pl.col("status") == "active").select("name", "version").iter_rows())
    for row in proposals.filter(pl.col("attempt").is_not_null()).iter_rows(named=True):
        key = (row["name"], row["parent_version"])
        if key in staying:
            events[*key, "tuning"] = f"attempt {row['attempt']}: {row['refusal'] or row['changes']}"
    table = [(name, version, event, why) for (name, version, event), why in sorted(events.items())]
    names = ["name", "version", "event", "reason"]
    frame = pl.DataFrame(table, schema={name: _EVENTS[name] for name in names}, orient="row")
    return frame.with_columns(pl.lit(as_of).cast(TS).alias("at"))


def _outcomes(
    results: pl.DataFrame,
    finalists: pl.DataFrame,
    placed: Mapping[Key, Mapping[str, Any]],
    gone: Mapping[Key, str],
    before: Mapping[Key, Member],
    as_of: datetime,
) -> list[dict[str, Any]]:
    """Return what became of each finalist; who made room for whom is told from the lowest rank up."""
    scored = {(row["name"], row["version"]): row for row in results.iter_rows(named=True)}
    leaving = [
        row["name"]
        for key, row in placed.items()
        if row["status"] == "archived" and key in before and before[key].running
    ]
    entering = [key for key, row in placed.items() if row["status"] == "active" and key not in before]
    tuned = {(row["name"], row["version"]): row["parent_version"] for row in finalists.iter_rows(named=True)}
    made_room = dict(zip((key for key in entering if tuned.get(key) is None), reversed(leaving), strict=False))
    found = []
    for row in finalists.iter_rows(named=True):
        key = (row["name"], row["version"])
        score, rank = scored.get(key, {}), placed.get(key, {})
        parent = scored.get((row["name"], row["parent_version"]), {})
        accepted = rank.get("status") == "active"
        found.append(
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
    return found


def _outcome(
    row: Mapping[str, Any], rank: Mapping[str, Any], gone: Mapping[Key, str], before: Mapping[Key, Member]
) -> str:
    """Return what became of a finalist, in words; that the version it was tuned from is gone, where it is."""
    name, parent = row["name"], row["parent_version"]
    usual = "not run: it repeats another"
    told = f"rank {rank['rank']} on the exam" if rank else gone.get((name, row["version"]), usual)
    if parent is None or (name, parent) in before:
        return told
    return f"{told}; version {parent}, which it was tuned from, is not there any more to be compared with"


def _configs(
    store: Warehouse, outcomes: Iterable[Mapping[str, Any]], proposals: pl.DataFrame, as_of: datetime
) -> pl.DataFrame:
    """Return old and new parameters of every tuned finalist; null of a version that cannot be made any more."""
    made = {(row["name"], row["version"]): row for row in proposals.iter_rows(named=True)}
    everyone = {
        each.key: json.dumps(each.strategy.parameters, sort_keys=True) for each in roster(store, as_of)
    }  # a version that cannot be made any more has none
    rows = []
    for each in outcomes:
        row = made.get((each["name"], each["version"]))
        if row is None:
            continue
        verdict = "accepted" if each["accepted"] else "not accepted"
        rows.append(
            {
                "id": row_id("config", as_of, each["name"], each["version"]),
                "timestamp": as_of,
                "as_of": as_of,
                "accepted": each["accepted"],
                "strategy": each["name"],
                "version": each["version"],
                "previous_version": row["parent_version"],
                "config_json": everyone.get((each["name"], each["version"])),
                "previous_json": everyone.get((each["name"], row["parent_version"])),
                "source": row["designer"],
                "note": f"{row['changes']}; {verdict}: {each['reason']}",
            }
        )
    return pl.DataFrame(rows, schema=_CONFIGS)


def _scores(results: pl.DataFrame, rows: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return `research.strategy_scores` as the older system kept them: one row a strategy and symbol over 7 days."""
    status = rows.select("name", "version", "status")
    wins = (pl.col("win_rate").fill_null(0.0) * pl.col("total_trades")).round().cast(pl.Int32)
    return (
        results.drop("status")
        .join(status, on=["name", "version"])
        .select(
            pl.lit(as_of).alias("timestamp"),
            pl.col("name").alias("strategy"),
            "version",
            "symbol",
            pl.lit("7d").alias("window"),
            pl.col("total_trades").alias("trades"),
            wins.alias("wins"),
            (pl.col("total_trades") - wins).alias("losses"),
            "win_rate",
            "avg_pnl_pct",
            "total_pnl_pct",
            pl.col("sharpe").alias("sharpe_ratio"),
            (pl.col("max_drawdown") * 100).alias("max_drawdown_pct"),
            "score",
            (pl.col("status") == "active").alias("enabled"),
            pl.lit(as_of).alias("as_of"),
        )
    )


def _told(row: Mapping[str, Any]) -> str:
    """Return a result in words; few trades rank behind many, whatever their score."""
    score = "no score" if row["score"] is None else f"score {row['score']:.1f}"
    return f"{score} in {row['total_trades']} trades"
