"""The daily report: JSON for machines, a page for people, a row for analysts.

Belongs here: the report's asset. Does not belong here: what it says and how it looks (`blofin_assets.reporting`).
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset
from blofin_assets.assets.models import model_ranking
from blofin_assets.assets.results import row_id
from blofin_assets.assets.strategies import strategy_ranking
from blofin_assets.code_version import code_version
from blofin_assets.partitions import DAY, day_start, days
from blofin_assets.reporting import build_document, collect, render_page
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from features.bars import TS

GROUP: Final = "reports"


@stage_asset(
    group=GROUP,
    table="reports.daily_reports",
    partitions=days,
    deps=[lineage(asset, steps_back=1, steps_ahead=1) for asset in (strategy_ranking, model_ranking)],
    kinds=("polars", "duckdb", "html"),
)
def daily_report(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """What a UTC day showed, made when it has ended: ranking, equity, models and baselines, what did not run."""
    as_of = cycle_as_of(context, clock, lambda key: day_start(key) + DAY)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - DAY, as_of)
    snapshot = store.snapshot_id()
    with store.frozen(snapshot) as still:
        data = collect(
            still,
            as_of,
            market=market.market,
            synthetic=market.source().synthetic,
            symbols=tuple(market.symbols),
            seed=market.seed,
        )
    document = build_document(data)
    document["provenance"] = {
        "run_id": context.run.run_id,
        "code_version": code_version(),
        "seed": market.seed,
        "snapshot": snapshot,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    folder = Path(warehouse.folder) / "reports"
    page = write_whole(folder / f"{document['report_date']}.html", render_page(document, data))
    write_whole(folder / f"{document['report_date']}.json", text + "\n")
    with store.transaction(context.run.run_id) as tx:
        tx.replace("reports.daily_reports", _row(document, text, as_of), as_of=as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": 1,
            "page": dg.MetadataValue.path(str(page)),
            "summary": document["summary"],
            "snapshot": tx.snapshot,
        }
    )


ASSETS: Final = [daily_report]


def write_whole(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never a part; return its path."""
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
