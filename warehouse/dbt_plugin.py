"""What dbt does before it opens DuckDB's file, so that it neither waits for minutes nor ends in a traceback.

dbt-duckdb loads it by its name in dbt_project/profiles.yml; nothing else imports it.
"""

import sys
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin

from warehouse.connections import WarehouseBusyError, connect, database_config
from warehouse.paths import Paths

# Someone who types a dbt command does not want to wait long; the nightly run waits before it starts dbt.
WAIT_FOR_FILE_SECONDS = 15


class Plugin(BasePlugin):
    """Makes the warehouse ready to be opened, or says why it cannot be."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Start without having been refused.

        Args:
            plugin_config: settings of the profile; there are none.
        """
        del plugin_config
        self.refusal: str | None = None

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Look at the files before dbt opens them.

        Args:
            creds: the chosen output of the profile.
            config: what DuckDB is opened with; gets the file format and the limit of memory.

        Raises:
            RuntimeError: the warehouse is held by another process, or nothing is published yet. Of this type of error
                dbt prints the message, of any other a traceback.
        """
        config.update(database_config())
        # dbt tries to connect again while it handles the error.
        if self.refusal is None:
            self.refusal = _refusal(creds)
        if self.refusal:
            raise RuntimeError(self.refusal)


def _refusal(creds: DuckDBCredentials) -> str:
    """Say why the files cannot be opened; empty when they can be."""
    for attachment in creds.attach or []:
        if not Path(attachment.path).exists():
            return f"nothing is published yet at {Path(attachment.path).resolve()}: make run"
    if creds.path == ":memory:":
        return ""
    try:
        connect(
            Paths(Path(creds.path).resolve().parent),
            wait_seconds=WAIT_FOR_FILE_SECONDS,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        ).close()
    except WarehouseBusyError as error:
        return str(error)
    except (duckdb.Error, OSError) as error:
        return f"cannot open {Path(creds.path).resolve()}: {error}"
    return ""
