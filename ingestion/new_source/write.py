"""Write a source's files: its module, its staging models and its yml, with marks where a person must decide."""

import contextlib
import datetime as dt
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import duckdb
import yaml

from ingestion.new_source.found import Found
from ingestion.new_source.look import python
from ingestion.new_source.match import Matched, derived, raw_tables
from ingestion.raw_tables import LoadError, stored_name
from warehouse.safe_files import write_text
from warehouse.sql import quote_name

TEXT = "{{ dbt.type_string() }}"
AS_TEXT = f"cast({{column}} as {TEXT})"
KEY = f"cast({{{{ clean_key('{{column}}') }}}} as {TEXT})"
MONEY = "{{ to_money('{column}') }}"

# Canonical column -> its type in the yml, the SQL that makes it of a column, and its description.
CANONICAL: dict[str, tuple[str, str, str]] = {
    "customer_id": ("string", KEY, "The source's number of the customer."),
    "basket_id": ("string", KEY, "The source's number of the basket."),
    "product_id": ("string", KEY, "The source's number of the product."),
    "store_id": ("string", AS_TEXT, "The store."),
    "purchased_at": ("timestamp", "cast({column} as timestamp)", "When it was bought, by the shop's clock."),
    "quantity": ("decimal(18,3)", "{{ number_or_null('{column}', 'decimal(18, 3)') }}", "Units; null when unknown."),
    "amount": ("decimal(18,2)", MONEY, "What the shop received for the line in its currency."),
    "discount_amount": ("decimal(18,2)", MONEY, "All discounts on the line."),
    "birth_year": ("int", "cast({column} as {{ dbt.type_int() }})", "Year of birth, where the source knows it."),
    "age_band": ("string", AS_TEXT, "Age band as the source words it."),
    "education": ("string", AS_TEXT, "Education as the source words it."),
    "marital_status": ("string", AS_TEXT, "Marital status as the source words it."),
    "income": ("decimal(18,2)", MONEY, "Yearly income in the shop's currency, where known as a number."),
    "income_band": ("string", AS_TEXT, "Band of yearly income as the source words it."),
    "household_size": ("string", AS_TEXT, "Persons in the household as the source words it."),
    "household_composition": ("string", AS_TEXT, "Who lives in the household."),
    "children": ("string", AS_TEXT, "Children in the household as the source words it."),
    "home_ownership": ("string", AS_TEXT, "Owner or renter."),
    "country": ("string", AS_TEXT, "Country as the source words it."),
    "product_name": ("string", AS_TEXT, "What the product is called, where the source says it."),
    "department": ("string", AS_TEXT, "The widest group of products."),
    "category": ("string", AS_TEXT, "The group of products that cross-selling works on."),
    "product_type": ("string", AS_TEXT, "The narrowest group of products."),
    "brand": ("string", AS_TEXT, "The brand."),
    "manufacturer_id": ("string", AS_TEXT, "The maker's number."),
    "package_size": ("string", AS_TEXT, "Size of the package as free text."),
}
OF_SHAPE = {
    "customers": tuple(CANONICAL)[0:1] + tuple(CANONICAL)[8:19],
    "products": tuple(CANONICAL)[2:3] + tuple(CANONICAL)[19:],
    "purchases": tuple(CANONICAL)[:8],
}
# What a shape cannot do without: where nothing matched, a person decides.
NEEDED = {
    "customers": ("customer_id",),
    "products": ("product_id",),
    "purchases": ("customer_id", "basket_id", "product_id", "purchased_at", "quantity", "amount"),
}
ONE = {"customers": "customer", "products": "product", "purchases": "purchase line"}
# A shop whose newest purchase is older sends no more, as far as freshness goes.
HISTORY = dt.timedelta(days=60)


@dataclass
class Skeleton:
    """The files of a source.

    Attributes:
        name: the source's name.
        files: path below the project to content.
        decisions: what a person has to decide: file, and the question.
    """

    name: str
    files: dict[str, str] = field(default_factory=dict)
    decisions: list[tuple[str, str]] = field(default_factory=list)


