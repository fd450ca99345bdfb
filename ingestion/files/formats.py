"""How a file is written. A source declares it for each table; nothing is guessed.

`Csv`, `JsonLines` and `Excel` share `Values`: how numbers, dates and missing values are spelled.
"""

import codecs
import re
from dataclasses import dataclass, field

from ingestion.files.dates import DIRECTIVES

# Endings of compressed files; what is before them says the format.
COMPRESSED = (".gz", ".zip")


def _check_encoding(name: str) -> None:
    try:
        known = codecs.lookup(name)
    except LookupError:
        known = None
    if known is None or not known._is_text_encoding:
        raise ValueError(f"encoding={name!r} is not known. Usual are utf-8, utf-16, cp1252 and latin-1") from None


@dataclass(frozen=True, kw_only=True)
class Values:
    """How the values in a file of text are spelled.

    Whole numbers may end in a decimal sign and one or two zeros (`13313.0`). Three zeros are refused, for they may be
    thousands. A thousands separator must stand before each group of three digits, or nowhere. Blanks around a number,
    a date or a truth value do not count. Truth values are true/false, t/f, yes/no, y/n and 1/0, in any case.

    Attributes:
        decimal: the sign before the decimals.
        thousands: the sign between groups of three digits; None: there is none. A blank stands for a no-break space
            too.
        currency: a sign or word that may stand before or after a number (`€`, `$`, `EUR`), or several; None: none may.
        negative_parentheses: whether `(12.00)` is -12.00.
        date_format: how dates are written, in the terms of strftime (`%d/%m/%Y`); None: as 2026-11-19. A year of two
            digits is 1969 to 2068.
        timestamp_format: how timestamps are written; None: as 2026-11-19 23:05:00, with `T` or a blank in the middle,
            with or without seconds and decimals of them (to the microsecond), or a date alone.
        null_values: fields that mean that there is no value, exactly as they stand in the file.
    """

    decimal: str = "."
    thousands: str | None = None
    currency: str | tuple[str, ...] | None = None
    negative_parentheses: bool = False
    date_format: str | None = None
    timestamp_format: str | None = None
    null_values: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        if len(self.decimal) != 1 or self.decimal.isalnum():
            raise ValueError(f"decimal={self.decimal!r} must be one sign, such as '.' or ','")
        if self.thousands is not None and (len(self.thousands) != 1 or self.thousands.isalnum()):
            raise ValueError(f"thousands={self.thousands!r} must be one sign, such as ',' or '.', or None")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if isinstance(self.null_values, str):
            raise ValueError(f"null_values must be a tuple, such as ({self.null_values!r},)")
        for name, pattern in (("date_format", self.date_format), ("timestamp_format", self.timestamp_format)):
            unknown = [d for d in re.findall("%.?", pattern or "") if d not in DIRECTIVES]
            if unknown:
                raise ValueError(f"{name}={pattern!r}: {unknown[0]} is not known. Known are {', '.join(DIRECTIVES)}")

    @property
    def currencies(self) -> tuple[str, ...]:
        """The signs that may stand before or after a number."""
        return (self.currency,) if isinstance(self.currency, str) else self.currency or ()


