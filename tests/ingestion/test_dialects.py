"""Files of every dialect end in the same values, added up by hand; a wrong declaration is found, with the way out."""

import datetime as dt
import io
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ingestion.file_checks import LandedTable
from ingestion.files.formats import Csv, Excel, Format, JsonLines
from ingestion.types import TYPES
from tests.ingestion.landed import check_file, check_landed, refusal, rows

COLUMNS = {
    "number": "bigint",
    "name": "text",
    "amount": "double",
    "born": "date",
    "bought": "timestamp",
    "member": "bool",
}
VALUES = [
    (1, 'Jäger, "Ida"', 1234.56, dt.date(1957, 9, 4), dt.datetime(2026, 11, 18, 23, 5), True),
    (13313, "Łódź; 5 €", -0.5, dt.date(2012, 12, 31), dt.datetime(2026, 11, 19, 0, 0, 7), False),
    (-7, None, None, None, None, None),
]
PLAIN = """number,name,amount,born,bought,member
1,"Jäger, ""Ida""\",1234.56,1957-09-04,2026-11-18 23:05:00,true
13313,Łódź; 5 €,-0.5,2012-12-31,2026-11-19T00:00:07,no
-7,,,,,
"""
GERMAN = """number;name;amount;born;bought;member
1;"Jäger, ""Ida""\";1.234,56 €;04.09.1957;18.11.2026 23:05;1
13.313;"Łódź; 5 €";-0,50 €;31.12.2012;19.11.2026 00:00;0
-7;;;;;
"""
MINUTES = [(*row[:4], row[4] and row[4].replace(second=0), *row[5:]) for row in VALUES]
german = Csv(
    delimiter=";",
    decimal=",",
    thousands=".",
    currency="€",
    date_format="%d.%m.%Y",
    timestamp_format="%d.%m.%Y %H:%M",
)
AMERICAN = """Report of 2026-11-19\r
\r
1\tJäger, \\"Ida\\"\t"$1,234.56 "\t9/4/57\t11/18/2026 11:05 PM\tY\r
13313.0\tŁódź; 5 €\t($0.50)\t12/31/12\t11/19/2026 12:00 AM\tN\r
-7.00\tNULL\tNULL\tNULL\tNULL\tNULL\r
"""
american = Csv(
    delimiter="\t",
    escape="\\",
    header=False,
    skip_lines=2,
    thousands=",",
    currency="$",
    negative_parentheses=True,
    date_format="%m/%d/%y",
    timestamp_format="%m/%d/%Y %I:%M %p",
    null_values=("NULL",),
)
# The year of 57 is 2057: two digits are 1969 to 2068.
IN_2057 = [
    (*row[:3], row[3] and row[3].replace(year=2057 if row[3].year == 1957 else row[3].year), *row[4:])
    for row in MINUTES
]
JSON = (
    r'{"number": 1, "name": "J\u00e4ger, \"Ida\"", "amount": 1234.56, "born": "1957-09-04", '
    '"bought": "2026-11-18T23:05:00", "member": true}\n\n'
    '{"member": false, "bought": "2026-11-19 00:00:07", "born": "2012-12-31", "amount": "-0.5", "name": "Łódź; 5 €", '
    '"number": 13313.0}\n'
    '{"number": -7, "name": null, "amount": null, "born": null, "bought": null, "member": null}\n'
)


