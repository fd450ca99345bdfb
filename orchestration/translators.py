"""How dbt's models look in Dagster: groups, owners, kinds and freshness follow from the model's layer."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from orchestration.resources import OWNERS

# The nightly run starts at 02:00; the result of the night before is a day old then, and a run takes its time.
EVERY_NIGHT = dg.FreshnessPolicy.time_window(warn_window=dt.timedelta(hours=26), fail_window=dt.timedelta(hours=36))

Node = Mapping[str, Any]


class LayerTranslator(DagsterDbtTranslator):
    """Derives what Dagster shows of a model from its place in the dbt project."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))

    def get_group_name(self, dbt_resource_props: Node) -> str | None:
        """Name the group after the layer: the dbt group, or `raw` for sources."""
        return (dbt_resource_props.get("config") or {}).get("group") or "raw"

    def get_owners(self, dbt_resource_props: Node) -> list[str]:
        """Say whom to ask: whoever owns the layer's dbt group."""
        group = self.get_group_name(dbt_resource_props)
        return [OWNERS["data-platform" if group in ("raw", "staging", "quality") else "analytics-engineering"]]

    def get_freshness_policy(self, dbt_resource_props: Node) -> dg.FreshnessPolicy | None:
        """Expect every mart to be rebuilt each night."""
        return EVERY_NIGHT if "marts" in dbt_resource_props["fqn"] else None

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """Add the freshness policy to what dagster-dbt derives."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        policy = self.get_freshness_policy(self.get_resource_props(manifest, unique_id))
        return spec.replace_attributes(freshness_policy=policy) if policy else spec
