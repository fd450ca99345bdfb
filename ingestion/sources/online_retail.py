"""A web shop for gifts: its invoice lines (one CSV file per day); it sends no customers and no products."""

from ingestion.file_checks import LandedTable
from ingestion.landed_files import LandedFiles

SOURCE = LandedFiles(
    "online_retail",
    (
        LandedTable(
            name="purchases",
            files="purchases/{date}.csv",
            day_column="InvoiceDate",
            columns={
                "InvoiceNo": "text",
                "StockCode": "text",
                "Description": "text",
                "Quantity": "bigint",
                "InvoiceDate": "timestamp",
                "UnitPrice": "decimal(18,3)",
                # 13313 is sent as 13313.0, and staging puts it right.
                "CustomerID": "text",
                "Country": "text",
            },
        ),
    ),
)
