"""Locks between processes; the system frees a lock when its holder dies."""

import contextlib
from collections.abc import Callable, Iterator

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
def only_nightly_run(paths: Paths, say: Say = print) -> Iterator[None]:
    """Hold the right to run the nightly job from a terminal; a second run waits here for the first to end.

    Args:
        paths: where the warehouse is.
        say: called with one line when another run is under way.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.nightly_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for another nightly run to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
