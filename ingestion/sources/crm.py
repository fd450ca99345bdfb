"""A customer file in the wide form: what each customer spent and how often they bought, without dates."""

from ingestion.file_checks import LandedTable
from ingestion.files.formats import Csv
from ingestion.landed_files import LandedFiles

SOURCE = LandedFiles(
    "crm",
    (
        LandedTable(
            name="customers",
            files="marketing_data_country.csv",
            # Incomes such as "$84,835.00 ", and days such as 6/16/14.
            format=Csv(currency="$", thousands=",", date_format="%m/%d/%y"),
            key="id",
            columns={
                "id": "bigint",
                "year_birth": "bigint",
                "education": "text",
                "marital_status": "text",
                "income": "decimal(18, 2)",
                "kidhome": "bigint",
                "teenhome": "bigint",
                "dt_customer": "date",
                "recency": "bigint",
                "mnt_wines": "bigint",
                "mnt_fruits": "bigint",
                "mnt_meat_products": "bigint",
                "mnt_fish_products": "bigint",
                "mnt_sweet_products": "bigint",
                "mnt_gold_prods": "bigint",
                "num_deals_purchases": "bigint",
                "num_web_purchases": "bigint",
                "num_catalog_purchases": "bigint",
                "num_store_purchases": "bigint",
                "num_web_visits_month": "bigint",
                "accepted_cmp3": "bigint",
                "accepted_cmp4": "bigint",
                "accepted_cmp5": "bigint",
                "accepted_cmp1": "bigint",
                "accepted_cmp2": "bigint",
                "response": "bigint",
                "complain": "bigint",
                "country": "text",
            },
        ),
    ),
)
