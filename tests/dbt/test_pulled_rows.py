"""The macro `pulled_rows`, by dbt's unit tests in a small project with a made-up source."""

import os
import shutil
import subprocess
from pathlib import Path

import duckdb

from tests.conftest import PROJECT_DIR
from warehouse.dbt_project import DBT_EXECUTABLE

HERE = Path(__file__).parent / "pulled_rows"


def test_which_rows_of_a_pulled_table_count(tmp_path: Path) -> None:
    shutil.copytree(HERE, tmp_path / "dbt")
    (tmp_path / "dbt" / "macros").mkdir()
    shutil.copy(PROJECT_DIR / "dbt_project" / "macros" / "pulled_records.sql", tmp_path / "dbt" / "macros")
    # dbt takes the types of the made-up rows from the tables.
    with duckdb.connect(str(tmp_path / "made_up.duckdb")) as connection:
        connection.execute(
            """
            create schema raw_made_up;
            use raw_made_up;
            create table products (
                id bigint, name varchar, deleted_at timestamp, _delivery varchar, _dlt_load_id varchar
            );
            create table order_lines (
                order_id bigint, line bigint, amount double, _delivery varchar, _dlt_load_id varchar
            );
            create table order_lines_keys (order_id bigint, line bigint, _dlt_load_id varchar);
            create table deliveries (
                source_name varchar, table_name varchar, delivery varchar, load_id varchar, is_held boolean
            );
            create table main.int_deliveries as from deliveries
            """
        )
    done = subprocess.run(
        [DBT_EXECUTABLE, "--no-use-colors", "test", "--select", "test_type:unit"],
        cwd=tmp_path / "dbt",
        env={**os.environ, "MADE_UP_WAREHOUSE": str(tmp_path / "made_up.duckdb"), "DBT_PROFILES_DIR": "."},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "PASS=8" in done.stdout
