"""From a genome to a strategy that a person can read: a name, what it bets on, when it should fail, and its text.

Belongs here: the text, in the strategy language, as the untrusted compiler takes it; every number that a tuner may
move is a declared parameter. Does not belong here: signals (`strategies.evolution.bits`).
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

from strategies.evolution.genome import FRESH_BARS, Genome, Test
from strategies.evolution.vocabulary import Word

_FOLLOWS = (
    "what has moved goes on: those who decide slowly are still to come",
    "when the move is exhausted and turns, and in ranges, where each swing is bought at its top",
)
_FADES = (
    "hurried orders push the price too far, and it comes back to those who wait",
    "when the move is the beginning of a repricing, and far becomes farther",
)


def name_of(genome: Genome, taken: Collection[str] = ()) -> str:
    """Return a name in words of the field, different from those taken: `fade_scaled_move_1m_3fa2`."""
    verb = "follow" if genome.lead.side > 0 else "fade"
    side = "" if genome.direction == "both" else f"_{genome.direction}"
    stem = f"{verb}_{genome.lead.family}{side}_{'_'.join(genome.timeframes)}"
    digest = hashlib.sha256(repr(genome).encode()).hexdigest()
    for length in range(4, 17):
        name = f"{stem}_{digest[:length]}"
        if name not in taken:
            return name
    msg = f"{stem}: every name of this strategy is taken; it has been designed before"
    raise ValueError(msg)


def rendered(genome: Genome, name: str) -> str:
    """Return the text of a genome as one strategy class of the language."""
    text = _Text(genome)
    return text.whole(name)


@dataclass
class _Text:
    genome: Genome
    parameters: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)

    def whole(self, name: str) -> str:
        for place, test in enumerate(self.genome.tests):
            self._test(test, place)
        arguments = self._arguments()
        title = "".join(part.capitalize() for part in name.split("_"))
        timeframes = ", ".join(f'"{each}"' for each in self.genome.timeframes)
        if len(self.genome.timeframes) == 1:
            timeframes += ","
        does, edge, fails = describe(self.genome)
        parts = [
            f"class {title}(Strategy):",
            f'    """{does}',
            "",
            f"    Edge: {edge}.",
            f"    Fails: {fails}.",
            '    """',
            "",
            f'    name = "{name}"',
            f"    timeframes = ({timeframes})",
            *(f"    {key} = {made}" for key, made in self.parameters.items()),
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
        word = test.word
        value = self._value(test, place)
        if word.truth:
            self._agree(value, value)
            return
        level = self._level(test, place)
        if not word.signed:
            sign = ">" if test.side > 0 else "<"
            self._agree(f"({value} {sign} {level})", f"({value} {sign} {level})")
            return
        centre = word.centre or 0.0
        high = f"{centre:g} + {level}" if centre else level
        low = f"{centre:g} - {level}" if centre else f"-{level}"
        above, below = (f"({value} > {high})", f"({value} < {low})")
        if test.how == "crossed":
            above, below = f"crossed_above({value}, {high})", f"crossed_below({value}, {low})"
        long, short = (above, below) if test.side > 0 else (below, above)
        if test.how == "fresh":
            memory = f"self.{self._parameter(f'{test.family}_memory', place, test.bars, FRESH_BARS[0], FRESH_BARS[-1])}"
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
        low, high = _length_range(test.word, test.numbers)
        key = self._parameter(f"{test.family}_bars", place, test.numbers[0], low, high)
        others = "".join(f", {number}" for number in test.numbers[1:])
        self.lines.append(f'{local} = f.feature("{prefix}{test.family}", self.{key}{others})')
        return local

    def _level(self, test: Test, place: int) -> str:
        word = test.word
        return f"self.{self._parameter(f'{test.family}_level', place, test.level, word.low, word.high)}"

    def _parameter(self, key: str, place: int, default: float, low: float, high: float) -> str:
        key = f"{key}_{place}" if key in self.parameters else key
        whole = all(isinstance(each, int) for each in (default, low, high))
        numbers = (default, low, high) if whole else tuple(map(float, (default, low, high)))
        self.parameters[key] = f"Param({', '.join(map(repr, numbers))})"
        return key

    def _arguments(self) -> list[str]:
        g = self.genome
        arguments = []
        if g.direction != "short":
            arguments.append(f"long_entry={' & '.join(self.long)}")
        if g.direction != "long":
            arguments.append(f"short_entry={' & '.join(self.short)}")
        if g.leave == "centre":
            centre = f"{g.lead.word.centre or 0.0:g}"
            back = ("<", ">") if g.lead.side > 0 else (">", "<")
            if g.direction != "short":
                arguments.append(f"long_exit=measure {back[0]} {centre}")
            if g.direction != "long":
                arguments.append(f"short_exit=measure {back[1]} {centre}")
        for part, most in (("stop", 10.0), ("target", 15.0), ("trail", 10.0)):
            factor = getattr(g, part)
            if factor:
                key = self._parameter(f"{part}_ranges", 0, factor, 0.5, most)
                arguments.append(f"{part}=0.01 * self.{key} * f.natr_14")
        if g.hold:
            key = self._parameter("hold", 0, g.hold, max(1, g.hold // 3), 3 * g.hold)
            arguments.append(f"time_stop=self.{key}")
        if g.risk:
            key = self._parameter("risk", 0, g.risk, g.risk / 4.0, g.risk * 4.0)
            arguments.append(f"size=minimum(self.{key} / f.realized_volatility_60, 1)")
        return arguments


def describe(genome: Genome) -> tuple[str, str, str]:
    """Return what a genome does, what it bets on and when it should fail, each without line breaks."""
    lead = genome.lead
    verb = "Follow" if lead.side > 0 else "Fade"
    does = f"{verb} {lead.word.says}"
    if lead.context:
        does += f" on {lead.context} bars"
    if lead.how == "crossed":
        does += ", at the crossing"
    if lead.how == "fresh":
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
    if test.word.truth:
        return f"there is {test.word.says}{on}"
    if test.word.signed:
        return f"{test.word.says}{on} is {'with' if test.side > 0 else 'against'} the trade"
    return f"{test.word.says}{on} is {'above' if test.side > 0 else 'below'} a level"


def _length_range(word: Word, numbers: tuple[int, ...]) -> tuple[int, int]:
    """Return how far a tuner may move the first of a feature's lengths."""
    first = numbers[0]
    firsts = [lengths[0] for lengths in word.lengths]
    low = max(min(firsts), first // 2)
    return low, max(first, min(max(firsts), 2 * first))


def line_of(genome: Genome) -> str:
    """Return a genome in one line, for ledgers: `1m both fade scaled_move_30_1440 2 fresh 60; hold 60`."""
    tests = [_short(test) for test in genome.tests]
    exits = ["leave at centre"] if genome.leave == "centre" else []
    values = [(part, getattr(genome, part)) for part in ("hold", "stop", "target", "trail", "risk")]
    exits += [f"{part} {value:g}" for part, value in values if value]
    return f"{'+'.join(genome.timeframes)} {genome.direction} {' & '.join(tests)}; {', '.join(exits)}"


def _short(test: Test) -> str:
    if test.word.truth:
        return test.feature
    if not test.word.signed:
        return f"{test.feature} {'>' if test.side > 0 else '<'} {test.level:g}"
    verb = "follow" if test.side > 0 else "fade"
    how = "" if test.how == "level" else f" {test.how}" + (f" {test.bars}" if test.bars else "")
    return f"{verb} {test.feature} {test.level:g}{how}"
