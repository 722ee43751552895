"""Every command in README.md and docs: each can be run, and what costs little is run.

A command is what stands in a fenced block or a code span and calls `blofin`, `dagster` or `make`. Of what a pass would
take minutes for, it is checked that the command, its options, and the settings, assets and keys that it names exist.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg
import pytest
import typer
from support.platform import SMALL, Platform
from typer.core import TyperGroup
from typer.testing import CliRunner

from blofin_assets.cli.main import app
from blofin_assets.cli.status import NEEDS_A_LOOK
from blofin_assets.shared.code_version import PROJECT
from blofin_resources.settings import Settings, variables
from strategies.registry import load_books, load_library

PAGES: Final = (PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")))
TEXTS: Final = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALL: Final = re.compile(r"(?:^|[;(|&]\s*)((?:[A-Z_]+=\S+ +)*)(?:\S*\.venv/bin/)?(blofin|dagster|make) ([^\n`|;)&]*)")

DAY: Final = "2026-03-12"
"""The day of which the shared platform has a report."""

STANDS_FOR: Final = {
    "STRATEGY": "ema_crossover", "STRATEGY:fast=20": "ema_crossover:fast=20", "BOOK": "funding_carry",
    "DAY": DAY, "<day>": DAY, "YYYY-MM-DD": DAY, "FILE": "blofin_monitor.db", "N": "3001",
    "NAME": "rsi_14", "T": "2026-03-13T00:00:00Z", "SELECT …": "SELECT 1 AS one",
}  # fmt: skip
"""What to put where a command says what kind of thing is to be given."""

ALONE: Final = {
    "--symbols": "BTC-USDT", "--timeframes": "60m", "--days": "2", "--param": "fast=8", "k=v": "",
    "--start": "2026-03-01", "--end": "2026-03-12", "--capital": "10000", "--train": "6d", "--test": "3d",
    "--timeframe": "60m",
}  # fmt: skip
"""Values of options that a page lists by their names alone."""

CHEAP: Final = frozenset({"status", "sql"})
DEAR: Final = frozenset({"backtest", "sweep", "walk-forward", "compare", "features", "report", "reproduce"})


@dataclass(frozen=True)
class Command:
    """A command of a page, as words, with the variables before it."""

    page: str
    program: str
    words: tuple[str, ...]
    variables: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.page, *self.variables, self.program, *self.words))


def commands() -> list[Command]:
    """Return every command, each once."""
    found: dict[Command, None] = {}
    for page, text in TEXTS.items():
        fenced = [body for language, body in FENCE.findall(text) if language in ("", "bash", "sh")]
        lines = [re.sub(r"\s+#.*", "", line) for body in fenced for line in body.replace("\\\n", " ").splitlines()]
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
        for code in (*lines, *spans):
            for before, program, rest in CALL.findall(code):
                words = tuple(STANDS_FOR.get(word, word) for word in _words(rest))
                found[Command(page, program, _cut(words), tuple(before.split()))] = None
    return list(found)


def _words(text: str) -> list[str]:
    """Return the words of a command; a quote that is never closed belongs to what is around it."""
    plain = text.replace("[", " ").replace("]", " ").strip()
    return shlex.split(plain[:-1] if plain.count(plain[-1:]) % 2 and plain[-1:] in {"'", '"'} else plain)


def _cut(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words up to a redirection or a quote that belongs to what is around the command."""
    end = next((place for place, word in enumerate(words) if re.match(r"\d?>", word)), len(words))
    return words[:end]


COMMANDS: Final = commands()


def of(program: str, *names: str) -> list[Command]:
    return [each for each in COMMANDS if each.program == program and (not names or (each.words or ("",))[0] in names)]


def of_book(command: Command) -> bool:
    """Tell a backtest of a book, which needs a universe: `tests/blofin_assets/cli/test_backtest_book.py` runs one."""
    return command.words[1] in {each.name for each in load_books()}


def filled(command: Command) -> list[str]:
    """Return the arguments with a value behind each option that a page gives by its name alone."""
    words: list[str] = []
    for place, word in enumerate(command.words):
        given = command.words[place + 1 : place + 2]
        if word == "k=v":
            continue
        words.append(word)
        if word in ALONE and (not given or given[0].startswith("--") or given[0] == "k=v"):
            words.append(ALONE[word])
    return words


@pytest.fixture(scope="module")
def documented(done: Platform) -> Platform:
    return done


