"""Names of landed files: a pattern with the day in it."""

import datetime as dt
import re
from dataclasses import dataclass
from functools import cached_property

from ingestion.files.dates import DIRECTIVES, OF_A_DAY, day_from

DATE = re.compile(r"\{date(?::(?P<format>[^{}]*))?\}")
EXAMPLE = dt.datetime(2026, 11, 19)


@dataclass(frozen=True)
class FileNames:
    """The files of a table, as a pattern below the source's landing folder.

    `*`, `?` and `[...]` stand for parts of a name that may differ, `**/` for folders. `{date}` stands for the day that
    a file is for, as 2026-11-19; `{date:%d%m%Y}` for the day in another form, which may go over folders and may have
    hours and minutes: `{date:%Y/%m/%d}/orders_*.csv.gz`.

    Attributes:
        pattern: the pattern, with forward slashes.
    """

    pattern: str

    def __post_init__(self) -> None:
        dates = DATE.findall(self.pattern)
        if len(dates) > 1 or re.search(r"[{}]", DATE.sub("", self.pattern)):
            raise ValueError(f"files={self.pattern!r}: write {{date}} once, or {{date:%Y%m%d}}; no other braces")
        if self.pattern.startswith("/") or ".." in self.pattern.split("/"):
            raise ValueError(f"files={self.pattern!r} must be below the source's landing folder")
        unknown = [directive for directive in self._directives if directive not in DIRECTIVES]
        if unknown:
            raise ValueError(f"files={self.pattern!r}: {unknown[0]} is not known. Known are {', '.join(DIRECTIVES)}")
        if self.is_dated and day_from({d: f"{EXAMPLE:{d}}" for d in self._directives}) != EXAMPLE.date():
            raise ValueError(f"files={self.pattern!r}: {{date:...}} must say year, month and day, such as %Y%m%d")

    @property
    def is_dated(self) -> bool:
        """Whether the names have a day in them."""
        return DATE.search(self.pattern) is not None

    @property
    def glob(self) -> str:
        """The pattern with stars for the parts of the day. It may find more files than match."""
        glob = DATE.sub(lambda date: re.sub("[^/]+", "*", self._format(date)), self.pattern)
        # Two stars are any depth of folders, and only where they are alone.
        return "/".join(part if part == "**" else re.sub(r"\*+", "*", part) for part in glob.split("/"))

    @property
    def example(self) -> str:
        """A name that matches, up to the stars of the pattern."""
        return DATE.sub(lambda date: f"{EXAMPLE:{self._format(date)}}", self.pattern)

    def match(self, name: str) -> tuple[bool, dt.date | None]:
        """Tell whether a file is one of these.

        Args:
            name: its name below the landing folder.

        Returns:
            Whether it is, and the day that it is for (None where names have no day).
        """
        found = self._regex.fullmatch(name)
        if found is None or not self.is_dated:
            return found is not None, None
        day = day_from({f"%{group.removeprefix('day_')}": text for group, text in found.groupdict().items()})
        return day is not None, day

    @property
    def _directives(self) -> list[str]:
        date = DATE.search(self.pattern)
        return re.findall("%.?", self._format(date)) if date else []

    @staticmethod
    def _format(date: "re.Match[str]") -> str:
        return date["format"] or "%Y-%m-%d"

    @cached_property
    def _regex(self) -> "re.Pattern[str]":
        date = DATE.search(self.pattern)
        if date is None:
            return re.compile(_glob_as_regex(self.pattern), re.DOTALL)
        seen: set[str] = set()
        parts = [_glob_as_regex(self.pattern[: date.start()])]
        for part in re.split("(%.)", self._format(date)):
            if part in seen:
                parts.append(f"(?P=day_{part[1]})")
            elif part in OF_A_DAY:
                # Fixed widths: in 20261119 no digit may go to its neighbour.
                width = {"%Y": 4, "%y": 2, "%m": 2, "%d": 2, "%j": 3}.get(part)
                parts.append(f"(?P<day_{part[1]}>{f'[0-9]{{{width}}}' if width else DIRECTIVES[part]})")
                seen.add(part)
            else:
                parts.append(DIRECTIVES.get(part) or re.escape(part))
        parts.append(_glob_as_regex(self.pattern[date.end() :]))
        return re.compile("".join(parts), re.DOTALL)


def _glob_as_regex(glob: str) -> str:
    """Write a part of a glob as a regular expression: `*` is a part of a name, `**/` any depth of folders."""
    parts = re.split(r"(\*\*/|\*|\?|\[!?\]?[^\]]*\])", glob)
    known = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known[part]
        if part in known
        else "[" + part[1:-1].replace("\\", r"\\").replace("!", "^", part.startswith("[!")) + "]"
        if part.startswith("[") and part.endswith("]") and len(part) > 2
        else re.escape(part)
        for part in parts
    )
