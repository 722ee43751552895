"""The stored models as a source of `model:` and `ensemble:` features.

Belongs here: finding the versions that spoke in a window, in the warehouse's tables and its folder of models. Does
not belong here: which version speaks at which bar (`model_zoo.asof`), what such a feature means (`features`).
"""

import functools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from blofin_assets.written_inputs import known_features
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe
from features.engine import needs
from model_zoo.artifacts import Artifact, load_artifact
from model_zoo.asof import STALE, Version, predict_as_of
from model_zoo.base import ModelError
from model_zoo.catalog import MODELS
from model_zoo.ensemble_files import ensemble_of
from model_zoo.ensembles import METHODS
from strategies.base import Strategy

_LOG = logging.getLogger(__name__)

FOLDER: Final = "models"
"""Folder of all models in the warehouse's."""

_MODELS: Final = (
    "SELECT as_of, artifact FROM ml.ml_model_results WHERE model_name = ? AND status <> 'rejected' "
    "AND as_of >= ? AND as_of < ? ORDER BY as_of"
)
_ENSEMBLES: Final = (
    "SELECT as_of, definition FROM ml.ml_ensembles WHERE ensemble_name = ? AND definition IS NOT NULL "
    "AND as_of >= ? AND as_of < ? ORDER BY as_of"
)


def predictions_for(
    readers: Iterable[Strategy],
    store: Warehouse,
    symbols: Sequence[str],
    as_of: datetime,
    days: Mapping[Timeframe, timedelta],
) -> dict[Timeframe, pl.DataFrame]:
    """Return what models said in the last days, of every prediction that one of the readers reads; mostly none.

    Parameters
    ----------
    readers : iterable of Strategy
        Which may read predictions.
    store, symbols, as_of
        Whose bars.
    days : mapping of Timeframe to timedelta
        How far back on each timeframe.
    """
    wanted: dict[Timeframe, set[str]] = {}
    for reader in readers:
        for own in reader.timeframes:
            for timeframe, names in needs(reader.features(own), own).predictions.items():
                wanted.setdefault(timeframe, set()).update(names)
    source = ModelledSource(store)
    return {
        timeframe: source.predictions(sorted(names), symbols, timeframe, as_of - days[timeframe], as_of)
        for timeframe, names in wanted.items()
    }


class ModelledSource:
    """A `features.bars.PredictionSource`: the warehouse's candles, and what its models say about them.

    Parameters
    ----------
    store : Warehouse
        Of the candles, the results and the folder of models.
    """

    def __init__(self, store: Warehouse) -> None:
        self._store = store
        self._root = Path(store.folder) / FOLDER

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """See `CandleSource.candles`."""
        return self._store.candles(symbols, timeframe, start, end)

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """See `CandleSource.last_candles`."""
        return self._store.last_candles(symbols, timeframe, as_of, count)

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """See `CandleSource.funding`."""
        return self._store.funding(symbols, start, end)

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `CandleSource.mark_candles`."""
        return self._store.mark_candles(symbols, start, end)

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """See `PredictionSource.predictions`.

        A stored version that cannot be loaded (its files are gone, or its features are defined differently today) says
        nothing; the log tells which and why.
        """
        manager = FeatureManager(self._store, end, known_features(self._store))
        found = pl.DataFrame(schema={"symbol": pl.String, "ts": pl.Datetime("us", "UTC")})
        for name in names:
            versions = self._versions(name, timeframe, start, end)
            said = predict_as_of(manager, versions, symbols, timeframe, start, end)
            column = said.select("symbol", "ts", pl.col("probability").alias(name))
            found = found.join(column, on=["symbol", "ts"], how="full", coalesce=True)
        return found.sort("symbol", "ts")

    def _versions(self, name: str, timeframe: Timeframe, start: datetime, end: datetime) -> list[Version]:
        kind, _, bare = name.partition(":")
        check_prediction(kind, bare)
        query = _MODELS if kind == "model" else _ENSEMBLES
        rows = self._store.read(query, [f"{bare}_{timeframe}", start - STALE, end])
        versions = []
        for as_of, made in rows.iter_rows():
            try:
                versions.append(self._model(as_of, made) if kind == "model" else self._ensemble(as_of, made))
            except ModelError as error:
                _LOG.warning("%s as of %s says nothing: %s", name, as_of, error)
        return versions

    def _model(self, as_of: datetime, artifact: str) -> Version:
        found = _loaded(self._root / ".versions" / artifact)
        return Version(as_of, found.model, found.model.spec.inputs)

    def _ensemble(self, as_of: datetime, definition: str) -> Version:
        found = ensemble_of(json.loads(definition), self._root, _loaded)
        return Version(as_of, found, tuple(found.features()))


@functools.lru_cache(maxsize=512)
def _loaded(path: Path) -> Artifact:
    """Return an artifact; a version's files never change, so each is read and checked once a process."""
    return load_artifact(path)


def check_prediction(kind: str, bare: str) -> None:
    """Refuse a name that no model will ever have.

    Parameters
    ----------
    kind : {'model', 'ensemble'}
        What stands before the colon.
    bare : str
        What stands behind it, as `direction` or `voting_direction_price`.

    Raises
    ------
    LookupError
        If there is no such model or ensemble; the message says which there are.
    """
    method = next((each for each in METHODS if bare.startswith(f"{each}_")), None)
    if kind == "model" and bare not in MODELS:
        msg = f"feature model:{bare}: no such model; there is {', '.join(f'model:{each}' for each in MODELS)}"
        raise LookupError(msg)
    members = bare.removeprefix(f"{method}_").split("_")
    if kind == "ensemble" and (method is None or not all(each in MODELS for each in members)):
        msg = f"feature ensemble:{bare}: no such ensemble; write a method and its members, as voting_direction_price"
        raise LookupError(msg)
