"""A warehouse that is opened for reading alone writes nothing, and reads nothing but itself."""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse, _queries, _spill
from blofin_resources.warehouse._place import Place, connect

Bars = Callable[..., pl.DataFrame]

ANSWERED = (
    "SELECT count(*) FROM market.candles_1m",
    "FROM market.candles_1m LIMIT 1",
    "VALUES (1)",
    "TABLE meta.settings",
    "(SELECT 1)",
    "WITH a AS (SELECT 1 AS x) SELECT * FROM a, range(3)",
    "SELECT unnest([1, 2])",
    "DESCRIBE market.candles_1m",
    "SUMMARIZE market.candles_1m",
    "SHOW ALL TABLES",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT count(*) FROM market.candles_1m",
    "EXPLAIN (FORMAT json) FROM market.candles_1m",
    "PIVOT market.candles_1m ON symbol IN ('BTC-USDT') USING count(*)",
    "FROM lake.snapshots()",
    "FROM market.candles_1m AT (VERSION => 2)",
    "FROM duckdb_columns()",
    "SELECT 1;",
    "SELECT ';' AS text -- ; SELECT 2",
)

KINDS = (
    "COPY (SELECT 1) TO '{out}/x.csv'",
    "COPY (SELECT 1) TO '{data}/x.csv'",
    "COPY (SELECT 1) TO STDOUT",
    "COPY market.candles_1m FROM '{foreign}/a.csv'",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}/o.db' AS o",
    "ATTACH ':memory:' AS o",
    "ATTACH '{foreign}/s.sqlite' AS o (TYPE sqlite)",
    "ATTACH 'ducklake:sqlite:{catalog}' AS o",
    "ATTACH '{catalog}' AS o (TYPE sqlite)",
    "DETACH lake",
    "CREATE TABLE memory.t (a INTEGER)",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE MACRO memory.m() AS 1",
    "CREATE PERSISTENT SECRET s (TYPE postgres)",
    "DROP TABLE market.candles_1m",
    "ALTER TABLE market.candles_1m ADD COLUMN more DOUBLE",
    "INSERT INTO meta.settings VALUES ('a', 'b')",
    "UPDATE meta.settings SET value = 'b'",
    "DELETE FROM market.candles_1m",
    "DELETE FROM __ducklake_metadata_lake.ducklake_snapshot",
    "TRUNCATE market.candles_1m",
    "MERGE INTO meta.settings USING (SELECT 1) AS o ON false WHEN NOT MATCHED THEN INSERT VALUES ('a', 'b')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{foreign}/x.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "SET threads = 1",
    "SET GLOBAL enable_external_access = true",
    "SET temp_directory = '{out}'",
    "RESET allowed_directories",
    "SET VARIABLE x = 1",
    "SET SCHEMA 'memory'",
    "USE memory",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{out}/p.json'",
    "PRAGMA database_list",
    "CALL sqlite_attach('{foreign}/s.sqlite')",
    "CALL lake.set_option('parquet_compression', 'zstd')",
    "CALL enable_logging(storage => 'file', storage_path => '{out}')",
    "PREPARE p AS COPY (SELECT 1) TO '{out}/p.csv'",
    "EXECUTE p",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x.csv'",
    "EXPLAIN ANALYZE CREATE TABLE memory.t AS SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM market.candles_1m",
    "/* */ EXPLAIN ANALYZE DELETE FROM market.candles_1m",
)

