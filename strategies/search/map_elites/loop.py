"""The course of a search: survey, climbing, variation and the choice of finalists, whatever a genome is.

Belongs here: what the searches for strategies and for books have in common: their budget, their generations, the ledger
of tries, the order of finalists. Does not belong here: genomes and their evaluation, `design`
(`strategies.search.map_elites.search`) and `search_books` (`strategies.search.books.search`).
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import polars as pl

from features.array_types import FloatArray
from strategies.search.map_elites.archive import Archive
from strategies.search.map_elites.genome import Rng
from strategies.search.map_elites.trials import Cell, Cut, G, Rejected, Trial, sharpe_of
from strategies.validation.duplicates import SAME

S = TypeVar("S")
P = TypeVar("P")
Result = TypeVar("Result")
Key: TypeAlias = Callable[[Trial[Any]], float]
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
`full`, or the cascade's second stage, where the returns of one part were enough to stop; `fitness` null where there is
none; `score` and annualised hourly `sharpe` over the search window, costs paid, null where undefined; `trades`."""

GENERATION: Final = 24
SCREENED: Final = 8
"""Genomes of a survey that are run on one symbol for each that is then run in full."""
RANDOM_SHARE: Final = 0.12
CROSSOVER_SHARE: Final = 0.25
OPENING: Final = 0.2
"""Share of the budget that surveys single terms (and what the seeds read) before evolution begins."""
HALVING: Final = 0.55
"""Share of the budget for climbing from the best of every kind to better neighbours."""
CLOSER: Final = 0.15
"""Share of the budget, out of that, for a closer survey of the most promising terms."""
CLOSER_TERMS: Final = 10
CLOSING: Final = 0.15
"""Share of the budget kept for climbing from the best elites at the end."""
MOST_STEPS: Final = 30
EXPLORING: Final = 0.35
"""Share of the parents that are any elite; the others are drawn from the fittest, `FITTEST` on average."""
FITTEST: Final = 8
STEP: Final = 12
"""Neighbours tried before the best of them is taken, where one is better."""
ALIKE_POSITIONS: Final = 0.9
"""Correlation of positions above which two finalists are too near, as long as there are others."""
MOST_SECONDS: Final = 3600.0
"""Processor seconds after which nothing more is tried. A thousand candidates take half a minute."""
_MOST_CANDIDATES: Final = 30
_LEAST_ELITES: Final = 4


class Factory(Protocol[G]):
    """Draws and varies genomes."""

    def random(self, rng: Rng) -> G:
        """Return one drawn from all that there are."""
        ...

    def survey(self, rng: Rng) -> list[G]:
        """Return genomes of one term each, every term in turn, in random order."""
        ...

    def mutate(self, rng: Rng, parent: G) -> G:
        """Return the parent with some changes."""
        ...

    def crossover(self, rng: Rng, one: G, other: G) -> G:
        """Return a genome with parts of both.

        Parameters
        ----------
        rng : Generator
            Source of everything drawn.
        one, other : Genome
            Parents.

        Returns
        -------
        Genome
            In canonical form.
        """
        ...

    def neighbours(self, genome: G) -> list[G]:
        """Return every genome one step away."""
        ...

    def theme(self, genome: G) -> Hashable:
        """Return what its first term bets on, whatever its numbers."""
        ...

    def on_theme(self, rng: Rng, genome: G) -> G:
        """Return a genome of one term on the theme of another, its numbers drawn."""
        ...

    def kind(self, genome: G) -> Hashable:
        """Return on which hill it stands: between two kinds there is a valley."""
        ...


class Evaluator(Protocol[G]):
    """Runs genomes on one search window."""

    @property
    def stages(self) -> tuple[str, str]:
        """Names of the cascade's stages: the first reveals no return, the second those of one part."""
        ...

    @property
    def cut(self) -> Cut:
        """Where its returns belong."""
        ...

    @property
    def parts(self) -> Sequence[str]:
        """Parts of the evidence, on one of which a genome is run first."""
        ...

    def prepare(self, genomes: Sequence[G], parts: Sequence[str]) -> None:
        """Compute what some genomes read on the parts on which they are run first."""
        ...

    def run(self, genome: G, part: str) -> Trial[G] | Rejected[G]:
        """Run a genome on one part, and where it is not hopeless on all."""
        ...

    def screen(self, genome: G, part: str) -> Rejected[G]:
        """Run a genome on one part, for its `cost_adjusted_fitness` there."""
        ...


