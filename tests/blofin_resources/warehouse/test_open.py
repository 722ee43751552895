"""Opening a warehouse: schema, comments, refusals, moving, the Dagster instance it is tied to."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse, _place, _schema
from blofin_resources.warehouse._place import ALIAS, Place, connect

Bars = Callable[..., pl.DataFrame]


def test_every_table_and_column_has_a_comment(warehouse: Warehouse) -> None:
    warehouse.ensure_features_table("5m", {"rsi_14": "relative strength index, 0 to 100"})
    tables = warehouse.read(
        "SELECT schema_name || '.' || table_name AS name, comment FROM duckdb_tables() WHERE database_name = ?", [ALIAS]
    )
    columns = warehouse.read(
        "SELECT schema_name || '.' || table_name || '.' || column_name AS name, comment FROM duckdb_columns() "
        "WHERE database_name = ? AND table_name IN (SELECT table_name FROM duckdb_tables())",
        [ALIAS],
    )
    views = warehouse.read(
        "SELECT schema_name || '.' || view_name AS name, comment FROM duckdb_views() WHERE database_name = ?", [ALIAS]
    )
    assert tables.height > 20
    assert columns.height > 250
    assert views.height == len(list((_schema.FILES / "views").glob("*.sql")))
    for frame in (tables, columns, views):
        assert frame.filter(pl.col("comment").fill_null("").str.len_chars() < 5)["name"].to_list() == []


GIVEN = {"research.trades": ["tranche"]}
"""Columns of keys that were added later, so that DuckLake cannot declare them: every writer gives a value."""


def test_every_table_has_a_key_of_columns_that_are_never_null(warehouse: Warehouse) -> None:
    warehouse.ensure_features_table("5m", {"rsi_14": "relative strength index, 0 to 100"})
    tables = warehouse.read(
        "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() WHERE database_name = ?", [ALIAS]
    )["name"]
    keys = dict(warehouse.read("SELECT table_name, columns FROM meta.table_keys").iter_rows())
    assert set(keys) == set(tables)
    cursor = warehouse.cursor()
    for table, key in keys.items():
        columns = _schema.columns(cursor, table)
        assert [column for column in key if columns[column][1]] == GIVEN.get(table, []), table
        assert ("run_id" in columns) == (not table.startswith("meta.")), table


def test_every_view_can_be_read_while_empty(warehouse: Warehouse) -> None:
    views = warehouse.read(
        "SELECT schema_name || '.' || view_name AS name FROM duckdb_views() WHERE database_name = ?", [ALIAS]
    )
    for view in views["name"]:
        assert warehouse.read(f"FROM {view}").height == 0


def test_candle_tables_are_partitioned_by_month(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(3 * 1440))
    folder = warehouse.folder / "data" / "market" / "candles_1m" / "year=2025"
    assert sorted(path.name for path in folder.iterdir()) == ["month=5", "month=6"]


def test_the_catalog_is_in_wal_mode(warehouse: Warehouse) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("research.strategy_lifecycle", _event("a"))
    warehouse.close()
    header = (warehouse.folder / "catalog.sqlite").read_bytes()[18:20]
    assert header == b"\x02\x02"


def test_opening_again_changes_nothing(warehouse: Warehouse) -> None:
    before = warehouse.snapshot_id()
    with Warehouse.open(warehouse.folder, market="sample", market_id="seed=7") as again:
        assert again.snapshot_id() == before
        assert again.read("SELECT count(*) FROM meta.schema_migrations").item() == len(
            list((_schema.FILES / "schema").glob("*.sql"))
        )


def test_a_new_schema_file_is_applied_once_and_an_older_program_refuses(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "sql"
    shutil.copytree(_schema.FILES / "schema", newer / "schema")
    shutil.copytree(_schema.FILES / "views", newer / "views")
    (newer / "schema" / "900_more.sql").write_text("ALTER TABLE research.trials ADD COLUMN more DOUBLE;")
    folder = warehouse.folder
    warehouse.close()
    with monkeypatch.context() as patch:
        patch.setattr(_schema.migrate, "__defaults__", (newer,))
        for _ in range(2):
            with Warehouse.open(folder, market="sample", market_id="seed=7") as migrated:
                assert "more" in migrated.read("FROM research.trials").columns
                snapshot = migrated.snapshot_id()
    with pytest.raises(WarehouseError, match="newer version"):
        Warehouse.open(folder, market="sample", market_id="seed=7")
    with Warehouse.open_readonly(folder) as unchanged:
        assert unchanged.snapshot_id() == snapshot


def test_trades_of_an_older_warehouse_become_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, folder, start = tmp_path / "sql", tmp_path / "warehouse", datetime(2025, 6, 1, tzinfo=UTC)
    (older / "schema").mkdir(parents=True)  # its views are of tables that come later
    for path in (_schema.FILES / "schema").glob("0[0-2]*.sql"):
        shutil.copy(path, older / "schema")
    trade = {
        "as_of": start, "kind": "strategy", "name": "a", "version": "v", "symbol": "BTC-USDT", "timeframe": "5m",
        "side": "long", "entry_ts": start, "exit_ts": start, "entry_price": 100.0, "exit_price": 101.0,
        "quantity": 100.0, "pnl": 100.0, "fees": 12.0, "funding": -1.5, "pnl_pct": 0.895, "exit_reason": "signal",
    }  # fmt: skip
    forward = {"activated_at": start, "signal_ts": start, "slippage": 4.0, "snapshot_id": 1, "engine": "e"}
    with monkeypatch.context() as patch:
        for function in (_schema.migrate, _schema.renew_views):
            patch.setattr(function, "__defaults__", (older,))
        with Warehouse.open(folder, market="sample", market_id="seed=7") as warehouse, warehouse.transaction("r") as tx:
            tx.append("research.trades", pl.DataFrame([trade]))
            tx.append("research.forward_trades", pl.DataFrame([trade | forward]))
    with Warehouse.open(folder, market="sample", market_id="seed=7") as migrated:
        for table in ("research.trades", "research.forward_trades"):
            assert migrated.read(f"SELECT pnl, fees, funding FROM {table}").rows() == [(89.5, 12.0, -1.5)], table
            assert (
                "net profit"
                in migrated.read(
                    "SELECT comment FROM duckdb_columns() WHERE column_name = 'pnl' AND table_name = ?",
                    [table.partition(".")[2]],
                ).item()
            )


def test_a_broken_schema_file_leaves_the_warehouse_as_it_was(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "sql"
    shutil.copytree(_schema.FILES / "schema", broken / "schema")
    (broken / "schema" / "900_good.sql").write_text("CREATE TABLE research.extra (a DOUBLE);")
    (broken / "schema" / "901_bad.sql").write_text("CREATE TABLE research.extra (a DOUBLE);")
    before = warehouse.snapshot_id()
    monkeypatch.setattr(_schema.migrate, "__defaults__", (broken,))
    with pytest.raises(WarehouseError, match="already exists"):
        Warehouse.open(warehouse.folder, market="sample", market_id="seed=7")
    assert warehouse.snapshot_id() == before


def test_a_changed_view_is_made_anew(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = tmp_path / "sql" / "views"
    shutil.copytree(_schema.FILES / "views", views)
    path = views / "market_coverage_span.sql"
    path.write_text("CREATE OR REPLACE VIEW market.coverage_span AS SELECT 42 AS answer;")
    monkeypatch.setattr(_schema.renew_views, "__defaults__", (views.parent,))
    with Warehouse.open(warehouse.folder, market="sample", market_id="seed=7") as again:
        assert again.read("FROM market.coverage_span").item() == 42


@pytest.mark.parametrize(
    ("market", "market_id"), [("archive", ""), ("sample", "seed=8"), ("sample:null", "seed=7"), ("sample", "")]
)
def test_another_market_is_refused(warehouse: Warehouse, market: str, market_id: str) -> None:
    with pytest.raises(WarehouseError, match=r"holds the market sample seed=7, not .*BLOFIN_WAREHOUSE") as refused:
        Warehouse.open(warehouse.folder, market=market, market_id=market_id)
    assert "\n" not in str(refused.value)


def test_a_moved_warehouse_still_opens_and_reads_its_files(warehouse: Warehouse, tmp_path: Path, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(3000))
    warehouse.close()
    moved = tmp_path / "else where" / "it's"
    moved.parent.mkdir()
    shutil.move(warehouse.folder, moved)
    with Warehouse.open(moved, market="sample", market_id="seed=7") as again:
        assert again.read("SELECT count(*) FROM market.candles_1m").item() == 3000
        with again.transaction("r2") as tx:
            tx.append("market.candles_1m", bars(3000, first=3000))
        assert again.read("SELECT count(*) FROM market.candles_1m").item() == 6000


@pytest.mark.parametrize("folder", ["/proc/warehouse", "{tmp}/file/warehouse", "{tmp}/file"])
def test_an_unwritable_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("in the way")
    place = folder.format(tmp=tmp_path)
    with pytest.raises(WarehouseError, match=r"cannot be written.*BLOFIN_WAREHOUSE") as refused:
        Warehouse.open(Path(place), market="sample")
    assert place in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_catalog_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.sqlite"
    with sqlite3.connect(catalog) as foreign:
        foreign.execute("CREATE TABLE ticks (price REAL)")
    foreign.close()
    before = catalog.read_bytes()
    with pytest.raises(WarehouseError, match="another program"):
        Warehouse.open(tmp_path, market="sample")
    assert catalog.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
@pytest.mark.parametrize("way", ["open", "open_readonly"])
def test_a_damaged_catalog_is_refused_in_one_line(tmp_path: Path, content: bytes, way: str) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(content)
    with pytest.raises(WarehouseError, match=r"catalog\.sqlite") as refused:
        Warehouse.open_readonly(tmp_path) if way == "open_readonly" else Warehouse.open(tmp_path, market="sample")
    assert "\n" not in str(refused.value)


def test_another_ducklake_is_refused(tmp_path: Path) -> None:
    place = Place.of(tmp_path, None)
    place.make()
    with connect(place) as connection:
        place.attach(connection, ALIAS)
        connection.execute(f"CREATE TABLE {ALIAS}.theirs (a DOUBLE)")
    for way in (lambda: Warehouse.open(tmp_path, market="sample"), lambda: Warehouse.open_readonly(tmp_path)):
        with pytest.raises(WarehouseError, match="belongs to another program"):
            way()


def test_data_whose_catalog_is_lost_is_refused(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(100))
    warehouse.close()
    (warehouse.folder / "catalog.sqlite").unlink()
    with pytest.raises(WarehouseError, match=r"catalog\.sqlite is missing; restore"):
        Warehouse.open(warehouse.folder, market="sample", market_id="seed=7")


def test_the_catalog_may_lie_elsewhere(tmp_path: Path, bars: Bars) -> None:
    catalog = tmp_path / "catalogs" / "mine.sqlite"
    opened = Warehouse.open(tmp_path / "w", market="sample", catalog=str(catalog))
    with opened, opened.transaction("r") as tx:
        tx.append("market.candles_1m", bars(5))
    with Warehouse.open_readonly(tmp_path / "w", catalog=f"sqlite:{catalog}") as reader:
        assert reader.read("SELECT count(*) FROM market.candles_1m").item() == 5
    assert not (tmp_path / "w" / "catalog.sqlite").exists()


def test_a_reader_needs_no_market_and_cannot_write(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(5))
    with Warehouse.open_readonly(warehouse.folder) as reader:
        assert reader.read("SELECT count(*) FROM market.candles_1m").item() == 5
        with pytest.raises(WarehouseError, match="read-only"), reader.transaction("r") as tx:
            tx.append("market.candles_1m", bars(5, first=5))
        with pytest.raises(WarehouseError, match="read-only"):
            reader.read("DELETE FROM market.candles_1m")


def test_a_reader_finds_no_warehouse(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"no warehouse in .*blofin run"):
        Warehouse.open_readonly(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_extension_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # without the packages, and with nowhere to fetch from, the way out is to install them
    monkeypatch.setattr("blofin_resources.warehouse._place.importlib.util.find_spec", lambda _name: None)
    real = duckdb.connect

    def offline(*args: Any, **kwargs: Any) -> duckdb.DuckDBPyConnection:
        connection = real(*args, **kwargs)
        connection.execute(f"SET extension_directory = '{tmp_path}'")
        connection.execute("SET custom_extension_repository = 'file:///nowhere'")
        return connection

    monkeypatch.setattr("blofin_resources.warehouse._place.duckdb.connect", offline)
    with pytest.raises(WarehouseError, match="pip install duckdb-extension-ducklake=="):
        Warehouse.open(tmp_path / "w", market="sample")


def test_features_tables_grow_by_name(warehouse: Warehouse, start: datetime) -> None:
    warehouse.ensure_features_table("1m", {"rsi_14": "relative strength index, 0 to 100", "odd.name": "fraction"})
    row = pl.DataFrame({"symbol": "BTC-USDT", "ts": [start], "definitions_hash": "a"})
    with warehouse.transaction("r1") as tx:
        tx.append("features.features_1m", row.with_columns(pl.lit(50).alias("rsi_14"), pl.lit(0.5).alias("odd.name")))
    before = warehouse.snapshot_id()
    warehouse.ensure_features_table("1m", {"rsi_14": "relative strength index, 0 to 100"})
    assert warehouse.snapshot_id() == before
    warehouse.ensure_features_table("1m", {"rsi_14": "renamed, 0 to 100", "up": "1 for up, else 0"})
    frame = warehouse.read('SELECT rsi_14, "odd.name", up, definitions_hash, run_id FROM features.features_1m')
    assert frame.row(0) == (50.0, 0.5, None, "a", "r1")
    assert frame.schema["up"] == pl.Float64
    cursor = warehouse.cursor()
    assert _schema.column_comments(cursor, "features.features_1m")["rsi_14"] == "renamed, 0 to 100"
    with warehouse.transaction("r2") as tx:
        tx.replace("features.features_1m", row.with_columns(up=pl.lit(value=True)), start, symbol="BTC-USDT")
    assert warehouse.read("SELECT rsi_14, up FROM features.features_1m").row(0) == (None, 1.0)


def test_one_dagster_instance_for_each_warehouse(warehouse: Warehouse, tmp_path: Path) -> None:
    home, other = warehouse.folder / ".dagster", tmp_path / "other"
    assert warehouse.bind_instance(home) is None
    before = warehouse.snapshot_id()
    assert warehouse.bind_instance(home) is None
    assert warehouse.snapshot_id() == before
    warning = warehouse.bind_instance(other)
    assert warning is not None
    assert f"DAGSTER_HOME={home}" in warning
    assert warehouse.bind_instance(home) is None


def test_the_tie_survives_moving_and_ends_with_the_instance(warehouse: Warehouse, tmp_path: Path) -> None:
    home, other = warehouse.folder / ".dagster", tmp_path / "other"
    warehouse.bind_instance(home)
    warehouse.close()
    moved = warehouse.folder.rename(tmp_path / "moved")
    with Warehouse.open(moved, market="sample", market_id="seed=7") as again:
        assert again.bind_instance(moved / ".dagster") is None
        assert "moved" in (again.bind_instance(other) or "")
        shutil.rmtree(moved / ".dagster")
        assert again.bind_instance(other) is None


def _event(name: str) -> pl.DataFrame:
    day = pl.Series(["2025-06-12"]).str.to_datetime(time_zone="UTC")
    return pl.DataFrame({"name": name, "version": "1", "event": "active", "begins_at": day})


def threads(opened: Warehouse) -> int:
    return int(opened.read("SELECT current_setting('threads') AS threads").item())


def test_the_platform_asks_on_one_thread_and_people_on_all(
    warehouse: Warehouse, bars: Callable[..., pl.DataFrame]
) -> None:
    assert threads(warehouse) == 1
    with warehouse.transaction("run") as tx:
        tx.append("market.candles_1m", bars(25_000))
    assert threads(warehouse) == 1, "given back after many rows"
    with warehouse.frozen() as still:
        assert threads(still) == 1
    with Warehouse.open_readonly(warehouse.folder) as read, duckdb.connect() as plain:
        assert threads(read) == plain.execute("SELECT current_setting('threads')").fetchall()[0][0]
    with Warehouse.open_readonly(warehouse.folder, few_rows=True) as read:
        assert threads(read) == 1


def test_an_extension_is_checked_once_and_again_when_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, found = Place.of(tmp_path, None), _place._binary
    monkeypatch.setattr(_place, "_binary", lambda extension: copies[extension])
    names = ("ducklake", "sqlite_scanner")
    copies = {name: Path(shutil.copy(found(name) or "", tmp_path / f"{name}.duckdb_extension")) for name in names}
    for _ in ("checked", "known"):
        with connect(place) as connection:
            unsigned = connection.execute("SELECT current_setting('allow_unsigned_extensions')").fetchall()
            assert unsigned == [(False,)], "nobody loads anything else with it"
    content = copies["ducklake"].read_bytes()
    copies["ducklake"].unlink()  # another file: this process has the first one loaded
    copies["ducklake"].write_bytes(content[:-1_000] + b"changed" + content[-993:])
    with pytest.raises(duckdb.IOException, match="signature"):
        connect(place)


DAY = datetime(2025, 6, 12, tzinfo=UTC)
WHO = {"name": "a", "version": "1", "as_of": DAY, "reason": "x"}
FORMER_ROWS = {
    "research.strategy_events": {"name": "a", "version": "1", "event": "active", "at": DAY, "reason": "x"},
    "research.cycle_events": {"cycle": "c", "key": "k", "as_of": DAY, "state": "done", "at": DAY},
    "meta.storage": {"at": DAY, "table_name": "*", "files": 1, "bytes": 2, "delete_files": 3, "inlined_rows": 4},
    "research.drift": WHO | {
        "kind": "strategy", "activated_at": DAY, "metric": "net_return", "days": 8.0, "decision": "steady",
        "promise": 0.5, "promise_se": 0.25, "promise_days": 7.0,
    },
    "research.exam_outcomes": WHO | {"stage": "design", "designer": "search", "accepted": True, "score": 1.5},
}  # fmt: skip


@contextmanager
def opened_before(number: int, folder: Path) -> Iterator[Warehouse]:
    """Open a new warehouse that has the migrations below a number, and no view."""
    before = folder.with_name("before")
    (before / "views").mkdir(parents=True)
    (before / "schema").mkdir()
    for path in (_schema.FILES / "schema").glob("*.sql"):
        if int(path.name[:3]) < number:
            shutil.copy(path, before / "schema")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_schema.migrate, "__defaults__", (before,))
        patch.setattr(_schema.renew_views, "__defaults__", (before,))
        with Warehouse.open(folder, market="sample") as old:
            yield old


RAN = {
    "kind": "model", "activated_at": DAY, "engine": "e", "days": 0, "trades": 0, "open_positions": 0, "compared": 0,
    "data_revisions": 0, "version_changes": 0, "look_ahead": 0,
}  # fmt: skip
TRIED = {"kind": "strategy", "author": "library", "window_start": DAY, "window_end": DAY}
TRADED = {
    "kind": "model", "symbol": "BTC-USDT", "timeframe": "1m", "side": "long", "entry_ts": DAY, "exit_ts": DAY,
    "entry_price": 1.0, "exit_price": 1.0, "quantity": 1.0, "pnl_pct": 1.0, "fees": 2.0, "funding": -1.0,
    "exit_reason": "stop",
}  # fmt: skip
LEDGER = {"activated_at": DAY, "signal_ts": DAY, "slippage": 0.0, "engine": "e"}
Values = list[Any]
FORMER_VALUES: dict[str, tuple[dict[str, Any], str, Values, Values]] = {
    "research.forward_runs": (RAN, "state", ["followed", "lost"], ["tracked", "lost"]),
    "research.forward_trades": (TRADED | LEDGER, "pnl", [5.0, -3.0], [4.0, -4.0]),
    "research.strategy_scores": ({"symbol": "*", "timestamp": DAY}, "window", ["7d", "28d"], ["holdout", "search_28d"]),
    "research.trades": (TRADED, "pnl", [5.0, -3.0], [4.0, -4.0]),
    "research.trials": (TRIED, "purpose", ["exam", "search", None], ["holdout", "search", None]),
}


NAMED = {"research.strategy_scores": ("strategy",), "research.trials": ("name", "id")}
"""Columns that name a row, where it is not `name` alone."""


def append_former_values(old: Warehouse, batch: str) -> None:
    """Store a row of each former value, named by the batch and its place."""
    with old.transaction(batch) as tx:
        for table, (row, column, values, _) in FORMER_VALUES.items():
            who = NAMED.get(table, ("name",))
            rows = [{**dict.fromkeys(who, f"{batch}{place}"), column: value} for place, value in enumerate(values)]
            tx.append(table, pl.DataFrame([{"version": "1", "as_of": DAY, **row, **each} for each in rows]))


class Upgraded(NamedTuple):
    """A warehouse of before that was opened today, one copied from it, and its snapshot from before."""

    new: Warehouse
    scratch: Warehouse
    snapshot: int


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    folder = tmp_path_factory.mktemp("upgraded")
    with opened_before(23, folder / "w") as old:
        with old.transaction("r") as tx:
            for name, row in FORMER_ROWS.items():
                tx.append(name, pl.DataFrame([row]))
        append_former_values(old, "a")
        old._connection.execute(f"CALL ducklake_flush_inlined_data('{ALIAS}')")  # from here on in files
        append_former_values(old, "b")  # in the catalog
        snapshot = old.snapshot_id()
    with Warehouse.open(folder / "w", market="sample") as new, new_warehouse(folder / "scratch") as scratch:
        scratch.copy_from(new, snapshot, ("research",))
        yield Upgraded(new, scratch, snapshot)


def test_renamed_tables_keep_their_rows_and_older_queries_keep_working(upgraded: Upgraded) -> None:
    assert {former for former, _ in _schema.FORMER_NAMES.values()} == FORMER_ROWS.keys()
    new, scratch, snapshot = upgraded
    for table, (former, renamed) in _schema.FORMER_NAMES.items():
        row = FORMER_ROWS[former]
        today = {renamed.get(column, column): value for column, value in row.items()}
        assert new.read(f"SELECT {', '.join(today)} FROM {table}").rows(named=True) == [today]
        by_old_names = ", ".join(f'"{column}"' for column in row)
        assert new.read(f"SELECT {by_old_names} FROM {former}").rows(named=True) == [row]
        assert renamed.keys().isdisjoint(new.read(f"FROM {table}").columns), "the old names are in the view alone"
        assert former not in new.read("SELECT table_name FROM meta.table_keys")["table_name"]
        for at in (snapshot, new.snapshot_id()):
            stored = new.rows_at(at, table)
            assert stored is not None
            assert stored.select(list(today)).rows(named=True) == [today], (
                "by today's names, in an old snapshot as well"
            )
        if table.startswith("research."):
            assert scratch.read(f"SELECT {', '.join(today)} FROM {table}").rows(named=True) == [today], "copied"
    assert new.rows_at(snapshot, "research.drift_tests", runs=["r"]).height == 1  # type: ignore[union-attr]
    assert new.rows_at(snapshot, "research.drift_tests", runs=["another"]).height == 0  # type: ignore[union-attr]
    with new.transaction("r2") as tx:
        tx.append("research.strategy_lifecycle", _event("b"), key=["name", "version", "event"])
    assert new.read("SELECT count(*) FROM research.strategy_events").item() == 2
    assert new.integrity() == []


def test_changed_values_are_read_as_those_of_today(upgraded: Upgraded) -> None:
    changed = {(table, column) for _, table, column, _ in _schema.FORMER_VALUES}
    assert sorted(changed) == sorted((table, column) for table, (_, column, _, _) in FORMER_VALUES.items())
    new, scratch, snapshot = upgraded
    for table, (_, column, former, today) in FORMER_VALUES.items():
        (who, *_) = NAMED.get(table, ("name",))
        values = f'SELECT "{column}" FROM {table} ORDER BY {who}'
        assert new.read(values).to_series().to_list() == [*today, *today]
        assert scratch.read(values).to_series().to_list() == [*today, *today], "copied"
        assert new.read_at(snapshot, values).to_series().to_list() == [*former, *former], "as they were"
        stored = new.rows_at(snapshot, table, runs=["b"])
        assert stored is not None
        assert stored.sort(who)[column].to_list() == today
    assert new.integrity() == []


def test_a_table_or_column_that_is_younger_than_a_snapshot_has_no_rows_there(tmp_path: Path) -> None:
    with opened_before(10, tmp_path / "w") as old:
        with old.transaction("r") as tx:
            tx.append(
                "research.trials", pl.DataFrame([{"id": "1", "version": "1", "name": "a", "as_of": DAY, **TRIED}])
            )
        snapshot = old.snapshot_id()
    with Warehouse.open(tmp_path / "w", market="sample") as new:
        assert new.rows_at(snapshot, "research.drift_tests") is None
        trials = new.rows_at(snapshot, "research.trials")
        assert trials is not None
        assert "purpose" not in trials.columns
