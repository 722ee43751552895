"""The language of strategies: its words, what they compute, the strategy class and its signal.

Belongs here: everything that a strategy's text may name. Does not belong here: reading untrusted text
(`strategies.untrusted`), features (`features`).

The words are importable from here, which is what texts of strategies do.
"""

from strategies.language.across import across
from strategies.language.values import (
    LanguageError,
    Value,
    between,
    change,
    crossed_above,
    crossed_below,
    falling,
    happened,
    held,
    highest,
    lowest,
    maximum,
    mean,
    minimum,
    previous,
    rising,
    stdev,
    where,
    zscore,
)

__all__ = [
    "LanguageError",
    "Value",
    "across",
    "between",
    "change",
    "crossed_above",
    "crossed_below",
    "falling",
    "happened",
    "held",
    "highest",
    "lowest",
    "maximum",
    "mean",
    "minimum",
    "previous",
    "rising",
    "stdev",
    "where",
    "zscore",
]
