"""How the cross-sell score's models grow with the shop: seconds and memory at 1, 10 and 40 times its customers.

`python -m benchmarks.score_scale` copies the sample's customers, each copy with numbers of its own, its baskets moved
by a few days, a tenth of its lines dropped and a tenth of its products exchanged for others of the shop, so that no two
customers are alike. The marts that the models read are written directly; what is measured is `dbt build` of the
models and their tests, as a program of its own.
"""

import argparse
import datetime as dt
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.table import Table

from benchmarks import scaled_shop
from benchmarks.main_job import machine
from benchmarks.processes import FailedError, run
from benchmarks.score_quality import ours, shop
from benchmarks.score_quality.shop import Shop, ShopError
from warehouse.paths import Paths
from warehouse.terminal import Terminal

# Products to exchange for come from this many lines, so that best sellers are chosen most often.
DRAWN_LINES = 10_000
MOVED_DAYS = 3


@dataclass(frozen=True)
class Figure:
    """What the models took at one size.

    Attributes:
        scale: times the sample's customers.
        lines: purchase lines.
        customers: customers with a purchase.
        pairs: active customers x categories never bought: what there is to score.
        seconds: wall time of `dbt build`, with its start.
        model_seconds: of that, running models and tests, as dbt reports it.
        peak_mib: memory of all its processes at its highest.
    """

    scale: int
    lines: int
    customers: int
    pairs: int
    seconds: float
    model_seconds: float
    peak_mib: float


def multiply(sample: Shop, scale: int) -> None:
    """Replace a shop's lines by those of several times as many customers; the first copy is the shop itself.

    Args:
        sample: its view `lines` is replaced; its tables `customers`, `categories` and `days` stay those of one copy.
        scale: number of copies, at least 1.
    """
    connection = sample.connection
    connection.execute("alter view lines rename to lines_of_one")
    # Chosen by hash, not by chance: the same shop in every run.
    connection.execute(
        f"""create table drawn as
        select row_number() over (order by hash(basket_id, product_id), basket_id, product_id) - 1 as number, product_id
        from lines_of_one qualify number < {DRAWN_LINES}"""
    )
    drawn = len(connection.table("drawn"))
    connection.execute(
        f"""create view lines as
        with copies as (
            select lines_of_one.*, copy.range as copy,
                   {scaled_shop.CHANCE},
                   if(copy.range = 0, 0,
                      cast(hash(basket_id, copy.range) % {2 * MOVED_DAYS + 1} as integer) - {MOVED_DAYS}) as days
            from lines_of_one cross join range({scale}) as copy
        ),
        numbered as ({scaled_shop.kept_lines(drawn)})
        select
            numbered.customer_id || '-' || numbered.copy as customer_id,
            numbered.basket_id || '-' || numbered.copy as basket_id,
            coalesce(drawn.product_id, numbered.product_id) as product_id,
            numbered.purchased_at + numbered.days * interval 1 day as purchased_at,
            numbered.quantity,
            numbered.amount
        from numbered left join drawn using (number)"""
    )


def measure(scale: int, folder: Path, all_pairs: bool) -> Figure:
    """Write the marts of a larger shop, then build the models once.

    Args:
        scale: times the sample's customers.
        folder: an empty folder on a local disk with a few gigabytes.
        all_pairs: keep every candidate pair instead of each customer's best few.

    Raises:
        ShopError: the sample is not installed.
        FailedError: dbt failed.
        ModelsError: dbt made no table of scores.
    """
    sample = shop.sample()
    multiply(sample, scale)
    warehouse = Paths(folder).warehouse
    ours.write_warehouse(sample, sample.newest_day, warehouse)
    variables = {**ours.dbt_vars(sample, sample.newest_day), "score_keep_per_customer": 0} if all_pairs else None
    sample.connection.close()
    lines, customers, pairs = _size(warehouse)
    command = ours.dbt_command(folder, variables)
    measured = run(command, ours.dbt_environment(folder), folder)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        ours.need_scores(connection)
    results = json.loads((folder / ours.TARGET / "run_results.json").read_text(encoding="utf-8"))["results"]
    model_seconds = sum(result["execution_time"] for result in results)
    return Figure(scale, lines, customers, pairs, measured.seconds, model_seconds, measured.peak_mib)


