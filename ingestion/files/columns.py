"""The columns of a file, compared with those that its source declares."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ingestion.files.csv_rows import CsvRows
from ingestion.files.rows import FileRows
from ingestion.files.text import SEND_AGAIN, shorten
from ingestion.raw_tables import RESERVED_PREFIXES, LoadError, stored_name


def check_names(path: Path, declared: Mapping[str, str], arrived: Sequence[str], rows: FileRows | None = None) -> None:
    """Compare the names of a file's columns with the declared ones, all as stored.

    Args:
        path: the file, for messages.
        declared: the declared columns, as stored.
        arrived: the file's columns, as spelled there.
        rows: the file, to suggest a declaration that fits; None for Parquet.

    Raises:
        LoadError: a declared column is missing, or two columns have one name, or one has a name of the loader's.
    """
    for position, name in enumerate(arrived, start=1):
        if not name.strip():
            raise LoadError(f"{path}: column {position} has no name. {SEND_AGAIN}")
    stored = [stored_name(name) for name in arrived]
    missing = [name for name in declared if name not in stored]
    if missing:
        raise LoadError(
            f"{path}: missing column {', '.join(missing)} (the file has: {shorten(', '.join(arrived))}). "
            f"{_way_out(declared, arrived, rows)}"
        )
    # Case aside, as DuckDB compares names so, and as stored: two columns must not end in one.
    for same in (str.casefold, stored_name):
        seen: dict[str, str] = {}
        for name in arrived:
            first = seen.get(same(name))
            if first is not None:
                twice = f"{name} appears more than once" if first == name else f"{first} has the same name as {name}"
                raise LoadError(
                    f"{path}: column {twice}. "
                    "Have the file sent again with a different name for each column; nothing was loaded."
                )
            seen[same(name)] = name
    reserved = [name for name in arrived if stored_name(name).startswith(RESERVED_PREFIXES)]
    if reserved:
        raise LoadError(
            f"{path}: column {', '.join(reserved)} has a name that is reserved for the loader. "
            "Have it sent again with another name; nothing was loaded."
        )


def check_no_header(rows: CsvRows, declared: Mapping[str, str]) -> None:
    """Stop where a file has a header after all, which would be loaded as a row.

    Args:
        rows: the file, declared without a header.
        declared: the declared columns, as stored.

    Raises:
        LoadError: the first row names the declared columns.
    """
    first = rows.first_record() or []
    if [stored_name(text) if text.strip() else "" for text in first] == list(declared):
        raise LoadError(
            f"{rows.place(rows.dialect.skip_lines + 1)} is a header. Declare header=True; nothing was loaded."
        )


def _way_out(declared: Mapping[str, str], arrived: Sequence[str], rows: FileRows | None) -> str:
    if isinstance(rows, CsvRows):
        for delimiter, names in rows.with_other_delimiters():
            if set(declared) <= {stored_name(name) for name in names if name.strip()}:
                return f"With another delimiter all are there: declare delimiter={delimiter!r}; nothing was loaded."
        if len(arrived) == len(declared) and not set(declared) & {stored_name(name) for name in arrived}:
            return (
                "If the first line is a row already, declare header=False; if not, have it sent again; "
                "nothing was loaded."
            )
    return SEND_AGAIN
