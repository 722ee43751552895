"""Claude writes an input for a model that drifts: part of the challenger, refused with the reason, or left out.

The client is the real one and speaks to a server on this machine; the model has nothing to learn from but what is
written for it.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from pydantic import SecretStr
from support import fake_messages as fake
from support.claude import KEY, NO_SERVER
from support.fake_messages import FakeMessages, Sent
from support.platform import AS_OF, Platform, content, differing, report_data
from support.warehouses import new_warehouse

from backtester.statistics.windows import Window
from blofin_assets.ml_cycle.llm_features import Redesign, redesign, written_rows
from blofin_assets.ml_cycle.tuning import Answer, answer_drift, search_trials, specs_in_force, tuning_rows
from blofin_assets.reporting.sections import models as models_section
from blofin_assets.reproduction import writers
from blofin_assets.scheduling.runner import CONSOLE
from blofin_assets.shared.cadences import CADENCES, ML_CYCLE, Step
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.llm_session import LlmSession
from blofin_resources.claude import Claude
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS
from features.registry import standard_registry
from model_zoo.models.base import ModelError, ModelSpec, WrittenInput
from model_zoo.serving.artifacts import load_artifact, save_artifact
from model_zoo.training.fitting import fit, rows_of
from model_zoo.training.trainer import default_spec
from model_zoo.training.tuning import windows
from strategies.untrusted.feature_compiler import reads_of, written_feature
from tests.model_zoo.conftest import SYMBOLS, T, candles

pytestmark = pytest.mark.slow

BLIND = ModelSpec("direction", "5m", 12, ("hour_sin", "hour_cos"))
GOOD = "f.returns * 100 + f.returns_5 * 0"
"""On this market the next hour takes the last bar's surprise back."""
IDEA = "It cannot see the last bar's surprise, which others fade."
HOSTILE = "__import__('os').system('touch hostile')"
PEEKING = "previous(f.rsi_14, -1)"
UNTIL = windows(T)[0].end


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return candles(0.9, 10)


def fill(folder: Path, market: pl.DataFrame) -> Warehouse:
    """Return a warehouse with candles, a model's drift and what its inputs are worth."""
    dates = [{"as_of": T - timedelta(days=n), "metric": "log_loss", "forward": 0.7 + n} for n in (1, 2, 4)]
    shared = {"kind": "model", "name": BLIND.name, "version": "v", "activated_at": T - timedelta(days=9), "days": 8.0}
    drift = [{**shared, **date, "expected": 0.6, "decision": "drift", "reason": "worse"} for date in dates]
    worth = [
        {
            "model_name": BLIND.name, "version": "v", "as_of": at, "feature": name, "importance": value,
            "importance_sd": 0.0, "folds": 4, "folds_positive": 1, "rank": place, "suggestion": "drop", "reason": "r",
        }
        for at, value in ((UNTIL, -0.125), (T, -0.375))
        for place, name in enumerate(BLIND.inputs, 1)
    ]  # fmt: skip
    opened = new_warehouse(folder / "warehouse")
    with opened.transaction("r") as tx:
        tx.append("market.candles_5m", market)
        tx.append("market.instruments", pl.DataFrame([{"symbol": s, "as_of": T, "origin": "t"} for s in SYMBOLS]))
        tx.append("research.drift_tests", pl.DataFrame(drift).with_columns(pl.col("as_of", "activated_at").cast(TS)))
        tx.append("ml.feature_importance", pl.DataFrame(worth).with_columns(pl.col("as_of").cast(TS)))
    return opened


@pytest.fixture
def store(market: pl.DataFrame, tmp_path: Path) -> Iterator[Warehouse]:
    with fill(tmp_path, market) as opened:
        yield opened


