"""Genomes of books: one to three scores and what is done with them, drawn at random, mutated and crossed.

Belongs here: the genome and every operation that makes one from none, one or two parents. Does not belong here: its
text (`strategies.search.books.code_generation`), its weights (`strategies.search.books.panel`), which one is kept
(`strategies.search.map_elites.archive`).

A book of one score ranks by it; one of several ranks by the sum of their ranks, each with a weight. Every operation
draws from the given generator alone.
"""

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal

import numpy as np

from backtester.simulation.books import Neutrality, Size
from features.bars import Timeframe, bar_length
from strategies.language.book import interval
from strategies.search.books.vocabulary import SCORE_TERMS, SCORES, ScoreTerm
from strategies.search.map_elites.genome import DIRECTIONS, Direction, Rng, beside, neighbour, pick

MOST_SCORES: Final = 3
REBALANCES: Final = ("8h", "24h", "48h", "72h", "168h")
SHARES: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
SIZES: Final[tuple[Size, ...]] = ("equal", "rank", "score", "inverse_volatility")
BANDS: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
KEEPS: Final = (0.0, 1.25, 1.5, 2.0, 3.0)
"""0: no buffer."""
MIXES: Final = (0.25, 0.5, 1.0, 2.0)
"""Weight of a further score against the first."""
_SIDE_ODDS: Final[tuple[Direction, ...]] = ("both",) * 8 + ("long", "short")
Balance = Literal["dollar", "beta"]
BALANCES: Final[tuple[Balance, ...]] = ("dollar", "beta")


@dataclass(frozen=True, order=True)
class Score:
    """One score.

    Parameters
    ----------
    family : str
        Family of the score.
    numbers : tuple of int
        Its numbers of bars.
    side : {1, -1}
        1 buys what has more of it, -1 what has less.
    scaled : bool
        Whether it is divided by the symbol's volatility.
    mix : float
        Weight of its ranks; 1 for the first.
    """

    family: str
    numbers: tuple[int, ...]
    side: int = 1
    scaled: bool = False
    mix: float = 1.0

    @property
    def term(self) -> ScoreTerm:
        """What it is made of."""
        return SCORE_TERMS[self.family]


@dataclass(frozen=True)
class BookGenome:
    """A book of the search.

    Parameters
    ----------
    timeframe : Timeframe
        Of its bars.
    rebalance : str
        One of `REBALANCES`.
    scores : tuple of Score
        One to three.
    direction : {'both', 'long', 'short'}
        Its legs.
    balance : {'dollar', 'beta'}
        What two legs balance in.
    share : float
        Share of the symbols in each leg.
    size : {'equal', 'rank', 'score', 'inverse_volatility'}
        Sizes inside a leg.
    band, keep : float
        As in `Weights`; 0 for none.
    """

    timeframe: Timeframe
    rebalance: str
    scores: tuple[Score, ...]
    direction: Direction = "both"
    balance: Balance = "dollar"
    share: float = 0.2
    size: Size = "equal"
    band: float = 0.0
    keep: float = 0.0

    @property
    def lead(self) -> Score:
        """The first score."""
        return self.scores[0]

    @property
    def key(self) -> str:
        """Text from which names and digests are made."""
        return repr(self)

    @property
    def parts(self) -> int:
        """Parts that a reader has to follow."""
        extras = (self.band, self.keep, self.size != "equal", self.direction != "both", self.balance != "dollar")
        return len(self.scores) + sum(score.scaled for score in self.scores) + sum(map(bool, extras))

    @property
    def neutral(self) -> Neutrality:
        """Neutrality in `Weights`."""
        return self.balance if self.direction == "both" else "none"


