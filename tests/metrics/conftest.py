import datetime as dt
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Project, make_project
from tests.fixtures import tiny_shop

CUSTOMERS = 45
DAYS = 210

# A category that stands in two departments, one with petrol and merchandise, a product without a category, and one that
# nobody buys.
PRODUCTS = """product_id,manufacturer_id,department,brand,product_category,product_type,package_size
10,1,GROCERY,National,MILK,WHOLE MILK,1 GA
11,2,PASTRY,Private,BREAD,WHITE BREAD,
12,3,FUEL,National,COUPON/MISC ITEMS,GASOLINE-REG UNLEADED,
13,3,GROCERY,National,,,
14,1,GROCERY,Private,MILK,SKIM MILK,1 GA
15,2,DELI,National,BREAD,RYE BREAD,
16,4,GROCERY,Private,TEA,GREEN TEA,
17,4,DELI,National,CHEESE,GOUDA,
18,3,GROCERY,National,COUPON/MISC ITEMS,ELECTRONIC COUPONS,
19,4,DELI,National,FIGS,DRIED FIGS,
"""


def land(folder: Path) -> None:
    """Half a year of a shop with returns and free lines, customers of all paces, and some who never bought."""
    chance = random.Random(3)
    tiny_shop.land(folder)
    for day_file in (folder / "purchases").glob("*.parquet"):
        day_file.unlink()
    (folder / "products.csv").write_text(PRODUCTS, encoding="utf-8")
    known = "".join(
        f"{n},{('19-24', '35-44', '65+')[n % 3]},{('Under 15K', '50-74K')[n % 2]},Homeowner,"
        f"{('Married', 'Unmarried', '')[n % 3]},{n % 4 + 1},1 Adult No Kids,{n % 2}\n"
        for n in range(1, CUSTOMERS + 4, 2)
    )
    (folder / "customers.csv").write_text(tiny_shop.CUSTOMERS.splitlines()[0] + "\n" + known, encoding="utf-8")
    paces = {n: 1.5 + 12 * chance.random() ** 2 for n in range(1, CUSTOMERS + 1)}
    basket = 1000
    for age in range(DAYS, 0, -1):
        day = dt.date.today() - dt.timedelta(days=age)
        lines = []
        for customer, pace in paces.items():
            # Some are new, some are lost.
            away = (customer % 9 == 4 and age > 40) or (customer % 9 == 7 and age < 60)
            if away or chance.random() > 1 / pace:
                continue
            basket += 1
            for product in sorted({chance.choice([10, 10, 11, 12, 13, 14, 15, 16, 17, 18]) for _ in range(3)}):
                line = tiny_shop.line(
                    day, basket, customer, product, chance.choice([1, 1, 2]), round(chance.uniform(1, 9), 2)
                )
                if chance.random() < 0.03:
                    line |= {"quantity": -1, "sales_value": -1.5}
                elif chance.random() < 0.03:
                    line |= {"sales_value": 0.0}
                lines.append(line | {"store_id": 1 + customer % 3, "retail_disc": chance.choice([0.0, 0.25])})
        # The newest day has a purchase in any case.
        if age == 1:
            lines.append(tiny_shop.line(day, basket + 1, 1, 10, 1, 2.0))
        if lines:
            tiny_shop.write_day(folder, day, lines)


class Shop:
    """A published shop, asked in SQL and asked for metrics."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """What the published copy says."""
        with duckdb.connect(str(self.project.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
            return connection.execute(statement).fetchall()

    def ask(self, questions: list[Any], data: Path | None = None) -> list[Any]:
        """What MetricFlow says to each question."""
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "ask.py")],
            cwd=self.project.dbt_dir,
            env=self.project.env | ({"NEXT_AISLE_DATA": str(data)} if data else {}),
            input="".join(json.dumps(question) + "\n" for question in questions),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("answer ")]

    def mf(self, *arguments: str, data: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """`mf ...`, as a user types it."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "mf"), *arguments],
            cwd=self.project.dbt_dir,
            env=self.project.env | ({"NEXT_AISLE_DATA": str(data)} if data else {}),
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="session")
def dbt_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the dbt project, parsed."""
    folder = tmp_path_factory.mktemp("metrics")
    project = make_project(folder / "nothing", folder)
    parsed = project.dbt("parse", "--no-partial-parse")
    assert parsed.returncode == 0, parsed.stdout
    assert "WARNING" not in parsed.stdout, parsed.stdout
    yield project.dbt_dir


@pytest.fixture(scope="session")
def manifest(dbt_dir: Path) -> dict[str, Any]:
    return json.loads((dbt_dir / "target" / "manifest.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def shop(dbt_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The made-up shop, or the one whose data folder NEXT_AISLE_METRICS_DATA names."""
    if given := os.environ.get("NEXT_AISLE_METRICS_DATA"):
        return Shop(Project(Path(given), dbt_dir))
    data = tmp_path_factory.mktemp("shop") / "data"
    land(data / "landing" / "complete_journey")
    project = Project(data, dbt_dir)
    ran = project.python("orchestration", "nightly")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (data / "said.txt").write_text(ran.stdout, encoding="utf-8")
    return Shop(project)
