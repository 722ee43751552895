"""A strategy class is checked when it is loaded, and its errors say where."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from strategies.language.strategy import Features, Param, Signal, Strategy, StrategyError
from strategies.language.values import LanguageError, crossed_above, previous
from strategies.library.ema_crossover import EmaCrossover

HERE = Path(__file__).name


class Example(Strategy):
    """Buy strength."""

    name = "example"
    timeframes = ("5m",)
    length = Param(14, 5, 30)
    level = Param(50.0, 20.0, 80.0)

    def detect(self, f: Features) -> Signal:
        rsi = f.feature("rsi", self.length)
        part = f.atr_14 / f.close
        return Signal(long_entry=rsi > self.level, stop=2 * part, size=f.atr_14, time_stop=3, entry_limit=0.5 * part)


def frame(**columns: list[float | None]) -> pl.DataFrame:
    bars = len(next(iter(columns.values())))
    start = datetime(2025, 1, 1, tzinfo=UTC)
    keys = {"symbol": ["A"] * bars, "ts": [start + timedelta(minutes=5 * i) for i in range(bars)]}
    return pl.DataFrame({**keys, **{name: pl.Series(given, dtype=pl.Float64) for name, given in columns.items()}})


def test_features_are_those_that_detect_reads() -> None:
    assert Example().features() == ["atr_14", "rsi_14"]
    assert Example(length=21).features("5m") == ["atr_14", "rsi_21"]


def test_signal_frame() -> None:
    nan = float("nan")
    bars = frame(rsi_14=[60, 60, 40, nan, 60], atr_14=[1, nan, 1, 1, 3], close=[100, 100, 100, 100, 100])
    out = Example().signals(bars)
    assert dict(out.schema) == {
        "symbol": pl.String,
        "ts": pl.Datetime("us", "UTC"),
        "long_entry": pl.Boolean,
        "short_entry": pl.Boolean,
        "long_exit": pl.Boolean,
        "short_exit": pl.Boolean,
        "stop": pl.Float64,
        "time_stop": pl.Int32,
        "size": pl.Float64,
        "entry_limit": pl.Float64,
    }
    # NaN is unknown: neither greater than anything, nor a stop that a position may be opened with
    assert out["long_entry"].to_list() == [True, False, False, False, True]
    assert not out["long_exit"].any()
    assert out["stop"].to_list() == [0.02, None, 0.02, 0.02, 0.06]
    assert out["size"].to_list() == [1, None, 1, 1, 1]
    assert out["time_stop"].to_list() == [3] * 5
    assert out["entry_limit"].to_list() == [0.005, None, 0.005, 0.005, 0.015]


def test_flagged_bars_are_skipped() -> None:
    class Jump(Strategy):
        """Buy a close above the one before."""

        name = "jump"

        def detect(self, f: Features) -> Signal:
            return Signal(long_entry=f.close > previous(f.close), stop=0.1)

    flags = pl.Series([None, None, "repaired", None], dtype=pl.String)
    bars = frame(close=[1, 2, 9, 3]).with_columns(flag=flags)
    out = Jump().signals(bars)
    assert out["long_entry"].to_list() == [False, True, False, True]
    assert out["stop"].to_list() == [0.1, 0.1, None, 0.1]
    assert out["ts"].equals(bars["ts"])


def test_an_unknown_feature_is_refused_with_what_is_near() -> None:
    with pytest.raises(StrategyError, match="rsi_14"):
        strategy(lambda _s, f: Signal(long_entry=f.rsi14 > 1))()
    with pytest.raises(StrategyError, match="out of range"):
        strategy(lambda _s, f: Signal(long_entry=f.rsi_0 > 1))()


def test_no_rows_give_no_signals() -> None:
    assert Example().signals(frame(rsi_14=[1], atr_14=[1], close=[1]).clear()).is_empty()


def test_a_missing_column_is_named() -> None:
    with pytest.raises(StrategyError, match="no column atr_14, close"):
        Example().signals(frame(rsi_14=[1]))


def test_bars_out_of_order_are_refused() -> None:
    bars = frame(rsi_14=[60, 60], atr_14=[1, 1], close=[100, 100])
    other = bars.with_columns(symbol=pl.lit("B"))
    assert Example().signals(pl.concat([other, bars])).height == 4
    for wrong in (bars.reverse(), pl.concat([bars.head(1), other, bars.tail(1)])):
        with pytest.raises(StrategyError, match="sort the frame"):
            Example().signals(wrong)


def test_version_follows_text_and_parameters() -> None:
    assert Example().version == Example(length=14).version
    assert Example().version != Example(length=15).version
    assert Example().version != EmaCrossover().version
    assert re.fullmatch(r"[0-9a-f]{12}", Example().version)


def test_version_and_features_are_the_same_in_every_process() -> None:
    code = (
        "from strategies.registry import load_library\n"
        "print([(given.name, given.version, given.features()) for given in load_library()])"
    )
    seen = {
        subprocess.run(  # our own interpreter, our own text
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_parameters_can_be_changed_within_their_ranges_only() -> None:
    tuned = Example().with_parameters(level=60)
    assert tuned.parameters == {"length": 14, "level": 60.0}
    for wrong, said in [
        ({"length": 99}, "outside its range 5 to 30"),
        ({"length": 7.5}, "whole number"),
        ({"lenght": 7}, "its parameters are length, level"),
        ({"level": float("nan")}, "not finite"),
    ]:
        with pytest.raises(StrategyError, match=said):
            Example(**wrong)


def test_a_parameter_needs_a_sound_range() -> None:
    with pytest.raises(LanguageError, match="outside its range"):
        Param(1, 2, 3)
    with pytest.raises(LanguageError, match="positive"):
        Param(2, 1, 3, step=0)
    assert Param(2.0, 2.0, 2.0).low == 2.0
    for narrow in ((0.0, 0.0, 5e-324), (1.0, 1.0, 1.0 + 1e-12), (1e12, 1e12 - 1, 1e12), (0.0, -1e-300, 1e-300)):
        with pytest.raises(LanguageError, match="too narrow"):
            Param(*narrow)
    for step in (5e-324, 1e-300, 2e-3):
        with pytest.raises(LanguageError, match="more than 10000 steps"):
            Param(28.0, 15.0, 40.0, step)


def strategy(
    detect: Callable[[Strategy, Features], object], name: str = "wrong", **attributes: object
) -> type[Strategy]:
    return type("Wrong", (Strategy,), {"__doc__": "Made to fail.", "name": name, "detect": detect, **attributes})


def test_an_error_in_detect_names_file_and_line() -> None:
    class Misspelt(Strategy):
        """Says what has no meaning."""

        name = "misspelt"

        def detect(self, f: Features) -> Signal:
            calm = f.atr_14 < 1
            return Signal(long_entry=crossed_above(calm, 3))  # this line

    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if text.endswith("# this line"))
    with pytest.raises(StrategyError, match=rf"{HERE}:{line}: .*crossing needs numbers"):
        Misspelt()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1), name="Bad Name"), "lower case"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1), __doc__=None), "docstring is missing"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1), timeframes=()), "timeframes"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1), timeframes=("2m",)), "timeframes"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1), timeframes=("5m", "5m")), "has a duplicate"),
        (lambda: strategy(lambda _s, _f: Signal()), "never trade"),
        (lambda: strategy(lambda _s, _f: None), "must return a Signal"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close)), "long_entry"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1, stop=2)), "1 % is 0.01"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1, size=0)), "size"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.flag > 1)), "flag"),
        (lambda: strategy(lambda _s, f: Signal(long_entry=f.close > 1 and f.open > 1)), "and, or, not"),
    ],
)
def test_a_malformed_strategy_is_refused(made: Callable[[], type[Strategy]], said: str) -> None:
    with pytest.raises(StrategyError, match=said):
        made()()
