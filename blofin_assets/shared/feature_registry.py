"""The registry of features, including the stored inputs that Claude wrote for models.

Belongs here: reading the sound texts of `ml.written_inputs` as features. Does not belong here: requesting and
validating one (`blofin_assets.ml_cycle.llm_features`), compiling (`strategies.untrusted.feature_compiler`).

A text is data: it is stored, and compiled from the allow-list each time it is used. Its name is the hash of its text,
so a name means the same in every cycle.
"""

import logging
from functools import lru_cache
from typing import Final

from blofin_resources.warehouse import Warehouse
from features.definition import Definition
from features.registry import Registry, standard_registry
from strategies.language.strategy import StrategyError
from strategies.language.values import LanguageError
from strategies.untrusted.feature_compiler import written_feature

_LOG = logging.getLogger(__name__)

_ON_RECORD: Final = "SELECT DISTINCT text FROM ml.written_inputs WHERE state = 'sound' ORDER BY text"


def known_features(store: Warehouse, *more: Definition) -> Registry:
    """Return the standard features, the stored written ones, and others.

    A stored text that no longer compiles is left out, with a warning in the log.
    """
    registry = _registry(tuple(store.read(_ON_RECORD)["text"]))
    names = {definition.pattern for definition in registry}
    new = [definition for definition in more if definition.pattern not in names]
    return registry.extended(new) if new else registry


@lru_cache(maxsize=8)
def _registry(texts: tuple[str, ...]) -> Registry:
    definitions: dict[str, Definition] = {}
    for text in texts:
        try:
            definition = written_feature(text, "On record.")
        except (StrategyError, LanguageError) as error:
            _LOG.warning("the written input %r is unknown: %s", text, error)
            continue
        definitions[definition.pattern] = definition
    return standard_registry().extended(definitions.values()) if definitions else standard_registry()