def run(platform: Platform, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    for name, value in SMALL.items():
        monkeypatch.setenv(f"BLOFIN_{name.upper()}", str(value))
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(platform.settings.warehouse))
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
    assert result.exit_code == 0 or (words[0] == "status" and result.exit_code == NEEDS_A_LOOK), result.output
    return result.output


def test_the_pages_hold_the_commands_that_a_reader_meets_first() -> None:
    texts = {str(command) for command in COMMANDS}
    assert "README.md make run" in texts
    assert "STRATEGY_DESIGN.md blofin backtest band_fade.py --days 7 --param width=2.0" in texts
    assert any(text.startswith("README.md BLOFIN_MARKET=archive") and "--as-of 2025-06-12" in text for text in texts)
    assert any("--select candles_1m" in text for text in texts)
    assert len(of("blofin")) >= 20


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_each_target_of_make_exists(command: Command) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    target = command.words[0].replace(".venv/ready", "$(READY)")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), command


@pytest.mark.parametrize("command", of("blofin"), ids=str)
def test_each_command_of_blofin_is_one_with_these_arguments(command: Command) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    name, *arguments = filled(command)
    if name.startswith("-"):
        assert name in {option for parameter in group.params for option in parameter.opts}
        return
    subcommand = group.commands[name]
    needed = [each for each in subcommand.params if each.required]
    if not arguments and needed:  # named in a sentence
        return
    parsed = subcommand.make_context(name, list(arguments))
    if name in {"backtest", "sweep", "walk-forward", "compare"}:
        given = parsed.params["strategy"]
        names = {each.name for each in (*load_library(), *load_books())}
        for strategy in [given] if isinstance(given, str) else given:
            assert strategy.partition(":")[0] in names or strategy.endswith(".py"), command


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.variables], ids=str)
def test_variables_before_a_command_are_settings_that_can_be(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in command.variables:
        name, _, value = variable.partition("=")
        monkeypatch.setenv(name, value)
    Settings()


@pytest.mark.parametrize("page", [*PAGES, PROJECT / "deploy" / "env.example"], ids=lambda page: page.name)
def test_each_setting_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bBLOFIN_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named - variables() == set()
    if page.name == "README.md":
        assert {name for name in variables() if name.startswith("BLOFIN_")} - named == set(), "each is described"


@pytest.mark.parametrize("command", of("dagster", "asset"), ids=str)
def test_assets_and_keys_of_commands_of_dagster_exist(command: Command, documented: Platform) -> None:
    options = dict(zip(command.words[::1], command.words[1::1], strict=False))
    assert command.words[:2] == ("asset", "materialize")
    assert options["-m"] == "blofin_assets.definitions"
    node = documented.defs.resolve_asset_graph().get(dg.AssetKey(options["--select"]))
    if "--partition" in options:
        assert node.partitions_def is not None
        assert options["--partition"] in node.partitions_def.get_partition_keys()
    else:
        assert node.partitions_def is None


@pytest.mark.parametrize("command", of("blofin", *CHEAP), ids=str)
def test_what_costs_little_is_run(command: Command, documented: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(documented, monkeypatch, *filled(command)).strip()


@pytest.mark.parametrize(
    "query", [body for text in TEXTS.values() for kind, body in FENCE.findall(text) if kind == "sql"]
)
def test_each_query_has_an_answer(query: str, documented: Platform) -> None:
    for statement in re.sub(r"--.*", "", query).split(";"):
        if statement.strip():
            assert documented.warehouse.read(statement).width


ONCE = {tuple(each.words): each for each in of("blofin", *DEAR) if each.words[1:] and not of_book(each)}
"""Commands that cost seconds, those in two documents once."""


@pytest.mark.slow
@pytest.mark.parametrize("command", ONCE.values(), ids=str)
def test_what_costs_seconds_is_run(command: Command, documented: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", TEXTS["STRATEGY_DESIGN.md"], re.DOTALL)
    assert example is not None
    Path("band_fade.py").write_text(example.group(1), encoding="utf-8")
    Path("idea.txt").write_text("zscore(f.rsi_14, 60) * f.volume_ratio_20", encoding="utf-8")
    assert run(documented, monkeypatch, *filled(command)).strip()
    left = {place.name for place in Path().iterdir()}
    assert left == {"band_fade.py", "idea.txt"}, "nothing is left in the folder of the user"
