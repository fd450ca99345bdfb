"""Locks between processes; the system frees a lock when its holder dies."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from warehouse.paths import Paths

Say = Callable[[str], object]


@contextlib.contextmanager
def only_writer(paths: Paths, say: Say = print) -> Iterator[None]:
    """Hold the right to write the warehouse; a second process waits here for the first.

    Args:
        paths: where the warehouse is.
        say: called with one line when another process holds the lock, and once a minute while it keeps it.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.writers_lock, is_singleton=True)
    waited = 0
    while True:
        try:
            lock.acquire(timeout=0 if not waited else 60)
            break
        except Timeout:
            say(f"waiting for another run, which is writing {paths.warehouse} ({waited} s so far)")
            waited += 60
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def alive(paths: Paths, run_id: str) -> Iterator[None]:
    """Hold a lock of a run's own for as long as its process lives, so that others can tell a killed run.

    Args:
        paths: where the warehouse is.
        run_id: the run.
    """
    paths.runs_under_way.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.runs_under_way / run_id, is_singleton=True)
    lock.acquire()
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def only_run(paths: Paths, run_id: str, say: Say = print) -> Iterator[list[str]]:
    """Hold the right to run steps of Dagster; a second run waits here for the first to end.

    Args:
        paths: where the warehouse is.
        run_id: the run that asks.
        say: called with one line when another run is under way, and once a minute while it is.

    Yields:
        The runs whose processes were killed since the last time, while they ran or waited.
    """
    lock = FileLock(paths.run_lock)
    waited = 0
    with contextlib.ExitStack() as at_the_end:
        # Last of all: the next run looks for killed ones, and must not find what is left of one that ended well.
        at_the_end.callback(lock.release)
        at_the_end.enter_context(alive(paths, run_id))
        while True:
            try:
                lock.acquire(timeout=60 if waited else 0)
                break
            except Timeout:
                others = ", ".join(file.name[:8] for file in _others(paths, run_id))
                say(f"waiting: another run is under way ({others}; {waited} s so far)")
                waited += 60
        yield [file.name for file in _others(paths, run_id) if _is_dead(file)]


def _others(paths: Paths, run_id: str) -> list[Path]:
    return sorted(file for file in paths.runs_under_way.iterdir() if file.name != run_id)


def _is_dead(file: Path) -> bool:
    try:
        with FileLock(file, timeout=0):
            file.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
