"""The page that says what each role sees of each column: docs/doors-matrix.md, written from the policy."""

from collections.abc import Iterable
from pathlib import Path

from delivery.policy import Action, Policy, Table, actions, view
from warehouse.paths import PROJECT_DIR

PAGE = PROJECT_DIR / "docs" / "doors-matrix.md"

WORDS = {
    Action.SHOW: "as it is",
    Action.BUCKET: "coarser",
    Action.HASH: "stand-in",
    Action.NULL: "empty",
    Action.DROP: "not there",
}
IN_SUMS = "in sums"

_HEAD = """\
# Who sees which column

Written by `make matrix` from [delivery/policy.yml](../delivery/policy.yml) and the columns' tags; a test fails when
it is out of date. *Coarser* is a range or a year; *stand-in* a keyed hash that is the same in every table and at every
door; *empty* a column without values. *In sums* means that the role reads no row of the table, and gets its metrics
over enough customers only.

The tests hold each role to each column, at every door and for each thing that can be asked there. What is expected
stands in the tests by hand, apart from the policy's own code.

| door | what is tried with each column and role | test |
|---|---|---|
| REST, rows | select, filter, order, distinct, choose, search, CSV, Parquet, Arrow, XLSX, ETag of another role | \
[test_matrix.py](../tests/delivery/doors/test_matrix.py) |
| REST, metrics | group, filter, order, list of values, groups of few customers, texts of errors | \
[test_matrix.py](../tests/delivery/doors/test_matrix.py) |
| agents | group, filter, order, list of values, rows of each tool, search | \
[test_matrix_of_agents.py](../tests/delivery/doors/test_matrix_of_agents.py) |
| pages | every page, search, filter, what the page Data says of each column | \
[test_matrix_of_pages.py](../tests/delivery/doors/test_matrix_of_pages.py) |
| PostgreSQL | select, rights on the table behind the view, rows of other shops | \
[test_postgres_roles.py](../tests/delivery/test_postgres_roles.py) |
"""


def render(policy: Policy, tables: Iterable[Table]) -> str:
    """Write the page.

    Args:
        policy: who may see what.
        tables: the published tables.

    Returns:
        Markdown, the same for the same policy and tables.
    """
    tables = sorted(tables, key=lambda table: table.full_name)
    roles = sorted(policy.roles)
    parts = [_HEAD]
    for table in tables:
        rows = [
            f"\n## {table.full_name}\n",
            f"| column | tags | {' | '.join(roles)} |",
            "|---" * (len(roles) + 2) + "|",
        ]
        seen = {role: _seen(policy, role, table, tables) for role in roles}
        for column in table.columns:
            tags = ", ".join(sorted(column.tags or ()))
            rows.append(f"| {column.name} | {tags} | {' | '.join(seen[role][column.name] for role in roles)} |")
        parts.append("\n".join(rows) + "\n")
    return "".join(parts)


def _seen(policy: Policy, role_name: str, table: Table, tables: list[Table]) -> dict[str, str]:
    shown = view(policy, role_name, table, tables)
    if shown:
        return {name: WORDS[action] for name, action in shown.actions.items()}
    role = policy.role(role_name)
    is_asked = view(policy, role_name, table, tables, for_metrics=True) is not None
    return {
        name: IN_SUMS if is_asked and action is not Action.DROP else WORDS[Action.DROP]
        for name, action in actions(policy, role, table).items()
    }


def write(policy: Policy, tables: Iterable[Table], page: Path = PAGE, *, check: bool = False) -> bool:
    """Bring the page up to date.

    Args:
        policy: who may see what.
        tables: the published tables.
        page: where it is.
        check: write nothing.

    Returns:
        Whether it was up to date already.
    """
    text = render(policy, tables)
    if page.exists() and page.read_text(encoding="utf-8") == text:
        return True
    if not check:
        page.write_text(text, encoding="utf-8")
    return False
