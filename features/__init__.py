"""Features: causal Polars expressions over candles, by name, and the manager that computes them.

Belongs here: the vocabulary of bars, the feature registry, the features, `FeatureManager`. Does not belong here:
labels (`model_zoo`), signals (`strategies`), anything that reads a database or a network.
"""

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
