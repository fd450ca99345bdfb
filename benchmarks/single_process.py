"""The parts of the benchmark that are one process each; they print one line of JSON.

`floor_load` and `floor_build` are plain DuckDB; `load` is ours in a process whose imports are done.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from warehouse.connections import FILE_FORMAT

SOURCE = "complete_journey"


def floor_load(landing: Path, file: Path) -> dict[str, float]:
    """Read the landed files into a new database file with nothing but DuckDB.

    Args:
        landing: the landing folder of the sample shop.
        file: the database file to make.

    Returns:
        Seconds from opening to closing the file, processor seconds, and the rows.
    """
    started, cpu = time.perf_counter(), time.process_time()
    with duckdb.connect(str(file), config=FILE_FORMAT) as connection:
        for table, reader in (
            ("customers", f"read_csv('{landing}/customers.csv')"),
            ("products", f"read_csv('{landing}/products.csv')"),
            ("purchases", f"read_parquet('{landing}/purchases/*.parquet')"),
        ):
            connection.execute(f"create table {table} as select * from {reader}")
        connection.execute("checkpoint")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("select table_name from duckdb_tables()").fetchall()]
        rows = sum(connection.execute(f"select count(*) from {table}").fetchall()[0][0] for table in tables)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "rows": rows}


def floor_build(manifest_file: Path, file: Path) -> dict[str, float]:
    """Run the models' SQL as dbt compiled it, without dbt, tests and contracts.

    Args:
        manifest_file: dbt's manifest, written by a build.
        file: a copy of the warehouse that was built, of the same name, which the compiled SQL holds. Its models are
            dropped first, which is not measured; seeds stay.

    Returns:
        Seconds from opening to closing the file, and processor seconds.
    """
    manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    models: dict[str, Any] = {
        name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"
    }
    order = TopologicalSorter(
        {name: [parent for parent in node["depends_on"]["nodes"] if parent in models] for name, node in models.items()}
    )
    statements = []
    with duckdb.connect(str(file)) as connection:
        for name in order.static_order():
            statements += _statements(models[name], connection)
        for schema in {node["schema"] for node in models.values()}:
            connection.execute(f"drop schema if exists {schema} cascade")
            connection.execute(f"create schema {schema}")
    started, cpu = time.perf_counter(), time.process_time()
    with duckdb.connect(str(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("checkpoint")
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}


def _statements(model: dict[str, Any], built: duckdb.DuckDBPyConnection) -> list[str]:
    """What makes a model's table or view, with as many rounds of a regression as there were in the warehouse built."""
    relation, query = f"{model['schema']}.{model['alias']}", model["compiled_code"]
    materialized = model["config"]["materialized"]
    if materialized != "regression":
        return [f"create {'view' if materialized == 'view' else 'table'} {relation} as {query}"]
    columns = [f"{column['name']} {column['data_type']}" for column in model["columns"].values()]
    names = ", ".join(model["columns"])
    rounds = built.execute(f"select max(round_number) from {relation}").fetchall()[0][0] or 0
    return [
        f"create table {relation} ({', '.join(columns)})",
        *[f"insert into {relation} ({names}) select {names} from ({query}) as next_round"] * rounds,
    ]


def load(landing: Path) -> dict[str, float]:
    """Load the landed files as the pipeline does, in a process that has loaded before.

    The first load, of a single day and into a folder of its own, is not measured: it leaves behind a process with
    everything imported, as the process of the nightly run mostly is when it comes to loading.

    Args:
        landing: the landing folder of the sample shop; NEXT_AISLE_DATA names the data folder that it belongs to.

    Returns:
        Seconds of the second load, and the rows.
    """
    from ingestion.load import load as load_source
    from warehouse.paths import Paths
    from warehouse.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "landing" / SOURCE
        (small / "purchases").mkdir(parents=True)
        for file in (landing / "customers.csv", landing / "products.csv", min(landing.glob("purchases/*.parquet"))):
            (small / file.relative_to(landing)).symlink_to(file)
        load_source(SOURCE, Paths(Path(folder)), say=_silent)
    started = time.perf_counter()
    report = load_source(SOURCE, Settings().paths, say=_silent)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": sum(table.rows_loaded for table in report.tables.values())}


def _silent(line: str) -> None:
    del line


def main() -> int:
    """Run one part and print its result.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.single_process", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, arguments in {
        "floor_load": ("landing", "file"),
        "floor_build": ("manifest_file", "file"),
        "load": ("landing",),
    }.items():
        parser_of_part = parts.add_parser(name)
        for argument in arguments:
            parser_of_part.add_argument(argument, type=Path)
    chosen = vars(parser.parse_args())
    functions: dict[str, Callable[..., dict[str, float]]] = {
        "floor_load": floor_load,
        "floor_build": floor_build,
        "load": load,
    }
    part = functions[chosen.pop("part")]
    with contextlib.redirect_stdout(sys.stderr):
        result = part(**chosen)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
