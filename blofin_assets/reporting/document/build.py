"""The report's content, from what was collected.

Belongs here: which key says what. Does not belong here: types (`schema`), wording (`sentences`), the forward side
(`live`).
"""

import json
from typing import Any, Final, Literal

import polars as pl

from blofin_assets.partitions import DAY, day_key
from blofin_assets.plan import ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.reporting.collect import TOP, ReportData
from blofin_assets.reporting.document import schema
from blofin_assets.reporting.document.live import backtest_vs_live, live_of
from blofin_assets.reporting.document.plain import at_most, plain, ratio
from blofin_assets.reporting.document.portfolio import active_set
from blofin_assets.reporting.document.sentences import rule_summary

Json = dict[str, Any]

MOST_GAPS: Final = 20
"""Most gaps that a report lists, the longest first; all are counted."""


def build_document(data: ReportData) -> Json:
    """Return the report's content: equal for equal data, whoever makes it and whenever.

    Run id, snapshot and wall-clock time are added by the asset under `provenance`.
    """
    strategies, models = strategy_table(data), model_table(data)
    report = schema.Report(
        report_date=day_key(data.as_of - DAY),
        as_of=data.as_of.isoformat(),
        cycle=_cycle(data),
        cycles={
            STRATEGY_CYCLE: plain(data.cycles.strategy_time),
            ML_CYCLE: plain(data.cycles.model_time),
        },
        summary=data.review.summary if data.review else rule_summary(data, strategies),
        summary_by=_summary_by(data),
        market=_market(data),
        strategy_changes=_strategy_changes(data),
        ml_changes=_ml_changes(data),
        overfitting=_overfitting(data),
        performance=schema.Performance(
            top_5_strategies=[_strategy(row, data) for row in strategies.head(TOP).iter_rows(named=True)],
            top_5_models=[
                schema.TopModel.of(row, live=live_of("model", row["name"], row["version"], data))
                for row in models.head(TOP).iter_rows(named=True)
            ],
            backtest_vs_live=backtest_vs_live(data),
        ),
        ranking=[schema.Ranked.of(row) for row in strategies.iter_rows(named=True)],
        active_set=active_set(data.cycles),
        claude=_claude(data),
        ai_next_steps=_next_steps(data),
        ai_review=_review(data),
        stages=[schema.StageState(name=each.name, state=each.state, detail=each.detail) for each in data.stages],
    )
    return report.model_dump(mode="json", exclude={"provenance"})


def strategy_table(data: ReportData) -> pl.DataFrame:
    """Return the strategies in order of rank, each with its results and what stands beside them."""
    cycles = data.cycles
    with_results = ranked(cycles.strategy_ranking, cycles.strategies, "strategy_name")
    return ranked(with_results, cycles.evidence, "name")


def model_table(data: ReportData) -> pl.DataFrame:
    """Return the models in order of rank, each with its results."""
    return ranked(data.cycles.model_ranking, data.cycles.models, "model_name")


