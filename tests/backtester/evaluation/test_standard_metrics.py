"""The standard metrics are written once: what is added to the list is stored and shown without another line."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.warehouses import new_warehouse
from toy import START, SYMBOLS, Momentum, ToyManager, toy_source

from backtester import BacktestEngine, Evaluation, LaneResult, PooledResult, evaluate
from backtester.evaluation import standard_metrics
from backtester.evaluation.standard_metrics import STANDARD, Metric, Result, Unit, stored, values
from backtester.page import backtest_page
from blofin_assets.shared.backtest_rows import backtest_rows
from blofin_resources.warehouse import Warehouse

END = START + timedelta(days=2)
TABLE = standard_metrics.RESULTS
PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate([Momentum()], ToyManager(toy_source(2)), SYMBOLS, START, END)[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Warehouse]:
    with new_warehouse(tmp_path) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse whose tables stay as they are."""
    with new_warehouse(tmp_path_factory.mktemp("described")) as warehouse:
        yield warehouse


def calmar(result: Result) -> float | None:
    return result.total_pnl_pct / 100.0 / result.max_drawdown if result.max_drawdown else None


def test_a_metric_that_is_added_is_stored_and_shown(
    found: Evaluation, store: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = Metric("calmar", Unit.NUMBER, "Calmar ratio", "Calmar", compute=calmar)
    monkeypatch.setattr(standard_metrics, "STANDARD", (*STANDARD, added))
    store._connection.execute(f"ALTER TABLE lake.{TABLE} ADD COLUMN calmar DOUBLE")
    rows = backtest_rows([found], END, snapshot=1)
    with store.transaction("a test") as tx:
        tx.append(TABLE, rows, key=["id"])
    back = store.read(f"SELECT timeframe, calmar FROM {TABLE} ORDER BY id")
    assert found.pooled is not None
    assert back.filter(timeframe="*")["calmar"].item() == pytest.approx(calmar(found.pooled))
    assert back.height == 1 + len(found.lanes)
    assert back["calmar"].null_count() == 0
    engine = BacktestEngine(SYMBOLS[0], START, END).run_strategy(Momentum(), ToyManager(toy_source(2)))
    assert engine.calculate_metrics()["calmar"] == pytest.approx(calmar(engine.evaluation.pooled))
    page = backtest_page(found, toy_source(2).candles(SYMBOLS, "60m", None, END))
    assert f"<dt>Calmar ratio</dt><dd>{calmar(found.pooled):,.2f}</dd>" in page


@pytest.mark.slow
def test_a_metric_that_is_added_is_in_the_report() -> None:
    """The form of the report is made when it is imported, so this needs a process of its own."""
    code = (
        "from backtester.evaluation import standard_metrics as m\n"
        "m.STANDARD += (m.Metric('calmar', m.Unit.NUMBER, 'Calmar ratio', 'Calmar'),)\n"
        "from blofin_assets.reporting.sections import strategies as s\n"
        "assert 'calmar' in s.TopStrategy.model_fields\n"
        "print([c.header for c in s._FURTHER if c.key == 'calmar'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "['Calmar']\n"


@pytest.mark.parametrize("metric", STANDARD, ids=lambda metric: metric.name)
def test_each_metric_has_a_column_with_its_meaning(metric: Metric, described: Warehouse) -> None:
    columns = described.read(
        "SELECT schema_name || '.' || table_name AS table_name, data_type, comment FROM duckdb_columns() "
        "WHERE column_name = ? AND database_name = current_database()",
        [metric.stored_as],
    )
    if metric.table:
        kind, comment = columns.filter(table_name=metric.table).select("data_type", "comment").row(0)
        assert kind in ({"INTEGER", "BIGINT"} if metric.unit == Unit.COUNT else {"DOUBLE"})
        assert comment
    if metric.of_models:
        assert {"ml.ml_model_results", "ml.ml_ensembles"} <= set(columns["table_name"])


def test_names_are_attributes_and_each_stands_once(found: Evaluation) -> None:
    names = [metric.name for metric in STANDARD]
    assert len(set(names)) == len(names)
    lane = found.lanes[0]
    assert isinstance(lane, LaneResult)
    assert isinstance(found.pooled, PooledResult)
    assert values(found.pooled).keys() == set(names)
    assert set(names) - values(lane).keys() == {metric.name for metric in STANDARD if metric.pooled_only}
    assert {metric.beside[0] for metric in STANDARD if metric.beside} <= set(names)


def test_counts_are_whole_and_fractions_within_one(found: Evaluation) -> None:
    for result in (found.pooled, *found.lanes):
        assert result is not None
        for metric in STANDARD:
            value = values(result).get(metric.name)
            if value is not None and metric.unit == Unit.COUNT:
                assert isinstance(value, int)
            if value is not None and metric.unit == Unit.FRACTION:
                assert 0.0 <= value <= 1.0


def test_what_is_stored_elsewhere_is_not_stored_twice(found: Evaluation) -> None:
    assert found.pooled is not None
    results, evidence = stored(found.pooled), stored(found.pooled, standard_metrics.EVIDENCE)
    assert not results.keys() & evidence.keys()
    assert "liquidations" not in results.keys() | evidence.keys()


def test_no_module_lists_them_again() -> None:
    """Whoever names seven of them holds a second list; what shows a choice of them says so here."""
    names = {metric.name for metric in STANDARD} | {metric.stored_as for metric in STANDARD}
    choices = {
        "backtester/evaluation/pooling.py",  # where they are computed
        "backtester/evaluation/book_evaluation.py",  # where those of a book are, of one account
        "backtester/evaluation/breakdown.py",  # what is shown of each symbol
        "backtester/evaluation/book_breakdown.py",  # the same of a book
        "backtester/evaluation/comparison.py",  # costs beside each other
        "backtester/sweep_page.py",  # headings of a point of a sweep
        "backtester/book_page.py",  # those that head the page of a book
        "strategies/search/sweep.py",  # what is kept of each point of a sweep
        "blofin_assets/reporting/sections/strategies.py",  # the places of those that have one
        "blofin_assets/cli/backtest_text.py",  # for which 80 columns have room
        "blofin_assets/cli/backtest_book.py",  # the same of a book
        "blofin_assets/strategy_cycle/prompt_context.py",  # what Claude is shown
        "blofin_assets/strategy_cycle/ranking.py",  # what Dagster shows
        "blofin_assets/strategy_cycle/older_tables.py",  # a table of an older system
        "blofin_assets/strategy_cycle/in_sample.py",  # that table
        "blofin_assets/shared/book_rows.py",  # what trials and results of books store
        "blofin_assets/reporting/sections/books.py",  # what the report shows of books
    }
    listed = {
        path.relative_to(PROJECT).as_posix()
        for package in ("backtester", "blofin_assets", "model_zoo", "strategies")
        for path in (PROJECT / package).rglob("*.py")
        if path.name != "standard_metrics.py"
        if len(names & set(re.findall(r'"(\w+)"', path.read_text(encoding="utf-8")))) >= 7
    }
    assert listed == choices
