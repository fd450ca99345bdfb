"""The project's own score: its dbt models, run on a shop's purchases up to a cutoff."""

import datetime as dt
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.score_quality.shop import Shop, candidates
from warehouse.connections import FILE_FORMAT
from warehouse.dbt_project import DBT_EXECUTABLE
from warehouse.paths import DBT_DIR, Paths
from warehouse.sql import quote_text

SOURCE = "shop"

# The one place that knows what the models are called and take.
SELECTION = "tag:cross_sell"
# What the scores need of it; a seed has no tag.
ONLY_SCORES = ("+int_scores,tag:cross_sell", "category_labels")
TABLE = "intermediate.int_scores"
# What is judged: every candidate pair, with a likelihood that is not rounded. The published table has each customer's
# best few, rounded to three digits.
SCORES = """
select customers.customer_key, categories.category_key, scores.likelihood as score, scores.likelihood as probability,
    {more}
from {catalog}intermediate.int_scores as scores
join {catalog}intermediate.int_score_dates as dates using (source_name, step)
join {catalog}intermediate.int_score_customers as customers using (step, customer_number)
join {catalog}intermediate.int_score_categories as categories using (step, category_number)
where dates.as_of_date = date '{day}'
"""
# What the models may say of a pair, and what it is called here.
MORE = {
    "likelihood_low": "probability_low",
    "likelihood_high": "probability_high",
    "expected_spend": "expected_spend",
}
TARGET = "dbt_target"
# With more customers times categories than this, many dates in one run need more memory than a laptop has.
MOST_PAIRS = 5_000_000


class ModelsError(Exception):
    """dbt failed, or did not make the table of scores; the message holds its last lines."""


