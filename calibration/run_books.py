"""The two calibrations of the search for books: false support on a null market, and power on one with planted edges.

Run ``make calibrate-books`` or ``python -m calibration.run_books``. Each cycle runs search and holdout with the
functions of a real cycle over the universe of the sample market's variants ``null`` and ``edge``; every seed is another
market. Results are stored one line each, so that an interrupted run continues; ``--fresh`` starts over. The exit status
is 1 if a bound is missed.
"""

import argparse
import os
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one cycle a process: before polars is loaded, in children as well

from calibration.books import CYCLE, FORWARD, START, follow, market_of, run_cycle
from calibration.run_search import LEAST_FOUND, MOST_FALSE, Job, results
from calibration.search import upper_bound
from strategies.language.book import Book
from strategies.registry import load_books

MONTHS: Final = timedelta(days=548)
"""History of a cycle: 18 months, of which the last 90 days are the holdout."""
AS_OF: Final = START + MONTHS
CYCLES: Final = 3
"""Most cycles of a power run."""
NULL_FROM, POWER_FROM = 30_000, 40_000


def known_books() -> list[Book]:
    """Return the books of the library on hourly bars."""
    return [book for book in load_books() if book.timeframe == "60m"]


def null(job: Job) -> dict[str, Any]:
    """Run one cycle on a market without an edge."""
    prepared = market_of("null", NULL_FROM + job.seed, AS_OF)
    cycle = run_cycle(prepared, AS_OF, known_books(), budget=job.budget, seed=job.seed)
    evidence = [cycle.evidence[book.name] for book in cycle.newcomers]
    return {
        "finalists": len(evidence),
        "supported": len(cycle.supported(cycle.newcomers)),
        "best_deflated": max((one.deflated or 0.0 for one in evidence), default=0.0),
        "evaluations": cycle.designs.evaluations,
    }


def power(job: Job) -> dict[str, Any]:
    """Run up to three cycles on a market with planted edges, until a finalist goes on to earn like an oracle."""
    prepared = market_of("edge", POWER_FROM + job.seed, AS_OF + (CYCLES - 1) * CYCLE + FORWARD)
    library = known_books()
    designed: list[Book] = []
    cycles: list[dict[str, Any]] = []
    for number in range(CYCLES):
        as_of = AS_OF + number * CYCLE
        cycle = run_cycle(
            prepared,
            as_of,
            [*library, *designed],
            budget=job.budget,
            seed=100 * job.seed + number,
            earlier=sum(len(row["finalists"]) for row in cycles) if cycles else 0,
        )
        after = follow(prepared, as_of, cycle.newcomers)
        supported = {book.name for book in cycle.supported(cycle.newcomers)}
        rows = {name: {**asdict(one), "good": one.good, "supported": name in supported} for name, one in after.items()}
        cycles.append({"finalists": rows, "evaluations": cycle.designs.evaluations})
        designed += cycle.newcomers
        if any(one.good for one in after.values()):
            break
    return {"found": any(row["good"] for cycle in cycles for row in cycle["finalists"].values()), "cycles": cycles}


def run(job: Job) -> tuple[Job, dict[str, Any], float]:
    """Run one job; return it, its result and the processor seconds that it took."""
    before = time.process_time()
    result = power(job) if job.kind == "books power" else null(job)
    return job, result, time.process_time() - before


def report_null(by_seed: dict[str, dict[str, Any]]) -> bool:
    """Print the rate of false support; return whether its bound is met."""
    false = sum(row["supported"] > 0 for row in by_seed.values())
    bound = upper_bound(false, len(by_seed))
    fewest = min(row["finalists"] for row in by_seed.values())
    print(f"null: {len(by_seed)} cycles: {false} with a supported newcomer, 95 % upper bound {bound:.1%} "
          f"(at most {MOST_FALSE:.0%}); finalists a cycle: at least {fewest}")  # fmt: skip
    return bound <= MOST_FALSE


def report_power(by_seed: dict[str, dict[str, Any]]) -> bool:
    """Print in how many markets an edge was found; return whether that is enough."""
    hits = sum(row["found"] for row in by_seed.values())
    least = -(-LEAST_FOUND * len(by_seed) // 1)
    first = [sum(row["found"] and len(row["cycles"]) == count for row in by_seed.values()) for count in (1, 2, 3)]
    print(f"power: {len(by_seed)} seeds: {hits} found (at least {least:.0f}); in cycle 1, 2, 3: {first}")
    for key, row in by_seed.items():
        finalists = row["cycles"][-1]["finalists"].items()
        name, best = max(finalists, key=lambda pair: (pair[1]["good"], pair[1]["correlation"]))
        print(f"  {key:<22} {'found' if row['found'] else 'missed':<7} {name}: {best['pnl_pct']:.1f} % where "
              f"{best['oracle']} earned {best['oracle_pnl_pct']:.1f} %, correlation {best['correlation']:.2f}, "
              f"{sum(one['good'] for _, one in finalists)} of {len(finalists)} finalists alike, "
              f"{sum(one['supported'] for _, one in finalists)} supported")  # fmt: skip
    return hits >= least


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200, help="null cycles")
    parser.add_argument("--seeds", type=int, default=20, help="markets of the power run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--budget", type=int, default=600, help="evaluations a cycle")
    parser.add_argument("--only", choices=("null", "power"), help="one of the two")
    parser.add_argument("--folder", type=Path, default=Path("build/calibration"))
    parser.add_argument("--fresh", action="store_true", help="delete earlier results")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    store = options.folder / "books.jsonl"
    if options.fresh:
        store.unlink(missing_ok=True)
    good = True
    if options.only != "null" and options.seeds:
        jobs = [Job("books power", seed, options.budget) for seed in range(options.seeds)]
        good &= report_power(results(jobs, store, options.jobs, run))
    if options.only != "power" and options.cycles:
        jobs = [Job("books null", seed, options.budget) for seed in range(options.cycles)]
        good &= report_null(results(jobs, store, options.jobs, run))
    print("every bound is met" if good else "a bound is missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
