"""What the warehouse is opened with."""

from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb.credentials import DuckDBCredentials

from warehouse import connections
from warehouse.connections import connect
from warehouse.dbt_plugin import Plugin
from warehouse.paths import Paths


def limit_of_a_run(data: Path) -> str:
    with connect(Paths(data)) as connection:
        return str(connection.execute("select current_setting('memory_limit')").fetchall()[0][0])


def test_a_run_takes_three_gigabytes_or_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXT_AISLE_MEMORY_LIMIT", raising=False)
    monkeypatch.setattr(connections, "_duckdb_takes", lambda: 20_000_000_000)
    # 3,000,000,000 / 2 ** 30 = 2.79
    assert limit_of_a_run(tmp_path / "default") == "2.7 GiB"
    monkeypatch.setattr(connections, "_duckdb_takes", lambda: 1_610_612_736)
    assert limit_of_a_run(tmp_path / "small machine") == "1.5 GiB"
    monkeypatch.setenv("NEXT_AISLE_MEMORY_LIMIT", "8GB")
    assert limit_of_a_run(tmp_path / "set") == "7.4 GiB"


def test_dbt_opens_the_warehouse_with_the_same_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_AISLE_MEMORY_LIMIT", "700MB")
    file = tmp_path / "warehouse.duckdb"
    config: dict[str, str] = {}
    Plugin("dbt_plugin", {}).update_connection_config(
        DuckDBCredentials(database="warehouse", schema="main", path=str(file)), config
    )
    assert config["memory_limit"] == "700MB"
    # One process can have the file open twice with the same settings only.
    with connect(Paths(tmp_path)), duckdb.connect(str(file), config=config) as connection:  # type: ignore[arg-type]
        assert connection.execute("select 1").fetchall() == [(1,)]


def test_what_duckdb_takes_by_itself_is_known_in_bytes() -> None:
    machine = connections._duckdb_takes()
    assert 2**28 < machine < 2**50