class BookFactory:
    """Draws, mutates and crosses genomes of books.

    Parameters
    ----------
    timeframe : Timeframe
        Of the market's bars.
    emphasis : dict of str to float
        Factor of the usual odds of a family: 0.5 draws it half as often; 0 never.

    Raises
    ------
    ValueError
        If the emphasis leaves no family, or no rebalance interval is a multiple of a bar.
    """

    def __init__(self, timeframe: Timeframe, emphasis: dict[str, float]) -> None:
        odds = np.array([emphasis.get(term.family, 1.0) * (1.0 + len(term.lengths)) ** 0.5 for term in SCORES])
        if not (odds >= 0.0).all() or not odds.any():
            msg = f"emphasis {emphasis} leaves no score to draw; pass factors of 0 or more, at least one above 0"
            raise ValueError(msg)
        self.timeframe = timeframe
        self.rebalances = rebalances_on(timeframe)
        self._rules: dict[str, Sequence[Any]] = {
            "rebalance": self.rebalances,
            "share": SHARES,
            "size": SIZES,
            "band": BANDS,
            "keep": KEEPS,
            "direction": _SIDE_ODDS,
            "balance": BALANCES,
        }
        self._odds = odds / odds.sum()
        self._terms = tuple(term for term, share in zip(SCORES, odds, strict=True) if share)

    def random(self, rng: Rng) -> BookGenome:
        """Return a genome drawn from all that there are, with few scores."""
        scores = [self._score(rng)]
        while len(scores) < MOST_SCORES and rng.random() < 0.35:  # noqa: PLR2004
            scores.append(self._further(rng))
        return canonicalise(self._with_rules(rng, tuple(scores)))

    def survey(self, rng: Rng) -> list[BookGenome]:
        """Return genomes of one score: each family, more of it and less of it bought, in random order."""
        genomes = []
        for term in self._terms:
            for side in (1, -1):
                draws = 1 + math.isqrt(len(term.lengths))
                genomes += [self._single(rng, term, side) for _ in range(draws)]
        return [genomes[place] for place in rng.permutation(len(genomes))]

    def theme(self, genome: BookGenome) -> Hashable:
        """Return family and side of the first score."""
        return genome.lead.family, genome.lead.side

    def on_theme(self, rng: Rng, genome: BookGenome) -> BookGenome:
        """Return a genome of one score on the theme of another, with random numbers and rules."""
        return self._single(rng, genome.lead.term, genome.lead.side)

    def kind(self, genome: BookGenome) -> Hashable:
        """Return family, side and first length of the first score, and the rebalance interval."""
        lead = genome.lead
        return lead.family, lead.side, lead.numbers[:1], genome.rebalance, genome.direction

    def neighbours(self, genome: BookGenome) -> list[BookGenome]:
        """Return every genome one step away: a length, a weight, a rule, or one part less."""
        near = without(genome)
        for place, score in enumerate(genome.scores):
            near += [_with_score(genome, place, changed) for changed in self._score_neighbours(score, place)]
        near += [replace(genome, rebalance=value) for value in beside(self.rebalances, genome.rebalance)]
        near += [replace(genome, share=value) for value in beside(SHARES, genome.share)]
        near += [replace(genome, size=value) for value in SIZES if value != genome.size]
        near += [replace(genome, band=value) for value in beside(BANDS, genome.band)]
        near += [replace(genome, keep=value) for value in beside(KEEPS, genome.keep)]
        near += [replace(genome, direction=value) for value in DIRECTIONS if value != genome.direction]
        near += [replace(genome, balance=value) for value in BALANCES if value != genome.balance]
        return [value for value in dict.fromkeys(map(canonicalise, near)) if value != genome]

    def mutate(self, rng: Rng, parent: BookGenome) -> BookGenome:
        """Return the parent with one to three changes."""
        child = parent
        for _ in range(1 + int(rng.geometric(0.65)) % 3):
            child = self._changed(rng, child)
        return canonicalise(child)

    def crossover(self, rng: Rng, one: BookGenome, other: BookGenome) -> BookGenome:
        """Return a genome that begins with the first parent's first score, mixed with scores of both.

        Parameters
        ----------
        rng : Generator
            Source of everything drawn.
        one, other : BookGenome
            Parents; either gives the rules.

        Returns
        -------
        BookGenome
            In canonical form.
        """
        pool = [*one.scores[1:], *other.scores]
        count = int(rng.integers(1, 1 + min(len(pool), MOST_SCORES - 1)))
        picked = [pool[index] for index in sorted(rng.choice(len(pool), size=count, replace=False))]
        rules = one if rng.random() < 0.5 else other  # noqa: PLR2004
        return canonicalise(replace(rules, scores=(one.lead, *picked)))

    def of_features(self, rng: Rng, names: Collection[str], rebalance: str) -> BookGenome | None:
        """Return a genome that reads some of the given features.

        Parameters
        ----------
        rng : Generator
            Source of everything drawn.
        names : collection of str
            Names of features; those outside the vocabulary are ignored.
        rebalance : str
            Interval; drawn where the search has none such.

        Returns
        -------
        BookGenome or None
            None where no family reads any of them.
        """
        usable = [term for term in self._terms if read_by(term, names)]
        if not usable:
            return None
        genome = self._single(rng, pick(rng, usable), pick(rng, (1, -1)))
        return replace(genome, rebalance=rebalance) if rebalance in self.rebalances else genome

    def _single(self, rng: Rng, term: ScoreTerm, side: int) -> BookGenome:
        score = replace(self._score(rng, term), side=side)
        return canonicalise(self._with_rules(rng, (score,)))

    def _score(self, rng: Rng, term: ScoreTerm | None = None) -> Score:
        drawn = SCORES[rng.choice(len(SCORES), p=self._odds)] if term is None else term
        numbers = pick(rng, drawn.lengths_on(self.timeframe))
        return Score(drawn.family, numbers, pick(rng, (1, -1)), scaled=bool(rng.random() < 0.3))  # noqa: PLR2004

    def _further(self, rng: Rng) -> Score:
        return replace(self._score(rng), mix=pick(rng, MIXES))

    def _with_rules(self, rng: Rng, scores: tuple[Score, ...]) -> BookGenome:
        return BookGenome(
            self.timeframe,
            pick(rng, self.rebalances),
            scores,
            direction=pick(rng, _SIDE_ODDS),
            balance=pick(rng, ("dollar", "dollar", *BALANCES)),
            share=pick(rng, SHARES),
            size=pick(rng, SIZES),
            band=pick(rng, BANDS),
            keep=pick(rng, (0.0, *KEEPS)),
        )

    def _score_neighbours(self, score: Score, place: int) -> list[Score]:
        near = [replace(score, scaled=not score.scaled), replace(score, side=-score.side)]
        lengths = score.term.lengths_on(self.timeframe)
        near += [replace(score, numbers=value) for value in beside(lengths, score.numbers)]
        if place:
            near += [replace(score, mix=value) for value in beside(MIXES, score.mix)]
        return near

    def _changed(self, rng: Rng, g: BookGenome) -> BookGenome:
        part = pick(
            rng,
            ("lengths",) * 4 + ("scores",) * 4 + ("scaled",) + ("mix",) * 2
            + ("rebalance", "share", "share", "size", "band", "keep", "direction", "balance"),
        )  # fmt: skip
        if part == "scores":
            return self._with_other_scores(rng, g)
        if part in self._rules:
            rule: dict[str, Any] = {part: neighbour(rng, self._rules[part], getattr(g, part))}
            return replace(g, **rule)
        place = int(rng.integers(len(g.scores)))
        score = g.scores[place]
        if part == "lengths":
            changed = replace(score, numbers=neighbour(rng, score.term.lengths_on(self.timeframe), score.numbers))
        elif part == "scaled":
            changed = replace(score, scaled=not score.scaled)
        else:
            changed = replace(score, mix=neighbour(rng, MIXES, score.mix))
        return _with_score(g, place, changed)

    def _with_other_scores(self, rng: Rng, g: BookGenome) -> BookGenome:
        act = pick(rng, ("add", "add", "drop", "swap", "turn"))
        place = int(rng.integers(len(g.scores)))
        if act == "add" and len(g.scores) < MOST_SCORES:
            return replace(g, scores=(*g.scores, self._further(rng)))
        if act == "drop" and len(g.scores) > 1:
            return replace(g, scores=g.scores[:place] + g.scores[place + 1 :])
        if act == "turn":
            return _with_score(g, place, replace(g.scores[place], side=-g.scores[place].side))
        return _with_score(g, place, self._further(rng))


