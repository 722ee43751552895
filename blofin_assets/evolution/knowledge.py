"""What a cycle teaches: outcomes in one sentence each, with the first as-of at which each may be read.

Belongs here: wording and dating lessons. Does not belong here: choosing which of them a prompt is given
(`material`).

No look-ahead: a lesson that rests on an exam may be read once that exam lies outside the current one, seven days
later; one that rests on the search window alone, from the next cycle on.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from backtester.windows import CycleWindows, Window
from blofin_assets.assets.results import row_id
from blofin_assets.evolution.material import Taught, usable_from
from blofin_assets.evolution.rows import cut
from blofin_assets.roster import roster
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.evolution.emphasis import families_of

SHOWN: Final = 3
"""How many of the best and of the worst an exam's lesson names."""

_PROPOSALS: Final = "SELECT * EXCLUDE (run_id) FROM research.proposals WHERE as_of = ? ORDER BY stage, designer, slot"
_OUTCOMES: Final = "SELECT * EXCLUDE (run_id) FROM research.exam_outcomes WHERE as_of = ? ORDER BY name, version"
_EXAM: Final = (
    "SELECT h.name, h.rank, r.score, r.total_trades, r.avg_pnl_pct, r.fees_pct + r.slippage_pct AS costs_pct, "
    "r.total_pnl_pct FROM research.ranking_history AS h JOIN research.strategy_backtest_results AS r "
    "ON r.as_of = h.as_of AND r.strategy_name = h.name AND r.version = h.version AND r.symbol = '*' "
    "WHERE h.as_of = ? AND h.kind = 'strategy' AND r.score IS NOT NULL ORDER BY h.rank"
)
_SCHEMA: Final[dict[str, Any]] = {
    "id": pl.String, "timestamp": TS, "category": pl.String, "strategy": pl.String, "symbol": pl.String,
    "content": pl.String, "source": pl.String, "metadata": pl.String, "as_of": TS, "window_start": TS,
    "window_end": TS, "usable_from": TS,
}  # fmt: skip


def distil(store: Warehouse, windows: CycleWindows) -> pl.DataFrame:
    """Return `research.knowledge_entries` of one cycle.

    Parameters
    ----------
    store : Warehouse
        Proposals, outcomes and ranking of the cycle are read.
    windows : CycleWindows
        Of the cycle.
    """
    as_of = windows.as_of
    proposals = store.read(_PROPOSALS, [as_of])
    exams = {(row["name"], row["version"]): row for row in store.read(_OUTCOMES, [as_of]).iter_rows(named=True)}
    reads = {each.key: families_of(each.strategy) for each in roster(store, as_of) if each.key in exams}
    rows = []
    for row in proposals.iter_rows(named=True):
        key = (row["name"], row["version"])
        exam = exams.get(key)
        if exam is not None:
            taught = _taught(exam, reads.get(key, []))
            rows.append(
                _entry(as_of, windows.exam, "change", row["name"], _examined(row, exam), row["designer"], taught)
            )
        elif row["state"] == "refused" and windows.search is not None:
            rows.append(_entry(as_of, windows.search, "lesson", row["name"], _refused(row), row["designer"]))
    results = store.read(_EXAM, [as_of])
    if results.height:
        rows.append(_entry(as_of, windows.exam, "performance", None, _performance(results), "ranking"))
    unique = {row["id"]: row for row in rows}
    return pl.DataFrame(list(unique.values()), schema=_SCHEMA)


def _entry(
    as_of: datetime,
    window: Window,
    category: str,
    strategy: str | None,
    content: str,
    source: str,
    taught: Taught | None = None,
) -> dict[str, Any]:
    text = cut(content)
    return {
        "id": row_id("knowledge", as_of, category, strategy, text),
        "timestamp": as_of,
        "category": category,
        "strategy": strategy,
        "symbol": None,
        "content": text,
        "source": source,
        "metadata": taught and taught.model_dump_json(),
        "as_of": as_of,
        "window_start": window.start,
        "window_end": window.end,
        "usable_from": usable_from(window.end),
    }


def _taught(exam: Mapping[str, Any], families: Sequence[str]) -> Taught | None:
    """Return what the search may learn from an exam; nothing from one without a trade."""
    return Taught(families=tuple(families), earned=exam["sharpe"] > 0.0) if exam["sharpe"] is not None else None


def _examined(row: Mapping[str, Any], exam: Mapping[str, Any]) -> str:
    kept = "stayed" if exam["accepted"] else "did not stay"
    what = _tuned(row) if row["stage"] == "tuning" else f"{row['reason'] or 'A design'}"
    search, score = _score(row["search_score"], row["search_trades"]), _score(exam["score"], exam["trades"])
    return f"{what} Search window: {search}; on unseen days after it: {score}; it {kept} ({exam['reason']})."


def _tuned(row: Mapping[str, Any]) -> str:
    made = ", ".join(f"{name} {change}" for name, change in json.loads(row["changes"] or "{}").items())
    return f"Tuned {made}."


def _refused(row: Mapping[str, Any]) -> str:
    subject = (
        f"Tuning attempt {row['attempt']}" if row["stage"] == "tuning" else f"Design ({row['reason'] or 'no idea'})"
    )
    return f"{subject} came to nothing: {row['refusal']}."


def _performance(results: pl.DataFrame) -> str:
    earned = results.filter(pl.col("total_pnl_pct") > 0).height
    best, worst = results.head(SHOWN), results.tail(SHOWN).reverse()
    return (
        f"{earned} of {results.height} strategies earned money after costs in that week. Best: {_named(best)}. "
        f"Worst: {_named(worst)}."
    )


def _named(rows: pl.DataFrame) -> str:
    return "; ".join(
        f"{row['name']} {row['total_pnl_pct']:+.2f} % in {row['total_trades']} trades, costs {row['costs_pct']:.2f} %"
        for row in rows.iter_rows(named=True)
    )


def _score(score: float | None, trades: int | None) -> str:
    return "no trades" if score is None else f"score {score:.0f} in {trades} trades"
