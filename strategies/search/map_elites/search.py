"""The embedded designer: quality-diversity search over the strategy language, needing no key and no network.

Belongs here: `design`. Does not belong here: its generations, its budget and the choice of finalists
(`strategies.search.map_elites.loop`), what a genome is (`genome`), its fitness (`fitness`), which elites are kept
(`archive`), the holdout (run by the cycle, once for each finalist).

How to use it::

    panel = Panel.read(manager, symbols, windows.search)
    found = design(panel, library, budget=1_000, seed=7, finalists=5, taken=names)
    found.finalists[0].strategy       # a `Strategy`, compiled by the untrusted compiler from `.strategy.source()`
    found.trials                      # one row for each try that saw returns: `TRIALS`
    found.evaluations, found.rejected, found.coverage

The same panel, seeds, budget and seed give the same finalists and trials, whatever `threads` is. The search sees the
search window alone; nothing of a holdout is among its inputs.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from features.bars import DEFAULT_TIMEFRAMES, Timeframe
from strategies.language.strategy import Strategy
from strategies.search.map_elites.code_generation import genome_of, line_of, name_of, rendered
from strategies.search.map_elites.fitness import FitnessEvaluator
from strategies.search.map_elites.genome import Genome, GenomeFactory
from strategies.search.map_elites.loop import MOST_SECONDS, Designs, Progress, Search
from strategies.search.map_elites.styles import CELLS
from strategies.search.panel import Panel
from strategies.untrusted.compiler import compile_strategy
from strategies.validation.duplicates import Positions, resemblance


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
) -> Designs[Genome, Strategy]:
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
    search = _StrategySearch(panel, budget, seed, dict(emphasis or {}), threads, on_progress)
    return search.run(seeds, finalists, taken, seconds, clock)


class _StrategySearch(Search[Genome, Strategy, Positions]):
    """One run of `design`."""

    def __init__(
        self,
        panel: Panel,
        budget: int,
        seed: int,
        emphasis: dict[str, float],
        threads: int,
        on_progress: Progress | None,
    ) -> None:
        self._panel = panel
        timeframes: tuple[Timeframe, ...] = tuple(
            tf for tf in DEFAULT_TIMEFRAMES if any(key[1] == tf for key in panel.lanes)
        )
        self._genomes = GenomeFactory(timeframes, emphasis)
        super().__init__(
            FitnessEvaluator(panel), self._genomes, budget, seed, cells=CELLS, threads=threads, on_progress=on_progress
        )

    def line(self, genome: Genome) -> str:
        return line_of(genome)

    def genomes_of(self, seed: Strategy) -> list[Genome]:
        """Return the genome of a strategy of this search and two near it; else some that read what it reads."""
        genome = genome_of(seed)
        if genome is not None:
            return [genome, *(self._genomes.mutate(self.rng, genome) for _ in range(2))]
        level = seed.signal.levels().get("time_stop")
        hold = math.floor(level) if isinstance(level, int | float) else 0
        genomes = [self._genomes.of_features(self.rng, seed.timeframes, seed.features(), hold) for _ in range(2)]
        return [genome for genome in genomes if genome is not None]

    def made(self, genome: Genome, used: set[str]) -> Strategy:
        name = name_of(genome, used)
        used.add(name)
        return compile_strategy(rendered(genome, name), name)

    def positions(self, known: Strategy) -> Positions:
        return self._panel.positions(known)

    def resemblance(self, one: Positions, other: Positions) -> float:
        return resemblance(one, other)
