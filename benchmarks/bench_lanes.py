"""How the cost of a whole pass grows with the number of symbols that are traded in lanes.

Run ``make bench`` or ``python benchmarks/bench_lanes.py [sizes] [--assets]``, with sizes such as 3,12,30,60 (2,4 unless
told: some minutes; the long list takes most of an hour on two idle cores). Each size is `blofin run` on 45 days of an
empty warehouse in a process of its own. The table has processor seconds and peak memory of each stage, and the exponent
of the seconds between the first and the last size: 1 is in proportion. Targets: at most 1.05 in each stage, below 3 GB
at 30 symbols and below 4 GB at 60. The last lines project to 300 symbols and name the stage that breaks first.

The market is an archive of minutes that the sample market with planted edges makes: it has sixteen symbols with minutes
for a seed, so the seventeenth is the first of the next seed.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from records import record

from blofin_assets.cli.run import run_due
from blofin_assets.shared.cadences import CADENCES
from blofin_resources.market.registry import open_market

AS_OF = datetime(2025, 6, 13, tzinfo=UTC)
"""A midnight on the grid of the strategy cycle, at which all stages are due."""

DAYS = 48
SEED = 7
MANY = 300
"""Symbols to project to."""

MEMORY = 24e9
"""Bytes of the machine that the figures of this project are stated for."""


def make_archive(folder: Path, count: int) -> list[str]:
    """Write minutes and funding of so many symbols, and return their names."""
    names: list[str] = []
    for generation in range(-(-count // 16)):
        market = open_market("sample:edge", archive=None, api_url="", seed=SEED + generation)
        start = AS_OF - timedelta(days=DAYS)
        for symbol in sorted(market.symbols())[: count - len(names)]:
            base, quote = symbol.split("-")
            name = f"{base}{generation + 1 if generation else ''}-{quote}"
            minutes = market.candles([symbol], "1m", start, AS_OF + timedelta(hours=1))
            minutes.select("ts", "open", "high", "low", "close", "volume").write_parquet(folder / f"{name}_1m.parquet")
            paid = market.funding([symbol], start, AS_OF + timedelta(hours=1))
            paid.select("ts", "rate").write_parquet(folder / f"{name}_funding.parquet")
            names.append(name)
    return names


def one_pass() -> None:
    """Run what is due and write the costs of its stages and assets to the last line, as JSON."""
    costs = run_due(AS_OF)
    assets = {"/".join(key): asdict(cost) for key, cost in costs.assets.items()}
    print(json.dumps({"stages": {job: asdict(cost) for job, cost in costs.stages.items()}, "assets": assets}))


def measured(symbols: Sequence[str], archive: Path, folder: Path) -> dict[str, Any]:
    """Return the costs of a pass on some symbols, in a process of its own."""
    environment = {
        **os.environ,
        "BLOFIN_MARKET": "archive",
        "BLOFIN_ARCHIVE": str(archive),
        "BLOFIN_SYMBOLS": ",".join(symbols),
        "BLOFIN_UNIVERSE": "off",
        "BLOFIN_WAREHOUSE": str(folder / "warehouse"),
    }
    folder.mkdir()
    program = [sys.executable, str(Path(__file__).resolve()), "--one"]
    answer = subprocess.run(program, env=environment, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode:
        print(answer.stderr, file=sys.stderr)
        raise SystemExit(answer.returncode)
    made: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return made


def exponent(costs: Mapping[int, Mapping[str, float]]) -> float:
    """Return the exponent of the processor seconds between the first and the last size."""
    first, last = min(costs), max(costs)
    if first == last or not costs[first]["cpu"]:
        return math.nan
    return math.log(costs[last]["cpu"] / costs[first]["cpu"]) / math.log(last / first)


def show(name: str, costs: Mapping[int, Mapping[str, float]]) -> None:
    cells = "".join(f"{cost['cpu']:9.1f} s {cost['peak'] / 1e9:5.2f} GB" for cost in costs.values())
    print(f"{name:<44}{cells}  ^{exponent(costs):5.2f}")


def projected(costs: Mapping[int, Mapping[str, float]]) -> tuple[float, float, float]:
    """Return seconds and peak bytes at `MANY` symbols, on the line through the first and last size, and GB a symbol."""
    first, last = min(costs), max(costs)
    width = max(last - first, 1)
    steps = {name: (costs[last][name] - costs[first][name]) / width for name in ("cpu", "peak")}
    seconds, peak = (costs[last][name] + steps[name] * (MANY - last) for name in ("cpu", "peak"))
    return seconds, peak, steps["peak"]


def project(passes: Mapping[int, Mapping[str, Any]], sizes: Sequence[int]) -> None:
    """Print what each stage would take with `MANY` symbols, and which breaks first."""
    every = {cadence.job: cadence.every for cadence in CADENCES}
    limits = {}
    print(f"at {MANY} symbols:")
    for name in passes[sizes[-1]]["stages"]:
        costs = {size: made["stages"][name] for size, made in passes.items() if name in made["stages"]}
        seconds, peak, step = projected(costs)
        print(f"  {name:<42}{seconds:9,.0f} s {peak / 1e9:5.1f} GB")
        if len(costs) > 1:
            record(f"{name}, exponent of seconds by symbols", exponent(costs), "", limit="≤ 1.05")
        last = max(costs)
        if step > 0:
            limits[f"{name}: memory of {MEMORY / 1e9:.0f} GB"] = last + (MEMORY - costs[last]["peak"]) / step
        if name in every and seconds > 0:
            limits[f"{name}: longer than {every[name]}"] = MANY * every[name].total_seconds() / seconds
    for name, symbols in sorted(limits.items(), key=lambda limit: limit[1])[:1]:
        print(f"breaks first: {name}, at some {symbols:,.0f} symbols")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a pass by the number of symbols.")
    parser.add_argument("sizes", nargs="?", default="2,4", help="numbers of symbols, such as 3,12,30,60")
    parser.add_argument("--assets", action="store_true", help="show each asset and check, too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one_pass()
        return
    sizes = sorted({int(size) for size in options.sizes.split(",")})
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        archive.mkdir()
        names = make_archive(archive, max(sizes))
        passes = {}
        for size in sizes:
            passes[size] = measured(names[:size], archive, Path(folder) / str(size))
            stages = passes[size]["stages"].values()
            used, peak = sum(cost["cpu"] for cost in stages), max(cost["peak"] for cost in stages)
            print(f"{size} symbols: {used:.0f} s of processor, peak {peak / 1e9:.2f} GB", file=sys.stderr, flush=True)
            record(f"a first pass of {size} symbols", used, "s of processor")
            record(f"a first pass of {size} symbols, peak", peak / 1e9, "GB")
    print(f"{'':<44}" + "".join(f"{f'{size} symbols':>20}" for size in sizes))
    for part in ("stages", "assets") if options.assets else ("stages",):
        for name in passes[sizes[-1]][part]:
            show(name, {size: made[part][name] for size, made in passes.items() if name in made[part]})
    if len(sizes) > 1:  # no line goes through one point
        project(passes, sizes)


if __name__ == "__main__":
    main()
