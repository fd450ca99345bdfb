"""The cross-sell score on small made-up shops, by real dbt runs.

A run takes about six seconds, so that one warehouse holds many shops (every model keeps them apart) and tests share it.
"""

import datetime as dt
import math
import random
import statistics
from pathlib import Path

import duckdb
import pytest

from tests.dbt.shops import Purchase, Warehouse, shop

END = dt.date(2026, 6, 30)
DAY = dt.timedelta(days=1)


def warehouse(folder: Path, name: str) -> Warehouse:
    """An empty one; all of them share a target folder, so that dbt parses the project once."""
    return Warehouse(folder / name, folder / "target")


# Independent of anything: each customer begins with each category with the same likelihood on each day.
def noise(name: str, seed: int = 5) -> list[Purchase]:
    chance = random.Random(seed)
    bought = []
    for customer in range(250):
        for day in range(0, 252, 7):
            date = END - DAY * (day + chance.randrange(7))
            bought.append(Purchase(name, f"c{customer}", "always", date))
            bought += [Purchase(name, f"c{customer}", f"k{k}", date) for k in range(15) if chance.random() < 0.012]
    return bought


# Each customer has bought one of A0 to A4 all along, and begins with the B of its number ten times as often as with the
# other four.
def planted(name: str) -> list[Purchase]:
    chance = random.Random(7)
    bought = []
    for customer in range(1500):
        for day in range(0, 301, 14):
            date = END - DAY * (day + chance.randrange(14))
            bought.append(Purchase(name, f"c{customer}", f"A{customer % 5}", date))
            bought += [
                Purchase(name, f"c{customer}", f"B{n}", date)
                for n in range(5)
                if chance.random() < (0.03 if n == customer % 5 else 0.003)
            ]
    return bought


def odd_shops() -> list[Purchase]:
    lines = shop("a_week", END, 7, 30, 10, seed=2, visit_every=3)
    lines += shop("six_categories", END, 280, 60, 6, seed=3, visit_every=15, per_visit=0.5)
    lines += [Purchase("one_category", f"c{n % 20}", "only", END - DAY * n) for n in range(200)]
    lines += [Purchase("one_customer", "c", f"k{n % 9}", END - DAY * n) for n in range(0, 260, 4)]
    # All customers own "bread"; customer "all" owns everything; "lapsed" owns one thing and came long ago.
    some = shop("extremes", END, 280, 50, 12, seed=4, visit_every=12, per_visit=0.7)
    extremes = {(line.customer, line.day) for line in some}
    lines += some + [Purchase("extremes", customer, "bread", day) for customer, day in sorted(extremes)]
    lines += [Purchase("extremes", "all", category, END) for category in sorted({line.category for line in some})]
    lines += [Purchase("extremes", "all", "bread", END), Purchase("extremes", "lapsed", "bread", END - DAY * 279)]
    # A category that was first sold this week.
    lines += [Purchase("extremes", "c0000", "new", END - DAY * 3)]
    # A name with everything that SQL gives a meaning to.
    lines += [Purchase("extremes", f"c{n:04}", "100% 'x': _y", END - DAY * 200) for n in range(0, 50, 2)]
    return lines


@pytest.fixture(scope="module")
def shops(folder: Path) -> Warehouse:
    """Every odd shop in one warehouse, together with an ordinary one."""
    ordinary = shop("ordinary", END, 300, 120, 25, seed=1)
    return warehouse(folder, "shops").write([*ordinary, *odd_shops(), *noise("noise"), *planted("planted")]).build()


def basis(shops: Warehouse, name: str) -> set[str]:
    rows = shops.rows(
        f"select distinct score_basis from cross_sell.customer_opportunities where source_name = '{name}'"
    )
    return {row[0] for row in rows}


def test_two_builds_give_the_same_rows(folder: Path, shops: Warehouse) -> None:
    again = shops.copy(folder / "again").build(tests=False)

    assert again.everything() == shops.everything()


def close(first: dict[str, list[tuple[object, ...]]], second: dict[str, list[tuple[object, ...]]]) -> bool:
    """The same rows, to a billionth: sums of the same numbers in another order differ in the last digits."""

    def rounded(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
        return sorted([tuple(round(v, 9) if isinstance(v, float) else v for v in row) for row in rows], key=repr)

    return all(
        len(first[mart]) == len(second[mart])
        and all(
            all(
                a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 2e-9 * max(1, abs(a)))
                for a, b in zip(left, right, strict=True)
            )
            for left, right in zip(rounded(first[mart]), rounded(second[mart]), strict=True)
        )
        for mart in first
    )


