"""The stored values of kinds, authors and states, each written once.

Belongs here: values that two or more stages use. Does not belong here: values of one domain package, such as
`backtester.statistics.drift.Decision`, `backtester.forward_ledger.Attribution` or `strategies.quotas.Stage`.

Each member is its stored value: a row, a parameter of a query and a literal of polars take it as plain text.
"""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What is scored, ranked and traded."""

    STRATEGY = "strategy"
    MODEL = "model"
    ENSEMBLE = "ensemble"
    BOOK = "book"


FEATURE: Final = "feature"
"""Kind of a trial alone: a look at the returns after a feature's values. A feature is neither ranked nor traded."""


def by_version(kind: str) -> bool:
    """Return whether what is of a kind is followed by its version; models and ensembles are by their name."""
    return kind in {Kind.STRATEGY, Kind.BOOK}


class Author(StrEnum):
    """Who wrote a strategy, chose its parameters, or asked for a trial."""

    LIBRARY = "library"
    SEARCH = "search"
    CLAUDE = "claude"
    TUNER = "tuner"
    DRIFT = "drift"
    """Author of the challengers that drift retuning adds to the proposals of the next cycle."""
    USER = "user"
    ML_CYCLE = "ml_cycle"
    MODEL_TUNING = "tuning"
    """The search for another specification of a model that drifts."""
    RANKING = "ranking"


class Source(StrEnum):
    """Where the code of a strategy comes from."""

    LIBRARY = "library"
    TUNED = "tuned"
    DESIGNED = "designed"


class LifecycleState(StrEnum):
    """State of a strategy; of what is ranked, active or archived."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    TUNING = "tuning"
    ARCHIVED = "archived"
    REFUSED = "refused"


class LifecycleNote(StrEnum):
    """An event in the life of a strategy that starts no state."""

    VALIDATED = "validated"
    DUPLICATE = "repeats"
    """Its positions on the holdout were those of another strategy: it is not ranked."""
    FAILED = "failed"
    """It could not be run on the holdout: it is not ranked."""


class ProposalState(StrEnum):
    """State of a proposal, or of a written input of a model."""

    SOUND = "sound"
    """It may take the holdout."""
    REFUSED = "refused"
    EXHAUSTED = "exhausted"
    """There is no proposal because all attempts are used up: the strategy is archived."""
    NOT_RUN = "not run"
    """There was no answer."""


class StageState(StrEnum):
    """How the run of a designer or of the tuner ended."""

    DONE = "done"
    PARTIAL = "partial"
    NOT_RUN = "not run"


class CycleState(StrEnum):
    """State of one as-of of a job."""

    DUE = "due"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class ForwardState(StrEnum):
    """State of a run of the forward ledger."""

    TRACKED = "tracked"
    LOST = "lost"


class RetuneState(StrEnum):
    """Outcome of a request of a drift check."""

    TUNED = "tuned"
    UNCHANGED = "unchanged"
    AWAITS_CYCLE = "awaits cycle"
    NOT_RUN = "not run"


class DriftAction(StrEnum):
    """Response to a model that drifts."""

    RETRAINED = "retrained"
    SEARCHED = "searched"


class Choice(StrEnum):
    """Whether a model's challenger takes the champion's place."""

    ADOPTED = "adopted"
    KEPT = "kept"


class Category(StrEnum):
    """Subject of a lesson."""

    PERFORMANCE = "performance"
    LESSON = "lesson"
    RECOMMENDATION = "recommendation"
    CHANGE = "change"


class Purpose(StrEnum):
    """Window on which a trial was run."""

    HOLDOUT = "holdout"
    """Out of sample: it decides the rank."""
    SEARCH = "search"
    """In sample: it decides which strategies take the holdout."""
