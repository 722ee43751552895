"""From a genome to a book that a person can read: a name, what it bets on, when it should fail, and its text.

Belongs here: the text, in the language, as the untrusted compiler takes it; every number that a tuner may move is a
declared parameter. Does not belong here: weights (`strategies.search.books.panel`), what texts of strategies have in
common with it (`strategies.search.map_elites.written`).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from backtester.simulation.books import Size
from features.bars import MINUTES, TIMEFRAMES
from strategies.language.book import Book
from strategies.search.books.genome import (
    BALANCES,
    MOST_SCORES,
    REBALANCES,
    SIZES,
    BookGenome,
    Score,
)
from strategies.search.books.vocabulary import RISK_HOURS, SCORE_TERMS, ScoreTerm
from strategies.search.map_elites.genome import DIRECTIONS
from strategies.search.map_elites.written import SHORT, Declared, short_line, unique_name

_LOCALS: Final = ("first", "second", "third")
_MOST_KEEP: Final = 4.0
_MOST_BAND: Final = 2.0
_NUMBER: Final = r"\d+(?:\.\d+)?"
_LINE: Final = re.compile(
    rf"(\w+) (\w+) (\w+) ([^;]+); share ({_NUMBER}), size (\w+), (\w+), band ({_NUMBER}), keep ({_NUMBER})"
)
_SCORE: Final = re.compile(rf"(most|least) ([a-z_]+?)((?:_\d+)+)( scaled)?(?: x({_NUMBER}))?")
_BETS: Final[dict[tuple[str, int], tuple[str, str]]] = {
    ("trend", 1): (
        "flows into winners are slow: who decides late is still to come",
        "at sharp reversals of the whole market, when the losers are bought first",
    ),
    ("trend", -1): (
        "hurried orders push a price too far, and it comes back to those who wait",
        "when the move is the beginning of a repricing",
    ),
    ("carry", 1): (
        "a crowd that pays for its side knows something, and goes on paying",
        "when the crowd has to leave at once",
    ),
    ("carry", -1): (
        "the crowded side pays for its leverage",
        "when the crowd is right for long",
    ),
    ("risk", 1): (
        "who bears what others shun is paid for it",
        "in a flight to what is quiet",
    ),
    ("risk", -1): (
        "who may not borrow buys wild coins in place of leverage, and pays too much for them",
        "in a rush for the wildest",
    ),
    ("volume", 1): (
        "attention is slow: what is noticed today is bought tomorrow",
        "when the noise was the end of the move",
    ),
    ("volume", -1): (
        "what nobody looks at is too cheap",
        "when it is cheap for a reason",
    ),
    ("positioning", 1): (
        "new money follows money",
        "when positions are closed all at once",
    ),
    ("positioning", -1): (
        "what is crowded with leverage is sold by force",
        "when the crowd is right for long",
    ),
}


def name_of(genome: BookGenome, taken: Collection[str] = ()) -> str:
    """Return a readable name, different from those taken: `most_returns_24h_3fa2`."""
    side = "" if genome.direction == "both" else f"_{genome.direction}"
    verb = "most" if genome.lead.side > 0 else "least"
    return unique_name(f"{verb}_{genome.lead.family}{side}_{genome.rebalance}", genome.key, taken)


def rendered(genome: BookGenome, name: str) -> str:
    """Return the text of a genome as one book class of the language."""
    return _Text(genome).whole(name)


def score_text(score: Score, timeframe: str, *, ranked: bool) -> str:
    """Return a book whose scores are those of one score, more of it first.

    Parameters
    ----------
    score : Score
        The score; its side does not count.
    timeframe : str
        Of the bars.
    ranked : bool
        Whether they are ranks.

    Returns
    -------
    str
        Its text.
    """
    value = _value(score, timeframe, [repr(number) for number in score.numbers])
    return "\n".join(
        [
            "class OneScore(Book):",
            '    """One score."""',
            "",
            '    name = "one_score"',
            f'    timeframe, rebalance = "{timeframe}", "{REBALANCES[-1]}"',
            "",
            "    def weigh(self, f):",
            f"        return Weights(rank_by={f'across.rank({value})' if ranked else value})",
            "",
        ]
    )


def _value(score: Score, timeframe: str, numbers: list[str]) -> str:
    value = score.term.text.format(*numbers)
    if not score.scaled:
        return value
    bars = max(2, round(RISK_HOURS * 60 / MINUTES[timeframe]))  # type: ignore[index]  # one of a book
    return f"({value}) / f.realized_volatility_{bars}"


@dataclass
class _Text:
    genome: BookGenome
    declared: Declared = field(default_factory=Declared)

    def whole(self, name: str) -> str:
        g = self.genome
        lines = [f"{_LOCALS[place]} = {self._score(score, place)}" for place, score in enumerate(g.scores)]
        rank_by = self._rank_by()
        arguments = self._arguments()
        does, edge, fails = describe(g)
        title = "".join(part.capitalize() for part in name.split("_"))
        parts = [
            f"class {title}(Book):",
            f'    """{does}',
            "",
            f"    Edge: {edge}.",
            f"    Fails: {fails}.",
            f"    {SHORT}{line_of(g)}",
            '    """',
            "",
            f'    name = "{name}"',
            f'    timeframe, rebalance = "{g.timeframe}", "{g.rebalance}"',
            *(f"    {key} = {param}" for key, param in self.declared.parameters.items()),
            "",
            "    def weigh(self, f):",
            *(f"        {line}" for line in lines),
            "        return Weights(",
            f"            rank_by={rank_by},",
            *(f"            {argument}," for argument in arguments),
            "        )",
            "",
        ]
        return "\n".join(parts)

    def _score(self, score: Score, place: int) -> str:
        numbers = []
        for which, number in enumerate(score.numbers):
            low, high = _length_range(score.term, self.genome, which, number)
            part = ("bars", "usual")[which]
            numbers.append(f"self.{self.declared.declare(part, place, number, low, high, score.family)}")
        return _value(score, self.genome.timeframe, numbers)

    def _rank_by(self) -> str:
        scores = self.genome.scores
        if len(scores) == 1:
            return _LOCALS[0] if scores[0].side > 0 else f"-{_LOCALS[0]}"
        text = f"across.rank({_LOCALS[0]})" if scores[0].side > 0 else f"-across.rank({_LOCALS[0]})"
        for place, score in enumerate(scores[1:], 1):
            key = self.declared.declare("mix", place, score.mix, min(0.1, score.mix), max(4.0, score.mix), score.family)
            text += f" {'+' if score.side > 0 else '-'} self.{key} * across.rank({_LOCALS[place]})"
        return text

    def _arguments(self) -> list[str]:
        g = self.genome
        key = self.declared.declare("share", 0, g.share, min(0.05, g.share), max(0.5, g.share))
        long, short = (f"self.{key}" if g.direction in {"both", side} else "0" for side in ("long", "short"))
        arguments = [f"long={long}", f"short={short}", f'size="{g.size}"', f'neutral="{g.neutral}"']
        if g.band:
            key = self.declared.declare("band", 0, g.band, 0.0, max(_MOST_BAND, g.band))
            arguments.append(f"band=self.{key}")
        if g.keep:
            key = self.declared.declare("keep", 0, g.keep, 1.0, max(_MOST_KEEP, g.keep))
            arguments.append(f"keep=self.{key}")
        return arguments