FUNCTIONS = (
    "FROM read_text('{foreign}/a.csv')",
    "FROM read_blob('/proc/self/environ')",
    "FROM read_csv('{foreign}/a.csv')",
    "FROM read_parquet('{foreign}/a.parquet')",
    "FROM read_duckdb('{foreign}/d.duckdb', table_name => 't')",
    "FROM sniff_csv('{foreign}/a.csv')",
    "FROM parquet_schema('{foreign}/a.parquet')",
    "FROM glob('{foreign}/*')",
    "FROM sqlite_scan('{foreign}/s.sqlite', 't')",
    "FROM SQLite_Scan('{foreign}/s.sqlite', 't')",
    "FROM sqlite_query('__ducklake_metadata_lake', 'DELETE FROM ducklake_snapshot')",
    "FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
    "FROM postgres_scan('host=127.0.0.1 port=1', 's', 't')",
    "FROM query('FROM read_text(''{foreign}/a.csv'')')",
    "FROM json_execute_serialized_sql('{{}}')",
    "FROM duckdb_secrets(redact => false)",
    "FROM lake.set_commit_message('a', 'b')",
    "FROM ducklake_flush_inlined_data('lake')",
    "FROM ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "FROM ducklake_merge_adjacent_files('lake')",
    "FROM ducklake_add_data_files('lake', 'settings', '{foreign}/a.parquet')",
    "FROM enable_logging('QueryLog', storage => 'file', storage_path => '{out}')",
    "FROM arrow_scan(1, 2, 3)",
    "SELECT 1 WHERE 1 IN (SELECT size FROM read_text('{foreign}/a.csv'))",
    "SELECT 1 LIMIT (SELECT count(*) FROM glob('{foreign}/*'))",
    "WITH a AS (FROM sqlite_scan('{foreign}/s.sqlite', 't')) SELECT 1",
    "SELECT * FROM range(3) AS r, LATERAL (SELECT * FROM glob('{foreign}/*')) AS g",
    "DESCRIBE FROM sqlite_scan('{foreign}/s.sqlite', 't')",
    "SUMMARIZE FROM read_text('{foreign}/a.csv')",
    "PIVOT (FROM read_text('{foreign}/a.csv')) ON size IN (1)",
    "EXPLAIN FROM sqlite_scan('{foreign}/s.sqlite', 't')",
    "EXPLAIN ANALYZE (FROM glob('{foreign}/*')) UNION ALL SELECT 'a'",
)

FILES = (
    "IMPORT DATABASE '{foreign}'",
    "PRAGMA import_database('{foreign}')",
    "FROM '{foreign}/a.csv'",
    "FROM '{foreign}/a.parquet'",
    "FROM '{foreign}/s.sqlite'",
    "FROM '{foreign}/d.duckdb'",
    "FROM 'http://127.0.0.1:9/a.csv'",
    "FROM 's3://bucket/a.parquet'",
    "SELECT getenv('HOME')",
    "FROM SMALL",
    "FROM reader",
)

SEVERAL = (
    "SELECT 1; SELECT 2",
    "SELECT 1; DELETE FROM market.candles_1m",
    "EXPLAIN SELECT 1; SELECT 2",
    "CREATE TYPE memory.e AS ENUM ('a'); SELECT 1",
)

