"""The mark for publication: which run built the warehouse as it is now, and whether it was judged good enough."""

import contextlib
from collections.abc import Iterator

from warehouse.paths import Paths
from warehouse.safe_files import write_text

# What is known of the warehouse as it is now, in the order in which it becomes known.
BUILT = "built"
AUDITED = "audited"


def mark_built(paths: Paths, run_id: str) -> None:
    """Note that the warehouse, as it is now, was built as a whole and passed dbt's tests.

    Args:
        paths: where the warehouse is.
        run_id: the run that built it.
    """
    _mark(paths, BUILT, run_id)


def mark_audited(paths: Paths, run_id: str) -> None:
    """Note that the warehouse, as it is now, was built as a whole and breaks no objective that blocks.

    Args:
        paths: where the warehouse is.
        run_id: the run that built it.
    """
    _mark(paths, AUDITED, run_id)


def withdraw_marks(paths: Paths) -> None:
    """Note that the warehouse is being built, and must not be published.

    Args:
        paths: where the warehouse is.
    """
    paths.audited.unlink(missing_ok=True)


def built_by(paths: Paths) -> str | None:
    """Name the run that built the warehouse as it is now, except for its record of runs.

    Args:
        paths: where the warehouse is.

    Returns:
        The run's id; None when the warehouse was changed since, or no run built it as a whole.
    """
    mark, run_id = _marked(paths)
    return run_id if mark in (BUILT, AUDITED) else None


def is_audited(paths: Paths) -> bool:
    """Tell whether the warehouse is still as it was when its run was judged good enough.

    Args:
        paths: where the warehouse is.
    """
    return _marked(paths)[0] == AUDITED


@contextlib.contextmanager
def keeping_marks(paths: Paths) -> Iterator[None]:
    """Write the record of runs into the warehouse: what was known of the shop's tables still holds afterwards.

    Args:
        paths: where the warehouse is.
    """
    mark, run_id = _marked(paths)
    yield
    if mark and run_id:
        _mark(paths, mark, run_id)


def _mark(paths: Paths, mark: str, run_id: str) -> None:
    write_text(paths.audited, f"{mark} {run_id} {paths.warehouse.stat().st_mtime_ns}")


def _marked(paths: Paths) -> tuple[str | None, str | None]:
    words = paths.audited.read_text(encoding="utf-8").split() if paths.audited.exists() else []
    if len(words) != 3 or not paths.warehouse.exists() or words[2] != str(paths.warehouse.stat().st_mtime_ns):
        return None, None
    return words[0], words[1]
