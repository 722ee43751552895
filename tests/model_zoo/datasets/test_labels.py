"""Labels measure what a decision could earn, by time, and are never inputs."""

from datetime import UTC, datetime, timedelta
from math import log, sqrt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.datasets.labels import check_inputs, with_barriers, with_labels

START = datetime(2025, 1, 1, tzinfo=UTC)


def bars(opens: list[float], symbol: str = "A", flags: dict[int, str] | None = None) -> pl.DataFrame:
    ts = [START + timedelta(minutes=5 * i) for i in range(len(opens))]
    flag = [(flags or {}).get(i) for i in range(len(opens))]
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(opens),
            "ts": ts,
            "open": opens,
            "high": [1.02 * price + i % 3 for i, price in enumerate(opens)],
            "low": [0.97 * price / (1 + i % 2) for i, price in enumerate(opens)],
            "flag": pl.Series(flag, dtype=pl.String),
        }
    )


def test_from_the_next_open_to_the_open_a_horizon_later() -> None:
    out = with_labels(bars([1.0, 10, 11, 12, 9]), "5m", 2)
    assert out["label_return"].to_list() == pytest.approx([0.2, 9 / 11 - 1, None, None, None])
    assert out["label_up"].to_list() == [True, False, None, None, None]
    assert out["label_known_at"][0] == START + timedelta(minutes=15)


def test_no_change_is_not_up() -> None:
    assert with_labels(bars([1.0, 5, 5]), "5m", 1)["label_up"].to_list() == [False, None, None]


def test_flagged_and_missing_bars_have_no_label() -> None:
    whole = bars([1.0, 2, 3, 4, 5, 6, 7], flags={3: "single_price"})
    out = with_labels(whole, "5m", 1)
    # bar 3 is the exit of 1, the entry of 2 and the decision of 3
    assert out["label_up"].to_list() == [True, None, None, None, True, None, None]
    gap = with_labels(whole.filter(pl.col("ts") != START + timedelta(minutes=10)), "5m", 1)
    assert gap["label_up"].to_list() == [None, None, None, True, None, None]


def test_symbols_do_not_mix_and_order_is_kept() -> None:
    both = pl.concat([bars([1.0, 2, 3], "B"), bars([3.0, 2, 1], "A")])
    out = with_labels(both, "5m", 1)
    assert out.select(both.columns).equals(both)
    assert out["label_up"].to_list() == [True, None, None, False, None, None]


@given(st.lists(st.floats(1, 100), min_size=3, max_size=30), st.integers(1, 6))
def test_a_label_agrees_with_the_plain_definition(opens: list[float], horizon: int) -> None:
    got = with_labels(bars(opens), "5m", horizon)["label_return"].to_list()
    for i, value in enumerate(got):
        j = i + 1 + horizon
        assert value == (pytest.approx(opens[j] / opens[i + 1] - 1) if j < len(opens) else None)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 bar"):
        with_labels(bars([1.0]), "5m", 0)
    with pytest.raises(ValueError, match="already has label columns"):
        with_labels(with_labels(bars([1.0]), "5m", 1), "5m", 1)
    check_inputs(["rsi_14", "60m:trend_direction"])
    for wrong in ("label_up", "60m:label_return"):
        with pytest.raises(ValueError, match=wrong):
            check_inputs(["rsi_14", wrong])


