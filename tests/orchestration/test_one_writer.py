"""Each step that writes the warehouse waits for another writer, also for one that Dagster does not know."""

import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg
import pytest
from dagster_dbt import DbtCliResource
from filelock import FileLock

from orchestration.definitions import defs
from tests import here
from tests.fixtures import tiny_shop
from warehouse.dbt_project import prepare
from warehouse.paths import Paths
from warehouse.settings import Settings

# A step that writes the warehouse, or the landed files, by one of its assets.
WRITERS = {
    "landing": ["landing", "complete_journey", "products"],
    "loading": ["complete_journey", "products"],
    "what is published": ["published", "deliveries"],
    "which shops are held": ["published", "held_sources"],
    "models": ["core", "dim_dates"],
    "the verdict and the record of the run": ["history", "runs"],
    "quality tables": ["quality", "slo_status"],
    "publication": ["published", "next_aisle"],
}


class Shop(NamedTuple):
    """A landed shop, and the assets that are defined for it."""

    paths: Paths
    assets: list[dg.AssetsDefinition]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_MANIFEST", str(prepare(Settings())))
        patch.setenv("NEXT_AISLE_DATA", str(tmp_path_factory.mktemp("shop")))
        tiny_shop.land(here.paths().landing / "complete_journey")
        yield Shop(here.paths(), list(defs().resolve_asset_graph().assets_defs))


class Step:
    """A step in a thread of its own, with an instance that both threads may ask."""

    def __init__(self, instance: dg.DagsterInstance, assets: list[dg.AssetsDefinition], key: list[str]) -> None:
        self.instance = instance
        self.assets = assets
        self.thread = threading.Thread(target=self._run, args=[key])
        self.thread.start()

    def _run(self, key: list[str]) -> None:
        selection = dg.AssetSelection.keys(key).required_multi_asset_neighbors()
        dg.materialize(
            self.assets,
            selection=selection,
            instance=self.instance,
            raise_on_error=False,
        )

    def messages(self) -> list[str]:
        return [entry.user_message for run in self.instance.get_runs() for entry in self.instance.all_logs(run.run_id)]

    def waits(self) -> bool:
        """Whether it says that it waits; looked at until it does or is over, for a minute at most."""
        waiting = False
        until = time.monotonic() + 60
        while self.thread.is_alive() and not waiting and time.monotonic() < until:
            self.thread.join(0.1)
            waiting = any("another run, which is writing" in message for message in self.messages())
        return waiting


@pytest.mark.parametrize("step", WRITERS)
def test_a_step_waits_while_another_process_writes(
    step: str, shop: Shop, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the step does once it has the warehouse does not matter here: where it starts dbt, it fails.
    monkeypatch.delattr(DbtCliResource, "cli")
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster")), here.NO_COMPUTE_LOGS) as instance:
        with FileLock(shop.paths.writers_lock):
            running = Step(instance, shop.assets, WRITERS[step])
            waited = running.waits()
        running.thread.join(60)
        assert waited, running.messages()
        assert not running.thread.is_alive()
