"""The published copy as an asset: made last, and only when every blocking check passed."""

import dagster as dg
from dagster_dbt import DbtProject

from delivery.contract import ContractError, put_beside, read_metadata, render
from delivery.dbt_metadata import published_models, read_manifest
from delivery.objectives import Objectives
from ingestion.warehouse import WarehouseBusyError, only_writer, paths
from orchestration.assets.raw import WAREHOUSE_POOL
from orchestration.publish import PublicationError, is_audited, publish
from orchestration.resources import OWNERS
from orchestration.translators import EVERY_NIGHT

PUBLISHED_KEY = dg.AssetKey(["published", "next_aisle"])


def published_asset(project: DbtProject, promised: Objectives) -> dg.AssetsDefinition:
    """Declare the published copy.

    Args:
        project: the dbt project; everything below models/marts is published.
        promised: the objectives that the contract beside it quotes.
    """
    marts = [(node["schema"], node["alias"]) for node in published_models(read_manifest(project.manifest_path))]

    @dg.asset(
        key=PUBLISHED_KEY,
        deps=[dg.AssetKey(mart) for mart in marts],
        group_name="published",
        owners=[OWNERS["analytics-engineering"]],
        kinds={"duckdb"},
        pool=WAREHOUSE_POOL,
        freshness_policy=EVERY_NIGHT,
        description="The marts, copied to a file of their own. Everyone reads this; nobody blocks a run by it.",
    )
    def next_aisle(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        try:
            with only_writer(context.log.info):
                if not is_audited():
                    raise PublicationError(
                        "the warehouse was changed since all its checks passed, or they never did. Run the nightly "
                        "job: it builds, checks and publishes everything."
                    )
                # Of the manifest that the models were built from.
                contract = render(read_metadata(read_manifest(project.manifest_path), promised))
                with put_beside(paths().published, contract):
                    publication = publish(marts)
        except (PublicationError, WarehouseBusyError, ContractError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except OSError as error:
            raise dg.Failure(f"could not publish: {error}. Is the disk full?", allow_retries=False) from error
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(publication.path)),
                "bytes": publication.path.stat().st_size,
                "dagster/row_count": sum(publication.row_counts.values()),
                "contract": dg.MetadataValue.json(sorted(contract)),
                "tables": dg.MetadataValue.json(publication.row_counts),
            }
        )

    return next_aisle
