"""Formats of dates in the terms of strftime, in file names and in values."""

import datetime as dt
import re

# What each directive matches in a text. Where digits may be missing in front, Excel and others leave them out.
DIRECTIVES = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%m": "[0-9]{1,2}",
    "%d": "[0-9]{1,2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]+",
    "%j": "[0-9]{3}",
    "%H": "[0-9]{1,2}",
    "%I": "[0-9]{1,2}",
    "%M": "[0-9]{2}",
    "%S": "[0-9]{2}",
    "%f": "[0-9]{1,6}",
    "%p": "[AaPp][Mm]",
    "%%": "%",
}
# The directives of a day.
OF_A_DAY = ("%Y", "%y", "%m", "%d", "%b", "%B", "%j")


def as_regex(pattern: str) -> str:
    """Write a format as a regular expression (for Python's `re` and for RE2).

    Args:
        pattern: the format, such as `%d/%m/%Y`.
    """
    parts = re.split("(%.)", pattern)
    return "".join(DIRECTIVES[part] if part in DIRECTIVES else re.escape(part) for part in parts)


def day_from(parts: dict[str, str]) -> dt.date | None:
    """Make a day of its parts.

    Args:
        parts: directive (`%Y`, `%m` ...) to the text that it matched.

    Returns:
        The day; None when there is no such day.
    """
    of_day = {directive: text for directive, text in parts.items() if directive in OF_A_DAY}
    try:
        return dt.datetime.strptime(" ".join(of_day.values()), " ".join(of_day)).date()
    except ValueError:
        return None
