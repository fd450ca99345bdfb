from pathlib import Path

import pytest

from tests.dbt.shops import Warehouse


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all warehouses are; they share a target folder, so that dbt parses the project once."""
    return tmp_path_factory.mktemp("warehouses")


@pytest.fixture(scope="session")
def empty(folder: Path) -> Warehouse:
    """What dbt makes of a shop without purchases."""
    models = "tag:cross_sell int_churn dim_dates fct_category_adoptions"
    return Warehouse(folder / "empty", folder / "target").write([]).build(select=models)
