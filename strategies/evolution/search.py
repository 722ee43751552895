"""The embedded designer: quality-diversity search over the strategy language, needing no key and no network.

Belongs here: `design`, its generations, its budget, and the choice of finalists. Does not belong here: what a genome
is (`genome`), how one is judged (`trials`), which elites are kept (`archive`), the exam (the cycle's, once for each
finalist).

How to use it::

    panel = Panel.read(manager, symbols, windows.search)
    found = design(panel, library, budget=1_000, seed=7, finalists=5, taken=names)
    found.finalists[0].strategy       # a `Strategy`, compiled by the untrusted compiler from `.strategy.source()`
    found.trials                      # one row for each try that saw returns: `TRIALS`
    found.evaluations, found.rejected, found.coverage

The same panel, seeds, budget and seed give the same finalists and trials, whatever `threads` is. The search sees the
search window alone; no result of an exam can reach it, since nothing of an exam is among its inputs.
"""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from backtester.overfitting import expected_max_sharpe
from features.bars import TRADED_TIMEFRAMES, Timeframe
from strategies.base import Strategy
from strategies.compiler import compile_strategy
from strategies.duplicates import SAME, Positions, resemblance
from strategies.evolution.archive import Archive, Cell
from strategies.evolution.genome import Genome, Maker, Rng, without
from strategies.evolution.panel import Panel
from strategies.evolution.rendering import line_of, name_of, rendered
from strategies.evolution.trials import Bench, Rejected, Trial, sharpe_of

Progress: TypeAlias = Callable[[int, int], None]

TRIALS: Final = pl.Schema(
    {
        "candidate": pl.String(),
        "genome": pl.String(),
        "stage": pl.String(),
        "fitness": pl.Float64(),
        "score": pl.Float64(),
        "sharpe": pl.Float64(),
        "trades": pl.Int64(),
    }
)
"""Every try that saw returns: `candidate` twelve hexadecimal digits of the genome's hash; `genome` in one line; `stage`
`full`, or `symbol` where the first symbol's returns were enough to stop; `fitness` see `trials`, null where there is
none; `score` and annualised hourly `sharpe` over the search window, costs paid, null where undefined; `trades`."""

GENERATION: Final = 24
RANDOM_SHARE: Final = 0.12
CROSSOVER_SHARE: Final = 0.25
OPENING: Final = 0.2
"""Share of the budget that is drawn at random (and from the seeds) before evolution begins."""
CLOSING: Final = 0.2
"""Share of the budget kept for making the best elites simpler."""
ALIKE_POSITIONS: Final = 0.9
"""Correlation of positions above which two finalists are too near, as long as there are others."""
_MOST_CANDIDATES: Final = 30
_LEAST_ELITES: Final = 4


@dataclass(frozen=True, eq=False)
class Design:
    """A finalist.

    Parameters
    ----------
    strategy : Strategy
        Compiled by the untrusted compiler from its own text.
    genome : Genome
        What it was made from.
    cell : Cell
        Its way of trading.
    fitness : float
        Of the inner part of the search window.
    inner_sharpe, check_sharpe : float
        Of one hour, net, on the inner part and on the check.
    promise : float
        By which finalists are ordered: both ratios pooled, after the inner one is cut by what luck would show.
    """

    strategy: Strategy
    genome: Genome
    cell: Cell
    fitness: float
    inner_sharpe: float
    check_sharpe: float
    promise: float


@dataclass(frozen=True, eq=False)
class Designs:
    """What one search found and what it cost.

    Parameters
    ----------
    finalists : list of Design
        Best first, from different cells.
    evaluations : int
        Full evaluations: all lanes, costs, metrics.
    rejected : dict of str to int
        Candidates that the cascade stopped, by stage: `entries` (no returns seen), `symbol` (one symbol's).
    coverage : float
        Share of the archive's cells with an elite.
    trials : DataFrame
        `TRIALS`.
    """

    finalists: list[Design]
    evaluations: int
    rejected: Mapping[str, int]
    coverage: float
    trials: pl.DataFrame = field(repr=False)


