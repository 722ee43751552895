"""The latest model trained before a bar's close speaks there; before the first and long after the last, nobody."""

from datetime import timedelta

import polars as pl
import pytest

from features.bars import TIMEFRAMES, TS, FrameSource, Timeframe, bar_length
from features.causality import look_ahead
from features.feature_manager import FeatureManager
from features.market import EPOCH, Market, example_market
from model_zoo.serving.point_in_time import Version, at_closes, predict_as_of, spoken_on
from tests.model_zoo.conftest import SYMBOLS, MakeManager, T, candles

START = T - timedelta(days=4)


class Constant:
    """Says the same of every bar, so that one sees who spoke."""

    def __init__(self, said: float) -> None:
        self.said = said

    def predict(self, frame: pl.DataFrame) -> pl.Series:
        return pl.Series([self.said] * frame.height, dtype=pl.Float64)


def versions(*days_before: float) -> list[Version]:
    return [Version(T - timedelta(days=days), Constant(days / 10), ("returns",)) for days in days_before]


def test_the_latest_version_before_the_close_speaks(manager_of: MakeManager) -> None:
    said = predict_as_of(manager_of(0.0), versions(1, 3, 2.5), SYMBOLS, "5m", START, T)
    step = timedelta(minutes=5)
    for row in said.iter_rows(named=True):
        close = row["ts"] + step
        trained = [days for days in (3, 2.5, 1) if T - timedelta(days=days) < close]
        assert row["probability"] == min(trained) / 10
        assert row["as_of"] == T - timedelta(days=min(trained))
    # none before there was one: the bar that closes as the first was trained is not its to predict
    assert said["ts"].min() == T - timedelta(days=3)
    assert said["ts"].max() == T - step
    assert said.height == 2 * 3 * 288


def test_an_old_version_falls_silent(manager_of: MakeManager) -> None:
    said = predict_as_of(manager_of(0.0), versions(3), SYMBOLS, "5m", START, T, stale=timedelta(days=1))
    assert said["ts"].max() == T - timedelta(days=2, minutes=5)


@pytest.mark.parametrize("given", [[], [0.0], [-1.0]])
def test_nobody_speaks_before_there_is_a_model(manager_of: MakeManager, given: list[float]) -> None:
    assert predict_as_of(manager_of(0.0), versions(*given), SYMBOLS, "5m", START, T).is_empty()


def test_a_model_made_later_changes_nothing_before(manager_of: MakeManager) -> None:
    early = predict_as_of(manager_of(0.0), versions(3), SYMBOLS, "5m", START, T)
    both = predict_as_of(manager_of(0.0), versions(3, 1), SYMBOLS, "5m", START, T)
    before = pl.col("ts") + timedelta(minutes=5) <= T - timedelta(days=1)
    assert both.filter(before).equals(early.filter(before))
    assert not both.equals(early)


def test_what_a_bar_gets_does_not_depend_on_what_follows_it() -> None:
    class Follower(Constant):
        def predict(self, frame: pl.DataFrame) -> pl.Series:
            return frame["returns"] + self.said

    made = [Version(EPOCH + timedelta(hours=hours), Follower(hours), ("returns",)) for hours in (10, 20)]

    def computation(given: Market) -> pl.DataFrame:
        end = EPOCH + timedelta(hours=40)
        keys = given.candles["5m"].select("symbol", "ts")
        manager = FeatureManager(given.source(), end)
        said = predict_as_of(manager, made, ("AAA-USDT", "BBB-USDT"), "5m", EPOCH, end)
        return keys.join(said.select("symbol", "ts", "probability"), on=["symbol", "ts"], how="left")

    cuts = [EPOCH + timedelta(hours=hours) for hours in (12, 25)]
    assert look_ahead(computation, example_market(2400), "5m", cuts) == []


def test_too_early_an_end_is_refused_by_the_manager() -> None:
    manager = FeatureManager(FrameSource({"5m": candles(0.0, 3)}), T - timedelta(days=1))
    with pytest.raises(ValueError, match="as-of"):
        predict_as_of(manager, versions(2), SYMBOLS, "5m", START, T)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_longer_bars_get_what_is_said_at_their_close(timeframe: Timeframe) -> None:
    own, day = bar_length(spoken_on(timeframe)), timedelta(days=2)
    closes = [EPOCH + k * own for k in range(1, day // own + 1)]
    said = pl.DataFrame({"ts": [close - own for close in closes], "close": closes}, schema={"ts": TS, "close": TS})
    found = at_closes(said, timeframe)
    length = bar_length(timeframe)
    assert found.rows() == [(EPOCH + k * length, EPOCH + (k + 1) * length) for k in range(day // length)]
