"""Match tables and columns, by name and by content, with the canonical shapes: customers, products, purchase lines."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from ingestion.new_source.found import Column, Found
from ingestion.new_source.look import python
from warehouse.sql import quote_name

_ID = r"_?(id|no|nr|num|number|nummer|key|code|ref)?"
_AT = r"_?(at|on|date|time|timestamp|datetime|datum|zeit|utc)"
_CUSTOMER = (
    rf"(customer|cust|client|kunden?|kd){_ID}",
    rf"(household|member|shopper|user|buyer|card|loyalty|account){_ID}",
)
_PRODUCT = (
    rf"(product|prod|item|article|artikel|art|sku|stock_?code|upc|ean|gtin){_ID}",
    rf"(variant|material|goods|plu){_ID}",
)
_NAME = r"(name|title|description|desc|bezeichnung|text|label)"

# Column of a shape -> names that it usually has, the surest first, and what it must be.
PURCHASES: dict[str, tuple[tuple[str, ...], str]] = {
    "customer_id": (_CUSTOMER, ""),
    "basket_id": (
        (rf"(basket|order|invoice|receipt|bill|ticket|rechnungs?|bestell|auftrags?){_ID}",),
        "",
    ),
    "product_id": (_PRODUCT, ""),
    "store_id": ((rf"(store|shop|branch|filiale?|outlet|location|warehouse){_ID}",), ""),
    "purchased_at": (
        (
            rf"(purchased?|order(ed)?|invoice|sold|sale|transaction|paid|kauf|bestell|rechnungs?|beleg){_AT}",
            r"(date|datum|time|timestamp|datetime|day|created(_at|_on)?|zeit|zeitpunkt)",
        ),
        "moment",
    ),
    "quantity": (
        (r"(quantity|qty|units|pieces|menge|anzahl|stueck|stuck|count|item_count)(_sold|_ordered)?",),
        "number",
    ),
    "amount": (
        (
            r"(line_?(total|amount|value|price)|(sales|net|gross|total)_?(value|amount|price|sales)|amount|revenue|umsatz"
            r"|betrag|gesamt(preis|betrag)?|positions(wert|betrag)|zeilen(summe|betrag))",
        ),
        "number",
    ),
    "unit_price": ((r"(unit|item|einzel|piece|single|stueck|stuck)_?(price|preis|cost)",), "number"),
    # Of one unit or of the line: the numbers say.
    "price": ((r"(price|preis|total|sales|value|spend|spent|paid|net|gross|summe|brutto|netto)(_\w{3})?",), "number"),
    "discount_amount": ((r"(total_|line_)?(discount|rabatt|disc)(_amount|_value|_total)?",), "number"),
}
CUSTOMERS: dict[str, tuple[tuple[str, ...], str]] = {
    "customer_id": ((*_CUSTOMER, r"id|nr|no|number|nummer"), ""),
    "birth_year": ((r"(birth_year|year_(of_)?birth|yob|born|geburtsjahr)",), "number"),
    "age_band": ((r"(age_(band|group|range|class)|age|alter)",), ""),
    "education": ((r"(education(_level)?|degree|bildung)",), ""),
    "marital_status": ((r"(marital|civil|family)_?status|familienstand",), ""),
    "income": ((r"(yearly_|annual_|household_)?income|einkommen",), "number"),
    "income_band": ((r"(income_(band|group|range|level)|income)",), "text"),
    "household_size": ((r"(household_size|persons|family_size)",), ""),
    "household_composition": ((r"household_comp(osition)?",), ""),
    "children": ((r"(children|kids|kids_count|number_of_children|kinder)",), ""),
    "home_ownership": ((r"(home_ownership|housing|homeowner)",), ""),
    "country": ((r"(country(_name|_code)?|land|nation)",), ""),
}
PRODUCTS: dict[str, tuple[tuple[str, ...], str]] = {
    "product_id": ((*_PRODUCT, r"id|nr|no|number|nummer|code"), ""),
    "product_name": ((rf"(product|item|article|artikel)_?{_NAME}", _NAME), ""),
    "department": ((r"(department|dept|division|abteilung|main_?category|segment|hauptgruppe)",), ""),
    "category": ((r"(product_|item_)?(category|kategorie|warengruppe|group|class|cat)(_name)?",), ""),
    "product_type": ((r"(sub_?category|product_type|type|sub_?class|untergruppe)(_name)?",), ""),
    "brand": ((r"(brand|marke)(_name)?",), ""),
    "manufacturer_id": ((rf"(manufacturer|maker|vendor|supplier|hersteller|lieferant){_ID}",), ""),
    "package_size": ((r"(package_size|pack_?size|size|content|unit_size)",), ""),
}
SHAPES = {"customers": CUSTOMERS, "products": PRODUCTS, "purchases": PURCHASES}


@dataclass
class Matched:
    """One canonical shape, and where its columns come from.

    Attributes:
        shape: customers, products or purchases.
        table: the table whose rows are the shape's rows; None: the shop sends none.
        columns: canonical column to the table's column.
        candidates: canonical column to those of the table that it could be, where that is for a person to decide.
        evidence: canonical column to why, where the name alone does not say it.
        lookup: a second table that a purchase line's missing columns come from, such as the orders of order lines.
        lookup_key: the column of the second table that names the basket.
        lookup_columns: canonical column to the second table's column.
        newest: of purchases, the newest date.
    """

    shape: str
    table: Found | None
    columns: dict[str, Column] = field(default_factory=dict)
    candidates: dict[str, list[Column]] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    lookup: Found | None = None
    lookup_key: str | None = None
    lookup_columns: dict[str, Column] = field(default_factory=dict)
    newest: dt.date | None = None


def match(tables: Sequence[Found], connection: duckdb.DuckDBPyConnection) -> dict[str, Matched]:
    """Find which table holds which shape, and which column is which.

    Args:
        tables: what the shop has.
        connection: for the SQL of their rows.

    Returns:
        One match for each of customers, products and purchases.
    """
    named = {(shape, table.name): by_name(shape, table) for shape in SHAPES for table in tables}
    purchases = max((named["purchases", table.name] for table in tables), key=_is_purchases)
    if not any(_is_purchases(purchases)):
        purchases = Matched("purchases", None)
    found = {"purchases": purchases}
    others = [table for table in tables if table is not purchases.table]
    for shape, key in (("customers", "customer_id"), ("products", "product_id")):
        fitting = [
            matched
            for matched in (named[shape, table.name] for table in others)
            if key in matched.columns
            and len(matched.columns) > 1
            and matched.columns[key].is_unique
            # An order's own number is no customer's.
            and matched.columns[key].name != _name_of(named["purchases", _table(matched).name], "basket_id")
        ]
        best = max(fitting, key=lambda one: (shape[:-1] in _table(one).name, len(one.columns)), default=None)
        found[shape] = best or Matched(shape, None)
        others = [table for table in others if best is None or table is not best.table]
    if purchases.table is not None:
        _look_up(purchases, others)
        for shape, key in (("customers", "customer_id"), ("products", "product_id")):
            _by_content(purchases, key, found[shape], connection)
        _settle_price(purchases, connection)
        purchases.newest = _newest(purchases, connection)
        _find_returns(purchases, connection)
    for matched in found.values():
        _declare(matched)
    return found


def _declare(matched: Matched) -> None:
    """Declare what follows from the use of a table: its key, and amounts that happen to be whole numbers as such."""
    key = {"customers": "customer_id", "products": "product_id"}.get(matched.shape)
    if matched.table is not None and matched.table.is_pulled:
        return
    if matched.table is not None and key:
        matched.table.declaration["key"] = python(matched.columns[key].name)
    if matched.lookup is not None and matched.lookup_key:
        matched.lookup.declaration["key"] = python(matched.lookup.column(matched.lookup_key).name)
    is_text = matched.table is not None and ".parquet" not in matched.table.declaration.get("files", ".parquet")
    for canonical in ("amount", "unit_price", "discount_amount", "income"):
        column = matched.columns.get(canonical)
        if is_text and column is not None and column.type == "bigint":
            column.type = "decimal(18,4)"


def by_name(shape: str, table: Found) -> Matched:
    """Match a table's columns with those of a shape by their names and types.

    Args:
        shape: customers, products or purchases.
        table: the table.
    """
    matched = Matched(shape, table)
    taken: set[str] = set()
    for canonical, (patterns, must_be) in SHAPES[shape].items():
        for pattern in patterns:
            fitting = [
                column
                for column in table.columns
                if re.fullmatch(pattern, column.known_as or column.stored)
                and column.name not in taken
                and _is(column, must_be)
            ]
            if len(fitting) == 1:
                matched.columns[canonical] = fitting[0]
                taken.add(fitting[0].name)
            elif fitting:
                matched.candidates[canonical] = fitting
            if fitting:
                break
    if shape == "products" and "category" not in matched.columns | matched.candidates:
        # Of one group of products, cross-selling makes its categories.
        for group in {"product_type"} & matched.columns.keys():
            matched.columns["category"] = matched.columns.pop(group)
            matched.evidence["category"] = "the only group of products that the table has"
    if shape == "purchases" and "purchased_at" not in matched.columns | matched.candidates:
        moments = [column for column in table.columns if column.is_moment]
        if len(moments) == 1:
            matched.columns["purchased_at"] = moments[0]
            matched.evidence["purchased_at"] = "the only date of the table"
        elif moments:
            matched.candidates["purchased_at"] = moments
    return matched


def _is(column: Column, must_be: str) -> bool:
    return {"": True, "moment": column.is_moment, "number": column.is_number, "text": column.type == "text"}[must_be]


def _table(matched: Matched) -> Found:
    assert matched.table is not None, "a match by name has a table"
    return matched.table


def _name_of(matched: Matched, canonical: str) -> str | None:
    return matched.columns[canonical].name if canonical in matched.columns else None


def _is_purchases(matched: Matched) -> tuple[int, int, int]:
    """How much a table looks like purchase lines: a product and a number are a must, and a customer, basket or date."""
    have = matched.columns.keys() | matched.candidates.keys()
    needed = "product_id" in have and bool(have & {"quantity", "amount", "unit_price", "price"})
    is_bought = bool(have & {"basket_id", "customer_id", "purchased_at"})
    named = int(needed and is_bought)
    # Where names say nothing, the longest table with a date may be it, but not one of customers.
    table = _table(matched)
    is_dated = any(column.is_moment for column in table.columns) and len(by_name("customers", table).columns) < 3
    return (named, len(have) if named else 0, table.row_count if named or is_dated else 0)


def _look_up(purchases: Matched, others: Iterable[Found]) -> None:
    """Find the customer and the date of lines that only name their order, in the table of the orders."""
    missing = {"customer_id", "purchased_at"} - purchases.columns.keys()
    if not missing or "basket_id" not in purchases.columns:
        return
    for table in others:
        fitting = by_name("purchases", table).columns
        keys = [column for column in table.columns if column.is_unique]
        own = [
            column for column in keys if column.stored in (purchases.columns["basket_id"].stored, "id", "nr", "number")
        ]
        if own and missing & fitting.keys():
            purchases.lookup, purchases.lookup_key = table, own[0].stored
            wanted = {"customer_id", "purchased_at", "store_id"} - purchases.columns.keys()
            purchases.lookup_columns = {name: fitting[name] for name in sorted(wanted & fitting.keys())}
            for name in purchases.lookup_columns:
                purchases.candidates.pop(name, None)
            return


def derived(shape: str, purchases: Matched) -> dict[str, Column]:
    """Find columns of customers or products in the purchases, for a shop that sends no table of them.

    Args:
        shape: customers or products.
        purchases: the purchases.

    Returns:
        Canonical column, the key not among them, to the purchases' column (or that of the orders that they name).
    """
    table, taken = purchases.table, purchases.columns
    if shape == "customers" and "customer_id" in purchases.lookup_columns:
        table, taken = purchases.lookup, purchases.lookup_columns
    names = {column.name for column in taken.values()}
    found = by_name(shape, table).columns if table else {}
    wanted = ("country",) if shape == "customers" else tuple(PRODUCTS)
    return {
        canonical: column for canonical, column in found.items() if canonical in wanted and column.name not in names
    }


def _by_content(purchases: Matched, key: str, of: Matched, connection: duckdb.DuckDBPyConnection) -> None:
    """Find the column of a line that holds the keys of the customers or products, where its name does not say."""
    if of.table is None or key in purchases.columns | purchases.lookup_columns:
        return
    keys = f"(select cast({quote_name(of.columns[key].stored)} as varchar) as key from {of.table.rows})"
    shares = {}
    for column in _table(purchases).columns:
        if column not in purchases.columns.values() and not column.is_moment:
            value = f"cast({quote_name(column.stored)} as varchar)"
            query = f"select avg(case when {value} in (select key from {keys}) then 1 else 0 end) from "
            query += f"{_table(purchases).rows} where {quote_name(column.stored)} is not null"
            shares[column.name] = connection.execute(query).fetchall()[0][0] or 0
    best = max(shares, key=lambda name: shares[name], default=None)
    if best and shares[best] > 0.9:
        purchases.columns[key] = next(column for column in _table(purchases).columns if column.name == best)
        purchases.candidates.pop(key, None)
        purchases.evidence[key] = f"{shares[best]:.0%} of its values are {of.columns[key].name} of {of.table.name}"


def _settle_price(purchases: Matched, connection: duckdb.DuckDBPyConnection) -> None:
    """Find whether a price is of one unit or of the line: how it goes with the quantity, product by product."""
    price = purchases.columns.pop("price", None)
    candidates = purchases.candidates.pop("price", [])
    if "amount" in purchases.columns or "unit_price" in purchases.columns:
        return
    if price is None or not {"quantity", "product_id"} <= purchases.columns.keys():
        purchases.candidates.setdefault("amount", candidates or ([price] if price else []))
        return
    money, quantity, product = (
        quote_name(column.stored) for column in (price, purchases.columns["quantity"], purchases.columns["product_id"])
    )
    units, lines = connection.execute(
        f"""
        select count(*) filter (where prices = 1), count(*) filter (where rates = 1)
        from (
            select count(distinct {money}) as prices, count(distinct round({money} / {quantity}, 2)) as rates
            from {_table(purchases).rows}
            where {quantity} <> 0
            group by {product}
            having count(distinct {quantity}) > 1
        )
        """
    ).fetchall()[0]
    if units == lines:
        purchases.candidates["amount"] = [price]
        return
    canonical = "unit_price" if units > lines else "amount"
    purchases.columns[canonical] = price
    purchases.evidence[canonical] = (
        f"{units:,} products sold in different quantities have one price"
        if units > lines
        else f"of {lines:,} products it grows with the quantity"
    )


def _find_returns(purchases: Matched, connection: duckdb.DuckDBPyConnection) -> None:
    quantity = purchases.columns.get("quantity")
    if quantity is not None:
        query = f"select count(*) from {_table(purchases).rows} where {quote_name(quantity.stored)} < 0"
        returned = connection.execute(query).fetchall()[0][0]
        if returned:
            purchases.evidence["quantity"] = (
                f"by its name; {returned:,} lines are negative: if returns take back an earlier purchase, say so in "
                "the source's yml (returns_cancel_purchases)"
            )


def _newest(purchases: Matched, connection: duckdb.DuckDBPyConnection) -> dt.date | None:
    at = purchases.columns.get("purchased_at"), _table(purchases)
    if at[0] is None and purchases.lookup is not None:
        at = purchases.lookup_columns.get("purchased_at"), purchases.lookup
    if at[0] is None:
        return None
    newest: dt.date | None = connection.execute(
        f"select max(cast({quote_name(at[0].stored)} as date)) from {at[1].rows}"
    ).fetchall()[0][0]
    return newest


def words_of_names(matches: Mapping[str, Matched], connection: duckdb.DuckDBPyConnection) -> list[str]:
    """List the words that most products have in their names, for a shop that sends no categories.

    Args:
        matches: which table is which shape.
        connection: for the SQL of the tables' rows.

    Returns:
        Words with the number of products, most first; none where there are categories, or no names.
    """
    products, purchases = matches["products"], matches["purchases"]
    columns = products.columns if products.table else derived("products", purchases)
    table = products.table or purchases.table
    if table is None or "category" in columns or "product_name" not in columns:
        return []
    name = quote_name(columns["product_name"].stored)
    rows = connection.execute(
        f"""
        select word, count(distinct name)
        from (
            select {name} as name, unnest(regexp_extract_all(upper({name}), '[\\pL]{{3,}}')) as word
            from {table.rows}
        )
        group by word
        order by 2 desc, 1
        limit 30
        """
    ).fetchall()
    return [f"{word} ({count:,})" for word, count in rows]


def raw_tables(matches: Mapping[str, Matched]) -> dict[str, Found]:
    """Name the raw tables: those that feed a shape are called like it, another keeps its own name.

    Args:
        matches: which table is which shape.
    """
    named = {shape: matched.table for shape, matched in matches.items() if matched.table is not None}
    lookup = matches["purchases"].lookup
    return named | ({lookup.name: lookup} if lookup is not None else {})