@pytest.mark.parametrize(
    ("content", "format", "name", "values"),
    [
        (PLAIN.encode(), None, "t.csv", VALUES),
        (PLAIN.encode("utf-8-sig"), Csv(), "t.csv", VALUES),
        (PLAIN.encode("utf-16"), Csv(encoding="utf-16"), "t.csv", VALUES),
        (PLAIN.encode("utf-16-be"), Csv(encoding="utf-16-be"), "t.csv", VALUES),
        (
            PLAIN.replace(",", "|").encode(),
            Csv(delimiter="|"),
            "t.csv",
            [(1, 'Jäger| "Ida"', *VALUES[0][2:]), *VALUES[1:]],
        ),
        (GERMAN.encode(), german, "t.csv", MINUTES),
        (AMERICAN.encode(), american, "t.txt", IN_2057),
        (JSON.encode(), None, "t.jsonl", VALUES),
        (JSON.encode("utf-16"), JsonLines(encoding="utf-16"), "t.jsonl", VALUES),
    ],
    ids=["plain", "mark", "utf-16", "utf-16-be", "pipes", "German", "American", "JSON lines", "JSON lines in utf-16"],
)
def test_every_dialect_ends_in_the_same_values(
    tmp_path: Path, content: bytes, format: Format | None, name: str, values: list[tuple[Any, ...]]
) -> None:
    checked = check_file(tmp_path, content, COLUMNS, format, name)
    assert rows(checked, *COLUMNS) == values
    assert (checked.row_count, checked.new_columns) == (3, {})


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp1252", "„Jäger“ 5 €"), ("latin-1", "Jäger's 5 £"), ("cp1250", "Łódź")]
)
def test_western_encodings_are_read_when_declared(tmp_path: Path, encoding: str, name: str) -> None:
    checked = check_file(tmp_path, f"name\n{name}\n".encode(encoding), {"name": "text"}, Csv(encoding=encoding))
    assert rows(checked) == [(name,)]


