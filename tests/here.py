"""The data folder of the test under way, which its fixture `data` names in the environment."""

import duckdb

from warehouse import connections
from warehouse.paths import Paths
from warehouse.settings import Settings


def paths() -> Paths:
    """Where the test's data lives."""
    return Settings().paths


def connect(*, read_only: bool = False, wait_seconds: float = 120) -> duckdb.DuckDBPyConnection:
    """Open the test's warehouse."""
    return connections.connect(paths(), read_only=read_only, wait_seconds=wait_seconds)
