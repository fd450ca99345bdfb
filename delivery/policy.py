"""Who may see what of the published tables: policy.yml, and the masked SELECT of each table that follows from it.

Every door makes its views from `view` below, so that they all show the same. It does not touch any data: it takes the
tables as dbt's metadata describes them, and gives expressions of sqlglot, which writes them for DuckDB or PostgreSQL.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlglot import exp

from delivery.personal import PERSONAL, SENSITIVE
from warehouse.dbt_project import Manifest, published_models
from warehouse.paths import Paths

FILE = Path(__file__).resolve().parent / "policy.yml"

# Tags of columns. Those with a `Role` field of their name say who may see the values.
IDENTIFIER, GROUP_SIZE = "identifier", "group_size"
TAGS = (IDENTIFIER, PERSONAL, SENSITIVE, GROUP_SIZE)

# The columns that carry a row rule to every table that has a customer.
CUSTOMER = "customer_key"
CUSTOMERS = ("core", "dim_customers")
CUSTOMER_NUMBERS = ("core", "customer_numbers")
COUNTRY = "country_code"
# source_name, and those such as other_source_name.
SHOP = "source_name"

# SQL function that gives the keyed hash of a text; see `duckdb_hash` and `postgres_hash`.
HASH_FUNCTION = "next_aisle_hash"
# Letters of a keyed hash: 128 bits.
HASH_LENGTH = 32


class PolicyError(Exception):
    """policy.yml is not valid; the message says where and why."""


class UnknownRoleError(Exception):
    """The policy has no such role."""


class Action(StrEnum):
    """What a role sees of a column, the most open first."""

    SHOW = "show"
    BUCKET = "bucket"
    HASH = "hash"
    NULL = "null"
    DROP = "drop"


_STRICTNESS = list(Action)


class Bucket(BaseModel):
    """How a personal column is made coarser; with no field it is not, and a role with `bucket` sees null."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: Annotated[int, Field(gt=1)] | None = None
    unit: Literal["year", "month"] | None = None
    rare: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> "Bucket":
        if sum((self.width is not None, self.unit is not None, self.rare)) > 1:
            raise ValueError("give one of width, unit and rare")
        return self


class Rows(BaseModel):
    """Which customers a role sees: only those of these shops, and only those of these countries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shops: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    countries: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...], Field(min_length=1)] | None = None

    def words(self) -> list[str]:
        """Say the rules for people."""
        said = []
        if self.shops:
            said.append(f"only the shops {', '.join(self.shops)}")
        if self.countries:
            said.append(f"only customers in {', '.join(self.countries)}")
        return said


class Role(BaseModel):
    """What one role may do, as policy.yml explains its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Annotated[str, Field(min_length=1)]
    purposes: Annotated[tuple[str, ...], Field(min_length=1)]
    tables: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_*]+(\.[a-z0-9_*]+)?$")], ...], Field(min_length=1)]
    customer_rows: bool
    minimum_group: Annotated[int, Field(ge=1)]
    identifier: Action = Action.DROP
    personal: Action = Action.DROP
    sensitive: Action = Action.DROP
    rows: Rows = Rows()
    groups: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()

    @model_validator(mode="after")
    def _sums_hide_single_customers(self) -> "Role":
        if not self.customer_rows and self.minimum_group < 2:
            raise ValueError("minimum_group must be 2 or more where customer_rows is false")
        if self.identifier is Action.BUCKET:
            raise ValueError("identifier: an identifier has no buckets; use show, hash, null or drop")
        return self

    def may_ask(self, schema: str, table: str) -> bool:
        """Tell whether a table is among those of the role.

        Args:
            schema: the table's schema.
            table: its name.
        """
        return any(fnmatchcase(f"{schema}.{table}", pattern) for pattern in self.tables)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


