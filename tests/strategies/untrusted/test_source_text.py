"""One text: what is hashed, judged, stored and loaded again are the same characters, whatever stands between them."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.language.columns import Program
from strategies.language.strategy import Strategy, StrategyError
from strategies.registry import load_file
from strategies.untrusted.compiler import compile_expression, compile_file, compile_strategy
from strategies.untrusted.feature_compiler import written_feature
from strategies.untrusted.source_text import cut_lines, plain_text
from tests.strategies.hostile import GOOD

SEPARATORS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Where `str.splitlines` ends a line and Python does not."""
STRANGE = f"{SEPARATORS}\0\x07\x1b\x7f\x9b\u200b\u202e\ufeff\ud800"
SHORT = '''class Short(Strategy):
    """Sells. Edge: none. Fails: always."""

    name = "short"

    def detect(self, f):
        return Signal(short_entry=f.close > 0)
'''


def hidden(separator: str) -> str:
    """Return a harmless class with another one in the comments above it, for whoever cuts lines at `separator`."""
    return f"#{separator}{SHORT.replace(chr(10), f'{chr(10)}#{separator}')}\n{GOOD.lstrip()}"


def same_again(found: Strategy) -> None:
    again = compile_strategy(found.source(), **found.parameters)
    assert again.source() == found.source()
    assert (again.name, again.version) == (found.name, found.version)
    assert again.signal.conditions().keys() == found.signal.conditions().keys()
    for mine, other in zip(found.signal.values(), again.signal.values(), strict=True):
        assert Program([mine]).steps == Program([other]).steps


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_no_other_strategy_hides_between_the_lines(separator: str) -> None:
    with pytest.raises(StrategyError, match=f"text:1: .*U\\+{ord(separator):04X} .*may not stand"):
        compile_strategy(hidden(separator), "text")


@pytest.mark.parametrize("strange", STRANGE, ids=ascii)
@pytest.mark.parametrize(
    "place", ["# a comment", '"""Looks', "f.close", "    name"], ids=["comment", "docstring", "expression", "blanks"]
)
def test_a_character_that_python_and_people_read_apart_is_refused_by_name_and_line(strange: str, place: str) -> None:
    commented = GOOD.replace("    def", "    # a comment\n    def")
    line = commented[: commented.index(place)].count("\n") + 1
    hostile = commented.replace(place, place[:2] + strange + place[2:])
    with pytest.raises(StrategyError, match=f"text:{line}: .*U\\+{ord(strange):04X}"):
        compile_strategy(hostile, "text")


@pytest.mark.parametrize("escape", ["\\x1b[2J", "\\u2028", "\\ud800", "\\u202e", "\\x00"])
def test_an_escape_that_writes_such_a_character_is_refused_too(escape: str) -> None:
    with pytest.raises(StrategyError, match="text:3: Constant: U"):
        compile_strategy(GOOD.replace("Looks like", f"Looks {escape} like"), "text")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_make_no_other_strategy(end: str, mark: str, tmp_path: Path) -> None:
    plain = compile_strategy(GOOD)
    found = compile_strategy(mark + GOOD.replace("\n", end))
    assert (found.version, found.source()) == (plain.version, plain.source())
    (tmp_path / "mine.py").write_bytes((mark + GOOD.replace("\n", end)).encode())
    assert compile_file(tmp_path / "mine.py").version == plain.version


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD.replace("Looks", "Größe").encode("cp1252"), r"mine\.py:3: text: byte 0xf6 is not UTF-8"),
        (codecs.BOM_UTF16_LE + GOOD.encode("utf-16-le"), r"mine\.py:1: text: byte 0xff is not UTF-8"),
        (GOOD.encode("utf-32-le"), r"U\+0000"),
        (b"#" * 80_001, "at most 20000 characters"),
        (b"", "exactly one class, not 0"),
    ],
)
def test_a_file_of_other_bytes_is_refused_in_words(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(data)
    with pytest.raises(StrategyError, match=said):
        compile_file(tmp_path / "mine.py")


ABOVE = st.sampled_from(["# ü", "#\t", "", "\t", "# class X:", '"""text"""', "'''a\nb'''"])
WORDS = st.text(st.characters(exclude_characters="\\\"'#"), max_size=40)


@given(st.lists(ABOVE, max_size=4), WORDS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_taken_is_the_same_when_its_stored_text_is_read_again(above: list[str], words: str, end: str) -> None:
    text = "\n".join([*above, GOOD.lstrip().replace("Looks like", f"Looks {words} like")]).replace("\n", end)
    try:
        found = compile_strategy(text)
    except StrategyError:
        return
    same_again(found)
    assert found.signal.short_entry is None


@given(st.text(max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_lines_are_cut_where_python_counts_them(text: str, first: int, last: int) -> None:
    each = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert cut_lines("\n".join(each), first, last) == "\n".join(each[first - 1 : last])


def test_a_plain_text_is_itself() -> None:
    assert plain_text(GOOD) == GOOD
    assert plain_text("naïve – “text” 字 🙂\t\n") == "naïve – “text” 字 🙂\t\n"


def test_a_written_feature_is_one_text_too() -> None:
    marked, plain = (compile_expression(text) for text in ("\ufefff.rsi_14 / 50\r\n", "f.rsi_14 / 50"))
    assert Program([marked]).steps == Program([plain]).steps
    assert written_feature("\ufefff.rsi_14 / 50\r\n", "x").warmup == written_feature("f.rsi_14 / 50", "x").warmup
    for strange in STRANGE.replace("\ufeff", ""):
        with pytest.raises(StrategyError, match=r"U\+"):
            written_feature(f"(f.rsi_14 #{strange}\n / 50)", "x")


def test_a_file_of_the_library_may_begin_with_a_mark_and_is_refused_for_what_its_tuned_version_could_not_hold(
    tmp_path: Path,
) -> None:
    text = f"from strategies.base import Param, Signal, Strategy\n\n{GOOD}"
    (tmp_path / "hostile.py").write_bytes(codecs.BOM_UTF8 + text.encode())
    same_again(load_file(tmp_path / "hostile.py"))
    (tmp_path / "hostile.py").write_text(text.replace("    name", "    # page\f\n    name"))
    with pytest.raises(StrategyError, match=r"hostile\.py:7: U\+000C"):
        load_file(tmp_path / "hostile.py")
