"""Values of text files as SQL: from the text of a field to a value of its declared type, or to null when it is none.

DuckDB's own casts take more than is meant (2.5 becomes the whole number 3, `0x10` 16, the year of 04/09/12 may be 12),
so a regular expression says what may be cast.
"""

import re

from ingestion.files.dates import as_regex
from ingestion.files.formats import Excel, Values
from ingestion.types import TYPES
from warehouse.sql import quote_text

# Blanks around a value: the usual ones, and the no-break spaces that Excel and French group digits with.
NO_BREAK_SPACES = "\u00a0\u202f"
BLANKS = " \t\r\n" + NO_BREAK_SPACES

ISO_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
ISO_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0{0,3})?)?"
ISO_ZONE = "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"

# What a value is called that is not of a type.
CALLED = {
    # A text is wrong only where some of its bytes are none.
    "text": "text",
    "bigint": "a whole number",
    "double": "a number",
    "decimal": "a number",
    "bool": "a truth value",
    "date": "a date",
    "timestamp": "a timestamp",
    "timestamp with time zone": "a timestamp with a time zone",
    "time": "a time",
    "json": "JSON",
}


def present(field: str, values: Values) -> str:
    """SQL for a field's text, or null where it means that there is no value.

    Args:
        field: SQL for the field's text.
        values: how values are spelled.
    """
    for text in values.null_values:
        field = f"nullif({field}, {quote_text(text)})"
    return field


def converted(text: str, kind: str, values: Values) -> str:
    """SQL for the value of a text that is not null: null when the text is none of its type.

    Args:
        text: SQL for the text.
        kind: the declared type.
        values: how values are spelled.
    """
    if kind == "text":
        return text
    usual = _usual(text, kind, values)
    any_spelling = _any_spelling(text, f"trim({text}, {quote_text(BLANKS)})", kind, values)
    return f"case when {usual[0]} then {usual[1]} else {any_spelling} end" if usual else any_spelling


def _usual(text: str, kind: str, values: Values) -> tuple[str, str] | None:
    """SQL for whether a text is spelled as most are, and its value then: several times as fast as all spellings."""
    cast = f"try_cast({text} as {TYPES[kind].duckdb})"
    if kind == "bigint":
        return f"cast({cast} as varchar) = {text}", cast
    if kind == "timestamp" and values.timestamp_format is None:
        return f"length({text}) = 19 and cast({cast} as varchar) = {text}", cast
    if kind == "date" and values.date_format is None:
        return f"length({text}) = 10 and cast({cast} as varchar) = {text}", cast
    if values.decimal == "." and (kind == "double" or kind.startswith("decimal")):
        decimals = kind.rpartition(",")[2].strip(" )") if kind != "double" else "15"
        digits = rf"-?[0-9]{{1,15}}(?:\.[0-9]{{0,{decimals}}})?"
        return f"regexp_full_match({text}, {quote_text(digits)})", cast
    return None


def _any_spelling(text: str, trimmed: str, kind: str, values: Values) -> str:
    if kind in ("bigint", "double") or kind.startswith("decimal"):
        return _number(trimmed, kind, values)
    if kind == "bool":
        return _when(trimmed, "(?i:true|t|yes|y|1|false|f|no|n|0)", f"try_cast({trimmed} as boolean)")
    if kind == "json":
        return f"case when json_valid({text}) then cast({text} as json) end"
    iso = {
        "date": ISO_DATE,
        "timestamp": f"{ISO_DATE}(?:[ T]{ISO_TIME})?",
        "timestamp with time zone": f"{ISO_DATE}[ T]{ISO_TIME} ?{ISO_ZONE}",
        "time": ISO_TIME,
    }[kind]
    as_iso = _when(trimmed, iso, f"try_cast({trimmed} as {TYPES[kind].duckdb})")
    if kind == "time":
        return as_iso
    pattern = {"date": values.date_format, "timestamp": values.timestamp_format}.get(kind)
    if pattern is None:
        return _when_readable(as_iso, kind)
    parsed = f"try_strptime({trimmed}, {quote_text(pattern)})"
    as_declared = _when(trimmed, as_regex(pattern), f"cast({parsed} as {TYPES[kind].duckdb})")
    # Excel's own dates arrive as ISO, whatever its cells of text look like.
    return _when_readable(f"coalesce({as_iso}, {as_declared})" if isinstance(values, Excel) else as_declared, kind)


