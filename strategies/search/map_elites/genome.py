"""Genomes: a strategy as a small value, drawn at random, mutated and crossed.

Belongs here: the genome and every operation that makes one from none, one or two parents. Does not belong here: its
text (`strategies.search.map_elites.code_generation`), its signals (`strategies.search.map_elites.signal_kernels`),
which one is kept (`strategies.search.map_elites.archive`).

A genome enters a side when all its tests agree on it, and exits after a number of bars, at a level, or when the feature
of its first test is back at its centre. Every operation draws from the given generator alone.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np

from features.bars import Timeframe
from strategies.search.map_elites.vocabulary import CONTEXT, IN_CONTEXT, PLAIN, SIGNED, TERMS, FeatureTerm, lengths_on

Rng: TypeAlias = np.random.Generator
Drawn = TypeVar("Drawn")
Trigger = Literal["level", "crossed", "fresh"]
Direction = Literal["both", "long", "short"]
ExitRule = Literal["none", "centre"]

MOST_TESTS: Final = 4
TRIGGERS: Final[tuple[Trigger, ...]] = ("level", "crossed", "fresh")
DIRECTIONS: Final[tuple[Direction, ...]] = ("both", "long", "short")
TIMEFRAMES: Final[tuple[tuple[Timeframe, ...], ...]] = (("1m",), ("5m",), ("60m",), ("5m", "60m"), ("1m", "5m"))
"""Lanes that a genome may choose to be scored on."""
_TIMEFRAME_ODDS: Final = (0.3, 0.3, 0.2, 0.12, 0.08)
FRESH_BARS: Final = (6, 12, 24, 36, 60, 90)
HOLD_BARS: Final = (0, 3, 6, 12, 18, 24, 36, 48, 60, 90, 120, 240)
STOPS: Final = (0.0, 1.5, 2.0, 3.0, 4.0, 6.0)
TARGETS: Final = (0.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
TRAILS: Final = (0.0, 2.0, 3.0, 4.0, 6.0)
RISKS: Final = (0.0, 0.0003, 0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.008)
"""Volatility of a bar up to which a position has full size; above it the size shrinks in proportion. 0: full size."""


@dataclass(frozen=True, order=True)
class Test:
    """One comparison of a feature with a level.

    Parameters
    ----------
    family : str
        Family of the feature.
    numbers : tuple of int
        Its lengths.
    context : Timeframe or ''
        The timeframe it is read from, '' for the bars' own.
    side : {1, -1}
        Of a signed term: 1 follows it (long above its centre), -1 fades it. Of a plain one: 1 above the level, -1
        below it.
    level : float
        Distance from the centre, or the level of a plain term.
    trigger : {'level', 'crossed', 'fresh'}
        Beyond the level; beyond it now and not one bar ago; or beyond it while the opposite side was not in the last
        `bars` bars.
    bars : int
        For `fresh`; else 0.
    """

    __test__ = False  # the field's own word; not a test of pytest

    family: str
    numbers: tuple[int, ...] = ()
    context: Timeframe | Literal[""] = ""
    side: int = 1
    level: float = 0.0
    trigger: Trigger = "level"
    bars: int = 0

    @property
    def term(self) -> FeatureTerm:
        """What it is made of."""
        return TERMS[self.family]

    @property
    def feature(self) -> str:
        """Name of the feature that it reads."""
        return self.term.feature(self.numbers, self.context or None)


@dataclass(frozen=True)
class Genome:
    """A strategy of the search.

    Parameters
    ----------
    timeframes : tuple of Timeframe
        Those that it is scored on.
    direction : {'both', 'long', 'short'}
        The sides that it takes.
    tests : tuple of Test
        All must hold; the first is signed, the others are sorted.
    exit_rule : {'none', 'centre'}
        Whether it exits once the feature of the first test has crossed its centre.
    hold : int
        Bars after which it exits; 0 never.
    stop, target, trail : float
        In average ranges of 14 bars; 0 none.
    risk : float
        See `RISKS`.
    """

    timeframes: tuple[Timeframe, ...]
    direction: Direction
    tests: tuple[Test, ...]
    exit_rule: ExitRule = "none"
    hold: int = 0
    stop: float = 0.0
    target: float = 0.0
    trail: float = 0.0
    risk: float = 0.0

    @property
    def lead(self) -> Test:
        """The first test."""
        return self.tests[0]

    @property
    def features(self) -> list[str]:
        """Names of the features that it reads."""
        names = {test.feature for test in self.tests}
        if self.stop or self.target or self.trail:
            names.add("natr_14")
        if self.risk:
            names.add("realized_volatility_60")
        return sorted(names)

    @property
    def key(self) -> str:
        """Text from which names and digests are made; it keeps the first names of two fields, since both are stored."""
        return repr(self).replace(" trigger=", " how=").replace(" exit_rule=", " leave=")

    @property
    def size(self) -> int:
        """Parts that a reader has to follow: tests, exits and sizing."""
        exits = sum(map(bool, (self.exit_rule != "none", self.hold, self.stop, self.target, self.trail, self.risk)))
        return len(self.tests) + sum(test.trigger != "level" for test in self.tests) + exits


class GenomeFactory:
    """Draws, mutates and crosses genomes.

    Parameters
    ----------
    timeframes : tuple of Timeframe
        Those that the panel has.
    emphasis : dict of str to float
        Factor of the usual odds of a term, by family: 0.5 draws it half as often; 0 never.
    """

    def __init__(self, timeframes: tuple[Timeframe, ...], emphasis: dict[str, float]) -> None:
        available = set(timeframes)
        choices = tuple(lanes for lanes in TIMEFRAMES if set(lanes) <= available)
        self.lanes = choices or tuple((lanes,) for lanes in timeframes)
        odds = [_TIMEFRAME_ODDS[TIMEFRAMES.index(lanes)] if lanes in TIMEFRAMES else 1.0 for lanes in self.lanes]
        self._timeframe_odds = np.array(odds) / sum(odds)
        self._signed = _Drawer(SIGNED, emphasis)
        self._plain = _Drawer(PLAIN, emphasis)

    def random(self, rng: Rng) -> Genome:
        """Return a genome drawn from all that there are, with few parts."""
        timeframes = self.lanes[rng.choice(len(self.lanes), p=self._timeframe_odds)]
        tests = [self._test(rng, self._signed.draw(rng), timeframes)]
        while len(tests) < MOST_TESTS and rng.random() < 0.3:  # noqa: PLR2004
            tests.append(self._further(rng, timeframes))
        direction = pick(rng, ("both", "both", *DIRECTIONS))
        return canonicalise(self._with_exits(rng, Genome(timeframes, direction, tuple(tests))))

    def survey(self, rng: Rng) -> list[Genome]:
        """Return genomes of one test: each signed term, followed and faded, on each timeframe alone, in random order.

        A term with many lengths comes up more often; the other numbers are drawn.
        """
        alone = tuple(lanes for lanes in self.lanes if len(lanes) == 1) or self.lanes
        genomes = []
        for term in self._signed.terms:
            for lanes in alone:
                for side in (1, -1):
                    draws = 1 + math.isqrt(len(lengths_on(term, lanes[0])))
                    genomes += [self.single(rng, lanes, term, side) for _ in range(draws)]
        return [genomes[place] for place in rng.permutation(len(genomes))]

    def single(self, rng: Rng, lanes: tuple[Timeframe, ...], term: FeatureTerm, side: int) -> Genome:
        """Return a genome of one test, with random numbers and exits.

        Parameters
        ----------
        rng : Generator
            Source of everything drawn.
        lanes : tuple of Timeframe
            Timeframes that it is scored on.
        term : FeatureTerm
            What the test compares.
        side : {1, -1}
            As in `Test`.

        Returns
        -------
        Genome
            In canonical form.
        """
        test = replace(self._test(rng, term, lanes), side=side)
        return canonicalise(self._with_exits(rng, Genome(lanes, "both", (test,))))

    def mutate(self, rng: Rng, parent: Genome) -> Genome:
        """Return the parent with one to three changes."""
        child = parent
        for _ in range(1 + int(rng.geometric(0.65)) % 3):
            child = self._changed(rng, child)
        return canonicalise(child)

    def _changed(self, rng: Rng, g: Genome) -> Genome:
        kind = pick(
            rng, ("level",) * 5 + ("lengths",) * 3 + ("trigger",) * 2 + ("test",) * 3 + ("exit",) * 5 + ("lane",)
        )
        if kind == "test":
            return self._with_other_tests(rng, g)
        if kind == "exit":
            return _with_other_exit(rng, g)
        if kind == "lane":
            return self._with_other_lanes(rng, g)
        place = int(rng.integers(len(g.tests)))
        test = g.tests[place]
        if kind == "level":
            changed = _with_other_level(rng, test)
        elif kind == "lengths":
            changed = self._with_other_lengths(rng, test, g.timeframes)
        else:
            changed = _with_other_trigger(rng, test)
        return replace(g, tests=(*g.tests[:place], changed, *g.tests[place + 1 :]))

    def crossover(self, rng: Rng, one: Genome, other: Genome) -> Genome:
        """Return a genome with tests of both parents and the exits of either.

        Parameters
        ----------
        rng : Generator
            Source of everything drawn.
        one, other : Genome
            Parents; the first one gives timeframes, direction and first test.

        Returns
        -------
        Genome
            In canonical form.
        """
        pool = [*one.tests[1:], *other.tests]
        count = int(rng.integers(1, 1 + min(len(pool), MOST_TESTS - 1)))
        picked = [pool[index] for index in sorted(rng.choice(len(pool), size=count, replace=False))]
        exits = one if rng.random() < 0.5 else other  # noqa: PLR2004
        return canonicalise(
            Genome(
                one.timeframes,
                one.direction,
                (one.lead, *picked),
                exit_rule=exits.exit_rule,
                hold=exits.hold,
                stop=exits.stop,
                target=exits.target,
                trail=exits.trail,
                risk=(other if rng.random() < 0.5 else one).risk,  # noqa: PLR2004
            )
        )

    def of_features(self, rng: Rng, timeframes: tuple[Timeframe, ...], names: list[str], hold: int) -> Genome | None:
        """Return a genome that reads some given features.

        Parameters
        ----------
        rng : Generator
            Source of everything drawn.
        timeframes : tuple of Timeframe
            Timeframes that it is scored on.
        names : list of str
            Names of features; those outside the vocabulary are ignored.
        hold : int
            Bars after which it exits; drawn where 0.

        Returns
        -------
        Genome or None
            None where no feature is signed.
        """
        readable = [parts for parts in map(read_name, names) if parts is not None]
        signed = [(term, numbers, context) for term, numbers, context in readable if term.signed]
        usable = tuple(each for each in timeframes if any(each in lanes for lanes in self.lanes))
        if not signed or not usable:
            return None
        order = [signed[index] for index in rng.permutation(len(signed))]
        order += [each for each in readable if not each[0].signed]
        tests = []
        for term, numbers, context in order[:MOST_TESTS]:
            drawn = self._test(rng, term, usable)
            tests.append(replace(drawn, numbers=numbers or drawn.numbers, context=context))
        return canonicalise(Genome(usable, "both", tuple(tests), hold=hold or pick(rng, HOLD_BARS[1:])))

    def neighbours(self, genome: Genome) -> list[Genome]:
        """Return every genome one step away."""
        return neighbours(genome, self.lanes)

    def theme(self, genome: Genome) -> Hashable:
        """Return the timeframes, and term and side of the first test."""
        return genome.timeframes, genome.lead.family, genome.lead.side

    def on_theme(self, rng: Rng, genome: Genome) -> Genome:
        """Return a genome of one test on the theme of another, with random numbers and exits."""
        return self.single(rng, genome.timeframes, genome.lead.term, genome.lead.side)

    def kind(self, genome: Genome) -> Hashable:
        """Return timeframes, and term, side, trigger and first length of the first test."""
        lead = genome.lead
        return genome.timeframes, lead.family, lead.side, lead.trigger, lead.numbers[:1]

    def _with_exits(self, rng: Rng, g: Genome) -> Genome:
        return replace(
            g,
            exit_rule=pick(rng, ("none", "none", "centre")),
            hold=pick(rng, HOLD_BARS[1:]),
            stop=_sometimes(rng, 0.2, STOPS),
            target=_sometimes(rng, 0.1, TARGETS),
            trail=_sometimes(rng, 0.1, TRAILS),
            risk=_sometimes(rng, 0.4, RISKS),
        )

    def _test(self, rng: Rng, term: FeatureTerm, timeframes: tuple[Timeframe, ...]) -> Test:
        context: Timeframe | Literal[""] = ""
        if term.family in IN_CONTEXT and CONTEXT not in timeframes and rng.random() < 0.15:  # noqa: PLR2004
            context = CONTEXT
        numbers = pick(rng, lengths_on(term, context or timeframes[-1])) if term.lengths else ()
        level = 0.0 if term.truth else term.on_grid(rng.uniform(term.low, term.high))
        side = 1 if term.truth else pick(rng, (1, -1))
        test = Test(term.family, numbers, context, side, level)
        return _with_other_trigger(rng, test) if rng.random() < 0.6 else test  # noqa: PLR2004

    def _further(self, rng: Rng, timeframes: tuple[Timeframe, ...]) -> Test:
        drawer = self._plain if rng.random() < 0.5 else self._signed  # noqa: PLR2004
        return self._test(rng, drawer.draw(rng), timeframes)

    def _with_other_tests(self, rng: Rng, g: Genome) -> Genome:
        act = pick(rng, ("add", "drop", "swap", "turn"))
        if act == "add" and len(g.tests) < MOST_TESTS:
            return replace(g, tests=(*g.tests, self._further(rng, g.timeframes)))
        if act == "drop" and len(g.tests) > 1:
            place = 1 + int(rng.integers(len(g.tests) - 1))
            return replace(g, tests=g.tests[:place] + g.tests[place + 1 :])
        if act == "turn" and not g.lead.term.truth:
            return replace(g, tests=(replace(g.lead, side=-g.lead.side), *g.tests[1:]))
        place = int(rng.integers(len(g.tests)))
        new = self._further(rng, g.timeframes) if place else self._test(rng, self._signed.draw(rng), g.timeframes)
        return replace(g, tests=(*g.tests[:place], new, *g.tests[place + 1 :]))

    def _with_other_lengths(self, rng: Rng, test: Test, timeframes: tuple[Timeframe, ...]) -> Test:
        if not test.term.lengths:
            return _with_other_level(rng, test)
        return replace(test, numbers=pick(rng, lengths_on(test.term, test.context or timeframes[-1])))

    def _with_other_lanes(self, rng: Rng, g: Genome) -> Genome:
        if rng.random() < 0.4:  # noqa: PLR2004
            return replace(g, direction=pick(rng, DIRECTIONS))
        timeframes = self.lanes[rng.choice(len(self.lanes), p=self._timeframe_odds)]
        # lengths that the new bars cannot warm up would only ever be unknown
        tests = tuple(
            test
            if not test.term.lengths or test.numbers in lengths_on(test.term, test.context or timeframes[-1])
            else self._with_other_lengths(rng, test, timeframes)
            for test in g.tests
        )
        return replace(g, timeframes=timeframes, tests=tests)


class _Drawer:
    """Draws terms with odds."""

    def __init__(self, terms: tuple[FeatureTerm, ...], emphasis: dict[str, float]) -> None:
        # a term with more lengths has more variants
        odds = np.array([emphasis.get(term.family, 1.0) * (1.0 + len(term.lengths)) ** 0.5 for term in terms])
        if not (odds >= 0.0).all() or not odds.any():
            msg = f"emphasis {emphasis} leaves no term to draw; pass factors of 0 or more, at least one above 0"
            raise ValueError(msg)
        self._terms = terms
        self._odds = odds / odds.sum()
        self.terms = tuple(term for term, share in zip(terms, odds, strict=True) if share)

    def draw(self, rng: Rng) -> FeatureTerm:
        """Return one term."""
        return self._terms[rng.choice(len(self._terms), p=self._odds)]


def canonicalise(g: Genome) -> Genome:
    """Return the canonical form of a genome: no duplicate test, later tests sorted, with at least one exit."""
    seen = {(g.lead.feature, g.lead.side)}
    rest = []
    for test in sorted(g.tests[1:]):
        if (test.feature, test.side) not in seen:
            seen.add((test.feature, test.side))
            rest.append(test)
    # reading the own timeframe through a prefix is the same value under a longer name
    tests = tuple(
        replace(test, context="") if test.context and test.context == g.timeframes[0] else test
        for test in (g.lead, *rest)
    )
    way_out = g.hold or g.exit_rule != "none" or (g.stop and g.target) or g.trail
    return replace(g, tests=tests, hold=g.hold if way_out else 24)


def without(g: Genome) -> list[Genome]:
    """Return every genome with one part less that still has an exit."""
    smaller = [replace(g, tests=g.tests[:place] + g.tests[place + 1 :]) for place in range(1, len(g.tests))]
    for place, test in enumerate(g.tests):
        if test.trigger != "level":
            simple = replace(test, trigger="level", bars=0)
            smaller.append(replace(g, tests=(*g.tests[:place], simple, *g.tests[place + 1 :])))
    exits: tuple[dict[str, Any], ...] = ({"stop": 0.0}, {"target": 0.0}, {"trail": 0.0}, {"risk": 0.0})
    smaller += [replace(g, **none) for none in exits]
    if g.hold:
        smaller.append(replace(g, hold=0))
    if g.exit_rule != "none":
        smaller.append(replace(g, exit_rule="none"))
    return [genome for genome in map(canonicalise, smaller) if genome.size < g.size]


def neighbours(g: Genome, lanes: Sequence[tuple[Timeframe, ...]]) -> list[Genome]:
    """Return every genome one step away: a level, a length, an exit, a side, the lanes, or one part less."""
    near = without(g)
    for place, test in enumerate(g.tests):
        changed = _test_neighbours(test, g.timeframes)
        near += [replace(g, tests=(*g.tests[:place], value, *g.tests[place + 1 :])) for value in changed]
    near += [replace(g, hold=value) for value in beside(HOLD_BARS, g.hold)]
    near += [replace(g, stop=value) for value in beside(STOPS, g.stop)]
    near += [replace(g, target=value) for value in beside(TARGETS, g.target)]
    near += [replace(g, trail=value) for value in beside(TRAILS, g.trail)]
    near += [replace(g, risk=value) for value in beside(RISKS, g.risk)]
    near.append(replace(g, exit_rule="none" if g.exit_rule == "centre" else "centre"))
    near += [replace(g, direction=value) for value in DIRECTIONS if value != g.direction]
    near += [replace(g, timeframes=value) for value in lanes if value != g.timeframes]
    return [value for value in dict.fromkeys(map(canonicalise, near)) if value != g]


def _test_neighbours(test: Test, timeframes: tuple[Timeframe, ...]) -> list[Test]:
    term, near = test.term, list[Test]()
    if term.truth:
        return near
    reach = max(term.step, (term.high - term.low) * 0.12)
    levels = {term.on_grid(test.level + move) for move in (-reach, -term.step, term.step, reach)}
    near += [replace(test, level=level) for level in sorted(levels - {test.level})]
    lengths = lengths_on(term, test.context or timeframes[-1])
    for place, number in enumerate(test.numbers):
        values = sorted({value[place] for value in lengths})
        moved = [(*test.numbers[:place], value, *test.numbers[place + 1 :]) for value in beside(values, number)]
        near += [replace(test, numbers=value) for value in moved if value in lengths]
    if term.signed:
        near += [replace(test, trigger=trigger, bars=0) for trigger in TRIGGERS[:2] if trigger != test.trigger]
        bars = beside(FRESH_BARS, test.bars) if test.trigger == "fresh" else FRESH_BARS[1::2]
        near += [replace(test, trigger="fresh", bars=value) for value in bars]
    return near


def beside(values: Sequence[Drawn], now: Drawn) -> list[Drawn]:
    """Return the values beside the present one, and the first, which is none where there may be none."""
    if now not in values:
        return [values[0], values[len(values) // 2]]
    place = values.index(now)
    around = [values[other] for other in (place - 1, place + 1, place + 2) if 0 <= other < len(values)]
    return list(dict.fromkeys([*around, *([values[0]] if place > 1 else [])]))


def read_name(name: str) -> tuple[FeatureTerm, tuple[int, ...], Timeframe | Literal[""]] | None:
    """Return the term, numbers and context of a feature's name; None for what is not in the vocabulary."""
    prefix, _, last = name.rpartition(":")
    if prefix not in {"", CONTEXT}:
        return None
    parts = last.split("_")
    for count in range(len(parts), 0, -1):
        term, numbers = TERMS.get("_".join(parts[:count])), parts[count:]
        if term is not None and all(number.isdecimal() for number in numbers):
            lengths = tuple(map(int, numbers))
            if bool(lengths) != bool(term.lengths) and lengths:
                return None
            return term, lengths, CONTEXT if prefix else ""
    return None