def skeleton(
    name: str, module: str, matches: Mapping[str, Matched], connection: duckdb.DuckDBPyConnection, today: dt.date
) -> Skeleton:
    """Make the files of a source.

    Args:
        name: the source's name.
        module: the text of ingestion/sources/<name>.py.
        matches: which table is which shape, from `match.match`.
        connection: for the SQL of the tables' rows.
        today: the day from which the age of the newest purchase counts.

    Returns:
        The module, the yml of the raw tables, and three staging models with their yml and a unit test.
    """
    staging = f"dbt_project/models/staging/{name}"
    purchases = matches["purchases"]
    # Of an API only the first pages were looked at, often the oldest.
    is_part = purchases.table is not None and purchases.table.is_api
    is_history = purchases.newest is not None and today - purchases.newest > HISTORY and not is_part
    made = Skeleton(name, {f"ingestion/sources/{name}.py": module})
    for table in raw_tables(matches).values():
        made.decisions += [(f"ingestion/sources/{name}.py", question) for question in table.decide]
    made.files[f"{staging}/_{name}__sources.yml"] = _sources(name, matches, is_history)
    for shape in ("customers", "products", "purchases"):
        path = f"{staging}/stg_{name}__{shape}"
        model = _Model(name, matches[shape], purchases)
        made.files[f"{path}.sql"] = model.sql()
        made.files[f"{path}.yml"] = model.yml() + (
            _unit_test(name, purchases, connection) if shape == "purchases" else ""
        )
        made.decisions += [(f"{path}.sql", question) for question in model.questions.values()]
    return made


