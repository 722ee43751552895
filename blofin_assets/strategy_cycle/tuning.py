"""The asset of parameter tuning.

Belongs here: tuning the incumbents that score worst in sample. Does not belong here: searching parameters
(`strategies.search.tuning`), who is tuned (`strategies.quotas`), designs (`design`).

No look-ahead: the search window ends where the holdout starts. The states at that time and the number of attempts
decide who is tuned; neither depends on the holdout.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.evaluation.ranking import ranked
from backtester.statistics.seeds import derived_seed
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, ProposalState, StageState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.in_sample import SEARCH_NAMES, incumbents, strategy_scores
from blofin_assets.strategy_cycle.library import GROUP
from blofin_assets.strategy_cycle.population import STRATEGIES, StrategyRecord, Versions
from blofin_assets.strategy_cycle.prompt_context import lessons, market_state, search_results
from blofin_assets.strategy_cycle.proposals import (
    Proposal,
    TrialRow,
    proposal_rows,
    run_row,
    search_trial_rows,
    seen_in_search,
    strategy_rows,
)
from blofin_assets.strategy_cycle.search_window import HoldingWindows, panel_of, windows_of
from blofin_assets.strategy_cycle.tuning_proposals import attempted, exhausted, failed
from blofin_resources.claude import Answer
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    WarehouseResource,
)
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.language.strategy import Written
from strategies.llm.answers import Tuning
from strategies.llm.prompts import Prompt, tune_prompt
from strategies.quotas import Stage, to_tune
from strategies.search.objective import evaluate_objective
from strategies.search.tuning import Values, tune

_PAST: Final = (
    "SELECT version FROM research.finalists "
    "WHERE name = ? AND as_of < ? AND stage IN (SELECT unnest(?)) ORDER BY version"
)
AUTHORS: Final = (Author.CLAUDE, Author.TUNER)


@stage_asset(
    group=GROUP,
    table="research.proposals",
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
    """In-sample parameter tuning of the bottom 20 %; improved versions may enter the holdout once."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    windows = windows_of(store, market.symbols, as_of)
    run_id = context.run.run_id
    if windows.short.search is None:
        runs = [
            run_row(Stage.TUNING, author, as_of, state=StageState.NOT_RUN, budget=0, detail=windows.short.reason)
            for author in AUTHORS
        ]
        return stored(store, STRATEGIES, Stage.TUNING, as_of, [], runs, {}, run_id)
    due, spent, attempts = _due(store, incumbents(store, windows), windows)
    proposals = [exhausted(STRATEGIES, record, attempts.get(record.strategy.name, 0)) for record in spent]
    asker = LlmSession(claude.open(store, clock), as_of, run_id)
    state = cache(partial(market_state, store, market.symbols))
    tries: list[TrialRow] = []

    def attempted_on(record: StrategyRecord) -> tuple[Proposal, list[TrialRow]]:
        name, before = record.strategy.name, asker.cost_usd
        attempt = attempts.get(name, 0) + 1
        panel = panel_of(store, market.symbols, windows, record.strategy, run_id)
        learnt = lessons(store, panel.window.end + HOLDOUT_LENGTH, name)

        def prompt() -> Prompt:
            return tune_prompt(
                record.strategy, results=search_results(panel, evaluate_objective(panel, record.strategy)),
                lessons=learnt, market=state(panel.window.end), attempt=attempt, costs=panel.costs,
            )  # fmt: skip

        first, told = suggested(asker, prompt)
        result = tune(
            panel, record.strategy, budget=evolution.tuning_budget, seed=derived_seed(market.seed, as_of, name, size=4),
            first=first, known=past_finalists(store, name, as_of),
        )  # fmt: skip
        proposal = attempted(STRATEGIES, result, seen_in_search, attempt, cost=asker.cost_usd - before, **told)
        return proposal, [TrialRow.of(scored, panel.window) for scored in result.tried]

    tunings = each_alone(due if evolution.tuning_budget else (), attempted_on)
    for _, (proposal, tried) in tunings.done:
        proposals.append(proposal)
        tries += tried
    proposals += [
        failed(STRATEGIES, record, attempts.get(record.strategy.name, 0) + 1, reason)
        for record, reason in tunings.failed
    ]
    proposals.sort(
        key=lambda proposal: (
            proposal.state != ProposalState.SOUND,
            (proposal.parent_objective or 0.0) - (proposal.objective or 0.0),
        )
    )
    budget = evolution.tuning_budget * len(due)
    idle = "no strategy is due for tuning" if not due else "BLOFIN_TUNING_BUDGET is 0" if not budget else ""
    runs = tuning_runs(STRATEGIES, as_of, asker, budget, proposals, idle)
    return stored(store, STRATEGIES, Stage.TUNING, as_of, proposals, runs, {Author.TUNER: tries}, run_id)


def tuning_runs(
    of: Versions[Any], as_of: datetime, asker: LlmSession, budget: int, proposals: Sequence[Proposal], idle: str
) -> list[dict[str, Any]]:
    """Return the rows of `research.designer_runs` of a tuning: of the tuner, and of Claude, who suggests values.

    Parameters
    ----------
    of : Versions
        The kind.
    as_of : datetime
        As-of of the cycle.
    asker : LlmSession
        Claude for this stage.
    budget : int
        Evaluations allowed; with 0 the tuner did not run.
    proposals : sequence of Proposal
        What came of it.
    idle : str
        Why nothing was tuned; '' where something was.

    Returns
    -------
    list of dict
        Two rows.
    """
    ran = StageState.DONE if budget else StageState.NOT_RUN
    return [
        run_row(of.tuning, Author.TUNER, as_of, state=ran, detail=idle, budget=budget, proposals=proposals),
        run_row(
            of.tuning, Author.CLAUDE, as_of, state=asker.state, detail=idle or asker.detail, budget=0,
            spent=asker.spent(),
        ),
    ]  # fmt: skip