class TestAWrongDeclaration:
    """Each is found before a row is written: with file, line, column, value and the way out."""

    @pytest.mark.parametrize(
        ("content", "format", "message"),
        [
            (
                GERMAN.encode(),
                Csv(),
                ": missing column number, name, amount, born, bought, member (the file has: "
                "number;name;amount;born;bought;member). With another delimiter all are there: declare delimiter=';'; "
                "nothing was loaded.",
            ),
            (
                PLAIN.encode("cp1250"),
                Csv(),
                r""", line 2, column name: 'J�ger, "Ida"' is no utf-8 text. If all of the file is cp1252, declare """
                "encoding='cp1252'; if not, have it sent again; nothing was loaded.",
            ),
            (
                PLAIN.encode(),
                Csv(encoding="latin-1"),
                ", line 3, column name: 'Å�Ã³dÅº; 5 â�¬' is no latin-1 text. If all of the file is utf-8, declare "
                "encoding='utf-8'; if not, have it sent again; nothing was loaded.",
            ),
            (
                PLAIN.replace("Łódź", "Köln").encode(),
                Csv(encoding="cp1252"),
                " is declared as cp1252, but all its letters beyond ASCII are UTF-8. Declare encoding='utf-8'; "
                "nothing was loaded.",
            ),
            (
                PLAIN.encode("utf-16"),
                Csv(),
                " begins with the byte order mark of utf-16, but is declared as utf-8. Declare encoding='utf-16'; "
                "nothing was loaded.",
            ),
            (
                PLAIN.encode("utf-16-le"),
                Csv(encoding="utf-16"),
                " has no byte order mark, so that utf-16 may be meant in two ways. Declare encoding='utf-16-le' or "
                "'utf-16-be'; nothing was loaded.",
            ),
            (
                PLAIN.partition("\n")[2].encode(),
                Csv(),
                ": missing column number, name, amount, born, bought, member (the file has: 1, "
                'Jäger, "Ida", 1234.56, 1957-09-04, 2026-11-18 23:05:00, true). If the first line is a row already, '
                "declare header=False; if not, have it sent again; nothing was loaded.",
            ),
            (
                PLAIN.encode(),
                Csv(header=False),
                ", line 1 is a header. Declare header=True; nothing was loaded.",
            ),
            (
                ("Report\n" + PLAIN).encode(),
                Csv(),
                ": missing column number, name, amount, born, bought, member (the file has: Report). "
                "Have it sent again; nothing was loaded.",
            ),
        ],
        ids=[
            "delimiter",
            "encoding",
            "latin-1 for utf-8",
            "cp1252 for utf-8",
            "utf-8 for utf-16",
            "no byte order",
            "header",
            "no header",
            "lines before the header",
        ],
    )
    def test_of_the_file_as_a_whole(self, tmp_path: Path, content: bytes, format: Csv, message: str) -> None:
        assert refusal(tmp_path, content, COLUMNS, format).startswith(message)

    @pytest.mark.parametrize(
        ("format", "kind", "value", "called", "declare"),
        [
            (Csv(), "double", "1,5", "a number", "decimal=','"),
            (Csv(), "double", "1.234,56", "a number", "decimal=',', thousands='.'"),
            (Csv(), "double", "$84,835.00 ", "a number", "thousands=',', currency='$'"),
            (Csv(), "double", "12.00 EUR", "a number", "currency='EUR'"),
            (Csv(), "double", "(12.00)", "a number", "negative_parentheses=True"),
            (Csv(decimal=",", thousands="."), "double", "1.5", "a number", "decimal='.', thousands=None"),
            (Csv(thousands=","), "double", "12,34", "a number", "decimal=',', thousands=None"),
            (Csv(), "bigint", "13.000", "a whole number", "decimal=',', thousands='.'"),
            (Csv(), "bigint", "2.5", "a whole number", "the column as double"),
            (Csv(), "decimal(18, 2)", "1.005", "a number", "the column with more digits"),
            (Csv(), "double", "NULL", "a number", "null_values=('', 'NULL')"),
            (Csv(), "date", "18.11.2026", "a date", "date_format='%d.%m.%Y'"),
            (Csv(date_format="%m/%d/%Y"), "date", "21/08/2013", "a date", "date_format='%d/%m/%Y'"),
            (
                Csv(date_format="%d/%m/%Y"),
                "date",
                "04/09/12",
                "a date",
                "date_format='%d/%m/%y' or date_format='%m/%d/%y'",
            ),
            (Csv(), "date", "2026-11-18 23:05:00", "a date", "the column as timestamp"),
            (Csv(), "timestamp", "18.11.2026 23:05", "a timestamp", "timestamp_format='%d.%m.%Y %H:%M'"),
            (Csv(), "timestamp", "2026-11-18T23:05:00Z", "a timestamp", "the column as timestamp with time zone"),
            (Csv(), "bool", "maybe", "a truth value", None),
        ],
    )
    def test_of_a_value(
        self, tmp_path: Path, format: Csv, kind: str, value: str, called: str, declare: str | None
    ) -> None:
        if not known(kind) or (declare and "with time zone" in declare and not known("timestamp with time zone")):
            pytest.skip("no such type yet")
        way_out = f"If it should be, declare {declare}; if not, have it sent again" if declare else "Have it sent again"
        content = f'First Name;The Value\nIda;\n"J\n";"{value}"\n'
        columns = {"first_name": "text", "the_value": kind}
        assert refusal(tmp_path, content, columns, replace(format, delimiter=";")) == (
            f", line 3, column The Value: {value!r} is not {called}. {way_out}; nothing was loaded."
        )

    @pytest.mark.parametrize("content", ["", "Report", "Report\n", "Report\r", "Report\r\n"])
    def test_of_more_lines_before_the_rows_than_there_are(self, tmp_path: Path, content: str) -> None:
        format = Csv(header=False, skip_lines=2)
        assert refusal(tmp_path, content, {"a": "text"}, format) == (
            " has fewer than the 2 lines that are not read. Have it sent again; nothing was loaded."
        )
        assert check_file(tmp_path, "Report\r\r", {"a": "text"}, format).row_count == 0

    def test_of_lines_that_were_quoted_once_more(self, tmp_path: Path) -> None:
        content = 'a,b\n"1,""x, y"""\n2,z\n'
        columns = {"a": "bigint", "b": "text"}
        assert refusal(tmp_path, content, columns) == (
            ', line 2: 1 fields where the header has 2. The line reads: "1,""x, y""". '
            "If each line was quoted once more, declare wrapped_lines=True; nothing was loaded."
        )
        assert rows(check_file(tmp_path, content, columns, Csv(wrapped_lines=True))) == [(1, "x, y"), (2, "z")]
        assert refusal(tmp_path, 'a,b\n1,"x, y"\n', columns, Csv(wrapped_lines=True)) == (
            ", line 2: it holds a quote, but is not quoted as a whole. Declare wrapped_lines=False, or have it sent "
            "again; nothing was loaded."
        )

    @pytest.mark.parametrize(
        ("declaration", "problem"),
        [
            ({"delimiter": ";;"}, "delimiter=';;' must be one ASCII character"),
            ({"delimiter": '"'}, "delimiter and quote or escape are both"),
            ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
            ({"encoding": "utf-99"}, "encoding='utf-99' is not known"),
            ({"encoding": "base64"}, "encoding='base64' is not known"),
            ({"date_format": "%d.%m.%Q"}, "%Q is not known"),
            ({"null_values": "NULL"}, "null_values must be a tuple"),
        ],
    )
    def test_that_cannot_work_is_refused_when_it_is_declared(self, declaration: dict[str, Any], problem: str) -> None:
        with pytest.raises(ValueError, match=re.escape(problem)):
            Csv(**declaration)


