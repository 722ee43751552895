"""Trading costs, and the leverage and margin rules of an instrument.

Belongs here: fee and slippage rates, leverage limits and maintenance margin. Does not belong here: how they are
applied (`backtester.simulation.kernel`), what an exchange charges today (`market.instruments`).
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Self

LARGE_SHARE: Final = 0.01
"""Share of a bar's traded value above which fills at the bar's prices are doubtful."""


@dataclass(frozen=True)
class Costs:
    """Rates at which fills are charged.

    Parameters
    ----------
    taker_fee : float
        Fee on the notional of each fill, as a fraction (0.0006 is 0.06 %).
    maker_fee : float
        Fee of a resting order's fill if `maker_targets` is set, as a fraction; a rebate is negative.
    slippage : float
        Fraction by which every fill except a resting order's is worse than its reference price.
    maker_targets : bool
        Whether resting orders, which are targets and limit orders for entries, are charged at `maker_fee`.

    impact : float
        Slippage of a fill as large as all that its bar traded, beyond `slippage`; it grows with the square root of the
        fill's share of that volume. At 0 the size of a fill makes no difference.

    Raises
    ------
    ValueError
        If a rate is not finite, is 100 % or more, or if the taker fee, the slippage or the impact is negative.

    Examples
    --------
    >>> Costs(maker_targets=True).target_fee
    0.0002
    """

    taker_fee: float = 0.0006
    maker_fee: float = 0.0002
    slippage: float = 0.0002
    maker_targets: bool = False
    impact: float = 0.0

    def __post_init__(self) -> None:
        for name in ("taker_fee", "maker_fee", "slippage", "impact"):
            rate = getattr(self, name)
            lowest = -1.0 if name == "maker_fee" else 0.0
            if not (math.isfinite(rate) and lowest <= rate < 1.0):
                msg = f"{name} is {rate!r}; pass a fraction of the notional from {lowest:g} to below 1, e.g. 0.0006"
                raise ValueError(msg)

    @property
    def target_fee(self) -> float:
        """Fee of a fill at a target, as a fraction of its notional."""
        return self.maker_fee if self.maker_targets else self.taker_fee

    @property
    def round_trip(self) -> float:
        """Fees and slippage of entry and exit, as a fraction of notional."""
        return 2 * (self.taker_fee + self.slippage)

    @classmethod
    def free(cls) -> Self:
        """Return costs of zero: what a signal would earn if trading were free."""
        return cls(taker_fee=0.0, maker_fee=0.0, slippage=0.0)


@dataclass(frozen=True)
class MarginRules:
    """Leverage that an instrument allows and when a position is liquidated: a short, or any above 1x.

    Parameters
    ----------
    max_leverage : float
        Highest leverage, 1 or more; higher leverage is reduced to it.
    tiers : tuple of (float, float)
        Maintenance-margin tiers, ascending: (largest notional in quote currency, maintenance rate as a fraction).
        The first tier that holds the entry's notional counts, the last one for everything above.
    min_quantity : float
        Smallest order in base units, 0 if unknown. Only lanes that are `rounded` leave out what is below it;
        `backtester.evaluation.robustness` counts what is.
    lot : float
        What quantities of `rounded` lanes are whole multiples of, in base units, 0 if unknown.

    Raises
    ------
    ValueError
        If a number is out of range, the tiers are empty or do not ascend.
    """

    max_leverage: float = 50.0
    tiers: tuple[tuple[float, float], ...] = field(default=((math.inf, 0.005),))
    min_quantity: float = 0.0
    lot: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_leverage) and self.max_leverage >= 1.0):
            msg = f"max_leverage is {self.max_leverage!r}; pass 1 or more"
            raise ValueError(msg)
        for name in ("min_quantity", "lot"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                msg = f"{name} is {value!r}; pass base units, 0 if unknown"
                raise ValueError(msg)
        caps = [cap for cap, _ in self.tiers]
        if not caps or any(not low < high for low, high in pairwise(caps)):
            msg = f"maintenance tiers {self.tiers!r} are empty or do not ascend by notional"
            raise ValueError(msg)
        for cap, rate in self.tiers:
            if not (cap > 0.0 and 0.0 <= rate < 1.0):
                msg = f"maintenance tier {(cap, rate)!r} needs a positive notional and a rate from 0 to below 1"
                raise ValueError(msg)

    def highest_rate(self) -> float:
        """Return the largest maintenance rate of any tier, as a fraction."""
        return max(rate for _, rate in self.tiers)
