"""Prompts for Claude, rendered from the files in `prompts/`.

Belongs here: one function for each prompt, from typed context to the two texts that are sent. Does not belong here:
sending (`blofin_resources.claude`), choosing which lessons or results are shown.

A file begins with its version, which is raised with every change of its text, and has two parts. *system* is the same
in every call of a cycle, so that the API can cache it. *question* holds everything that comes from data, each piece in
a data block (`strategies.llm.data_blocks`). Placeholders are filled by name, and values are never expanded again.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import Template
from typing import Final

from backtester.simulation.costs import Costs
from backtester.statistics.windows import HOLDOUT_LENGTH, LONG_HOLDOUT_LENGTH, LONG_SEARCH_REACH, SEARCH_REACH
from features.registry import Registry
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.llm.data_blocks import block, records
from strategies.llm.language_reference import book_reference, feature_reference, language_reference

PROMPTS: Final = Path(__file__).with_name("prompts")
"""Folder of the prompt files."""

NAMES: Final = ("design", "design_book", "tune", "tune_book", "feature", "summarise", "review")
"""The prompts; beside them, `house`, `rules`, `rules_book` and `again` are parts of others."""

SEARCH_WINDOW: Final = SEARCH_REACH - HOLDOUT_LENGTH
"""Length of the window whose results may be shown: it ends a week before the cycle."""
BOOK_SEARCH_WINDOW: Final = LONG_SEARCH_REACH - LONG_HOLDOUT_LENGTH
"""The same of books, where there is so much history."""

_FILE: Final = re.compile(r"version: (\d+)\n=== system ===\n(.*)\n=== question ===\n(.*)", re.DOTALL)

Row = Mapping[str, object]


@dataclass(frozen=True)
class Prompt:
    """Two texts to be sent.

    Attributes
    ----------
    name : str
        Name of its file.
    version : int
        Version of its file.
    system : str
        The long part that is the same in every call of a cycle.
    question : str
        What this call is about, with all data in it.
    """

    name: str
    version: int
    system: str
    question: str

    def again(self, reply: str, problem: str) -> "Prompt":
        """Return the prompt that asks again after a reply that did not fit or whose code was rejected.

        Parameters
        ----------
        reply : str
            The reply; shown as data.
        problem : str
            Its error; shown as data too, since it may quote the reply.
        """
        _, _, words = _read("again")
        repair = _filled(words, reply=block("reply", reply, longest=24_000), problem=block("problem", problem))
        return replace(self, question=f"{self.question}\n\n{repair}")


@dataclass(frozen=True)
class Lesson:
    """A result of an earlier trial, as `research.knowledge_entries` stores it.

    Attributes
    ----------
    category : str
        performance, lesson, recommendation or change.
    content : str
        In words.
    strategy, symbol : str or None
        What it is about.
    """

    category: str
    content: str
    strategy: str | None = None
    symbol: str | None = None


def design_prompt(
    *,
    lessons: Sequence[Lesson],
    market: Iterable[Row],
    known: Iterable[Row],
    wanted: str,
    costs: Costs | None = None,
    registry: Registry | None = None,
    book: bool = False,
) -> Prompt:
    """Return the prompt for one new strategy or book.

    Parameters
    ----------
    lessons : sequence of Lesson
        The most relevant first; those that do not fit are left out. None may depend on the current holdout.
    market : iterable of mapping
        The regime of each symbol and timeframe as of the search window's end; for a book, that of the universe.
    known : iterable of mapping
        Name and purpose of what exists, which should not be designed again.
    wanted : str
        What is missing, such as a timeframe or a style; shown as data.
    costs : Costs, optional
        Costs of the holdout.
    registry : Registry, optional
        Features that may be read.
    book : bool
        Whether a book is to be designed.

    Returns
    -------
    Prompt
        Its *system* part depends on costs, registry and kind alone.
    """
    return _prompt(
        "design_book" if book else "design",
        _material(costs, registry, book=book),
        lessons=records("lessons", map(asdict, lessons)),
        market=records("market", market),
        known=records("strategies", known, longest=8_000),
        wanted=block("facts", wanted, longest=2_000),
    )


def feature_prompt(
    *,
    model: Row,
    importance: Iterable[Row],
    drift: Iterable[Row],
    lessons: Sequence[Lesson],
    costs: Costs | None = None,
    registry: Registry | None = None,
) -> Prompt:
    """Return the prompt for one new input of a model with persistent drift.

    Parameters
    ----------
    model : mapping
        Name, type, timeframe, inputs and label.
    importance, drift : iterable of mapping
        Rows of `ml.feature_importance` and `research.drift_tests`, from validation folds and data after activation,
        never from a holdout that is still to be evaluated.
    lessons, costs, registry
        As for `design_prompt`.

    Returns
    -------
    Prompt
        Its *system* part depends on costs and registry alone.
    """
    return _prompt(
        "feature",
        _material(costs, registry),
        model=records("facts", [model]),
        importance=records("facts", importance),
        drift=records("facts", drift),
        lessons=records("lessons", map(asdict, lessons)),
    )


def tune_prompt(
    strategy: Strategy | Book,
    *,
    results: Iterable[Row],
    lessons: Sequence[Lesson],
    market: Iterable[Row],
    attempt: int,
    costs: Costs | None = None,
) -> Prompt:
    """Return the prompt for other parameters of an underperforming strategy or book.

    Parameters
    ----------
    strategy : Strategy or Book
        Its text is shown as data, whatever its author.
    results : iterable of mapping
        Results of the search window, never of the holdout.
    lessons, market, costs
        As for `design_prompt`.
    attempt : int
        Number of this attempt to tune the strategy, from 1.

    Returns
    -------
    Prompt
        Its *system* part depends on costs and kind alone.
    """
    book = isinstance(strategy, Book)
    ranges = [
        {
            "parameter": name,
            "now": strategy.parameters[name],
            "low": param.low,
            "high": param.high,
            "whole": param.whole,
        }
        for name, param in strategy.ranges().items()
    ]
    return _prompt(
        "tune_book" if book else "tune",
        _material(costs, None, features=False, book=book),
        code=block("strategy", strategy.source()),
        parameters=records("facts", ranges),
        results=records("report", results),
        lessons=records("lessons", map(asdict, lessons), longest=6_000),
        market=records("market", market, longest=4_000),
        attempt=str(int(attempt)),
    )


def summary_prompt(facts: Iterable[Row], *, costs: Costs | None = None) -> Prompt:
    """Return the prompt for a few sentences about a cycle.

    Parameters
    ----------
    facts : iterable of mapping
        The only facts that the sentences may use.
    costs : Costs, optional
        As for `design_prompt`.
    """
    return _prompt("summarise", _house(costs), facts=records("facts", facts))


def review_prompt(report: Iterable[Row], *, costs: Costs | None = None) -> Prompt:
    """Return the prompt for a review of the daily report.

    Parameters
    ----------
    report : iterable of mapping
        Its sections, one each.
    costs : Costs, optional
        As for `design_prompt`.
    """
    return _prompt("review", _house(costs), report=records("report", report, longest=60_000))


def prompt_version(name: str) -> int:
    """Return the version of a prompt file."""
    return _read(name)[0]


def _prompt(name: str, material: Mapping[str, str], **data: str) -> Prompt:
    version, system, question = _read(name)
    return Prompt(name, version, _filled(system, **material), _filled(question, **data))


def _house(costs: Costs | None, *, book: bool = False) -> dict[str, str]:
    charged = costs or Costs()
    _, trading, _ = _read("rules_book" if book else "rules")
    rules = _filled(
        trading,
        fee=f"{charged.taker_fee:.2%}",
        slippage=f"{charged.slippage:.2%}",
        round_trip=f"{charged.round_trip:.2%}",
        window=str((BOOK_SEARCH_WINDOW if book else SEARCH_WINDOW).days),
    )
    return {"house": _filled(_read("house")[1], rules=rules)}


def _material(
    costs: Costs | None, registry: Registry | None, *, features: bool = True, book: bool = False
) -> dict[str, str]:
    parts = {**_house(costs, book=book), "language": book_reference() if book else language_reference()}
    return {**parts, "features": feature_reference(registry)} if features else parts


def _filled(words: str, **values: str) -> str:
    return Template(words).substitute(values)


def _read(name: str) -> tuple[int, str, str]:
    """Return version, system part and question part of a file."""
    text = (PROMPTS / f"{name}.md").read_text(encoding="utf-8")
    match = _FILE.fullmatch(text)
    if match is None:
        msg = f"{PROMPTS / name}.md:1: a prompt is 'version: <n>', '=== system ===' and '=== question ===', one a line"
        raise ValueError(msg)
    return int(match.group(1)), match.group(2).strip(), match.group(3).strip()
