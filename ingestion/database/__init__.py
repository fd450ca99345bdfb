"""Tables that are pulled from a PostgreSQL or MySQL/MariaDB database: what a source's module declares them with."""

from ingestion.database.source import Database
from ingestion.database.tables import DatabaseTable, KeySweep, SoftDelete

__all__ = ["Database", "DatabaseTable", "KeySweep", "SoftDelete"]
