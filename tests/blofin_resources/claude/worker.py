"""Another process that asks Claude: run by `test_budget`, not a test itself.

Usage: worker.py FOLDER URL BUDGET DAY NAME
"""

import sys
import time
from datetime import datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]

from support.claude import Desk, Words  # noqa: E402

from blofin_resources.claude.ledger import Ledger  # noqa: E402  # the path comes first
from blofin_resources.warehouse import Warehouse  # noqa: E402

BESIDE = 0.5
"""Seconds between looking at the budget and holding a part of it."""


def main(folder: str, url: str, budget: str, day: str, name: str) -> None:
    """Ask once, slowly, and say what came of it."""
    look = Ledger.spent

    def slowly(self: Ledger, moment: datetime) -> float:
        found = look(self, moment)
        time.sleep(BESIDE)
        return found

    Ledger.spent = slowly  # type: ignore[method-assign]  # widens the gap that the lock closes
    with Warehouse.open(Path(folder), market="sample", market_id="seed=7") as warehouse:
        desk = Desk(warehouse, int(day))
        print("ready", flush=True)  # noqa: T201 - what the test waits for
        sys.stdin.readline()
        outcome = desk.ask(desk.claude(url, budget_usd=float(budget)), Words(question=name), run_id=name)
        print(getattr(outcome, "reason", type(outcome).__name__))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(*sys.argv[1:])
