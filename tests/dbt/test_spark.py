"""The regression on Apache Spark: the same weights and the same published rows as on DuckDB.

Needs Java 17 and the packages of the group `spark`: `make spark` installs those and runs this.
"""

import datetime as dt
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import PROJECT_DIR
from tests.dbt.shops import Warehouse, shop
from warehouse.dbt_project import DBT_EXECUTABLE

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("pyspark"), reason="needs the group `spark` (make spark)")

END = dt.date(2026, 6, 30)
# What Spark builds; the tables before it are copied from DuckDB, so that both learn from the same numbers.
BUILT = {
    "intermediate": (
        "int_score_exclusions",
        "int_score_candidates",
        "int_score_adopters",
        "int_score_evidence",
        "int_score_usual_evidence",
        "int_score_pairs",
        "int_score_sample",
        "int_score_learning",
        "int_score_start",
        "int_score_feature_weights",
        "int_score_raw_scores",
        "int_score_trials",
        "int_score_trust",
        "int_score_trusted",
        "int_score_bins",
        "int_score_level",
        "int_score_level_rows",
        "int_score_score_shift",
        "int_score_rate_shift",
        "int_score_weights",
        "int_score_usual_parts",
        "int_scores",
    ),
    "cross_sell": ("score_backtest", "score_calibration", "customer_opportunities"),
}
# A program of its own: Spark's catalogue is open to one process at a time. It takes the settings of dbt's target.
LOADER = """
import sys
from pathlib import Path

import yaml
from pyspark.sql import SparkSession

builder = SparkSession.builder.enableHiveSupport()
profile = Path(sys.argv[1]).read_text().replace("{{ env_var('NEXT_AISLE_DATA', '') or '../data' }}", sys.argv[2])
settings = yaml.safe_load(profile)["next_aisle"]["outputs"]["spark"]["server_side_parameters"]
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
for file in sorted(Path(sys.argv[3]).glob("*/*.parquet")):
    spark.sql(f"create database if not exists {file.parent.name}")
    spark.read.parquet(str(file)).write.saveAsTable(f"{file.parent.name}.{file.stem}")
"""


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with what DuckDB built in the database `warehouse`, and what Spark built in views of `memory`."""
    folder = tmp_path_factory.mktemp("spark")
    lines = shop("ordinary", END, 300, 120, 25, seed=1)
    lines += shop("six_categories", END, 280, 60, 6, seed=3, visit_every=15, per_visit=0.5)
    lines += shop("a_week", END, 7, 30, 10, seed=2, visit_every=3)
    warehouse = Warehouse(folder / "duckdb", folder / "target").write(lines).build(tests=False)
    connection = duckdb.connect()
    connection.execute(f"attach '{warehouse.path}' as warehouse (read_only)")
    for schema, table in connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = 'warehouse'"
    ).fetchall():
        if table not in BUILT.get(schema, ()):
            file = folder / "tables" / schema / f"{table}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(f"copy warehouse.{schema}.{table} to '{file}'")

    data = folder / "data"
    data.mkdir()
    dbt_dir = PROJECT_DIR / "dbt_project"
    _run([sys.executable, "-c", LOADER, str(dbt_dir / "profiles.yml"), str(data), str(folder / "tables")], data)
    models = [name for names in BUILT.values() for name in names]
    arguments = ["--target", "spark", "--project-dir", str(dbt_dir), "--profiles-dir", str(dbt_dir)]
    arguments += ["--target-path", str(folder / "spark_target"), "--log-path", str(folder / "logs")]
    arguments += ["--exclude-resource-type", "unit_test", "--select", *models]
    _run([DBT_EXECUTABLE, "--no-use-colors", "build", *arguments], data)
    for schema, names in BUILT.items():
        connection.execute(f"create schema {schema}")
        for name in names:
            files = data / "spark" / f"{schema}.db" / name
            if files.exists():
                connection.execute(f"create view {schema}.{name} as from '{files}/*.parquet'")
    yield connection
    connection.close()


def _run(command: list[str], data: Path) -> None:
    environment = {**os.environ, "NEXT_AISLE_DATA": str(data)}
    result = subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, (result.stdout + result.stderr)[-5000:]


def both(engines: duckdb.DuckDBPyConnection, table: str, keys: str) -> tuple[list[Any], list[Any]]:
    """The rows of a table, DuckDB's and Spark's, in the same order and with columns in the same order."""
    columns = ", ".join(engines.sql(f"from warehouse.{table}").columns)
    duck, spark = (
        engines.execute(f"select {columns} from {database}.{table} order by {keys}").fetchall()
        for database in ("warehouse", "memory")
    )
    return duck, spark


def same(left: object, right: object) -> bool:
    """Equal; numbers to a billionth, as sums of fractions differ with the order in which they are added up."""
    if isinstance(left, float) and isinstance(right, float):
        return left == pytest.approx(right, rel=1e-9, abs=2e-9)
    return left == right


def test_the_weights_are_those_of_duckdb(engines: duckdb.DuckDBPyConnection) -> None:
    duck, spark = both(engines, "intermediate.int_score_weights", "source_name, step")
    assert len(duck) > 8
    assert spark == duck


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("customer_opportunities", "opportunity_key"),
        ("score_backtest", "source_name, as_of_date, method"),
        ("score_calibration", "source_name, segment_kind, segment, bin"),
    ],
)
def test_the_published_rows_are_those_of_duckdb(engines: duckdb.DuckDBPyConnection, table: str, keys: str) -> None:
    duck, spark = both(engines, f"cross_sell.{table}", keys)
    assert len(duck) > 30
    assert len(spark) == len(duck)
    differing = [(left, right) for left, right in zip(duck, spark, strict=True) if not all(map(same, left, right))]
    assert differing == []