def write(project: Path, made: Skeleton, currency: str) -> list[str]:
    """Write a skeleton's files, all or none; none is overwritten. Without marks, the source becomes an active one.

    Args:
        project: the project's folder.
        made: the files.
        currency: the shop's currency, for the seed of currencies.

    Returns:
        The files that were changed.

    Raises:
        LoadError: one of the files exists, or cannot be written.
    """
    existing = [path for path in made.files if (project / path).exists()]
    if existing:
        raise LoadError(f"{existing[0]} exists already. Remove it to have it written again, or choose another name.")
    seed = project / "dbt_project" / "seeds" / "source_currencies.csv"
    settings = project / "dbt_project" / "dbt_project.yml"
    changed = {}
    rows = seed.read_text(encoding="utf-8")
    if not re.search(rf"^{made.name},", rows, re.MULTILINE):
        changed[seed] = rows.rstrip("\n") + f"\n{made.name},{currency}\n"
    text = settings.read_text(encoding="utf-8")
    listed = re.search(r"^  sources: \[(.*)\]$", text, re.MULTILINE)
    if listed and not made.decisions:
        names = [word.strip() for word in listed[1].split(",") if word.strip()]
        changed[settings] = text.replace(listed[0], f"  sources: [{', '.join([*names, made.name])}]")
    before = {path: path.read_text(encoding="utf-8") for path in changed}
    folders = [folder for path in made.files if not (folder := (project / path).parent).exists()]
    try:
        for path, content in made.files.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            write_text(project / path, content)
        for seed_or_settings, content in changed.items():
            write_text(seed_or_settings, content)
    except OSError as error:
        for path in made.files:
            with contextlib.suppress(OSError):
                (project / path).unlink()
        for folder in dict.fromkeys(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
        for path_before, content in before.items():
            write_text(path_before, content)
        raise LoadError(
            f"the files cannot be written: {error.strerror} ({error.filename}). Nothing was kept."
        ) from error
    return [str(path.relative_to(project)) for path in changed]


def checked_name(name: str) -> str:
    """Check a new source's name.

    Args:
        name: becomes the module's name, the schema's and the first part of the assets' keys.

    Raises:
        LoadError: it would not be the same in all of these, or is taken by something else.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or stored_name(name) != name or len(name) > 40:
        raise LoadError(
            f"{name!r} cannot be a source's name: use small letters, digits and single underscores, 40 at most."
        )
    if name in ("customer", "product", "published", "all", "new"):
        raise LoadError(f"{name!r} means something else already. Choose another name.")
    return name


def module(name: str, kind: str, imports: Sequence[str], tables: Mapping[str, Found], more: str = "") -> str:
    """Write a source's module.

    Args:
        name: the source's name.
        kind: the class of the source and that of its tables, such as `LandedFiles LandedTable`.
        imports: the import lines of these.
        tables: the raw tables, by name.
        more: further arguments of the source, as a line.
    """
    source, table_class = kind.split()
    lines = []
    for table, found in tables.items():
        lines += [
            *(
                line
                for sentence in found.evidence
                for line in textwrap.wrap(
                    f"{sentence}.", 118, initial_indent="        # ", subsequent_indent="        # "
                )
            ),
            f"        {table_class}(",
            f"            name={python(table)},",
            *(f"            {argument}={value}," for argument, value in found.declaration.items()),
            "            columns={",
            *(f"                {python(column.name)}: {python(column.type)}," for column in found.columns),
            "            },",
            "        ),",
        ]
    needs_mark = any("to_decide(" in line for line in lines)
    return "\n".join(
        [
            f'"""{_title(name)}: its {", ".join(tables)}."""',
            "",
            *sorted([*imports, *(["from ingestion.to_decide import to_decide"] if needs_mark else [])]),
            "",
            f"SOURCE = {source}(",
            f"    {python(name)},",
            *([f"    {more}"] if more else []),
            "    tables=(",
            *lines,
            "    ),",
            ")",
            "",
        ]
    )


def _sources(name: str, matches: Mapping[str, Matched], is_history: bool) -> str:
    purchases = matches["purchases"]
    lines = [
        "sources:",
        f"  - name: {name}",
        f"    schema: raw_{name}",
        f"    description: {_title(name)}.",
        "    config:",
        f"      enabled: \"{{{{ '{name}' in var('sources') }}}}\"",
        "      tags: [raw]",
        "      # Where a return takes back an earlier purchase of the same customer, product and quantity:",
        "      # meta: {returns_cancel_purchases: true}",
        "    tables:",
    ]
    for table, found in raw_tables(matches).items():
        lines += [
            f"      - name: {table}",
            f"        description: One row per row of the shop's {found.name}, in each version.",
        ]
        if table == "purchases":
            lines += ["        config:", *_freshness(name, purchases, is_history)]
        lines += [
            "        columns:",
            *(
                f"          - {{name: {_yaml(column.stored)}, description: As the shop sends it.}}"
                for column in found.columns
            ),
            *(
                ["          - {name: _record_number, description: Number of the record within its pull.}"]
                * found.is_api
            ),
            "          - {name: _delivery, description: The delivery the row came in.}",
            "          - {name: _dlt_load_id, description: The load that brought it.}",
        ]
    is_api = any(found.is_api for found in raw_tables(matches).values())
    return "\n".join([*lines, *_deliveries(name, is_history, is_api).splitlines(), ""])


def _freshness(name: str, purchases: Matched, is_history: bool) -> list[str]:
    if is_history:
        return [
            f"          # The newest purchase is of {purchases.newest}: history, so nothing checks its age.",
            "          # For a shop that still sends, copy freshness and loaded_at_query from another source.",
            "          freshness: null",
        ]
    column, table = purchases.columns.get("purchased_at"), "{{ this }}"
    if column is None and purchases.lookup is not None:
        column, table = purchases.lookup_columns.get("purchased_at"), f"raw_{name}.{purchases.lookup.name}"
    if column is None:
        return [
            "          # No column of dates was found: nothing checks how old the newest purchase is.",
            "          freshness: null",
        ]
    return [
        "          # How old the newest purchase may be. For a shop that sends no more: `freshness: null`.",
        "          freshness:",
        "            warn_after: {count: 30, period: hour}",
        "            error_after: {count: 48, period: hour}",
        "          # In UTC. For a shop with another clock: at time zone 'Europe/Berlin' at time zone 'UTC'.",
        "          loaded_at_query: |",
        "            select max(paid_at_utc)",
        "            from (",
        f"              select cast({column.sql} as timestamp) as paid_at_utc",
        f"              from {table}",
        "            ) as paid",
        "            where paid_at_utc <= current_timestamp at time zone 'UTC'",
    ]


def _deliveries(name: str, is_history: bool, is_api: bool) -> str:
    limits = "          freshness: null\n"
    if not is_history:
        # A pull that finds nothing new has no row in the ledger, but dlt notes every load.
        newest = "select max(delivered_at) from {{ this }}"
        if is_api:
            newest = f"select max(inserted_at) at time zone 'UTC' from raw_{name}._dlt_loads where status = 0"
        limits = f"""\
          freshness:
            # How old the newest delivery may be.
            warn_after: {{count: 30, period: hour}}
            error_after: {{count: 48, period: hour}}
          # The load writes it in UTC.
          loaded_at_query: {newest}
"""
    return f"""\
      - name: deliveries
        description: One row per delivery and version of it ever loaded - the ledger that decides what is new.
        config:
{limits}\
        columns:
          - {{name: table_name, description: The raw table that the delivery feeds.}}
          - {{name: delivery, description: "The name of the delivery, such as a file below the landing folder."}}
          - {{name: origin, description: Where the delivery came from.}}
          - {{name: digest, description: Digest of the file's bytes.}}
          - {{name: cursor_from, description: "Where the range of a pull begins; null: from the start, or no pull."}}
          - {{name: cursor_to, description: Where the range of a pull ends.}}
          - {{name: delivery_date, description: The day that a day file is for.}}
          - {{name: row_count, description: Rows in the delivery.}}
          - {{name: dropped_rows, description: Rows of it that were removed later because they no longer counted.}}
          - {{name: delivered_at, description: When it was loaded (UTC).}}
          - {{name: _dlt_load_id, description: The load that brought it.}}
"""


class _Model:
    """One staging model and its yml.

    Args:
        name: the source's name.
        matched: the shape.
        purchases: that of the purchases.
    """

    def __init__(self, name: str, matched: Matched, purchases: Matched) -> None:
        self.name = name
        self.matched = matched
        self.purchases = purchases
        self.questions: dict[str, str] = {}

    def sql(self) -> str:
        """The model, with a line for each mark at its top."""
        body = self._selected() if self.matched.table is not None else self._derived()
        marks = "".join(
            f"{{% set {canonical} = to_decide({_quoted(question)}) -%}}\n"
            for canonical, question in self.questions.items()
        )
        return f"{{{{ config(enabled='{self.name}' in var('sources')) }}}}\n{marks}{body}"

    def yml(self) -> str:
        """The model's description and columns."""
        shape, name = self.matched.shape, self.name
        described = {"source_name": ("string", "The shop the row comes from.")}
        described |= {canonical: (CANONICAL[canonical][0], CANONICAL[canonical][2]) for canonical in self._columns()}
        if self.matched.table is None:
            told = f"One row per {ONE[shape]} of the shop's purchases, in the canonical shape. The shop sends none."
        else:
            if self.matched.table.is_pulled:
                described["set_aside_reason"] = ("string", "Why the row no longer counts; null for rows that count.")
            told = f"One row per raw row, in the canonical shape of a {ONE[shape]}. Renamed and cast, nothing else."
        described["delivery"] = ("string", "The delivery the row came in.")
        described["load_id"] = ("string", "The load that brought it.")
        lines = ["models:", f"  - name: stg_{name}__{shape}", f"    description: {told}"]
        lines += ["    config:", "      contract: {enforced: true}", "    columns:"]
        for column, (kind, description) in described.items():
            lines += [f"      - name: {column}", f"        data_type: {kind}", f"        description: {description}"]
            amount = _raw_amount(self.matched) if column == "amount" else None
            if amount:
                test = f"stg_{name}__purchases_amount_has_the_raw_sum"
                arguments = f"{{to: \"source('{name}', 'purchases')\", field: {_yaml(amount)}}}"
                enabled = f"enabled: \"{{{{ '{name}' in var('sources') }}}}\""
                lines.append("        data_tests:")
                lines.append(f"          - same_sum: {{name: {test}, arguments: {arguments}, config: {{{enabled}}}}}")
        return "\n".join([*lines, ""])

    def _columns(self) -> list[str]:
        """The canonical columns that the model has, in their order."""
        shape, matched = self.matched.shape, self.matched
        if matched.table is None:
            always = {"customers": "country", "products": "product_name"}[shape]
            have = {f"{shape[:-1]}_id", always, *derived(shape, self.purchases)}
        else:
            have = {*matched.columns, *matched.lookup_columns, *NEEDED[shape]}
        return [canonical for canonical in OF_SHAPE[shape] if canonical in have]

    def _selected(self) -> str:
        matched, name = self.matched, self.name
        columns = "\n".join(f"        {self._expression(canonical)} as {canonical}," for canonical in self._columns())
        rows = f"{{{{ source('{name}', '{matched.shape}') }}}}"
        set_aside = ""
        if matched.table is not None and matched.table.is_api:
            rows = f"({{{{ raw_rows('{name}', '{matched.shape}') }}}})"
            set_aside = self._set_aside(matched.table)
        elif matched.table is not None and matched.table.is_pulled:
            # Each pull has all rows: of a row that is in none of them any more, and of older versions, this says so.
            rows = f"({{{{ pulled_rows('{name}', '{matched.shape}', key={self._key(matched.table)}, whole=true) }}}})"
            set_aside = f"        cast(set_aside_reason as {TEXT}) as set_aside_reason,\n"
        source = f"    select * from {rows} as pulled" if set_aside else f"    select * from {rows}"
        looked_up = ""
        if matched.lookup is not None:
            found = "".join(
                f",\n        looked_up.{column.sql} as {canonical}_found"
                for canonical, column in matched.lookup_columns.items()
            )
            looked_up = f"""
{matched.lookup.name} as (

    select
        *,
        -- The newest row of each number counts.
        row_number() over (
            partition by {matched.lookup_key}
            order by _dlt_load_id desc, {"_record_number" if matched.lookup.is_api else "_delivery"} desc
        ) as version_number
    from {{{{ source('{name}', '{matched.lookup.name}') }}}}

),
"""
            source = f"""    select
        lines.*{found}
    from {rows} as lines
    left join {matched.lookup.name} as looked_up
        on
            lines.{matched.columns["basket_id"].sql} = looked_up.{matched.lookup_key}
            and looked_up.version_number = 1"""
        return f"""with
{looked_up}
landed as (

{source}

),

renamed as (

    select
        cast('{name}' as {TEXT}) as source_name,
{columns}
{set_aside}        cast(_delivery as {TEXT}) as delivery,
        cast(_dlt_load_id as {TEXT}) as load_id
    from landed

)

select * from renamed
"""

    def _expression(self, canonical: str) -> str:
        matched = self.matched
        if canonical in matched.columns:
            column = matched.columns[canonical]
            if canonical == "purchased_at" and matched.table and matched.table.is_api:
                told = "-- Times with an offset are stored in UTC. Name the zone of the shop's clock: 'Europe/Berlin'."
                return f"{told}\n        cast({{{{ shop_time('{column.sql}', 'UTC') }}}} as timestamp)"
            if canonical == "purchased_at" and column.type.endswith("zone"):
                return f"cast({column.sql} at time zone 'UTC' as timestamp)"
            return CANONICAL[canonical][1].replace("{column}", column.sql)
        if canonical in matched.lookup_columns:
            return CANONICAL[canonical][1].replace("{column}", f"{canonical}_found")
        amount = _raw_amount(matched)
        if canonical == "amount" and amount:
            return CANONICAL["amount"][1].replace("{column}", amount)
        self._ask(canonical)
        made = CANONICAL[canonical][1]
        return made.replace("'{column}'", canonical).replace("{column}", f"{{{{ {canonical} }}}}")

    def _ask(self, canonical: str) -> None:
        table = self.matched.table or self.purchases.table
        candidates = self.matched.candidates.get(canonical, [])
        if canonical == "amount":
            parts = (self.matched.columns.get(one) for one in ("unit_price", "quantity", "discount_amount"))
            candidates = [*candidates, *filter(None, parts)]
        candidates = candidates or (table.columns if table else [])
        names = ", ".join(f"{column.stored} ({column.example})" for column in candidates)
        none = "" if canonical in ("customer_id", "product_id", "purchased_at") else '; "null" if there is none'
        if canonical == "basket_id":
            none = "; without one: a text of customer and time, such as \"concat(customer, ':', date)\""
        self.questions[canonical] = f"which column, or SQL over columns, is {canonical}? One of {names}{none}"

    def _set_aside(self, table: Found) -> str:
        """Which rows of an API no longer count: each newer version of a record comes with all its rows."""
        is_ended = "".join(
            f"                when {column.sql} is not null then 'deleted'\n"
            for column in table.columns
            if column.says_deleted
        )
        return f"""\
        cast(
            case
                when {{{{ is_superseded_record({self._key(table)}) }}}} then 'superseded_version'
{is_ended}            end as {TEXT}
        ) as set_aside_reason,
"""

    def _key(self, table: Found) -> str:
        """The key of a pulled table, as Jinja reads it."""
        if table.key:
            return "[" + ", ".join(f"'{column}'" for column in table.key) + "]"
        names = ", ".join(f"{column.stored} ({column.example})" for column in table.columns)
        self.questions["key"] = (
            f"the table has no key; which columns name a row? One or more, such as a list, of {names}"
        )
        return "key"

    def _derived(self) -> str:
        """Customers or products that no table has are those of the purchases."""
        shape, columns = self.matched.shape, self.purchases.columns
        table, found = "purchases", dict(columns)
        if shape == "customers" and "customer_id" in self.purchases.lookup_columns and self.purchases.lookup:
            table, found = self.purchases.lookup.name, self.purchases.lookup_columns
        key = f"{shape[:-1]}_id"
        arguments = {}
        for canonical in (key, "purchased_at"):
            if canonical not in found:
                self._ask(canonical)
            value = f"'{found[canonical].sql}'" if canonical in found else canonical
            arguments[canonical] = f"clean_key({value})" if canonical == key else value
        if table != "purchases":
            arguments["table"] = f"'{table}'"
        others = derived(shape, self.purchases)
        if shape == "customers" and "country" in others:
            arguments["country"] = f"clean_key('{others['country'].sql}')"
        if shape == "products":
            name = others.pop("product_name", None)
            arguments["product_name"] = (
                f"clean_key('{name.sql}')" if name else "'cast(null as ' ~ dbt.type_string() ~ ')'"
            )
            sold = columns.get("quantity")
            arguments["is_sale"] = f"'{sold.sql} > 0'" if sold else "'true'"
            if others:
                listed = ", ".join(f"'{canonical}': '{column.sql}'" for canonical, column in others.items())
                arguments["others"] = f"{{{listed}}}"
        written = "".join(f",\n    {argument}={value}" for argument, value in arguments.items())
        return f"""-- The shop sends no {shape}: they are those of its purchases.
{{{{ {shape}_from_purchases(
    '{self.name}'{written}
) }}}}
"""


def _raw_amount(matched: Matched) -> str | None:
    """SQL over the raw columns for the amount of a line, where it is known."""
    if "amount" in matched.columns:
        return matched.columns["amount"].sql
    # Whether a price is before or after the discounts on the line, names do not say.
    is_reduced = matched.table is not None and matched.table.is_api and "discount_amount" in matched.columns
    if {"quantity", "unit_price"} <= matched.columns.keys() and not is_reduced:
        return f"{matched.columns['quantity'].sql} * {matched.columns['unit_price'].sql}"
    return None


def _unit_test(name: str, purchases: Matched, connection: duckdb.DuckDBPyConnection) -> str:
    """A unit test of the purchases: two rows of the shop, and what the model should make of them."""
    table = purchases.table
    assert table is not None, "there is no skeleton without purchases"
    known = purchases.columns.items()
    filled = " and ".join(f"{quote_name(column.stored)} is not null" for _, column in known) or "true"
    key = purchases.columns["basket_id"].stored if purchases.lookup else ""
    if purchases.lookup:
        orders = f"select {quote_name(purchases.lookup_key or '')} from {purchases.lookup.rows}"
        filled += f" and {quote_name(key)} in ({orders})"
    # The first, and the first that differs in the product or the price.
    rows = _rows(connection, f"select * from {table.rows} where {filled} order by all limit 100")
    rows = [*rows[:1], *[row for row in rows if row != rows[0]][:1]]
    raw = [{column.stored: row[column.stored] for _, column in known} for row in rows]
    expected = []
    looked_up = []
    for row in rows:
        expect = {
            canonical: _expected(canonical, row[column.stored]) for canonical, column in known if canonical in CANONICAL
        }
        amount = _raw_amount(purchases)
        if amount and "amount" not in purchases.columns:
            quantity, price = (row[purchases.columns[one].stored] for one in ("quantity", "unit_price"))
            expect["amount"] = _expected("amount", Decimal(str(quantity)) * Decimal(str(price)))
        if purchases.lookup:
            of_key = _rows(
                connection,
                f"select * from {purchases.lookup.rows} where {quote_name(purchases.lookup_key or '')} = $key",
                {"key": row[key]},
            )[0]
            wanted = {purchases.lookup_key: None} | {
                column.stored: None for column in purchases.lookup_columns.values()
            }
            looked_up.append({column: of_key[column] for column in wanted if column})
            expect |= {one: _expected(one, of_key[column.stored]) for one, column in purchases.lookup_columns.items()}
        expected.append({canonical: expect[canonical] for canonical in CANONICAL if expect.get(canonical) is not None})
    # dbt compares the columns that all rows have.
    common = set.intersection(*(set(one) for one in expected)) if expected else set()
    expected = [{canonical: value for canonical, value in one.items() if canonical in common} for one in expected]
    if not common:
        return ""
    given = [f"      - input: source('{name}', 'purchases')", "        rows:", *map(_yaml_row, raw)]
    if purchases.lookup:
        looked_up = [row for place, row in enumerate(looked_up) if row not in looked_up[:place]]
        given += [
            f"      - input: source('{name}', '{purchases.lookup.name}')",
            "        rows:",
            *map(_yaml_row, looked_up),
        ]
    if table.is_pulled:
        given += ["      - input: ref('int_deliveries')", "        rows: []"]
    return "\n".join(
        [
            "",
            "unit_tests:",
            f"  - name: lines_of_{name}_are_read_as_they_were_meant",
            f"    model: stg_{name}__purchases",
            "    given:",
            *given,
            "    expect:",
            "      rows:",
            *map(_yaml_row, expected),
            "",
        ]
    )


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    found = connection.execute(query, parameters)
    names = [column[0] for column in found.description or []]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _expected(canonical: str, value: Any) -> Any:
    """What a column of the shape should be, from the raw value; None: this test does not say."""
    kind = CANONICAL[canonical][0]
    with contextlib.suppress(InvalidOperation, ValueError):
        if kind.startswith("decimal"):
            cent = Decimal(1).scaleb(-int(kind[-2]))
            return Decimal(str(value)).quantize(cent, ROUND_HALF_UP)
        if kind == "timestamp":
            at = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time())
            return at.replace(tzinfo=None) if at.tzinfo is None else None
        return " ".join(str(value).split()) if isinstance(value, int | str) else None
    return None


def _yaml_row(row: Mapping[str, Any]) -> str:
    return "          - {" + ", ".join(f"{_yaml(name)}: {_yaml(value)}" for name, value in row.items()) + "}"


def _yaml(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[a-z_][a-z0-9_]*", value) and yaml.safe_load(value) == value:
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return format(value, "f") if isinstance(value, Decimal) else str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[0].upper() + words[1:]


def _quoted(text: str) -> str:
    """A text as Jinja reads it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