def design(
    panel: Panel,
    seeds: Sequence[Strategy] = (),
    *,
    budget: int,
    seed: int,
    finalists: int = 5,
    taken: Collection[str] = (),
    emphasis: Mapping[str, float] | None = None,
    threads: int = 1,
    on_progress: Progress | None = None,
) -> Designs:
    """Search for strategies that trade well, each in its own way.

    Parameters
    ----------
    panel : Panel
        Of the search window, with the costs to be paid.
    seeds : sequence of Strategy
        Known strategies: what they read and how long they hold is tried first.
    budget : int
        Full evaluations; the cascade's rejects come on top.
    seed : int
        Of everything drawn.
    finalists : int
        How many to return at most.
    taken : collection of str
        Names that are not free.
    emphasis : dict of str to float, optional
        How often a word of the vocabulary is drawn against its usual share, by feature family: what knowledge says of
        families that failed (below 1) or worked (above 1); 0 never.
    threads : int
        Candidates evaluated at once; the result does not depend on it.
    on_progress : callable, optional
        Called with (evaluations done, budget).

    Raises
    ------
    ValueError
        If budget or finalists is below 1, or the emphasis leaves no word.
    """
    if budget < 1 or finalists < 1:
        msg = f"budget {budget}, finalists {finalists}: give 1 or more of each"
        raise ValueError(msg)
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        search = _Search(panel, budget, seed, dict(emphasis or {}), pool if threads > 1 else None, on_progress)
        search.open(seeds)
        search.evolve()
        search.simplify(2 * finalists)
        chosen = search.choose(finalists, taken)
    return Designs(chosen, search.evaluations, dict(search.rejected), search.archive.coverage, search.ledger.frame())


class _Search:
    """One run of `design`."""

    def __init__(
        self,
        panel: Panel,
        budget: int,
        seed: int,
        emphasis: dict[str, float],
        pool: ThreadPoolExecutor | None,
        on_progress: Progress | None,
    ) -> None:
        self.panel = panel
        self.bench = Bench(panel)
        self.archive = Archive()
        self.ledger = _Ledger()
        self.evaluations = 0
        self.rejected = {"entries": 0, "symbol": 0}
        self._budget = budget
        self._rng: Rng = np.random.default_rng(seed)
        there: tuple[Timeframe, ...] = tuple(tf for tf in TRADED_TIMEFRAMES if any(key[1] == tf for key in panel.lanes))
        self._maker = Maker(there, emphasis)
        self._pool = pool
        self._on_progress = on_progress
        self._seen: set[int] = set()
        self._candidates = 0

    def open(self, seeds: Sequence[Strategy]) -> None:
        """Try what the seeds read, then genomes drawn at random."""
        until = max(1, int(OPENING * self._budget))
        waiting = [made for each in seeds for made in self._from_seed(each)]
        while waiting and self.evaluations < until:
            self._try(waiting[:GENERATION], until)
            waiting = waiting[GENERATION:]
        while self._going(until) or (len(self.archive) < _LEAST_ELITES and self._going(self._budget)):
            self._try([self._maker.random(self._rng) for _ in range(GENERATION)], self._budget)

    def evolve(self) -> None:
        """Vary the elites until the budget but for the closing share is used."""
        until = self._budget - int(CLOSING * self._budget)
        while self._going(until) and len(self.archive):
            parents = [trial for _, trial in self.archive.elites()]
            self._try([self._child(parents) for _ in range(GENERATION)], until)

    def simplify(self, count: int) -> None:
        """Drop parts of the best elites where that does not hurt; what is left of the budget goes on evolving."""
        best = sorted(self.archive.elites(), key=lambda pair: (-self._promise(pair[1]), pair[0]))[:count]
        for _, elite in best:
            now: Trial | None = elite
            while now is not None and self.evaluations < self._budget:
                tried = self._try(
                    [each for each in without(now.genome) if _digest(each) not in self._seen], self._budget
                )
                now = max((each for each in tried if each.fitness >= now.fitness), key=_fitness, default=None)
        while self._going(self._budget) and len(self.archive):
            parents = [trial for _, trial in self.archive.elites()]
            self._try([self._child(parents) for _ in range(GENERATION)], self._budget)

    def choose(self, count: int, taken: Collection[str]) -> list[Design]:
        """Return the elites with the best promise whose positions differ."""
        ordered = sorted(self.archive.elites(), key=lambda pair: (-self._promise(pair[1]), pair[0]))
        used, held = set(taken), list[Positions]()
        chosen: list[Design] = []
        waiting = [(cell, trial, self._made(trial.genome, used)) for cell, trial in ordered]
        for limit in (ALIKE_POSITIONS, SAME):
            left = []
            for cell, trial, strategy in waiting:
                if len(chosen) == count:
                    break
                positions = self.panel.positions(strategy)
                if any(resemblance(positions, other) >= limit for other in held):
                    left.append((cell, trial, strategy))
                    continue
                held.append(positions)
                chosen.append(self._design(cell, trial, strategy))
            waiting = left
        return sorted(chosen, key=lambda each: -each.promise)

    def _made(self, genome: Genome, used: set[str]) -> Strategy:
        name = name_of(genome, used)
        used.add(name)
        return compile_strategy(rendered(genome, name), name)

    def _design(self, cell: Cell, trial: Trial, strategy: Strategy) -> Design:
        inner, check = self.bench.cut.inner, self.bench.cut.check
        return Design(
            strategy,
            trial.genome,
            cell,
            trial.fitness,
            sharpe_of(trial.returns[inner]),
            sharpe_of(trial.returns[check]),
            self._promise(trial),
        )

    def _promise(self, trial: Trial) -> float:
        """Return the hourly Sharpe ratio to be expected.

        The inner part chose this elite, so its ratio is cut by what the best of as many worthless tries would show; the
        check has chosen nothing yet.
        """
        inner, check = (trial.returns[part] for part in (self.bench.cut.inner, self.bench.cut.check))
        luck = expected_max_sharpe(max(self.evaluations, 1), 1.0 / max(len(inner), 1))
        cut = max(sharpe_of(inner) - luck, 0.0) + min(sharpe_of(inner), 0.0)
        return (len(inner) * cut + len(check) * sharpe_of(check)) / max(len(inner) + len(check), 1)

    def _from_seed(self, strategy: Strategy) -> list[Genome]:
        """Return genomes that read what a strategy reads, for as long as it holds."""
        level = strategy.signal.levels().get("time_stop")
        hold = math.floor(level) if isinstance(level, int | float) else 0
        made = [self._maker.of_features(self._rng, strategy.timeframes, strategy.features(), hold) for _ in range(2)]
        return [genome for genome in made if genome is not None]

    def _child(self, parents: Sequence[Trial]) -> Genome:
        rng = self._rng
        drawn = rng.random()
        if drawn < RANDOM_SHARE:
            return self._maker.random(rng)
        one = self._parent(parents)
        if drawn < RANDOM_SHARE + CROSSOVER_SHARE and len(parents) > 1:
            return self._maker.crossed(rng, one.genome, self._parent(parents).genome)
        return self._maker.mutated(rng, one.genome)

    def _parent(self, parents: Sequence[Trial]) -> Trial:
        """Return any elite, or the fittest of three: half of the children explore, half improve."""
        if self._rng.random() < 0.5:  # noqa: PLR2004
            return parents[int(self._rng.integers(len(parents)))]
        some = [parents[int(place)] for place in self._rng.integers(len(parents), size=3)]
        return max(some, key=_fitness)

    def _going(self, until: int) -> bool:
        return self.evaluations < until and self._candidates < _MOST_CANDIDATES * self._budget

    def _try(self, genomes: Sequence[Genome], until: int) -> list[Trial]:
        """Run genomes that were not run before, in order, as far as the budget goes; offer them to the archive."""
        fresh = []
        for genome in genomes:
            self._candidates += 1
            digest = _digest(genome)
            if digest not in self._seen:
                self._seen.add(digest)
                fresh.append(genome)
        self.panel.require({name for genome in fresh for name in genome.features})
        symbols = self.panel.symbols
        work = [(genome, symbols[_digest(genome) % len(symbols)]) for genome in fresh]
        results = (
            self._pool.map(lambda each: self.bench.run(*each), work)
            if self._pool
            else (self.bench.run(*each) for each in work)
        )
        found = []
        for result in results:
            if self.evaluations >= until:
                break
            if isinstance(result, Rejected):
                self.rejected[result.stage] += 1
            else:
                self.evaluations += 1
                found.append(result)
                self.archive.offer(result)
            self.ledger.add(result)
        if self._on_progress:
            self._on_progress(self.evaluations, self._budget)
        return found


