"""SQL of MetricFlow, written faster: the same answers, also where the lines cannot be summed up first."""

import duckdb
import pytest

from delivery.fast_sql import quickened

SHOP = """
create table days as select unnest(generate_series(date '2026-01-01', date '2026-03-31', interval 1 day))::date as day;
select setseed(0.5);
create table lines as
select ('2026-01-01'::date + (random() * 80)::int)::date as bought, 'customer ' || (random() * 30)::int as customer,
    case when random() < 0.9 then (random() * 9)::decimal(18, 2) end as amount,
    case when random() < 0.9 then 'kind ' || (random() * 3)::int end as kind
from range(2000);
insert into lines values (null, 'customer 1', 5, 'kind 1'), ('2026-02-01', null, 5, 'kind 1');
"""
SOURCE = (
    "select date_trunc('day', bought) as metric_time__day, amount as __spent, customer as __buyers, kind from lines"
)
WINDOW = "(lines_cte.metric_time__day <= spine.day) and (lines_cte.metric_time__day > spine.day - interval 28 day)"
TO_DATE = "(lines_cte.metric_time__day <= spine.day)"


def rolling(what: str, window: str = WINDOW, then: str = "") -> str:
    return (
        f"with lines_cte as ({SOURCE}) select spine.day, {what} from main.days as spine "
        f"inner join lines_cte on {window} group by spine.day{then}"
    )


@pytest.fixture
def shop() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(SHOP)
    return connection


SUM, DISTINCT = "sum(lines_cte.__spent) as spent", "count(distinct lines_cte.__buyers) as buyers"
HANDED_ON = f"""
with lines_cte as ({SOURCE})
select a.day, a.kind, spent, buyers, kinds from (
    select inner_lines.day, inner_lines.kind, sum(inner_lines.__spent) as spent from (
        select spine.day, lines_cte.kind as kind, lines_cte.__spent as __spent
        from main.days as spine inner join lines_cte on {WINDOW}
    ) as inner_lines group by inner_lines.day, inner_lines.kind
) as a
full outer join (
    select metric_time__day, count(distinct __buyers) as buyers, count(distinct kind) as kinds from lines_cte group by 1
) as b on a.day = b.metric_time__day
"""


@pytest.mark.parametrize(
    ("sql", "is_summed_first"),
    [
        (rolling(SUM), True),
        (rolling(f"{SUM}, {DISTINCT}"), True),
        (rolling(f"{SUM}, {DISTINCT}", TO_DATE), True),
        (rolling(DISTINCT), True),
        (rolling(f"{SUM}, count(distinct lines_cte.__spent) as amounts"), False),
        (rolling("avg(lines_cte.__spent) as mean"), False),
        (rolling("count(lines_cte.__buyers) as lines"), False),
        (rolling("count(*) as lines"), False),
        (rolling(f"{SUM}, sum(case when lines_cte.kind = 'kind 1' then 1 else 0 end) as of_kind"), False),
        (rolling(f"{SUM}, max(lines_cte.__spent) as highest"), False),
        (rolling("min(lines_cte.__buyers) as first_buyer"), True),
        (HANDED_ON, True),
        (
            "select spine.day, sum(lines_cte.amount) as spent, count(distinct lines_cte.customer) as buyers "
            "from main.days as spine inner join main.lines as lines_cte on "
            f"{WINDOW.replace('lines_cte.metric_time__day', 'lines_cte.bought')} group by 1",
            True,
        ),
        (
            "select spine.day, sum(lines_cte.__spent) as spent from main.days as spine "
            f"inner join ({SOURCE}) as lines_cte on {WINDOW} group by spine.day",
            True,
        ),
    ],
)
def test_a_window_is_joined_by_equal_days_with_the_same_answer(
    sql: str, is_summed_first: bool, shop: duckdb.DuckDBPyConnection
) -> None:
    quick = quickened(sql)
    expected = shop.sql(f"from ({sql}) order by all").fetchall()
    assert len(expected) > 60
    assert shop.sql(f"from ({quick}) order by all").fetchall() == expected
    assert "lines_cte_days.day_of_lines <= spine.day" in quick
    assert ("GROUP BY" in quick[: quick.index("JOIN")]) == is_summed_first


def test_what_joins_no_window_is_read_again_for_each_metric(shop: duckdb.DuckDBPyConnection) -> None:
    sql = f"with lines_cte as ({SOURCE}) select kind, sum(__spent) as spent from lines_cte group by kind"
    quick = quickened(sql)
    assert "AS NOT MATERIALIZED" in quick and "day_of_lines" not in quick
    assert shop.sql(f"from ({quick}) order by all").fetchall() == shop.sql(f"from ({sql}) order by all").fetchall()


def test_months_are_joined_as_they_are(shop: duckdb.DuckDBPyConnection) -> None:
    sql = (
        f"with lines_cte as ({SOURCE}) select spine.day, sum(lines_cte.__spent) as spent from main.days as spine "
        "inner join lines_cte on spine.day - interval 1 month = lines_cte.metric_time__day group by spine.day"
    )
    assert "day_of_lines" not in quickened(sql)
    assert (
        shop.sql(f"from ({quickened(sql)}) order by all").fetchall()
        == shop.sql(f"from ({sql}) order by all").fetchall()
    )
