"""A worked notebook on the published file: what sells, whom to offer what, and how far to trust it.

Open it with `make notebook`. It also runs as a script: `python docs/notebook.py`.
"""

import marimo

app = marimo.App(width="medium", app_title="Next Aisle")


@app.cell
def _():
    import os
    from pathlib import Path

    import altair as alt
    import duckdb
    import marimo as mo

    # Read-only: the file is replaced by each publication, and this connection keeps the one that it opened.
    file = Path(os.environ.get("NEXT_AISLE_DATA") or "data") / "published" / "next_aisle.duckdb"
    published = duckdb.connect(str(file), read_only=True)
    return alt, file, mo, published


@app.cell
def _(file, mo, published):
    as_of, total, customers = published.sql(
        "select max(purchase_date), sum(amount), count(distinct customer_key) from core.fct_purchases"
    ).fetchone()
    mo.md(f"""
    # What to offer next

    From `{file}`: purchases up to **{as_of}**, **{total:,.2f}** spent by **{customers:,}** customers.
    """)
    return as_of, customers, total


@app.cell
def _(alt, mo, published):
    by_month = published.sql(
        "select date_trunc('month', purchase_date)::date as month, sum(amount)::double as spending "
        "from core.fct_purchases group by 1 order by 1"
    ).pl()
    chart = (
        alt.Chart(by_month, title="Spending by month", width="container", height=220)
        .mark_bar()
        .encode(alt.X("yearmonth(month):O", title=None), alt.Y("spending:Q", title=None))
    )
    mo.ui.altair_chart(chart, chart_selection=False, legend_selection=False)
    return (by_month,)


@app.cell
def _(mo, published):
    offers = published.sql(
        """
        select category_label as offer, count(*) as customers, round(sum(likelihood), 1) as expected_first_purchases,
            round(sum(expected_value), 2) as expected_spending
        from cross_sell.customer_opportunities
        where rank <= 3 and not is_staple
        group by 1 order by 4 desc, 1 limit 20
        """
    ).pl()
    category = mo.ui.dropdown(offers["offer"].to_list(), value=offers["offer"][0], label="Show the customers for")
    mo.vstack([mo.md("## The categories worth most as an offer"), mo.ui.table(offers, selection=None), category])
    return category, offers


@app.cell
def _(category, mo, published):
    chosen = published.execute(
        """
        select customer_id, round(likelihood, 3) as likelihood, round(baseline_likelihood, 3) as baseline_likelihood,
            round(expected_value, 2) as expected_value,
            (select string_agg(r.owned_category_label, ', ' order by r.rank)
            from cross_sell.customer_opportunity_reasons as r where r.opportunity_key = o.opportunity_key) as buys
        from cross_sell.customer_opportunities as o
        where category_label = $category order by likelihood desc, customer_id limit 100
        """,
        {"category": category.value},
    ).pl()
    mo.ui.table(chosen, selection=None)
    return (chosen,)


@app.cell
def _(mo, published):
    standing = published.sql(
        "select objective, status, target, attained from quality.slo_status order by status, objective"
    ).pl()
    mo.vstack([mo.md("## How good the data is"), mo.ui.table(standing, selection=None)])
    return (standing,)


if __name__ == "__main__":
    app.run()