class _Ledger:
    """Rows of `TRIALS`, kept in columns."""

    def __init__(self) -> None:
        self._chunks: list[pl.DataFrame] = []
        self._rows: list[tuple[str, str, str, float | None, float | None, float | None, int]] = []

    def add(self, result: Trial | Rejected) -> None:
        """Write down one try, unless it saw no return."""
        if isinstance(result, Rejected) and result.stage == "entries":
            return
        full = isinstance(result, Trial)
        fitness = result.fitness if isinstance(result, Trial) and math.isfinite(result.fitness) else None
        score = result.score if isinstance(result, Trial) else None
        candidate = f"{_digest(result.genome):016x}"[:12]
        stage = "full" if full else "symbol"
        self._rows.append((candidate, line_of(result.genome), stage, fitness, score, result.sharpe, result.trades))
        if len(self._rows) >= 4096:  # noqa: PLR2004
            self._chunks.append(self._chunk())

    def frame(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat([*self._chunks, self._chunk()])

    def _chunk(self) -> pl.DataFrame:
        rows, self._rows = self._rows, []
        return pl.DataFrame(rows, schema=TRIALS, orient="row")


def _fitness(trial: Trial) -> float:
    return trial.fitness


def _digest(genome: Genome) -> int:
    return int.from_bytes(hashlib.blake2b(repr(genome).encode(), digest_size=8).digest())