@dataclass(frozen=True, eq=False)
class Design(Generic[G, S]):
    """A finalist.

    Parameters
    ----------
    strategy : Strategy or Book
        Compiled by the untrusted compiler from its own text.
    genome : Genome
        From which it was compiled.
    cell : Cell
        Its cell in the archive.
    fitness : float
        Of the inner part of the search window.
    inner_sharpe, check_sharpe : float
        Of one hour, net, on the inner part and on the check.
    expected_sharpe : float
        By which finalists are ordered: both ratios pooled, the inner one shrunk; see `Search.choose`.
    """

    strategy: S
    genome: G
    cell: Cell
    fitness: float
    inner_sharpe: float
    check_sharpe: float
    expected_sharpe: float


@dataclass(frozen=True, eq=False)
class Designs(Generic[G, S]):
    """Result and cost of one search.

    Parameters
    ----------
    finalists : list of Design
        Best first, from different cells.
    evaluations : int
        Full evaluations: the whole window, costs, metrics.
    rejected : dict of str to int
        Candidates that the cascade stopped, by stage: the first saw no returns, the second those of one part.
    coverage : float
        Share of the archive's cells with an elite.
    trials : DataFrame
        `TRIALS`.
    stopped : str
        Why the budget was not used up; empty where time was no reason.
    """

    finalists: list[Design[G, S]]
    evaluations: int
    rejected: Mapping[str, int]
    coverage: float
    trials: pl.DataFrame = field(repr=False)
    stopped: str = ""


def _fitness(trial: Trial[Any]) -> float:
    return trial.fitness


def _cost_adjusted_fitness(trial: Trial[Any]) -> float:
    return trial.cost_adjusted_fitness


HALVINGS: Final = ((32, 2), (12, 4), (8, 30))
"""Rounds of climbing from the best of every kind: kinds kept, and steps of each."""


