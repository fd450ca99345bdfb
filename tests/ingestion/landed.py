"""Files, checked as they are landed, and what comes out of them."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestion.file_checks import CheckedDelivery, Delivery, LandedTable, check
from ingestion.files.formats import Format
from ingestion.raw_tables import LoadError
from warehouse.sql import quote_text


def check_file(
    folder: Path, content: bytes | str, columns: dict[str, str], format: Format | None = None, name: str = "t.csv"
) -> CheckedDelivery:
    """Write a file and check it.

    Args:
        folder: where to write it.
        content: the whole of it; a text in UTF-8.
        columns: the declared columns.
        format: the declared format; None: that of the name's ending.
        name: the file's name.
    """
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return check_landed(LandedTable(name="t", columns=columns, files=name, format=format), path)


def check_landed(table: LandedTable, path: Path) -> CheckedDelivery:
    """Check a file that is there."""
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return check(Delivery(table, path, path.name, "-"), scratch)


def rows(checked: CheckedDelivery, *columns: str) -> list[tuple[Any, ...]]:
    """What would be loaded of a file, in its order: some columns, or all in the order of the table."""
    values = ", ".join(checked.values[name] for name in columns or checked.values)
    return duckdb.sql(f"select {values} from read_parquet({quote_text(str(checked.path))}) as landed").fetchall()


def refusal(
    folder: Path, content: bytes | str, columns: dict[str, str], format: Format | None = None, name: str = "t.csv"
) -> str:
    """What is said of a file that must be refused, without the file's path, which it must begin with."""
    with pytest.raises(LoadError) as raised:
        check_file(folder, content, columns, format, name)
    return after_path(str(raised.value), folder / name)


def pack(path: Path, ending: str) -> Path:
    """Pack a file into one next to it, whose name it returns: `.gz` or `.zip`."""
    packed = path.with_name(path.name + ending)
    if ending == ".gz":
        packed.write_bytes(gzip.compress(path.read_bytes()))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
    return packed


def after_path(message: str, path: Path) -> str:
    """A message without the file's path, which it must begin with; it must be of one line and end in what follows."""
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.endswith("nothing was loaded.")
    assert len(message) < 800
    return message.removeprefix(str(path))
