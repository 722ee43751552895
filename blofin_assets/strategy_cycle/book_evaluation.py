"""The asset of the holdout run of books.

Belongs here: running books on the holdout and storing the results. Does not belong here: backtesting (`backtester`),
strategies (`evaluation`), the ranking (`book_ranking`).
"""

from typing import Any

import dagster as dg
import polars as pl

from backtester.statistics.windows import LONG_SEARCH_REACH
from blofin_assets.shared.asset import stage_asset
from blofin_assets.shared.book_rows import (
    BookRun,
    book_equity_rows,
    book_rows,
    book_trade_rows,
    book_trial_rows,
)
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.trial_ledger import count_searched, count_trials
from blofin_assets.shared.vocabulary import Kind, LifecycleNote
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_market import GROUP, book_windows, not_run, run_books
from blofin_assets.strategy_cycle.book_search import book_finalists
from blofin_assets.strategy_cycle.evaluation_set import chosen_for_holdout, drop_copies, duplicate_events
from blofin_assets.strategy_cycle.evidence import book_evidence_rows, mark_known
from blofin_assets.strategy_cycle.expected import expected_rows
from blofin_assets.strategy_cycle.library import noted_events, verdicts
from blofin_assets.strategy_cycle.population import BOOKS, BookRecord, load_versions
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.market import is_synthetic
from strategies.search.books import families_of_book
from strategies.validation.duplicates import weights_held

_KNOWN = (
    "SELECT name, max(knows_until) AS knows_until, CAST(NULL AS TIMESTAMPTZ) AS told_until FROM research.books "
    "WHERE created_at <= ? GROUP BY name"
)


@stage_asset(
    group=GROUP,
    table="research.book_backtest_results",
    partitions=two_days,
    deps=[book_finalists],
    kinds=("polars", "duckdb", "numba"),
)
def book_backtests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The holdout backtest of books: one capital over the universe, on the last days before the as-of."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    windows = book_windows(store, market, as_of)
    if isinstance(windows, str):
        return not_run(windows)
    snapshot, start = store.snapshot_id(), windows.holdout.start
    records = chosen_for_holdout(store, as_of, BOOKS)
    judged = verdicts(store, as_of, BOOKS)
    sound = [record.strategy for record in records if judged.get(record.key) == LifecycleNote.VALIDATED]
    run = run_books(store, sound, windows.holdout, market.universe)
    failed = {(book.name, book.version): why for book, why in run.failed}
    runs, copies = drop_copies([found for _, found in run.done], lambda each: weights_held(each.evaluation.result))
    if not runs:
        msg = f"no book could be run on the holdout: {'; '.join(failed.values()) or 'there is none'}"
        raise BlofinError(msg)
    trials = count_trials(store, Kind.BOOK, start, as_of, {found.configuration for found in runs})
    searched = count_searched(store, Kind.BOOK, as_of, LONG_SEARCH_REACH)
    evidence, unproven = book_evidence_rows(runs, as_of, trials=trials, seed=market.seed, searched=searched)
    if not is_synthetic(market.market):
        evidence = mark_known(evidence, store.read(_KNOWN, [as_of]), start)
    results = book_rows(runs, as_of, snapshot).join(_states(records), on=["name", "version"], how="left")
    families = {record.key: families_of_book(record.strategy) for record in load_versions(store, as_of, BOOKS)}
    evidence = evidence.join(
        expected_rows(store, as_of, _measured(results, evidence), families, Kind.BOOK),
        on=["name", "version"], how="left", maintain_order="left",
    )  # fmt: skip
    noted = duplicate_events(copies, "weights", as_of).vstack(noted_events(LifecycleNote.FAILED, failed, as_of))
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.book_backtest_results", results, as_of=as_of)
        tx.replace("research.trades", book_trade_rows(runs, as_of), as_of=as_of, kind=Kind.BOOK)
        tx.replace("research.equity", book_equity_rows(runs, as_of), as_of=as_of, kind=Kind.BOOK)
        for author, own in _by_author(runs, records).items():
            tx.append("research.trials", book_trial_rows(own, author, as_of, snapshot), key=["id"])
        tx.replace("research.evidence", evidence, as_of=as_of, kind=Kind.BOOK)
        tx.replace(
            "research.book_lifecycle", noted, begins_at=as_of, event=[LifecycleNote.DUPLICATE, LifecycleNote.FAILED]
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": results.height,
            "holdout": f"{start:%Y-%m-%d} to {as_of:%Y-%m-%d} UTC",
            "copies": ", ".join(f"{name} repeats {original}" for (name, _), original in copies.items()) or "none",
            "failed": "; ".join(f"{name}: {why}" for (name, _), why in failed.items()) or "none",
            "without_evidence": "; ".join(f"{name}: {why}" for (name, _), why in unproven.items()) or "none",
            "trials": trials,
            "search_trials": searched,
            "trades": int(results["total_trades"].sum()),
            "snapshot": tx.snapshot,
        }
    )


def _measured(results: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Return the holdout's ratios with their errors, as `expected_rows` reads them; what has no ratio is left out."""
    errors = evidence.select("name", "version", pl.col("sharpe_error").cast(pl.Float64))
    return (
        results.filter(pl.col("sharpe").is_not_null())
        .join(errors, on=["name", "version"], how="left", maintain_order="left")
        .with_columns(pl.coalesce("sharpe_error", "sharpe_se").alias("error"))
        .select("name", "version", "window_start", "window_end", "sharpe", "turnover", "error")
    )


def _states(records: list[BookRecord]) -> pl.DataFrame:
    rows = [(*record.key, str(record.state)) for record in records]
    return pl.DataFrame(rows, schema=dict.fromkeys(("name", "version", "status"), pl.String), orient="row")


def _by_author(runs: list[BookRun], records: list[BookRecord]) -> dict[str, list[BookRun]]:
    authors = {record.key: record.author for record in records}
    by_author: dict[str, list[BookRun]] = {}
    for run in runs:
        by_author.setdefault(authors[run.book.name, run.book.version], []).append(run)
    return by_author
