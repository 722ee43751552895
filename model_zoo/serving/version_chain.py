"""Version chain: the versions of a model as one strategy, each from its training until the next version.

Belongs here: joining versions of one model or ensemble into a single strategy. Does not belong here:
training them, which versions there are (the warehouse's ledger).
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from backtester.evaluation.evaluate import StrategyLike
from features.bars import Timeframe
from model_zoo.models.base import ModelError


class VersionChain:
    """Versions of one model or ensemble, each in force from its as-of to the next one's.

    Parameters
    ----------
    parts : sequence of (datetime, StrategyLike)
        When each version came into force, ascending; all of one name and timeframe.

    Raises
    ------
    ModelError
        If there is none, or if they are of several names or timeframes.

    Notes
    -----
    No look-ahead: a bar is decided on by the version whose training had ended when the bar opened. A position is
    carried over from one version to the next.
    """

    lookback = 0

    def __init__(self, parts: Sequence[tuple[datetime, StrategyLike]]) -> None:
        ordered = sorted(parts, key=lambda part: part[0])
        if len({(part.name, part.timeframes) for _, part in ordered}) != 1:
            msg = f"pass versions of one model, not {', '.join(part.name for _, part in ordered) or 'none'}"
            raise ModelError(msg)
        self._parts = ordered
        self.name: str = ordered[0][1].name
        self.timeframes: tuple[Timeframe, ...] = ordered[0][1].timeframes

    @property
    def version(self) -> str:
        """Of the last one."""
        return str(getattr(self._parts[-1][1], "version", ""))

    @property
    def starts(self) -> list[datetime]:
        """When each version came into force."""
        return [start for start, _ in self._parts]

    @property
    def versions(self) -> list[str]:
        """The versions in order."""
        return [str(getattr(part, "version", "")) for _, part in self._parts]

    def version_at(self, moment: datetime) -> str:
        """Return the version in force at a moment; '' before the first."""
        begun = [version for start, version in zip(self.starts, self.versions, strict=True) if start <= moment]
        return begun[-1] if begun else ""

    def features(self, timeframe: Timeframe) -> list[str]:
        """Return the inputs of every version, each once."""
        return list(dict.fromkeys(name for _, part in self._parts for name in part.features(timeframe)))

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return each version's signals on its own bars.

        Raises
        ------
        ModelError
            If a bar opened before the first version was trained.
        """
        early = frame.filter(pl.col("ts") < self._parts[0][0])
        if early.height:
            msg = f"{self.name}: a bar of {early['ts'][0]} opened before its first version was trained"
            raise ModelError(msg)
        ends: list[datetime | None] = [*self.starts[1:], None]
        pieces = []
        for (start, part), end in zip(self._parts, ends, strict=True):
            own = frame.filter(pl.col("ts") >= start, True if end is None else pl.col("ts") < end)
            if own.height:
                pieces.append(part.signals(own))
        return pl.concat(pieces).sort("ts", maintain_order=True) if pieces else self._parts[-1][1].signals(frame)
