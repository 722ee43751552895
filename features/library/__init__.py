"""The features themselves, one module for each group.

Belongs here: formulas with their names, units, warm-ups, ranges and sources. Does not belong here: how they are
computed (`features.engine`), loops (`features.kernels`). A module's features are listed in the order of their code.
"""

from types import ModuleType
from typing import Final

from features.library import (
    custom,
    macd,
    momentum,
    oscillators,
    price,
    regime,
    trend,
    volatility,
    volume,
    volume_weighted,
)

MODULES: Final[tuple[ModuleType, ...]] = (
    price,
    volume,
    momentum,
    trend,
    volatility,
    macd,
    oscillators,
    volume_weighted,
    regime,
    custom,
)
"""In the order of `features.definition.GROUPS`."""
