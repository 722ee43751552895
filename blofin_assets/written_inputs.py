"""Written inputs on record: the registry that whoever computes a model's inputs needs.

Belongs here: reading the sound texts of `ml.written_inputs` as features. Does not belong here: asking for one and
judging it (`blofin_assets.evolution.inputs`), compiling (`strategies.written_features`).

A text is data: it is stored, and compiled anew from the allow-list by whoever computes it. Its name is the hash of its
text, so that a name means the same in every cycle, whatever was proposed since.
"""

import logging
from functools import lru_cache
from typing import Final

from blofin_resources.warehouse import Warehouse
from features.definition import Definition
from features.registry import Registry, standard_registry
from strategies.base import StrategyError
from strategies.language import LanguageError
from strategies.written_features import written_feature

_LOG = logging.getLogger(__name__)

_ON_RECORD: Final = "SELECT DISTINCT text FROM ml.written_inputs WHERE state = 'sound' ORDER BY text"


def known_features(store: Warehouse, *more: Definition) -> Registry:
    """Return the registered features and the written ones on record, and others.

    A text on record that the language does not take any more is unknown; the log says which and why.
    """
    known = _registry(tuple(store.read(_ON_RECORD)["text"]))
    names = {each.pattern for each in known}
    new = [each for each in more if each.pattern not in names]
    return known.extended(new) if new else known


@lru_cache(maxsize=8)
def _registry(texts: tuple[str, ...]) -> Registry:
    made: dict[str, Definition] = {}
    for text in texts:
        try:
            found = written_feature(text, "On record.")
        except (StrategyError, LanguageError) as error:
            _LOG.warning("the written input %r is unknown: %s", text, error)
            continue
        made[found.pattern] = found
    return standard_registry().extended(made.values()) if made else standard_registry()
