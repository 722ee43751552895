"""The first evaluation of a text that nobody has checked, before it is backtested here.

Belongs here: the stored bars on which it is evaluated, and the refusal. Does not belong here: compiling and the child
process (`strategies.untrusted`), the checks of the cycle's designs (`blofin_assets.strategy_cycle.judges`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from blofin_assets.cli.session import Session
from blofin_assets.cli.stored_books import last_common
from blofin_assets.strategy_cycle.book_library import validation_frames
from blofin_assets.strategy_cycle.judges import LIMITS, require_evaluated, require_known
from blofin_assets.strategy_cycle.search_window import sample_of, validation_market
from strategies.language.book import Book
from strategies.language.strategy import Strategy, StrategyError
from strategies.untrusted.compiler import compile_any


def evaluated_text(session: Session, text: str, parameters: Mapping[str, float]) -> Strategy | Book:
    """Return what a text defines, once a child process with limits has evaluated and checked it.

    Parameters
    ----------
    session : Session
        Whose stored bars it is evaluated on.
    text : str
        Unchecked.
    parameters : dict of str to float
        Of the version that is returned. Evaluated is what is written; the compiler's bounds hold for all values.

    Returns
    -------
    Strategy or Book
        The version.

    Raises
    ------
    StrategyError
        If it does not compile, reads what there is not, looks ahead, depends on the price level, or exceeds the limits;
        the message says which.
    """
    written = compile_any(text, "text")
    version = written.with_parameters(**parameters) if parameters else written
    store, now = session.warehouse, datetime.now(UTC)
    if isinstance(written, Book):
        market = validation_frames(store, written, last_common(store, [written], now))
    else:
        symbols = session.settings.symbols
        require_known(written, symbols)
        market = sample_of(validation_market(store, symbols, now, [written]))
    try:
        require_evaluated(written, market, LIMITS, session.settings.seed)
    except StrategyError as error:
        msg = f"its first evaluation, in a process of its own, refused it: {error}"
        raise StrategyError(msg) from None
    return version
