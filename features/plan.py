"""The order in which features are computed.

Belongs here: from names to levels of features, each of which reads only what earlier levels made. Does not belong here:
computing them (`engine` for frames, `arrays` for arrays).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.definition import Feature
from features.predictions import SAID
from features.registry import BAR_COLUMNS, FUNDING_COLUMNS, POSITIONING_COLUMNS, Registry, Request


@dataclass(frozen=True)
class Plan:
    """Features in the order of their computation, each once.

    Attributes
    ----------
    levels : tuple of tuple of Feature
        Each becomes a column of its name; those of one level read only what earlier levels made.
    foreign : tuple of Request
        Columns of other symbols or timeframes, to be there before the first level.
    outputs : mapping of str to str
        Requested name to the column that holds it; names of candle columns are left out.
    windows : mapping of str to int
        Requested name to the bars that its definition reads.
    funding : bool
        Whether `FUNDING_COLUMNS` are read.
    positioning : bool
        Whether `POSITIONING_COLUMNS` are read.
    predictions : tuple of str
        Names of the predictions that are read, as `model:direction`.
    """

    levels: tuple[tuple[Feature, ...], ...]
    foreign: tuple[Request, ...]
    outputs: Mapping[str, str]
    windows: Mapping[str, int]
    funding: bool
    positioning: bool
    predictions: tuple[str, ...]

    @classmethod
    def of(cls, requests: Sequence[Request], registry: Registry) -> "Plan":
        """Order the computation of what is requested.

        Raises
        ------
        LookupError
            If a feature reads what does not exist.
        ValueError
            If a feature reads itself.
        """
        search = _Search(registry)
        columns = {}
        for request in requests:
            if request.name not in BAR_COLUMNS:
                # two names of one feature (stoch_k, stoch_k_14) are one column
                known = request if request.foreign else registry.request(request.feature.canonical)
                search.visit(known, ())
                columns[request.name] = known.name
        deepest = max(search.depth.values(), default=0)
        levels = tuple(
            tuple(search.features[name] for name, depth in search.depth.items() if depth == level)
            for level in range(1, deepest + 1)
        )
        own = {request.name: registry.window(request.feature) for request in requests if not request.foreign}
        funding = bool(search.plain & set(FUNDING_COLUMNS))
        positioning = bool(search.plain & set(POSITIONING_COLUMNS))
        said = tuple(sorted(column.removeprefix(SAID) for column in search.plain if column.startswith(SAID)))
        return cls(levels, tuple(search.foreign.values()), columns, own, funding, positioning, said)


class _Search:
    """State of the search through the features that others read."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.depth: dict[str, int] = {}
        self.features: dict[str, Feature] = {}
        self.foreign: dict[str, Request] = {}
        self.plain: set[str] = set()

    def visit(self, request: Request, path: tuple[str, ...]) -> int:
        """Note a request and all that it reads; return its level."""
        column, feature = request.name, request.feature
        if request.foreign:
            self.foreign[column] = request
            return 0
        if column in path:
            msg = f"feature {column!r} reads itself: {' -> '.join((*path, column))}"
            raise ValueError(msg)
        if column not in self.depth:
            found, plain = self.registry.reads(feature)
            self.plain.update(plain)
            below = [self.visit(read, (*path, column)) for read in found]
            self.features[column] = feature
            self.depth[column] = 1 + max(below, default=0)
        return self.depth[column]
