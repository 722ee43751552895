"""Values that rows hold: the enums of the code and the comments of the schema name the same, and rows hold text."""

import ast
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from backtester.forward_ledger import Attribution, Difference, Item
from backtester.statistics.drift import Decision
from blofin_assets.drift import sensor
from blofin_assets.drift.evidence import ACTIVE_SET
from blofin_assets.drift.predicted import PREDICTIONS
from blofin_assets.shared import vocabulary
from blofin_assets.shared.vocabulary import (
    Author,
    Category,
    Choice,
    CycleState,
    DriftAction,
    ForwardState,
    Kind,
    LifecycleNote,
    LifecycleState,
    ProposalState,
    Purpose,
    RetuneState,
    Source,
    StageState,
)
from blofin_resources.claude.claude import REASONS
from blofin_resources.claude.models import Role
from blofin_resources.warehouse import Warehouse
from model_zoo.ensembles import METHODS
from model_zoo.evaluation.importance import Suggestion
from model_zoo.models.catalog import MODELS
from model_zoo.training.trainer import ModelStatus
from model_zoo.training.tuning import DriftState
from strategies.quotas import Stage

DESIGNERS = {Author.CLAUDE, Author.SEARCH, Author.TUNER}
CHALLENGERS = {*DESIGNERS, Author.DRIFT}
RANKED = {LifecycleState.ACTIVE, LifecycleState.ARCHIVED}
NAMED: dict[str, Iterable[str]] = {
    "research.strategies.source": Source,
    "research.strategies.author": {Author.LIBRARY, *CHALLENGERS},
    "research.strategy_lifecycle.event": (*LifecycleState, *LifecycleNote),
    "research.books.source": Source,
    "research.books.author": {Author.LIBRARY, *CHALLENGERS},
    "research.book_lifecycle.event": (*LifecycleState, *LifecycleNote),
    "research.ranking_history.status": RANKED,
    "research.trials.author": set(Author) - {Author.RANKING},
    "research.trials.purpose": Purpose,
    "research.designer_runs.designer": DESIGNERS,
    "research.designer_runs.state": StageState,
    "research.proposals.designer": CHALLENGERS,
    "research.proposals.state": set(ProposalState) - {ProposalState.NOT_RUN},
    "research.finalists.designer": CHALLENGERS,
    "research.holdout_outcomes.designer": CHALLENGERS,
    "research.knowledge_entries.category": Category,
    "research.knowledge_entries.kind": (Kind.STRATEGY, Kind.BOOK),
    "research.knowledge_entries.source": {*CHALLENGERS, Author.RANKING},
    "research.cycle_history.state": CycleState,
    "research.forward_runs.state": ForwardState,
    "research.forward_validation.item": Item,
    "research.forward_validation.difference": Difference,
    "research.forward_validation.attribution": Attribution,
    "research.drift_tests.decision": Decision,
    "research.retunes.kind": sensor.KINDS,
    "research.retunes.state": RetuneState,
    "research.llm_calls.role": get_args(Role),
    "research.llm_calls.outcome": ("answered", *REASONS),
    "ml.ml_model_results.model_type": MODELS,
    "ml.ml_model_results.status": ModelStatus,
    "ml.ml_ensembles.combination_method": METHODS,
    "ml.ml_ensembles.status": RANKED,
    "ml.feature_importance.suggestion": Suggestion,
    "ml.model_tuning.action": DriftAction,
    "ml.model_tuning.decision": Choice,
    "ml.written_inputs.state": set(ProposalState) - {ProposalState.EXHAUSTED},
    "ml.written_inputs.decision": Choice,
    **{f"research.{table}.stage": Stage for table in ("designer_runs", "proposals", "finalists", "holdout_outcomes")},
}
BY_KIND = {
    "trades",
    "ranking_history",
    "trials",
    "equity",
    "evidence",
    "evidence_daily",
    "active_set",
    "active_correlations",
    "drift_tests",
}
BY_KIND |= {f"forward_{name}" for name in ("entries", "trades", "equity", "runs", "validation")}
NAMED |= {f"research.{table}.kind": set(Kind) - {Kind.BOOK} for table in BY_KIND}
OF_BOOKS = BY_KIND - {"active_set", "active_correlations"}
NAMED |= {f"research.{table}.kind": Kind for table in OF_BOOKS}
NAMED["research.trials.kind"] = {*Kind, vocabulary.FEATURE}
NAMED["research.evidence_daily.kind"] = {*Kind, ACTIVE_SET, *PREDICTIONS}


@pytest.fixture(scope="module")
def comments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with Warehouse.open(tmp_path_factory.mktemp("warehouse"), market="sample") as store:
        rows = store.read(
            "SELECT schema_name || '.' || table_name || '.' || column_name AS name, comment FROM duckdb_columns() "
            "WHERE comment IS NOT NULL"
        )
        yield dict(rows.iter_rows())


@pytest.mark.parametrize("column", sorted(NAMED))
def test_the_schema_names_the_values_of_the_code(column: str, comments: dict[str, str]) -> None:
    told = re.sub(r"\([^)]*\)", "", comments[column]).partition(";")[0].rpartition(": ")[2]
    assert {value.strip() for value in re.split(r",? or |, ", told)} == set(NAMED[column])


def test_no_column_of_one_of_these_names_is_left_out(comments: dict[str, str]) -> None:
    """A new table with a kind, a stage or an author is held by the test above, too."""
    words = {"kind", "stage", "designer", "decision", "attribution"}
    found = {name for name in comments if name.split(".")[0] in {"research", "ml"} and name.split(".")[-1] in words}
    assert found <= NAMED.keys()


OWN = [one for one in vars(vocabulary).values() if isinstance(one, type) and issubclass(one, StrEnum)]
THEIRS = [Attribution, Decision, Difference, DriftState, Item, ModelStatus, Stage]
MEMBERS = sorted({member for one in OWN for member in one})
PROJECT = Path(__file__).resolve().parents[3]


def test_no_code_compares_with_a_literal() -> None:
    """`row["state"] == "refused"` would go on, and be wrong, once the value has another spelling.

    Not so of attributes of the report, which are of literal types: mypy refuses another value.
    """
    values = {str(member) for one in (*OWN, *THEIRS) for member in one}
    found = [
        f"{path.relative_to(PROJECT)}:{node.lineno} {each.value}"
        for package in ("backtester", "blofin_assets", "calibration", "model_zoo", "strategies")
        for path in sorted((PROJECT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and not ("reporting" in path.parts and isinstance(node.left, ast.Attribute))
        for each in (node.left, *node.comparators)
        if isinstance(each, ast.Constant) and each.value in values
    ]
    assert found == []


def test_rows_and_parameters_hold_plain_text(tmp_path: Path) -> None:
    assert MEMBERS
    frame = pl.DataFrame([{"value": each} for each in MEMBERS], schema={"value": pl.String})
    literals = pl.concat(pl.select(pl.lit(each).alias("value")) for each in MEMBERS)
    chosen = pl.select(pl.when(True).then(pl.lit(Kind.MODEL)).otherwise(pl.lit(Kind.STRATEGY)).alias("value"))
    with Warehouse.open(tmp_path, market="sample") as store:
        given = store.read("SELECT unnest(?) AS value", [MEMBERS])
        one = store.read("SELECT ? AS value", [MEMBERS[0]])
    for rows in (frame, literals, chosen, given, one):
        assert rows.schema == {"value": pl.String}
        assert all(type(value) is str for value in rows["value"])
    assert given["value"].to_list() == [str(each) for each in MEMBERS]
