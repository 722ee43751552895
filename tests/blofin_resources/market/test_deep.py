"""Deep history: the same years from an exchange, an archive and an import; holes, revisions, ends and returns."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.fake_exchange import Book, FakeExchange
from support.warehouses import new_warehouse

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.blofin import BlofinClient, BlofinMarket, SharedLimiter
from blofin_resources.market.deep import (
    DATASETS,
    DEEP_1D,
    DEEP_60M,
    DEEP_FUNDING,
    Deep,
    current_listings,
    lacking_symbols,
    log_differences,
    set_checked,
    store_deep,
    store_listings,
    stored_listings,
    unchecked,
)
from blofin_resources.market.importing import import_folder, survey
from blofin_resources.market.ingestion import Ingested
from blofin_resources.market.source import LISTING_SCHEMA, MarketSource
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS

pytestmark = pytest.mark.slow

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
END = START + 100 * DAY
SYMBOLS = ("AA-USDT", "BB-USDT", "CC-USDT")


def hours(symbol: str, first: datetime = START, last: datetime = END) -> pl.DataFrame:
    ts = pl.datetime_range(first, last, HOUR, time_unit="us", closed="left", eager=True)
    level = 100.0 * (1 + SYMBOLS.index(symbol))
    price = [level + (17 * k) % 29 for k in range(len(ts))]
    return pl.DataFrame(
        {
            "symbol": symbol, "ts": ts, "open": price,
            "high": [p + 2.5 for p in price], "low": [p - 2.0 for p in price],
            "close": [p + 1.0 for p in price], "volume": [5.0 + k % 3 for k in range(len(ts))],
            "quote_volume": [500.0 + k % 7 for k in range(len(ts))], "contracts": 50.0, "minutes": 60,
            "origin": "blofin", "flag": None,
        },
        schema_overrides=dict(CANDLE_SCHEMA),
    ).select(CANDLE_SCHEMA.names())  # fmt: skip


def payments(symbol: str, first: datetime = START, last: datetime = END) -> pl.DataFrame:
    ts = pl.datetime_range(first, last, 8 * HOUR, time_unit="us", eager=True)
    rate = [1e-4 * (k % 5 - 2) for k in range(len(ts))]
    return pl.DataFrame({"symbol": symbol, "ts": ts, "rate": rate}).cast(FUNDING_SCHEMA)  # type: ignore[arg-type]


HISTORY = pl.concat([hours("AA-USDT"), hours("BB-USDT", START + 20 * DAY + 5 * HOUR), hours("CC-USDT")])
PAID = pl.concat([payments("AA-USDT"), payments("BB-USDT", START + 21 * DAY), payments("CC-USDT")])


class Clock:
    """The present, moved by hand."""

    def __init__(self) -> None:
        self.now = END

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=30)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exchange(clock: Clock) -> Iterator[FakeExchange]:
    longer = {"60m": HISTORY, "1d": aggregate(HISTORY, "1d", END).with_columns(minutes=1440, flag=None)}
    with FakeExchange(Book(HISTORY.clear(), PAID, longer=longer), clock) as server:  # type: ignore[arg-type]
        yield server


@pytest.fixture
def source(exchange: FakeExchange, clock: Clock, tmp_path: Path) -> BlofinMarket:
    return on(exchange, clock, tmp_path)


def on(exchange: FakeExchange, clock: Clock, folder: Path) -> BlofinMarket:
    def connect() -> BlofinClient:
        return BlofinClient(exchange.url, SharedLimiter(folder / "limit.json", 10_000.0), bound=5.0)

    return BlofinMarket(exchange.url, clock, connect, settling=0.01)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Warehouse]:
    with new_warehouse(tmp_path / "warehouse") as opened:
        yield opened


def bring(
    store: Warehouse,
    source: MarketSource,
    as_of: datetime = END,
    *,
    start: datetime = START,
    datasets: tuple[Deep, ...] = DATASETS,
    force: bool = False,
) -> list[Ingested]:
    """Bring listings and datasets up to a midnight, as the assets do."""
    store_listings(store, current_listings(store, source, as_of), as_of, "run")
    listed = stored_listings(store, as_of)
    return [
        store_deep(store, source, dataset, listed, start, as_of, as_of=as_of, run_id="run", force=force)
        for dataset in datasets
    ]


def content(store: Warehouse, table: str, *without: str) -> pl.DataFrame:
    return store.read(f"SELECT * EXCLUDE ({', '.join(('run_id', *without))}) FROM market.{table} ORDER BY ALL")


def rows(store: Warehouse, dataset: Deep) -> pl.DataFrame:
    return store.read(f"SELECT * EXCLUDE (run_id) FROM market.{dataset.name} ORDER BY symbol, ts").cast(dataset.schema)


def asked(exchange: FakeExchange, symbol: str = "AA-USDT") -> int:
    return sum(each.query.get("instId") == symbol for each in exchange.requests)


def test_what_is_stored_is_what_the_exchange_has_and_nothing_is_fetched_twice(
    store: Warehouse, source: BlofinMarket, exchange: FakeExchange
) -> None:
    bring(store, source)
    assert_frame_equal(rows(store, DEEP_60M), HISTORY.sort("symbol", "ts"), check_exact=True)
    assert rows(store, DEEP_1D).height == 100 + 80 + 100
    assert_frame_equal(rows(store, DEEP_FUNDING).drop("origin"), PAID.sort("symbol", "ts"), check_exact=True)
    assert content(store, "deep_gaps").is_empty()
    before, snapshot = len(exchange.requests), store.snapshot_id()
    assert [each.rows for each in bring(store, source)] == [0, 0, 0]
    assert asked(exchange) == sum(each.query.get("instId") == "AA-USDT" for each in exchange.requests[:before])
    assert store.snapshot_id() == snapshot


def test_days_one_by_one_give_the_tables_of_one_request(
    store: Warehouse, source: BlofinMarket, clock: Clock, tmp_path: Path
) -> None:
    with new_warehouse(tmp_path / "fresh") as fresh:
        bring(fresh, source)
        for day in (40, 41, 60, 99, 100):
            clock.now = START + day * DAY
            bring(store, source, clock.now)
        for dataset in DATASETS:
            assert_frame_equal(rows(store, dataset), rows(fresh, dataset), check_exact=True)
        assert content(store, "deep_coverage").equals(content(fresh, "deep_coverage"))
        bring(store, source, START + 50 * DAY)  # an earlier as-of takes nothing back
        assert content(store, "deep_coverage").equals(content(fresh, "deep_coverage"))


def test_nothing_later_than_the_as_of_is_stored(store: Warehouse, source: BlofinMarket) -> None:
    end = START + 10 * DAY
    bring(store, source, end)
    assert rows(store, DEEP_60M)["ts"].max() == end - HOUR
    assert rows(store, DEEP_1D)["ts"].max() == end - DAY
    assert rows(store, DEEP_FUNDING)["ts"].max() == end
    assert stored_listings(store, end)["symbol"].to_list() == ["AA-USDT", "CC-USDT"]


def test_an_earlier_start_is_made_up_for(store: Warehouse, source: BlofinMarket, tmp_path: Path) -> None:
    bring(store, source, start=START + 70 * DAY)
    assert rows(store, DEEP_1D)["ts"].min() == START + 70 * DAY
    bring(store, source)
    with new_warehouse(tmp_path / "fresh") as fresh:
        bring(fresh, source)
        for table in ("deep_60m", "deep_1d", "deep_funding", "deep_coverage"):
            assert content(store, table).equals(content(fresh, table)), table


def test_the_same_years_from_an_exchange_an_archive_and_an_import_are_equal(
    store: Warehouse, source: BlofinMarket, tmp_path: Path
) -> None:
    theirs, ours, imported = (tmp_path / name for name in ("freqtrade", "ours", "imported"))
    for folder in (theirs, ours):
        folder.mkdir()
    for symbol in SYMBOLS:
        own = HISTORY.filter(pl.col("symbol") == symbol).select("ts", "open", "high", "low", "close", "volume")
        paid = PAID.filter(pl.col("symbol") == symbol).select("ts", "rate")
        own.write_parquet(ours / f"{symbol}_1h.parquet")
        paid.write_csv(ours / f"{symbol}_funding.csv")
        base = symbol.partition("-")[0]
        own.rename({"ts": "date"}).write_ipc(theirs / f"{base}_USDT_USDT-1h-futures.feather")
        rates = paid.select(date="ts", open="rate", high=0.0, low=0.0, close=0.0, volume=0.0)
        rates.write_ipc(theirs / f"{base}_USDT_USDT-8h-funding_rate.feather")
    import_folder(survey(theirs), imported)
    bring(store, source)
    mine = [rows(store, dataset).drop("origin", "quote_volume", "contracts", strict=False) for dataset in DATASETS]
    listed = content(store, "listings", "origin", "as_of")
    for folder in (ours, imported):
        with new_warehouse(tmp_path / f"of {folder.name}") as other:
            bring(other, ArchiveMarket(folder))
            for dataset, expected in zip(DATASETS, mine, strict=True):
                found = rows(other, dataset).drop("origin", "quote_volume", "contracts", strict=False)
                if dataset is DEEP_1D:  # made of hours: the first day of a listing lacks some
                    found = found.with_columns(minutes=pl.lit(1440, pl.Int32), flag=pl.lit(None, pl.String))
                assert_frame_equal(found, expected)
            assert content(other, "listings", "origin", "as_of").equals(listed)


def test_holes_are_in_the_ledger_and_closed_when_the_source_fills_them(
    store: Warehouse, source: BlofinMarket, exchange: FakeExchange, clock: Clock
) -> None:
    exchange.outage(END - 2 * DAY - HOUR, END - 2 * DAY + 3 * HOUR)
    bring(store, source, datasets=(DEEP_60M,))
    ledger = content(store, "deep_gaps").filter(pl.col("symbol") == "AA-USDT")
    assert ledger.select("dataset", "from_ts", "to_ts", "bars", "kind", "closed_at").rows() == [
        ("deep_60m", END - 2 * DAY - HOUR, END - 2 * DAY, 1, "source_hole", None),
        ("deep_60m", END - 2 * DAY, END - 2 * DAY + 3 * HOUR, 3, "source_hole", None),
    ]
    exchange.restore()
    clock.now = END + DAY
    bring(store, source, clock.now, datasets=(DEEP_60M,))
    after = content(store, "deep_gaps")
    filled = after.filter(pl.col("from_ts") < END)
    assert set(filled["closed_at"]) == {END + DAY}
    assert_frame_equal(rows(store, DEEP_60M), HISTORY.sort("symbol", "ts"), check_exact=True)
    assert after.filter(pl.col("from_ts") >= END)["bars"].to_list() == [24, 24, 24]  # the exchange's last day is END


def test_late_changes_are_revisions(
    store: Warehouse, source: BlofinMarket, exchange: FakeExchange, clock: Clock
) -> None:
    bring(store, source)
    exchange.revise("CC-USDT", END - 5 * HOUR, "300.25", "60m")
    exchange.revise_funding("CC-USDT", END - 8 * HOUR, "0.00077")
    clock.now = END + DAY
    bring(store, source, clock.now)
    seen = content(store, "candle_revisions").select("symbol", "ts", "field", "new_value", "seen_at").rows()
    assert ("CC-USDT", END - 5 * HOUR, "deep_60m_close", "300.25", clock.now) in seen
    assert ("CC-USDT", END - 8 * HOUR, "deep_funding_rate", "0.00077", clock.now) in seen
    stored = rows(store, DEEP_60M).filter(pl.col("symbol") == "CC-USDT", pl.col("ts") == END - 5 * HOUR)
    assert stored["close"].item() == 300.25


def test_one_symbol_that_fails_is_named_and_costs_the_others_nothing(
    store: Warehouse, source: BlofinMarket, exchange: FakeExchange
) -> None:
    exchange.mute("BB-USDT")
    with pytest.raises(MarketError, match=r"^BB-USDT: "):
        bring(store, source, datasets=(DEEP_60M,))
    assert set(rows(store, DEEP_60M)["symbol"]) == {"AA-USDT", "CC-USDT"}
    before = asked(exchange)
    exchange.restore()
    bring(store, source, datasets=(DEEP_60M,))
    assert_frame_equal(rows(store, DEEP_60M), HISTORY.sort("symbol", "ts"), check_exact=True)
    assert asked(exchange) == before


def test_a_symbol_that_is_delisted_and_relisted_has_the_tables_of_a_fresh_warehouse(
    store: Warehouse, exchange: FakeExchange, clock: Clock, tmp_path: Path
) -> None:
    clock.now = START + 50 * DAY
    bring(store, on(exchange, clock, tmp_path), clock.now)
    exchange.delist("CC-USDT")
    for day in (60, 70):
        clock.now = START + day * DAY
        bring(store, on(exchange, clock, tmp_path), clock.now)
    state = stored_listings(store, clock.now).filter(pl.col("symbol") == "CC-USDT")["state"].item()
    assert state == "delisted"
    assert rows(store, DEEP_60M).filter(pl.col("symbol") == "CC-USDT")["ts"].max() == START + 50 * DAY - HOUR
    assert content(store, "deep_gaps").is_empty()
    exchange.restore()
    clock.now = END
    bring(store, on(exchange, clock, tmp_path))
    with new_warehouse(tmp_path / "fresh") as fresh:
        bring(fresh, on(exchange, clock, tmp_path))
        for dataset in DATASETS:
            assert_frame_equal(rows(store, dataset), rows(fresh, dataset), check_exact=True)
        assert content(store, "deep_coverage").equals(content(fresh, "deep_coverage"))


def test_an_archives_symbol_that_ended_goes_on_where_its_file_does(store: Warehouse, tmp_path: Path) -> None:
    def write(last: datetime) -> ArchiveMarket:
        for symbol, end in (("AA-USDT", END), ("CC-USDT", last)):
            own = hours(symbol, last=end).filter((pl.col("ts") < START + 40 * DAY) | (pl.col("ts") >= START + 45 * DAY))
            own.write_parquet(tmp_path / f"{symbol}_1h.parquet")
        return ArchiveMarket(tmp_path)

    bring(store, write(START + 40 * DAY), START + 90 * DAY)
    ended = stored_listings(store, END).filter(pl.col("state") == "delisted")
    assert ended.select("symbol", "delist_time").rows() == [("CC-USDT", START + 40 * DAY)]
    assert set(content(store, "deep_gaps")["symbol"]) == {"AA-USDT"}
    bring(store, write(END))
    with new_warehouse(tmp_path / "fresh") as fresh:
        bring(fresh, ArchiveMarket(tmp_path))
        for table in ("deep_60m", "deep_1d", "deep_coverage"):
            assert content(store, table).equals(content(fresh, table)), table
        told = ("found_at", "looked_at")
        assert content(store, "deep_gaps", *told).equals(content(fresh, "deep_gaps", *told))


def test_chunks_give_the_tables_of_one_commit(
    store: Warehouse, source: BlofinMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(store, source)
    monkeypatch.setattr("blofin_resources.market.deep.NETWORK_ROWS_AT_ONCE", 1)
    with new_warehouse(tmp_path / "fresh") as other:
        bring(other, source)
        for table in ("deep_60m", "deep_1d", "deep_funding", "deep_coverage", "deep_gaps"):
            assert content(store, table).equals(content(other, table)), table


def test_fetched_hours_that_differ_from_their_minutes_are_logged_once(store: Warehouse) -> None:
    made = hours("AA-USDT", END - 2 * DAY)
    odd = pl.col("ts") == END - 9 * HOUR
    fetched = made.with_columns(
        high=pl.when(odd).then(pl.col("high") + 0.5).otherwise("high"),
        volume=pl.col("volume") * (1 + 1e-13),
    )
    with store.transaction("run") as tx:
        tx.append("market.candles_60m", made[1:])
        tx.append("market.deep_60m", fetched)
    for k in range(2):
        found = log_differences(
            store, ["AA-USDT"], END - 7 * DAY, END, as_of=END + k * DAY, run_id="run"
        )  # fmt: skip
        assert found.select("symbol", "ts", "field").rows() == [("AA-USDT", END - 9 * HOUR, "minutes_60m_high")]
    assert content(store, "candle_revisions").height == 1


def test_a_difference_is_one_row_however_its_sum_is_rounded_and_a_second_run_of_its_as_of_replaces_it(
    store: Warehouse,
) -> None:
    def differ(k: int, volume: float) -> None:
        made = hours("AA-USDT", END - HOUR).with_columns(volume=pl.lit(volume))
        with store.transaction("run") as tx:
            tx.replace("market.candles_60m", made, symbol="AA-USDT")
        log_differences(store, ["AA-USDT"], END - DAY, END, as_of=END + k * DAY, run_id="run")

    with store.transaction("run") as tx:
        tx.append("market.deep_60m", hours("AA-USDT", END - HOUR))
    for k, volume in enumerate((9.0, 9.0 * (1 + 1e-15), 9.0)):  # the sum of the same minutes in another order
        differ(k, volume)
    assert content(store, "candle_revisions").select("field", "old_value").rows() == [("minutes_60m_volume", "9.0")]
    for volume in (7.0, 8.0):
        differ(3, volume)
    assert sorted(content(store, "candle_revisions")["old_value"]) == ["8.0", "9.0"]


def test_a_listing_that_changes_replaces_that_of_its_as_of_and_leaves_a_revision(store: Warehouse) -> None:
    def listed(begun: datetime | None, as_of: datetime) -> None:
        found = pl.DataFrame(
            [{"symbol": "AA-USDT", "list_time": begun, "state": "live", "as_of": as_of, "origin": "blofin"}],
            schema={**LISTING_SCHEMA, "as_of": TS, "origin": pl.String()},
        )
        store_listings(store, found, as_of, "run")

    listed(None, START)
    listed(START - 2 * DAY, START + DAY)  # that it is known now is no revision
    assert content(store, "candle_revisions").is_empty()
    for begun in (START - 3 * DAY, START - 3 * DAY, START - 2 * DAY + HOUR):
        listed(begun, START + 2 * DAY)
    assert content(store, "listings").select("as_of", "list_time").rows() == [
        (START, None), (START + DAY, START - 2 * DAY), (START + 2 * DAY, START - 2 * DAY + HOUR),
    ]  # fmt: skip
    revised = content(store, "candle_revisions").select("symbol", "ts", "field", "old_value").rows()
    assert revised == [("AA-USDT", START + 2 * DAY, "listing_list_time", "2023-12-30 00:00:00.000000+00:00")]


def test_what_is_stored_is_checked_until_it_has_passed_and_what_failed_is_fetched_again(
    store: Warehouse, tmp_path: Path
) -> None:
    def write(last: datetime) -> ArchiveMarket:
        for symbol in ("AA-USDT", "CC-USDT"):
            hours(symbol, END - 9 * DAY, last).write_parquet(tmp_path / f"{symbol}_1h.parquet")
        return ArchiveMarket(tmp_path)

    def waiting() -> dict[str, int]:
        frames = [frame for frame in unchecked(store, DEEP_60M, 1) if frame.height]
        return dict(pl.concat([pl.DataFrame(schema=CANDLE_SCHEMA), *frames])["symbol"].value_counts().iter_rows())

    first, days = write(END - DAY), (DEEP_60M,)
    bring(store, first, END - DAY, datasets=days)
    bring(store, first, END - DAY, datasets=days)  # a run that was killed before its check has stored all of it
    assert waiting() == {"AA-USDT": 8 * 24, "CC-USDT": 8 * 24}
    set_checked(store, DEEP_60M, ["CC-USDT"], "run")
    assert waiting() == {"CC-USDT": 8 * 24}
    found = stored_listings(store, END - DAY)
    assert lacking_symbols(store, first, DEEP_60M, found, START, END - DAY) == ["CC-USDT"]
    (again,) = bring(store, first, END - DAY, datasets=days)
    assert again.rows == 8 * 24
    set_checked(store, DEEP_60M, [], "run")
    assert waiting() == {}
    assert lacking_symbols(store, first, DEEP_60M, found, START, END - DAY) == []
    bring(store, write(END), datasets=days)
    assert waiting() == {"AA-USDT": 4 * 24, "CC-USDT": 4 * 24}  # the new day, and the three before it


def test_a_symbol_without_bars_so_short_and_one_whose_file_is_gone_are_passed_over_with_a_word(
    store: Warehouse, tmp_path: Path
) -> None:
    for symbol in ("AA-USDT", "BB-USDT"):
        hours(symbol).write_parquet(tmp_path / f"{symbol}_1h.parquet")
    daily = aggregate(hours("CC-USDT"), "1d", END)
    daily.write_parquet(tmp_path / "CC-USDT_1d.parquet")
    one, few = bring(store, ArchiveMarket(tmp_path), END - DAY, datasets=(DEEP_1D, DEEP_60M))
    assert one.passed_over == ()
    assert few.passed_over == ("CC-USDT: no bars of 60m, since the source's shortest are of 1d",)
    assert set(rows(store, DEEP_1D)["symbol"]) == set(SYMBOLS)
    assert set(rows(store, DEEP_60M)["symbol"]) == {"AA-USDT", "BB-USDT"}
    (tmp_path / "BB-USDT_1h.parquet").unlink()
    one, few = bring(store, ArchiveMarket(tmp_path), datasets=(DEEP_1D, DEEP_60M))
    assert one.passed_over == ("BB-USDT: the source does not have it any more; what is stored of it stays",)
    assert rows(store, DEEP_60M).filter(pl.col("symbol") == "BB-USDT")["ts"].max() == END - DAY - HOUR
    assert rows(store, DEEP_60M).filter(pl.col("symbol") == "AA-USDT")["ts"].max() == END - HOUR
    assert stored_listings(store, END).filter(pl.col("symbol") == "BB-USDT")["state"].item() == "delisted"


def test_a_symbol_whose_hours_begin_after_the_as_of_has_none_and_stops_nothing(
    store: Warehouse, tmp_path: Path
) -> None:
    hours("AA-USDT").write_parquet(tmp_path / "AA-USDT_1h.parquet")
    hours("CC-USDT", END - DAY).write_parquet(tmp_path / "CC-USDT_1h.parquet")
    aggregate(hours("CC-USDT"), "1d", END).write_parquet(tmp_path / "CC-USDT_1d.parquet")
    bring(store, ArchiveMarket(tmp_path), END - 2 * DAY, datasets=(DEEP_1D, DEEP_60M))
    assert set(rows(store, DEEP_60M)["symbol"]) == {"AA-USDT"}
    assert set(rows(store, DEEP_1D)["symbol"]) == {"AA-USDT", "CC-USDT"}


def test_a_gap_ends_with_the_last_whole_bar_before_trading_does(store: Warehouse, tmp_path: Path) -> None:
    class Announced(ArchiveMarket):
        """An archive whose symbol ends inside an hour, as an exchange announces it."""

        def listings(self) -> pl.DataFrame:
            over = pl.when(pl.col("symbol") == "CC-USDT").then(pl.lit(END - DAY + HOUR / 3, TS))
            return super().listings().with_columns(delist_time=over)

    hours("AA-USDT").write_parquet(tmp_path / "AA-USDT_1h.parquet")
    hours("CC-USDT", last=END - DAY - 2 * HOUR).write_parquet(tmp_path / "CC-USDT_1h.parquet")
    bring(store, Announced(tmp_path), datasets=(DEEP_60M,))
    assert content(store, "deep_gaps").select("symbol", "from_ts", "to_ts", "bars").rows() == [
        ("CC-USDT", END - DAY - 2 * HOUR, END - DAY, 2)
    ]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_stored(store: Warehouse, tmp_path: Path) -> None:
    hours("AA-USDT").write_parquet(tmp_path / "AA-USDT_60m.parquet")
    hours("CC-USDT").with_columns(low=pl.col("high") + 1).write_parquet(tmp_path / "CC-USDT_60m.parquet")
    (tmp_path / "BB-USDT_60m.csv").write_text("ts,open,high,low,close,volume\n2024-01-01,n/a,2,1,1,1\n")
    with pytest.raises(MarketError) as refused:
        bring(store, ArchiveMarket(tmp_path), datasets=(DEEP_60M,))
    assert "BB-USDT_60m.csv" in str(refused.value)
    assert "CC-USDT_60m.parquet at 2024-01-01T00:00Z: high or low inside the bar" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert set(rows(store, DEEP_60M)["symbol"]) == {"AA-USDT"}
