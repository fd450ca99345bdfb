"""A shop several times the sample's size, as landed files: one Parquet file of purchases a day, customers and products.

Each copy has customers and baskets with numbers of its own; a tenth of its lines are dropped and a tenth have another
product of the shop, so that no two customers are alike. The first copy is the sample itself. One day is written at a
time, so memory does not grow with the shop.
"""

import shutil
from pathlib import Path

import duckdb

# Added to the numbers of each copy; the sample's largest are far below.
CUSTOMER_OFFSET = 1_000_000
BASKET_OFFSET = 10_000_000_000_000

# Of the lines of a copy, by a hash of basket and product.
DROPPED_PERCENT = 10
EXCHANGED_PERCENT = 10


# Decides whether a line of a copy is kept, dropped or exchanged, 0 to 99. All lines of the first copy are kept.
CHANCE = "if(copy.range = 0, 100, hash(basket_id, product_id, copy.range) % 100) as chance"


def kept_lines(drawn: int) -> str:
    """Write the SQL of the lines that copies keep, with the number of the product that takes the place of theirs.

    Args:
        drawn: how many products there are to exchange for.

    Returns:
        A query of `copies`, which has the columns basket_id, product_id, copy and chance.
    """
    return f"""select *,
        case when chance between {DROPPED_PERCENT} and {DROPPED_PERCENT + EXCHANGED_PERCENT - 1}
        then cast(hash(product_id, basket_id, copy) % {drawn} as bigint) end as number
        from copies where chance >= {DROPPED_PERCENT}"""


def write(sample: Path, folder: Path, scale: int) -> None:
    """Write the files of a larger shop.

    Args:
        sample: the landing folder of the sample shop, with its files.
        folder: the landing folder to write; its day files are replaced.
        scale: times the sample's customers, at least 1.
    """
    (folder / "purchases").mkdir(parents=True, exist_ok=True)
    shutil.copy(sample / "products.csv", folder)
    with duckdb.connect() as connection:
        connection.execute(
            f"""copy (
                select household_id + copy.range * {CUSTOMER_OFFSET} as household_id, * exclude (household_id)
                from read_csv('{sample}/customers.csv') cross join range({scale}) as copy order by copy.range
            ) to '{folder}/customers.csv' (header)"""
        )
        # Products to exchange for come from the lines of the newest days, so that best sellers are chosen most often.
        days = sorted((sample / "purchases").glob("*.parquet"))
        newest = [str(day) for day in days[-7:]]
        connection.execute(
            f"""create table drawn as
            select row_number() over (order by basket_id, product_id) - 1 as number, product_id
            from read_parquet({newest})"""
        )
        drawn = connection.execute("select count(*) from drawn").fetchall()[0][0]
        for day in days:
            connection.execute(
                f"""copy (
                    with copies as (
                        select *, copy.range as copy, {CHANCE}
                        from read_parquet('{day}') cross join range({scale}) as copy
                    ),
                    numbered as ({kept_lines(drawn)})
                    select
                        household_id + copy * {CUSTOMER_OFFSET} as household_id,
                        basket_id + copy * {BASKET_OFFSET} as basket_id,
                        coalesce(drawn.product_id, numbered.product_id) as product_id,
                        numbered.* exclude (household_id, basket_id, product_id, copy, chance, number, range)
                    from numbered left join drawn using (number)
                    order by basket_id
                ) to '{folder}/purchases/{day.name}' (format parquet, compression zstd)"""
            )
