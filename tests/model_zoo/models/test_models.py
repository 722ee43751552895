"""Every model: it learns, it is the same again, it is read back as it was written, and nothing foreign is."""

import io
import json
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import skops.io

from model_zoo.models._scaling import LARGEST, Scaling
from model_zoo.models._skops_io import read_skops
from model_zoo.models.base import Model, ModelError, ModelSpec, Regressor
from model_zoo.models.catalog import MODELS, make
from model_zoo.models.momentum import MomentumModel
from model_zoo.models.price import PriceModel
from model_zoo.serving.artifacts import load_artifact, save_artifact, version_of
from model_zoo.serving.model_strategy import Threshold

THRESHOLD = Threshold(0.05, 0.001, 40)
TYPES = sorted(MODELS)


def rows(seed: int = 0, count: int = 1_200) -> pl.DataFrame:
    """Rows whose first input tells side and size of what follows; the second is noise, on quite another scale."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    ts = pl.select(pl.datetime(2025, 6, 1, time_zone="UTC") + pl.duration(minutes=pl.int_range(count) * 5)).to_series()
    gain = 0.002 * (x + rng.normal(size=count))
    size = 0.001 * np.exp(0.7 * x + 0.3 * rng.normal(size=count))
    return pl.DataFrame(
        {
            "symbol": ["A"] * count,
            "ts": ts,
            "returns": x,
            "rsi_14": 50 + 20 * rng.normal(size=count),
            "realized_volatility_288": [0.0005] * count,
            "flag": pl.Series([None] * count, dtype=pl.String),
            "label_return": gain,
            "label_up": gain > 0,
            "label_volatility": size / 2,
            "label_adverse": 4 * size,
            "label_known_at": ts.dt.offset_by("65m"),
        }
    )


def untrained(type_name: str, seed: int = 0) -> Model:
    scale = "realized_volatility_288" if issubclass(MODELS[type_name], Regressor) else ""
    return make(ModelSpec(type_name, "5m", 12, ("returns", "rsi_14"), seed, scale=scale))


@cache
def trained(type_name: str, seed: int = 0) -> Model:
    model = untrained(type_name, seed)
    model.train(rows())
    return model


@pytest.mark.parametrize("type_name", TYPES)
def test_it_learns_what_can_be_learned(type_name: str) -> None:
    model, fresh = trained(type_name), rows(1)
    event = model.with_targets(fresh)["label_event"].to_numpy()
    assert ((model.predict(fresh) > 0.5).to_numpy() == event).mean() > 0.65
    if isinstance(model, Regressor):
        truth = model.with_targets(fresh)["label_value"].to_numpy()
        assert np.corrcoef(model.predict_value(fresh).to_numpy(), truth)[0, 1] > 0.6


@pytest.mark.parametrize("type_name", TYPES)
def test_the_same_rows_and_seed_give_the_same_file(type_name: str) -> None:
    again = untrained(type_name)
    again.train(rows())
    assert version_of(again, THRESHOLD) == version_of(trained(type_name), THRESHOLD)
    other = untrained(type_name)
    other.train(rows(5))
    assert version_of(other, THRESHOLD) != version_of(trained(type_name), THRESHOLD)


@pytest.mark.parametrize("type_name", TYPES)
def test_what_is_written_is_read_and_predicts_the_same(type_name: str, tmp_path: Path) -> None:
    model = trained(type_name)
    saved = save_artifact(tmp_path, model, THRESHOLD, {"status": "candidate"})
    loaded = load_artifact(saved.path)
    assert loaded.version == saved.version
    assert loaded.model.predict(rows(2)).equals(model.predict(rows(2)))
    if isinstance(model, Regressor) and isinstance(loaded.model, Regressor):
        assert loaded.model.predict_value(rows(2)).equals(model.predict_value(rows(2)))
    for file in saved.path.iterdir():
        assert b"pickle" not in file.read_bytes().replace(b"without pickle", b"")


@pytest.mark.parametrize("type_name", TYPES)
def test_a_row_is_judged_by_itself(type_name: str) -> None:
    model, fresh = trained(type_name), rows(3, 50)
    whole = model.predict(fresh)
    assert model.predict(fresh.head(20)).to_numpy() == pytest.approx(whole.head(20).to_numpy(), rel=1e-12)
    assert model.predict(fresh.clear()).is_empty()
    unknown = fresh.with_columns(returns=pl.lit(None, pl.Float64))
    assert model.predict(unknown).null_count() == 0, "one input is still known"
    assert model.predict(unknown.with_columns(rsi_14=pl.lit(None, pl.Float64))).null_count() == 50


@pytest.mark.parametrize("type_name", TYPES)
def test_damaged_untrained_and_unknown_are_refused(type_name: str, tmp_path: Path) -> None:
    path = tmp_path / MODELS[type_name].file
    with pytest.raises(ModelError, match="not trained"):
        untrained(type_name).predict(rows())
    with pytest.raises(ModelError, match="not trained"):
        untrained(type_name).write(path)
    trained(type_name).write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="not a"):
        untrained(type_name).read(path)
    spec = ModelSpec(type_name, "5m", 12, ("returns",), hyper={"nonsense": 1}, scale="realized_volatility_288")
    with pytest.raises(ModelError, match="unknown hyper-parameter nonsense"):
        make(spec)
    trained(type_name).write(path)
    narrow = make(ModelSpec(type_name, "5m", 12, ("returns",), scale="realized_volatility_288"))
    with pytest.raises(ModelError, match="inputs"):
        narrow.read(path)


def test_a_regressor_without_a_scale_is_refused() -> None:
    with pytest.raises(ModelError, match="needs a scale"):
        PriceModel(ModelSpec("price", "5m", 12, ("returns",)))


def test_a_file_with_another_type_in_it_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    trained("risk").write(path)
    with pytest.raises(
        ModelError, match=r"holds sklearn\.ensemble\._forest\.RandomForestRegressor, which no model of this kind needs"
    ):
        untrained("momentum").read(path)
    path.write_bytes(skops.io.dumps([1, 2]))
    with pytest.raises(ModelError, match="not a skops file of anything: it is not a mapping"):
        read_skops(path, "anything", (), print)


def test_a_skops_file_holds_no_times_and_no_addresses(tmp_path: Path) -> None:
    trained("risk").write(tmp_path / "a.skops")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "a.skops").read_bytes())) as made:
        assert {each.date_time for each in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        numbers = [int(name.partition(".")[0]) for name in made.namelist() if name != "schema.json"]
        assert sorted(numbers) == list(range(len(numbers)))
        text = json.dumps(json.loads(made.read("schema.json")))
    assert str(id(trained("risk")))[:6] not in text


def test_scaling_is_of_the_training_rows_and_forgives_the_unknown() -> None:
    scaling = Scaling.of(np.array([[1.0, np.nan, 5.0], [3.0, np.nan, 5.0]]))
    got = scaling.apply(np.array([[2.0, 7.0, np.nan], [1e9, -1e9, 5.0]]))
    assert got.tolist() == [[0.0, LARGEST, 0.0], [LARGEST, -LARGEST, 0.0]]


def test_momentum_keeps_to_its_row_cap() -> None:
    small = MomentumModel(ModelSpec("momentum", "5m", 12, ("returns",), hyper={"most_rows": 100, "components": 500}))
    small.train(rows())
    assert np.isfinite(small.predict(rows()).to_numpy()).all()
