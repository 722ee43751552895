"""An expression written as text becomes a feature, is causal and free of units, or is refused with the reason."""

import polars as pl
import pytest

from features.definition import feature
from features.engine import compute
from features.market import Market, example_market
from features.registry import standard_registry
from strategies.language.values import LanguageError
from strategies.untrusted.compiler import RefusedError
from strategies.untrusted.feature_compiler import problems, trial_problem, written_feature

pytestmark = pytest.mark.slow

GOOD = "zscore(f.rsi_14, 30) * where(f.adx_14 > 20, 1, 0.5)"


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(4_000)


def test_an_expression_becomes_a_feature_with_the_values_of_the_language(market: Market) -> None:
    made = written_feature(GOOD, "RSI against its last half-hour, less where there is no trend.")
    registry = standard_registry().extended([made])
    frame = compute(market.candles["5m"], [made.pattern, "rsi_14", "adx_14"], timeframe="5m", registry=registry)
    rsi = frame["rsi_14"].drop_nulls()
    assert 0 < frame[made.pattern].null_count() < frame.height / 2
    assert rsi.len() > frame[made.pattern].drop_nulls().len() > 100
    assert made.window >= 30
    assert problems(made, market, timeframes=("5m",)) == []


def test_another_text_is_another_feature() -> None:
    first, second = (written_feature(text, "x") for text in (GOOD, GOOD.replace("30", "40")))
    registry = standard_registry().extended([first, second])
    assert first.pattern != second.pattern
    assert registry.hash(first.pattern) != registry.hash(second.pattern)
    assert registry.hash(first.pattern) == standard_registry().extended([written_feature(GOOD, "y")]).hash(
        first.pattern
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os').system('true')", "dot"),
        ("f.close.__class__", "dot"),
        ("f.rsi_14; f.rsi_14", "one expression"),
        ("x = f.rsi_14", "one expression"),
        ("1 + 1", "plain number"),
        ("f.rsi_14 > 30", "is a number"),
        ('f["model:direction"] * 2', "predictions"),
        ('f["60m:model:direction"] * 2', "predictions"),
        ('mean(f["60m:rsi_14"], 5)', "look back"),
        ("previous(f.rsi_14, -1)", "looks ahead"),
        ("f.no_such_feature", "unknown feature"),
        ("self.length * f.rsi_14", "no parameter"),
        ("[f.rsi_14 for x in range(9)]", "no such thing"),
        ("", "one expression"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises((RefusedError, LanguageError), match=said):
        written_feature(text, "x")


def test_units_constants_and_unknowns_are_refused(market: Market) -> None:
    price, same, unknown = (
        written_feature(text, "x")
        for text in ("f.close - f.open", "f.rsi_14 * 0 + 1", "f.close / (f.rsi_14 - f.rsi_14)")
    )
    assert any("unit of prices" in each for each in problems(price, market, timeframes=("5m",)))
    assert any("same on every bar" in each for each in problems(same, market, timeframes=("5m",)))
    assert any("unknown on" in each for each in problems(unknown, market, timeframes=("5m",)))


def test_a_feature_that_reads_the_next_bar_is_refused_by_causality(market: Market) -> None:
    def tomorrow() -> pl.Expr:
        """Read the next close."""
        return pl.col("close").shift(-1) / pl.col("close")

    peeking = feature("written_000000000000", unit="number", warmup=1, window=1, nulls="at the end")(tomorrow)
    assert any("looks ahead on 5m" in each for each in problems(peeking, market, timeframes=("5m",)))


def test_the_child_process_reads_it_as_the_compiler_does(market: Market) -> None:
    assert trial_problem(GOOD, market, "5m") == ""
    assert "unknown feature" in trial_problem("f.no_such_feature * 2", market, "5m")
