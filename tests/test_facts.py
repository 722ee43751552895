"""Numbers that prose repeats are those of the code: each sentence is built from constants and looked up in its page."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from backtester import Costs, MarginRules
from backtester.compare_page import COLOURS
from backtester.evaluation import comparison
from backtester.evaluation import feature_sheet as sheet
from backtester.evaluation.breakdown import BAND, DRAWS
from backtester.evaluation.pooling import FEW_TRADES
from backtester.evaluation.tear_sheet import ROLLING, WORST
from backtester.statistics import choosing, drift, e_process
from backtester.statistics.overfitting import SUPPORTED
from backtester.statistics.plateau import NEAREST
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.cli.documents import MOST_ROWS, MOST_TEXT
from blofin_assets.cli.feature_market import DEEP_DAYS
from blofin_assets.cli.features_text import SURE
from blofin_assets.cli.idea import EXPORTED, MOST_POINTS
from blofin_assets.cli.mcp_server import MOST_SECONDS, SECONDS
from blofin_assets.cli.stored import DEFAULT_DAYS
from blofin_assets.drift import sensor
from blofin_assets.drift.performance import RECENT
from blofin_assets.forward.tracked import FOLLOWED, GRACE
from blofin_assets.ml_cycle import stage
from blofin_assets.replay.summary import SCALE
from blofin_assets.scheduling.conductor import MAX_ATTEMPTS
from blofin_assets.shared.cadences import CADENCES
from blofin_assets.shared.partitions import TWO_DAYS
from blofin_assets.strategy_cycle import llm_designer, prompt_context
from blofin_assets.strategy_cycle.judges import LIMITS
from blofin_assets.strategy_cycle.ranking import ACTIVE
from blofin_resources.market.blofin.rate_limiter import PER_SECOND
from blofin_resources.settings import HISTORY, Settings
from features.bars import DEFAULT_TIMEFRAMES, TIMEFRAMES
from features.steps import FACTOR
from model_zoo.ensembles import BUDGET
from model_zoo.models.catalog import MODELS
from model_zoo.training import tuning
from model_zoo.training.fitting import FOLDS
from strategies.language.strategy import MOST_STEPS
from strategies.quotas import ATTEMPTS, FINALISTS, TUNED
from strategies.untrusted.spans import MAX_BARS, MAX_FEATURES

PROJECT: Final = Path(__file__).resolve().parents[1]
WORDS: Final = [
    "none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]  # fmt: skip
CATCH_UP: Final = {cadence.job: cadence.catch_up for cadence in CADENCES}
DEFAULTS: Final = {name: field.default for name, field in Settings.model_fields.items()}
COSTS: Final = Costs()
RULES: Final = MarginRules()

FACTS: Final = {
    "README.md": [
        f"| {HISTORY.days} days before the as-of |",
        *(
            f"`BLOFIN_{name.upper()}` | {what} | {ticks}{DEFAULTS[name]:g}{ticks} |"
            for name, what, ticks in (
                ("api_patience", "seconds for one call to the exchange, retries included", ""),
                ("search_budget", "evaluations for each designer in a cycle", ""),
                ("tuning_budget", "evaluations for one tuning attempt", ""),
                ("seed", "seed of the sample market and of every random number", "`"),
            )
        ),
    ],
    "docs/guides/BENCH_GUIDE.md": [
        f"over the last {DEFAULT_DAYS} stored days",
        f"the largest drawdown lies inside it in {100 * (BAND[-1] - BAND[0]):.0f} % of them",
        f"with the same returns in {DRAWS:,} other orders",
        f"the Sharpe ratio of the {ROLLING.days} days before with its standard error",
        f"the {WORDS[WORST]} worst drawdowns",
        f"writes {WORDS[len(EXPORTED)]} files for each strategy",
        f"that made {WORDS[FEW_TRADES]} trades",
        f"of a sample, the {WORDS[NEAREST]} nearest",
        f"{'a million' if MOST_POINTS == 1_000_000 else MOST_POINTS} points at most",
        f"Two to {WORDS[len(COLOURS)]} strategies, books",
        f"with a {100 * comparison.CONFIDENCE:.0f} % bootstrap interval",
        f"over the last {DEEP_DAYS} days, or `--symbols`",
        f"on the traded symbols over the last {DEFAULT_DAYS} days",
        f"over {', '.join(map(str, sheet.HORIZONS[:-1]))} and {sheet.HORIZONS[-1]} bars",
        f"where the window is less than {WORDS[sheet.FEWEST_HORIZONS]} times as long",
        f"{WORDS[sheet.QUANTILES].capitalize()} groups by value",
        f"(fewer with less than {WORDS[2 * sheet.QUANTILES]} symbols)",
        f"over {sheet.MAIN_HORIZON} bars, whatever horizon looks best",
        f"measured on {WORDS[sheet.SAMPLED_SYMBOLS]} symbols at most",
        f"exceeds in {100 * SURE:.0f} % of cases",
    ],
    "docs/guides/AGENT_GUIDE.md": [
        f"seconds={SECONDS})` | one read-only SQL",
        f"at most {MOST_ROWS} rows and {MOST_SECONDS} seconds",
        f"({LIMITS.cpu_seconds} s of processor, {LIMITS.memory_bytes / 1e9:.0f} GB,",
        f"at most {MOST_TEXT:,} characters",
        f"A look at the last {WORDS[HOLDOUT_LENGTH.days]} days",
    ],
    "blofin_assets/cli/mcp_server.py": [f"at most {MOST_ROWS} rows", f"`seconds`, at most {MOST_SECONDS}."],
    "ARCHITECTURE.md": [
        f"At most {WORDS[FINALISTS]} finalists reach the holdout",
        f"the best {ACTIVE} are active",
    ],
    "GLOSSARY.md": [f"at most {WORDS[FINALISTS]} in a cycle", f"deflated Sharpe ratio of at least {SUPPORTED}"],
    "docs/extending/drift_metric.md": [
        f"share of false alarms below {drift.FALSE_DISCOVERY:.0%}".replace("%", " %"),
        f"fewer than {drift.LEAST_TRADES} closed trades or {drift.LEAST_DAYS:.0f} days or less",
    ],
    "docs/guides/DEPLOYMENT.md": [
        (f"over {CATCH_UP['strategy_cycle']} strategy cycles, {CATCH_UP['ml_cycle']} ML cycles, "
        f"{CATCH_UP['forward']} keys of the ledger, {CATCH_UP['drift']} nights of drift tests and "
        f"{CATCH_UP['report']} reports"),
        f"A failed cycle is tried {WORDS[MAX_ATTEMPTS]} times",
        f"loads {HISTORY.days} days of market data",
    ],
    "docs/guides/EVOLUTION.md": [
        f"`BLOFIN_SEARCH_BUDGET` full evaluations ({DEFAULTS['search_budget']})",
        f"`BLOFIN_TUNING_BUDGET` evaluations ({DEFAULTS['tuning_budget']}). After {WORDS[ATTEMPTS]} attempts",
        f"The holdout has {WORDS[FINALISTS]} places: {WORDS[TUNED]} for tuned versions",
        f"the best {WORDS[ACTIVE]} are active",
        f"`supported` (deflated Sharpe ratio ≥ {SUPPORTED})",
        f"Claude proposes {WORDS[llm_designer.DESIGNS]} designs a cycle",
        f"From the newest {prompt_context.OUTCOMES} entries",
    ],
    "docs/guides/FORWARD_LEDGER.md": [
        f"the last {RECENT.days} days at most",
        f"({drift.DRAWS:,} draws, seeded)",
        f"fewer than {drift.LEAST_TRADES} closed trades, {drift.LEAST_DAYS:.0f} days or less",
        f"blocks of {drift.BLOCK} hours",
        f"less than {e_process.HOPELESS} of the bettor's capital is left, and for {FOLLOWED.days} days from activation",
        f"tracked for {GRACE // timedelta(hours=1)} hours more, the grace period",
        f"at most every {sensor.COOL_DOWN.days} days and at most {sensor.MOST_A_DAY} names a night",
    ],
    "docs/guides/EVIDENCE_GUIDE.md": [
        f"the deflated Sharpe ratio is at least {SUPPORTED}",
        f"the capital ever reaches {e_process.CONFIRMS:g} with a probability of {100 / e_process.CONFIRMS:g} % at most",
        f"{e_process.PRIOR_DAYS:g} days' weight on an annual Sharpe ratio of {e_process.PRIOR_RATIO:g}",
        f"It is fixed for {WORDS[e_process.BLOCK]} days",
        "At a true annual ratio of {} and {} the median record takes {} and {} days".format(
            *(
                text
                for values in (list(e_process.MEDIAN_DAYS), list(e_process.MEDIAN_DAYS.values()))
                for text in (", ".join(map(str, values[:-1])), values[-1])
            )
        ),
    ],
    "docs/guides/REPLAY_GUIDE.md": [
        f"strategy cycles have a grid of {TWO_DAYS // timedelta(hours=1)} hours",
        f"The market has to reach {HISTORY.days} days before the first choice",
        f"Each is scaled to a daily standard deviation of {100 * SCALE:.0f} %",
        f"in blocks of {WORDS[choosing.BLOCK]} stretches",
        f"there is none below {WORDS[choosing.FEWEST_STRETCHES]} stretches",
        f"{e_process.CONFIRMS:g} is evidence at {100 / e_process.CONFIRMS:g} %",
    ],
    "docs/guides/ML_PIPELINE.md": [
        (f"{WORDS[len(MODELS) * len(DEFAULT_TIMEFRAMES)]} models ({WORDS[len(MODELS)]} types on "
        f"{WORDS[len(DEFAULT_TIMEFRAMES)]} timeframes: {', '.join(DEFAULT_TIMEFRAMES)};"),
        f"The best {WORDS[stage.ACTIVE]} are active",
        f"{WORDS[FOLDS].capitalize()} walk-forward steps",
        f"tries {tuning.BUDGET} specifications",
        f"at most {WORDS[tuning.MOST]} models a cycle, each at most every {WORDS[tuning.REST.days]} days",
    ],
    "docs/guides/ENSEMBLE_GUIDE.md": [
        f"Only the {WORDS[BUDGET]} with the best expected gain",
        f"The best {WORDS[stage.ACTIVE_ENSEMBLES]} are `active`",
    ],
    "docs/guides/STRATEGY_DESIGN.md": [
        (f"`timeframes` | a tuple of {', '.join(TIMEFRAMES)}; without it {', '.join(DEFAULT_TIMEFRAMES)}. "),
        f"reads at most {MAX_FEATURES} features, and their windows hold at most {MAX_BARS:,} bars",
        f"into at most {MOST_STEPS:,}",
    ],
    "docs/guides/BACKTEST_GUIDE.md": [
        f"taker {COSTS.taker_fee * 100:.2f} % by default",
        f"Slippage is {COSTS.slippage * 1e4:.0f} basis points a side by default",
        f"Unknown values are {RULES.max_leverage:.0f}× and {RULES.tiers[0][1] * 100:g} %",
    ],
    "docs/guides/MARKET_DATA.md": [
        f"at {WORDS[int(PER_SECOND)]} requests a second",
        f"by a factor of {WORDS[int(FACTOR)]} or more",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("page", "fact"), [(page, fact) for page, facts in FACTS.items() for fact in facts])
def test_a_number_in_prose_is_that_of_the_code(page: str, fact: str) -> None:
    text = " ".join((PROJECT / page).read_text(encoding="utf-8").replace("**", "").split())
    assert re.sub(r"\s+", " ", fact) in text
