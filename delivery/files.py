"""Files that others may read at any moment."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def staged(folder: Path, texts: Mapping[str, str]) -> Iterator[None]:
    """Write files under other names, and give them theirs when what is done meanwhile succeeded.

    A reader sees each as it was or as it will be, never half of it; a full disk is found out beforehand.

    Args:
        folder: where they are; it is made where it is missing.
        texts: file name to text.

    Raises:
        OSError: the disk is full; all files stay as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = {name: folder / f".{name}.{os.getpid()}" for name in texts}
    try:
        for name, text in texts.items():
            # What a killed process left.
            for leftover in folder.glob(f".{name}.*"):
                leftover.unlink(missing_ok=True)
            with unfinished[name].open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        yield
        for name, path in unfinished.items():
            path.replace(folder / name)
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)