def rebalances_on(timeframe: Timeframe) -> tuple[str, ...]:
    """Return the rebalance intervals that are multiples of a bar.

    Raises
    ------
    ValueError
        If none is.
    """
    usable = tuple(text for text in REBALANCES if interval(text) % bar_length(timeframe) == timedelta(0))
    if not usable:
        msg = f"no book of the search rebalances on {timeframe} bars; give bars of 60m, 4h or 1d"
        raise ValueError(msg)
    return usable


def canonicalise(g: BookGenome) -> BookGenome:
    """Return the canonical form of a genome: no score twice, the first with weight 1, later ones sorted."""
    lead = replace(g.lead, mix=1.0)
    seen = {(lead.family, lead.numbers, lead.scaled)}
    rest = []
    for score in sorted(g.scores[1:]):
        if (score.family, score.numbers, score.scaled) not in seen:
            seen.add((score.family, score.numbers, score.scaled))
            rest.append(score)
    return replace(g, scores=(lead, *rest), balance=g.balance if g.direction == "both" else "dollar")


def without(g: BookGenome) -> list[BookGenome]:
    """Return every genome with one part less."""
    places = range(len(g.scores)) if len(g.scores) > 1 else ()
    smaller = [replace(g, scores=g.scores[:place] + g.scores[place + 1 :]) for place in places]
    smaller += [_with_score(g, place, replace(score, scaled=False)) for place, score in enumerate(g.scores)]
    smaller += [replace(g, band=0.0), replace(g, keep=0.0), replace(g, size="equal"), replace(g, direction="both")]
    smaller.append(replace(g, balance="dollar"))
    return [genome for genome in map(canonicalise, smaller) if genome.parts < g.parts]


def read_by(term: ScoreTerm, names: Collection[str]) -> bool:
    """Return whether a family reads a feature of some names."""
    return any(name == stem or name.startswith(f"{stem}_") for name in names for stem in term.reads)


def _with_score(g: BookGenome, place: int, score: Score) -> BookGenome:
    scores: Sequence[Score] = (*g.scores[:place], score, *g.scores[place + 1 :])
    return replace(g, scores=tuple(scores))
