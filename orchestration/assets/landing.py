"""The landed files as assets; for the sample shop, also what lands them."""

from collections.abc import Iterator

import dagster as dg

from ingestion import sample_shop, warehouse
from ingestion.contracts import LandedTable, LandingError
from ingestion.load import source_module
from orchestration.resources import OWNERS


def landing_key(source: str, table: str) -> dg.AssetKey:
    """Key of the files that feed a raw table.

    Args:
        source: the source's name.
        table: the raw table's name.
    """
    return dg.AssetKey(["landing", source, table])


def landing_assets(source: str) -> dg.AssetsDefinition | list[dg.AssetSpec]:
    """Declare a source's landed files.

    Args:
        source: the source's name.

    Returns:
        For the sample shop, assets that land its missing days. For any other source, external assets: the retailer
        lands the files.
    """
    tables: tuple[LandedTable, ...] = source_module(source).TABLES
    specs = [
        dg.AssetSpec(
            landing_key(source, table.name),
            group_name="landing",
            owners=[OWNERS["data-platform"]],
            kinds={"parquet" if table.is_daily else "csv"},
            description=f"Files landing/{source}/{table.pattern}, as the shop sends them.",
        )
        for table in tables
    ]
    if source != sample_shop.SOURCE:
        return specs

    @dg.multi_asset(name=f"land_{source}", specs=specs)
    def land(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        """Land the sample shop's missing days; files of another origin are left alone."""
        try:
            landed = sample_shop.land(say=context.log.info)
        except LandingError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        folder = warehouse.paths().landing / source
        for table in tables:
            files = list(folder.glob(table.pattern))
            yield dg.MaterializeResult(
                asset_key=landing_key(source, table.name),
                metadata={
                    "folder": dg.MetadataValue.path(str(folder)),
                    "files": len(files),
                    "bytes": sum(file.stat().st_size for file in files),
                    "files_landed_now": landed,
                },
            )

    return land
