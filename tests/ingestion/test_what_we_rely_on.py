"""What this project relies on in others; an upgrade that changes it fails here and by name."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from ingestion.pipeline import dlt_pipeline
from tests import here

HINTS: dict[str, Any] = {
    "id": {"name": "id", "data_type": "bigint", "nullable": True},
    "sold": {"name": "sold", "data_type": "timestamp", "nullable": True, "timezone": False},
    "name": {"name": "name", "data_type": "text", "nullable": True},
}
SCHEMA = pa.schema([("id", pa.int64()), ("sold", pa.timestamp("us")), ("name", pa.string())])


@pytest.fixture
def connection(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with here.connect() as connection:
        yield connection


def rows(*names: tuple[int | None, str]) -> pa.Table:
    return pa.Table.from_pylist([{"id": number, "sold": None, "name": name} for number, name in names], schema=SCHEMA)


def run(connection: duckdb.DuckDBPyConnection, items: list[Any], **options: Any) -> str:
    """Load the items into raw_probe.things and return the load's number."""
    resource = dlt.resource(iter(items), name="things", columns=HINTS, **options)
    info = dlt_pipeline("probe", connection, here.paths()).run(resource)
    return str(info.loads_ids[0])


class TestDuckDB:
    @pytest.mark.parametrize("read_only", [False, True])
    def test_one_writer_shuts_out_every_other_process_and_is_named_by_its_number(
        self, tmp_path: Path, read_only: bool
    ) -> None:
        file = tmp_path / "w.duckdb"
        duckdb.connect(str(file)).close()
        held = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
        holder = subprocess.Popen(
            [sys.executable, "-c", held, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(duckdb.IOException) as raised:
                duckdb.connect(str(file), read_only=read_only)
            assert "lock" in str(raised.value)
            assert f"PID {holder.pid}" in str(raised.value)
        finally:
            holder.communicate("")
        duckdb.connect(str(file), read_only=read_only).close()

    def test_ddl_belongs_to_a_transaction(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("begin; create table probe as select 1 as a; rollback")
        assert connection.execute("select * from information_schema.tables").fetchall() == []

    def test_its_csv_reader_rounds_a_fraction_to_a_whole_number(self, tmp_path: Path) -> None:
        # Why whole numbers are read as text and judged by us.
        (tmp_path / "a.csv").write_text("a\n2.5\n", encoding="utf-8")
        read = duckdb.sql(f"from read_csv('{tmp_path}/a.csv', columns = {{'a': 'BIGINT'}}, header = true)")
        assert read.fetchall() == [(3,)]

    def test_files_are_united_by_name_and_tell_where_a_row_came_from(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "1.parquet")
        pq.write_table(pa.table({"b": [3]}), tmp_path / "2.parquet")
        files = [str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")]
        read = duckdb.sql(f"from read_parquet({files}, union_by_name = true, filename = '_path') order by b")
        assert read.fetchall() == [(1, 2, files[0]), (None, 3, files[1])]


class TestDlt:
    def test_its_telemetry_is_never_started(self, data: Path) -> None:
        # Its `dlt.config` comes too late for that: the first look at it starts the telemetry.
        code = (
            "import dlt, ingestion.load, ingestion.sources.complete_journey\n"
            "from dlt.common.runtime import telemetry\n"
            "from ingestion.pipeline import dlt_pipeline\n"
            "from warehouse.connections import connect\n"
            "from warehouse.settings import Settings\n"
            "print(telemetry.is_telemetry_started())\n"
            "with connect(Settings().paths) as connection:\n"
            "    dlt_pipeline('probe', connection, Settings().paths)\n"
            "print(dlt.current.run_context().runtime_config.dlthub_telemetry)\n"
        )
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert process.stdout == "False\nFalse\n"

    def test_an_empty_resource_makes_no_table(self, connection: duckdb.DuckDBPyConnection) -> None:
        run(connection, [])
        assert "things" not in table_names(connection)

    def test_an_arrow_table_without_rows_makes_one(self, connection: duckdb.DuckDBPyConnection) -> None:
        run(connection, [SCHEMA.empty_table()])
        assert columns_of_things(connection) == {
            "id": "BIGINT",
            "sold": "TIMESTAMP",
            "name": "VARCHAR",
            "_dlt_load_id": "VARCHAR",
        }

    def test_its_own_mark_for_an_empty_table_adds_a_column_that_arrow_rows_do_not_have(
        self, connection: duckdb.DuckDBPyConnection
    ) -> None:
        # Why empty tables are declared with an Arrow table.
        run(connection, [dlt.mark.materialize_table_schema()])
        assert "_dlt_id" in columns_of_things(connection)

    def test_an_arrow_load_adds_the_loads_number(self, connection: duckdb.DuckDBPyConnection) -> None:
        load_id = run(connection, [rows((1, "a"))], file_format="parquet")
        assert connection.sql("select id, name, _dlt_load_id from raw_probe.things").fetchall() == [(1, "a", load_id)]
        closed = connection.sql("select load_id from raw_probe._dlt_loads where status = 0").fetchall()
        assert closed == [(load_id,)]

    def test_a_model_file_is_run_as_insert_select_and_adds_the_loads_number(
        self, connection: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> None:
        model = tmp_path / "things.model"
        # Nothing but this connection's DuckDB knows the table that the SELECT names.
        connection.execute(
            "create table main.landed as select 7 as id, timestamp '2026-11-19 12:00' as sold, 'x' as name"
        )
        model.write_text("dialect: duckdb\nselect id, sold, name from main.landed\n", encoding="utf-8")
        load_id = run(connection, [dlt.mark.with_file_import(str(model), "model", 1)], file_format="model")
        assert connection.sql(
            "select id, cast(sold as varchar), name, _dlt_load_id from raw_probe.things"
        ).fetchall() == [(7, "2026-11-19 12:00:00", "x", load_id)]

    def test_resources_are_read_one_after_the_other_in_the_order_given(
        self, connection: duckdb.DuckDBPyConnection
    ) -> None:
        """The ledger is the last, and knows then how many rows the others had."""
        read = []

        def numbers(name: str) -> Iterator[Any]:
            for _ in range(3):
                read.append(name)
                yield rows((1, name))

        pipeline = dlt_pipeline("probe", connection, here.paths())
        pipeline.run(
            [
                dlt.resource(numbers(name), name=name, columns=HINTS, file_format="parquet")
                for name in ("first", "second", "ledger")
            ]
        )
        assert read == ["first"] * 3 + ["second"] * 3 + ["ledger"] * 3

    def test_another_type_fails_where_data_types_are_frozen(self, connection: duckdb.DuckDBPyConnection) -> None:
        frozen: dict[str, Any] = {"schema_contract": {"data_type": "freeze"}}
        run(connection, [rows((1, "a"))], **frozen)
        with pytest.raises(PipelineStepFailed):
            run(connection, [pa.table({"id": ["one"]})], **frozen)
        assert connection.sql("select count(*) from raw_probe.things").fetchall() == [(1,)]

    def test_a_new_folder_of_its_own_learns_the_schema_from_the_warehouse(
        self, connection: duckdb.DuckDBPyConnection
    ) -> None:
        run(connection, [rows((1, "a")).append_column("more", pa.array(["x"]))])
        run(connection, [rows((2, "b"))])
        assert connection.sql("select id, more from raw_probe.things order by id").fetchall() == [(1, "x"), (2, None)]


def table_names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for (name,) in connection.sql("select table_name from information_schema.tables").fetchall()}


def columns_of_things(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(
        connection.sql(
            "select column_name, data_type from information_schema.columns where table_name = 'things'"
        ).fetchall()
    )
