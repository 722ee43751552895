"""Members speak as one: by rules fitted before the holdout, within a budget, and as files that can be trusted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit

from blofin_assets.ml_cycle import ensembles as assets
from features.bars import FrameSource
from features.feature_manager import FeatureManager
from model_zoo.ensembles import (
    METHODS,
    Ensemble,
    EnsembleStrategy,
    Fitted,
    Member,
    Method,
    Rule,
    Tried,
    combinations,
    fit,
    search,
)
from model_zoo.models.base import ModelError, ModelSpec
from model_zoo.models.calibration import Calibration
from model_zoo.models.direction import DirectionModel
from model_zoo.models.momentum import MomentumModel
from model_zoo.models.price import PriceModel
from model_zoo.models.risk import RiskModel
from model_zoo.serving.artifacts import save_artifact
from model_zoo.serving.ensemble_artifacts import load_ensemble, save_ensembles
from model_zoo.serving.model_strategy import Threshold
from model_zoo.training.trainer import Trained, default_spec, train_cycle
from tests.model_zoo.conftest import SYMBOLS, MakeManager, T, candles

TYPES = ("direction", "momentum", "price")


def member_of(trained: Trained) -> Member:
    return Member(trained.model, trained.threshold, trained.version, trained.base_rate, trained.out_of_fold)


@pytest.fixture(scope="module")
def trained(manager_of: MakeManager) -> list[Trained]:
    manager = manager_of(0.9)
    return [train_cycle(manager, SYMBOLS, T, default_spec(name, "5m")) for name in TYPES]


@pytest.fixture(scope="module")
def members(trained: list[Trained]) -> list[Member]:
    return [member_of(each) for each in trained]


@pytest.fixture(scope="module")
def tried(manager_of: MakeManager, trained: list[Trained], members: list[Member]) -> list[Tried]:
    return search(manager_of(0.9), SYMBOLS, trained[0].holdout, members, budget=5)


def fake(kind: type[DirectionModel | MomentumModel], skill: float, seed: int, rows: int = 3_000) -> Member:
    """A member whose log-odds are `skill` times the truth's, and noise."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).normal(size=rows)
    up = np.random.default_rng(98).random(rows) < expit(truth)
    ts = pl.datetime_range(T - timedelta(minutes=5 * rows), T, "5m", closed="left", eager=True, time_unit="us")
    out_of_fold = pl.DataFrame(
        {
            "symbol": ["A"] * rows,
            "ts": ts,
            "probability": expit(skill * truth + 0.3 * rng.normal(size=rows)),
            "label_event": up,
            "label_return": np.where(up, 0.01, -0.01),
        }
    )
    model = kind(ModelSpec(kind.type, "5m", 12, ("returns",)))
    return Member(model, Threshold(0.1, 0.001, 50), "v", 0.5, out_of_fold)


def test_every_method_weighs_skill_above_noise() -> None:
    able, blind = fake(DirectionModel, 1.0, 1), fake(MomentumModel, 0.0, 2)
    for method in ("weighted_avg", "stacking"):
        ensemble, validation = fit([able, blind], method, 0.0016)
        assert ensemble.rule.weights[0] > 2 * ensemble.rule.weights[1]
        assert validation.better
    assert fit([able, blind], "voting", 0.0016)[1].better


def test_the_rules_are_what_they_say() -> None:
    said, distances = np.array([[0.6, 0.8], [0.3, 0.55], [0.5, np.nan]]), np.array([0.05, 0.1])
    mean = Rule("weighted_avg", (0.25, 0.75), Calibration()).apply(said, distances)
    assert mean[:2].tolist() == pytest.approx([0.75, 0.4875])
    votes = Rule("voting", (0.5, 0.5), Calibration(2.0, 0.0)).apply(said, distances)
    assert votes[:2].tolist() == pytest.approx([expit(2.0), expit(-1.0)])
    stack = Rule("stacking", (1.0, 0.5), Calibration(1.0, 0.1)).apply(said, distances)
    assert stack[:2] == pytest.approx(expit(logit(said[:2, 0]) + 0.5 * logit(said[:2, 1]) + 0.1))
    assert all(np.isnan(made[2]) for made in (mean, votes, stack))