SMALL = pl.DataFrame({"a": [1]})


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, bars: Bars) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("sealed") / "warehouse"
    with Warehouse.open(folder, market="sample") as opened, opened.transaction("r") as tx:
        tx.append("market.candles_1m", bars(2000))
    with Warehouse.open_readonly(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def places(reader: Warehouse) -> dict[str, Path]:
    """Folder to write to, folder with other files of this user, the warehouse's own files."""
    out, foreign = reader.folder.parent / "out", reader.folder.parent / "foreign"
    out.mkdir()
    foreign.mkdir()
    (foreign / "a.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    SMALL.write_parquet(foreign / "a.parquet")
    with sqlite3.connect(foreign / "s.sqlite") as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with duckdb.connect(foreign / "d.duckdb") as another:
        another.execute("CREATE TABLE t (a INTEGER)")
    folder = reader.folder
    return {"out": out, "foreign": foreign, "data": folder / "data", "catalog": folder / "catalog.sqlite"}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "sqlite-" not in path.name}


def test_every_form_of_query_is_answered(reader: Warehouse) -> None:
    for sql in ANSWERED:
        assert reader.read(sql).height > 0, sql


def test_nothing_is_written_and_nothing_else_is_read(reader: Warehouse, places: dict[str, Path]) -> None:
    refusals = {
        "the warehouse is read-only here: .* (is refused|is answered for one query)": KINDS,
        r"the warehouse is read-only here: a query cannot read from \w+\(\)": FUNCTIONS,
        "the warehouse cannot answer this query": FILES,
        "one statement at a time": SEVERAL,
    }
    top = places["out"].parent
    before, rows = files(top), reader.read("SELECT count(*) FROM market.candles_1m").item()
    for match, statements in refusals.items():
        for statement in statements:
            with pytest.raises(WarehouseError, match=match):
                pytest.fail(f"{statement} answered {reader.read(statement.format(**places))}")
    assert files(top) == before
    assert reader.read("SELECT count(*) FROM market.candles_1m").item() == rows


def test_duckdb_itself_touches_no_other_file_and_takes_no_setting(reader: Warehouse, places: dict[str, Path]) -> None:
    # the second wall, without the first: what the list of functions does not see
    cursor = reader.cursor()
    for statement in (
        "COPY (SELECT 1) TO '{out}/x.csv'", "ATTACH '{out}/o.db'", "FROM read_text('{foreign}/a.csv')",
        "FROM glob('{foreign}/*')", "LOAD httpfs", "SET enable_external_access = true", "SET threads = 1",
    ):  # fmt: skip
        with pytest.raises(duckdb.Error, match=r"disabled|locked"):
            cursor.execute(statement.format(**places))
    assert list(places["out"].iterdir()) == []


def test_every_listed_function_exists_and_none_that_is_not_can_be_reached(reader: Warehouse) -> None:
    known = set(
        reader.read("SELECT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')")[
            "function_name"
        ]
    )
    lake = {name.removeprefix("ducklake_") for name in known if name.startswith("ducklake_")}
    assert known | lake >= _queries.TABLE_FUNCTIONS


def test_an_older_state_is_read_as_strictly(reader: Warehouse, places: dict[str, Path]) -> None:
    number = reader.snapshot_id()
    statement = f"FROM sqlite_scan('{places['foreign']}/s.sqlite', 't')"
    with pytest.raises(WarehouseError, match="cannot read from"):
        reader.read_at(number, statement)
    with reader.frozen() as still:
        assert still.read("SELECT count(*) FROM market.candles_1m").item() == 2000
        with pytest.raises(WarehouseError, match="cannot read from"):
            still.read(statement)
        with pytest.raises(duckdb.Error, match="disabled"):
            still.cursor().execute(f"COPY (SELECT 1) TO '{places['out']}/x.csv'")


def test_a_folder_behind_a_link_is_read(reader: Warehouse, tmp_path: Path) -> None:
    link = tmp_path / "it's linked"
    link.symlink_to(reader.folder)
    with Warehouse.open_readonly(link) as linked:
        assert linked.read("SELECT sum(minutes) FROM market.candles_1m").item() > 0


def test_a_variable_of_the_program_is_no_table(tmp_path: Path) -> None:
    with connect(Place.of(tmp_path, None)) as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM SMALL")


def test_what_outgrows_memory_lies_in_a_private_folder_that_goes(tmp_path: Path) -> None:
    with connect(Place.of(tmp_path / "w", None)) as connection:
        (spill,) = connection.execute("SELECT current_setting('temp_directory')").fetchall()[0]
        connection.execute("SET memory_limit = '60MB'; SET threads = 1")
        connection.execute("SET allowed_directories = ['/nowhere/']; SET enable_external_access = false")
        connection.execute("SELECT a, repeat('x', 200) FROM range(600000) AS t(a) ORDER BY hash(a)")
        assert connection.fetchone() is not None
        assert any(Path(spill).iterdir()), "the query did not outgrow memory: the test shows nothing"
        own = Path(spill).parent
        assert own.stat().st_mode & 0o777 == 0o700
        assert own.stat().st_uid == os.getuid()
    assert not Path(spill).exists()
    with connect(Place.of(tmp_path / "w", None)) as one, connect(Place.of(tmp_path / "w", None)) as other:
        folders = {each.execute("SELECT current_setting('temp_directory')").fetchall()[0][0] for each in (one, other)}
    assert len(folders) == 2


def test_only_the_folders_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, used, young, link = (tmp_path / f"{_spill._PREFIX}{name}" for name in ("old", "used", "young", "link"))
    for folder in (old, used, young):
        folder.mkdir()
        (folder / "spilt").write_text("x")
    (tmp_path / "mine").mkdir()
    link.symlink_to(tmp_path / "mine")
    for folder in (old, used):
        os.utime(folder, (time.time() - 3600,) * 2)
    handle = _spill._lock(used)
    _spill.remove_abandoned()
    assert not old.exists()
    assert used.exists()
    assert young.exists()
    assert (tmp_path / "mine").exists()
    os.close(handle)
    _spill.remove_abandoned()
    assert not used.exists()
    shutil.rmtree(young)