def score(shop: Shop, cutoffs: Iterable[dt.date], folder: Path) -> dict[dt.date, pa.Table]:
    """Build the models as of each cutoff.

    One run as of a cutoff also gives the scores of the cutoffs that are whole horizons before it: each earlier date is
    learned from the windows before that date alone, as in a run on that day. Not so where there are too many customers
    to score all of them at earlier dates, or too little history; there, and in a very large shop, each cutoff has a run
    of its own.

    Args:
        shop: the shop; its level is what the models take for the category.
        cutoffs: last days that the models see.
        folder: where the warehouse and dbt's files are written; may be the same for several shops.

    Returns:
        For each cutoff, a row per customer and category that the models score: customer_id and category as the shop has
        them, score and probability (doubles); where the models say them, probability_low and probability_high (of the
        interval) and expected_spend.

    Raises:
        ModelsError: dbt failed or left no table of scores.
    """
    tables: dict[dt.date, pa.Table] = {}
    for together in runs(shop, cutoffs):
        _build(shop, together[0], folder, (together[0] - together[-1]).days // shop.horizon_days)
        scored = {cutoff: _scores(shop, cutoff, Paths(folder.resolve()).warehouse) for cutoff in together}
        for cutoff in together[1:]:
            if not len(scored[cutoff]):
                _build(shop, cutoff, folder, 0)
                scored[cutoff] = _scores(shop, cutoff, Paths(folder.resolve()).warehouse)
        tables |= scored
    return tables


def runs(shop: Shop, cutoffs: Iterable[dt.date]) -> list[list[dt.date]]:
    """Which cutoffs are scored by one run of the models, in each list the newest first."""
    together: dict[tuple[int, dt.date | None], list[dt.date]] = {}
    most = _project_vars()["score_backtest_customers"]
    for cutoff in sorted(set(cutoffs), reverse=True):
        customers, categories = shop.connection.execute(
            "select count(distinct customer), count(distinct category) from days where day <= ?", [cutoff]
        ).fetchone() or (0, 0)
        alone = cutoff if customers > most or customers * categories > MOST_PAIRS else None
        together.setdefault((cutoff.toordinal() % shop.horizon_days, alone), []).append(cutoff)
    return list(together.values())


def dbt_vars(shop: Shop, cutoff: dt.date, earlier: int = 0) -> dict[str, Any]:
    """The models' variables for a comparison: days are the protocol's.

    Args:
        shop: the shop.
        cutoff: last day that the models see.
        earlier: how many horizons before it the oldest cutoff is that is judged.
    """
    return {
        "score_as_of": str(cutoff),
        "score_horizon_days": shop.horizon_days,
        "score_active_days": shop.active_days,
        # Each cutoff has as many dates before it that are tested as a run on that day has.
        "score_backtest_dates": earlier + _project_vars()["score_backtest_dates"],
    }


def _project_vars() -> dict[str, Any]:
    project = yaml.safe_load((DBT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))
    return dict(project["vars"])


def dbt_command(folder: Path, variables: Mapping[str, Any] | None = None, *, only_scores: bool = False) -> list[str]:
    """The command that builds and tests the models; its files go to a folder, so that runs side by side never collide.

    Args:
        folder: holds the warehouse.
        variables: dbt's; None: the project's own.
        only_scores: without the tests, and without the models that the scores do not need.
    """
    project = str(DBT_DIR)
    selected = ("--select", *ONLY_SCORES, "--resource-type", "model", "--resource-type", "seed")
    selected_with_tests = (
        *("--select", SELECTION, "--exclude-resource-type", "unit_test"),
        # The shop has no customer file, hence no dim_customers to look them up in.
        *("--exclude", "test_name:relationships", "tag:without_dates"),
    )
    return [
        DBT_EXECUTABLE,
        *("--no-use-colors", "--log-path", str(folder.resolve() / "dbt_logs"), "build"),
        *(selected if only_scores else selected_with_tests),
        *("--project-dir", project, "--profiles-dir", project, "--target-path", str(folder.resolve() / TARGET)),
        *(("--vars", json.dumps(variables)) if variables else ()),
    ]


def dbt_environment(folder: Path) -> dict[str, str]:
    """The environment variables that point the project at a folder's warehouse."""
    return {"NEXT_AISLE_DATA": str(folder.resolve())}


def write_warehouse(shop: Shop, cutoff: dt.date, path: Path) -> None:
    """Make a warehouse with the core tables that the models read, in the shape of their contracts.

    Args:
        shop: its lines up to and including the cutoff are written, and all its products: with those that only
            purchases know, in the category Unknown, as the project does it.
        cutoff: the last day to write.
        path: the file, replaced when it is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in (path, path.with_name(path.name + ".wal")):
        old.unlink(missing_ok=True)
    connection = shop.connection
    version = FILE_FORMAT["storage_compatibility_version"]
    connection.execute(f"attach {quote_text(str(path))} as warehouse (storage_version '{version}')")
    try:
        connection.execute("create schema warehouse.core")
        connection.execute(_PRODUCT_NUMBERS)
        connection.execute(_FCT_PURCHASES.format(cutoff=cutoff))
        connection.execute(_CUSTOMER_NUMBERS)
    finally:
        connection.execute("detach warehouse")


_PRODUCT_NUMBERS = f"""
create table warehouse.core.product_numbers as
with known as (
    select product_id, cast(category as varchar) as category, is_merchandise, false as is_inferred from products
    union all
    select distinct product_id, null, true, true
    from lines anti join products using (product_id)
    where product_id is not null
)
select
    '{SOURCE}' as source_name,
    product_id,
    '{SOURCE}:' || product_id as product_key,
    cast(null as varchar) as product_name,
    cast(null as varchar) as department,
    '{SOURCE}:' || coalesce(category, 'Unknown') as category_key,
    coalesce(category, 'Unknown') as category_name,
    cast(null as varchar) as product_type,
    cast(null as varchar) as brand,
    cast(null as varchar) as manufacturer_id,
    cast(null as varchar) as package_size,
    is_merchandise,
    is_inferred,
    cast(1 as bigint) as position
from known
"""

_FCT_PURCHASES = f"""
create table warehouse.core.fct_purchases as
select
    '{SOURCE}:' || coalesce(basket_id, '') || ':' || product_id || ':' || row_number() over () as purchase_line_key,
    '{SOURCE}:' || basket_id as basket_key,
    '{SOURCE}:' || customer_id as customer_key,
    product_key,
    category_key,
    '{SOURCE}' as source_name,
    cast(null as varchar) as store_id,
    purchased_at,
    cast(purchased_at as date) as purchase_date,
    cast(quantity as decimal(18, 3)) as quantity,
    cast(amount as decimal(18, 2)) as amount,
    cast(0 as decimal(18, 2)) as discount_amount,
    is_merchandise,
    product_id,
    cast(null as varchar) as currency,
    cast(amount as decimal(18, 2)) as original_amount
from lines join warehouse.core.product_numbers using (product_id)
where cast(purchased_at as date) <= date '{{cutoff}}'
"""

_CUSTOMER_NUMBERS = f"""
create table warehouse.core.customer_numbers as
select distinct
    '{SOURCE}' as source_name,
    cast(customer_id as varchar) as customer_id,
    '{SOURCE}:' || customer_id as customer_key,
    cast(null as varchar) as person,
    true as is_inferred,
    cast(1 as bigint) as position
from lines
"""


def _build(shop: Shop, cutoff: dt.date, folder: Path, earlier: int) -> None:
    write_warehouse(shop, cutoff, Paths(folder.resolve()).warehouse)
    ran = subprocess.run(
        dbt_command(folder, dbt_vars(shop, cutoff, earlier), only_scores=True),
        env={**os.environ, **dbt_environment(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last = "\n".join((ran.stdout + ran.stderr).splitlines()[-25:])
        raise ModelsError(f"{shop.name}: dbt build as of {cutoff} ended with code {ran.returncode}:\n{last}")


def _scores(shop: Shop, cutoff: dt.date, warehouse: Path) -> pa.Table:
    connection = shop.connection
    connection.execute(f"attach {quote_text(str(warehouse))} as warehouse (read_only)")
    try:
        columns = need_scores(connection, "warehouse.")
        known = {theirs: ours for theirs, ours in MORE.items() if theirs in columns}
        more = [f"cast(scores.{theirs} as double) as {ours}" for theirs, ours in known.items()]
        # Where it is not said of the pair, it is the same for all customers.
        more += [] if "expected_spend" in known else ["cast(categories.expected_spend as double) as expected_spend"]
        scores = SCORES.format(catalog="warehouse.", day=cutoff, more=", ".join(more))
        return connection.sql(
            f"""select customers.customer_id, categories.name as category, scores.* exclude (customer_key, category_key)
            from ({scores}) as scores
            join customers on scores.customer_key = '{SOURCE}:' || customers.customer_id
            join categories on scores.category_key = '{SOURCE}:' || categories.name
            order by customers.customer, categories.category"""
        ).to_arrow_table()
    finally:
        connection.execute("detach warehouse")


def need_scores(connection: duckdb.DuckDBPyConnection, catalog: str = "") -> set[str]:
    """Make sure that dbt made the table of scores: where no model has the tag, it builds nothing and is content.

    Returns:
        Its columns.

    Raises:
        ModelsError: there is no such table.
    """
    try:
        return {row[0] for row in connection.execute(f"describe {catalog}{TABLE}").fetchall()}
    except duckdb.CatalogException as error:
        raise ModelsError(f"dbt made no {TABLE}: is a model with the tag there? --no-ours goes without it.") from error


def candidates_only(shop: Shop, cutoff: dt.date, table: pa.Table) -> pa.Table:
    """Keep the pairs that are judged at a cutoff."""
    connection = shop.connection
    connection.register("scored", table)
    candidates(shop, cutoff).create_view("judged", replace=True)
    try:
        return connection.sql(
            """select scored.*
            from scored
            join customers using (customer_id)
            join categories on scored.category = categories.name
            semi join judged on customers.customer = judged.customer and categories.category = judged.category
            order by customers.customer, categories.category"""
        ).to_arrow_table()
    finally:
        connection.execute("drop view judged")
        connection.unregister("scored")


def save(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet under another name first: no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    pq.write_table(table, unfinished, compression="zstd")
    unfinished.replace(path)
