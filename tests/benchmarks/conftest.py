import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks.score_quality import ours
from warehouse.paths import PROJECT_DIR

START = dt.date(2024, 1, 1)


def day(number: int) -> dt.datetime:
    """The evening of a day of the test's shop, counted from 0."""
    return dt.datetime.combine(START + dt.timedelta(days=number), dt.time(20))


class Files:
    """A shop's two files, as `--shop` takes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def purchases(self, lines: Sequence[tuple[Any, ...]], columns: str = "") -> None:
        """Lines of customer, product, day number, and if need be quantity and amount; a basket per customer and day."""
        rows = [(line[0], f"{line[0]}/{line[2]}", line[1], day(line[2]), *(line[3:] or (1, 2.5))) for line in lines]
        self._write("purchases", "customer_id, basket_id, product_id, purchased_at, quantity, amount", rows, columns)

    def products(self, products: Sequence[tuple[Any, ...]], names: str = "product_id, category") -> None:
        """Products and their levels."""
        self._write("products", names, products)

    def _write(self, name: str, names: str, rows: Sequence[tuple[Any, ...]], columns: str = "") -> None:
        with duckdb.connect() as connection:
            marks = ", ".join("?" * len(rows[0]))
            values = ", ".join([f"({marks})"] * len(rows))
            connection.execute(
                f"copy (select {columns or '*'} from (values {values}) as t({names})) "
                f"to '{self.folder / name}.parquet' (format parquet)",
                [value for row in rows for value in row],
            )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty folder for a shop's files."""
    folder = tmp_path / "shop"
    folder.mkdir()
    return Files(folder)


@pytest.fixture
def small_shop(files: Files) -> Files:
    """Three categories of one product each, days 0 to 90; as of day 40, with 28 days to come and 30 active days:

    customer  bought by day 40      active  candidates     bought in days 41 to 68
    1         bread, milk (30)      yes     wine           wine (50)
    2         bread (20)            yes     milk, wine     milk (68); wine (69) is too late
    3         milk (10)             no
    4         nothing by then       no
    """
    files.products([(10, "bread"), (11, "milk"), (12, "wine"), (13, None)])
    files.purchases(
        [
            (1, 10, 0), (1, 11, 30), (1, 12, 50),
            (2, 10, 20), (2, 11, 68), (2, 12, 69),
            (3, 11, 10),
            (4, 10, 41),
            (1, 13, 35), (3, 13, 35),  # of no known category
            (3, 10, 35, 1, 0.0), (3, 10, 36, -1, 2.5), (3, 99, 37),  # free, returned, of no known product
            (4, 10, 90),
        ]
    )  # fmt: skip
    return files


@pytest.fixture
def stub_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a dbt project with one model of our own in the place of the project's."""

    def put(sql: str) -> Path:
        project = tmp_path / "stub"
        (project / "models").mkdir(parents=True)
        (project / "macros").mkdir()
        (project / "dbt_project.yml").write_text(
            "name: stub\nprofile: next_aisle\nconfig-version: 2\n"
            "vars: {score_backtest_customers: 10000, score_backtest_dates: 6}\n"
        )
        for name in ("profiles.yml", "macros/generate_schema_name.sql"):
            (project / name).write_text((PROJECT_DIR / "dbt_project" / name).read_text())
        (project / "models" / "int_scores.sql").write_text(sql)
        monkeypatch.setattr(ours, "DBT_DIR", project)
        return project

    return put
