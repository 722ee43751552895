"""What a design by Claude must pass before it may be a finalist, of strategies and of books.

Belongs here: the checks in their order, and what they mean for each kind. Does not belong here: asking for designs
(`llm_designer`), the checks themselves (`strategies.untrusted`, `strategies.validation`).

No look-ahead: nothing here reads a bar of the holdout.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from backtester.statistics.windows import Window
from blofin_assets.shared.deep_market import DeepMarket
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.prediction_source import check_prediction
from blofin_assets.strategy_cycle.population import BOOKS, STRATEGIES, Versions, W
from blofin_assets.strategy_cycle.proposals import TrialRow, book_seen_in_search, seen_in_search
from blofin_assets.strategy_cycle.search_window import sample_of
from blofin_resources.errors import BlofinError
from features.engine import needs
from features.market import Market
from strategies.language.book import Book
from strategies.language.strategy import Strategy, StrategyError
from strategies.search.books import InSample, ScoredBook, evaluate_book, tune_book
from strategies.search.objective import Scored, evaluate_objective
from strategies.search.panel import Panel
from strategies.search.tuning import Measured, Tuned, tune
from strategies.untrusted.sandbox import Limits, first_evaluation
from strategies.validation.books import validate_book
from strategies.validation.checks import Finding, validate
from strategies.validation.duplicates import Positions, find_duplicate, weights_held

CUTS: Final = 4
"""Random times at which the causality test cuts the data, in addition to the critical ones."""

LIMITS: Final = Limits()
"""Of the child process in which a text that nobody has checked is first evaluated."""

R = TypeVar("R", bound=Measured[Any])


def require_evaluated(version: W, sample: Market, limits: Limits, seed: int) -> None:
    """Evaluate and check a version in a child process.

    Parameters
    ----------
    version : Strategy or Book
        Compiled from a text that nobody has checked.
    sample : Market
        What it is evaluated on.
    limits : Limits
        Of the child process.
    seed : int
        Of the checks.

    Raises
    ------
    StrategyError
        If it fails there or is refused, with the reason.
    """
    verdict = first_evaluation(version.source(), sample, limits, seed=seed)
    if not verdict.accepted:
        raise StrategyError(verdict.reason)
    if (verdict.name, verdict.version) != (version.name, version.version):
        named, own = f"{verdict.name} {verdict.version}", f"{version.name} {version.version}"
        msg = f"its first evaluation was of {named}, not of {own}"
        raise StrategyError(msg)


@dataclass(frozen=True, kw_only=True)
class Judge(ABC, Generic[W, R]):
    """Everything that a design must pass, whatever its kind.

    Attributes
    ----------
    of : Versions
        The kind.
    taken : mapping of str to Positions
        Names in use, with their positions in the search window; empty for what does not trade.
    seed : int
        Seed of the checks.
    limits : Limits
        Limits of the child process.
    """

    of: ClassVar[Versions[Any]]
    taken: Mapping[str, Positions]
    seed: int
    limits: Limits

    def read(self, code: str) -> W:
        """Return the version that a text defines.

        Raises
        ------
        StrategyError
            If it does not compile, if its name is taken, if it reads what there is not, if its bars have no search
            window, or if it fails in the child process; the message gives the reason.
        """
        version: W = self.of.compile(code, f"your {self.of.kind}")
        if version.name in self.taken:
            msg = f"the name {version.name} is taken; choose another"
            raise StrategyError(msg)
        self.require(version)
        require_evaluated(version, self.sample(version), self.limits, self.seed)
        return version

    def examine(self, version: W, tries: list[TrialRow]) -> R:
        """Validate a version and return its results in the search window.

        Parameters
        ----------
        version : Strategy or Book
            The design.
        tries : list of TrialRow
            Gets its evaluation, also where the version is refused for what that shows.

        Returns
        -------
        Scored or ScoredBook
            The results.

        Raises
        ------
        StrategyError
            If it looks ahead, depends on the price level, never trades, or duplicates something that exists.
        """
        findings = self.findings(version)
        if findings:
            raise StrategyError(
                "; ".join(f"{finding.check} on {finding.timeframe}: {finding.detail}" for finding in findings)
            )
        scored = self.scored(version)
        tries.append(self.row(scored))
        if not tries[-1].trades:
            msg = "it made no trades in the search window"
            raise StrategyError(msg)
        same = find_duplicate(self.positions(version), self.taken)
        if same is not None:
            msg = f"it trades like {same[0]}; design something different"
            raise StrategyError(msg)
        return scored

    def tuned(self, version: W, share: int, seed: int) -> tuple[R, list[TrialRow]]:
        """Return the best version within a share of the budget if it is valid as well, else the design itself.

        Parameters
        ----------
        version : Strategy or Book
            The design.
        share : int
            Evaluations allowed, its own included.
        seed : int
            Seed of the tuning.

        Returns
        -------
        tuple of Scored or ScoredBook, and list of TrialRow
            The version and every evaluation.
        """
        found = self.tune(version, max(1, share), seed)
        tries = [self.row(scored) for scored in found.tried]
        if found.best is None or self.findings(found.best.strategy):
            return found.parent, tries
        return found.best, tries

    def held(self, version: W) -> Positions:
        """Return the positions of a version in its search window; none if it cannot be run."""
        held = fenced(self.positions, version)
        return {} if isinstance(held, Failed) else held

    @abstractmethod
    def require(self, version: W) -> None:
        """Refuse a version that reads what there is not, or whose bars have no search window, by a `StrategyError`."""

    @abstractmethod
    def sample(self, version: W) -> Market:
        """Return the market of its first evaluation, in the child process."""

    @abstractmethod
    def findings(self, version: W) -> list[Finding]:
        """Return the reasons why a version may not be ranked."""

    @abstractmethod
    def scored(self, version: W) -> R:
        """Return its results in the search window."""

    @abstractmethod
    def positions(self, version: W) -> Positions:
        """Return its positions there."""

    @abstractmethod
    def tune(self, version: W, budget: int, seed: int) -> Tuned[Any, R]:
        """Search for better values of its parameters.

        Parameters
        ----------
        version : Strategy or Book
            Where the search begins.
        budget : int
            Most evaluations, its own included.
        seed : int
            Seed of the search.

        Returns
        -------
        Tuned
            Every version tried, and the best of them.
        """

    @abstractmethod
    def row(self, scored: R) -> TrialRow:
        """Return the row of an evaluation in the trial ledger."""

    @abstractmethod
    def seen(self, scored: R) -> dict[str, Any]:
        """Return the fields of a proposal that describe an in-sample result."""


@dataclass(frozen=True, kw_only=True)
class StrategyJudge(Judge[Strategy, Scored]):
    """What a strategy must pass.

    Attributes
    ----------
    symbols : sequence of str
        What may be traded and read.
    panel : callable
        Returns the panel of the search window that is a strategy's own; raises `BlofinError` where there is none.
    market : callable
        Returns the market on which a strategy is validated, with all that it reads.
    """

    of: ClassVar[Versions[Any]] = STRATEGIES
    symbols: Sequence[str]
    panel: Callable[[Strategy], Panel]
    market: Callable[[Strategy], Market]

    def require(self, version: Strategy) -> None:
        """See `Judge.require`."""
        try:
            self.panel(version)
        except BlofinError as error:
            msg = f"{error}; write it on 5m or 60m"
            raise StrategyError(msg) from error
        require_known(version, self.symbols)

    def sample(self, version: Strategy) -> Market:
        """See `Judge.sample`."""
        return sample_of(self.market(version))

    def findings(self, version: Strategy) -> list[Finding]:
        """See `Judge.findings`."""
        return validate(version, self.market(version), cuts=CUTS, seed=self.seed)

    def scored(self, version: Strategy) -> Scored:
        """See `Judge.scored`."""
        return evaluate_objective(self.panel(version), version)

    def positions(self, version: Strategy) -> Positions:
        """See `Judge.positions`."""
        return self.panel(version).positions(version)

    def tune(self, version: Strategy, budget: int, seed: int) -> Tuned[Strategy, Scored]:
        """See `Judge.tune`."""
        return tune(self.panel(version), version, budget=budget, seed=seed)

    def row(self, scored: Scored) -> TrialRow:
        """See `Judge.row`."""
        return TrialRow.of(scored, self.panel(scored.strategy).window)

    def seen(self, scored: Scored) -> dict[str, Any]:
        """See `Judge.seen`."""
        return seen_in_search(scored)


@dataclass(frozen=True, kw_only=True)
class BookJudge(Judge[Book, ScoredBook]):
    """What a book must pass.

    Attributes
    ----------
    window : Window
        The search window.
    market : callable
        Returns what a book runs on in it, with all that it reads; raises `BlofinError` where there is none.
    frames : callable
        Returns the market on which a book is validated.
    """

    of: ClassVar[Versions[Any]] = BOOKS
    window: Window
    market: Callable[[Book], DeepMarket]
    frames: Callable[[Book], Market]

    def require(self, version: Book) -> None:
        """See `Judge.require`."""
        try:
            self.market(version)
        except BlofinError as error:
            raise StrategyError(str(error)) from error

    def sample(self, version: Book) -> Market:
        """See `Judge.sample`."""
        return self.frames(version)

    def findings(self, version: Book) -> list[Finding]:
        """See `Judge.findings`."""
        return validate_book(version, self.frames(version), cuts=CUTS, seed=self.seed)

    def scored(self, version: Book) -> ScoredBook:
        """See `Judge.scored`."""
        return evaluate_book(self._in_sample(version), version)

    def positions(self, version: Book) -> Positions:
        """See `Judge.positions`."""
        return weights_held(self._in_sample(version).run(version).result)

    def tune(self, version: Book, budget: int, seed: int) -> Tuned[Book, ScoredBook]:
        """See `Judge.tune`."""
        return tune_book(self.market(version).prepared, self.window, version, budget=budget, seed=seed)

    def row(self, scored: ScoredBook) -> TrialRow:
        """See `Judge.row`."""
        return TrialRow.of_book(scored, self.window)

    def seen(self, scored: ScoredBook) -> dict[str, Any]:
        """See `Judge.seen`."""
        return book_seen_in_search(scored)

    def _in_sample(self, version: Book) -> InSample:
        return InSample(self.market(version).prepared, self.window)


def require_known(strategy: Strategy, symbols: Collection[str]) -> None:
    """Refuse a strategy that reads a symbol that is not configured, or the prediction of an unknown model.

    The compiler cannot check this: it knows the form of such names, not which symbols and models exist.

    Raises
    ------
    StrategyError
        With the unknown name and the available ones.
    """
    for timeframe in strategy.timeframes:
        need = needs(strategy.features(timeframe), timeframe)
        unknown = sorted({symbol for symbol, _ in need.candles if symbol} - set(symbols))
        if unknown:
            msg = f"it reads {', '.join(unknown)}, which is not configured; available: {', '.join(symbols)}"
            raise StrategyError(msg)
        for name in sorted({name for names in need.predictions.values() for name in names}):
            kind, _, bare = name.partition(":")
            try:
                check_prediction(kind, bare)
            except LookupError as error:
                raise StrategyError(str(error.args[0])) from error
