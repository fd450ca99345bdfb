"""Every table, column and macro says what it is, who owns it and who reads it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import defs
from warehouse.dbt_project import Manifest, prepare, published_models, read_manifest
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(prepare(Settings()))


def described(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What must have a description, and the one it has."""
    named: list[dict[str, Any]] = [
        *(node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed", "snapshot")),
        *manifest["sources"].values(),
    ]
    for resource in named:
        yield resource["unique_id"], resource["description"]
        for column in resource["columns"].values():
            yield f"{resource['unique_id']}.{column['name']}", column["description"]
    for kind in ("groups", "exposures", "metrics", "saved_queries"):
        for resource in manifest[kind].values():
            yield resource["unique_id"], resource["description"]


def test_everything_in_the_catalogue_has_a_description(manifest: Manifest) -> None:
    without = [name for name, description in described(manifest) if not (description or "").strip()]
    assert without == []


def test_every_published_table_declares_its_columns_and_its_owner(manifest: Manifest) -> None:
    for node in published_models(manifest):
        assert node["columns"], node["name"]
        assert all(column["data_type"] for column in node["columns"].values()), node["name"]
        owner = manifest["groups"][f"group.next_aisle.{node['group']}"]["owner"]
        assert owner["name"], node["name"]
        assert owner["email"], node["name"]


def test_every_published_table_says_its_domain_use_case_and_tier_in_dagster_too(manifest: Manifest) -> None:
    assets = defs().resolve_asset_graph()
    for node in published_models(manifest):
        tags = assets.get(dg.AssetKey([node["schema"], node["alias"]])).tags
        for kind in ("domain", "use_case", "tier"):
            assert [tag for tag in tags if tag.startswith(f"{kind}.")], (node["name"], kind)


def test_every_exposure_has_an_owner_an_email_a_maturity_and_its_sources(manifest: Manifest) -> None:
    assert len(manifest["exposures"]) >= 5
    for exposure in manifest["exposures"].values():
        assert exposure["owner"]["name"], exposure["name"]
        assert "@" in exposure["owner"]["email"], exposure["name"]
        assert exposure["maturity"] in ("low", "medium", "high"), exposure["name"]
        assert exposure["depends_on"]["nodes"], exposure["name"]
