"""The data folder of the test under way, which its fixture `data` names in the environment; and Dagster in a thread."""

import duckdb

from warehouse import connections
from warehouse.paths import Paths
from warehouse.settings import Settings

# Dagster takes a minute to end the capture of what a step in a thread prints.
NO_COMPUTE_LOGS = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}


def paths() -> Paths:
    """Where the test's data lives."""
    return Settings().paths


def connect(*, read_only: bool = False, wait_seconds: float = 120) -> duckdb.DuckDBPyConnection:
    """Open the test's warehouse."""
    return connections.connect(paths(), read_only=read_only, wait_seconds=wait_seconds)
