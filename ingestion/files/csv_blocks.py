"""Cuts a CSV text into blocks of whole records, and checks on the way that its quotes are where the format allows them.

A parser of blocks needs such cuts. And Arrow, like most, takes `"a"b` for `ab` and a quote that is never closed for the
rest of the file; both are damage, and are refused here.
"""

import re
from collections.abc import Iterator

from ingestion.files.formats import Csv

BLOCK_BYTES = 1 << 22
# Arrow counts the bytes of a text column in 31 bits.
LONGEST_RECORD = 1 << 30


class WrongRecordError(Exception):
    """A record cannot be told from the next.

    Args:
        line: the line where that shows.
        problem: what is wrong there.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class RecordBlocks:
    """Cuts a CSV text into blocks of whole records.

    Regular expressions without backtracking do the work: 160 to 240 MB a second where the text has quotes, and next to
    nothing where it has none.

    Args:
        dialect: how the text is written.
        first_line: the number of its first line.
    """

    def __init__(self, dialect: Csv, first_line: int) -> None:
        self._line = first_line
        self._state = "start"
        self._opened_on = 0
        self._signs = [sign.encode() for sign in (dialect.quote, dialect.escape_sign) if sign]
        self._quote = (dialect.quote or "").encode()
        self._terminators = (dialect.delimiter + "\r\n").encode()
        quote, escape = (re.escape(sign or "").encode() for sign in (dialect.quote, dialect.escape_sign))
        delimiter = re.escape(dialect.delimiter).encode()
        # Within quotes; in a field without; from the start of a field over whole fields, and over whole records.
        after_sign = b""
        if dialect.doubled_quotes:
            after_sign = b"(?:" + quote + quote + b"[^" + quote + b"]*+)*+"
        elif escape:
            after_sign = b"(?:" + escape + b".[^" + quote + escape + b"]*+)*+"
        # No class may be empty; without signs, these patterns are not used.
        quoted = b"[^" + (quote + escape or b"\n") + b"]*+" + after_sign
        plain = b"[^" + delimiter + b"\r\n" + escape + b"]*+"
        if escape:
            plain += b"(?:" + escape + b"." + plain + b")*+"
        field = b"(?:" + quote + quoted + quote + b"|(?!" + quote + b")" + plain + b")" if quote else plain
        fields = b"(?:" + field + delimiter + b")*+"
        self._in_quotes = re.compile(quoted, re.DOTALL)
        self._in_plain = re.compile(plain, re.DOTALL)
        self._fields = re.compile(fields, re.DOTALL)
        self._records = re.compile(b"(?:" + fields + field + b"(?:\r\n?|\n))*+", re.DOTALL)

    def cut(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Cut the text.

        Args:
            pieces: the text in an encoding that keeps ASCII as it is; a piece may end anywhere but within `\\r\\n`.

        Yields:
            Blocks of whole records, together the text; a line end is added where the last record has none.

        Raises:
            WrongRecordError: a quote is wrong, or a record is longer than Arrow can take.
        """
        block: list[bytes] = []
        size, undecided = 0, b""
        for piece in pieces:
            data = undecided + piece
            cut, decided = self._walk(data, last=False)
            undecided = data[decided:]
            self._line += line_ends(data[:decided])
            if cut and size + cut >= BLOCK_BYTES:
                yield b"".join([*block, data[:cut]])
                block, size, data, decided = [], 0, data[cut:], decided - cut
            block.append(data[:decided])
            size += decided
            if size > LONGEST_RECORD:
                raise WrongRecordError(
                    self._opened_on or self._line,
                    f"a record is longer than {LONGEST_RECORD >> 30} GB, as when a quote is never closed",
                )
        self._walk(undecided, last=True)
        if self._state == "quoted":
            raise WrongRecordError(self._opened_on, "a quote is never closed")
        rest = b"".join([*block, undecided])
        if self._state == "plain" and rest.endswith((b"\r", b"\n")):
            raise WrongRecordError(self._line - 1, "the file ends after an escaped line end")
        # Arrow wants a header to end in a line end.
        yield rest if rest.endswith((b"\r", b"\n")) or not rest else rest + b"\n"

    def _walk(self, data: bytes, last: bool) -> tuple[int, int]:
        """Go over one more part of the text.

        Returns:
            Where its last whole record ends (0: in none), and up to where it is decided what the signs mean.
        """
        if self._state != "quoted" and not any(sign in data for sign in self._signs):
            if data:
                self._state = "start" if data[-1] in self._terminators else "plain"
            return max(data.rfind(b"\n"), data.rfind(b"\r")) + 1, len(data)
        cut = position = 0
        while position < len(data):
            if self._state == "start":
                after = self._records.match(data, position).end()  # type: ignore[union-attr]
                cut = after if after > position else cut
                position = self._fields.match(data, after).end()  # type: ignore[union-attr]
                if position == len(data):
                    break
                self._state = "plain"
                if self._quote and data.startswith(self._quote, position):
                    self._state = "quoted"
                    self._opened_on = self._line + line_ends(data[:position])
                    position += 1
            pattern = self._in_quotes if self._state == "quoted" else self._in_plain
            position = pattern.match(data, position).end()  # type: ignore[union-attr]
            if position == len(data):
                break
            # At the end of a field, at a sign whose meaning the next part decides, or at what is wrong.
            sign, follows = data[position : position + 1], data[position + 1 : position + 2]
            if self._state == "plain" and sign in self._terminators:
                self._state = "start"
            elif not follows and not last:
                return cut, position
            elif self._state == "quoted" and sign == self._quote:
                if follows and follows not in self._terminators:
                    problem = "text follows a closing quote"
                    raise WrongRecordError(self._line + line_ends(data[:position]), problem)
                position += 1
                self._state = "start" if follows else "plain"
            else:
                raise WrongRecordError(self._line + line_ends(data[:position]), "the file ends after an escape sign")
        return cut, len(data)


def line_ends(data: bytes) -> int:
    """Count the line ends in a text, of each usual kind."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