class Search(ABC, Generic[G, S, P]):
    """One search over genomes G for strategies or books S, which hold positions P.

    Parameters
    ----------
    evaluator : Evaluator
        Runs genomes on the search window.
    factory : Factory
        Draws and varies them.
    budget : int
        Full evaluations.
    seed : int
        Of everything drawn.
    cells : int
        Of the archive.
    threads : int
        Candidates evaluated at once; the result does not depend on it.
    on_progress : callable, optional
        Called with (evaluations done, budget).
    """

    def __init__(
        self,
        evaluator: Evaluator[G],
        factory: Factory[G],
        budget: int,
        seed: int,
        *,
        cells: int,
        threads: int = 1,
        on_progress: Progress | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.factory = factory
        self.archive = Archive[G](cells)
        self.ledger = _Ledger[G](evaluator.stages[0], self.line)
        self.evaluations = 0
        self.late = False
        self.over: Callable[[], bool] = bool
        self.rejected = dict.fromkeys(evaluator.stages, 0)
        self.rng: Rng = np.random.default_rng(seed)
        self._budget = budget
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._on_progress = on_progress
        self._seen: set[int] = set()
        self._kinds: dict[Hashable, Trial[G]] = {}
        self._candidates = 0

    @abstractmethod
    def line(self, genome: G) -> str:
        """Return a genome in one line, for the ledger."""

    @abstractmethod
    def genomes_of(self, seed: S) -> list[G]:
        """Return what the search begins with where something is known."""

    @abstractmethod
    def made(self, genome: G, used: set[str]) -> S:
        """Return what the text of a genome says, under a name that is not used, which is added to those used."""

    @abstractmethod
    def positions(self, known: S) -> P:
        """Return what it holds over the window."""

    @abstractmethod
    def resemblance(self, one: P, other: P) -> float:
        """Return the correlation of positions."""

    def run(
        self,
        seeds: Sequence[S],
        finalists: int,
        taken: Collection[str],
        seconds: float,
        clock: Callable[[], float],
    ) -> Designs[G, S]:
        """Spend the budget and choose the finalists.

        Parameters
        ----------
        seeds : sequence
            What is known; finalists differ from it.
        finalists : int
            Most finalists to return.
        taken : collection of str
            Names that are not free.
        seconds : float
            Seconds on the clock after which no further genome is tried.
        clock : callable
            Such as the processor seconds of this process.

        Returns
        -------
        Designs
            Finalists, trials and counts.

        Raises
        ------
        ValueError
            If budget or finalists is below 1.
        """
        if self._budget < 1 or finalists < 1:
            msg = f"budget {self._budget}, finalists {finalists}: pass 1 or more of each"
            raise ValueError(msg)
        began = clock()
        self.over = lambda: clock() - began > seconds
        with ThreadPoolExecutor(max_workers=max(self._threads, 1)) as pool:
            self._pool = pool if self._threads > 1 else None
            self.open(seeds)
            self.halve()
            self.evolve()
            self.close(2 * finalists)
            chosen = self.choose(finalists, taken, seeds)
        spent = f"{self.evaluations} of {self._budget} evaluations"
        return Designs(
            chosen,
            self.evaluations,
            dict(self.rejected),
            self.archive.coverage,
            self.ledger.frame(),
            f"stopped after {spent}: more than {seconds:g} s of processor" if self.late else "",
        )

    def open(self, seeds: Sequence[S]) -> None:
        """Try what the seeds read, then every signed term on every timeframe in turn, at numbers drawn at random."""
        until = max(1, int(OPENING * self._budget))
        waiting = [genome for strategy in seeds for genome in self.genomes_of(strategy)]
        while waiting and self._going(until):
            self._try(waiting[:GENERATION], until)
            waiting = waiting[GENERATION:]
        while self._going(until) or (len(self.archive) < _LEAST_ELITES and self._going(self._budget)):
            while len(waiting) < SCREENED * GENERATION:
                waiting += self.factory.survey(self.rng)
            self._try(self._screened(waiting[: SCREENED * GENERATION]), self._budget)
            waiting = waiting[SCREENED * GENERATION :]

    def halve(self) -> None:
        """Climb from the best of every kind that the survey met, fewer kinds and further each round.

        After the first round the best of them are surveyed more closely: a better hill of the same kind is often
        several changes away.
        """
        until = int((OPENING + HALVING) * self._budget)
        climbers = list(self._kinds.values())
        for number, (kept, steps) in enumerate(HALVINGS):
            climbers = sorted(climbers, key=_cost_adjusted_fitness, reverse=True)[:kept]
            climbers = [self._climbed(trial, steps, until, _cost_adjusted_fitness) for trial in climbers]
            if number == 0:
                self._look_closer(climbers, until)
                climbers = list(self._kinds.values())

    def _look_closer(self, climbers: Sequence[Trial[G]], until: int) -> None:
        """Draw more genomes of the most promising terms, their numbers and exits at random."""
        ordered = [trial.genome for trial in sorted(climbers, key=_cost_adjusted_fitness, reverse=True)]
        themes: dict[Hashable, G] = {}
        for genome in ordered:
            themes.setdefault(self.factory.theme(genome), genome)
        draws = max(1, int(CLOSER * self._budget) // CLOSER_TERMS)
        for genome in list(themes.values())[:CLOSER_TERMS]:
            if self._going(until):
                drawn = [self.factory.on_theme(self.rng, genome) for _ in range(SCREENED * draws)]
                self._try(self._screened(drawn), until)

    def evolve(self) -> None:
        """Vary the elites until the budget but for the closing share is used."""
        self._vary(self._budget - int(CLOSING * self._budget))

    def close(self, count: int) -> None:
        """Climb from the fittest elites of different kinds; spend the remaining budget on variation."""
        kinds: set[Hashable] = set()
        for _ in range(count):
            unused = [trial for _, trial in self.archive.elites() if self.factory.kind(trial.genome) not in kinds]
            if unused and self._going(self._budget):
                best = max(unused, key=_fitness)
                kinds |= {
                    self.factory.kind(best.genome),
                    self.factory.kind(self._climbed(best, MOST_STEPS, self._budget, _fitness).genome),
                }
        self._vary(self._budget)

    def _climbed(self, trial: Trial[G], steps: int, until: int, key: Key) -> Trial[G]:
        """Return where some steps to better neighbours lead."""
        for _ in range(steps):
            better = self._better_neighbour(trial, until, key)
            if better is None:
                break
            trial = better
        return trial

    def _better_neighbour(self, trial: Trial[G], until: int, key: Key) -> Trial[G] | None:
        """Return the best of the first few neighbours that hold a better one; None where no neighbour is better."""
        near = self.factory.neighbours(trial.genome)
        order = [near[int(place)] for place in self.rng.permutation(len(near))]
        for start in range(0, len(order), STEP):
            if not self._going(until):
                break
            tried = self._try(order[start : start + STEP], until)
            better = max((neighbour for neighbour in tried if key(neighbour) > key(trial)), key=key, default=None)
            if better is not None:
                return better
        return None

    def _vary(self, until: int) -> None:
        while self._going(until) and len(self.archive):
            parents = sorted((trial for _, trial in self.archive.elites()), key=_fitness, reverse=True)
            self._try([self._child(parents) for _ in range(GENERATION)], until)

    def choose(self, count: int, taken: Collection[str], known: Sequence[S]) -> list[Design[G, S]]:
        """Return the elites with the best expected ratio whose positions differ from each other and the known ones.

        Parameters
        ----------
        count : int
            Most of them.
        taken : collection of str
            Names that are not free.
        known : sequence
            What finalists differ from.

        Returns
        -------
        list of Design
            Best expected first.
        """
        expected = self._expected_sharpes()
        ordered = sorted(self.archive.elites(), key=lambda pair: (-expected[pair[0]], pair[0]))
        used, held = set(taken), [self.positions(reference) for reference in known]
        chosen: list[Design[G, S]] = []
        waiting = [(cell, trial, self.made(trial.genome, used)) for cell, trial in ordered]
        for limit in (ALIKE_POSITIONS, SAME):
            left = []
            for cell, trial, strategy in waiting:
                if len(chosen) == count:
                    break
                positions = self.positions(strategy)
                if any(self.resemblance(positions, other) >= limit for other in held):
                    left.append((cell, trial, strategy))
                    continue
                held.append(positions)
                chosen.append(self._design(cell, trial, strategy, expected[cell]))
            waiting = left
        return sorted(chosen, key=lambda finalist: -finalist.expected_sharpe)

    def _design(self, cell: Cell, trial: Trial[G], strategy: S, expected_sharpe: float) -> Design[G, S]:
        inner, check = self.evaluator.cut.inner, self.evaluator.cut.check
        return Design(
            strategy,
            trial.genome,
            cell,
            trial.fitness,
            sharpe_of(trial.returns[inner]),
            sharpe_of(trial.returns[check]),
            expected_sharpe,
        )

    def _expected_sharpes(self) -> dict[Cell, float]:
        """Return the expected hourly Sharpe ratio of each elite.

        Each elite's Sharpe ratio on the inner part, which selected it, is shrunk by the cross-elite regression slope of
        the check's ratios on the inner ones. The shrunk ratio and that of the check are weighted by their hours.
        """
        elites = self.archive.elites()
        parts = (self.evaluator.cut.inner, self.evaluator.cut.check)
        inner, check = (np.array([sharpe_of(trial.returns[part]) for _, trial in elites]) for part in parts)
        lasting = _slope(inner, check)
        hours = [len(part) for part in parts]
        weight = lasting * hours[0] / (lasting * hours[0] + hours[1])
        pooled = weight * lasting * inner + (1.0 - weight) * check
        return {cell: float(value) for (cell, _), value in zip(elites, pooled, strict=True)}

    def _child(self, parents: Sequence[Trial[G]]) -> G:
        rng = self.rng
        drawn = rng.random()
        if drawn < RANDOM_SHARE:
            return self.factory.random(rng)
        one = self._parent(parents)
        if drawn < RANDOM_SHARE + CROSSOVER_SHARE and len(parents) > 1:
            return self.factory.crossover(rng, one.genome, self._parent(parents).genome)
        return self.factory.mutate(rng, one.genome)

    def _parent(self, parents: Sequence[Trial[G]]) -> Trial[G]:
        """Return any elite, or one of the fittest: some children explore, most improve."""
        if self.rng.random() < EXPLORING:
            return parents[int(self.rng.integers(len(parents)))]
        return parents[min(int(self.rng.geometric(1.0 / FITTEST)), len(parents)) - 1]

    def _going(self, until: int) -> bool:
        self.late = self.late or self.over()
        return not self.late and self.evaluations < until and self._candidates < _MOST_CANDIDATES * self._budget

    def _screened(self, genomes: Sequence[G]) -> list[G]:
        """Run genomes on one part and return the share of them with the best cost_adjusted_fitness there."""
        untried = self._fresh(genomes)
        seen = list(self._run(self.evaluator.screen, untried))
        seen.sort(key=lambda result: result.cost_adjusted_fitness, reverse=True)
        kept = len(genomes) // SCREENED
        for result in seen[kept:]:
            self._reject(result)
        self._seen -= {_digest(result.genome) for result in seen[:kept]}
        return [result.genome for result in seen[:kept] if result.stage == self.evaluator.stages[1]]

    def _try(self, genomes: Sequence[G], until: int) -> list[Trial[G]]:
        """Run genomes that were not run before, in order, as far as the budget goes; offer them to the archive."""
        results = self._run(self.evaluator.run, self._fresh(genomes))
        trials = []
        for result in results:
            if self.evaluations >= until:
                break
            if isinstance(result, Rejected):
                self._reject(result)
            else:
                self.evaluations += 1
                trials.append(result)
                self._keep(result)
        if self._on_progress:
            self._on_progress(self.evaluations, self._budget)
        return trials

    def _fresh(self, genomes: Sequence[G]) -> list[G]:
        """Return the genomes that were not tried before, and take them for tried."""
        self._candidates += len(genomes)
        untried = []
        for genome in genomes:
            digest = _digest(genome)
            if digest not in self._seen:
                self._seen.add(digest)
                untried.append(genome)
        return untried

    def _run(self, action: Callable[[G, str], Result], genomes: Sequence[G]) -> Iterable[Result]:
        """Return what an action makes of genomes, each with its first part, in their order."""
        among = self.evaluator.parts
        parts = [among[_digest(genome) % len(among)] for genome in genomes]
        self.evaluator.prepare(genomes, parts)
        return self._pool.map(action, genomes, parts) if self._pool else map(action, genomes, parts)

    def _reject(self, result: Rejected[G]) -> None:
        self.rejected[result.stage] += 1
        self.ledger.add(result)

    def _keep(self, trial: Trial[G]) -> None:
        self.ledger.add(trial)
        kind = self.factory.kind(trial.genome)
        if kind not in self._kinds or trial.cost_adjusted_fitness > self._kinds[kind].cost_adjusted_fitness:
            self._kinds[kind] = trial
        self.archive.offer(trial)


class _Ledger(Generic[G]):
    """Rows of `TRIALS`, kept in columns."""

    def __init__(self, unseen: str, line: Callable[[G], str]) -> None:
        self._unseen, self._line = unseen, line
        self._chunks: list[pl.DataFrame] = []
        self._rows: list[tuple[str, str, str, float | None, float | None, float | None, int]] = []

    def add(self, result: Trial[G] | Rejected[G]) -> None:
        """Write down one try, unless it saw no return."""
        if isinstance(result, Rejected) and result.stage == self._unseen:
            return
        fitness = result.fitness if isinstance(result, Trial) and math.isfinite(result.fitness) else None
        score = result.score if isinstance(result, Trial) else None
        candidate = f"{_digest(result.genome):016x}"[:12]
        stage = "full" if isinstance(result, Trial) else result.stage
        self._rows.append((candidate, self._line(result.genome), stage, fitness, score, result.sharpe, result.trades))
        if len(self._rows) >= 4096:  # noqa: PLR2004
            self._chunks.append(self._chunk())

    def frame(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat([*self._chunks, self._chunk()])

    def _chunk(self) -> pl.DataFrame:
        rows, self._rows = self._rows, []
        return pl.DataFrame(rows, schema=TRIALS, orient="row")


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Return the least-squares slope of y over x, at least 0 and at most 1."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    return min(max(float(centred @ y) / spread, 0.0), 1.0) if spread > 0.0 else 0.0


def _digest(genome: G) -> int:
    return int.from_bytes(hashlib.blake2b(genome.key.encode(), digest_size=8).digest())
