"""How the newest run stands to an objective that needs the history, in words."""

import duckdb
import pytest

from quality import usual


@pytest.mark.parametrize(
    ("budget_left", "words"),
    [(0.5, "50 % of the error budget left"), (-1.22, "error budget exceeded by 122 %")],
)
def test_the_standing_says_what_is_left_of_the_error_budget(budget_left: float, words: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema quality")
        connection.execute(
            f"""
            create table quality.slo_status as
            select
                'r' as run_id, 'sizes' as objective, 'warning' as status, 85.714 as lowest_in_run, 88.88 as attained,
                cast(95 as double) as target, {budget_left} as error_budget_left, 'steady' as trend
            """
        )
        connection.execute(
            """
            create table quality.check_results as
            select
                'r' as run_id, 'sizes' as objective, 'warn' as status, 'raw_shop.purchases' as table_name,
                'size' as check_name, 'monday has 534 rows, about 3,840 expected' as description
            """
        )
        assert usual.read(connection)["sizes"].description == (
            f"warning: 85.71 % in this run, 88.88 % in the window, 95 % promised; {words}; steady. "
            "raw_shop.purchases: monday has 534 rows, about 3,840 expected"
        )
