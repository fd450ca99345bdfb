"""The text of a file: unpacked and decoded, strictly, a piece at a time."""

import codecs
import contextlib
import gzip
import io
import lzma
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ingestion.files.formats import COMPRESSED
from ingestion.raw_tables import LoadError
from warehouse.safe_files import is_disk_full

CHUNK_BYTES = 1 << 20

# What a byte that cannot be decoded becomes where a file is read in spite of it, to find or to set aside its row.
# Unicode keeps this code point free for such uses; no text has it.
UNDECODABLE = "\ufdd0"
codecs.register_error("mark", lambda error: (UNDECODABLE, error.end if isinstance(error, UnicodeDecodeError) else 0))

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
MAGIC = {
    b"\x1f\x8b": ("a gzip file", ".gz"),
    b"PK\x03\x04": ("a zip file or an Excel workbook", ".zip or .xlsx"),
    b"PAR1": ("a Parquet file", ".parquet"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook (xls)", ".xls"),
}
SEND_AGAIN = "Have it sent again; nothing was loaded."


class UndecodableError(Exception):
    """Some bytes of a file do not stand for characters in its declared encoding, or stand for none that a text has."""


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked where its name ends in `.gz` or `.zip`; checksums are verified by reading to the end.

    Args:
        path: the file.

    Raises:
        LoadError: the file cannot be read or is damaged; the errors of reading in the `with` block become one too.
    """
    try:
        with contextlib.ExitStack() as stack:
            yield _open(path, stack)
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        kind = "gzip" if path.name.lower().endswith(".gz") else "zip"
        raise LoadError(f"{path} is not a complete {kind} file ({error}). {SEND_AGAIN}") from error
    except RuntimeError as error:
        if not path.name.lower().endswith(".zip"):
            raise
        # zipfile says so of a password and of methods that it does not know.
        raise LoadError(
            f"{path} cannot be unpacked ({error}). Have it sent as a plain zip file, without a password; "
            "nothing was loaded."
        ) from error
    except OSError as error:
        if is_disk_full(error):
            # While a copy is written; no fault of the file.
            raise
        if error.errno is None:
            raise LoadError(f"{path} is damaged ({error}). {SEND_AGAIN}") from error
        raise LoadError(f"{path} cannot be read: {error.strerror}. Nothing was loaded.") from error


def local_copy(path: Path, folder: Path) -> Path:
    """Unpack a file into a folder, for readers that need the whole of it on disk.

    Args:
        path: the file.
        folder: where to put it.

    Returns:
        The unpacked file; the file itself when it is not packed.

    Raises:
        LoadError: the file cannot be read or is damaged.
    """
    if not path.name.lower().endswith(COMPRESSED):
        return path
    target = folder / path.stem
    with unpacked(path) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, CHUNK_BYTES)
    return target


def text_pieces(path: Path, encoding: str, *, mark: bool = False) -> Iterator[str]:
    """Read a file as text, a piece at a time; a byte order mark is taken off.

    Args:
        path: the file.
        encoding: its encoding, by Python's name.
        mark: put `UNDECODABLE` where bytes cannot be decoded, instead of stopping.

    Raises:
        UndecodableError: bytes cannot be decoded, or stand for characters that no text has (NUL).
        LoadError: the file cannot be read, or is of another kind or encoding than declared.
    """
    codec = codecs.lookup(encoding).name
    with unpacked(path) as file:
        pieces = iter(lambda: file.read(CHUNK_BYTES), b"")
        first = next(pieces, b"")
        _check_beginning(path, first, codec)
        decoder = codecs.getincrementaldecoder(codec)("mark" if mark else "strict")
        other = None if codec.startswith("utf") else _LooksLikeUtf8()
        at_start = True
        for piece in _with_last(first, pieces):
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise UndecodableError from error
            if other:
                other.look_at(piece)
            if codec.startswith("iso8859"):
                text = _without_controls(text, mark)
            if "\0" in text:
                if not mark:
                    raise UndecodableError
                text = text.replace("\0", UNDECODABLE)
            if at_start and text:
                text = text.removeprefix("\ufeff")
                at_start = False
            if text:
                yield text
        if other and other.is_it:
            raise LoadError(
                f"{path} is declared as {encoding}, but all its letters beyond ASCII are UTF-8. "
                "Declare encoding='utf-8'; nothing was loaded."
            )


def text_lines(path: Path, encoding: str, *, mark: bool = True) -> Iterator[str]:
    """Read a file as lines, with their ends (see `text_pieces`).

    Args:
        path: the file.
        encoding: its encoding, by Python's name.
        mark: put `UNDECODABLE` where bytes cannot be decoded, instead of stopping.
    """
    rest = ""
    for piece in text_pieces(path, encoding, mark=mark):
        lines = io.StringIO(rest + piece, newline="").readlines()
        # The last line may go on in the next piece, and a carriage return may be half of a line end.
        rest = lines.pop()
        yield from lines
    yield from io.StringIO(rest, newline="")


def undecodable(path: Path, encoding: str) -> LoadError:
    """Say which line of a file cannot be decoded, and what the file's encoding may be.

    Args:
        path: the file.
        encoding: the declared encoding.
    """
    line, text = next(
        ((number, text) for number, text in enumerate(text_lines(path, encoding), start=1) if UNDECODABLE in text),
        (1, ""),
    )
    return not_text(path, encoding, f"line {line}", text)


def not_text(path: Path, encoding: str, place: str, text: str) -> LoadError:
    """Say that a piece of a file cannot be decoded, and what the file's encoding may be.

    Args:
        path: the file.
        encoding: the declared encoding.
        place: where in the file it is.
        text: the piece, with `UNDECODABLE` in it.
    """
    shown = shorten(text[max(0, text.find(UNDECODABLE) - 40) :].replace(UNDECODABLE, "\ufffd"))[:60]
    return LoadError(
        f"{path}, {place}: {shown!r} is no {encoding} text. {_another_encoding(path, encoding)}; nothing was loaded."
    )


def shorten(text: str) -> str:
    """Make a piece of a file fit for a message of one line."""
    text = " ".join(text.split())
    return f"{text[:200]} ..." if len(text) > 200 else text


def _open(path: Path, stack: contextlib.ExitStack) -> IO[bytes]:
    name = path.name.lower()
    if name.endswith(".gz"):
        return cast(IO[bytes], stack.enter_context(gzip.open(path)))
    if not name.endswith(".zip"):
        return stack.enter_context(path.open("rb"))
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        names = shorten(", ".join(member.filename for member in members)) or "none"
        raise LoadError(
            f"{path} has {len(members)} files in it ({names}); one is expected. "
            "Have each file sent by itself; nothing was loaded."
        )
    return stack.enter_context(archive.open(members[0]))


def _check_beginning(path: Path, first: bytes, codec: str) -> None:
    for magic, (kind, ending) in MAGIC.items():
        if first.startswith(magic):
            raise LoadError(
                f"{path} is {kind} by its content. Have it sent with a name that ends in {ending}, and declare such "
                "files; nothing was loaded."
            )
    mark = next((name for mark, name in BYTE_ORDER_MARKS.items() if first.startswith(mark)), None)
    # UTF-16 without a mark would be read in the byte order of this machine, which is a guess.
    if mark is None and codec in ("utf-16", "utf-32") and first:
        raise LoadError(
            f"{path} has no byte order mark, so that {codec} may be meant in two ways. "
            f"Declare encoding='{codec}-le' or '{codec}-be'; nothing was loaded."
        )
    if mark is not None and not codec.startswith(mark):
        raise LoadError(
            f"{path} begins with the byte order mark of {mark}, but is declared as {codec}. "
            f"Declare encoding='{mark}'; nothing was loaded."
        )


def _with_last(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """All pieces, and an empty one in the end, which tells the decoder that nothing follows."""
    if first:
        yield first
    yield from pieces
    yield b""


def _without_controls(text: str, mark: bool) -> str:
    """In ISO 8859, bytes 80 to 9F are control characters that no text has; in cp1252 they are letters and quotes."""
    if not re.search("[\x80-\x9f]", text):
        return text
    if not mark:
        raise UndecodableError
    return re.sub("[\x80-\x9f]", UNDECODABLE, text)


class _LooksLikeUtf8:
    """Finds out whether a file that is declared in another encoding is UTF-8: by chance, no text is."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.beyond_ascii = False
        self.valid = True

    def look_at(self, piece: bytes) -> None:
        """Look at one more piece; an empty one is the last."""
        if self.valid and (not piece or not piece.isascii() or self.decoder.getstate()[0]):
            try:
                self.beyond_ascii |= not self.decoder.decode(piece, final=not piece).isascii()
            except UnicodeDecodeError:
                self.valid = False

    @property
    def is_it(self) -> bool:
        """Whether it is UTF-8 with letters beyond ASCII."""
        return self.valid and self.beyond_ascii


def _another_encoding(path: Path, encoding: str) -> str:
    """The way out of a wrong encoding: what to declare, where the first bytes tell."""
    with unpacked(path) as file:
        sample = file.read(CHUNK_BYTES)
    if sample.count(0) * 4 > len(sample):
        order = "le" if sample[1::2].count(0) >= sample[::2].count(0) else "be"
        return f"The file looks like UTF-16: declare encoding='utf-16-{order}'"
    if b"\0" in sample:
        return "The file has NUL bytes, as a damaged one does: have it sent again"
    codec = codecs.lookup(encoding).name
    for other in ("utf-8", "cp1252"):
        if other == codec:
            continue
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder(other)().decode(sample)
            return f"If all of the file is {other}, declare encoding='{other}'; if not, have it sent again"
    return "Have it sent again"
