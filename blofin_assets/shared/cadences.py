"""The cadences: when each job runs, and one step of it.

Belongs here: names and times of jobs. Does not belong here: what is due (`scheduling.plan`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from blofin_assets.shared.partitions import DAY, EPOCH, day_key, half_day_key
from features.bars import floor_time

MARKET_DATA: Final = "market_data"


DEEP_HISTORY: Final = "deep_history"


STRATEGY_CYCLE: Final = "strategy_cycle"


ML_CYCLE: Final = "ml_cycle"


FORWARD: Final = "forward"


DRIFT: Final = "drift"


REPORT: Final = "report"


HALF_DAY: Final = timedelta(hours=12)


@dataclass(frozen=True)
class Step:
    """One run: a job over one partition key or an inclusive range of keys.

    Attributes
    ----------
    job, first_key, last_key
        Job and range of partitions; the keys are equal for one partition.
    as_of
        Nothing later than this may be read.
    """

    job: str
    first_key: str
    last_key: str
    as_of: datetime

    @property
    def run_key(self) -> str:
        """Name under which the daemon requests the step once: `<cycle>:<key>`.

        Market data for a day that is not over is due again with each hour, so its as-of is part of the name.
        """
        if self.job == MARKET_DATA:
            return f"{self.job}:{self.first_key}...{self.last_key}@{self.as_of:%Y-%m-%dT%H}"
        return f"{self.job}:{self.first_key}"


@dataclass(frozen=True)
class Cadence:
    """The schedule of a cycle: its as-of times are `EPOCH + k * every`.

    Attributes
    ----------
    job
        Name of the Dagster job.
    every
        Time between two as-of times.
    catch_up
        Number of missed as-of times that are caught up after downtime; older ones are recorded as skipped.
    in_order
        Whether each cycle depends on its predecessor, so that none is caught up once a later one is done.
    """

    job: str
    every: timedelta
    catch_up: int
    in_order: bool = False

    def floor(self, moment: datetime) -> datetime:
        """Return the last as-of that is not after `moment`."""
        return floor_time(moment, self.every, EPOCH)

    def key(self, as_of: datetime) -> str:
        """Return the partition key of an as-of. The report of day D is built at D+1 00:00 and named D."""
        if self.job == REPORT:
            return day_key(as_of - DAY)
        return half_day_key(as_of) if self.every == HALF_DAY else day_key(as_of)

    def step(self, as_of: datetime) -> Step:
        """Return the step at one of the as-of times."""
        key = self.key(as_of)
        return Step(self.job, key, key, as_of)


CADENCES: Final = (
    Cadence(STRATEGY_CYCLE, timedelta(hours=48), catch_up=3, in_order=True),
    Cadence(ML_CYCLE, HALF_DAY, catch_up=6, in_order=True),
    Cadence(FORWARD, HALF_DAY, catch_up=6),
    Cadence(DRIFT, DAY, catch_up=3),
    Cadence(REPORT, DAY, catch_up=7),
)
"""The cycles, in the order in which they run when they share an as-of."""


IN_ORDER: Final = frozenset(cadence.job for cadence in CADENCES if cadence.in_order)
"""Jobs whose keys run in order: each waits for earlier open ones."""


MARKET_CADENCE: Final = timedelta(hours=1)
"""Market data is brought up to the last full hour."""


DEEP_CADENCE: Final = DAY
"""Deep history and the universe are brought up to the last midnight."""
