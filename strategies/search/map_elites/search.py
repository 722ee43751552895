"""The embedded designer: quality-diversity search over the strategy language, needing no key and no network.

Belongs here: `design`, its generations, its budget, and the choice of finalists. Does not belong here: what a genome
is (`genome`), its fitness (`fitness`), which elites are kept (`archive`), the holdout (run by the cycle, once for each
finalist).

How to use it::

    panel = Panel.read(manager, symbols, windows.search)
    found = design(panel, library, budget=1_000, seed=7, finalists=5, taken=names)
    found.finalists[0].strategy       # a `Strategy`, compiled by the untrusted compiler from `.strategy.source()`
    found.trials                      # one row for each try that saw returns: `TRIALS`
    found.evaluations, found.rejected, found.coverage

The same panel, seeds, budget and seed give the same finalists and trials, whatever `threads` is. The search sees the
search window alone; nothing of a holdout is among its inputs.
"""

import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

import numpy as np
import polars as pl

from features.array_types import FloatArray
from features.bars import DEFAULT_TIMEFRAMES, Timeframe
from strategies.language.strategy import Strategy
from strategies.search.map_elites.archive import Archive, Cell
from strategies.search.map_elites.code_generation import genome_of, line_of, name_of, rendered
from strategies.search.map_elites.fitness import FitnessEvaluator, Rejected, Trial, sharpe_of
from strategies.search.map_elites.genome import Genome, GenomeFactory, Rng, neighbours
from strategies.search.map_elites.vocabulary import TERMS
from strategies.search.panel import Panel
from strategies.untrusted.compiler import compile_strategy
from strategies.validation.duplicates import SAME, resemblance

Kind: TypeAlias = tuple[tuple[Timeframe, ...], str, int, str, tuple[int, ...]]
"""Timeframes, and term, side, manner and first length of the first test: hills with a valley between them."""
Result = TypeVar("Result")
Key: TypeAlias = Callable[[Trial], float]
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
`full`, or `symbol` where the first symbol's returns were enough to stop; `fitness` see `fitness`, null where there is
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


@dataclass(frozen=True, eq=False)
class Design:
    """A finalist.

    Parameters
    ----------
    strategy : Strategy
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
        By which finalists are ordered: both ratios pooled, the inner one shrunk; see `_Search._expected_sharpes`.
    """

    strategy: Strategy
    genome: Genome
    cell: Cell
    fitness: float
    inner_sharpe: float
    check_sharpe: float
    expected_sharpe: float


@dataclass(frozen=True, eq=False)
class Designs:
    """Result and cost of one search.

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
    stopped : str
        Why the budget was not used up; empty where time was no reason.
    """

    finalists: list[Design]
    evaluations: int
    rejected: Mapping[str, int]
    coverage: float
    trials: pl.DataFrame = field(repr=False)
    stopped: str = ""


def _fitness(trial: Trial) -> float:
    return trial.fitness


def _cost_adjusted_fitness(trial: Trial) -> float:
    return trial.cost_adjusted_fitness