class TestValues:
    """Which texts are a value of a type, and which one."""

    @pytest.mark.parametrize(
        ("kind", "text", "value"),
        [
            ("bigint", "13313.0", 13313),
            ("bigint", "13313.00", 13313),
            ("bigint", "9223372036854775807", 2**63 - 1),
            ("bigint", "-9223372036854775808.0", -(2**63)),
            ("bigint", " +007 ", 7),
            ("bigint", "\u00a07", 7),
            ("double", "0.1", 0.1),
            ("double", ".5", 0.5),
            ("double", "5.", 5.0),
            ("double", "-1e-3", -0.001),
            ("double", "12345678901234567890", 1.2345678901234567e19),
            ("double", "inf", float("inf")),
            ("decimal(18, 2)", "12.50", Decimal("12.50")),
            ("decimal(18, 2)", "12.5000", Decimal("12.50")),
            ("decimal(38, 0)", "9" * 38, Decimal("9" * 38)),
            ("date", "0001-01-01", dt.date(1, 1, 1)),
            ("date", " 2026-11-18 ", dt.date(2026, 11, 18)),
            ("timestamp", "2026-11-18", dt.datetime(2026, 11, 18)),
            ("timestamp", "2026-11-18 23:05", dt.datetime(2026, 11, 18, 23, 5)),
            ("timestamp", "2026-11-18T23:05:01.123456000", dt.datetime(2026, 11, 18, 23, 5, 1, 123456)),
            ("time", "23:05", dt.time(23, 5)),
            ("bool", "T", True),
            ("bool", " No ", False),
            ("text", " x ", " x "),
            ("text", "", None),
        ],
    )
    def test_a_text_is_a_value(self, tmp_path: Path, kind: str, text: str, value: object) -> None:
        if not known(kind):
            pytest.skip("no such type yet")
        assert rows(check_file(tmp_path, f'v,w\n"{text}",\n', {"v": kind}), "v") == [(value,)]

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("bigint", "13313.000"),
            ("bigint", "13313.5"),
            ("bigint", "1e3"),
            ("bigint", "0x1F"),
            ("bigint", "1_000"),
            ("bigint", "9223372036854775808"),
            ("bigint", "NaN"),
            ("bigint", "\u0663"),
            ("double", "1_000"),
            ("double", "1e999"),
            ("double", "1,5"),
            ("double", "0x1F"),
            ("double", "."),
            ("double", "1 5"),
            ("decimal(18, 2)", "12.505"),
            ("decimal(18, 2)", "1e3"),
            ("decimal(4, 2)", "123.45"),
            ("date", "2026-11-31"),
            ("date", "2026-1-5"),
            ("date", "26-11-18"),
            ("date", "infinity"),
            ("date", "20261118"),
            ("timestamp", "infinity"),
            ("timestamp", "2026-11-18 23:05:01.1234567"),
            ("timestamp", "2026-11-18 23:05:00+01:00"),
            ("timestamp", "2026-11-18 25:00:00"),
            ("bool", "2"),
            ("bool", "on"),
        ],
    )
    def test_a_text_is_no_value(self, tmp_path: Path, kind: str, text: str) -> None:
        if not known(kind):
            pytest.skip("no such type yet")
        assert f"line 2, column v: {text!r} is not " in refusal(tmp_path, f'v,w\n"{text}",\n', {"v": kind})


