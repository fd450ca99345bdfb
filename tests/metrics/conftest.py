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

from tests.conftest import PLACE, Project, Stage
from tests.fixtures import tiny_shop

CUSTOMERS = 45
DAYS = 210

# A category that is in two departments, one with petrol and merchandise, a product without a category, and one that is
# never bought.
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
        day = tiny_shop.TODAY - dt.timedelta(days=age)
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


class MetricFlow:
    """A process that answers questions to a published copy, one after the other: starting it takes four seconds.

    Args:
        project: where it looks for its files.
        data: the data folder of the published copy.
    """

    def __init__(self, project: Project, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "ask.py")],
            cwd=project.dbt_dir,
            env=project.env | {"NEXT_AISLE_DATA": str(data)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, question: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        output = []
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
            output.append(line)
        raise AssertionError("".join(output))

    def close(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


class Shop:
    """A published shop, asked in SQL and asked for metrics."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.open: dict[Path, MetricFlow] = {}

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """What the published copy says."""
        with duckdb.connect(str(self.project.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
            return connection.execute(statement).fetchall()

    def ask(self, questions: list[Any], data: Path | None = None) -> list[Any]:
        """What MetricFlow says to each question."""
        folder = data or self.project.data
        if folder not in self.open:
            self.open[folder] = MetricFlow(self.project, folder)
        return [self.open[folder].ask(question) for question in questions]

    def close(self) -> None:
        for process in self.open.values():
            process.close()

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
def dbt_dir(stage: Stage) -> Path:
    """A copy of the dbt project, parsed."""
    project = Project(stage.data, stage.code)
    with PLACE.lent(project.dbt_dir / "target"):
        parsed = project.dbt("parse", "--no-partial-parse")
    assert parsed.returncode == 0, parsed.stdout
    assert "WARNING" not in parsed.stdout, parsed.stdout
    return project.dbt_dir


@pytest.fixture(scope="session")
def manifest(dbt_dir: Path) -> dict[str, Any]:
    return json.loads((dbt_dir / "target" / "manifest.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def shop(stage: Stage, dbt_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The made-up shop, or the one whose data folder NEXT_AISLE_METRICS_DATA names."""
    if given := os.environ.get("NEXT_AISLE_METRICS_DATA"):
        data = Path(given)
    else:
        data = tmp_path_factory.mktemp("shop") / "data"
        with stage.shop(moved_to=data) as project:
            land(project.landing)
            ran = project.nightly()
            assert ran.returncode == 0, ran.stdout + ran.stderr
            (project.data / "output.txt").write_text(ran.stdout, encoding="utf-8")
    shop = Shop(Project(data, stage.code))
    yield shop
    shop.close()
