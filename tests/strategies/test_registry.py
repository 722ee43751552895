"""The library is its files: one strategy each, named as the file, and nothing else."""

from pathlib import Path

import pytest

from strategies.language.strategy import StrategyError
from strategies.registry import BOOKS, LIBRARY, load_book, load_books, load_file, load_library
from strategies.untrusted.compiler import compile_file

GOOD = '''
from strategies import Param, Signal, Strategy

class {cls}(Strategy):
    """Buy above a level."""

    name = "{name}"
    level = Param(1.0, 0.0, 2.0)

    def detect(self, f):
        return Signal(long_entry=f.close > self.level)
'''


def test_every_file_of_the_library_is_one_strategy_of_that_name() -> None:
    library = load_library()
    assert [strategy.name for strategy in library] == sorted(
        path.stem for path in LIBRARY.glob("*.py") if path.stem != "__init__"
    )
    assert len({strategy.version for strategy in library}) == len(library)


def test_every_docstring_says_the_edge_and_when_it_fails() -> None:
    for strategy in load_library():
        assert "Edge:" in strategy.description, strategy.name
        assert "Fails:" in strategy.description, strategy.name


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(GOOD.format(cls="One", name="one"))
    (tmp_path / "two.py").write_text(GOOD.format(cls="Two", name="two"))
    assert [strategy.name for strategy in load_library(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.format(cls="Bad", name="other"), "named other, its file bad"),
        (GOOD.format(cls="Bad", name="bad") + GOOD.format(cls="Worse", name="bad"), "exactly one strategy class"),
        ("x = 1\n", "exactly one strategy class, this one holds none"),
        ("x = 1\nclass :\n", r"bad\.py:2: "),
        ("x = 1\ny = 1 / 0\n", r"bad\.py:2: division"),
        (GOOD.format(cls="Bad", name="bad").replace("f.close > self", "f.close and self"), r"bad\.py:11: "),
    ],
)
def test_a_bad_file_is_refused_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(StrategyError, match=said):
        load_library(tmp_path)


def test_a_file_of_a_book_is_that_book_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = BOOKS / "funding_carry.py"
    assert type(load_book(named)) is type(next(book for book in load_books() if book.name == "funding_carry"))
    (tmp_path / "link").symlink_to(BOOKS)
    monkeypatch.setattr("strategies.registry.BOOKS", tmp_path / "link")
    assert type(load_book(tmp_path / "link" / named.name)) is type(load_book(named)), "one class, by either path"
    (tmp_path / "funding_carry.py").write_text(named.read_text())
    assert load_book(tmp_path / "funding_carry.py").version == load_book(named).version
    assert compile_file(named).version == load_book(named).version
    with pytest.raises(StrategyError, match="exactly one strategy class, this one holds none"):
        load_file(named)
    with pytest.raises(StrategyError, match="exactly one book class, this one holds none"):
        load_book(LIBRARY / "ema_crossover.py")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="folder not found"):
        load_library(tmp_path / "nowhere")
