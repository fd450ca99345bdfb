"""PostgreSQL after each publication: an asset of its own, where a database is named."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from benchmarks.database_servers import PASSWORD, free_port
from orchestration.assets.postgres import postgres_asset
from orchestration.definitions import defs
from orchestration.keys import POSTGRES
from orchestration.previews import UNCHANGED
from orchestration.project import read_project
from tests.delivery.conftest import Database, database, postgresql_server  # noqa: F401
from tests.fixtures import made_publication


def materialize() -> tuple[bool, dict[str, Any], str]:
    """Run the asset; gives whether it succeeded, its metadata, and the error."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([postgres_asset(read_project())], instance=instance, raise_on_error=False)
    metadata = {
        key: value.value
        for event in done.get_asset_materialization_events()
        for key, value in event.materialization.metadata.items()
    }
    errors = [event.step_failure_data.error for event in done.get_step_failure_events()]
    return done.success, metadata, "".join(error.to_string() for error in errors if error)


def test_it_is_there_only_where_a_database_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not defs().resolve_asset_graph().has(POSTGRES)
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_URL", "postgresql://bi@127.0.0.1/shop")
    graph = defs().resolve_asset_graph()
    assert graph.get(POSTGRES).parent_keys == {dg.AssetKey(["published", "next_aisle"])}


def test_it_writes_what_is_new_and_says_when_nothing_is(
    data: Path,
    database: Database,  # noqa: F811
) -> None:
    made_publication.make(data)
    succeeded, metadata, error = materialize()
    assert succeeded, error
    assert metadata["tables"]["core.fct_purchases"] == made_publication.ROWS
    assert database.query("select publication_id from next_aisle.publication") == [(metadata["publication"],)]
    succeeded, metadata, error = materialize()
    assert succeeded, error
    assert metadata[UNCHANGED]


def test_without_the_server_the_step_fails_with_the_reason_and_without_the_password(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_publication.make(data)
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_URL", f"postgresql://bi@127.0.0.1:{free_port()}/shop")
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_PASSWORD", PASSWORD)
    succeeded, _, error = materialize()
    assert not succeeded
    assert "cannot connect to postgresql://bi:***@127.0.0.1" in error and "Is it running" in error
    assert PASSWORD not in error