def _with_other_level(rng: Rng, test: Test) -> Test:
    term = test.term
    if term.truth:
        return test
    reach = (term.high - term.low) * (0.08 if rng.random() < 0.6 else 0.3)  # noqa: PLR2004
    moved = term.on_grid(test.level + rng.normal(0.0, reach))
    if moved == test.level:
        moved = term.on_grid(test.level + term.step * pick(rng, (1, -1)))
    return replace(test, level=moved)


def _with_other_trigger(rng: Rng, test: Test) -> Test:
    if not test.term.signed:
        return replace(test, trigger="level", bars=0)
    trigger = pick(rng, (*TRIGGERS, "fresh", "fresh"))
    return replace(test, trigger=trigger, bars=pick(rng, FRESH_BARS) if trigger == "fresh" else 0)


def _with_other_exit(rng: Rng, g: Genome) -> Genome:
    part = pick(rng, ("hold", "hold", "hold", "leave", "stop", "target", "trail", "risk", "risk"))
    if part == "hold":
        return replace(g, hold=neighbour(rng, HOLD_BARS, g.hold))
    if part == "leave":
        return replace(g, exit_rule="centre" if g.exit_rule == "none" else "none")
    if part == "stop":
        return replace(g, stop=neighbour(rng, STOPS, g.stop))
    if part == "target":
        return replace(g, target=neighbour(rng, TARGETS, g.target))
    if part == "trail":
        return replace(g, trail=neighbour(rng, TRAILS, g.trail))
    return replace(g, risk=neighbour(rng, RISKS, g.risk))


def neighbour(rng: Rng, values: Sequence[Drawn], now: Drawn) -> Drawn:
    """Return a value near the present one, or sometimes any.

    Parameters
    ----------
    rng : Generator
        Source of everything drawn.
    values : sequence
        Those that there are, in order.
    now : object
        The present one.

    Returns
    -------
    object
        One of the values, the present one too.
    """
    if rng.random() < 0.3 or now not in values:  # noqa: PLR2004
        return pick(rng, values)
    place = values.index(now) + pick(rng, (-2, -1, 1, 2))
    return values[min(max(place, 0), len(values) - 1)]


def pick(rng: Rng, values: Sequence[Drawn]) -> Drawn:
    """Return one of some values, each as likely."""
    return values[int(rng.integers(len(values)))]


def _sometimes(rng: Rng, share: float, values: Sequence[float]) -> float:
    return pick(rng, values[1:]) if rng.random() < share else 0.0
