"""What goes to a terminal: data is shown as data, whatever characters it is made of."""

import re
import shutil
import sys
import unicodedata
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# Joins letters and emoji; the other invisible characters can reorder or hide what is next to them.
JOINERS = "\u200c\u200d"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(Console):
    """A rich console that prints strings as they are: no markup, no emoji codes, no control characters of the data.

    Colours are off where the output is no terminal, or where NO_COLOR is set. A character that the output's encoding
    lacks is printed as its code.

    Args:
        file: where to print.
        columns: the width at most, and where the output is no terminal and COLUMNS is not set.
        soft_wrap: leave it to the terminal to wrap lines.
    """

    def __init__(self, file: IO[str], columns: int = 100, *, soft_wrap: bool = False) -> None:
        width = min(shutil.get_terminal_size((columns, 0)).columns, columns)
        super().__init__(file=file, width=width, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)
        if self.options.ascii_only and hasattr(file, "reconfigure"):
            file.reconfigure(errors="backslashreplace")

    def render_str(self, text: str, **options: Any) -> Text:
        """Make text of a string; all strings that are printed, in tables too, come through here."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    def hanging(self, head: str, text: str, style: str = "") -> None:
        """Print a text whose further lines begin below its first one.

        Args:
            head: the text before the first line.
            text: the text.
            style: of the head.
        """
        head = printable(head)
        indent = cell_len(head)
        lines = [""]
        # Not by rich, which breaks long words: a path is to be copied.
        for word in printable(text).split(" "):
            if lines[-1] and indent + cell_len(lines[-1]) + 1 + cell_len(word) > self.width:
                lines.append(word)
            else:
                lines[-1] += f" {word}" if lines[-1] else word
        for line in lines:
            self.print(Text.assemble((head, style), line), soft_wrap=True)
            head = " " * indent

    def alone(self, text: str, indent: int) -> None:
        """Print what is to be copied, such as a path or a command: on a line of its own that is never broken.

        Args:
            text: the text.
            indent: blanks in front of it.
        """
        self.print(" " * indent + printable(text), soft_wrap=True)

    def mark(self, passed: bool) -> str:
        """The sign in front of what succeeded or failed, for this output's encoding."""
        return ("+" if passed else "x") if self.options.ascii_only else ("✔" if passed else "✘")


def printable(text: object, most: int | None = None) -> str:
    r"""Write data on one line of a terminal.

    A line break or tab becomes a space; control characters, escape sequences and what changes the direction of writing
    become visible codes such as `\x07`. Colours are taken out.

    Args:
        text: the data.
        most: cut it after this many characters.
    """
    line = "".join(map(_visible, COLOURS.sub("", str(text))))
    return line if most is None or len(line) <= most else f"{line[: most - 3]}..."


def error(text: object) -> None:
    """Print why a command failed, on standard error; the lines of a longer message stay lines.

    Args:
        text: the message.
    """
    first, *more = str(text).splitlines() or [""]
    print("\n".join([f"error: {printable(first)}", *map(printable, more)]), file=sys.stderr)


def _visible(letter: str) -> str:
    if letter.isprintable() or letter in JOINERS:
        return letter
    if letter in "\t\r\n" or unicodedata.category(letter) == "Zs":
        return " "
    return letter.encode("unicode_escape").decode("ascii")