@pytest.fixture(scope="module")
def asked(market: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse for tests that only ask: each as of its own time, or it would get the answer of another."""
    with fill(tmp_path_factory.mktemp("asked"), market) as opened:
        yield opened


def claude(
    store: Warehouse, url: str = NO_SERVER, *, key: str | None = KEY, run_id: str = "run", as_of: datetime = T
) -> LlmSession:
    client = Claude(
        store, key=SecretStr(key) if key else None, budget_usd=5.0, base_url=url, deadline_seconds=60.0,
        clock=lambda: T + timedelta(hours=1),
    )  # fmt: skip
    return LlmSession(client, as_of, run_id)


def written(expression: str) -> Sent:
    return fake.answer({"idea": IDEA, "expression": expression})


MINUTES = itertools.count()


def ask(store: Warehouse, *script: Sent) -> tuple[Redesign, list[str]]:
    as_of = T + timedelta(minutes=next(MINUTES))
    with FakeMessages(script) as server:
        found = redesign(store, SYMBOLS, BLIND, UNTIL, claude(store, server.url, as_of=as_of), 0)
        return found, [got.question for got in server.got]


def answer(store: Warehouse, asker: LlmSession) -> Answer:
    found = answer_drift(store, SYMBOLS, {BLIND.name: BLIND}, T, budget=3, asker=asker)
    assert [each.action for each in found] == ["searched"]
    return found[0]


def keep(store: Warehouse, found: Answer) -> pl.DataFrame:
    assert found.redesign is not None
    rows = written_rows([found.redesign], {found.name: found.outcome}, T, 1)
    with store.transaction("r") as tx:
        tx.replace("ml.written_inputs", rows, as_of=T)
        tx.replace("ml.model_tuning", tuning_rows([found], store, T, 1), as_of=T)
        tx.append("research.trials", search_trials([found], T, 1), key=["id"])
    return rows


@pytest.mark.slow
def test_a_good_input_makes_a_challenger_that_is_adopted_stored_and_replayed(store: Warehouse) -> None:
    with FakeMessages([written(GOOD)]) as server:
        found = answer(store, claude(store, server.url))
        assert len(server.got) == 1
        assert server.got[0].body["model"].startswith("claude-opus")
    assert found.challenge is not None
    assert found.redesign is not None
    (name,) = found.redesign.inputs
    assert found.challenge.adopted
    assert name in found.challenge.challenger.inputs
    assert name not in found.challenge.champion.inputs
    assert all(name not in each.spec.inputs or each.spec.written[name].text == GOOD for each in found.challenge.tried)
    assert name in found.reason
    before = known_features(store)
    assert name not in {each.pattern for each in before}

    rows = keep(store, found)
    row = rows.row(0, named=True)
    assert (row["name"], row["text"], row["state"], row["decision"]) == (name, GOOD, "sound", "adopted")
    assert row["text_hash"].startswith(name.removeprefix("written_"))
    assert row["cost_usd"] > 0.0
    assert store.read("SELECT count(*) FROM research.trials").item() == len(found.challenge.tried)

    # the same cycle again: the same rows, nobody is asked, though the name is on record by now
    again = answer(store, claude(store, key=None, run_id="other"))
    assert again.challenge is not None
    assert written_rows([again.redesign], {again.name: again.outcome}, T, 1).equals(rows)  # type: ignore[list-item]  # there is one
    assert [each.spec for each in again.challenge.tried] == [each.spec for each in found.challenge.tried]
    assert [each.log_loss for each in again.challenge.tried] == [each.log_loss for each in found.challenge.tried]
    assert again.challenge.gain == found.challenge.gain

    # a day later it is trained; its files say what the input is, and where it is not known they are refused
    spec = specs_in_force(store, [BLIND], T + timedelta(hours=24), known_features(store))[BLIND.name]
    assert spec == found.challenge.challenger
    assert specs_in_force(store, [BLIND], T, known_features(store))[BLIND.name] == BLIND
    made = T - timedelta(hours=18)
    span = Window(made - timedelta(days=5), made - timedelta(days=1))
    trained = fit(rows_of(FeatureManager(store, made, known_features(store)), SYMBOLS, spec, span), spec, span, folds=2)
    saved = save_artifact(Path(store.folder) / "models", trained.model, trained.threshold, {})
    assert f"    {name} = {GOOD}" in (saved.path / "README.md").read_text(encoding="utf-8")
    loaded = load_artifact(saved.path)
    assert (loaded.model.spec, loaded.version) == (spec, trained.version)
    with pytest.raises(LookupError, match=name):
        FeatureManager(store, T).window(list(SYMBOLS), "5m", [name], T - timedelta(days=1), T)

    # as a feature it speaks of bars after its training, and what it says does not change with what comes later
    result = {
        "id": "x", "model_name": spec.name, "model_type": spec.type, "timestamp": made, "as_of": made,
        "timeframe": "5m", "version": saved.version, "status": "candidate",
        "artifact": f"{saved.path.parent.name}/{saved.version}",
    }  # fmt: skip
    with store.transaction("r") as tx:
        tx.append("ml.ml_model_results", pl.DataFrame([result]))
    said = feature_manager(store, T).window(list(SYMBOLS), "5m", ["model:direction"], T - timedelta(days=1), T)
    late = said.filter(pl.col("ts") + timedelta(minutes=5) > made)
    assert late["model:direction"].null_count() == 0
    assert late["model:direction"].n_unique() > 100
    noon = T - timedelta(hours=12)
    earlier = feature_manager(store, noon).window(list(SYMBOLS), "5m", ["model:direction"], T - timedelta(days=1), noon)
    known = said.filter(pl.col("ts") + timedelta(minutes=5) <= noon)
    assert known.select("symbol", "ts", "model:direction").equals(earlier.select("symbol", "ts", "model:direction"))


def test_hostile_text_is_refused_twice_and_the_search_goes_on_without(store: Warehouse, tmp_path: Path) -> None:
    with FakeMessages([written(HOSTILE)]) as server:
        found = answer(store, claude(store, server.url))
        questions = [got.question for got in server.got]
    assert len(questions) == 2
    assert HOSTILE.replace("<", "&lt;") in questions[1]
    assert not list(tmp_path.rglob("hostile"))
    rows = keep(store, found)
    assert rows["state"].to_list() == ["refused", "refused"]
    assert rows["name"].to_list() == [None, None]
    assert rows["decision"].to_list() == [None, None]
    assert "no new input: refused" in found.reason
    assert known_features(store) is standard_registry()
    assert found.challenge is not None
    assert not found.challenge.challenger.written


def test_a_look_ahead_goes_back_once_and_what_is_put_right_is_taken(asked: Warehouse) -> None:
    found, questions = ask(asked, written(PEEKING), written(GOOD))
    assert [each.state for each in found.proposed] == ["refused", "sound"]
    assert "looks ahead" in found.proposed[0].reason
    assert "looks ahead" in questions[1]
    assert found.proposed[1].attempt == 2


def test_a_symbol_that_is_not_traded_here_is_refused(asked: Warehouse) -> None:
    found, _ = ask(asked, written('where(f["DOGE-USDT:returns"] > 0, 1, 0) + f.rsi_14 / 100'), written(GOOD))
    assert "DOGE-USDT" in found.proposed[0].reason
    assert found.proposed[1].state == "sound"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([fake.prose()], "invalid"),
        ([fake.schema_violation()], "invalid"),
        ([fake.refusal()], "refusal"),
        ([fake.cut_off()], "max_tokens"),
        ([fake.error(401, "authentication_error")], "rejected"),
    ],
)
def test_without_an_answer_the_reason_stands_in_its_place(asked: Warehouse, script: list[Sent], said: str) -> None:
    found, _ = ask(asked, *script)
    assert [each.state for each in found.proposed] == ["not run"]
    assert found.proposed[0].reason.startswith(said)
    assert found.inputs == {}


def test_without_a_key_the_cycle_goes_on_and_says_so(store: Warehouse) -> None:
    found = answer(store, claude(store, key=None))
    assert "no new input: no_key" in found.reason
    assert keep(store, found)["state"].to_list() == ["not run"]


def test_the_question_tells_nothing_of_the_days_that_judge_the_challenger(asked: Warehouse) -> None:
    found, questions = ask(asked, written("f.close - f.open"), written(GOOD))
    assert "unit of prices" in found.proposed[0].reason
    assert found.proposed[0].instead_of == BLIND.inputs
    first = questions[0]
    assert "-0.125" in first
    assert "-0.375" not in first
    assert f"{T - timedelta(days=4):%Y-%m-%d}" in first
    for days in (1, 2):
        assert f"{T - timedelta(days=days):%Y-%m-%d}" not in first
    assert json.dumps(found.proposed[1].instead_of) == json.dumps(BLIND.inputs)


def test_too_little_history_asks_nobody(store: Warehouse) -> None:
    early = T - timedelta(hours=12)
    asker = LlmSession(claude(store).claude, early, "run")
    found = answer_drift(store, SYMBOLS, {BLIND.name: BLIND}, early, budget=2, asker=asker)
    assert "there was no search" in found[0].reason
    assert asker.asked == 0


def test_a_specification_with_a_stray_text_is_refused() -> None:
    known = ModelSpec.from_json({**BLIND.to_json(), "inputs": ["hour_sin"]})
    assert known.rests_on == ("hour_sin",)
    assert "written" not in known.to_json()
    with pytest.raises(ModelError, match="no input"):
        ModelSpec.from_json({**BLIND.to_json(), "written": {"written_0": {"text": "f.returns", "reads": ["returns"]}}})


def step_of(job: str) -> Step:
    return next(each for each in CADENCES if each.job == job).step(AS_OF)


@pytest.mark.slow
def test_the_cycle_asks_stores_and_reports_and_made_again_needs_no_key(
    done: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, name = done.warehouse, "direction_60m"
    test = {"kind": "model", "name": name, "version": "v", "activated_at": AS_OF, "metric": "accuracy", "days": 8.0}
    rows = [
        {**test, "as_of": AS_OF - timedelta(days=days), "decision": "drift", "reason": "planted"} for days in (1, 2)
    ]
    with store.transaction("planted") as tx:
        tx.append("research.drift_tests", pl.DataFrame(rows).with_columns(pl.col("as_of", "activated_at").cast(TS)))

    def made() -> dict[str, pl.DataFrame]:
        result = done.defs.resolve_job_def(ML_CYCLE).execute_in_process(
            instance=done.instance, partition_key="2026-03-13-00:00", run_config=CONSOLE,
            asset_selection=[dg.AssetKey("model_tuning")],
        )  # fmt: skip
        assert result.success
        return {each: content(store, each) for each in ("ml.written_inputs", "ml.model_tuning", "research.trials")}

    with FakeMessages([written(PEEKING), written("zscore(f.returns, 12) / 3")]) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", server.key)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        first = made()
        assert len(server.got) == 2
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    again = made()
    for table, frame in first.items():
        assert differing(again[table], frame) == [], table
    answers = first["ml.written_inputs"]
    assert answers["state"].to_list() == ["refused", "sound"], answers["reason"].to_list()
    # made again alone, by a run of its own: who makes the cycle's report again leaves these rows out, too
    again_by = store.read("SELECT DISTINCT run_id FROM ml.written_inputs").item()
    assert again_by in writers(store, store.snapshot_id(), step_of(ML_CYCLE))
    told = report_data(store).of(models_section.SECTION)
    assert told["name"].to_list() == [name]
    assert "written by claude" in told["reason"][0]
    searched = first["research.trials"].filter(pl.col("author") == "tuning")
    assert searched.height == first["ml.model_tuning"]["trials"][0]
    assert searched["version"].n_unique() == searched.height

    # adopted a day before, it is trained, joined and ranked like any other
    (name, text) = answers.filter(pl.col("state") == "sound").select("name", "text").row(0)
    plain = default_spec("direction", "60m", done.settings.seed)
    spec = replace(
        plain,
        inputs=(*plain.inputs, name),
        written={name: WrittenInput(text, reads_of(written_feature(text, "x")))},
    )
    row = store.read("SELECT * EXCLUDE (run_id) FROM ml.model_tuning").with_columns(
        pl.lit("adopted").alias("decision"),
        pl.lit("before").alias("id"),
        pl.lit(json.dumps(spec.to_json())).alias("spec"),
        pl.lit(AS_OF - timedelta(hours=24)).cast(TS).alias("as_of"),
    )
    with store.transaction("planted") as tx:
        tx.append("ml.model_tuning", row)
    trained = done.defs.resolve_job_def(ML_CYCLE).execute_in_process(
        instance=done.instance, partition_key="2026-03-13-00:00", run_config=CONSOLE,
        asset_selection=[dg.AssetKey(each) for each in ("direction_60m", "ensembles", "model_ranking")],
    )  # fmt: skip
    assert trained.success
    stored = store.read("SELECT features_used, artifact FROM ml.ml_model_results WHERE model_name = 'direction_60m'")
    assert stored["features_used"][0].split(",") == list(spec.inputs)
    loaded = load_artifact(Path(store.folder) / "models" / ".versions" / stored["artifact"][0])
    assert loaded.model.spec == spec
    worth = store.read("SELECT feature FROM ml.feature_importance WHERE model_name = 'direction_60m'")["feature"]
    assert name in set(worth)
