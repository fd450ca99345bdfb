"""How dbt's models look in Dagster: groups, owners, kinds and freshness follow from dbt's own metadata."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from orchestration.project import Project
from quality import data_tests

# The nightly run starts at 02:00; the result of the night before is a day old then, and a run takes its time.
EVERY_NIGHT = dg.FreshnessPolicy.time_window(warn_window=dt.timedelta(hours=26), fail_window=dt.timedelta(hours=36))

Node = Mapping[str, Any]


class LayerTranslator(DagsterDbtTranslator):
    """Derives what Dagster shows of a model from dbt's metadata.

    Args:
        project: has the owners of dbt's groups.
    """

    def __init__(self, project: Project) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))
        self.owners = project.owners

    def get_group_name(self, dbt_resource_props: Node) -> str | None:
        """Name the group after the layer: the dbt group, or `raw` for sources."""
        return (dbt_resource_props.get("config") or {}).get("group") or "raw"

    def get_owners(self, dbt_resource_props: Node) -> list[str]:
        """Say whom to ask: the owner of the dbt group."""
        return self.owners(str(self.get_group_name(dbt_resource_props)))

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """Expect every mart to be rebuilt each night."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        is_mart = "marts" in self.get_resource_props(manifest, unique_id)["fqn"]
        return spec.replace_attributes(freshness_policy=EVERY_NIGHT) if is_mart else spec

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: Any
    ) -> dg.AssetCheckSpec | None:
        """Describe a data test as a check; dagster-dbt's own description is that of the test's `meta`."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        return spec and spec._replace(description=data_tests.describe(self.get_resource_props(manifest, unique_id)))