def known(kind: str) -> bool:
    try:
        return bool(TYPES[kind])
    except KeyError:
        return False


class TestJsonLines:
    COLUMNS = {"a": "bigint", "b": "text"}  # noqa: RUF012

    def test_values_arrive_as_they_are_spelled(self, tmp_path: Path) -> None:
        content = (
            '{"a": 9007199254740993, "b": 12.50, "c": {"x": [1.10, "\u00e4", null], "y": {}}, "d": true}\n'
            '{"b": "\\ud83d\\ude00 [1]", "a": "7", "E E": 1e400}\n'
        )
        checked = check_file(tmp_path, content, self.COLUMNS, name="t.jsonl")
        assert checked.new_columns == {"c": "text", "d": "text", "e_e": "text"}
        assert rows(checked, "a", "b", "c", "d", "e_e") == [
            (9007199254740993, "12.50", '{"x": [1.10, "ä", null], "y": {}}', "true", None),
            (7, "😀 [1]", None, None, "1e400"),
        ]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("{", "it is no JSON object (Expecting property name enclosed in double quotes): {. Have it sent again"),
            ('{"a": 1, "b": NaN}', "it is no JSON object (NaN is no JSON value): "),
            ('{"a": 1, "b": 2,}', "it is no JSON object ("),
            ('{"a": 1, "b": "x\ty"}', "it is no JSON object (Invalid control character at): "),
            ("[1, 2]", "it is no JSON object: [1, 2]. Have it sent again"),
            ("7", "it is no JSON object: 7. Have it sent again"),
            ("[" * 100_000, "it is no JSON object (nested too deeply): [[["),
            ('{"a": 1, "a": 2, "b": 3}', "field a appears more than once. Have it sent again"),
            ('{"a": 1, "A": 2, "b": 3}', "field A appears more than once. Have it sent again"),
            ('{"a": 1, "b": "", " ": 3}', "a field has no name. Have it sent again"),
            ('{"a": 1, "b": "\\u0000"}', "it holds a NUL character. Have it sent again"),
            ('{"a": 1, "b": "\\ud800"}', "it holds half of a surrogate pair, which is no character."),
            (
                '{"a": 1}',
                "missing field b (the line has: a). Have it sent again, or, if lines leave out fields without ",
            ),
            (
                '{"a": 2.5, "b": ""}',
                "column a: '2.5' is not a whole number. If it should be, declare the column as double",
            ),
        ],
    )
    def test_a_line_that_is_wrong_is_named(self, tmp_path: Path, line: str, problem: str) -> None:
        message = refusal(tmp_path, f'{{"a": 1, "b": ""}}\n\n{line}\n', self.COLUMNS, name="t.jsonl")
        assert message.removeprefix(", line 3").lstrip(":, ").startswith(problem)

    def test_lines_may_leave_out_fields_without_a_value_when_declared(self, tmp_path: Path) -> None:
        checked = check_file(tmp_path, '{"a": 1}\n{}\n{"b": "x"}', self.COLUMNS, JsonLines(omits_nulls=True))
        assert rows(checked) == [(1, None), (None, None), (None, "x")]

    def test_a_file_without_lines_has_no_rows(self, tmp_path: Path) -> None:
        assert check_file(tmp_path, "", self.COLUMNS, name="t.jsonl").row_count == 0


