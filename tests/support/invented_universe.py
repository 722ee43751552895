"""An invented market of eight symbols for tests of books: gaps, flags, a late listing, funding at odd times."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA
from features.market import Market

START = datetime(2025, 6, 2, tzinfo=UTC)


def invented(hours: int = 400, symbols: int = 8, seed: int = 5, gaps: float = 0.01) -> Market:
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.004, hours)
    frames, payments = [], []
    for place in range(symbols):
        own = common * rng.uniform(0.5, 1.5) + rng.normal(0, 0.006, hours)
        close = rng.uniform(0.1, 300) * np.exp(np.cumsum(own))
        opens = np.concatenate([close[:1], close[:-1]])
        volume = rng.lognormal(6, 1, hours)
        frame = pl.DataFrame(
            {
                "symbol": [f"S{place}-USDT"] * hours,
                "ts": pl.datetime_range(START, START + timedelta(hours=hours - 1), "1h", eager=True),
                "open": opens,
                "high": np.maximum(opens, close) * (1 + rng.uniform(0, 0.003, hours)),
                "low": np.minimum(opens, close) * (1 - rng.uniform(0, 0.003, hours)),
                "close": close,
                "volume": volume,
                "quote_volume": volume * close,
                "contracts": None,
                "minutes": 60,
                "origin": "test",
                "flag": [None if drawn > gaps else "repaired" for drawn in rng.random(hours)],
            },
            schema=CANDLE_SCHEMA,
        )
        late = hours // 3 if place == symbols - 1 else 0
        frames.append(frame.filter(pl.Series((rng.random(hours) > gaps) & (np.arange(hours) >= late))))
        times = [START + timedelta(hours=int(hour)) for hour in range(0, hours, 8 if place % 2 else 4)]
        rates = rng.normal(1e-4, 2e-4, len(times))
        payments.append(pl.DataFrame({"symbol": f"S{place}-USDT", "ts": times, "rate": rates}, schema=FUNDING_SCHEMA))
    return Market({"60m": pl.concat(frames)}, pl.concat(payments))
