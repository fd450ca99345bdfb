"""What readers of text files have in common: fields as text in record batches, and single records for messages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.files.formats import Values

# The column of a batch that numbers its rows, so that the record of a wrong value is found again.
ROW = "row number"
# Of JSON lines: the fields that are not declared, as a map from name to text.
MORE = "more fields"


@dataclass(frozen=True)
class Record:
    """One record of a file, as it stands there.

    Attributes:
        line: the line that it begins on (Excel: its row), from 1.
        raw: its text.
        row: its number in the batches; None when it is in none of them.
        problem: what is wrong with the record as such; None when it is in the batches.
    """

    line: int
    raw: str
    row: int | None = None
    problem: str | None = None


class FileRows(Protocol):
    """A text file, opened for reading.

    Attributes:
        values: how its values are spelled.
        names: its columns, as spelled in the file; for JSON lines the declared ones.
        skipped: records that `batches` has left out so far.
    """

    @property
    def values(self) -> Values:
        """How its values are spelled."""

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""

    @property
    def skipped(self) -> int:
        """Records that were left out."""

    def batches(self, skip_bad: bool) -> Iterator[pa.RecordBatch]:
        """Read all rows.

        Args:
            skip_bad: leave out records that are no rows, instead of stopping at the first.

        Yields:
            Batches with a text column for each name, `ROW`, and for JSON lines `MORE`.

        Raises:
            LoadError: the file cannot be read; the message names the line.
        """

    def records(self) -> Iterator[Record]:
        """Read the file once more, record by record: slow, to find the records that are wrong."""

    def place(self, line: int) -> str:
        """Say for a message where in the file a record is.

        Args:
            line: the record's line.
        """


@dataclass
class Numbering:
    """Gives the rows of one batch after the other their numbers."""

    next_row: int = field(default=0)

    def of(self, count: int) -> pa.Array:
        """Number the next rows.

        Args:
            count: how many.
        """
        numbers = pc.add(pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count)), self.next_row - 1)
        self.next_row += count
        return numbers