def ranked(ranking: pl.DataFrame, results: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the ranking in order, each row with the results of its version."""
    here = set(ranking.columns) - {"name", "version"}
    extra = results.rename({name: "name"}).drop([column for column in results.columns if column in here])
    return ranking.join(extra, on=["name", "version"], how="left", maintain_order="left")


def _strategy(row: Json, data: ReportData) -> schema.TopStrategy:
    return schema.TopStrategy.of(
        row,
        break_even_slippage=at_most(row["break_even_slippage"]),
        break_even_fee=at_most(row["break_even_fee"]),
        live=live_of("strategy", row["name"], row["version"], data),
    )


def _cycle(data: ReportData) -> Literal["strategy_day", "ml_day", "no_cycle"]:
    ran = {stage.name for stage in data.stages if stage.state == "done"}
    if any(name.startswith("strategy scores") for name in ran):
        return "strategy_day"
    return "ml_day" if any(name.startswith("models") for name in ran) else "no_cycle"


def _strategy_changes(data: ReportData) -> schema.StrategyChanges:
    rows = list(data.changes.proposals.iter_rows(named=True))
    examined = [row for row in rows if row["accepted"] is not None]
    refused = [row for row in rows if row["state"] == "refused"]
    return schema.StrategyChanges(
        designed=[
            schema.Designed.of(row, backtest_score=plain(row["score"])) for row in examined if row["stage"] == "design"
        ],
        tuned=[_tuned(row) for row in examined if row["stage"] == "tuning"],
        archived=[schema.Archived.of(row) for row in data.changes.archived.iter_rows(named=True)],
        refused=[schema.Refused.of(row) for row in refused],
        waiting=len(rows) - len(examined) - len(refused),
        designers=[schema.Designer.of(row) for row in data.changes.designers.iter_rows(named=True)],
    )


def _tuned(row: Json) -> schema.Tuned:
    gain = None if row["score"] is None or row["parent_score"] is None else row["score"] - row["parent_score"]
    changed = json.loads(row["changes"]) if row["changes"] else {}
    return schema.Tuned.of(
        row,
        params_changed={name: str(change) for name, change in changed.items()},
        improvement=ratio(gain, row["parent_score"]),
        improvement_points=plain(gain),
        backtest_score=plain(row["score"]),
    )


def _ml_changes(data: ReportData) -> schema.MlChanges:
    """Return what was trained within the day; a day without a cycle trained nothing."""
    time = data.cycles.model_time
    today = time is not None and time > data.as_of - DAY
    models = data.cycles.models.iter_rows(named=True) if today else ()
    ensembles = data.cycles.ensembles.iter_rows(named=True) if today else ()
    return schema.MlChanges(
        trained=[
            schema.Trained.of(
                row,
                name=row["model_name"],
                type=row["model_type"],
                features=len(row["features_used"].split(",")) if row["features_used"] else 0,
            )
            for row in models
        ],
        ensembles_tested=[
            schema.Ensemble.of(
                row,
                name=row["ensemble_name"],
                models=json.loads(row["members"]),
                method=row["combination_method"],
                weights=json.loads(row["weights"]) if row["weights"] else None,
            )
            for row in ensembles
        ],
        tuned=[schema.ModelTuning.of(row) for row in data.changes.model_tuning.iter_rows(named=True)],
    )


def _overfitting(data: ReportData) -> schema.Overfitting:
    """Return what holds for the cycle as a whole: how many tries, how often the best of them disappoints."""
    tries = {f"{row['author']} ({row['purpose']})": row["trials"] for row in data.changes.trials.to_dicts()}
    evidence = data.cycles.evidence
    if evidence.is_empty():
        return schema.Overfitting(
            trials=None, search_trials=None, trials_today=tries, pbo=None, pbo_columns=None, supported=None
        )
    row = evidence.row(0, named=True)
    return schema.Overfitting.of(
        {"search_trials": None, **row}, trials_today=tries, supported=evidence.filter(pl.col("supported")).height
    )


def _market(data: ReportData) -> schema.Market:
    gaps = data.data.gaps
    return schema.Market(
        source=data.market,
        synthetic=data.synthetic,
        symbols=list(data.symbols),
        seed=data.seed if data.synthetic else None,
        coverage=[schema.Lane.of(row) for row in data.data.lanes.iter_rows(named=True)],
        open_gaps=gaps.height,
        gaps=[schema.Gap.of(row) for row in gaps.head(MOST_GAPS).iter_rows(named=True)],
        revised=data.data.revised,
    )


def _claude(data: ReportData) -> schema.Claude:
    calls = [schema.Calls.of(row) for row in data.calls.iter_rows(named=True)]
    return schema.Claude(cost_usd=plain(float(data.calls["cost_usd"].sum())), calls=calls)


def _summary_by(data: ReportData) -> schema.SummaryBy:
    if data.review is None:
        return schema.SummaryBy(author="rules", model=None, detail=None)
    review = data.review
    return schema.SummaryBy(author=review.summary_author, model=review.summary_model, detail=review.summary_detail)


def _next_steps(data: ReportData) -> str:
    if data.review is None:
        return "not run: this day was not reviewed"
    return "; ".join(step["text"].rstrip(".;") for step in data.review.next_steps) or "nothing to be done was found"


def _review(data: ReportData) -> schema.AiReview | None:
    review = data.review
    if review is None:
        return None
    return schema.AiReview(
        author=review.author,
        model=review.model,
        detail=review.detail,
        verdict=review.verdict,
        findings=[schema.Finding(**finding) for finding in review.findings],
        next_steps=[schema.NextStep(**step) for step in review.next_steps],
        usable_from=plain(review.usable_from),
        cost_usd=plain(review.cost_usd),
    )
