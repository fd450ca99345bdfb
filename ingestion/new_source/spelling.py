"""Find the types of columns of text, and how numbers, dates and missing values are spelled.

The SQL that finds them is the one that a load converts values with, so that what fits here fits there.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from ingestion.files.dates import as_regex
from ingestion.files.formats import Excel, Values
from ingestion.files.suggestions import SPELLINGS_OF_DATES, SPELLINGS_OF_NUMBERS, SPELLINGS_OF_TIMES, WORDS_FOR_NULL
from ingestion.files.values import ISO_DATE, converted, present
from warehouse.sql import quote_list, quote_name, quote_text

NUMBERS = ("bigint", "decimal(18,4)", "double")
OTHERS = ("bool", "json", "timestamp with time zone", "time")
SIGNS = ("(", ".", ",", "'", " ")
CURRENCY = r"(€|\$|£|¥|\bEUR\b|\bUSD\b|\bGBP\b|\bCHF\b|\bSEK\b|\bPLN\b|\bkr\b|zł)"
# Values of a column that all spellings are tried on, before those that fit are tried on all values.
SAMPLE = 2000


@dataclass
class Spelled:
    """The types of a table's columns, and how its values are spelled.

    Attributes:
        values: how they are spelled.
        types: column, as stored, to type.
        evidence: what was found and why, a sentence each.
        undecided: of the arguments of `values`, those that a person has to decide, with the question.
    """

    values: Values
    types: dict[str, str]
    evidence: list[str] = field(default_factory=list)
    undecided: dict[str, str] = field(default_factory=dict)

    def value(self, column: str) -> str:
        """SQL for the value of a column, from its text."""
        return converted(present(quote_name(column), self.values), self.types[column], self.values)


@dataclass(frozen=True)
class _Fit:
    """A type and a spelling that all values of a column have."""

    kind: str
    values: Values


def spell(
    connection: duckdb.DuckDBPyConnection, texts: str, columns: Sequence[str], values: Values, right_day: str | None
) -> Spelled:
    """Find the types and the spelling of all values of a table.

    Args:
        connection: where `texts` can be read.
        texts: SQL for a table of texts.
        columns: its columns, as stored.
        values: the format of the table's files, with the defaults of how values are spelled.
        right_day: SQL for the day that a row is probably of, such as that in its file's name; it tells apart orders of
            day and month.
    """
    looks = _looks(connection, texts, columns, values)
    signs = sorted({sign for look in looks.values() for sign in look.currencies})
    basis = replace(values, currency=signs[0] if len(signs) == 1 else tuple(signs) or None)
    fits = _fits(connection, texts, looks, basis)
    used = sorted({word for column, look in looks.items() if fits[column] for word in look.null_words})
    spelled = Spelled(replace(values, null_values=(*values.null_values, *used)), {})
    if used:
        spelled.evidence.append(f"null_values {', '.join(map(repr, used))}: so the files say that there is no value")
    _choose_numbers(looks, fits, spelled)
    for kind in ("date", "timestamp"):
        _choose_dates(connection, texts, kind, looks, fits, spelled, right_day)
    for column in columns:
        spelled.types.setdefault(column, next((fit.kind for fit in fits[column] if fit.kind in OTHERS), "text"))
    return spelled


@dataclass
class _Look:
    """What is in a column of texts.

    Attributes:
        distinct: how many values there are.
        sample: some of them.
        signs: those of `( . , '` and blank that stand in any of them.
        null_words: words in it that say that there is no value.
        currencies: signs of currencies that stand with numbers in it.
        is_digits: whether all values are digits only.
        has_codes: whether a value begins with a zero and another digit.
        is_json: whether all values are JSON lists or objects.
    """

    distinct: int
    sample: list[str]
    signs: set[str]
    null_words: tuple[str, ...]
    currencies: set[str]
    is_digits: bool
    has_codes: bool
    is_json: bool


def _looks(
    connection: duckdb.DuckDBPyConnection, texts: str, columns: Iterable[str], values: Values
) -> dict[str, _Look]:
    found = {}
    total = connection.execute(f"select count(*) from {texts}").fetchall()[0][0]
    one_of = max(1, total // SAMPLE)
    number = r"[-+0-9.,' ()\x{a0}]"
    for column in columns:
        name = quote_name(column)
        words = f"lower(trim({name})) in {quote_list(sorted(WORDS_FOR_NULL))} or trim({name}) = ''"
        in_brackets = f"regexp_full_match({name}, '(?s)[\\[{{].*[\\]}}]')"
        priced = f"regexp_full_match({name}, {quote_text(f'{number}*{CURRENCY}{number}*')})"
        null_words, distinct, first, last, sample, digits, codes, json, currencies, *has_sign = connection.execute(
            f"""
            select
                list(distinct {name}) filter (where {words}),
                approx_count_distinct({name}),
                min({name}) filter (where not ({words})),
                max({name}) filter (where not ({words})),
                list(distinct {name}) filter (where not ({words}) and rowid % {one_of} = 0),
                bool_and(regexp_full_match({name}, '[0-9]+')) filter (where not ({words})),
                bool_or(regexp_full_match({name}, '\\s*[-+]?0[0-9]+\\s*')),
                bool_and({in_brackets}),
                list(distinct regexp_extract({name}, {quote_text(CURRENCY)})) filter (where {priced}),
                {", ".join(f"bool_or(contains({name}, {quote_text(sign)}))" for sign in SIGNS)}
            from (select {present(name, values)} as {name}, rowid from {texts})
            """
        ).fetchall()[0]
        found[column] = _Look(
            distinct,
            sorted({first, last, *(sample or [])} - {None})[:SAMPLE],
            {sign for sign, has in zip(SIGNS, has_sign, strict=True) if has},
            tuple(word for word in null_words or [] if word not in values.null_values),
            set(currencies or []),
            bool(digits),
            bool(codes),
            bool(json),
        )
    return found


def _fits(
    connection: duckdb.DuckDBPyConnection, texts: str, looks: Mapping[str, _Look], values: Values
) -> dict[str, list[_Fit]]:
    """The types and spellings that all values of a column have, the narrowest type first; none: it is text."""
    found: dict[str, list[_Fit]] = {}
    for column, look in looks.items():
        of_column = replace(values, null_values=(*values.null_values, *look.null_words))
        text = present(quote_name(column), of_column)
        fits = list(_candidates(look, of_column)) if look.sample else []
        # On some values first: few of the candidates are left for all of them.
        for values_of in (f"(select unnest($sample) as {quote_name(column)})", texts):
            wrong = [f"count(*) filter (where {converted('text', fit.kind, fit.values)} is null)" for fit in fits]
            query = f"select {', '.join(wrong)} from (select {text} as text from {values_of}) where text is not null"
            parameters = {"sample": look.sample} if values_of != texts else None
            counts = connection.execute(query, parameters).fetchall()[0] if fits else []
            fits = [fit for fit, count in zip(fits, counts, strict=True) if not count]
        found[column] = _alike(fits, look)
    return found


def _candidates(look: _Look, values: Values) -> Iterator[_Fit]:
    """What the values may be; signs that stand in none of them make no difference and are left out."""
    # 20261119 is a day where all are, and 00123 is a code.
    is_day = look.is_digits and all(re.fullmatch(r"(19[7-9]|20)\d{5,6}", text) for text in look.sample)
    if any(re.search(r"\d", text) for text in look.sample) and not look.has_codes:
        for kind in NUMBERS[:1] if look.is_digits else NUMBERS:
            for decimal, thousands in SPELLINGS_OF_NUMBERS:
                if thousands is None or thousands in look.signs:
                    spelled = replace(
                        values, decimal=decimal, thousands=thousands, negative_parentheses="(" in look.signs
                    )
                    yield _Fit(kind, spelled)
    if look.distinct > 1:
        yield _Fit("bool", values)
    if look.is_json:
        yield _Fit("json", values)
    if look.is_digits and not is_day:
        return
    # Excel's own dates arrive as ISO, whatever its cells of text look like.
    cells = [text.strip() for text in look.sample]
    if isinstance(values, Excel):
        cells = [text for text in cells if not re.match(ISO_DATE, text)]
    for day in SPELLINGS_OF_DATES:
        for time in SPELLINGS_OF_TIMES:
            pattern = None if day + time == "%Y-%m-%d" else day + time
            if pattern is None or (cells and all(re.fullmatch(as_regex(pattern), text) for text in cells)):
                if not time:
                    yield _Fit("date", replace(values, date_format=pattern))
                if time or not pattern:
                    yield _Fit("timestamp", replace(values, timestamp_format=pattern))
    yield _Fit("timestamp with time zone", values)
    yield _Fit("time", values)


def _alike(fits: Sequence[_Fit], look: _Look) -> list[_Fit]:
    """Of all types that fit: numbers, or else the narrowest type, with all of its spellings."""
    days = [fit for fit in fits if fit.kind == "date"]
    if look.is_digits and days:
        return days
    kinds = NUMBERS if fits and fits[0].kind in NUMBERS else [fit.kind for fit in fits[:1]]
    return [fit for fit in fits if fit.kind in kinds]


def _choose_numbers(looks: Mapping[str, _Look], fits: Mapping[str, Sequence[_Fit]], spelled: Spelled) -> None:
    """One spelling of numbers for the whole table: the one that most columns fit, the plainest of equal ones."""
    of_columns = {column: found for column, found in fits.items() if found and found[0].kind in NUMBERS}
    if not of_columns:
        return

    def fitting(decimal: str, thousands: str | None) -> dict[str, str]:
        """The columns that are spelled so, with their narrowest type."""
        found = {}
        for column, of_column in of_columns.items():
            known = (thousands if thousands in looks[column].signs else None, decimal)
            kinds = [fit.kind for fit in of_column if (fit.values.thousands, fit.values.decimal) == known]
            if kinds:
                found[column] = kinds[0]
        return found

    most = max(len(fitting(*spelling)) for spelling in SPELLINGS_OF_NUMBERS)
    best = [spelling for spelling in SPELLINGS_OF_NUMBERS if len(fitting(*spelling)) == most]
    decimal, thousands = best[0]
    chosen = fitting(decimal, thousands)
    spelled.types |= chosen
    priced = [column for column in chosen if looks[column].currencies]
    spelled.values = replace(
        spelled.values,
        decimal=decimal,
        thousands=thousands,
        negative_parentheses=any("(" in looks[column].signs for column in chosen),
        currency=of_columns[priced[0]][0].values.currency if priced else None,
    )
    examples = {
        column: next((text for text in looks[column].sample if re.search(r"\d[.,' ]\d", text)), None)
        for column in chosen
    }
    examples = {column: example for column, example in examples.items() if example}
    if decimal != "." or thousands:
        told = f"decimal {decimal!r}" + (f", thousands {thousands!r}" if thousands else "")
        shown = ", ".join(f"{column} ({example!r})" for column, example in examples.items())
        spelled.evidence.append(f"{told}: as all numbers are spelled in {shown or ', '.join(chosen)}")
    if priced:
        spelled.evidence.append(f"currency {spelled.values.currency!r}: stands with the numbers of {', '.join(priced)}")
    if examples and any(other != decimal for other, _ in best):
        column, example = next(iter(examples.items()))
        spelled.undecided["decimal"] = (
            f"the decimal sign, '.' or ',': all numbers can be read both ways, such as {example!r} in {column}"
        )


def _choose_dates(
    connection: duckdb.DuckDBPyConnection,
    texts: str,
    kind: str,
    looks: Mapping[str, _Look],
    fits: Mapping[str, Sequence[_Fit]],
    spelled: Spelled,
    right_day: str | None,
) -> None:
    """One spelling of dates (or timestamps) for the whole table; where day and month may be swapped, a mark."""
    argument = f"{kind}_format"
    of_columns = {column: found for column, found in fits.items() if found and found[0].kind == kind}
    if not of_columns:
        return

    def pattern(fit: _Fit) -> str | None:
        return fit.values.date_format if kind == "date" else fit.values.timestamp_format

    counts: dict[str | None, list[str]] = {}
    for column, found in of_columns.items():
        for fit in found:
            counts.setdefault(pattern(fit), []).append(column)
    # Among Excel's own dates, any pattern fits.
    if None in counts and len(counts[None]) == max(map(len, counts.values())):
        best: list[str | None] = [None]
    else:
        best = [one for one, columns in counts.items() if len(columns) == max(map(len, counts.values()))]
    if len(best) > 1 and right_day:
        right = {}
        for one in best:
            day = converted(quote_name(counts[one][0]), kind, _with(spelled.values, argument, one))
            query = f"select count(*) filter (where cast({day} as date) = {right_day}) / count(*) from {texts}"
            right[one] = connection.execute(query).fetchall()[0][0]
        if sum(share > 0.5 for share in right.values()) == 1:
            best = [max(best, key=lambda one: right[one])]
            spelled.evidence.append(f"{argument} {best[0]!r}: read so, the days are those in the files' names")
    chosen = best[0]
    spelled.values = _with(spelled.values, argument, chosen)
    for column in counts[chosen]:
        spelled.types[column] = kind
    others = [column for column in of_columns if column not in counts[chosen]]
    if others:
        spelled.evidence.append(
            f"{', '.join(others)}: the dates are spelled otherwise than in {counts[chosen][0]}; text"
        )
    if len(best) > 1:
        example = looks[counts[chosen][0]].sample[0]
        spelled.undecided[argument] = (
            f"the order of day and month, {' or '.join(map(repr, best))}: all dates fit both, such as {example!r}"
        )
    elif chosen and not any(argument in sentence for sentence in spelled.evidence):
        other = chosen.replace("%d", "%\0").replace("%m", "%d").replace("%\0", "%m")
        proof = _proof(connection, texts, counts[chosen], kind, _with(spelled.values, argument, other))
        spelled.evidence.append(
            f"{argument} {chosen!r}: all values of {', '.join(counts[chosen])} are spelled so"
            + (f"; {proof!r} cannot be {other}" if proof else "")
        )


def _with(values: Values, argument: str, pattern: str | None) -> Values:
    if argument == "date_format":
        return replace(values, date_format=pattern)
    return replace(values, timestamp_format=pattern)


def _proof(
    connection: duckdb.DuckDBPyConnection, texts: str, columns: Sequence[str], kind: str, other: Values
) -> str | None:
    """A date that shows which number is the month."""
    if isinstance(other, Excel):
        return None
    for column in columns:
        name = present(quote_name(column), other)
        row = connection.execute(
            f"select min({name}) from {texts} where {name} is not null and {converted(name, kind, other)} is null"
        ).fetchone()
        if row and row[0]:
            return str(row[0])
    return None
