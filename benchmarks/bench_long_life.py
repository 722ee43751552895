"""How much a process that lives for a month grows: reads and commits of a month in one process.

Run ``make bench`` or ``python benchmarks/bench_long_life.py [days]``. Each simulated day has the commits and reads of a
day under the daemon: 170 small commits, each followed by three reads. It is measured as it is, and with a connection
that is never renewed (`RENEW_AFTER` of the warehouse). Target: less than 200 MB in 30 days, which take some minutes;
5 unless told.
"""

import gc
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from records import record

from blofin_resources.warehouse import Warehouse, _warehouse

START = datetime(2025, 5, 30, tzinfo=UTC)
COMMITS = 170
ROWS = 30
READS = (
    "SELECT count(*) FROM market.candles_1m WHERE ts >= (SELECT max(ts) - INTERVAL 1 DAY FROM market.candles_1m)",
    "SELECT symbol, max(ts) AS ts FROM market.candles_1m GROUP BY symbol",
    "SELECT * FROM market.candles_1m ORDER BY ts DESC LIMIT 100",
)


def resident() -> float:
    """Return the memory in use now, MB."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def bars(first: int) -> pl.DataFrame:
    times = [START + timedelta(minutes=first + minute) for minute in range(ROWS)]
    frame = pl.DataFrame({"symbol": "BTC-USDT", "ts": times}, schema_overrides={"ts": pl.Datetime("us", "UTC")})
    prices = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 1.0}
    return frame.with_columns(pl.lit(value).alias(name) for name, value in prices.items()).with_columns(
        minutes=1, origin=pl.lit("sample")
    )


def lived(days: int) -> list[float]:
    """Return the growth of this process at the end of each day, MB."""
    grown = []
    with tempfile.TemporaryDirectory() as folder, Warehouse.open(Path(folder) / "w", market="sample") as store:
        begin = 0.0
        for commit in range(COMMITS * (days + 1)):
            with store.transaction(f"run {commit}") as tx:
                tx.append("market.candles_1m", bars(commit * ROWS))
            for query in READS:
                store.read(query)
            if (commit + 1) % COMMITS == 0:
                now = resident()
                begin = begin or now  # the first day warms up
                grown.append(now - begin)
    return grown[1:]


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name, after in (("renewed", _warehouse.RENEW_AFTER), ("kept", sys.maxsize)):
        _warehouse.RENEW_AFTER = after  # type: ignore[misc]
        grown = lived(days)
        each = ", ".join(f"{value:.0f}" for value in grown[:: max(1, len(grown) // 6)])
        print(f"connection {name:<8} {days} days: {max(grown):6.0f} MB at most, {grown[-1]:6.0f} at the end ({each})")
        record(f"growth over {days} days, connection {name}", max(grown), "MB", limit="< 200 in 30 days")


if __name__ == "__main__":
    main()
