"""Names and texts, quoted for SQL."""


def quote_name(name: str) -> str:
    """Quote the name of a column, table or schema.

    Args:
        name: the name as it is.

    Returns:
        The name to write into a statement: `"` around it, each `"` in it doubled.
    """
    return '"' + name.replace('"', '""') + '"'


def quote_table(schema: str, table: str) -> str:
    """Quote a table's name with its schema: `"core"."dim_customers"`.

    Args:
        schema: the schema's name as it is.
        table: the table's name as it is.
    """
    return f"{quote_name(schema)}.{quote_name(table)}"


def quote_text(value: str) -> str:
    """Quote a text, such as the name of a file.

    Args:
        value: the text as it is.

    Returns:
        The literal to write into a statement: `'` around it, each `'` in it doubled.
    """
    return "'" + value.replace("'", "''") + "'"


def quote_list(values: list[str]) -> str:
    """Write texts as a list: `['a', 'b']`.

    Args:
        values: the texts as they are.
    """
    return f"[{', '.join(quote_text(value) for value in values)}]"
