"""Names, windows and inputs that all assets of the ML cycle share.

Belongs here: constants, and market data that a run reads once. Does not belong here: assets, rows.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from blofin_assets.shared.candle_cache import CachedCandleSource
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.feature_registry import known_features
from blofin_resources.warehouse import Warehouse
from features import FeatureManager

GROUP: Final = "models"


WINDOW: Final = timedelta(days=8)
"""Training and holdout together."""


ACTIVE: Final = 5
"""Number of active models; the rank alone decides."""


ACTIVE_ENSEMBLES: Final = 3
"""Number of active ensembles; the rank alone decides."""


STEPS_BACK: Final = 16
"""Length of the window, eight days, in steps of the 12-hour grid."""


@dataclass(frozen=True, eq=False)
class CycleInputs:
    """Inputs of all models of a cycle, read once because they are trained in one process."""

    snapshot: int
    manager: FeatureManager


@lru_cache(maxsize=1)
def read_once(store: Warehouse, symbols: tuple[str, ...], as_of: datetime, _run_id: str) -> CycleInputs:
    """Return the inputs of a run, read once; refuse a cycle without market data.

    Parameters
    ----------
    store : Warehouse
        Where market data is stored.
    symbols : tuple of str
        Symbols of the cycle.
    as_of : datetime
        As-of of the cycle.
    _run_id : str
        The run; another run reads the data again.

    Returns
    -------
    CycleInputs
        Shared by the assets of the run.
    """
    require_market_data(store, symbols, as_of - WINDOW, as_of)
    snapshot = store.snapshot_id()
    return CycleInputs(snapshot, FeatureManager(CachedCandleSource(store, as_of), as_of, known_features(store)))