@pytest.mark.slow
def test_what_happens_after_a_date_changes_nothing_that_is_scored_as_of_it(folder: Path) -> None:
    lines = shop("s", END, 300, 120, 25, seed=1)
    as_of = END - 2 * 28 * DAY
    before = [line for line in lines if line.day <= as_of]
    # Newcomers whose keys and categories sort before and between the others, so that every number shifts.
    later = [line for line in lines if line.day > as_of]
    later += [Purchase("s", f"a{n}", f"k{n:04}b", END - DAY * n) for n in range(20)]
    later += [Purchase("a_new_shop", f"c{n}", "k0001", END - DAY * n) for n in range(20)]

    then = warehouse(folder, "then").write(before).build(tests=False, score_as_of=f"'{as_of}'")
    with_later_rows = (
        warehouse(folder, "with_later_rows").write(before + later).build(tests=False, score_as_of=f"'{as_of}'")
    )
    assert close(then.everything(), with_later_rows.everything())

    # The same date, looked back at from today by the back-test.
    today = with_later_rows.build(tests=False)
    sql = """select c.customer_key, k.category_key, s.likelihood, s.score_basis
        from intermediate.int_scores s
        join intermediate.int_score_customers c on c.step = s.step and c.customer_number = s.customer_number
        join intermediate.int_score_categories k on k.step = s.step and k.category_number = s.category_number
        where s.source_name = 's' and s.step = {step} order by 1, 2"""
    scored_then, scored_today = then.rows(sql.format(step=0)), today.rows(sql.format(step=2))
    assert len(scored_then) > 500
    assert [(c, k, b) for c, k, _, b in scored_then] == [(c, k, b) for c, k, _, b in scored_today]
    assert max(abs(a[2] - b[2]) for a, b in zip(scored_then, scored_today, strict=True)) < 1e-9


def test_every_likelihood_is_between_0_and_1_and_ranks_have_no_gaps(shops: Warehouse) -> None:
    ((bad,),) = shops.rows(
        """select count(*) from intermediate.int_scores
           where likelihood is null or isnan(likelihood) or likelihood < 0 or likelihood > 1"""
    )
    assert bad == 0
    ranks = shops.rows(
        "select customer_key, list(rank order by rank) from cross_sell.customer_opportunities group by 1"
    )
    assert ranks
    assert all(
        customer_ranks == list(range(1, len(customer_ranks) + 1)) and len(customer_ranks) <= 10
        for _, customer_ranks in ranks
    )


def test_a_week_of_history_is_scored_and_says_that_it_is_too_little(shops: Warehouse) -> None:
    assert basis(shops, "a_week") == {"too little history"}
    assert shops.rows(
        """select count(*) > 0, count(learned_from_date), count(likelihood_low)
           from cross_sell.customer_opportunities where source_name = 'a_week'"""
    ) == [(True, 0, 0)]


def test_six_categories_are_scored(shops: Warehouse) -> None:
    assert basis(shops, "six_categories") <= {"learned", "no signal", "too little history"}
    assert basis(shops, "six_categories")


def test_a_shop_with_one_category_has_no_opportunities(shops: Warehouse) -> None:
    assert basis(shops, "one_category") == set()


def test_a_shop_whose_only_customer_owns_everything_has_no_opportunities(shops: Warehouse) -> None:
    assert basis(shops, "one_customer") == set()


def test_owned_categories_are_not_offered_and_lapsed_customers_get_no_offers(shops: Warehouse) -> None:
    offers = shops.rows(
        """select customer_key, category_name from cross_sell.customer_opportunities where source_name = 'extremes'
           and (category_name = 'bread' or customer_key in ('extremes:lapsed'))"""
    )
    assert offers == []
    ((offered,),) = shops.rows(
        """select list(distinct category_name order by category_name) from cross_sell.customer_opportunities
           where customer_key = 'extremes:all'"""
    )
    assert offered == ["100% 'x': _y", "new"]


def test_a_category_sold_for_less_than_a_horizon_is_too_new_to_judge(shops: Warehouse) -> None:
    rows = shops.rows(
        """select category_name, min(score_basis), max(score_basis) from cross_sell.customer_opportunities
           where source_name = 'extremes' group by all having bool_or(score_basis = 'category too new')"""
    )
    assert rows == [("new", "category too new", "category too new")]