def workbook(*sheet_rows: Sequence[Any], title: str = "Customers") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title
    for row in sheet_rows:
        sheet.append(list(row))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


class TestExcel:
    def read(self, folder: Path, *sheet_rows: Sequence[Any], **declared: Any) -> list[tuple[Any, ...]]:
        checked = check_file(folder, workbook(*sheet_rows), COLUMNS, Excel("Customers", **declared), "t.xlsx")
        return rows(checked, *COLUMNS)

    def test_cells_arrive_with_their_own_types(self, tmp_path: Path) -> None:
        cells: list[list[Any]] = [list(VALUES[0]), [13313.0, *VALUES[1][1:]], [], [-7, None, None, None, None, None]]
        assert self.read(tmp_path, list(COLUMNS), *cells) == VALUES

    def test_cells_of_text_follow_the_declaration(self, tmp_path: Path) -> None:
        first = ["1", VALUES[0][1], "1.234,56 €", "04.09.1957", "18.11.2026 23:05", "1"]
        second = [13313, VALUES[1][1], -0.5, dt.date(2012, 12, 31), dt.datetime(2026, 11, 19, 0, 0, 7), "no"]
        read = self.read(
            tmp_path,
            ["Customers of 2026"],
            list(COLUMNS),
            first,
            second,
            [-7],
            skip_lines=1,
            decimal=",",
            thousands=".",
            currency="€",
            date_format="%d.%m.%Y",
            timestamp_format="%d.%m.%Y %H:%M",
        )
        assert read == VALUES

    def test_dates_whose_day_and_month_excel_swapped_need_a_declaration(self, tmp_path: Path) -> None:
        columns = {"born": "date"}
        # 9/4/57 as text in an American file: Excel elsewhere made it the 9th of April.
        content = workbook(["born"], [dt.date(1957, 4, 9)], ["12/31/12"])
        message = refusal(tmp_path, content, columns, Excel("Customers", date_format="%m/%d/%y"), "t.xlsx")
        assert message == (
            ", sheet 'Customers', column born: 1 cells are dates of days up to 12, 1 are texts of days after, as when "
            "Excel took months for days. Declare swapped_dates=True if so, swapped_dates=False if not; "
            "nothing was loaded."
        )
        for swapped, born in ((True, dt.date(1957, 9, 4)), (False, dt.date(1957, 4, 9))):
            format = Excel("Customers", date_format="%m/%d/%y", swapped_dates=swapped)
            assert rows(check_file(tmp_path, content, columns, format, "t.xlsx")) == [(born,), (dt.date(2012, 12, 31),)]
        right = workbook(["born"], [dt.date(1957, 4, 13)])
        message = refusal(tmp_path, right, columns, Excel("Customers", swapped_dates=True), "t.xlsx")
        assert message.startswith(", sheet 'Customers', column born: 1957-04-13 cannot have day and month swapped.")

    def test_a_cell_with_an_error_is_named(self, tmp_path: Path) -> None:
        content = workbook(["a", "b"], [1, "x"], [2, "#N/A"])
        message = refusal(tmp_path, content, {"a": "bigint"}, Excel("Customers"), "t.xlsx")
        assert message == (
            ", sheet 'Customers', row 3: cell B3 holds the error #N/A. Have it sent again; nothing was loaded."
        )

    def test_a_wrong_value_is_named_with_its_row(self, tmp_path: Path) -> None:
        content = workbook(["a"], [1], [None], [2.5])
        message = refusal(tmp_path, content, {"a": "bigint"}, Excel("Customers"), "t.xlsx")
        assert message.startswith(", sheet 'Customers', row 4, column a: '2.5' is not a whole number.")

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (
                workbook(["a"], [1], title="Products"),
                " has no sheet 'Customers'; it has 'Products'. Declare one of them,",
            ),
            (workbook(), ", sheet 'Customers' has no header: row 1 is empty."),
            (workbook([None, None], ["a"]), ", sheet 'Customers' has no header: row 1 is empty."),
            (workbook(["a", None], [1, "x"]), ", sheet 'Customers', row 2: 'x' stands in a column without a name."),
            (b"a\n1\n", " is not a complete Excel workbook (invalid Zip archive: "),
            (workbook(["a"])[:-30], " is not a complete Excel workbook ("),
            (b"", " is not a complete Excel workbook ("),
        ],
        ids=["another sheet", "empty", "empty header", "value without a name", "a CSV file", "cut", "0 bytes"],
    )
    def test_a_workbook_that_is_wrong_is_named(self, tmp_path: Path, content: bytes, problem: str) -> None:
        assert refusal(tmp_path, content, {"a": "bigint"}, Excel("Customers"), "t.xlsx").startswith(problem)


