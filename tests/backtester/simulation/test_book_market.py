"""From frames to the arrays of a book."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from backtester import BarError, BookEvaluation, BookMarket, BookRules, Contract, contracts_of, run_book
from backtester.simulation.book_market import NEVER
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
    member = BookMarket.from_frames(frame.head(48), universe=universe).member[:, 0]
    assert member.tolist() == [False] * 23 + [True] * 24 + [False], "nothing follows the last close, at midnight"
    later = BookMarket.from_frames(frame.head(48), universe=universe.tail(1)).member[:, 0]
    assert later.tolist() == member.tolist(), "a universe may begin later than the bars"


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ([2, 4], "no row of 2025-06-03;"),
        ([2, 3], "no row of 2025-06-04;"),
        ([1], "no row of 2025-06-02, 2025-06-03, 2025-06-04;"),
        ([9], "no row of 2025-06-04;"),
        ([], "no row of 2025-06-02, 2025-06-03, 2025-06-04;"),
    ],
)
def test_a_universe_that_lacks_a_day_is_refused(days: list[int], message: str) -> None:
    given = pl.DataFrame({"day": [date(2025, 6, day) for day in days]}, schema={"day": pl.Date})
    universe = given.with_columns(symbol=pl.lit("A"), member=pl.lit(value=True))
    with pytest.raises(ValueError, match=message):
        BookMarket.from_frames(bars("A", range(50)), universe=universe)


def test_funding_falls_due_at_the_first_open_at_or_after_it() -> None:
    minutes = {-61: 0.032, 0: 0.001, 60: 0.002, 61: 0.004, 120: 0.008, 400: 0.016}
    funding = pl.DataFrame(
        {
            "symbol": ["A"] * len(minutes),
            "ts": [START + timedelta(minutes=minute) for minute in minutes],
            "rate": list(minutes.values()),
        },
        schema=FUNDING_SCHEMA,
    )
    late = funding.with_columns(pl.col("ts") + timedelta(milliseconds=3))  # as an exchange stamps them
    for paid in (funding, late):
        market = BookMarket.from_frames(bars("A", range(5)), funding=paid)
        assert market.funding[:, 0].tolist() == [0.001, 0.002, 0.012, 0.0, 0.0]


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
        (bars("A", range(3))[[0, 1, 1]], r"A 60m: row 2 .* has the same time"),
        (bars("A", range(3))[[1, 0]], r"A 60m: row 1 .* has a time before"),
        (bars("A", range(3)).with_columns(pl.col("ts") + timedelta(minutes=5)), "off the grid; give bars of 60m"),
        (bars("A", range(3), price=-2.0), r"A 60m: row 0 .* has open -2"),
        (bars("A", range(3)).with_columns(close=float("inf")), r"A 60m: row 0 .* has close inf"),
        (bars("A", range(3)).with_columns(high=pl.col("low")), r"A 60m: row 0 .* does not hold its open"),
    ],
)
def test_bars_that_cannot_be_are_refused(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BookMarket.from_frames(frame)


@pytest.mark.parametrize(
    ("hours", "rates", "message"),
    [
        ([0], [float("nan")], "A funding: row 0 .* has rate nan"),
        ([0], [None], "A funding: row 0 .* has rate None"),
        ([0, 8], [0.0001, 0.5], "A funding: row 1 .* has rate 0.5; pass a fraction"),
        ([8, 8], [0.0001, 0.0001], "A funding: row 1 has the time of the row above it"),
        ([8, 0], [0.0001, 0.0001], "A funding: row 1 has a time before that of the row above it"),
    ],
)
def test_payments_that_cannot_be_are_refused_as_for_strategies(
    hours: list[int], rates: list[float | None], message: str
) -> None:
    times = [START + timedelta(hours=hour) for hour in hours]
    funding = pl.DataFrame({"symbol": ["A"] * len(hours), "ts": times, "rate": rates}, schema=FUNDING_SCHEMA)
    with pytest.raises(BarError, match=message):
        BookMarket.from_frames(pl.concat([bars("A", range(3)), bars("B", range(3))]), funding=funding)


def test_an_end_that_nobody_announced_is_never_read() -> None:
    market = BookMarket.from_frames(bars("A", range(6)), contracts={"A": Contract(delisted=START + timedelta(hours=2))})
    assert market.fillable[:, 0].all(), "the bars after it are as good as the others"
    assert market.ends.tolist() == [NEVER]


@pytest.mark.parametrize(("symbol", "hour"), [("C", 1), ("A", -1), ("A", 3)])
def test_values_of_bars_that_the_market_lacks_are_refused(symbol: str, hour: int) -> None:
    market = BookMarket.from_frames(pl.concat([bars("A", range(3)), bars("B", range(3))]))
    own = pl.DataFrame({"symbol": ["A", "B"], "ts": [START, START], "x": [1.0, 2.0]}, schema_overrides={"ts": TS})
    assert market.dense(own, "x")[0].tolist() == [1.0, 2.0]
    strange = own.vstack(own.head(1).with_columns(symbol=pl.lit(symbol), ts=pl.lit(START + timedelta(hours=hour), TS)))
    with pytest.raises(ValueError, match=f"x of {symbol} at .*: the market has no such bar"):
        market.dense(strange, "x")


def test_a_moment_without_a_zone_is_refused() -> None:
    market = BookMarket.from_frames(bars("A", range(3)))
    assert market.row_at(START + timedelta(hours=1)) == 1
    with pytest.raises(ValueError, match="no time zone"):
        market.row_at(START.replace(tzinfo=None))


def test_markets_and_results_are_compared_as_objects() -> None:
    market = BookMarket.from_frames(bars("A", range(50)))
    result = run_book(market, BookRules(timedelta(days=1), neutral="none", short=0.0), np.ones((50, 1)))
    assert len({market, result, result.tranches[0], BookEvaluation("toy", result)}) == 4, "arrays have no hash"
    assert market != BookMarket.from_frames(bars("A", range(50))), "arrays have no single truth value"


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
