"""Models of this warehouse, loaded from their folders and verified by the stored fingerprint.

Belongs here: looking up fingerprints, caching loaded models. Does not belong here: reading a folder
(`model_zoo.serving.artifacts`), choosing models.
"""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from blofin_resources.warehouse import Warehouse
from model_zoo.serving.artifacts import Artifact, load_artifact, version_folder

FOLDER: Final = "models"
"""Folder of all models inside the warehouse."""

KEPT: Final = 256
"""Artifacts in memory, some 0.1 MB each: the versions of a week of all models that are in use."""

_RECORDED: Final = (
    "SELECT artifact, any_value(coalesce(fingerprint, version)) AS recorded FROM ml.ml_model_results "
    "WHERE artifact IS NOT NULL GROUP BY artifact ORDER BY artifact"
)


class StoredModels:
    """The models of a warehouse.

    Parameters
    ----------
    store : Warehouse
        Where fingerprints are stored.
    root : Path, optional
        Folder of all models; that of the warehouse if omitted.
    """

    def __init__(self, store: Warehouse, root: Path | None = None) -> None:
        self._store = store
        self.root = Path(store.folder) / FOLDER if root is None else root

    @cached_property
    def _recorded(self) -> dict[str, str]:
        return dict(self._store.read(_RECORDED).iter_rows())

    def named(self, artifact: str) -> Artifact:
        """Return the model of `ml.ml_model_results.artifact`, as `model_002/e25d0a399b4e`.

        Raises
        ------
        ModelError
            As `load_artifact`; also if the folder has another fingerprint than the stored one.
        """
        name, _, version = artifact.partition("/")
        return self.at(version_folder(self.root, name, version))

    def at(self, folder: Path) -> Artifact:
        """Return the model of a version's folder; see `named`."""
        return _read(folder, self._recorded.get(f"{folder.parent.name}/{folder.name}"))


@lru_cache(maxsize=KEPT)
def _read(folder: Path, recorded: str | None) -> Artifact:
    """Return an artifact; the files of a version never change, so each is read and verified once per process."""
    return load_artifact(folder, recorded)