REAL = Path(os.environ.get("NEXT_AISLE_REAL_DATA", "/nowhere")) / "marketing_campaign"


@pytest.mark.skipif(not REAL.is_dir(), reason="NEXT_AISLE_REAL_DATA names no folder with marketing_campaign")
class TestTheSixDialectsOfOneRealFile:
    SHEET = "marketing_data (3)"
    FORMATS: dict[str, Format] = {  # noqa: RUF012
        "marketing_campaign.csv": Csv(delimiter="\t", date_format="%d-%m-%Y"),
        "marketing_campaign_comma_dmy_27cols.csv": Csv(date_format="%d/%m/%Y"),
        "marketing_campaign_semicolon_bom_iso.csv": Csv(delimiter=";"),
        "marketing_data_country.csv": Csv(thousands=",", currency="$", date_format="%m/%d/%y"),
        "marketing_data_country_excel_mangled.csv": Csv(
            wrapped_lines=True, thousands=",", currency="$", date_format="%m/%d/%y"
        ),
        "Marketing_Analytics_data.xlsx": Excel(
            SHEET, thousands=",", currency="$", date_format="%m/%d/%y", swapped_dates=True
        ),
    }
    COLUMNS = {  # noqa: RUF012
        "ID": "bigint",
        "Education": "text",
        "Marital_Status": "text",
        "Income": "double",
        "Dt_Customer": "date",
        **dict.fromkeys(
            [
                *("Year_Birth", "Kidhome", "Teenhome", "Recency", "MntWines", "MntFruits", "MntMeatProducts"),
                *("MntFishProducts", "MntSweetProducts", "MntGoldProds", "NumDealsPurchases", "NumWebPurchases"),
                *("NumCatalogPurchases", "NumStorePurchases", "NumWebVisitsMonth", "AcceptedCmp1", "AcceptedCmp2"),
                *("AcceptedCmp3", "AcceptedCmp4", "AcceptedCmp5", "Complain", "Response"),
            ],
            "bigint",
        ),
    }

    def read(self, folder: Path, name: str) -> list[tuple[Any, ...]]:
        table = LandedTable(name="t", columns=self.COLUMNS, key="ID", files=name, format=self.FORMATS[name])
        (folder / name).symlink_to(REAL / name)
        return sorted(rows(check_landed(table, folder / name), *table.columns), key=lambda row: int(row[0]))

    def test_all_end_in_the_same_rows(self, tmp_path: Path) -> None:
        first, *others = (self.read(tmp_path, name) for name in self.FORMATS)
        assert len(first) == 2240
        assert first[0][:5] == (0, "Graduation", "Married", 70951.0, dt.date(2013, 5, 4))
        assert sum(row[3] is None for row in first) == 24
        for other in others:
            assert other == first
