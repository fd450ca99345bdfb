"""Where data lives, who may write it, and the only maker of dlt pipelines."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dlt
import duckdb
from dlt.destinations import duckdb as duckdb_destination
from filelock import FileLock, Timeout

PROJECT_DIR = Path(__file__).resolve().parent.parent

# What DuckDB writes new files with; 1.3 and later read them. Its strings are packed by a method that is new in 1.3:
# int_purchase_lines, fct_purchases and the published copy take 15 to 25 % less processor time than in DuckDB's default
# format, which 0.10 can read, and 5 % less disk (2026-11-20, medians of 3 interleaved runs on two cores).
FILE_FORMAT: dict[str, str | bool | int | float | list[str]] = {"storage_compatibility_version": "v1.3.0"}

# How long to wait for another process to let go of the warehouse file. A killed run may leave a dbt process
# behind that finishes the model in hand before it notices; the longest model of the sample takes seconds.
WAIT_FOR_FILE_SECONDS = 120


class WarehouseBusyError(Exception):
    """Another process holds the warehouse file and did not let go in time."""


@dataclass(frozen=True)
class Paths:
    """All places on disk, below one folder.

    `root` is `NEXT_AISLE_DATA` or `data/` beside the code; it may stand anywhere on a local disk.
    """

    root: Path

    @property
    def landing(self) -> Path:
        """Files as the source dropped them: `landing/<source>/...`."""
        return self.root / "landing"

    @property
    def warehouse(self) -> Path:
        """The private warehouse: raw, staging, intermediate and marts. Only the pipeline opens it."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The marts as last published: what everyone else opens."""
        return self.root / "published" / "next_aisle.duckdb"

    @property
    def dlt(self) -> Path:
        """dlt's working folder: scratch, made anew by each load."""
        return self.root / "dlt"

    @property
    def logs(self) -> Path:
        """One log file for each run of the nightly job."""
        return self.root / "logs"

    @property
    def run_history(self) -> Path:
        """One file for each run: its checks, steps and deliveries. Outside the warehouse, which may be rebuilt."""
        return self.root / "run_history"

    @property
    def audited(self) -> Path:
        """Says that all models were built, and then that no blocking objective is broken; only that is published."""
        return self.root / "audited"

    @property
    def lock(self) -> Path:
        """The file whose lock means: I write the warehouse. The system frees it when its holder dies."""
        return self.root / "warehouse.lock"


def paths() -> Paths:
    """Decide where data lives.

    Returns:
        The places below `NEXT_AISLE_DATA`, or below `data/` in the project when that is not set. Nothing is created.
    """
    return Paths(Path(os.environ.get("NEXT_AISLE_DATA") or PROJECT_DIR / "data").expanduser().resolve())


@contextlib.contextmanager
def only_writer(say: Callable[[str], object] = print) -> Iterator[None]:
    """Hold the right to write the warehouse; a second process waits here for the first.

    Args:
        say: called with one line when the lock is taken, and once a minute while it stays taken.
    """
    places = paths()
    places.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(places.lock, is_singleton=True)
    waited = 0
    while True:
        try:
            lock.acquire(timeout=0 if not waited else 60)
            break
        except Timeout:
            say(f"waiting: another run is writing {places.warehouse} ({waited} s so far)")
            waited += 60
    try:
        yield
    finally:
        lock.release()


def connect(*, read_only: bool = False, wait_seconds: float = WAIT_FOR_FILE_SECONDS) -> duckdb.DuckDBPyConnection:
    """Open the warehouse file, waiting for a process that still holds it.

    Args:
        read_only: open without the right to write; still shuts out writers of other processes.
        wait_seconds: how long to wait for the file.

    Raises:
        WarehouseBusyError: another process kept the file open all that time; its number is in the message.
    """
    places = paths()
    places.root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return duckdb.connect(str(places.warehouse), read_only=read_only, config=FILE_FORMAT)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise
            if time.monotonic() > deadline:
                holder = re.search(r"PID (\d+)", str(error))
                who = f"process {holder[1]}" if holder else "another process"
                raise WarehouseBusyError(
                    f"{places.warehouse} is held open by {who}, for more than {wait_seconds:.0f} s. "
                    f"Close it there; people read {places.published}, which never blocks a run."
                ) from error
            time.sleep(0.5)


def pipeline(source_name: str, connection: duckdb.DuckDBPyConnection) -> dlt.Pipeline:
    """Make the dlt pipeline that loads one source into the data set `raw_<source_name>`.

    Args:
        source_name: the source's name, also its part in every key (docs/decisions.md, naming contract).
        connection: the open warehouse. dlt would open and close the file for each table, with a checkpoint each.
    """
    # dlt reads these two before `dlt.config` can be set, and would else call home with every load. What goes wrong is
    # raised and said once: dlt would also print the traceback of every attempt.
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    settings = {
        # Columnar loads carry the load's number too, so that rows of an unfinished load can be found.
        "normalize.parquet_normalizer.add_dlt_load_id": True,
        "normalize.model_normalizer.add_dlt_load_id": True,
        # Both hold customers' data and serve nobody after the load.
        "load.delete_completed_jobs": True,
        "load.truncate_staging_dataset": True,
        # DuckDB spreads one statement over all cores; statements side by side only cost memory.
        "load.workers": 1,
        # On one's own disk, what failed once fails again.
        "load.raise_on_max_retries": 1,
    }
    for key, value in settings.items():
        dlt.config[key] = value
    # dlt's folder is scratch: a killed load leaves half a state there, and a load in it that would be repeated. What
    # dlt has to know is in the warehouse, the rows are in the landed files.
    shutil.rmtree(paths().dlt / source_name, ignore_errors=True)
    return dlt.pipeline(
        pipeline_name=source_name,
        destination=duckdb_destination(connection),
        dataset_name=f"raw_{source_name}",
        pipelines_dir=str(paths().dlt),
    )
