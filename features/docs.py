"""The page docs/guides/FEATURE_LIBRARY.md, generated from the registry by ``python -m features.docs``.

Belongs here: the text of that page. Does not belong here: anything that a formula's own docstring should say.
"""

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Final

from features.bars import DEFAULT_TIMEFRAMES, TIMEFRAMES
from features.definition import GROUPS, Definition
from features.registry import STANDARD_SET, Registry, standard_registry

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "guides" / "FEATURE_LIBRARY.md"

_TITLES: Final = {
    "price": "Price",
    "volume": "Volume",
    "momentum": "Momentum",
    "trend": "Trend",
    "volatility": "Volatility",
    "macd": "MACD",
    "oscillators": "Oscillators",
    "volume_weighted": "Volume-weighted",
    "regime": "Regime",
    "custom": "Custom",
    "positioning": "Positioning",
}

_OPENING: Final = """\
# Feature library

{count} features in {groups} groups; {standard} columns of them, the standard set, are stored for every bar of
{stored}.
This page is generated: `python -m features.docs` writes it, and a test fails if it is out of date.

## Ask for features

```python
manager = FeatureManager(source, as_of)
manager.get_features("ETH-USDT", "5m", ["close", "rsi_14", "60m:trend_direction", "BTC-USDT:returns"])
manager.list_available_features()         # this page as a frame
manager.get_feature_group("momentum")     # names of a group
```

- `<n>` in a name stands for any whole number in its range: `rsi_9`, `sma_365`. A *bare name*, where there is
  one, stands for the default numbers.
- `60m:<feature>` is the feature on the higher timeframe's last closed bar: a 60m bar can be read on the 5m bar that
  closes when it closes, not earlier.
- Timeframes are {timeframes}; features can be computed on the bars of each.
- `BTC-USDT:<feature>` is another symbol's value on the bar of the same time; `BTC-USDT:60m:<feature>` is both.
- `model:<type>` and `ensemble:<name>` are predictions of the latest model trained before the bar, null before the first
  one: see [ML_PIPELINE.md](ML_PIPELINE.md#predictions-as-features).
- Nothing looks ahead: tests recompute every feature on data cut at many bars, and with noise after the cut; no value
  before it may change.

## Rules that hold for every feature

- **Flagged bars are not read.** Formulas see the sound bars of one symbol, one after another. On a flagged bar every
  feature is null; the candle columns themselves stay as recorded.
- **A window counts bars.** If missing or flagged bars stretch the n bars of a window over more than a tenth more time
  than n bars, the value is null: `returns` is null after a gap, `sma_200` tolerates up to 19 missing bars. Recursive
  features (EMA, Wilder) continue over the gap, and are null until their definition's bars span no gap.
- **Start.** A value is null until there are as many bars as the definition reads. *Warm-up* is the number of bars
  before the first whose value no longer depends on where the data begin (to 1e-6 relative); `FeatureManager` reads
  them from before the first requested bar.
- **No infinity, no NaN.** Division by zero, constant prices and single bars give null, or the limit that the table
  states.
- **Unknown volume** makes every feature that reads it null.
- Volatilities are those of one bar, not annualised. `quote` is the quote currency (USDT), `base` the traded coin,
  `ratio` a plain number (0.01 is one percent).
"""

_ADDING: Final = """\
## Add a feature

Write one decorated function in a file of your own:

```python
import polars as pl
from features import feature

@feature("range_share_<n>", unit="ratio", warmup=lambda n: n - 1, default=(20,))
def range_share(n: int) -> pl.Expr:
    \"\"\"High-low range of n bars relative to the close.\"\"\"
    return (pl.col("high").rolling_max(n) - pl.col("low").rolling_min(n)) / pl.col("close")
```

and load its folder: `registry = load_folder(Path("my_features"))`, then `FeatureManager(source, as_of, registry)`.
The function sees the bars of one symbol in order: the candle columns, `closed_at`, and every other feature by name
(`pl.col("rsi_14")`, `pl.col("60m:ema_9")`). On loading, each feature is tested on an artificial market. One that looks
ahead, or whose warm-up is too short, is refused with the reason. `features.rolling` runs the kernels of
`features.kernels` over expressions. [Add a feature](../extending/feature.md) has all steps.
"""


def page(registry: Registry | None = None) -> str:
    """Return the whole page as Markdown."""
    known = registry or standard_registry()
    groups = [name for name in GROUPS if any(definition.group == name for definition in known)]
    opening = _OPENING.format(
        count=len(list(known)), groups=len(groups), standard=len(STANDARD_SET),
        timeframes=", ".join(TIMEFRAMES), stored=", ".join(DEFAULT_TIMEFRAMES),
    )  # fmt: skip
    index = "## Groups\n\n" + "\n".join(_index_line(known, name) for name in groups) + "\n"
    return "\n".join([opening, index, *(_section(known, name) for name in groups), _ADDING])


def _index_line(registry: Registry, group: str) -> str:
    names = ", ".join(f"`{definition.pattern}`" for definition in registry if definition.group == group)
    return f"- [{_TITLES[group]}](#{_TITLES[group].lower()}): {names}"


def _section(registry: Registry, group: str) -> str:
    rows = [_row(registry, definition) for definition in registry if definition.group == group]
    head = "| Name | What it is | Unit | Range | Warm-up | Null where |\n|---|---|---|---|---|---|"
    formulas = [_formula(definition) for definition in registry if definition.group == group]
    code = "<details><summary>Formulas</summary>\n\n```python\n" + "\n\n".join(formulas) + "\n```\n\n</details>"
    return f"## {_TITLES[group]}\n\n" + "\n".join([head, *rows]) + f"\n\n{code}\n"


def _row(registry: Registry, definition: Definition) -> str:
    names = [f"`{definition.pattern}`"]
    if definition.bare:
        numbers = ", ".join(map(str, definition.default))
        names.append(f"bare `{definition.bare}` ({numbers})")
    if definition.standard and definition.standard != (definition.pattern,):
        names.append("stored: " + ", ".join(f"`{name}`" for name in definition.standard))
    request = registry.request(definition.example)
    warmup = str(registry.warmup(request, "1m"))
    if definition.parameters:
        warmup += f" (`{definition.example}`)"
    if registry.warmup(request, "60m") != registry.warmup(request, "1m"):
        warmup = "a day"
    cells = [
        "<br>".join(names),
        definition.description.replace("<", "\\<"),
        definition.unit,
        _range(definition),
        warmup,
        definition.nulls.replace("<", "\\<"),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _range(definition: Definition) -> str:
    low, high = definition.bounds
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}".strip()


def _formula(definition: Definition) -> str:
    """Return the function behind a feature, without decorator and docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(definition.build)))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    function.decorator_list = []
    function.returns = None
    function.body = function.body[1:]
    function.name = function.name.lstrip("_")
    return f"# {definition.pattern}\n{ast.unparse(function)}"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
