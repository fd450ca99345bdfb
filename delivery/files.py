"""Files that others may read at any moment."""

import os
from collections.abc import Mapping
from pathlib import Path


def write_all(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files so that a reader sees each as it was or as it will be, never half of it.

    Args:
        folder: where they are; it exists.
        texts: file name to text.

    Raises:
        OSError: the disk is full; the file that could not be written stays as it was.
    """
    for name, text in texts.items():
        # What a killed process left.
        for leftover in folder.glob(f".{name}.*"):
            leftover.unlink(missing_ok=True)
        unfinished = folder / f".{name}.{os.getpid()}"
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(folder / name)
        finally:
            unfinished.unlink(missing_ok=True)
