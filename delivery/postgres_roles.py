"""What each role of the policy may see in PostgreSQL: its views, grants and row security, as statements."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlglot import exp, parse_one

from delivery.policy import HASH_FUNCTION, HASH_LENGTH, Action, Bucket, Policy, Table, view
from warehouse.sql import quote_name, quote_table, quote_text

# The text of a table, and that of each of its columns.
Description = tuple[str, Mapping[str, str]]

# As policy.duckdb_hash makes it, but the key comes from a table that only the views' owner may read: everybody can
# read the text of a view or of a function, and who may call a function could try all customers' numbers.
_HASH = f"""
left(encode(sha256(convert_to((select before_hash from next_aisle.hash_key) || encode(sha256(convert_to(
    (select before_value from next_aisle.hash_key) || :value, 'UTF8')), 'hex'), 'UTF8')), 'hex'), {HASH_LENGTH})
"""


def role_name(role: str) -> str:
    """Name PostgreSQL's group role of a role of the policy.

    Args:
        role: the policy's name of it.
    """
    return f"next_aisle_{role}"


def schema_of_role(role: str, schema: str) -> str:
    """Name the schema with a role's views of the tables of a published schema.

    Args:
        role: the policy's name of it.
        schema: the published schema.
    """
    return f"{role}_{schema}"


def grants(
    policy: Policy,
    tables: Sequence[Table],
    new: Callable[[str], str],
    descriptions: Mapping[tuple[str, str], Description],
) -> Iterator[str]:
    """Write the statements that make the roles' views and say who may read what.

    Every role reads its own views. A table of which it sees all rows and columns as they are, it may read itself too,
    with its keys. Row security is on for all tables, so that a grant made by hand shows no row.

    Args:
        policy: who may see what.
        tables: the published tables with their columns' tags.
        new: gives a schema's name while it is built.
        descriptions: of the tables and columns; they become comments of the views.
    """

    def source(schema: str, name: str) -> exp.Table:
        return exp.table_(name, db=new(schema), quoted=True)

    coarser = {name for name, bucket in policy.columns.items() if bucket != Bucket()}
    schemas = list(dict.fromkeys(table.schema for table in tables))
    for table in tables:
        yield f"alter table {quote_table(new(table.schema), table.name)} enable row level security"
    for role in policy.roles:
        reader = quote_name(role_name(role))
        yield f"grant usage on schema next_aisle to {reader}"
        yield f"grant select on next_aisle.publication to {reader}"
        for schema in schemas:
            yield f"create schema {quote_name(new(schema_of_role(role, schema)))}"
            yield f"grant usage on schema {quote_name(new(schema_of_role(role, schema)))} to {reader}"
        for table in tables:
            seen = view(policy, role, table, tables, source)
            if seen is None:
                continue
            name = quote_table(new(schema_of_role(role, table.schema)), table.name)
            select = seen.select.transform(_with_inline_hash).sql(dialect="postgres")
            # What a reader asks must not be computed on rows that the role does not see.
            yield f"create view {name} with (security_barrier) as {select}"
            yield f"grant select on {name} to {reader}"
            text, columns = descriptions[table.schema, table.name]
            yield f"comment on view {name} is {quote_text(text)}"
            for column in seen.columns:
                said = _text(columns[column], seen.actions[column], f"{table.full_name}.{column}" in coarser)
                yield f"comment on column {name}.{quote_name(column)} is {quote_text(said)}"
            if not seen.masks and not seen.select.args.get("where"):
                itself = quote_table(new(table.schema), table.name)
                yield f"grant usage on schema {quote_name(new(table.schema))} to {reader}"
                yield f"grant select on {itself} to {reader}"
                yield f"create policy {reader} on {itself} for select to {reader} using (true)"


def _with_inline_hash(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Anonymous) and node.name == HASH_FUNCTION:
        return exp.replace_placeholders(parse_one(_HASH, dialect="postgres"), value=node.expressions[0].copy())
    return node


def _text(description: str, action: Action, has_bucket: bool) -> str:
    """The description of a column, with what the role sees of it."""
    if action is Action.HASH:
        return f"{description} Here: a keyed hash of it."
    if action is Action.BUCKET and has_bucket:
        return f"{description} Here: made coarser."
    return description if action is Action.SHOW else f"{description} Here: always empty."