def test_in_pure_noise_the_likelihood_is_near_the_adoption_rate(shops: Warehouse) -> None:
    ratios = shops.rows(
        """select sum(predicted_count) / sum(adopted_count) from cross_sell.score_backtest
           where source_name = 'noise' and method = 'score'"""
    )
    assert ratios[0][0] == pytest.approx(1, abs=0.2)
    # 0.012 a week for four weeks: 1 - 0.988 ** 4 = 0.047.
    ((low, mean, high),) = shops.rows(
        """select quantile_cont(likelihood, 0.05), avg(likelihood), quantile_cont(likelihood, 0.95)
           from intermediate.int_scores where source_name = 'noise' and step = 0"""
    )
    assert mean == pytest.approx(0.047, abs=0.012)
    assert low > 0.02 and high < 0.09, basis(shops, "noise")


def test_a_planted_association_is_found_and_named_as_the_reason(shops: Warehouse) -> None:
    assert basis(shops, "planted") == {"learned"}
    # Of those who do not have the B of their A yet: what is offered to them first, and why.
    firsts = shops.rows(
        """with offers as (
               select o.*, 'B' || cast(substr(customer_key, 10)::int % 5 as text) as theirs
               from cross_sell.customer_opportunities o where source_name = 'planted')
           select count(*), count(*) filter (where category_name = theirs),
               count(*) filter (where owned_category_name = 'A' || theirs[2] and adoption_lift > 2)
           from offers o left join cross_sell.customer_opportunity_reasons r
               on r.opportunity_key = o.opportunity_key and r.rank = 1
           where o.rank = 1 and exists (
               from offers p where p.customer_key = o.customer_key and category_name = theirs)"""
    )
    customers, theirs_first, with_the_reason = firsts[0]
    assert customers > 500
    assert theirs_first == with_the_reason == customers


def test_a_shop_without_purchases_builds_empty_marts(empty: Warehouse) -> None:
    assert all(rows == [] for rows in empty.everything().values())


@pytest.mark.slow
def test_three_thousand_products_and_few_customers_with_other_settings(folder: Path) -> None:
    lines = shop("s", END, 150, 40, 50, seed=1)
    lines += [Purchase("s", f"c{n % 40:04}", f"p{n}", END - DAY * (n % 150)) for n in range(3000)]
    built = warehouse(folder, "settings").write([*lines, *shop("t", END, 100, 40, 10, seed=8)])
    built.build(score_backtest_dates=0, score_keep_per_customer=0, score_horizon_days=7, score_level="product")

    assert built.everything()["score_backtest"] == []
    assert built.everything()["score_calibration"] == []
    ((kept, candidates, horizon, interval),) = built.rows(
        """select count(*), (select count(*) from intermediate.int_score_pairs where step = 0), max(horizon_days),
               count(likelihood_low) from cross_sell.customer_opportunities"""
    )
    # Forty customers, who each own fewer than 150 of more than 3,000 products.
    assert kept == candidates == interval > 40 * 2850
    assert horizon == 7
    ((bad,),) = built.rows(
        "select count(*) from intermediate.int_scores where not coalesce(likelihood between 0 and 1, false)"
    )
    assert bad == 0


def newton(rows: list[tuple[float, ...]], precision: list[float]) -> list[float]:
    """A weighted logistic regression with a prior, by the book: rows are y, weight, base and the columns of x."""
    size = len(precision)
    w = [0.0] * size
    for _ in range(30):
        gradient = [-p * v for p, v in zip(precision, w, strict=True)]
        hessian = [[precision[i] if i == j else 0.0 for j in range(size)] for i in range(size)]
        for y, weight, base, *x in rows:
            q = 1 / (1 + math.exp(-base - sum(a * b for a, b in zip(w, x, strict=True))))
            for i in range(size):
                gradient[i] += weight * (y - q) * x[i]
                for j in range(size):
                    hessian[i][j] += weight * q * (1 - q) * x[i] * x[j]
        # Gaussian elimination with pivoting, then from the last unknown back.
        for k in range(size):
            pivot = max(range(k, size), key=lambda row: abs(hessian[row][k]))
            hessian[k], hessian[pivot] = hessian[pivot], hessian[k]
            gradient[k], gradient[pivot] = gradient[pivot], gradient[k]
            for row in range(k + 1, size):
                factor = hessian[row][k] / hessian[k][k]
                gradient[row] -= factor * gradient[k]
                hessian[row] = [a - factor * b for a, b in zip(hessian[row], hessian[k], strict=True)]
        step = [0.0] * size
        for k in reversed(range(size)):
            step[k] = (gradient[k] - sum(hessian[k][j] * step[j] for j in range(k + 1, size))) / hessian[k][k]
        w = [a + b for a, b in zip(w, step, strict=True)]
    return w


