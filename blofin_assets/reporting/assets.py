"""The assets of the daily report: its review, then JSON for machines, a page for people, a row for analysts.

Belongs here: the assets, and writing the files. Does not belong here: the content (`sections`) and the layout (`page`).

The review comes first: it reads a draft, which is the report without the review. So the report of a day contains the
review of that day, and repeating both gives the same result (Claude's answers are replayed from the record).
"""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.drift.assets import drift_tests
from blofin_assets.ml_cycle.ranking import model_ranking
from blofin_assets.reporting import ReportData, build_document, collect, render_page, with_not_made
from blofin_assets.reporting.review import Reviewed, review_day
from blofin_assets.shared.asset import lineage, stage_asset
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.code_version import code_version
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.partitions import DAY, day_start, days
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.portfolio import active_set
from blofin_assets.strategy_cycle.ranking import strategy_ranking
from blofin_resources.claude import Answer
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    NotifierResource,
    WarehouseResource,
)
from blofin_resources.texts import for_markdown
from blofin_resources.warehouse import Warehouse
from features.bars import TS

GROUP: Final = "reports"


MOST_LESSONS: Final = 3
"""Number of next steps of a day that become lessons, most useful first; more would crowd out lessons of cycles."""


SHOWN: Final = [
    lineage(asset, steps_back=1, steps_ahead=1) for asset in (strategy_ranking, active_set, model_ranking, drift_tests)
]
"""Assets that a report depends on, besides the market data."""


@stage_asset(
    group=GROUP,
    table="reports.ai_reviews",
    partitions=days,
    deps=SHOWN,
    kinds=("polars", "duckdb", "anthropic"),
)
def ai_review(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    claude: ClaudeResource,
) -> dg.MaterializeResult[Any]:
    """Review of a UTC day with next steps, by Claude or, without an answer, by rules."""
    as_of, store = cycle_as_of(context, clock, _end_of), warehouse.open()
    require_market_data(store, market.symbols, as_of - DAY, as_of)
    draft = build_document(_collected(store, as_of, market, draft=True))
    reviewed = review_day(draft, claude.open(store, clock), as_of=as_of, run_id=context.run.run_id)
    row = {"as_of": as_of, "report_date": (as_of - DAY).date(), **reviewed.row()}
    times = {"as_of": TS, "evidence_end": TS, "usable_from": TS}
    with store.transaction(context.run.run_id) as tx:
        tx.replace("reports.ai_reviews", pl.DataFrame([row], schema_overrides={**times, **_TEXTS}), as_of=as_of)
        tx.replace("research.knowledge_entries", _lessons(reviewed, as_of), as_of=as_of, source=list(_SOURCES))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": 1,
            "author": row["author"],
            "cost_usd": row["cost_usd"],
            "next_steps": dg.MetadataValue.md(
                "\n".join(f"1. {for_markdown(step)}" for step in reviewed.review.next_steps) or "none"
            ),
        }
    )


@stage_asset(
    group=GROUP,
    table="reports.daily_reports",
    partitions=days,
    deps=[ai_review, *SHOWN],
    kinds=("polars", "duckdb", "html"),
)
def daily_report(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    evolution: EvolutionResource,
    notifier: NotifierResource,
) -> dg.MaterializeResult[Any]:
    """The report of a UTC day, built when the day has ended: ranking, equity, models and baselines, failed stages."""
    as_of, store = cycle_as_of(context, clock, _end_of), warehouse.open()
    require_market_data(store, market.symbols, as_of - DAY, as_of)
    snapshot = store.snapshot_id()
    with store.frozen(snapshot) as still:
        data = replace(_collected(still, as_of, market), ui_url=notifier.ui_url)
    provenance = {
        "run_id": context.run.run_id,
        "code_version": code_version(),
        "seed": market.seed,
        "search_budget": evolution.search_budget,
        "tuning_budget": evolution.tuning_budget,
        "snapshot": snapshot,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    report = build_document(data).model_copy(update={"provenance": provenance})
    shown = render_page(report, data)
    document = with_not_made(report, shown.failed).stored()
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    folder = Path(warehouse.folder) / "reports"
    page = write_whole(folder / f"{report.report_date}.html", shown.html)
    write_whole(folder / f"{report.report_date}.json", text + "\n")
    with store.transaction(context.run.run_id) as tx:
        tx.replace("reports.daily_reports", _row(document, text, as_of), as_of=as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": 1,
            "page": dg.MetadataValue.path(str(page)),
            "open": dg.MetadataValue.url(f"{notifier.ui_url}/reports/{page.name}"),
            "summary": document["summary"],
            "not_made": "; ".join(f"{section['section']}: {section['reason']}" for section in document["not_made"])
            or "none",
            "snapshot": tx.snapshot,
        }
    )


_SOURCES: Final = ("review by claude", "review by rules")
_TEXTS: Final = dict.fromkeys(("model", "detail", "summary_model", "summary_detail"), pl.String)


def _end_of(key: str) -> datetime:
    return day_start(key) + DAY


def _collected(store: Warehouse, as_of: datetime, market: MarketResource, *, draft: bool = False) -> ReportData:
    return collect(
        store,
        as_of,
        market=market.market,
        synthetic=market.source().synthetic,
        symbols=tuple(market.symbols),
        seed=market.seed,
        draft=draft,
    )


def _lessons(reviewed: Reviewed, as_of: datetime) -> pl.DataFrame:
    """Return the first next steps as lessons; no cycle whose holdout overlaps the reviewed returns may read them."""
    steps = reviewed.review.next_steps[:MOST_LESSONS]
    rows = [
        {
            "id": row_id("review", as_of, text),
            "timestamp": as_of,
            "as_of": as_of,
            "category": "recommendation",
            "content": text,
            "source": _SOURCES[not isinstance(reviewed.review_by, Answer)],
            "window_end": reviewed.evidence_end,
            "usable_from": reviewed.usable_from,
        }
        for text in steps
    ]
    times = dict.fromkeys(("timestamp", "as_of", "window_end", "usable_from"), TS)
    texts = dict.fromkeys(("id", "category", "content", "source"), pl.String)
    return pl.DataFrame(rows, schema={**texts, **times})


def write_whole(path: Path, text: str) -> Path:
    """Write a file atomically and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f"{path.suffix}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path


def _row(document: dict[str, Any], text: str, as_of: datetime) -> pl.DataFrame:
    performance = document["performance"]
    return pl.DataFrame(
        {
            "id": [row_id("report", as_of)],
            "report_date": [(as_of - DAY).date()],
            "report_json": [text],
            "strategy_changes": [json.dumps(document["strategy_changes"])],
            "model_changes": [json.dumps(document["ml_changes"]["trained"])],
            "ensemble_changes": [json.dumps(document["ml_changes"]["ensembles_tested"])],
            "top_strategies": [json.dumps(performance["top_5_strategies"])],
            "top_models": [json.dumps(performance["top_5_models"])],
            "ai_recommendations": [document["ai_next_steps"]],
            "timestamp": [as_of],
            "as_of": [as_of],
            "snapshot_id": [document["provenance"]["snapshot"]],
        },
        schema_overrides={"timestamp": TS, "as_of": TS},
    )
