"""The published copy as an asset: made last, and only when every blocking check passed. And what it holds so far."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from delivery.contract import ContractError, in_force, problem
from delivery.publication import PublicationError, describe, note_published_deliveries, publish
from orchestration.assets.models import scored_as_of
from orchestration.keys import PUBLISHED, PUBLISHED_DELIVERIES, VERDICT, WAREHOUSE_POOL, model_key
from orchestration.project import Project
from orchestration.translators import EVERY_NIGHT
from warehouse.connections import WarehouseBusyError
from warehouse.dbt_project import published_models, source_table
from warehouse.locks import only_writer


def published_asset(project: Project) -> dg.AssetsDefinition:
    """Declare the published copy.

    Args:
        project: what the definitions are made from; everything below models/marts is published.
    """
    models = published_models(project.manifest)
    marts = [(node["schema"], node["alias"]) for node in models]

    @dg.asset(
        key=PUBLISHED,
        deps=[VERDICT, *(model_key(*mart) for mart in marts)],
        group_name="published",
        owners=project.owners("published"),
        kinds={"duckdb"},
        pool=WAREHOUSE_POOL,
        freshness_policy=EVERY_NIGHT,
        description="The marts in a file of their own. Everyone reads this file, which never blocks a run.",
        output_required=False,
    )
    def next_aisle(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        if date := scored_as_of(context.run):
            context.log.warning(f"not published: the score is as of {date} (score_as_of). Readers keep what they have.")
            return
        try:
            with only_writer(project.paths, context.log.info):
                texts = in_force(project.manifest, project.objectives if project.own_objectives else None)
                publication = publish(project.paths, marts, texts, describe(models))
        except (PublicationError, WarehouseBusyError, ContractError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if outdated := problem(texts, publication.columns):
            context.log.warning(outdated)
        yield dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(publication.path)),
                "bytes": publication.path.stat().st_size,
                "dagster/row_count": sum(publication.row_counts.values()),
                "contract": dg.MetadataValue.json(sorted(texts)),
                "tables": dg.MetadataValue.json(publication.row_counts),
            }
        )

    return next_aisle


def published_deliveries_asset(project: Project) -> dg.AssetsDefinition:
    """Declare what readers have: the deliveries behind the copy that was published before this run.

    Args:
        project: what the definitions are made from.
    """
    declared = source_table(project.manifest, *PUBLISHED_DELIVERIES.path)

    @dg.asset(
        key=PUBLISHED_DELIVERIES,
        group_name="published",
        owners=project.owners("published"),
        kinds={"duckdb"},
        pool=WAREHOUSE_POOL,
        description=declared["description"],
        metadata={"dagster/column_schema": project.column_schema(*PUBLISHED_DELIVERIES.path)},
    )
    def deliveries(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        try:
            with only_writer(project.paths, context.log.info):
                rows = note_published_deliveries(project.paths)
        except WarehouseBusyError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(metadata={"dagster/row_count": rows})

    return deliveries