def _due(
    store: Warehouse, played: Sequence[StrategyRecord], windows: HoldingWindows
) -> tuple[list[StrategyRecord], list[StrategyRecord], dict[str, int]]:
    """Return the strategies to tune, those whose attempts are used up, and the attempts of each since activation.

    A strategy that drifted since the last cycle has already been tuned for this holdout.
    """
    as_of = windows.short.as_of
    scores = store.read(
        "SELECT strategy AS name, score, trades AS total_trades FROM research.strategy_scores "
        "WHERE as_of = ? AND starts_with(\"window\", ?) AND symbol = '*'",
        [as_of, SEARCH_NAMES],
    )
    so_far = tuning_attempts(store, as_of)
    attempts = {str(name): int(count) for name, count in so_far.select("name", "attempts").iter_rows()}
    records = {record.strategy.name: record for record in played}
    waiting = [
        name
        for name, latest in so_far.select("name", "latest").iter_rows()
        if name in records and latest > windows.of(records[name].strategy.timeframes).holdout.start
    ]
    fixed = [name for name, record in records.items() if not tunable(record.strategy)]
    due, spent = to_tune(ranked(scores)["name"].to_list(), attempts, frozenset(waiting), frozenset(fixed))
    return [records[name] for name in due], [records[name] for name in spent], attempts


def tuning_attempts(store: Warehouse, as_of: datetime, of: Versions[Any] = STRATEGIES) -> pl.DataFrame:
    """Return `name`, `attempts` and `latest`, the as-of of the last attempt, of each name tuned before a cycle.

    Parameters
    ----------
    store : Warehouse
        Where proposals are stored.
    as_of : datetime
        As-of of the cycle; attempts of drift retuning for it count as well.
    of : Versions
        The kind.

    Returns
    -------
    DataFrame
        Sorted by name.
    """
    return store.read(query("strategy_cycle/tuning_attempts"), {"as_of": as_of, "stage": of.tuning})


def tunable(strategy: Written) -> bool:
    """Return whether a version has a parameter that can take another value."""
    return any(bounds.low < bounds.high for bounds in strategy.ranges().values())


def suggested(asker: LlmSession, prompt: Callable[[], Prompt]) -> tuple[list[Values], dict[str, Any]]:
    """Return the parameter sets that Claude suggests, and what a proposal says of them; nothing without an answer.

    Parameters
    ----------
    asker : LlmSession
        Claude for this stage.
    prompt : callable
        Makes the prompt, where it is worth asking.

    Returns
    -------
    tuple of list of Values, and dict
        Values to try first; `diagnosis` and `knows_until`, as `attempted` takes them.
    """
    answer = None if asker.over else asker.ask("tuner", prompt(), Tuning)
    if not isinstance(answer, Answer):
        return [], {}
    variants: list[Values] = [
        {change.parameter: change.value for change in variant.changes} for variant in answer.value.variants
    ]
    return variants, {"diagnosis": answer.value.diagnosis, "knows_until": answer.knows_until}


def past_finalists(store: Warehouse, name: str, as_of: datetime, of: Versions[Any] = STRATEGIES) -> list[str]:
    """Return the versions of a name that took a holdout before a cycle.

    Parameters
    ----------
    store : Warehouse
        Where finalists are stored.
    name : str
        Of the strategy or book.
    as_of : datetime
        As-of of the cycle.
    of : Versions
        The kind.

    Returns
    -------
    list of str
        Sorted.
    """
    return list(store.read(_PAST, [name, as_of, of.stages])["version"])


def stored(
    store: Warehouse,
    of: Versions[Any],
    stage: Stage,
    as_of: datetime,
    proposals: Sequence[Proposal],
    runs: Sequence[dict[str, Any]],
    tries: Mapping[Author, Sequence[TrialRow]],
    run_id: str,
) -> dg.MaterializeResult[Any]:
    """Store a stage's proposals, designer runs and trials in one commit.

    Parameters
    ----------
    store : Warehouse
        Where they are stored.
    of : Versions
        The kind.
    stage : Stage
        Its tuning or its design.
    as_of : datetime
        As-of of the cycle.
    proposals : sequence of Proposal
        The proposals.
    runs : sequence of dict
        Rows of `research.designer_runs`.
    tries : mapping of Author to sequence of TrialRow
        Evaluations of each author.
    run_id : str
        Run that writes.

    Returns
    -------
    MaterializeResult
        Summary for the UI.
    """
    snapshot = store.snapshot_id()
    rows = proposal_rows(proposals, as_of)
    run_rows = pl.DataFrame(list(runs), infer_schema_length=None).with_columns(pl.col("as_of").cast(TS))
    with store.transaction(run_id) as tx:
        designers = sorted({run["designer"] for run in runs})  # challengers from drift retuning stay
        tx.replace("research.proposals", rows, as_of=as_of, stage=stage, designer=designers)
        tx.replace("research.designer_runs", run_rows, as_of=as_of, stage=stage)
        tx.append(of.table, strategy_rows(proposals, as_of), key=["name", "version"])
        for author, trials in tries.items():
            tx.append("research.trials", search_trial_rows(trials, author, as_of, snapshot, of.kind), key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "proposals": table_preview(rows.select("designer", "name", "state", "changes", "search_score", "refusal")),
            "authors": table_preview(
                run_rows.select("designer", "state", "detail", "budget", "evaluations", "cost_usd")
            ),
            "evaluations": sum(len(trials) for trials in tries.values()),
            "cost_usd": float(run_rows["cost_usd"].sum()),
            "snapshot": tx.snapshot,
        }
    )