HALVINGS: Final = ((32, 2), (12, 4), (8, 30))
"""Rounds of climbing from the best of every kind: kinds kept, and steps of each."""


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
    seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.process_time,
) -> Designs:
    """Search for strategies that trade well, each in its own way.

    Parameters
    ----------
    panel : Panel
        Of the search window, with the costs to be paid.
    seeds : sequence of Strategy
        Known strategies. The search continues from those that it made itself, tuned or not; of others it tries their
        features and holding time.
    budget : int
        Full evaluations; the cascade's rejects come on top.
    seed : int
        Of everything drawn.
    finalists : int
        Most finalists to return.
    taken : collection of str
        Names that are not free.
    emphasis : dict of str to float, optional
        Factor of the usual odds of drawing a feature family: below 1 for families that failed, above 1 for those that
        worked; 0 excludes one.
    threads : int
        Candidates evaluated at once; the result does not depend on it.
    on_progress : callable, optional
        Called with (evaluations done, budget).
    seconds : float
        Seconds on the clock after which no further genome is tried.
    clock : callable
        By default the processor seconds of this process.

    Returns
    -------
    Designs
        Finalists, trials and counts.

    Raises
    ------
    ValueError
        If budget or finalists is below 1, or the emphasis leaves no term.
    """
    if budget < 1 or finalists < 1:
        msg = f"budget {budget}, finalists {finalists}: pass 1 or more of each"
        raise ValueError(msg)
    began = clock()
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        search = _Search(panel, budget, seed, dict(emphasis or {}), pool if threads > 1 else None, on_progress)
        search.over = lambda: clock() - began > seconds
        search.open(seeds)
        search.halve()
        search.evolve()
        search.close(2 * finalists)
        chosen = search.choose(finalists, taken, seeds)
    stopped = f"stopped after {search.evaluations} of {budget} evaluations: more than {seconds:g} s of processor"
    return Designs(
        chosen,
        search.evaluations,
        dict(search.rejected),
        search.archive.coverage,
        search.ledger.frame(),
        stopped if search.late else "",
    )


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
        self.evaluator = FitnessEvaluator(panel)
        self.archive = Archive()
        self.ledger = _Ledger()
        self.evaluations = 0
        self.late = False
        self.over: Callable[[], bool] = bool
        self.rejected = {"entries": 0, "symbol": 0}
        self._budget = budget
        self._rng: Rng = np.random.default_rng(seed)
        timeframes: tuple[Timeframe, ...] = tuple(
            tf for tf in DEFAULT_TIMEFRAMES if any(key[1] == tf for key in panel.lanes)
        )
        self._factory = GenomeFactory(timeframes, emphasis)
        self._pool = pool
        self._on_progress = on_progress
        self._seen: set[int] = set()
        self._kinds: dict[Kind, Trial] = {}
        self._candidates = 0

    def open(self, seeds: Sequence[Strategy]) -> None:
        """Try what the seeds read, then every signed term on every timeframe in turn, at numbers drawn at random."""
        until = max(1, int(OPENING * self._budget))
        waiting = [genome for strategy in seeds for genome in self._from_seed(strategy)]
        while waiting and self._going(until):
            self._try(waiting[:GENERATION], until)
            waiting = waiting[GENERATION:]
        while self._going(until) or (len(self.archive) < _LEAST_ELITES and self._going(self._budget)):
            while len(waiting) < SCREENED * GENERATION:
                waiting += self._factory.survey(self._rng)
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

    def _look_closer(self, climbers: Sequence[Trial], until: int) -> None:
        """Draw more genomes of the most promising terms, their numbers and exits at random."""
        ordered = [trial.genome for trial in sorted(climbers, key=_cost_adjusted_fitness, reverse=True)]
        terms = list(dict.fromkeys((genome.timeframes, genome.lead.family, genome.lead.side) for genome in ordered))
        draws = max(1, int(CLOSER * self._budget) // CLOSER_TERMS)
        for lanes, family, side in terms[:CLOSER_TERMS]:
            if self._going(until):
                drawn = [self._factory.single(self._rng, lanes, TERMS[family], side) for _ in range(SCREENED * draws)]
                self._try(self._screened(drawn), until)

    def evolve(self) -> None:
        """Vary the elites until the budget but for the closing share is used."""
        self._vary(self._budget - int(CLOSING * self._budget))

    def close(self, count: int) -> None:
        """Climb from the fittest elites of different kinds; spend the remaining budget on variation."""
        kinds: set[Kind] = set()
        for _ in range(count):
            unused = [trial for _, trial in self.archive.elites() if _kind(trial.genome) not in kinds]
            if unused and self._going(self._budget):
                best = max(unused, key=_fitness)
                kinds |= {_kind(best.genome), _kind(self._climbed(best, MOST_STEPS, self._budget, _fitness).genome)}
        self._vary(self._budget)

    def _climbed(self, trial: Trial, steps: int, until: int, key: Key) -> Trial:
        """Return where some steps to better neighbours lead."""
        for _ in range(steps):
            better = self._better_neighbour(trial, until, key)
            if better is None:
                break
            trial = better
        return trial

    def _better_neighbour(self, trial: Trial, until: int, key: Key) -> Trial | None:
        """Return the best of the first few neighbours that hold a better one; None where no neighbour is better."""
        near = neighbours(trial.genome, self._factory.lanes)
        order = [near[int(place)] for place in self._rng.permutation(len(near))]
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

    def choose(self, count: int, taken: Collection[str], known: Sequence[Strategy]) -> list[Design]:
        """Return the elites with the best expected ratio whose positions differ from each other and the known ones."""
        expected = self._expected_sharpes()
        ordered = sorted(self.archive.elites(), key=lambda pair: (-expected[pair[0]], pair[0]))
        used, held = set(taken), [self.panel.positions(reference) for reference in known]
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
                chosen.append(self._design(cell, trial, strategy, expected[cell]))
            waiting = left
        return sorted(chosen, key=lambda finalist: -finalist.expected_sharpe)

    def _made(self, genome: Genome, used: set[str]) -> Strategy:
        name = name_of(genome, used)
        used.add(name)
        return compile_strategy(rendered(genome, name), name)

    def _design(self, cell: Cell, trial: Trial, strategy: Strategy, expected_sharpe: float) -> Design:
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

    def _from_seed(self, strategy: Strategy) -> list[Genome]:
        """Return the genome of a strategy of this search and two near it; else some that read what it reads."""
        genome = genome_of(strategy)
        if genome is not None:
            return [genome, *(self._factory.mutate(self._rng, genome) for _ in range(2))]
        level = strategy.signal.levels().get("time_stop")
        hold = math.floor(level) if isinstance(level, int | float) else 0
        genomes = [
            self._factory.of_features(self._rng, strategy.timeframes, strategy.features(), hold) for _ in range(2)
        ]
        return [genome for genome in genomes if genome is not None]

    def _child(self, parents: Sequence[Trial]) -> Genome:
        rng = self._rng
        drawn = rng.random()
        if drawn < RANDOM_SHARE:
            return self._factory.random(rng)
        one = self._parent(parents)
        if drawn < RANDOM_SHARE + CROSSOVER_SHARE and len(parents) > 1:
            return self._factory.crossover(rng, one.genome, self._parent(parents).genome)
        return self._factory.mutate(rng, one.genome)

    def _parent(self, parents: Sequence[Trial]) -> Trial:
        """Return any elite, or one of the fittest: some children explore, most improve."""
        if self._rng.random() < EXPLORING:
            return parents[int(self._rng.integers(len(parents)))]
        return parents[min(int(self._rng.geometric(1.0 / FITTEST)), len(parents)) - 1]

    def _going(self, until: int) -> bool:
        self.late = self.late or self.over()
        return not self.late and self.evaluations < until and self._candidates < _MOST_CANDIDATES * self._budget

    def _screened(self, genomes: Sequence[Genome]) -> list[Genome]:
        """Run genomes on one symbol and return the share of them with the best cost_adjusted_fitness there."""
        untried = self._fresh(genomes)
        seen = list(self._run(self.evaluator.screen, untried))
        seen.sort(key=lambda result: result.cost_adjusted_fitness, reverse=True)
        kept = len(genomes) // SCREENED
        for result in seen[kept:]:
            self._reject(result)
        self._seen -= {_digest(result.genome) for result in seen[:kept]}
        return [result.genome for result in seen[:kept] if result.stage == "symbol"]

    def _try(self, genomes: Sequence[Genome], until: int) -> list[Trial]:
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

    def _fresh(self, genomes: Sequence[Genome]) -> list[Genome]:
        """Return the genomes that were not tried before, and take them for tried."""
        self._candidates += len(genomes)
        untried = []
        for genome in genomes:
            digest = _digest(genome)
            if digest not in self._seen:
                self._seen.add(digest)
                untried.append(genome)
        return untried

    def _run(self, action: Callable[[Genome, str], Result], genomes: Sequence[Genome]) -> Iterable[Result]:
        """Return what an action makes of genomes, each with its first symbol, in their order."""
        self.panel.require({name for genome in genomes for name in genome.features})
        symbols = [self.panel.symbols[_digest(genome) % len(self.panel.symbols)] for genome in genomes]
        return self._pool.map(action, genomes, symbols) if self._pool else map(action, genomes, symbols)

    def _reject(self, result: Rejected) -> None:
        self.rejected[result.stage] += 1
        self.ledger.add(result)

    def _keep(self, trial: Trial) -> None:
        self.ledger.add(trial)
        kind = _kind(trial.genome)
        if kind not in self._kinds or trial.cost_adjusted_fitness > self._kinds[kind].cost_adjusted_fitness:
            self._kinds[kind] = trial
        self.archive.offer(trial)


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


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Return the least-squares slope of y over x, at least 0 and at most 1."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    return min(max(float(centred @ y) / spread, 0.0), 1.0) if spread > 0.0 else 0.0


def _kind(genome: Genome) -> Kind:
    lead = genome.lead
    return genome.timeframes, lead.family, lead.side, lead.trigger, lead.numbers[:1]


def _digest(genome: Genome) -> int:
    return int.from_bytes(hashlib.blake2b(genome.key.encode(), digest_size=8).digest())
