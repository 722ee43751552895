"""From frames to the arrays of a book."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtester import BookMarket, BookRules, Contract, contracts_of, run_book
from blofin_resources.market.archive import ArchiveMarket
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS

START = datetime(2025, 6, 2, tzinfo=UTC)
ENDS = {"delist_time": TS}


def bars(symbol: str, hours: range, *, flagged: tuple[int, ...] = (), price: float = 100.0) -> pl.DataFrame:
    rows = [
        {
            "symbol": symbol, "ts": START + timedelta(hours=hour), "open": price + hour, "high": price + hour + 1,
            "low": price + hour - 1, "close": price + hour + 0.5, "volume": 2.0, "quote_volume": 2.0 * price,
            "contracts": None, "minutes": 60, "origin": "test", "flag": "repaired" if hour in flagged else None,
        }
        for hour in hours
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=CANDLE_SCHEMA)


def test_missing_and_flagged_bars_are_marked_at_the_last_tradable_close() -> None:
    frame = pl.concat([bars("B", range(2, 6)), bars("A", range(6), flagged=(1, 2))])
    market = BookMarket.from_frames(frame)
    assert market.symbols == ("A", "B")
    assert len(market.ts) == 6
    assert market.fillable[:, 0].tolist() == [True, False, False, True, True, True]
    assert market.mark[:, 0].tolist() == [100.5, 100.5, 100.5, 103.5, 104.5, 105.5]
    assert np.isnan(market.mark[:2, 1]).all()
    assert market.last[:, 0].tolist() == [0, 0, 0, 3, 4, 5]
    assert market.returns[4, 0] == pytest.approx(104.5 / 103.5 - 1)
    assert np.isnan(market.returns[:4, 0]).all()


def test_a_bar_belongs_to_the_day_in_which_it_closes() -> None:
    frame = bars("A", range(50))
    days = [date(2025, 6, 2), date(2025, 6, 3)]
    universe = pl.DataFrame({"day": days, "symbol": ["A", "A"], "member": [False, True]})
    member = BookMarket.from_frames(frame, universe=universe).member[:, 0]
    assert member.tolist() == [False] * 23 + [True] * 24 + [False] * 3, "the universe of the third day is not known"


def test_funding_falls_due_at_the_first_open_at_or_after_it() -> None:
    minutes = {0: 1.0, 60: 2.0, 61: 4.0, 120: 8.0, 400: 16.0, -61: 32.0}
    funding = pl.DataFrame(
        {
            "symbol": ["A"] * len(minutes),
            "ts": [START + timedelta(minutes=minute) for minute in minutes],
            "rate": list(minutes.values()),
        },
        schema=FUNDING_SCHEMA,
    )
    market = BookMarket.from_frames(bars("A", range(5)), funding=funding)
    assert market.funding[:, 0].tolist() == [1.0, 2.0, 12.0, 0.0, 0.0]


def test_rebalance_bars_are_counted_from_a_monday_whatever_the_window() -> None:
    market = BookMarket.from_frames(bars("A", range(5, 24 * 16)))
    weekly = market.rebalance_rows(timedelta(days=7))
    assert [market.time_of(int(row)) for row in weekly] == [START + timedelta(days=7), START + timedelta(days=14)]
    tuesdays = market.rebalance_rows(timedelta(days=7), timedelta(days=1))
    assert [market.time_of(int(row)).isoweekday() for row in tuesdays] == [2, 2, 2]
    assert market.rebalance_rows(timedelta(hours=1))[-1] == len(market.ts) - 2, "no fill follows the last bar"


def test_a_bar_after_the_end_of_a_symbol_is_not_read() -> None:
    contract = Contract(delisted=START + timedelta(hours=2), announced=START + timedelta(hours=3))
    market = BookMarket.from_frames(bars("A", range(6)), contracts={"A": contract})
    assert market.fillable[:, 0].tolist() == [True] * 3 + [False] * 3


def test_contracts_are_those_of_the_last_row_in_base_units() -> None:
    rows = pl.DataFrame(
        {
            "symbol": ["A", "A", "B"],
            "as_of": [START, START + timedelta(days=1), START],
            "contract_value": [0.1, 0.001, None],
            "lot_size": [1.0, 2.0, None],
            "min_size": [1.0, 5.0, None],
            "maintenance_margin_rate": [0.004, 0.006, None],
        }
    )
    assert contracts_of(rows) == {"A": Contract(0.002, 0.005, 0.006), "B": Contract()}


def test_only_an_announced_end_counts_as_known() -> None:
    rows = pl.DataFrame(
        {
            "symbol": ["A"], "as_of": [START], "contract_value": [1.0], "lot_size": [1.0], "min_size": [1.0],
            "maintenance_margin_rate": [0.01],
        }
    )  # fmt: skip
    listings = pl.DataFrame({"symbol": ["A", "B", "C"], "delist_time": [START, START, None]}, schema_overrides=ENDS)
    assert contracts_of(rows, listings) == {"A": Contract(1.0, 1.0, 0.01), "B": Contract(), "C": Contract()}
    notice = START - timedelta(days=7)
    announced = listings.with_columns(announced=pl.Series([None, notice, None], dtype=TS))
    assert contracts_of(rows, announced) == {
        "A": Contract(1.0, 1.0, 0.01),
        "B": Contract(delisted=START, announced=notice),
        "C": Contract(),
    }, "a symbol that no instrument describes keeps its end"


def test_what_a_book_does_before_a_file_ends_does_not_depend_on_that_it_will(tmp_path: Path) -> None:
    """The whole archive shows that B ends; the one cut a day later cannot tell yet."""
    hours, ends, cut = 24 * 12, 24 * 3, 24 * 4
    ways = np.random.default_rng(4).normal(0, 0.01, (6, hours)).cumsum(axis=1)
    results = []
    for name, length in (("whole", hours), ("cut", cut)):
        folder = tmp_path / name
        folder.mkdir()
        for place, symbol in enumerate("ABCDEF"):
            count = min(length, ends) if symbol == "B" else length
            close = np.round(100.0 * np.exp(ways[place, :count]), 6)
            opens = np.concatenate([[100.0], close[:-1]])
            frame = pl.DataFrame(
                {
                    "ts": [START + timedelta(hours=hour) for hour in range(count)],
                    "open": opens,
                    "high": np.maximum(opens, close),
                    "low": np.minimum(opens, close),
                    "close": close,
                    "volume": 1.0,
                }
            )
            frame.write_parquet(folder / f"{symbol}-USDT_60m.parquet")
        market = ArchiveMarket(folder)
        symbols = market.symbols()
        end = START + timedelta(hours=length)
        contracts = contracts_of(market.instruments(symbols, end), market.listings())
        assert (market.listings()["delist_time"].null_count() == 6) == (name == "cut")
        candles = market.candles(symbols, "60m", START, end)
        prepared = BookMarket.from_frames(candles, contracts=contracts)
        held = np.where(np.arange(length)[:, None] < ends, 0.15, np.nan) * np.ones(6)
        rules = BookRules(timedelta(days=1), neutral="none", given_weights=True)
        results.append(run_book(prepared, rules, held))
    whole, early = results
    assert np.array_equal(whole.equity[:cut], early.equity[:cut])
    assert np.array_equal(whole.tranches[0].series[:, :cut], early.tranches[0].series[:, :cut])
    assert "ended" in whole.trades["reason"].to_list()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (bars("A", range(0)), "no rows"),
        (bars("A", range(3)).drop("flag"), "no column flag"),
        (pl.concat([bars("A", range(3))] * 2), "twice"),
        (bars("A", range(3)).with_columns(pl.col("ts") + timedelta(minutes=5)), "off the grid of 60m"),
        (bars("A", range(3), price=-2.0), "open of A is -2"),
    ],
)
def test_bars_that_cannot_be_are_refused(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BookMarket.from_frames(frame)


def test_a_rate_that_is_no_number_is_refused() -> None:
    funding = pl.DataFrame({"symbol": ["A"], "ts": [START], "rate": [float("nan")]}, schema=FUNDING_SCHEMA)
    with pytest.raises(ValueError, match="funding rate of A"):
        BookMarket.from_frames(bars("A", range(3)), funding=funding)


@pytest.mark.parametrize("fault", [{"lot": -1.0}, {"minimum": float("nan")}, {"maintenance": 1.0}])
def test_a_contract_out_of_range_is_refused(fault: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fault))} is"):
        Contract(**fault)


def test_volatility_and_beta_are_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    hours, symbols = 800, 6
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (hours, symbols)), axis=0))
    frames = []
    for column in range(symbols):
        frame = bars(f"S{column}", range(hours)).with_columns(
            pl.Series(name, close[:, column]) for name in ("open", "high", "low", "close")
        )
        frames.append(frame.filter(pl.Series(rng.random(hours) > 0.05)))
    market = BookMarket.from_frames(pl.concat(frames))
    rows = np.array([100, 790])
    window = market.returns[71:791]
    assert np.isnan(market.volatilities(rows)[0]).all(), "fewer than half of the bars"
    np.testing.assert_allclose(market.volatilities(rows)[1], np.nanstd(window, axis=0, ddof=1), rtol=1e-12)
    average = np.nanmean(window, axis=1)
    for column in range(symbols):
        both = ~np.isnan(window[:, column]) & ~np.isnan(average)
        slope = np.polyfit(average[both], window[both, column], 1)[0]
        assert market.betas(rows)[1, column] == pytest.approx(np.clip(slope, 0.2, 3.0), rel=1e-9)
