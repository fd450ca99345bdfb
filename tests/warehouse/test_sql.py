"""Names and texts of any kind reach DuckDB as they are."""

import duckdb
import pytest

from warehouse.sql import quote_list, quote_name, quote_table, quote_text


@pytest.mark.parametrize("text", ["plain", "it's", "''", 'a "quoted" one', "'; drop table t; --", "", "ä\nb"])
def test_what_is_quoted_comes_back_as_it_was(text: str) -> None:
    assert duckdb.sql(f"select {quote_text(text)}").fetchall() == [(text,)]
    assert duckdb.sql(f"select {quote_list([text, 'b'])}").fetchall() == [([text, "b"],)]
    if text:
        assert duckdb.sql(f"select 1 as {quote_name(text)}").columns == [text]


def test_a_table_is_quoted_with_its_schema() -> None:
    assert quote_table("core", 'odd "one"') == '"core"."odd ""one"""'
