"""How fast market data comes in: the synthetic exchange, the exchange's client into the warehouse, the old ticks.

Run ``make bench`` or ``python benchmarks/bench_market.py``. The exchange is the tests' own, in a process beside this
one, with the limiter lifted; peak memory is that of the whole process so far.
"""

import math
import multiprocessing
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl
from records import record

from backtester.resampling import aggregate
from blofin_resources.market.blofin import BlofinClient, BlofinMarket, SharedLimiter
from blofin_resources.market.legacy.ticks import TicksFile
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA

START = datetime(2025, 2, 1, tzinfo=UTC)
DAYS = 14
END = START + timedelta(days=DAYS)
NOW = END + timedelta(seconds=30)
SYMBOLS = [
    f"{base}-USDT" for base in ("ADA", "AVAX", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "SOL", "XRP")
]  # of the sample market, which is not loaded here: its compiler would count as memory of the exchange's client
TICKS = 580_667


def timed(name: str, work: Callable[[], int], unit: str) -> None:
    start = time.perf_counter()
    count = work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<58} {seconds:7.2f} s {count / seconds:>12,.0f} {unit}/s   peak {peak:,.0f} MB", flush=True)
    record(name, count / seconds, f"{unit} a second")


def sample() -> int:
    from blofin_resources.market.sample import SampleMarket  # noqa: PLC0415 - only after memory was measured

    market = SampleMarket(7)
    return market.candles(["BTC-USDT", "ETH-USDT", "SOL-USDT"], "1m", END - timedelta(days=45), END).height


def serve(pipe: Connection) -> None:
    """Run the exchange until the other side says that it is done."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.fake_exchange import Book, FakeExchange  # noqa: PLC0415 - the path is only known here

    from blofin_resources.market.sample import SampleMarket  # noqa: PLC0415 - in this process alone

    market = SampleMarket(7)
    book = Book(market.candles(SYMBOLS, "1m", START, NOW), market.funding(SYMBOLS, START, NOW))
    with FakeExchange(book, lambda: NOW) as exchange:
        pipe.send(exchange.url)
        pipe.recv()


def ingest(url: str, folder: Path) -> Callable[[], int]:
    folder.mkdir()

    def connect() -> BlofinClient:
        return BlofinClient(url, SharedLimiter(folder / "limit.json", math.inf))

    market = BlofinMarket(url, clock=lambda: NOW, connect=connect)
    warehouse = Warehouse.open(folder / "warehouse", market="blofin", market_id=market.identity)
    market.symbols()

    def work() -> int:
        frame = market.candles(SYMBOLS, "1m", START, END)
        with warehouse.transaction("bench") as tx:
            tx.replace("market.candles_1m", frame, start=START, end=END, symbol=SYMBOLS)
        return frame.height

    return work


def ticks_file(path: Path, count: int = TICKS) -> Path:
    """Write one symbol's ticks as the older system did: ten days of `TICKS`, more in proportion."""
    chance = random.Random(1)  # noqa: S311 - prices to import
    first = int(START.timestamp() * 1000)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE ticks (id INTEGER PRIMARY KEY, ts_ms, ts_iso, symbol, price, source, raw_json)")
    rows = (
        (
            first + i * 10 * 86_400_000 // TICKS,
            "2025-02-01T00:00:00Z",
            "BTC-USDT",
            1e5 * chance.random(),
            "blofin_ws",
            raw,
        )
        for i in range(count)
        for raw in ("x" * 150 if count == TICKS else "",)
    )
    insert = "INSERT INTO ticks (ts_ms, ts_iso, symbol, price, source, raw_json) VALUES (?, ?, ?, ?, ?, ?)"
    connection.executemany(insert, rows)
    connection.commit()
    connection.close()
    return path


def import_ticks(path: Path) -> int:
    with TicksFile(path) as file:
        for frame in file.bars():
            frame.clear()
        return file.ticks()


def command(path: Path, folder: Path) -> tuple[float, float]:
    """Run `blofin import-ticks` on a new warehouse; return seconds and megabytes of its process."""
    code = (
        "import sys; from pathlib import Path; from blofin_assets.cli.main import app\n"
        "sys.argv = ['blofin', 'import-ticks', sys.argv[1]]\n"
        "try: app()\n"
        # the kernel's account of this program alone: getrusage goes on from the process that started it
        "except SystemExit:\n"
        "    peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "    print('peak', int(peak) / 1024)"
    )
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "BLOFIN_WAREHOUSE": str(folder), "BLOFIN_MARKET": "blofin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def whole_command(folder: Path) -> None:
    """Import a file and one ten times as large by the command: seconds all told, and memory, which should not grow."""
    for factor in (1, 10):
        path = ticks_file(folder / f"old_{factor}.db", factor * TICKS)
        seconds, peak = command(path, folder / f"imported_{factor}")
        path.unlink()
        name = f"blofin import-ticks of {factor * TICKS:,} ticks, all told"
        print(f"{name:<58} {seconds:7.2f} s {'':>20}   peak {peak:,.0f} MB", flush=True)
        record(name, seconds, "s")


def aggregation() -> None:
    """Build every longer timeframe from 50 symbols of 30 days."""
    count = 30 * 1440
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, 1e-3, count)))
    ts = pl.datetime_range(START, START + timedelta(minutes=count), "1m", closed="left", eager=True)
    columns = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": close}
    unknown = dict.fromkeys(("quote_volume", "contracts", "flag"))
    one = pl.DataFrame({"ts": ts, **columns}).with_columns(minutes=1, origin=pl.lit("sample"), **unknown)
    minutes = pl.concat(
        one.with_columns(symbol=pl.lit(f"S{k:02}-USDT")).select(CANDLE_SCHEMA.names()).cast(dict(CANDLE_SCHEMA))
        for k in range(50)
    )

    def work() -> int:
        for timeframe in ("5m", "60m", "1d"):
            aggregate(minutes, timeframe)
        return minutes.height

    for _ in range(3):
        timed("1m to 5m, 60m and 1d: 50 symbols x 30 days", work, "bars")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
        server.start()
        url = here.recv()
        name = f"blofin: {DAYS} days x {len(SYMBOLS)} symbols, socket to warehouse"
        timed(f"{name}, first use", ingest(url, folder / "first"), "bars")
        work = ingest(url, folder / "second")
        timed(name, work, "bars")
        timed("blofin: the same again, which changes nothing", work, "bars")
        here.send("done")
        server.join()
        path = ticks_file(folder / "old.db")
        timed("ticks of the older system to bars", lambda: import_ticks(path), "ticks")
        whole_command(folder)
    timed("sample: 45 days x 3 symbols of 1m, first call", sample, "bars")
    timed("sample: the same, compiled", sample, "bars")
    aggregation()


if __name__ == "__main__":
    main()
