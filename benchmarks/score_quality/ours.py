"""The project's own score: its dbt models, run on a shop's purchases up to a cutoff."""

import datetime as dt
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.score_quality.shop import Shop, candidates
from warehouse.connections import FILE_FORMAT
from warehouse.dbt_project import DBT_EXECUTABLE
from warehouse.paths import DBT_DIR, Paths
from warehouse.sql import quote_text

SOURCE = "shop"

# The one place that knows what the models are called and take.
SELECTION = "tag:cross_sell"
TABLE = "cross_sell.customer_opportunities"
# What is judged: every candidate pair, with a likelihood that is not rounded. The published table has each customer's
# best few, rounded to three digits.
SCORES = """
select customers.customer_key, categories.category_key, scores.likelihood
from {catalog}intermediate.int_scores as scores
join {catalog}intermediate.int_score_customers as customers using (step, customer_number)
join {catalog}intermediate.int_score_categories as categories using (step, category_number)
where scores.step = 0
"""
TARGET = "dbt_target"


class ModelsError(Exception):
    """dbt failed, or did not make the table of opportunities; the message holds its last lines."""


def score(shop: Shop, cutoff: dt.date, folder: Path) -> pa.Table:
    """Build the models as of a cutoff.

    Args:
        shop: the shop; its level is what the models take for the category.
        cutoff: last day that the models see.
        folder: where the warehouse and dbt's files are written; may be the same for each cutoff.

    Returns:
        A row per customer and category that the models score: customer_id and category as the shop has them, score and
        probability (doubles).

    Raises:
        ModelsError: dbt failed or left no table of opportunities.
    """
    warehouse = Paths(folder.resolve()).warehouse
    write_warehouse(shop, cutoff, warehouse)
    ran = subprocess.run(
        dbt_command(folder, dbt_vars(shop, cutoff)),
        env={**os.environ, **dbt_environment(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last = "\n".join((ran.stdout + ran.stderr).splitlines()[-25:])
        raise ModelsError(f"dbt build of {SELECTION} as of {cutoff} ended with code {ran.returncode}:\n{last}")
    return _opportunities(shop, warehouse)


def dbt_vars(shop: Shop, cutoff: dt.date) -> dict[str, Any]:
    """The models' variables for a comparison: days are the protocol's."""
    return {
        "score_as_of": str(cutoff),
        "score_horizon_days": shop.horizon_days,
        "score_active_days": shop.active_days,
        # It is judged here, at dates of the caller's choice, not by its own back-test.
        "score_backtest_dates": 0,
    }


def dbt_command(folder: Path, variables: Mapping[str, Any] | None = None) -> list[str]:
    """The command that builds and tests the models; its files go to a folder, so that runs side by side never collide.

    Args:
        folder: holds the warehouse.
        variables: dbt's; None: the project's own.
    """
    project = str(DBT_DIR)
    return [
        DBT_EXECUTABLE,
        *("--no-use-colors", "--log-path", str(folder.resolve() / "dbt_logs")),
        *("build", "--select", SELECTION, "--exclude-resource-type", "unit_test"),
        # The shop has no customer file, hence no dim_customers to look them up in.
        *("--exclude", "test_name:relationships"),
        *("--project-dir", project, "--profiles-dir", project, "--target-path", str(folder.resolve() / TARGET)),
        *(("--vars", json.dumps(variables)) if variables else ()),
    ]


def dbt_environment(folder: Path) -> dict[str, str]:
    """The environment variables that point the project at a folder's warehouse."""
    return {"NEXT_AISLE_DATA": str(folder.resolve())}


def write_warehouse(shop: Shop, cutoff: dt.date, path: Path) -> None:
    """Make a warehouse with core.dim_products and core.fct_purchases in the shape of their contracts.

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
        connection.execute(_DIM_PRODUCTS)
        connection.execute(_FCT_PURCHASES.format(cutoff=cutoff))
    finally:
        connection.execute("detach warehouse")


_DIM_PRODUCTS = f"""
create table warehouse.core.dim_products as
with known as (
    select product_id, cast(category as varchar) as category, is_merchandise, false as is_inferred from products
    union all
    select distinct product_id, null, true, true
    from lines anti join products using (product_id)
    where product_id is not null
)
select
    '{SOURCE}:' || product_id as product_key,
    '{SOURCE}' as source_name,
    product_id,
    cast(null as varchar) as product_name,
    cast(null as varchar) as department,
    '{SOURCE}:' || coalesce(category, 'Unknown') as category_key,
    coalesce(category, 'Unknown') as category_name,
    cast(null as varchar) as product_type,
    cast(null as varchar) as brand,
    cast(null as varchar) as manufacturer_id,
    cast(null as varchar) as package_size,
    is_merchandise,
    is_inferred
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
    is_merchandise
from lines join warehouse.core.dim_products using (product_id)
where cast(purchased_at as date) <= date '{{cutoff}}'
"""


def _opportunities(shop: Shop, warehouse: Path) -> pa.Table:
    connection = shop.connection
    connection.execute(f"attach {quote_text(str(warehouse))} as warehouse (read_only)")
    try:
        need_opportunities(connection, "warehouse.")
        return connection.sql(
            f"""select customers.customer_id, categories.name as category,
                scores.likelihood as score, scores.likelihood as probability
            from ({SCORES.format(catalog="warehouse.")}) as scores
            join customers on scores.customer_key = '{SOURCE}:' || customers.customer_id
            join categories on scores.category_key = '{SOURCE}:' || categories.name
            order by customers.customer, categories.category"""
        ).to_arrow_table()
    finally:
        connection.execute("detach warehouse")


def need_opportunities(connection: duckdb.DuckDBPyConnection, catalog: str = "") -> None:
    """Make sure that dbt made the table: where no model has the tag, it builds nothing and is content.

    Raises:
        ModelsError: there is no such table.
    """
    try:
        connection.execute(f"select 1 from {catalog}{TABLE} limit 0")
    except duckdb.CatalogException as error:
        raise ModelsError(
            f"dbt made no {TABLE}: is a model of {SELECTION} there? --no-ours goes without it."
        ) from error


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