def years(kind: str) -> tuple[str, str]:
    """SQL for the first moment of year 1 and of year 10000; what lies outside cannot be held by Python and many others.

    Args:
        kind: `date`, `timestamp` or `timestamp with time zone`.
    """
    zone = " 00:00:00+00" if kind == "timestamp with time zone" else ""
    first, end = (f"cast('{day}{zone}' as {TYPES[kind].duckdb})" for day in ("0001-01-01", "10000-01-01"))
    return first, end


def _when_readable(value: str, kind: str) -> str:
    first, end = years(kind)
    return f"case when {value} >= {first} and {value} < {end} then {value} end"


def called(kind: str) -> str:
    """What a value of a type is called in a message.

    Args:
        kind: the declared type.
    """
    return CALLED[kind.partition("(")[0]]


def _number(text: str, kind: str, values: Values) -> str:
    decimal, grouping = re.escape(values.decimal), _grouping(values)
    whole = rf"(?:[0-9]{{1,3}}(?:{grouping}[0-9]{{3}})+|[0-9]+)" if grouping else "[0-9]+"
    if kind == "bigint":
        body = f"{whole}(?:{decimal}00?)?"
    else:
        body = f"(?:{whole}(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    signed = f"[+-]?{body}"
    if values.currencies:
        sign = "(?:" + "|".join(re.escape(currency) for currency in values.currencies) + ")"
        blank = f"[{BLANKS}]*"
        signed += f"|[+-]?{sign}{blank}{body}|{sign}{blank}[+-]{body}|[+-]?{body}{blank}{sign}"
    if values.negative_parentheses:
        inside = signed.replace("[+-]?", "").replace("[+-]", "")
        signed += rf"|\((?:{inside})\)"
        if values.currencies:
            signed += rf"|{sign}{blank}\({body}\)"
    # What was matched, as SQL spells numbers.
    plain = text
    for currency in values.currencies:
        plain = f"replace({plain}, {quote_text(currency)}, '')"
    if values.currencies:
        plain = f"translate({plain}, {quote_text(BLANKS)}, '')"
    for separator in _separators(values):
        plain = f"replace({plain}, {quote_text(separator)}, '')"
    if values.decimal != ".":
        plain = f"replace({plain}, {quote_text(values.decimal)}, '.')"
    if values.negative_parentheses:
        plain = f"replace(replace({plain}, '(', '-'), ')', '')"
    if kind == "bigint":
        return _when(text, signed, f"try_cast(split_part({plain}, '.', 1) as bigint)")
    if kind == "double":
        number = f"try_cast({plain} as double)"
        # A number too large for a double is none; the words are.
        finite = _when(text, signed, f"case when not isinf({number}) then {number} end")
        return f"coalesce({finite}, {_when(text, '[+-]?(?i:nan|inf|infinity)', f'try_cast({text} as double)')})"
    precision, scale = (int(digits) for digits in re.findall("[0-9]+", kind))
    # A cast would round; zeros at the end do not count.
    exact = rf"[+-]?[0-9]*(?:\.[0-9]{{0,{scale}}}0*)?"
    return _when(text, signed, _when(plain, exact, f"try_cast({plain} as decimal({precision}, {scale}))"))


def _separators(values: Values) -> str:
    if values.thousands is None:
        return ""
    return " " + NO_BREAK_SPACES if values.thousands == " " else values.thousands


def _grouping(values: Values) -> str:
    separators = _separators(values)
    return f"[{re.escape(separators)}]" if separators else ""


def _when(text: str, pattern: str, value: str) -> str:
    return f"case when regexp_full_match({text}, {quote_text(pattern)}) then {value} end"
