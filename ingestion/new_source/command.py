"""The command `python -m ingestion new NAME`: writes the skeleton of a source and says what is left to do."""

import argparse
import datetime as dt
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb

from ingestion import source
from ingestion.new_source import api, database
from ingestion.new_source.found import Found
from ingestion.new_source.look import look, python
from ingestion.new_source.match import Matched, derived, match, raw_tables, words_of_names
from ingestion.new_source.write import Skeleton, checked_name, module, skeleton, write
from ingestion.raw_tables import LoadError
from warehouse.locks import Say
from warehouse.paths import PROJECT_DIR
from warehouse.settings import Settings
from warehouse.terminal import Terminal, error

SIGNS = {"€": "EUR", "£": "GBP", "zł": "PLN"}


def main(arguments: list[str]) -> int:
    """Write a source's files and print what a person has to decide.

    Args:
        arguments: what follows `new` on the command line.

    Returns:
        The exit code: 0 when the files were written, 1 when nothing was.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ingestion new",
        description="Look at what a shop has and write the skeleton of its source: the module that says how its files "
        "are written, with the columns and types found; three staging models in the shapes of a customer, a product "
        "and a purchase line, with what could be matched; and the yml of its raw tables. What a person must decide is "
        "marked.",
    )
    parser.add_argument("name", help="the source's name: small letters, digits and underscores")
    there = parser.add_mutually_exclusive_group(required=True)
    there.add_argument("--files", type=Path, metavar="FOLDER", help="the folder of the shop's files")
    there.add_argument(
        "--database",
        nargs="?",
        const="",
        metavar="URL",
        help="the address of its database, such as postgresql://USER:PASSWORD@HOST:5432/DATABASE; without it, the "
        "one in SOURCES__NAME__CREDENTIALS",
    )
    there.add_argument(
        "--api",
        action="append",
        metavar="URL",
        help="the address of an endpoint of its API that answers with a list of records, such as "
        "https://shop.example/api/orders.json?limit=50; once for each table. Credentials are read from the "
        "environment: SOURCES__NAME__CREDENTIALS__TOKEN, or SOURCES__NAME__CREDENTIALS__API_KEY with "
        "SOURCES__NAME__CREDENTIALS__NAME for its header",
    )
    parser.add_argument("--currency", metavar="CODE", help="the currency of its amounts, such as EUR")
    chosen = parser.parse_args(arguments)
    console = Terminal(sys.stdout)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    try:
        name = checked_name(chosen.name)
        if name in source.names():
            raise LoadError(f"there is a source {name} already: ingestion/sources/{name}.py. Choose another name.")
        if chosen.currency and not re.fullmatch("[A-Z]{3}", chosen.currency):
            raise LoadError(f"--currency {chosen.currency}: write the code of three capital letters, such as EUR.")
        with tempfile.TemporaryDirectory() as scratch, duckdb.connect(f"{scratch}/look.duckdb") as connection:
            unused: list[Path] = []
            folder = chosen.files.expanduser().resolve() if chosen.files else Path()
            if chosen.files:
                print(f"looking at {folder} ...", file=sys.stderr)
                found, unused = look(folder, connection, Path(scratch))
            elif chosen.api:
                found, client = api.look(name, chosen.api, connection, lambda line: print(line, file=sys.stderr))
            else:
                found = database.look(name, chosen.database, connection)
            matches = match(found, connection)
            tables = raw_tables(matches)
            has_purchases = matches["purchases"].table is not None
            declared = tables if has_purchases else {table.name: table for table in found}
            if chosen.files:
                text = files_module(name, folder, declared)
            elif chosen.api:
                text = api.module_of(name, client, declared)
            else:
                imports = ["from ingestion.database import Database, DatabaseTable"]
                text = module(name, "Database DatabaseTable", imports, declared)
            if not has_purchases:
                say(f"What was found, as ingestion/sources/{name}.py would declare it:\n\n{text}")
                raise LoadError(_no_purchases(found))
            _check_nested(matches["purchases"])
            words = words_of_names(matches, connection)
            made = skeleton(name, text, matches, connection, dt.date.today())
        currency, why = _currency(chosen.currency, tables)
        changed = write(PROJECT_DIR, made, currency)
    except LoadError as reason:
        error(reason)
        return 1
    for path in unused:
        say(f"{path.relative_to(folder)}: not used, its ending is not known")
    _tell(found, matches, say)
    say("")
    say(f"Currency: {currency}, {why}")
    secrets = ""
    if chosen.database is not None:
        secrets = f"export SOURCES__{name.upper()}__CREDENTIALS=...     the database's address; it is written nowhere"
    elif chosen.api:
        secrets = f"SOURCES__{name.upper()}__CREDENTIALS__... stay set, if you set them; they are written nowhere"
    _next(made, changed, words, secrets, say)
    return 0


def files_module(name: str, folder: Path, tables: Mapping[str, Found]) -> str:
    """Write the module of a source of files.

    Args:
        name: the source's name.
        folder: the folder of its files.
        tables: the raw tables, by name.
    """
    formats = {found.declaration["format"].split("(")[0] for found in tables.values() if "format" in found.declaration}
    imports = ["from ingestion.file_checks import LandedTable", "from ingestion.landed_files import LandedFiles"]
    if formats:
        imports.append(f"from ingestion.files.formats import {', '.join(sorted(formats))}")
    is_landing = folder == (Settings().paths.landing / name).resolve()
    location = "" if is_landing else f"location={python(str(folder))},"
    return module(name, "LandedFiles LandedTable", imports, tables, location)


def _currency(given: str | None, tables: Mapping[str, Found]) -> tuple[str, str]:
    """The shop's currency, and why."""
    if given:
        return given, "as you said"
    told = [sentence for found in tables.values() for sentence in found.evidence if sentence.startswith("currency ")]
    for sign, code in SIGNS.items():
        if any(sign in sentence for sentence in told):
            return code, f"for {sign} stands in the files"
    for sentence in told:
        if sentence[9:12].isupper() and sentence[12:13] == ":":
            return sentence[9:12], "as its records say"
    settings = (PROJECT_DIR / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8")
    seed = (PROJECT_DIR / "dbt_project" / "seeds" / "source_currencies.csv").read_text(encoding="utf-8")
    reporting = re.search(r"^  reporting_currency: ([A-Z]{3})", settings, re.MULTILINE)
    first = re.search(r"^  sources: \[(\w+)", settings, re.MULTILINE)
    of_first = re.search(rf"^{first[1]},([A-Z]{{3}})", seed, re.MULTILINE) if first else None
    code = reporting[1] if reporting else of_first[1] if of_first else "USD"
    return (
        code,
        "which is the reporting currency: an assumption, for nothing in the files says it. Change it if it is wrong",
    )


def _no_purchases(found: list[Found]) -> str:
    return (
        "no table holds purchases with a date, which the score is made of "
        f"({', '.join(table.name for table in found)}). Purchases name at least a product and a quantity or an amount. "
        "A shop that sends what each customer spent, without dates, is staged in other shapes: write the source's "
        "module as shown, and copy the rest from the source crm (dbt_project/models/staging/crm, and its line in the "
        "variable shapes of dbt_project/dbt_project.yml). Nothing was written."
    )


def _check_nested(purchases: Matched) -> None:
    table = purchases.table
    nested = [column.name for column in table.columns if column.type == "json"] if table else []
    if table and nested and "product_id" not in purchases.columns:
        raise LoadError(
            f"{table.name} has no product of its own, and nested records in {', '.join(nested)}: a purchase must be "
            "one row per line. Have the lines sent as records of their own with the number of their order, or as a "
            "second file. (Of an API, RestApi takes them apart: docs/sources.md.) Nothing was written."
        )


def _tell(found: list[Found], matches: dict[str, Matched], say: Say) -> None:
    """Say what was found, and from what."""
    purchases = matches["purchases"]
    used = {id(table): raw for raw, table in raw_tables(matches).items()}
    for table in found:
        raw = (
            f"raw table {used[id(table)]}" if id(table) in used else "NOT USED: it looks like none of the three shapes"
        )
        where = table.declaration.get("files") or (
            "an endpoint" if table.is_api else f"table {table.declaration['table']}"
        )
        say(f"{table.name}: {table.row_count:,} rows, {len(table.columns)} columns, {where}; {raw}")
        for sentence in table.evidence:
            say(f"    {sentence}")
    if purchases.newest:
        say("")
        looked_at = " that was looked at" if purchases.table and purchases.table.is_api else ""
        say(f"The newest purchase{looked_at} is of {purchases.newest}.")
    for shape, matched in matches.items():
        say("")
        if matched.table is None:
            columns = ", ".join(
                f"{canonical} = {column.name}" for canonical, column in derived(shape, purchases).items()
            )
            say(f"{shape}: no table, so they are those of the purchases, with {columns or 'their number alone'}")
            continue
        say(f"{shape}, from {matched.table.name}:")
        for canonical, column in matched.columns.items():
            why = matched.evidence.get(canonical, "by its name")
            say(f"    {canonical} = {column.name} ({why})")
        for canonical, column in matched.lookup_columns.items():
            say(f"    {canonical} = {column.name} of {matched.lookup.name if matched.lookup else ''} (by its name)")
        if (
            shape == "purchases"
            and "amount" not in matched.columns
            and {"quantity", "unit_price"} <= matched.columns.keys()
            and not (matched.table.is_api and "discount_amount" in matched.columns)
        ):
            say("    amount = quantity * unit_price (no column has the amount of the line)")
        named = {column.name for column in (*matched.columns.values(), *matched.lookup_columns.values())}
        for one in ("customers", "products"):
            if matches[one].table is None and shape == "purchases":
                named |= {column.name for column in derived(one, matched).values()}
        unnamed = [column.name for column in matched.table.columns if column.name not in named]
        if unnamed:
            say(f"    not used: {', '.join(unnamed)}")


def _next(made: Skeleton, changed: list[str], words: list[str], secrets: str, say: Say) -> None:
    """Say what is left to do."""
    name = made.name
    say("")
    say("Written:")
    for path in (*made.files, *(f"{path} (one line)" for path in changed)):
        say(f"    {path}")
    if made.decisions:
        say("")
        say("To decide, each by an answer in the place of its to_decide(...):")
        for path, question in made.decisions:
            say(f"    {path}: {question}")
    if words:
        say("")
        say("No column of categories was found, and the score needs some. They can be told from words of the products'")
        say("names, one line each in dbt_project/seeds/category_words.csv, such as")
        say(f"    {name},CATEGORY,1,{words[0].split()[0]}")
        say(f"Words that most products have, and how many: {', '.join(words)}")
    say("")
    say("Next:")
    if made.decisions:
        say(f"    add {name} to the list `sources` in dbt_project/dbt_project.yml")
    if secrets:
        say(f"    {secrets}")
    say(f"    uv run python -m ingestion {name}     loads what is there")
    say(f"    (cd dbt_project && uv run dbt test --select staging.{name},test_type:unit)     tries two of its rows")
    say("    make run     loads, models, checks and publishes")
    say("    UPDATE_SNAPSHOT=1 uv run pytest tests/orchestration -q; make contract     before you commit")
