"""Arguments that need nothing loaded: what is wrong is one line, at once."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from blofin_assets.cli.idea import Idea, Range, idea_of, length_of, numbers, ranges
from blofin_resources.errors import BlofinError
from strategies.registry import load_books, load_library

pytestmark = pytest.mark.slow

EXAMPLE = "for example: this"


@pytest.fixture
def idea() -> Idea:
    return idea_of("ema_crossover", EXAMPLE)


def test_the_names_of_parameters_are_those_of_the_loaded_strategies_and_books() -> None:
    for each in (*load_library(), *load_books()):
        assert idea_of(each.name, EXAMPLE).parameters == tuple(each.parameters), each.name


def test_ranges_are_read_as_typed(idea: Idea) -> None:
    found = ranges(idea, ["fast=5:15:5", " ratio = 3 ", "stop_width=1:2.5"], grid=True)
    assert found == [Range("fast", 5.0, 15.0, 5.0), Range("ratio", 3.0, 3.0), Range("stop_width", 1.0, 2.5)]
    assert found[0].values(5.0) == (5.0, 10.0, 15.0)
    assert found[2].values(0.4) == (1.0, 1.4, 1.8, 2.2)
    assert Range("x", 0.0, 0.3).values(0.1) == (0.0, 0.1, 0.2, 0.3)
    (two,) = ranges(idea, ["stop_width=0.2:0.3:0.1"], grid=True)
    assert two.values(0.1) == (0.2, 0.3), "0.3 less 0.2 is a little less than 0.1"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["fast=15:5:1"], ("'fast=15:5:1' is reversed", "give fast=5:15")),
        (["fast=5:15:0"], ("step of 0", "above zero")),
        (["fast=5:15:-1"], ("step of -1",)),
        (["fast=5:6:3"], ("one value", "wider than the range")),
        (["fast=5:"], ("'fast=5:' is not name=low:high:step",)),
        (["fast"], ("is not name=low:high:step", "fast=5:15:1")),
        (["fast=5:nan:1"], ("is not name=low:high:step",)),
        (["fast=1:2:3:4"], ("is not name=low:high:step",)),
        (["fst=5:15:1"], ("no parameter fst", "did you mean fast?")),
        (["fast=5:15:1", "fast=6:7:1"], ("fast is given twice",)),
        (["fast=7"], ("nothing to sweep", "fast, ratio, stop_width")),
        ([], ("nothing to sweep", "fast, ratio, stop_width")),
        (["fast=5:30:1", "stop_width=1:6:0.0001"], ("1,300,026 points", "--points")),
        (["stop_width=1:6:1e-9"], ("points, more than 1,000,000",)),
    ],
)
def test_a_wrong_range_is_one_line(idea: Idea, texts: list[str], words: tuple[str, ...]) -> None:
    with pytest.raises(BlofinError) as error:
        ranges(idea, texts, grid=True)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_sample_of_a_large_grid_is_no_large_grid(idea: Idea) -> None:
    assert len(ranges(idea, ["fast=5:30:1", "stop_width=1:6:0.0001"], grid=False)) == 2


def test_a_pair_that_is_wrong_is_one_line(idea: Idea) -> None:
    assert numbers(idea, ["fast=8", "stop_width=2.5"]) == {"fast": 8.0, "stop_width": 2.5}
    for text, words in (("fast", "'fast' is not name=number"), ("slow=3", "no parameter slow"), ("fast=x", "name=")):
        with pytest.raises(BlofinError, match=words):
            numbers(idea, [text])


def test_a_file_whose_text_declares_nothing_is_left_to_its_compiler(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("def (", encoding="utf-8")
    odd = idea_of(str(tmp_path / "odd.py"), EXAMPLE)
    assert odd.parameters == ()
    assert numbers(odd, ["any=1"]) == {"any": 1.0}
    with pytest.raises(BlofinError, match=r"no file missing\.py; for example: this"):
        idea_of("missing.py", EXAMPLE)


def test_lengths_of_time() -> None:
    assert [length_of(text, "--train") for text in ("36h", "90d", " 4W ")] == [
        timedelta(hours=36), timedelta(days=90), timedelta(weeks=4),
    ]  # fmt: skip
    for text in ("0d", "-3d", "90", "d", "1.5d", "9999999d"):
        with pytest.raises(BlofinError, match=r"--train .* is not a length of time"):
            length_of(text, "--train")


@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep", "ema_crosover", "--param", "fast=5:15:1"),
        ("sweep", "ema_crossover", "--param", "fast=15:5:1"),
        ("backtest", "ema_crossover", "--param", "fst=8"),
    ],
)
def test_a_typo_is_answered_before_anything_heavy_is_imported(arguments: tuple[str, ...], tmp_path: Path) -> None:
    # not polars, which the settings of every command import
    heavy = ("numpy", "dagster", "matplotlib", "numba", "optuna", "scipy", "duckdb")
    text = (
        "import sys\n"
        "from blofin_assets.cli.main import main\n"
        f"sys.argv = ['blofin', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        f"    print(end.code, [name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert done.stdout == "1 []\n"
    assert len(done.stderr.strip().splitlines()) == 1