def test_the_weights_are_those_of_a_regression_computed_another_way(shops: Warehouse) -> None:
    described = shops.rows("select column_name from (describe intermediate.int_score_learning)")
    fixed = ("source_name", "step", "window_step", "adopted", "weight", "base")
    features = [name for (name,) in described if name not in fixed]
    assert len(features) == 14
    for source, step in (("six_categories", 2), ("extremes", 0)):
        where = f"where source_name = '{source}' and step = {step}"
        rows = shops.rows(
            f"select adopted, weight, base, 1, {', '.join(features)} from intermediate.int_score_learning {where}"
        )
        (weights,) = shops.rows(f"select intercept, {', '.join(features)} from intermediate.int_score_weights {where}")
        assert len(rows) > 100
        columns_of_x = list(zip(*rows, strict=True))[4:]
        precision = [0.5] + [8 * max(0.001, statistics.pvariance(column)) for column in columns_of_x]
        assert weights == pytest.approx(newton(rows, precision), abs=1e-6)


@pytest.mark.parametrize(
    "regression", ["int_score_feature_weights", "int_score_trust", "int_score_score_shift", "int_score_rate_shift"]
)
@pytest.mark.parametrize("source", ["ordinary", "extremes", "noise"])
def test_the_last_round_of_a_regression_hardly_moves_a_weight(shops: Warehouse, regression: str, source: str) -> None:
    last_two = shops.rows(
        f"""select columns(* exclude (source_name, step, round_number)) from intermediate.{regression}
            where source_name = '{source}'
                and round_number >= (select max(round_number) - 1 from intermediate.{regression})
                and step in (select step from intermediate.int_score_weights where source_name = '{source}')
            order by step, round_number"""
    )
    assert last_two
    # The next round would move them by about the square of this.
    for before, last in zip(last_two[::2], last_two[1::2], strict=True):
        assert last == pytest.approx(before, abs=0.001)


def test_a_base_far_below_the_observed_rate_is_raised_to_it(folder: Path, shops: Warehouse) -> None:
    # Thirty of sixty were adopted; predicted was one in a million, log odds -13.815510. The level w that the prior of
    # precision 0.5 allows solves 30 - 60 / (1 + exp(13.815510 - w)) = 0.5 w. No feature tells any two apart.
    far_below = shops.copy(folder / "far_below")
    with duckdb.connect(str(far_below.path)) as connection:
        described = connection.execute("describe intermediate.int_score_sample").fetchall()
        no_features = {"source_name", "step", "customer_number", "category_number", "adopted", "weight", "base"}
        no_features |= {"weight_without_outcome"}
        features = [name for name, *_ in described if name not in no_features]
        connection.execute("insert into intermediate.int_score_dates by name select 'far' as source_name, 0 as step")
        connection.execute(
            """insert into intermediate.int_score_categories by name
               select 'far' as source_name, 1 as step, 3 as first_sold_step,
                   60 as candidate_count, 1e-6 as adoption_rate"""
        )
        connection.execute(
            f"""insert into intermediate.int_score_sample by name
                select 'far' as source_name, 1 as step, range % 2 as adopted, 1 as weight,
                    ln(1e-6 / (1 - 1e-6)) as base, {", ".join(f"0 as {name}" for name in features)}
                from range(60)"""
        )
    far_below.build(tests=False, select="int_score_start int_score_feature_weights")

    (weights,) = far_below.rows(
        f"""select intercept, {", ".join(features)} from intermediate.int_score_feature_weights
            where source_name = 'far' order by round_number desc limit 1"""
    )
    assert weights == pytest.approx((13.362502, *[0.0] * len(features)), abs=1e-6)


def test_an_unknown_level_is_an_error_that_lists_the_levels(folder: Path) -> None:
    result = warehouse(folder, "level").write([]).dbt(score_level="aisle")

    assert result.returncode != 0
    assert (
        "score_level is 'aisle'; it must be one of department, category, product_type, brand, product" in result.stdout
    )
