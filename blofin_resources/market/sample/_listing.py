"""What the synthetic exchange lists, and the constants of its world.

Belongs here: the table of instruments and their character. Does not belong here: how prices move (`_process`).
Figures are of the size seen on real perpetuals in 2025 (volatility a minute, correlation, turnover), rounded.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""The opening of the first minute of every instrument."""

MINUTES_A_DAY: Final = 1440
FUNDING_MINUTES: Final = 480
"""Funding is paid every 8 hours: 00:00, 08:00 and 16:00."""

LOTS_A_CONTRACT: Final = 10
"""Sizes are multiples of a tenth of a contract."""


class Listing(NamedTuple):
    """One instrument of the synthetic exchange.

    `price` at the epoch in USDT; `beta` the factor on the market's returns; `own` the standard deviation of its own
    1-minute returns in basis points; `turnover` mean USDT a minute; `contract` base units in a contract; `leverage`
    the highest allowed; `maintenance` margin as a fraction of notional.
    """

    price: float
    beta: float
    own: float
    turnover: float
    contract: float
    leverage: float
    maintenance: float


LISTINGS: Final[dict[str, Listing]] = {
    "ADA-USDT": Listing(0.75, 1.75, 6.5, 600_000, 100.0, 75, 0.01),
    "APT-USDT": Listing(5.0, 1.80, 7.5, 250_000, 1.0, 50, 0.015),
    "AVAX-USDT": Listing(22.0, 1.80, 7.0, 450_000, 1.0, 75, 0.01),
    "BCH-USDT": Listing(420.0, 1.45, 7.0, 350_000, 0.1, 75, 0.01),
    "BNB-USDT": Listing(640.0, 1.00, 3.5, 900_000, 0.01, 100, 0.008),
    "BTC-USDT": Listing(95_000.0, 1.00, 2.4, 13_000_000, 0.001, 150, 0.004),
    "DOGE-USDT": Listing(0.20, 1.90, 7.0, 1_400_000, 1_000.0, 75, 0.01),
    "DOT-USDT": Listing(4.2, 1.75, 6.5, 300_000, 1.0, 50, 0.015),
    "ETH-USDT": Listing(2_500.0, 1.75, 5.2, 11_000_000, 0.01, 150, 0.004),
    "LINK-USDT": Listing(14.5, 1.80, 6.5, 500_000, 1.0, 75, 0.01),
    "LTC-USDT": Listing(90.0, 1.40, 5.5, 450_000, 0.1, 75, 0.01),
    "NEAR-USDT": Listing(2.6, 1.85, 7.5, 300_000, 10.0, 50, 0.015),
    "SOL-USDT": Listing(150.0, 1.75, 5.8, 3_500_000, 1.0, 100, 0.006),
    "SUI-USDT": Listing(3.3, 1.90, 8.0, 900_000, 10.0, 75, 0.01),
    "TRX-USDT": Listing(0.27, 0.70, 3.5, 250_000, 100.0, 75, 0.01),
    "XRP-USDT": Listing(2.3, 1.50, 6.0, 2_200_000, 100.0, 100, 0.006),
}
"""The instruments by symbol, all listed from the epoch on."""
