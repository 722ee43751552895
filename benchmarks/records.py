"""Records for the table that `make bench` prints: each benchmark says its figures once more in one form.

Belongs here: writing a row. Does not belong here: measuring (`bench_*.py`), the table (`run.py`).
"""

import json
import os
from pathlib import Path


def record(name: str, figure: float, unit: str, *, peer: str = "", ratio: float | None = None, limit: str = "") -> None:
    """Add a figure to the table, where `run.py` asks for one; a benchmark that runs alone writes none.

    Parameters
    ----------
    name : str
        What was measured.
    figure : float
        The figure.
    unit : str
        Its unit, such as `ms`.
    peer : str
        What did the same work in the same run.
    ratio : float, optional
        How many times as long the peer took.
    limit : str
        What it is held against, such as `< 10`.
    """
    path = os.environ.get("BENCH_ROWS")
    if path:
        told = {"name": name, "figure": figure, "unit": unit, "peer": peer, "ratio": ratio, "limit": limit}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
