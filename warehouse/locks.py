"""Locks between processes; the system frees a lock when its holder dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from warehouse.paths import Paths

Say = Callable[[str], object]

# How long a run may take between making its file and locking it (seconds).
MAKING = 0.25


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
def only_run(paths: Paths, run_id: str, say: Say = print) -> Iterator[None]:
    """Hold the right to run steps of Dagster; a second run waits here for the first to end.

    Args:
        paths: where the warehouse is.
        run_id: the run that asks.
        say: called with one line when another run is under way, and once a minute while it is.
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
                others = ", ".join(other[:8] for other in sorted(_runs(paths) - {run_id}))
                say(f"waiting: another run is under way ({others}; {waited} s so far)")
                waited += 60
        yield


def lock_states(paths: Paths) -> dict[str, bool]:
    """Tell which runs are alive.

    Args:
        paths: where the warehouse is.

    Returns:
        Each run that holds or held a lock of its own, to whether it still holds it; one that ended well is not here.
    """
    return {run_id: _is_locked(paths.runs_under_way / run_id) for run_id in _runs(paths)}


def forget_run(paths: Paths, run_id: str) -> None:
    """Remove what a killed run left of its lock.

    Args:
        paths: where the warehouse is.
        run_id: the run.
    """
    (paths.runs_under_way / run_id).unlink(missing_ok=True)


def _runs(paths: Paths) -> set[str]:
    return {file.name for file in paths.runs_under_way.iterdir()} if paths.runs_under_way.exists() else set()


def _is_locked(file: Path) -> bool:
    # Not by FileLock: it would create a file that its run has just removed.
    try:
        handle = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    # One that is being made is not locked yet.
    with contextlib.suppress(FileNotFoundError):
        return time.time() - file.stat().st_mtime < MAKING
    return True
