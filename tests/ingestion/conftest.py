import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion import sources
from tests.fixtures import tiny_shop
from tests.fixtures.shop_api import ShopApi
from tests.ingestion import corner_shop
from tests.ingestion.raw import load_shop


@pytest.fixture(scope="session")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the tiny shop landed and loaded, to copy."""
    root = tmp_path_factory.mktemp("loaded_once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_DATA", str(root))
        tiny_shop.land(root / "landing" / "complete_journey")
        load_shop()
    return root


@pytest.fixture
def loaded(loaded_once: Path, data: Path) -> Path:
    """The tiny shop, landed and loaded, in a data folder of the test's own; the fixture is its landing folder."""
    shutil.copytree(loaded_once, data, dirs_exist_ok=True)
    return data / "landing" / "complete_journey"


@pytest.fixture
def api(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopApi]:
    """The corner shop's API, running and empty; its source is among those that can be loaded."""
    with ShopApi().running() as api:
        for name, value in corner_shop.environment(api).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(corner_shop.SOURCES)])
        yield api