def test_noise_gets_no_praise_from_being_fitted() -> None:
    """The weights are judged on the half that they were not fitted on."""
    blind = [fake(DirectionModel, 0.0, 1), fake(MomentumModel, 0.0, 2)]
    assert not any(fit(blind, method, 0.0016)[1].better for method in METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_what_holds_in_one_half_alone_promises_nothing(method: Method) -> None:
    """Right before the middle and wrong after it: fitted across the whole it would look harmless."""

    def turned(member: Member) -> Member:
        half = pl.int_range(pl.len()) < pl.len() // 2
        said = pl.when(half).then("probability").otherwise(1 - pl.col("probability"))
        return replace(member, out_of_fold=member.out_of_fold.with_columns(said))

    _, validation = fit([turned(fake(DirectionModel, 2.0, 1)), turned(fake(MomentumModel, 2.0, 2))], method, 0.0016)
    assert (validation.log_loss_gain or 0) < -0.05


def test_the_threshold_knows_the_costs(members: list[Member], tried: list[Tried]) -> None:
    able = [fake(DirectionModel, 1.0, 1), fake(MomentumModel, 1.0, 2)]
    assert fit(able, "stacking", 0.0)[0].threshold.pays
    assert not fit(able, "stacking", 0.02)[0].threshold.pays
    first = tried[0].ensemble
    again = fit(
        [each for each in members if each.name in {own.name for own in first.members}], first.rule.method, 0.0016
    )
    assert again[0].threshold == first.threshold


def test_only_directional_models_of_one_timeframe_are_joined(members: list[Member]) -> None:
    groups = combinations(members)
    assert [len(group) for group in groups] == [2, 2, 2, 3]
    rule, threshold = Rule("weighted_avg", (0.5, 0.5), Calibration()), Threshold(0.1, 0, 0)
    with pytest.raises(ModelError, match="two or more directional"):
        Ensemble((members[0],), rule, threshold)
    risk = RiskModel(ModelSpec("risk", "5m", 12, ("returns",), scale="realized_volatility_288"))
    with pytest.raises(ModelError, match="direction_5m, risk_5m"):
        Ensemble((members[0], Member(risk, threshold, "v", 0.5, pl.DataFrame())), rule, threshold)
    hour = PriceModel(ModelSpec("price", "60m", 1, ("returns",), scale="realized_volatility_24"))
    assert combinations([members[0], Member(hour, threshold, "v", 0.5, pl.DataFrame())]) == []


def test_the_search_keeps_to_its_budget_and_order(tried: list[Tried]) -> None:
    assert len(tried) == 5
    gains = [each.validation.log_loss_gain or 0 for each in tried]
    assert gains == sorted(gains, reverse=True)
    assert len({each.ensemble.name for each in tried}) == len({each.ensemble.version for each in tried}) == 5
    assert all(each.metrics.better for each in tried)
    assert all(each.evaluation.version == each.ensemble.version for each in tried)
    assert all(each.predictions.height == 2 * 288 for each in tried)


def test_the_holdout_decides_nothing(tried: list[Tried], trained: list[Trained], members: list[Member]) -> None:
    changed = candles(0.9, 10).with_columns(
        pl.when(pl.col("ts") > T - timedelta(days=1)).then(pl.col(name) * 2).otherwise(name).alias(name)
        for name in ("open", "high", "low", "close")
    )
    manager = FeatureManager(FrameSource({"5m": changed}), T)
    other = search(manager, SYMBOLS, trained[0].holdout, members, budget=5)
    assert [each.ensemble.version for each in other] == [each.ensemble.version for each in tried]
    assert not other[0].predictions.equals(tried[0].predictions)


def test_it_trades_like_a_model(tried: list[Tried]) -> None:
    ensemble = tried[0].ensemble
    strategy = EnsembleStrategy(ensemble)
    assert strategy.features("5m") == ensemble.features()
    with pytest.raises(ValueError, match="trades on 5m"):
        strategy.features("1m")
    assert tried[0].evaluation.trades.height > 0
    assert tried[0].evaluation.trades["entry_ts"].min() >= T - timedelta(days=1)


def test_files_are_read_back_or_refused(
    tried: list[Tried], trained: list[Trained], manager_of: MakeManager, tmp_path: Path
) -> None:
    for each in trained:
        save_artifact(tmp_path, each.model, each.threshold, each.metadata())
    paths = save_ensembles(tmp_path, tried[:3], T)
    assert [path.name for path in paths] == ["ensemble_001.json", "ensemble_002.json", "ensemble_003.json"]
    frame = manager_of(0.9).window(list(SYMBOLS), "5m", tried[0].ensemble.features(), T - timedelta(hours=5), T)
    for path, each in zip(paths, tried, strict=False):
        loaded = load_ensemble(path)
        assert (loaded.name, loaded.version) == (each.ensemble.name, each.ensemble.version)
        assert loaded.predict(frame).equals(each.ensemble.predict(frame))
    stored = json.loads(paths[0].read_text())
    assert set(stored["models"]) <= {"model_002", "model_008", "model_011"}
    assert sum(stored["weights"]) > 0
    results = json.loads((tmp_path / "ensembles" / "ensemble_001_results.json").read_text())
    assert results["backtest"]["trades"] == tried[0].evaluation.trades.height

    save_ensembles(tmp_path, tried[:1], T)
    assert sorted(path.name for path in (tmp_path / "ensembles").iterdir()) == [
        "ensemble_001.json",
        "ensemble_001_results.json",
    ]
    paths[0].write_text(json.dumps(stored | {"weights": [9.0] * len(stored["weights"])}))
    with pytest.raises(ModelError, match="has changed since"):
        load_ensemble(paths[0])
    paths[0].write_text("{}")
    with pytest.raises(ModelError, match="written by other software"):
        load_ensemble(paths[0])
    with pytest.raises(ModelError, match="not readable"):
        load_ensemble(tmp_path / "none.json")


def test_one_ensemble_that_fails_leaves_the_others_as_they_are(
    manager_of: MakeManager,
    trained: list[Trained],
    members: list[Member],
    tried: list[Tried],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, lost = Ensemble.predict, tried[0].ensemble.name

    def predict(self: Ensemble, frame: pl.DataFrame) -> pl.Series:
        if self.name == lost:
            raise OverflowError(lost)
        return real(self, frame)

    def unfit(group: Sequence[Member], method: Method, *others: Any) -> Fitted:
        if method == "voting":
            raise ModelError(method)
        return fit(group, method, *others)

    monkeypatch.setattr(Ensemble, "predict", predict)
    monkeypatch.setattr(assets, "fit", unfit)
    found, failed = assets.searched(manager_of(0.9), SYMBOLS, trained[0].holdout, members, 0)
    voted = {f"voting of {', '.join(each.name for each in group)}": "voting" for group in combinations(members)}
    assert failed == voted | {lost: f"OverflowError: {lost}"}
    assert found
    same = {each.ensemble.name: each for each in tried}
    for each in found:
        assert each.ensemble.name != lost
        if each.ensemble.name in same:
            assert each.metrics == same[each.ensemble.name].metrics