def _size(warehouse: Path) -> tuple[int, int, int]:
    """Lines, customers and candidate pairs, by the protocol of the comparison."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        row = connection.execute(
            f"""with bought as (
                select customer_key, category_key, max(purchase_date) as newest
                from core.fct_purchases
                where is_merchandise and category_key <> '{ours.SOURCE}:Unknown'
                group by all
            ),
            active as (
                select customer_key, count(*) as categories
                from bought
                group by all
                having max(newest) > (select max(newest) from bought) - {shop.ACTIVE_DAYS}
            )
            select
                (select count(*) from core.fct_purchases),
                (select count(distinct customer_key) from bought),
                (select sum((select count(distinct category_key) from bought) - categories) from active)"""
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


def _table(figures: list[Figure], all_pairs: bool) -> Table:
    table = Table(
        title="The score's models, " + ("every pair kept" if all_pairs else "each customer's best pairs kept"),
        title_justify="left",
        caption="Growth: seconds of models and tests against the first line, and the same for each pair (1 = linear).",
        caption_justify="left",
    )
    for heading in ("scale", "lines", "customers", "million pairs", "seconds", "models and tests s"):
        table.add_column(heading, justify="right")
    for heading in ("s per million pairs", "growth", "per pair", "peak MiB"):
        table.add_column(heading, justify="right")
    first = figures[0]
    for figure in figures:
        growth = figure.model_seconds / first.model_seconds
        table.add_row(
            f"{figure.scale}x",
            f"{figure.lines:,}",
            f"{figure.customers:,}",
            f"{figure.pairs / 1e6:.2f}",
            f"{figure.seconds:.1f}",
            f"{figure.model_seconds:.1f}",
            f"{figure.model_seconds / figure.pairs * 1e6:.2f}",
            f"{growth:.1f}",
            f"{growth * first.pairs / figure.pairs:.2f}",
            f"{figure.peak_mib:,.0f}",
        )
    return table


def scale_of(text: str) -> int:
    """Read a number of copies from the command line.

    Args:
        text: as typed.

    Raises:
        ArgumentTypeError: it is not a number from 1.
    """
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of copies; write 1 or more")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print.

    Returns:
        The exit code: 0, or 2 when a build failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.score_scale",
        description="Measure the cross-sell score's models on the sample shop with several times as many customers.",
        epilog="At 40x the shop has 54 million lines: allow some minutes and a few gigabytes of disk.",
    )
    parser.add_argument("--scale", type=scale_of, nargs="+", default=[1, 10, 40], help="default: 1 10 40")
    parser.add_argument("--all-pairs", action="store_true", help="keep every pair instead of each customer's best few")
    parser.add_argument("--data", type=Path, help="existing folder for the temporary files (default: the system's)")
    chosen = parser.parse_args(arguments)
    say = Terminal(sys.stderr, soft_wrap=True)
    # What the table needs.
    console = Terminal(sys.stdout, columns=120)
    figures = []
    try:
        for scale in chosen.scale:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="next-aisle-scale-", dir=chosen.data) as folder:
                figure = measure(scale, Path(folder).resolve(), chosen.all_pairs)
            took = dt.timedelta(seconds=round(time.perf_counter() - started))
            say.print(f"{scale}x  {figure.pairs:,} pairs  {figure.seconds:.1f} s  (with making the shop {took})")
            figures.append(figure)
    except (ShopError, FailedError, ours.ModelsError) as error:
        say.print(f"error: {error}")
        return 2
    console.print(machine(), soft_wrap=True)
    console.print(_table(figures, chosen.all_pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
