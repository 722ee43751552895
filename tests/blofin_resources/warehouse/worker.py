"""Another process at work on a warehouse: run by the tests in `test_processes`, not a test itself.

Usage: worker.py write|days|hours|forever|analyse FOLDER [SYMBOL]
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from blofin_resources.warehouse import Warehouse

START = datetime(2025, 5, 30, tzinfo=UTC)
DAYS = 3
COMMITS = 8
HOURS = 16


def day_of_bars(day: int, symbol: str) -> pl.DataFrame:
    """Return the same day of candles every time."""
    first = START + timedelta(days=day)
    price = 100.0 + day
    return pl.DataFrame(
        {
            "symbol": symbol,
            "ts": [first + timedelta(minutes=minute) for minute in range(1440)],
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "minutes": 1,
            "origin": "sample",
        }
    )


def coverage(day: int, symbol: str) -> pl.DataFrame:
    """Return the coverage row that is committed together with a day of candles."""
    first = START + timedelta(days=day)
    through = first + timedelta(days=1)
    return pl.DataFrame(
        {"dataset": "candles_1m", "symbol": symbol, "day": [first.date()], "through": [through], "rows": 1440}
    )


def write_days(warehouse: Warehouse, symbol: str) -> None:
    """Write each day in one commit of two tables; done again, it writes what is missing."""
    for day in range(DAYS):
        first = START + timedelta(days=day)
        with warehouse.transaction(f"{symbol}-{day}") as tx:
            tx.replace("market.candles_1m", day_of_bars(day, symbol), first, first + timedelta(days=1), symbol=symbol)
            tx.replace("market.coverage", coverage(day, symbol), day=first.date(), symbol=symbol)


def write_events(warehouse: Warehouse, name: str) -> None:
    """Make many small commits to a table that the other processes write to as well."""
    for number in range(COMMITS):
        row = {"cycle": "x", "key": f"{name}-{number}", "as_of": START, "state": "done", "happened_at": START}
        with warehouse.transaction(f"{name}-{number}") as tx:
            tx.append("research.cycle_history", pl.DataFrame([row]))


def write_hours(warehouse: Warehouse, symbol: str) -> None:
    """Write hour by hour, as a warehouse that is kept up to date is written, each time revising the hour before."""
    for hour in range(HOURS):
        first = START + timedelta(hours=hour)
        bars = day_of_bars(0, symbol).with_columns(pl.col("ts") + timedelta(hours=hour)).head(60)
        before = bars.with_columns(pl.col("ts") - timedelta(hours=1), close=pl.lit(100.5))
        with warehouse.transaction(f"{symbol}-{hour}") as tx:
            tx.replace("market.candles_1m", bars, first, first + timedelta(hours=1), symbol=symbol)
            if hour:
                tx.replace("market.candles_1m", before, first - timedelta(hours=1), first, symbol=symbol)
            tx.replace("market.coverage", coverage(0, symbol).with_columns(rows=60 * (hour + 1)), symbol=symbol)
        print("hour", flush=True)  # noqa: T201 - tells the test how far it is


def erase_and_write_forever(warehouse: Warehouse, symbol: str) -> None:
    """Rewrite the days for ever, so that a kill at any moment hits a commit."""
    while True:
        write_days(warehouse, symbol)
        print("round", flush=True)  # noqa: T201 - tells the test that the commits have begun
        with warehouse.transaction("erase") as tx:
            tx.replace("market.candles_1m", day_of_bars(0, symbol).clear(), START, symbol=symbol)
            tx.replace("market.coverage", coverage(0, symbol).clear(), symbol=symbol)


def analyse(folder: Path) -> None:
    """Count rows in an open transaction, again whenever told to by a line, and once more after it."""
    with Warehouse.open_readonly(folder) as warehouse:
        cursor = warehouse.cursor()
        query = "SELECT count(*), coalesce(sum(close), 0) FROM market.candles_1m"
        cursor.execute("BEGIN")
        print(cursor.execute(query).fetchall(), flush=True)  # noqa: T201 - what the test reads
        sys.stdin.readline()
        print(cursor.execute(query).fetchall(), flush=True)  # noqa: T201
        cursor.execute("COMMIT")
        print(cursor.execute(query).fetchall(), flush=True)  # noqa: T201


def main(what: str, folder: str, name: str = "BTC-USDT") -> None:
    """Do what is asked."""
    if what == "analyse":
        analyse(Path(folder))
        return
    with Warehouse.open(Path(folder), market="sample", market_id="seed=7") as warehouse:
        if what == "hours":
            write_hours(warehouse, name)
            return
        if what == "forever":
            erase_and_write_forever(warehouse, name)
        write_days(warehouse, name)
        if what == "write":
            write_events(warehouse, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
