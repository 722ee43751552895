"""The code version of a result: a short hash of the project's files and of the libraries that compute.

Belongs here: where the project's files are, and which files and libraries the hash covers. Does not belong here:
versions of strategies, models and features, which are hashes of their own code.
"""

import hashlib
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[2]
_INSTALLED: Final = Path(sys.prefix) / "share" / "blofin"
"""Where a wheel puts the files of the project's root."""

_PACKAGES: Final = (
    "features", "backtester", "strategies", "model_zoo", "blofin_resources", "blofin_assets", "warehouse/schema",
    "warehouse/views",
)  # fmt: skip
_SUFFIXES: Final = frozenset({".py", ".sql", ".j2", ".md", ".toml"})
_LIBRARIES: Final = (
    "arch", "duckdb", "lightgbm", "numba", "numpy", "optuna", "polars", "scikit-learn", "scipy", "skfolio", "torch",
)  # fmt: skip
"""Libraries whose versions may change a number."""


def root_file(name: str) -> Path:
    """Return the path of a file of the project's root, of a checkout or as installed from a wheel."""
    return PROJECT / name if (PROJECT / name).exists() else _INSTALLED / name


@cache
def code_version() -> str:
    """Return 16 hexadecimal digits that change with any file of the project that computes, and with the libraries."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((PROJECT / package).rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                digest.update(f"{path.relative_to(PROJECT).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    for name in _LIBRARIES:
        digest.update(f"{name} {_installed(name)}\0".encode())
    return digest.hexdigest()[:16]


def _installed(library: str) -> str:
    try:
        return version(library)
    except ModuleNotFoundError:
        return "absent"