@dataclass(frozen=True, kw_only=True)
class Csv(Values):
    """Fields between delimiters, records on lines; read as RFC 4180 and Python's `csv` do.

    A quote counts only where it is the first character of a field: in ` "a"` (a blank before it) it is part of the
    value. Lines may end in any of the three usual ways, also mixed. Empty lines are skipped. A field may be of any
    length.

    Attributes:
        delimiter: what is between two fields.
        quote: what is around a field that holds delimiters or line ends; None: nothing is.
        escape: what is before a quote within quotes. The quote itself: it is doubled. Another sign, such as a
            backslash: the character after it stands for itself, within quotes and outside. None: nothing is.
        encoding: how characters are written as bytes, by Python's name: utf-8, utf-16, cp1252, latin-1. A byte order
            mark is taken off.
        header: whether the first line names the columns. False: the declared columns name the fields in their order.
        skip_lines: lines before the header (or before the first row) that are not read.
        wrapped_lines: whether lines that hold a quote were quoted once more as a whole, as Excel does when a CSV file
            was opened in one column and saved.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = '"'
    encoding: str = "utf-8"
    header: bool = True
    skip_lines: int = 0
    wrapped_lines: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        signs = {"delimiter": self.delimiter, "quote": self.quote}
        if self.doubled_quotes or self.quote is not None:
            signs["escape"] = self.escape
        for name, sign in signs.items():
            if sign is not None and (len(sign) != 1 or not sign.isascii() or sign in "\r\n\0"):
                raise ValueError(f"{name}={sign!r} must be one ASCII character")
        if self.delimiter in (self.quote, self.escape):
            raise ValueError(f"delimiter and quote or escape are both {self.delimiter!r}")
        _check_encoding(self.encoding)
        if self.wrapped_lines and not self.doubled_quotes:
            raise ValueError("wrapped_lines needs a quote that is doubled within quotes")

    @property
    def doubled_quotes(self) -> bool:
        """Whether a quote within quotes is written twice."""
        return self.quote is not None and self.escape == self.quote

    @property
    def escape_sign(self) -> str | None:
        """The sign that makes the next character stand for itself; None: there is none."""
        # Without quotes, the default escape (a doubled quote) means nothing.
        return None if self.escape == self.quote or (self.quote is None and self.escape == '"') else self.escape


@dataclass(frozen=True, kw_only=True)
class JsonLines(Values):
    """One JSON object per line.

    A number arrives as it is spelled in the file: 12.50 in a column of decimals or text keeps its zero, and no digit is
    lost. Numbers and truth values may stand in quotes. A nested object or list becomes its JSON text.

    Attributes:
        encoding: how characters are written as bytes, by Python's name.
        omits_nulls: whether lines leave out fields without a value. False: each line has each declared field.
    """

    encoding: str = "utf-8"
    omits_nulls: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_encoding(self.encoding)


@dataclass(frozen=True)
class Excel(Values):
    """One sheet of a workbook (xlsx, xls, xlsb or ods): a header line, then rows.

    Numbers, dates and truth values of Excel arrive as such; `Values` is about cells of text. A whole number that Excel
    keeps as 13313.0 is 13313. Rows without any value are skipped. A cell with an error (`#N/A`) is a wrong value.

    Where Excel opened dates of text in a country of another order, 6/5/14 became a date with day and month swapped, and
    6/16/14 stayed text. A column that looks so is refused until `swapped_dates` says what is right.

    Attributes:
        sheet: the sheet's name.
        swapped_dates: whether dates have day and month swapped. True: they are swapped back. False: they are right.
            None: neither is known, and a column of dates and texts that may be so is an error.
        header: whether the first row names the columns. False: the declared columns name the cells in their order.
        skip_lines: rows before the header (or before the first row) that are not read.
    """

    sheet: str
    swapped_dates: bool | None = field(default=None, kw_only=True)
    header: bool = field(default=True, kw_only=True)
    skip_lines: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Parquet:
    """Parquet: it says by itself what its columns and types are."""


Format = Csv | JsonLines | Excel | Parquet

BY_ENDING: dict[str, Format] = {
    ".csv": Csv(),
    ".jsonl": JsonLines(),
    ".ndjson": JsonLines(),
    ".parquet": Parquet(),
}


def by_ending(name: str) -> Format:
    """Say how files are written whose table declares no format.

    Args:
        name: the file's name or pattern; `.gz` and `.zip` at its end are passed over.

    Raises:
        ValueError: its ending does not say.
    """
    ending = ending_of(name)
    if ending not in BY_ENDING:
        raise ValueError(
            f"{name}: the ending does not say how the file is written. Declare it, such as format=Csv(delimiter='\\t')"
        )
    return BY_ENDING[ending]


def ending_of(name: str) -> str:
    """The ending that says a file's format, in lower case: `.csv` of `orders.csv.gz`."""
    name = name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return re.search(r"(\.[a-z0-9]+)?$", name)[0]  # type: ignore[index]
