"""How fast market data comes in: the synthetic exchange, the exchange's client into the warehouse, the old ticks.

Run ``make bench`` or ``python benchmarks/bench_market.py``. The exchange is the tests' own, in a process beside this
one, with the limiter lifted; peak memory is that of the whole process so far.
"""

import math
import multiprocessing
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from blofin_resources.market.blofin import BlofinClient, BlofinMarket, SharedLimiter
from blofin_resources.market.ticks import TicksFile
from blofin_resources.warehouse import Warehouse

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


def sample() -> int:
    from blofin_resources.market.sample import SampleMarket  # noqa: PLC0415 - only after memory was measured

    market = SampleMarket(7)
    return market.candles_1m(["BTC-USDT", "ETH-USDT", "SOL-USDT"], END - timedelta(days=45), END).height


def serve(pipe: Connection) -> None:
    """Run the exchange until the other side says that it is done."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.fake_exchange import Book, FakeExchange  # noqa: PLC0415 - the path is only known here

    from blofin_resources.market.sample import SampleMarket  # noqa: PLC0415 - in this process alone

    market = SampleMarket(7)
    book = Book(market.candles_1m(SYMBOLS, START, NOW), market.funding(SYMBOLS, START, NOW))
    with FakeExchange(book, lambda: NOW) as exchange:
        pipe.send(exchange.url)
        pipe.recv()


def ingest(url: str, folder: Path) -> Callable[[], int]:
    def connect() -> BlofinClient:
        return BlofinClient(url, SharedLimiter(folder / "limit.json", math.inf))

    market = BlofinMarket(url, clock=lambda: NOW, connect=connect)
    warehouse = Warehouse.open(folder / "warehouse", market="blofin", market_id=market.identity)
    market.symbols()

    def work() -> int:
        frame = market.candles_1m(SYMBOLS, START, END)
        with warehouse.transaction("bench") as tx:
            tx.replace("market.candles_1m", frame, start=START, end=END, symbol=SYMBOLS)
        return frame.height

    return work


def ticks_file(path: Path) -> Path:
    """Write ten days of one symbol's ticks as the older system did."""
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
        for i in range(TICKS)
        for raw in ("x" * 150,)
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


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
        server.start()
        work = ingest(here.recv(), folder)
        for _ in range(2):
            timed(f"blofin: {DAYS} days x {len(SYMBOLS)} symbols, socket to warehouse", work, "bars")
        here.send("done")
        server.join()
        path = ticks_file(folder / "old.db")
        timed("ticks of the older system to bars", lambda: import_ticks(path), "ticks")
    timed("sample: 45 days x 3 symbols of 1m, first call", sample, "bars")
    timed("sample: the same, compiled", sample, "bars")


if __name__ == "__main__":
    main()
