"""Books from untrusted text: the same as imported ones, or refused with a reason."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from support.invented_universe import invented

from strategies.registry import BOOKS, library_files, load_books
from strategies.untrusted.compiler import RefusedError, compile_any, compile_book, compile_expression, compile_strategy
from strategies.untrusted.sandbox import first_evaluation
from strategies.validation.books import scores_of

GOOD = (BOOKS / "residual_momentum.py").read_text()
PLAIN = '''class Plain(Book):
    """Buys what rose.

    Edge: flows.
    Fails: often.
    """

    name = "plain_book"
    timeframe, rebalance = "60m", "8h"
    hours = Param(12, 4, 48)

    def weigh(self, f):
        return Weights(rank_by=f.feature("returns", self.hours), long=0.25, short=0.25)
'''


@pytest.mark.parametrize("path", library_files(BOOKS), ids=lambda path: path.stem)
def test_the_text_of_a_book_means_what_its_import_means(path: Path) -> None:
    imported = next(book for book in load_books() if book.name == path.stem)
    compiled = compile_book(path.read_text(), str(path))
    assert compiled.version == imported.version
    assert compiled.rules == imported.rules
    market = invented(hours=120)
    assert scores_of(compiled, market).equals(scores_of(imported, market))


BAD = {
    "an import": (
        PLAIN.replace("        return", "        import os\n        return"),
        "without import",
    ),
    "a file": (PLAIN.replace("f.feature", "open('/etc/passwd') or f.feature"), "BoolOp|open"),
    "an attribute of across": (
        PLAIN.replace('f.feature("returns", self.hours)', "across.__class__"),
        "a dot stands only",
    ),
    "an unknown word": (
        PLAIN.replace('f.feature("returns", self.hours)', "across.median(f.returns)"),
        "no word median",
    ),
    "a number alone": (PLAIN.replace('f.feature("returns", self.hours)', "across.rank(1)"), "needs a value"),
    "too many arguments": (PLAIN.replace('f.feature("returns", self.hours)', "across.rank(f.returns, 2)"), "arguments"),
    "across by name": (PLAIN.replace('f.feature("returns", self.hours)', "across.rank(x=f.returns)"), "needs a value"),
    "a plain score": (PLAIN.replace('f.feature("returns", self.hours)', "1"), "values over features"),
    "a share by value": (PLAIN.replace("long=0.25", "long=f.returns"), "number or a parameter"),
    "a size that is no text": (PLAIN.replace("long=0.25", "size=1"), "size is a plain text"),
    "an unknown size": (PLAIN.replace("long=0.25", 'size="huge"'), "size is 'huge'"),
    "an unknown part": (PLAIN.replace("long=0.25", "leverage=3"), "Weights has no part leverage"),
    "no name": (PLAIN.replace("rank_by=", ""), "takes its parts by name"),
    "two bases": (PLAIN.replace("(Book)", "(Book, Strategy)"), "exactly one base, Book"),
    "a strategy": (PLAIN.replace("(Book)", "(Strategy)"), "exactly one base, Book"),
    "detect": (PLAIN.replace("def weigh", "def detect"), r"the only function is weigh\(self, f\)"),
    "another method": (
        PLAIN + "\n    def values_at(self, f):\n        return Weights(rank_by=f.returns)\n",
        "only function",
    ),
    "a part of every book": (PLAIN.replace("hours = Param", "rules = Param"), "rules is a part of every book"),
    "values_at as a parameter": (PLAIN.replace("hours = Param", "values_at = Param"), "part of every book"),
    "across as a name": (PLAIN.replace("hours = Param", "across = Param"), "cannot be given a meaning"),
    "a computed timeframe": (PLAIN.replace('"60m", "8h"', '"6" + "0m", "8h"'), "timeframe is a plain text"),
    "more names than values": (PLAIN.replace('"60m", "8h"', '"60m",'), "as many values as names"),
    "twice": (
        PLAIN.replace('    name = "plain_book"', '    name = "plain_book"\n    timeframe = "60m"'),
        "given twice",
    ),
    "a timeframe of a strategy": (
        PLAIN.replace("timeframe, rebalance", "timeframes, rebalance"),
        "an attribute of the class",
    ),
    "an interval that is none": (PLAIN.replace('"8h"', '"often"'), "rebalance is 'often'"),
    "no docstring": (PLAIN.replace(PLAIN[PLAIN.index('"""') : PLAIN.rindex('"""') + 3], ""), "docstring|not Python"),
    "strategies.base": ("from strategies.base import Book\n" + PLAIN, "only the language may be imported"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_book_is_refused_with_a_reason(name: str) -> None:
    text, reason = BAD[name]
    with pytest.raises(ValueError, match=reason):
        compile_book(text)


def test_each_text_is_read_by_its_kind() -> None:
    assert compile_any(PLAIN).version == compile_book(PLAIN).version
    with pytest.raises(RefusedError, match="exactly one base, Strategy"):
        compile_strategy(PLAIN)
    assert compile_book(PLAIN, "<text>", hours=24).parameters == {"hours": 24}


def test_a_feature_cannot_compare_symbols() -> None:
    with pytest.raises(RefusedError, match="a feature is of one"):
        compile_expression("across.rank(f.returns)")


@pytest.mark.slow
def test_a_book_is_first_evaluated_in_a_child_process() -> None:
    market = invented(hours=300)
    verdict = first_evaluation(GOOD.replace("Param(168, 48, 500)", "Param(48, 24, 100)"), market)
    assert verdict.accepted, verdict.reason
    assert verdict.name == "residual_momentum"
    assert verdict.entries["60m"] > 100
    dear = first_evaluation(PLAIN.replace('f.feature("returns", self.hours)', "f.close"), market)
    assert not dear.accepted
    assert dear.reason.startswith("price memory on 60m")
    assert "no candles of 4h" in first_evaluation(PLAIN.replace('"60m", "8h"', '"4h", "8h"'), market).reason


RUN = """
import sys
sys.path.insert(0, "tests")
from support.invented_universe import invented
from backtester import backtest_book
from strategies import compile_book
from strategies.registry import BOOKS
market = invented(hours=200)
book = compile_book((BOOKS / "volatility_scaled_momentum.py").read_text(), hours=24)
print(backtest_book(book, market.candles["60m"], market.funding).result.equity[-1].hex())
"""


@pytest.mark.slow
def test_two_processes_give_the_same_equity() -> None:
    def elsewhere(seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert elsewhere("1") == elsewhere("2") != ""


def test_a_score_is_null_where_its_features_are() -> None:
    scores = scores_of(compile_book(PLAIN), invented(hours=60))
    assert scores.filter(pl.int_range(pl.len()).over("symbol") < 12)["score"].null_count() >= 8 * 11
