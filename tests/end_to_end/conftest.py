from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Night, Project, Stage


@pytest.fixture
def shop(stage: Stage, first_night: Night, tmp_path: Path) -> Iterator[Project]:
    """The tiny shop after its first night, the test's own."""
    with stage.shop(moved_to=tmp_path / "data", begin_with=first_night.data) as shop:
        yield shop


@pytest.fixture
def unchecked_shop(unchecked_stage: Stage, unchecked_first_night: Night, tmp_path: Path) -> Iterator[Project]:
    """The tiny shop after its first night, the test's own, where dbt's data tests are not run."""
    begin_with = unchecked_first_night.data
    with unchecked_stage.shop(moved_to=tmp_path / "data", begin_with=begin_with) as shop:
        yield shop
