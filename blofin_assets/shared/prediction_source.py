"""The stored models as a source of `model:` and `ensemble:` features.

Belongs here: finding the versions that are valid in a window, in the warehouse's tables and its folder of models. Does
not belong here: which version predicts at which bar (`model_zoo.serving.point_in_time`), the definition of such
features (`features`).
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.stored_models import StoredModels
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length
from features.engine import needs
from model_zoo.ensembles import METHODS
from model_zoo.models.base import ModelError
from model_zoo.models.catalog import MODELS
from model_zoo.serving.ensemble_artifacts import ensemble_of
from model_zoo.serving.point_in_time import STALE, Version, at_closes, predict_as_of, spoken_on
from strategies.language.strategy import Strategy

_LOG = logging.getLogger(__name__)


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
    """Return the recent predictions that some strategies read; mostly none.

    Parameters
    ----------
    readers : iterable of Strategy
        Strategies that may read predictions.
    store : Warehouse
        Where candles and models are stored.
    symbols : sequence of str
        Symbols whose bars are predicted.
    as_of : datetime
        Nothing later is read (UTC).
    days : mapping of Timeframe to timedelta
        Length of history on each timeframe.

    Returns
    -------
    dict of Timeframe to DataFrame
        As `features.bars.PredictionSource.predictions` returns them.
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
    """A `features.bars.PredictionSource`: the warehouse's candles, and the predictions of its models.

    Parameters
    ----------
    store : Warehouse
        Where candles, results and the folder of models are.
    """

    def __init__(self, store: Warehouse) -> None:
        self._store = store
        self._models = StoredModels(store)

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

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `PositioningSource.positioning`."""
        return self._store.positioning(symbols, start, end)

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """See `PredictionSource.predictions`; on a timeframe without models, those of `spoken_on` predict.

        A stored version that cannot be loaded (its files are gone, or its features were redefined) gives no
        predictions; the log has the reason.
        """
        manager = FeatureManager(self._store, end, known_features(self._store))
        frame = pl.DataFrame(schema={"symbol": pl.String, "ts": pl.Datetime("us", "UTC")})
        own = spoken_on(timeframe)
        begin = start + bar_length(timeframe) - bar_length(own)
        for name in names:
            versions = self._versions(name, own, begin, end)
            predicted = at_closes(predict_as_of(manager, versions, symbols, own, begin, end), timeframe)
            column = predicted.select("symbol", "ts", pl.col("probability").alias(name))
            frame = frame.join(column, on=["symbol", "ts"], how="full", coalesce=True)
        return frame.sort("symbol", "ts")

    def _versions(self, name: str, timeframe: Timeframe, start: datetime, end: datetime) -> list[Version]:
        kind, _, bare = name.partition(":")
        check_prediction(kind, bare)
        query = _MODELS if kind == Kind.MODEL else _ENSEMBLES
        rows = self._store.read(query, [f"{bare}_{timeframe}", start - STALE, end])
        versions = []
        for as_of, content in rows.iter_rows():
            try:
                versions.append(self._model(as_of, content) if kind == Kind.MODEL else self._ensemble(as_of, content))
            except ModelError as error:
                _LOG.warning("%s as of %s gives no predictions: %s", name, as_of, error)
        return versions

    def _model(self, as_of: datetime, artifact: str) -> Version:
        model = self._models.named(artifact)
        return Version(as_of, model.model, model.model.spec.inputs)

    def _ensemble(self, as_of: datetime, definition: str) -> Version:
        ensemble = ensemble_of(json.loads(definition), self._models.root, self._models.at)
        return Version(as_of, ensemble, tuple(ensemble.features()))


def check_prediction(kind: str, bare: str) -> None:
    """Refuse the name of a model or ensemble that cannot exist.

    Parameters
    ----------
    kind : {'model', 'ensemble'}
        The part before the colon.
    bare : str
        The part after it, such as `direction` or `voting_direction_price`.

    Raises
    ------
    LookupError
        If there is no such model or ensemble; the message lists them.
    """
    method = next((method for method in METHODS if bare.startswith(f"{method}_")), None)
    if kind == Kind.MODEL and bare not in MODELS:
        msg = f"feature model:{bare}: no such model; there is {', '.join(f'model:{model}' for model in MODELS)}"
        raise LookupError(msg)
    members = bare.removeprefix(f"{method}_").split("_")
    if kind == Kind.ENSEMBLE and (method is None or not all(member in MODELS for member in members)):
        msg = f"feature ensemble:{bare}: no such ensemble; write a method and its members, as voting_direction_price"
        raise LookupError(msg)
