"""From a genome to a strategy that a person can read: a name, what it bets on, when it should fail, and its text.

Belongs here: the text, in the strategy language, as the untrusted compiler takes it; every number that a tuner may
move is a declared parameter. Does not belong here: signals (`strategies.search.map_elites.signal_kernels`).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from features.bars import DEFAULT_TIMEFRAMES
from strategies.language.strategy import Strategy
from strategies.search.map_elites.genome import DIRECTIONS, FRESH_BARS, TRIGGERS, Genome, Test, read_name
from strategies.search.map_elites.vocabulary import FeatureTerm
from strategies.search.map_elites.written import SHORT, Declared, short_line, unique_name

_EXITS: Final = ("hold", "stop", "target", "trail", "risk")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
_FOLLOWS = (
    "what has moved goes on: those who decide slowly are still to come",
    "when the move is exhausted and turns, and in ranges, where each swing is bought at its top",
)
_FADES = (
    "hurried orders push the price too far, and it comes back to those who wait",
    "when the move is the beginning of a repricing, and far becomes farther",
)


def name_of(genome: Genome, taken: Collection[str] = ()) -> str:
    """Return a readable name, different from those taken: `fade_scaled_move_1m_3fa2`."""
    verb = "follow" if genome.lead.side > 0 else "fade"
    side = "" if genome.direction == "both" else f"_{genome.direction}"
    stem = f"{verb}_{genome.lead.family}{side}_{'_'.join(genome.timeframes)}"
    return unique_name(stem, genome.key, taken)


def rendered(genome: Genome, name: str) -> str:
    """Return the text of a genome as one strategy class of the language."""
    text = _Text(genome)
    return text.whole(name)


@dataclass
class _Text:
    genome: Genome
    declared: Declared = field(default_factory=Declared)
    lines: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)

    def whole(self, name: str) -> str:
        for place, test in enumerate(self.genome.tests):
            self._test(test, place)
        arguments = self._arguments()
        title = "".join(part.capitalize() for part in name.split("_"))
        timeframes = ", ".join(f'"{timeframe}"' for timeframe in self.genome.timeframes)
        if len(self.genome.timeframes) == 1:
            timeframes += ","
        does, edge, fails = describe(self.genome)
        parts = [
            f"class {title}(Strategy):",
            f'    """{does}',
            "",
            f"    Edge: {edge}.",
            f"    Fails: {fails}.",
            f"    {SHORT}{line_of(self.genome)}",
            '    """',
            "",
            f'    name = "{name}"',
            f"    timeframes = ({timeframes})",
            *(f"    {key} = {param}" for key, param in self.declared.parameters.items()),
            "",
            "    def detect(self, f):",
            *(f"        {line}" for line in self.lines),
            "        return Signal(",
            *(f"            {argument}," for argument in arguments),
            "        )",
            "",
        ]
        return "\n".join(parts)

    def _test(self, test: Test, place: int) -> None:
        term = test.term
        value = self._value(test, place)
        if term.truth:
            self._agree(value, value)
            return
        level = self._level(test, place)
        if not term.signed:
            sign = ">" if test.side > 0 else "<"
            self._agree(f"({value} {sign} {level})", f"({value} {sign} {level})")
            return
        centre = term.centre or 0.0
        high = f"{centre:g} + {level}" if centre else level
        low = f"{centre:g} - {level}" if centre else f"-{level}"
        above, below = (f"({value} > {high})", f"({value} < {low})")
        if test.trigger == "crossed":
            above, below = f"crossed_above({value}, {high})", f"crossed_below({value}, {low})"
        long, short = (above, below) if test.side > 0 else (below, above)
        if test.trigger == "fresh":
            memory = (
                f"self.{self.declared.declare('memory', place, test.bars, FRESH_BARS[0], FRESH_BARS[-1], test.family)}"
            )
            long, short = (
                f"({long} & ~previous(happened({short}, {memory})))",
                f"({short} & ~previous(happened({long}, {memory})))",
            )
        self._agree(long, short)

    def _agree(self, long: str, short: str) -> None:
        self.long.append(long)
        self.short.append(short)

    def _value(self, test: Test, place: int) -> str:
        """Write the line that names a test's feature."""
        local = "measure" if place == 0 else f"other_{place}"
        prefix = f"{test.context}:" if test.context else ""
        if not test.numbers:
            self.lines.append(f'{local} = f["{prefix}{test.family}"]')
            return local
        low, high = _length_range(test.term, test.numbers)
        key = self.declared.declare("bars", place, test.numbers[0], low, high, test.family)
        others = "".join(f", {number}" for number in test.numbers[1:])
        self.lines.append(f'{local} = f.feature("{prefix}{test.family}", self.{key}{others})')
        return local

    def _level(self, test: Test, place: int) -> str:
        term = test.term
        return f"self.{self.declared.declare('level', place, test.level, term.low, term.high, test.family)}"

    def _arguments(self) -> list[str]:
        g = self.genome
        arguments = []
        if g.direction != "short":
            arguments.append(f"long_entry={' & '.join(self.long)}")
        if g.direction != "long":
            arguments.append(f"short_entry={' & '.join(self.short)}")
        if g.exit_rule == "centre":
            centre = f"{g.lead.term.centre or 0.0:g}"
            back = ("<", ">") if g.lead.side > 0 else (">", "<")
            if g.direction != "short":
                arguments.append(f"long_exit=measure {back[0]} {centre}")
            if g.direction != "long":
                arguments.append(f"short_exit=measure {back[1]} {centre}")
        for part, most in (("stop", 10.0), ("target", 15.0), ("trail", 10.0)):
            factor = getattr(g, part)
            if factor:
                key = self.declared.declare("ranges", 0, factor, 0.5, most, part)
                arguments.append(f"{part}=0.01 * self.{key} * f.natr_14")
        if g.hold:
            key = self.declared.declare("hold", 0, g.hold, max(1, g.hold // 3), 3 * g.hold)
            arguments.append(f"time_stop=self.{key}")
        if g.risk:
            key = self.declared.declare("risk", 0, g.risk, g.risk / 4.0, g.risk * 4.0)
            arguments.append(f"size=minimum(self.{key} / f.realized_volatility_60, 1)")
        return arguments


def describe(genome: Genome) -> tuple[str, str, str]:
    """Return what a genome does, what it bets on and when it should fail, each without line breaks."""
    lead = genome.lead
    verb = "Follow" if lead.side > 0 else "Fade"
    does = f"{verb} {lead.term.says}"
    if lead.context:
        does += f" on {lead.context} bars"
    if lead.trigger == "crossed":
        does += ", at the crossing"
    if lead.trigger == "fresh":
        does += ", unless the opposite extreme is recent"
    further = [_clause(test) for test in genome.tests[1:]]
    if further:
        does += ", while " + " and ".join(further)
    if genome.direction != "both":
        does += f"; {genome.direction} only"
    edge, fails = _FOLLOWS if lead.side > 0 else _FADES
    return f"{does}.", edge, fails


def _clause(test: Test) -> str:
    on = f" on {test.context} bars" if test.context else ""
    if test.term.truth:
        return f"there is {test.term.says}{on}"
    if test.term.signed:
        return f"{test.term.says}{on} is {'with' if test.side > 0 else 'against'} the trade"
    return f"{test.term.says}{on} is {'above' if test.side > 0 else 'below'} a level"


def _length_range(term: FeatureTerm, numbers: tuple[int, ...]) -> tuple[int, int]:
    """Return how far a tuner may move the first of a feature's lengths."""
    first = numbers[0]
    firsts = [lengths[0] for lengths in term.lengths]
    low = max(min(firsts), first // 2)
    return low, max(first, min(max(firsts), 2 * first))


def line_of(genome: Genome) -> str:
    """Return a genome in one line, for ledgers: `1m both fade scaled_move_30_1440 2 fresh 60; hold 60`."""
    tests = [_short(test) for test in genome.tests]
    exits = ["leave at centre"] if genome.exit_rule == "centre" else []
    values = [(part, getattr(genome, part)) for part in _EXITS]
    exits += [f"{part} {value:g}" for part, value in values if value]
    return f"{'+'.join(genome.timeframes)} {genome.direction} {' & '.join(tests)}; {', '.join(exits)}"


def _short(test: Test) -> str:
    if test.term.truth:
        return test.feature
    if not test.term.signed:
        return f"{test.feature} {'>' if test.side > 0 else '<'} {test.level:g}"
    verb = "follow" if test.side > 0 else "fade"
    trigger = "" if test.trigger == "level" else f" {test.trigger}" + (f" {test.bars}" if test.bars else "")
    return f"{verb} {test.feature} {test.level:g}{trigger}"


def genome_of(strategy: Strategy) -> Genome | None:
    """Return the genome of a strategy that `rendered` wrote, with the parameters in force; None for any other.

    Levels go to the grid of their term. The line in the docstring is believed only where it gives the same text again.
    """
    line = short_line(strategy.description)
    genome = None if line is None else _parsed(line)
    if genome is None:
        return None
    text = _Text(genome)
    if text.whole(strategy.name).strip() != strategy.source().strip():
        return None
    for key, value in strategy.parameters.items():
        genome = _with(genome, key, text.declared.slots[key], value)
    return genome


def _with(g: Genome, key: str, slot: tuple[str, int], value: float) -> Genome:
    part, place = slot
    if part == "ranges":
        exits: dict[str, Any] = {key.removesuffix("_ranges"): float(value)}
        return replace(g, **exits)
    if part == "hold":
        return replace(g, hold=int(value))
    if part == "risk":
        return replace(g, risk=float(f"{value:.4g}"))
    test = g.tests[place]
    if part == "level":
        test = replace(test, level=test.term.on_grid(value))
    elif part == "memory":
        test = replace(test, bars=int(value))
    else:
        test = replace(test, numbers=(int(value), *test.numbers[1:]))
    return replace(g, tests=(*g.tests[:place], test, *g.tests[place + 1 :]))


def _parsed(line: str) -> Genome | None:
    """Read `line_of` back; None for what it cannot have written."""
    match = re.fullmatch(r"([0-9m+]+) (both|long|short) ([^;]+); ([^;]+)", line)
    if match is None:
        return None
    timeframes = tuple(each for each in DEFAULT_TIMEFRAMES if each in match[1].split("+"))
    tests = [_parsed_test(each) for each in match[3].split(" & ")]
    readable = [test for test in tests if test is not None]
    if len(readable) < len(tests) or not readable[0].term.signed:
        return None
    exits: dict[str, Any] = {}
    for each in match[4].split(", "):
        part, _, value = each.partition(" ")
        if each == "leave at centre":
            exits["exit_rule"] = "centre"
        elif part in _EXITS and _NUMBER.fullmatch(value):
            exits[part] = int(value) if part == "hold" and value.isdecimal() else float(value)
        else:
            return None
    direction = next(each for each in DIRECTIONS if each == match[2])
    return Genome(timeframes, direction, tuple(readable), **exits)


def _parsed_test(text: str) -> Test | None:
    signed = re.fullmatch(r"(follow|fade) (\S+) (\S+)(?: (crossed|fresh)(?: (\d+))?)?", text)
    plain = re.fullmatch(r"(\S+)(?: ([<>]) (\S+))?", text)
    feature = signed[2] if signed else plain[1] if plain else ""
    level = (signed[3] if signed else plain[3] if plain else None) or "0"
    feature_name = read_name(feature)
    if feature_name is None or feature_name[0].signed != bool(signed) or not _NUMBER.fullmatch(level):
        return None
    term, numbers, context = feature_name
    if signed:
        trigger = next((name for name in TRIGGERS if name == signed[4]), TRIGGERS[0])
        side = 1 if signed[1] == "follow" else -1
        return Test(term.family, numbers, context, side, float(level), trigger, int(signed[5] or 0))
    side = -1 if plain and plain[2] == "<" else 1
    return Test(term.family, numbers, context, side, float(level))
