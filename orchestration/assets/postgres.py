"""The published tables in PostgreSQL as an asset: written after each publication, where a database is named."""

import dagster as dg

from delivery import postgres
from delivery.policy import PolicyError
from delivery.postgres import PostgresError
from orchestration.keys import POSTGRES, PUBLISHED
from orchestration.previews import UNCHANGED, last_metadata
from orchestration.project import Project
from orchestration.translators import EVERY_NIGHT
from warehouse.dbt_project import DbtProjectError
from warehouse.settings import Settings


def postgres_asset(project: Project) -> dg.AssetsDefinition:
    """Declare the published tables in PostgreSQL.

    Args:
        project: what the definitions are made from.
    """

    @dg.asset(
        key=POSTGRES,
        deps=[PUBLISHED],
        group_name="published",
        owners=project.owners("published"),
        kinds={"postgres"},
        freshness_policy=EVERY_NIGHT,
        description="The published tables in the PostgreSQL database that NEXT_AISLE_POSTGRES_URL names, for BI tools.",
    )
    def in_postgres(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        try:
            written = postgres.write_as_set(Settings(), context.log.info)
        except (PostgresError, PolicyError, DbtProjectError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if written.still_read:
            context.log.warning(postgres.warning(written))
        if not written.is_new:
            context.log.info(f"nothing new: the database has publication {written.publication_id}")
            return dg.MaterializeResult(metadata={**last_metadata(context, POSTGRES), UNCHANGED: True})
        return dg.MaterializeResult(
            metadata={
                "publication": written.publication_id,
                "dagster/row_count": sum(written.row_counts.values()),
                "tables": dg.MetadataValue.json(written.row_counts),
            }
        )

    return in_postgres
