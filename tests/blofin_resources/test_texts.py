"""Text of others: a terminal obeys none of it, Markdown shows it as it is."""

import doctest
import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from blofin_resources import texts
from blofin_resources.errors import BlofinError
from blofin_resources.texts import for_markdown, for_terminal

ANY = st.text(st.characters(), max_size=60)  # halves of characters included
LIVELY = st.text("ab1 \\`*_[]()<>|~&@$#+-=.!:/\n\x1b\u2028www", max_size=40)


def test_the_examples_hold() -> None:
    assert doctest.testmod(texts).failed == 0


@given(ANY)
def test_a_terminal_shows_every_character_and_obeys_none(text: str) -> None:
    shown = for_terminal(text)
    shown.encode()
    assert for_terminal(shown) == shown
    kinds = {unicodedata.category(character) for character in shown if character not in "\n\t"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_ordinary_text_stays() -> None:
    for text in ("SELECT 'größer − 3 × 4 …'", "one\n\ttwo", "1\u202f000 €", "日本語 ✓", ""):
        assert for_terminal(text) == text


@pytest.mark.parametrize("code", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x00", "\r", "\x7f", "\u202e", "\ud800"])
def test_an_error_that_repeats_a_text_is_safe_wherever_it_is_shown(code: str) -> None:
    told = str(BlofinError(f"unknown symbol {code}"))
    assert code not in told
    told.encode()


@given(LIVELY)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    """Against an independent reader of Markdown, with tables, links without brackets and strike-through."""
    reader = MarkdownIt("gfm-like", {"linkify": False})
    page = reader.render(f"a {for_markdown(text)} z")
    assert re.findall(r"<[^>]*>", page) == ["<p>", "</p>"]
    shown = html.unescape(page.removeprefix("<p>").removesuffix("</p>\n"))
    assert " ".join(shown.split()) == " ".join(f"a {for_terminal(text)} z".split())


@given(LIVELY)
def test_a_line_that_begins_with_it_begins_no_heading_and_no_list(text: str) -> None:
    page = MarkdownIt("gfm-like", {"linkify": False}).render(for_markdown(text))
    assert set(re.findall(r"<[^>]*>", page)) <= {"<p>", "</p>"}


@given(LIVELY)
def test_a_cell_stays_one_cell(text: str) -> None:
    page = MarkdownIt("gfm-like", {"linkify": False}).render(f"| a | b |\n|---|---|\n| {for_markdown(text)} | x |")
    assert page.count("<td>") == 2