def _length_range(term: ScoreTerm, genome: BookGenome, which: int, number: int) -> tuple[int, int]:
    """Return how far a tuner may move one of a score's numbers of bars."""
    all_of = [numbers[which] for numbers in term.lengths_on(genome.timeframe)]
    low = min(number, max(min(all_of), number // 2))
    return low, max(number, min(max(all_of), 2 * number))


def describe(genome: BookGenome) -> tuple[str, str, str]:
    """Return what a genome does, what it bets on and when it should fail, each without line breaks."""
    does = _whole(genome) + ("; sell the opposite" if genome.direction == "both" else "")
    edge, fails = _BETS[genome.lead.term.group, genome.lead.side]
    return f"{does}.", edge, fails


def _whole(genome: BookGenome) -> str:
    """Return what is bought, or sold where there is only a short leg."""
    turned = -1 if genome.direction == "short" else 1
    lead, *further = (_says(score, turned) for score in genome.scores)
    mixed = "; mixed by rank with " + " and ".join(further) if further else ""
    return f"{'Sell' if turned < 0 else 'Buy'} {lead}{mixed}"


def _says(score: Score, turned: int) -> str:
    scaled = ", for its volatility" if score.scaled else ""
    return f"what {score.term.says if score.side * turned > 0 else score.term.less}{scaled}"


def line_of(genome: BookGenome) -> str:
    """Return a genome in one line: `60m 24h both most returns_72 scaled; share 0.2, size rank, dollar, band 0, keep 0`.

    Scores are joined by `&`, and what is mixed in has its weight behind an x.
    """
    scores = " & ".join(_short(score, place) for place, score in enumerate(genome.scores))
    return (
        f"{genome.timeframe} {genome.rebalance} {genome.direction} {scores}; share {genome.share:.12g}, "
        f"size {genome.size}, {genome.balance}, band {genome.band:.12g}, keep {genome.keep:.12g}"
    )


def _short(score: Score, place: int) -> str:
    name = "_".join([score.family, *map(str, score.numbers)])
    side = "most" if score.side > 0 else "least"
    return f"{side} {name}{' scaled' if score.scaled else ''}{f' x{score.mix:.12g}' if place else ''}"


def genome_of(book: Book) -> BookGenome | None:
    """Return the genome of a book that `rendered` wrote, with the parameters in force; None for any other.

    The line in the docstring is believed only where it gives the same text again.
    """
    line = short_line(book.description)
    genome = None if line is None else _parsed(line)
    if genome is None:
        return None
    text = _Text(genome)
    if text.whole(book.name).strip() != book.source().strip():
        return None
    for key, value in book.parameters.items():
        genome = _with(genome, *text.declared.slots[key], value)
    return genome


def _with(g: BookGenome, part: str, place: int, value: float) -> BookGenome:
    if part in {"share", "band", "keep"}:
        rule: dict[str, Any] = {part: float(value)}
        return replace(g, **rule)
    score = g.scores[place]
    if part == "mix":
        score = replace(score, mix=float(value))
    else:
        which = ("bars", "usual").index(part)
        score = replace(score, numbers=(*score.numbers[:which], int(value), *score.numbers[which + 1 :]))
    return replace(g, scores=(*g.scores[:place], score, *g.scores[place + 1 :]))


def _parsed(line: str) -> BookGenome | None:
    """Read `line_of` back; None for what it cannot have written."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    timeframe = next((name for name in TIMEFRAMES if name == match[1]), None)
    direction = next((name for name in DIRECTIONS if name == match[3]), None)
    size: Size | None = next((name for name in SIZES if name == match[6]), None)
    balance = next((name for name in BALANCES if name == match[7]), None)
    scores = [_parsed_score(text) for text in match[4].split(" & ")]
    readable = [score for score in scores if score is not None]
    if timeframe is None or direction is None or size is None or balance is None or match[2] not in REBALANCES:
        return None
    if len(readable) < len(scores) or len(scores) > MOST_SCORES:
        return None
    share, band, keep = float(match[5]), float(match[8]), float(match[9])
    return BookGenome(timeframe, match[2], tuple(readable), direction, balance, share, size, band, keep)


def _parsed_score(text: str) -> Score | None:
    match = _SCORE.fullmatch(text)
    term = SCORE_TERMS.get(match[2]) if match else None
    if match is None or term is None:
        return None
    numbers = tuple(int(number) for number in match[3].split("_")[1:])
    if len(numbers) != len(term.lengths[0]):
        return None
    return Score(term.family, numbers, 1 if match[1] == "most" else -1, bool(match[4]), float(match[5] or 1))
