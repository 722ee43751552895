"""The example of the documentation is a strategy, and the table names every word."""

import re
from pathlib import Path

from strategies.language.values import FUNCTIONS
from strategies.untrusted.compiler import compile_strategy

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "STRATEGY_DESIGN.md").read_text()


def test_the_example_is_a_strategy() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    strategy = compile_strategy(example.group(1))
    assert strategy.name == "band_fade"
    assert strategy.features() == ["60m:trend_direction"]


def test_every_word_is_explained() -> None:
    assert [word for word in FUNCTIONS if not re.search(rf"\b{word}\b", PAGE)] == []
