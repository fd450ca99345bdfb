"""What the definitions are made from, read once when they load."""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from ingestion.late import late
from orchestration.schedules import Hours, read_hours
from quality import objectives
from quality.freshness import has_limit
from quality.objectives import Objectives
from warehouse import dbt_project
from warehouse.dbt_project import Manifest
from warehouse.paths import Paths
from warehouse.settings import Settings, export_data


@dataclass(frozen=True)
class Project:
    """What the definitions are made from.

    Attributes:
        paths: where data lives.
        manifest_path: where dbt's manifest is.
        manifest: the same, read.
        sources: the active sources.
        objectives: what is promised of the data.
        own_objectives: whether they are others than those of the project.
        hours: when the nightly job runs by itself.
        readers: the group that may read the published folder.
        personal_key: what encrypts the personal columns of what is published; None: they stay in the published file.
        keep_superseded_days: how many days the raw tables keep row versions that no longer count.
        has_postgres: whether a PostgreSQL database is named that the published tables are also written to.
    """

    paths: Paths
    manifest_path: Path
    manifest: Manifest
    sources: list[str]
    objectives: Objectives
    own_objectives: bool
    hours: Hours
    readers: str | None
    personal_key: bytes | None = field(repr=False)
    keep_superseded_days: int
    has_postgres: bool

    def owners(self, group: str) -> list[str]:
        """Say whom to ask about an asset, as Dagster writes it: the owner of the dbt group of the same name.

        Args:
            group: the asset's group.
        """
        return [f"team:{dbt_project.owner(self.manifest, group)['name']}"]

    def late(self, day: dt.date) -> list[str]:
        """Name the shops that have not delivered a day; those that are history are not expected to.

        Args:
            day: the day.
        """
        expected = [
            name
            for name in self.sources
            if dbt_project.has_source_table(self.manifest, name, "purchases")
            and has_limit(dbt_project.source_table(self.manifest, name, "purchases"))
        ]
        return late(self.paths, expected, day)

    def current_manifest(self) -> Manifest:
        """dbt's manifest of the project as it is now: a server may have read it before somebody edited a model.

        Raises:
            DbtProjectError: the dbt project does not parse.
        """
        return dbt_project.read_manifest(dbt_project.prepare(Settings()))

    def column_schema(self, source: str, table: str) -> dg.TableSchema:
        """The columns that the dbt project describes for a source's table.

        Args:
            source: the source's name.
            table: the table's name.
        """
        columns = dbt_project.source_table(self.manifest, source, table)["columns"].values()
        return dg.TableSchema(
            [
                dg.TableColumn(column["name"], column["data_type"] or "unknown", description=column["description"])
                for column in columns
            ]
        )


def read_project() -> Project:
    """Read settings, manifest and objectives; touches neither the shop's data nor the network.

    Raises:
        DbtProjectError: the dbt project does not parse.
        ObjectivesError: the objectives do not make sense.
        TimezoneError: there is no time zone of the name that is set.
    """
    settings = Settings()
    export_data(settings.paths)
    manifest_path = dbt_project.prepare(settings)
    return Project(
        paths=settings.paths,
        manifest_path=manifest_path,
        manifest=dbt_project.read_manifest(manifest_path),
        sources=dbt_project.active_sources(),
        objectives=objectives.read(settings.objectives),
        own_objectives=settings.objectives is not None,
        hours=read_hours(settings),
        readers=settings.readers,
        personal_key=settings.key_of_personal_columns,
        keep_superseded_days=settings.keep_superseded_days,
        has_postgres=settings.postgres_url is not None,
    )