class Policy(BaseModel):
    """The whole policy: purposes, personal columns that were looked at, and roles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purposes: dict[Name, Annotated[str, Field(min_length=1)]]
    columns: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+$")], Bucket]
    roles: Annotated[dict[Name, Role], Field(min_length=1)]

    @model_validator(mode="after")
    def _purposes_exist(self) -> "Policy":
        for name, role in self.roles.items():
            for purpose in role.purposes:
                if purpose not in self.purposes:
                    raise ValueError(
                        f"roles, {name}, purposes: there is no purpose {purpose}{near(purpose, self.purposes)}"
                    )
        return self

    def role(self, name: str) -> Role:
        """Find a role.

        Args:
            name: its name.

        Raises:
            UnknownRoleError: there is none of that name.
        """
        if name not in self.roles:
            raise UnknownRoleError(f"there is no role {name}{near(name, self.roles)}. Roles: {', '.join(self.roles)}")
        return self.roles[name]


@dataclass(frozen=True)
class Column:
    """A column of a published table.

    Attributes:
        name: its name.
        type: dbt's data type.
        tags: of dbt's yml; None where the metadata does not know the column, which no role sees then.
    """

    name: str
    type: str
    tags: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        schema: its schema.
        name: its name.
        columns: in their order.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]

    @property
    def full_name(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.name}"

    @property
    def has_customer(self) -> bool:
        """Whether a row says which customer it is about, so that a row rule can be carried to it."""
        return any(column.name == CUSTOMER for column in self.columns)

    @property
    def is_about_customers(self) -> bool:
        """Whether rows are about single customers."""
        return self.has_customer or any(column.tags is None or IDENTIFIER in column.tags for column in self.columns)

    @property
    def shop_columns(self) -> list[str]:
        """The columns that name a shop."""
        return [column.name for column in self.columns if column.name == SHOP or column.name.endswith(f"_{SHOP}")]


@dataclass(frozen=True)
class View:
    """What one role sees of one table.

    Attributes:
        table: the table.
        select: the masked SELECT, a sqlglot expression.
        actions: what the role sees of each column of the table; dropped ones are not in the SELECT.
        row_rules: in words, those that apply to the table.
    """

    table: Table
    select: exp.Select
    actions: dict[str, Action]
    row_rules: list[str] = field(default_factory=list)

    def sql(self, dialect: Literal["duckdb", "postgres"]) -> str:
        """Write the SELECT for an engine.

        Args:
            dialect: sqlglot's name of it.
        """
        return self.select.sql(dialect=dialect)

    @property
    def columns(self) -> list[str]:
        """The columns that are there, in their order."""
        return [name for name, action in self.actions.items() if action is not Action.DROP]

    @property
    def masks(self) -> dict[str, str]:
        """Each column that is not shown as it is, and what was done with it."""
        return {name: action.value for name, action in self.actions.items() if action is not Action.SHOW}


# Names a published table in the FROM of a view, given its schema and name.
Source = Callable[[str, str], exp.Table]


def read(file: Path | None = None) -> Policy:
    """Read and check the policy.

    Args:
        file: the YAML file; None: policy.yml in this folder.

    Raises:
        PolicyError: the file is missing or not valid.
    """
    file = file or FILE
    try:
        return Policy.model_validate(yaml.load(file.read_text(encoding="utf-8"), Loader=_NoDoubles))
    except OSError as error:
        raise PolicyError(f"{file} cannot be read: {error.strerror}. NEXT_AISLE_POLICY may name it.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise PolicyError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part != "[key]"]
        message = first["msg"].removeprefix("Value error, ").replace("Tuple should", "List should")
        if first["type"] == "extra_forbidden":
            message = f"there is no such key{near(place[-1], _fields(place))}"
        raise PolicyError(f"{file}: {', '.join(place) or 'as a whole'}: {message}") from error


def described(manifest: Manifest) -> list[Table]:
    """Take the published tables from dbt's metadata.

    Args:
        manifest: dbt's.
    """
    return [
        Table(
            node["schema"],
            node["alias"],
            tuple(
                Column(column["name"], column["data_type"], tuple(column["tags"]))
                for column in node["columns"].values()
            ),
        )
        for node in published_models(manifest)
    ]


def as_published(tables: Iterable[Table], columns: Mapping[tuple[str, str], Mapping[str, str]]) -> list[Table]:
    """Put what is in a published file together with what the metadata says of it.

    The file may be of another version of the project: what the metadata does not know, no role sees.

    Args:
        tables: as the metadata describes them.
        columns: (schema, table) to column to type, as `warehouse.connections.columns` lists those of the file.
    """
    tags = {(table.schema, table.name, column.name): column.tags for table in tables for column in table.columns}
    return [
        Table(
            schema, name, tuple(Column(column, kind, tags.get((schema, name, column))) for column, kind in of.items())
        )
        for (schema, name), of in columns.items()
    ]


def problems(policy: Policy, tables: Iterable[Table]) -> list[str]:
    """List what the policy and the tables' metadata do not agree on: none of it shows anything to anybody.

    Args:
        policy: the policy.
        tables: as the metadata describes them.

    Returns:
        A line for each; empty when all is well.
    """
    found = []
    tables = list(tables)
    columns = {f"{table.full_name}.{column.name}": column for table in tables for column in table.columns}
    for name in policy.columns:
        if name not in columns:
            found.append(f"policy.yml, columns: there is no published column {name}{near(name, columns)}")
    for name, column in columns.items():
        for tag in column.tags or ():
            if tag not in TAGS:
                found.append(f"{name} has the tag {tag}, which the policy does not know{near(tag, TAGS)}")
        if _needs_a_look(column) and name not in policy.columns:
            found.append(f"{name} is personal and not in policy.yml, columns: no role sees it")
    for name, role in policy.roles.items():
        for pattern in role.tables:
            if not any(fnmatchcase(table.full_name, pattern) for table in tables):
                found.append(
                    f"policy.yml, roles, {name}, tables: nothing published matches {pattern}"
                    f"{near(pattern, [table.full_name for table in tables])}"
                )
    return found


def actions(policy: Policy, role: Role, table: Table) -> dict[str, Action]:
    """Say what a role sees of each column of a table.

    Args:
        policy: the policy.
        role: one of its roles.
        table: the table.

    Returns:
        Column to action, in the order of the columns.
    """
    return {column.name: _action(policy, role, table, column) for column in table.columns}


def sees_personal_columns(policy: Policy, role_name: str, tables: Iterable[Table]) -> bool:
    """Tell whether anything that a role sees needs a value of a personal column.

    Args:
        policy: the policy.
        role_name: the role.
        tables: all published tables.
    """
    role = policy.role(role_name)
    # Row rules look at customers' countries.
    return role.rows != Rows() or any(
        actions(policy, role, table)[column.name] not in (Action.DROP, Action.NULL)
        for table in tables
        for column in table.columns
        if _needs_a_look(column)
    )


def view(
    policy: Policy,
    role_name: str,
    table: Table,
    tables: Iterable[Table],
    source: Source | None = None,
    *,
    for_metrics: bool = False,
) -> View | None:
    """Make the masked SELECT of one table for one role.

    Args:
        policy: the policy.
        role_name: the role.
        table: the table.
        tables: all published tables; row rules need some of them.
        source: names the tables to read from; None: schema and name.
        for_metrics: the view that metrics are computed on. It has every row that the role's row rules allow, and the
            identifiers as they are, for joins and counts; personal columns are masked, dropped ones null. Only for
            doors that show no row of it, refuse identifiers that the role does not see, and hold minimum_group.

    Returns:
        None when the role may not see the table.
    """
    role = policy.role(role_name)
    source = source or (lambda schema, name: exp.table_(name, db=schema, quoted=True))
    if not role.may_ask(table.schema, table.name):
        return None
    if table.is_about_customers and not role.customer_rows and not for_metrics:
        return None
    rules = _row_rules(role, table, {(other.schema, other.name) for other in tables}, source)
    if rules is None:
        return None
    if not for_metrics and role.minimum_group > 1:
        rules += [
            _is_no_small_group(column.name, role.minimum_group)
            for column in table.columns
            if GROUP_SIZE in (column.tags or ())
        ]
    chosen = actions(policy, role, table)
    expressions: list[exp.Expr] = []
    for column in table.columns:
        action = chosen[column.name]
        if for_metrics and IDENTIFIER in (column.tags or ()):
            action = Action.SHOW
        if for_metrics and action is Action.DROP:
            action = Action.NULL
        if action is not Action.DROP:
            bucket = policy.columns.get(f"{table.full_name}.{column.name}", Bucket())
            masked = _masked(column, action, bucket, role.minimum_group)
            is_plain = isinstance(masked, exp.Column)
            expressions.append(masked if is_plain else exp.alias_(masked, column.name, quoted=True))
    if not expressions:
        return None
    select = exp.select(*expressions).from_(source(table.schema, table.name).copy())
    if rules:
        select = select.where(exp.and_(*rules))
    applied = role.rows.words() if rules and (table.has_customer or table.shop_columns) else []
    return View(table, select, chosen, applied)


def hash_key(paths: Paths) -> str:
    """Read the secret key of the hashes; the first time it is made, in a file that only its owner can read.

    Args:
        paths: where data lives.

    Raises:
        PolicyError: the file is there and holds no key.
    """
    file = paths.hash_key
    file.parent.mkdir(parents=True, exist_ok=True)
    # A process that comes second reads the first one's key: a link is made in one step, or not at all.
    if not file.exists():
        unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_hex(32), encoding="ascii")
        try:
            file.hardlink_to(unfinished)
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    key = file.read_text(encoding="ascii").strip()
    if len(key) < HASH_LENGTH:
        raise PolicyError(f"{file} holds no key: put the file back, or remove it, and all hashes become others")
    return key


def duckdb_hash(key: str) -> str:
    """Write the statement that gives a DuckDB connection the function of the keyed hash.

    Args:
        key: as `hash_key` gives it.
    """
    inner = exp.Literal.string(f"{key}:inner:").sql()
    outer = exp.Literal.string(f"{key}:outer:").sql()
    return (
        f"create or replace macro {HASH_FUNCTION}(value) as "
        f"left(sha256({outer} || sha256({inner} || value::varchar)), {HASH_LENGTH})"
    )


def postgres_hash(key: str, schema: str) -> str:
    """Write the statement that gives a PostgreSQL database the same function, with the same result.

    Everybody who may call a function can read its text, which has the key in it: grant its execution to no role but the
    owner of the masked views, or store the hashes in the tables.

    Args:
        key: as `hash_key` gives it.
        schema: the schema to make it in.
    """
    inner = exp.Literal.string(f"{key}:inner:").sql()
    outer = exp.Literal.string(f"{key}:outer:").sql()
    return (
        f"create or replace function {exp.to_identifier(schema, quoted=True).sql()}.{HASH_FUNCTION}(value text) "
        "returns text language sql immutable strict as $$ "
        f"select left(encode(sha256(convert_to({outer} || encode(sha256(convert_to({inner} || value, 'UTF8')), 'hex'), "
        f"'UTF8')), 'hex'), {HASH_LENGTH}) $$"
    )


def alike(name: str, names: Iterable[str]) -> list[str]:
    """Find the names that are like a misspelt one, the most like it first; at most three.

    Args:
        name: the misspelt name.
        names: those that exist.
    """
    return get_close_matches(name, list(names), 3, 0.6)


def near(name: str, names: Iterable[str]) -> str:
    """Say which names are like a misspelt one, for the end of a message.

    Args:
        name: the misspelt name.
        names: those that exist.

    Returns:
        Empty where none is like it.
    """
    found = alike(name, names)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _action(policy: Policy, role: Role, table: Table, column: Column) -> Action:
    if column.tags is None or any(tag not in TAGS for tag in column.tags):
        return Action.DROP
    if _needs_a_look(column) and f"{table.full_name}.{column.name}" not in policy.columns:
        return Action.DROP
    asked = [
        action
        for tag, action in ((IDENTIFIER, role.identifier), (PERSONAL, role.personal), (SENSITIVE, role.sensitive))
        if tag in column.tags
    ]
    action = max(asked, key=_STRICTNESS.index, default=Action.SHOW)
    bucket = policy.columns.get(f"{table.full_name}.{column.name}", Bucket())
    # Where the policy names no coarser value, there is none.
    return Action.NULL if action is Action.BUCKET and bucket == Bucket() else action


def _needs_a_look(column: Column) -> bool:
    return PERSONAL in (column.tags or ()) or SENSITIVE in (column.tags or ())


def _masked(column: Column, action: Action, bucket: Bucket, minimum_group: int) -> exp.Expr:
    value = exp.column(column.name, quoted=True)
    kind = exp.DataType.build(column.type, dialect="duckdb")
    if action is Action.SHOW:
        return value
    if action is Action.HASH:
        return exp.func(HASH_FUNCTION, exp.cast(value, exp.DataType.Type.TEXT))
    if action is Action.BUCKET and bucket.width:
        width = exp.Literal.number(bucket.width)
        # Not by integer division, which rounds towards zero.
        number = exp.cast(value, exp.DataType.build("decimal(18, 2)"))
        steps = exp.Floor(this=exp.Div(this=number, expression=width))
        return exp.cast(exp.Mul(this=steps, expression=width.copy()), kind)
    if action is Action.BUCKET and bucket.unit:
        return exp.cast(exp.TimestampTrunc(this=value, unit=exp.var(bucket.unit)), kind)
    if action is Action.BUCKET and bucket.rare:
        alike = exp.Window(this=exp.Count(this=exp.Star()), partition_by=[value.copy()])
        often = exp.GTE(this=alike, expression=exp.Literal.number(minimum_group))
        return exp.Case().when(often, value)
    return exp.cast(exp.null(), kind)


def _row_rules(role: Role, table: Table, published: set[tuple[str, str]], source: Source) -> list[exp.Expr] | None:
    """The conditions that the role's rules put on a table's rows; None when they cannot be carried to it."""
    rules: list[exp.Expr] = []
    customer = exp.column(CUSTOMER, quoted=True)
    if role.rows.shops:
        if table.is_about_customers and not table.has_customer:
            # Its rows are of one shop each, but say in words only which customer they are about.
            if SHOP not in table.shop_columns:
                return None
        elif table.has_customer:
            if CUSTOMER_NUMBERS not in published:
                return None
            shop = exp.column(SHOP, quoted=True)
            in_shops = exp.Count(this=exp.Case().when(_in(shop, role.rows.shops), exp.Literal.number(1)))
            theirs = (
                exp.select(exp.column(CUSTOMER, quoted=True))
                .from_(source(*CUSTOMER_NUMBERS).copy())
                .group_by(exp.column(CUSTOMER, quoted=True))
                .having(exp.EQ(this=in_shops, expression=exp.Count(this=exp.Star())))
            )
            rules.append(customer.copy().isin(query=theirs))
        for name in table.shop_columns:
            shop = exp.column(name, quoted=True)
            allowed = _in(shop, role.rows.shops)
            rules.append(allowed if name == SHOP else exp.paren(exp.or_(shop.copy().is_(exp.null()), allowed)))
    if role.rows.countries and table.is_about_customers:
        if not table.has_customer or CUSTOMERS not in published:
            return None
        country = exp.column(COUNTRY, quoted=True)
        theirs = (
            exp.select(exp.column(CUSTOMER, quoted=True))
            .from_(source(*CUSTOMERS).copy())
            .where(_in(country, role.rows.countries))
        )
        rules.append(customer.copy().isin(query=theirs))
    return rules


def _in(column: exp.Column, values: Iterable[str]) -> exp.Expr:
    return column.copy().isin(*(exp.Literal.string(value) for value in values))


def _is_no_small_group(column: str, minimum: int) -> exp.Expr:
    size = exp.column(column, quoted=True)
    none = exp.or_(size.is_(exp.null()), size.copy().eq(0))
    return exp.paren(exp.or_(none, exp.GTE(this=size.copy(), expression=exp.Literal.number(minimum))))


def _fields(place: list[str]) -> list[str]:
    """The keys that there could be where one is wrong."""
    model: type[BaseModel] = Policy
    if place[0] == "columns":
        model = Bucket
    elif place[0] == "roles":
        model = Rows if place[2:3] == ["rows"] else Role
    return list(model.model_fields)


class _NoDoubles(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last: a role would become another."""


def _mapping(loader: _NoDoubles, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key} is there twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_NoDoubles.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
