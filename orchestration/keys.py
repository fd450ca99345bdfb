"""The names by which parts of the asset graph find each other."""

import dagster as dg

from quality.history import SOURCE as HISTORY

# The pool of all that writes the warehouse; its limit of one is in dagster.yaml.
WAREHOUSE_POOL = "warehouse"

# Selects the dbt models that are built from the run's own record, after all others.
AFTER_RECORDING = "tag:after_recording"

NEW_DELIVERIES = dg.AssetKey(["intermediate", "int_new_deliveries"])
RECONCILIATION = dg.AssetKey(["quality", "row_reconciliation"])
SLO_STATUS = dg.AssetKey(["quality", "slo_status"])
VERDICT = dg.AssetKey(["quality", "verdict"])
PUBLISHED = dg.AssetKey(["published", "next_aisle"])
PUBLISHED_DELIVERIES = dg.AssetKey(["published", "deliveries"])
POSTGRES = dg.AssetKey(["published", "postgres"])
HELD_SOURCES = dg.AssetKey(["published", "held_sources"])


def landing_key(source: str, table: str) -> dg.AssetKey:
    """Key of the files that feed a raw table.

    Args:
        source: the source's name.
        table: the raw table's name.
    """
    return dg.AssetKey(["landing", source, table])


def raw_key(source: str, table: str) -> dg.AssetKey:
    """Key of a raw table; dagster-dbt gives dbt's sources the same.

    Args:
        source: the source's name.
        table: the raw table's name.
    """
    return dg.AssetKey([source, table])


def history_key(table: str) -> dg.AssetKey:
    """Key of a table of the record of runs.

    Args:
        table: the table's name.
    """
    return raw_key(HISTORY, table)


def model_key(schema: str, table: str) -> dg.AssetKey:
    """Key of a dbt model; dagster-dbt gives it the same.

    Args:
        schema: the model's schema.
        table: its name in the warehouse.
    """
    return dg.AssetKey([schema, table])
