"""The Complete Journey: a grocery shop's customers (CSV), products (CSV) and purchases (one Parquet file per day)."""

from ingestion.file_checks import LandedTable
from ingestion.landed_files import LandedFiles

SOURCE = LandedFiles(
    "complete_journey",
    (
        LandedTable(
            name="customers",
            files="customers.csv",
            key="household_id",
            columns={
                "household_id": "bigint",
                "age": "text",
                "income": "text",
                "home_ownership": "text",
                "marital_status": "text",
                "household_size": "text",
                "household_comp": "text",
                "kids_count": "text",
            },
        ),
        LandedTable(
            name="products",
            files="products.csv",
            key="product_id",
            columns={
                "product_id": "bigint",
                "manufacturer_id": "bigint",
                "department": "text",
                "brand": "text",
                "product_category": "text",
                "product_type": "text",
                "package_size": "text",
            },
        ),
        LandedTable(
            name="purchases",
            files="purchases/{date}.parquet",
            day_column="transaction_timestamp",
            columns={
                "household_id": "bigint",
                "store_id": "bigint",
                "basket_id": "bigint",
                "product_id": "bigint",
                "quantity": "bigint",
                "sales_value": "double",
                "retail_disc": "double",
                "coupon_disc": "double",
                "coupon_match_disc": "double",
                "week": "bigint",
                "transaction_timestamp": "timestamp",
            },
        ),
    ),
)
