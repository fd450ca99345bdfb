"""Files that are replaced in one step: a reader sees the old file or the new one, never half of one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(*targets: Path, durable: bool = True) -> Iterator[list[Path]]:
    """Give unfinished files to write; when the block succeeds, they take their targets' places in the order given.

    When the block fails, all targets stay as they were and the unfinished files are removed. What a killed process
    left of the same targets is removed first, so only one process at a time may replace a target.

    Args:
        targets: the files to replace or create; missing folders are made.
        durable: write files and folders through to the disk, so that a loss of power does not undo the replacement.

    Yields:
        For each target a file of another name in the same folder; all must exist when the block ends.
    """
    unfinished = [target.with_name(f".{target.name}.{os.getpid()}.part") for target in targets]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(target)
    try:
        yield unfinished
        if durable:
            for path in unfinished:
                write_through(path)
        for path, target in zip(unfinished, targets, strict=True):
            path.replace(target)
        if durable:
            for folder in dict.fromkeys(target.parent for target in targets):
                write_through(folder)
    finally:
        for target in targets:
            _remove_unfinished(target)


def write_text(target: Path, text: str) -> None:
    """Replace a text file in one step.

    Args:
        target: the file; missing folders are made.
        text: its new content.

    Raises:
        OSError: the disk is full; the file stays as it was.
    """
    with replacing(target) as (unfinished,):
        unfinished.write_text(text, encoding="utf-8")


def write_through(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on the disk.

    Args:
        path: the file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_disk_full(error: BaseException) -> bool:
    """Say whether a write failed because the disk, or what may be used of it, is full.

    Args:
        error: of Python or of DuckDB, which has the system's words in its message.
    """
    return any(words in str(error) for words in ("No space left", "File too large", "Disk quota"))


def _remove_unfinished(target: Path) -> None:
    # DuckDB's own log has the name of the unfinished file and `.wal`.
    for leftover in target.parent.glob(f".{_literal(target.name)}.*.part*"):
        leftover.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """The name as a pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