@given(
    st.lists(st.floats(1, 100), min_size=4, max_size=40),
    st.integers(1, 5),
    st.sets(st.integers(0, 39), max_size=3),
    st.sets(st.integers(0, 39), max_size=3),
)
def test_volatility_and_excursion_agree_with_their_definitions(
    opens: list[float], horizon: int, flagged: set[int], missing: set[int]
) -> None:
    frame = bars(opens, flags=dict.fromkeys(flagged, "repaired"))
    frame = frame.filter(pl.int_range(pl.len()).is_in(list(missing)).not_())
    rows = {row["ts"]: row for row in frame.iter_rows(named=True) if row["flag"] is None}
    out = with_labels(frame, "5m", horizon)
    step = timedelta(minutes=5)
    for row in out.iter_rows(named=True):
        ahead = [rows.get(row["ts"] + step * k) for k in range(1, horizon + 1)]
        if row["label_return"] is None or None in ahead:
            assert row["label_volatility"] is None
            assert row["label_adverse"] is None
            continue
        sound = [each for each in ahead if each is not None]
        squares = [log(each["high"] / each["low"]) ** 2 for each in sound]
        assert row["label_volatility"] == pytest.approx(sqrt(sum(squares) / horizon / (4 * log(2))), rel=1e-6)
        entry = sound[0]["open"]
        worst = max(max(each["high"] for each in sound) / entry - 1, 1 - min(each["low"] for each in sound) / entry)
        assert row["label_adverse"] == pytest.approx(worst)


def met_first(rows: dict[datetime, dict[str, Any]], at: datetime, horizon: int, reach: float) -> str:
    """Return what a position of either side would have met, by the plain rules, bar by bar."""
    step = timedelta(minutes=5)
    ahead = [rows.get(at + step * k) for k in range(1, horizon + 2)]
    if at not in rows or None in ahead:
        return "unknown"
    entry = ahead[0]["open"]  # type: ignore[index]  # none is missing
    for bar in ahead[:horizon]:
        up, down = bar["high"] >= entry * (1 + reach), bar["low"] <= entry * (1 - reach)  # type: ignore[index]  # same
        if up or down:
            return "both" if up and down else "up" if up else "down"
    gain = ahead[-1]["open"] / entry - 1  # type: ignore[index]  # same
    return "up" if gain > COSTS else "down" if gain < -COSTS else "nothing"


COSTS = 0.0016


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("horizon", [1, 5])
def test_barriers_agree_with_a_plain_loop(seed: int, horizon: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for symbol in ("A", "B"):
        count = 400
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, count)))
        opening = np.concatenate([[100.0], close[:-1]])
        wick = np.abs(rng.normal(0, 0.002, (2, count)))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * count,
                    "ts": [START + timedelta(minutes=5 * i) for i in range(count)],
                    "open": opening,
                    "high": np.maximum(opening, close) * (1 + wick[0]),
                    "low": np.minimum(opening, close) * (1 - wick[1]),
                    "flag": pl.Series(["repaired" if x < 0.02 else None for x in rng.random(count)], dtype=pl.String),
                    "usual": pl.Series([None if x < 0.05 else 0.003 for x in rng.random(count)], dtype=pl.Float64),
                }
            ).filter(pl.Series(rng.random(count) > 0.02))
        )
    frame = pl.concat(frames)
    out = with_barriers(with_labels(frame, "5m", horizon), "5m", horizon, pl.col("usual") * 0.5, COSTS)
    assert out.select(frame.columns).equals(frame)
    expected = {"up": True, "down": False}
    seen = []
    for part in out.partition_by("symbol"):
        rows = {row["ts"]: row for row in part.iter_rows(named=True) if row["flag"] is None}
        for row in part.iter_rows(named=True):
            reach = None if row["usual"] is None else row["usual"] * 0.5 + COSTS
            met = "unknown" if reach is None else met_first(rows, row["ts"], horizon, reach)
            assert row["label_barrier"] == expected.get(met), (row["symbol"], row["ts"], met)
            seen.append(met)
    assert set(seen) >= {"up", "down", "nothing", "unknown"} | ({"both"} if horizon > 1 else set())


def test_a_barrier_is_known_when_its_horizon_ends_and_never_an_input() -> None:
    labelled = with_labels(bars([10.0] * 6), "5m", 2)
    out = with_barriers(labelled, "5m", 2, pl.lit(0.01), COSTS)
    assert out["label_known_at"].equals(labelled["label_known_at"])
    assert (out["label_known_at"] - out["ts"]).unique().to_list() == [timedelta(minutes=15)]
    with pytest.raises(ValueError, match="label_barrier"):
        check_inputs(["label_barrier"])
