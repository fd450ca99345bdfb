"""The landed files as assets; for the sample shop, also what lands them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from ingestion import sample_shop, source
from ingestion.landed_files import LandedFiles
from ingestion.raw_tables import LoadError
from ingestion.remote_files import kind_of
from orchestration.holds import may_hold
from orchestration.keys import landing_key
from orchestration.project import Project


def landing_assets(project: Project, name: str) -> dg.AssetsDefinition | list[dg.AssetSpec]:
    """Declare a source's landed files.

    Args:
        project: what the definitions are made from.
        name: the source's name.

    Returns:
        For the sample shop, assets that land its missing days. For any other source of landed files, external assets:
        the retailer lands the files, here or at the source's location. Nothing for a source of another kind.
    """
    landed = source.find(name)
    if not isinstance(landed, LandedFiles):
        return []
    specs = [
        dg.AssetSpec(
            landing_key(name, table.name),
            group_name="landing",
            owners=project.owners("landing"),
            kinds={type(table.format).__name__.lower(), *([kind_of(landed.location)] if landed.location else [])},
            description=f"Files {landed.origin}/{table.files}, as the shop sends them.",
        )
        for table in landed.tables
    ]
    if name != sample_shop.SOURCE or landed.location:
        return specs

    @dg.multi_asset(name=f"land_{name}", specs=specs)
    def land(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        """Land the sample shop's missing days; files of another origin are left alone."""
        try:
            new_files = sample_shop.land(project.paths, say=context.log.info)
        except LoadError as error:
            if not may_hold(context, project):
                raise dg.Failure(str(error), allow_retries=False) from error
            # What is landed so far is loaded, and judged.
            context.log.warning(str(error))
            new_files = 0
        folder = project.paths.landing / name
        for table in landed.tables:
            files = list(folder.glob(table.names.glob))
            yield dg.MaterializeResult(
                asset_key=landing_key(name, table.name),
                metadata={
                    "folder": dg.MetadataValue.path(str(folder)),
                    "files": len(files),
                    "bytes": sum(file.stat().st_size for file in files),
                    "files_landed_now": new_files,
                },
            )

    return land
