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
        Seconds from opening to closing the file, and the rows.
    """
    started = time.perf_counter()
    with duckdb.connect(str(file), config=FILE_FORMAT) as connection:
        for table, reader in (
            ("customers", f"read_csv('{landing}/customers.csv')"),
            ("products", f"read_csv('{landing}/products.csv')"),
            ("purchases", f"read_parquet('{landing}/purchases/*.parquet')"),
        ):
            connection.execute(f"create table {table} as select * from {reader}")
        connection.execute("checkpoint")
    seconds = time.perf_counter() - started
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("select table_name from duckdb_tables()").fetchall()]
        rows = sum(connection.execute(f"select count(*) from {table}").fetchall()[0][0] for table in tables)
    return {"seconds": seconds, "rows": rows}


def floor_build(manifest_file: Path, file: Path) -> dict[str, float]:
    """Run the models' SQL as dbt compiled it, without dbt, tests and contracts, in a loaded warehouse.

    Args:
        manifest_file: dbt's manifest, written by a build.
        file: a copy of the warehouse, as it is after loading; of the same name, which the compiled SQL holds.

    Returns:
        Seconds from opening to closing the file.
    """
    manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    nodes: dict[str, Any] = {
        name: node for name, node in manifest["nodes"].items() if node["resource_type"] in ("model", "seed")
    }
    order = TopologicalSorter(
        {
            name: [parent for parent in node["depends_on"].get("nodes", []) if parent in nodes]
            for name, node in nodes.items()
        }
    )
    project = manifest_file.parent.parent
    statements = [f"create schema if not exists {schema}" for schema in {node["schema"] for node in nodes.values()}]
    for name in order.static_order():
        node = nodes[name]
        if node["resource_type"] == "seed":
            kind, query = "table", f"select * from read_csv('{project / node['original_file_path']}')"
        else:
            kind, query = node["config"]["materialized"], node["compiled_code"]
        statements.append(f"create {kind} {node['schema']}.{node['alias']} as {query}")
    started = time.perf_counter()
    with duckdb.connect(str(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("checkpoint")
    return {"seconds": time.perf_counter() - started}


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
