"""Features: causal Polars expressions over candles, by name, and the manager that computes them.

Belongs here: the vocabulary of bars, the feature registry, the features, `FeatureManager`. Does not belong here:
labels (`model_zoo`), signals (`strategies`), anything that reads a database or a network.

Names are fetched from their modules on first use: whoever needs the vocabulary of bars alone (`features.bars`) does not
wait for the compiler behind the features.
"""

from typing import TYPE_CHECKING, Final

from features.front_door import front_door

if TYPE_CHECKING:
    from features.arrays import compute_arrays
    from features.definition import Definition, Kernel, feature, rolling
    from features.engine import compute
    from features.feature_manager import FeatureManager
    from features.loading import FeatureRefusedError, load_folder
    from features.registry import (
        STANDARD_SET,
        Registry,
        definition_hash,
        definitions_hash,
        dtype_of,
        standard_registry,
        warmup_bars,
    )

__all__ = [
    "STANDARD_SET",
    "Definition",
    "FeatureManager",
    "FeatureRefusedError",
    "Kernel",
    "Registry",
    "compute",
    "compute_arrays",
    "definition_hash",
    "definitions_hash",
    "dtype_of",
    "feature",
    "load_folder",
    "rolling",
    "standard_registry",
    "warmup_bars",
]

_HOMES: Final = {
    "Definition": "features.definition",
    "FeatureManager": "features.feature_manager",
    "FeatureRefusedError": "features.loading",
    "Kernel": "features.definition",
    "Registry": "features.registry",
    "STANDARD_SET": "features.registry",
    "compute": "features.engine",
    "compute_arrays": "features.arrays",
    "definition_hash": "features.registry",
    "definitions_hash": "features.registry",
    "dtype_of": "features.registry",
    "feature": "features.definition",
    "load_folder": "features.loading",
    "rolling": "features.definition",
    "standard_registry": "features.registry",
    "warmup_bars": "features.registry",
}

__getattr__: Final = front_door(__name__, _HOMES)
