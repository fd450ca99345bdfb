import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from delivery import policy
from delivery.contract import FOLDER, files
from delivery.policy import Policy, Table
from delivery.service import Options, make_app
from delivery.tokens import Tokens
from tests.delivery.doors import made
from warehouse.dbt_project import prepare, read_manifest
from warehouse.settings import Settings

ROLES = ("admin", "marketing", "analyst", "viewer")


class House:
    """A service over a made-up publication, with a token for each role.

    Args:
        data: the data folder.
        rules: who may see what.
        client: asks it.
    """

    def __init__(self, data: Path, rules: Policy, tables: list[Table], client: TestClient) -> None:
        self.data = data
        self.rules = rules
        self.tables = tables
        self.client = client
        self.tokens = Tokens(Settings(data=data).paths.tokens)
        self.secrets = {role: self.tokens.create(f"of {role}", role, 1)[1] for role in rules.roles}

    @property
    def file(self) -> Path:
        return Settings(data=self.data).paths.published

    def get(self, role: str | None, path: str, headers: Any = None, **parameters: Any) -> Any:
        given = {"Authorization": f"Bearer {self.secrets[role]}"} if role else {}
        return self.client.get(path, params=parameters, headers=given | (headers or {}))

    def post(self, role: str, path: str, body: Any) -> Any:
        return self.client.post(path, json=body, headers={"Authorization": f"Bearer {self.secrets[role]}"})


def open_house(data: Path, rules: Policy | None = None, *, published: bool = True, **more: Any) -> Iterator[House]:
    settings = Settings(data=data, manifest=prepare(Settings()), **more)
    tables = policy.described(read_manifest(prepare(settings)))
    if published:
        made.publish(settings.paths.published, tables)
        for file in files(FOLDER):
            shutil.copy(file, settings.paths.published.parent)
    rules = rules or policy.read()
    app = make_app(settings, rules, Options(per_second=1e6, burst=1e6, threads=1))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield House(data, rules, tables, client)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests of a file, which only read."""
    yield from open_house(tmp_path_factory.mktemp("house"))


@pytest.fixture
def own_house(tmp_path: Path) -> Iterator[House]:
    """One of the test's own, whose publication it may change."""
    yield from open_house(tmp_path)
