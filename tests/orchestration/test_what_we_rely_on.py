"""Behaviour of Dagster and dagster-dbt that this project leans on: an upgrade that changes it fails here."""

from importlib.metadata import version

from dagster_dbt import DbtCliResource

from orchestration.resources import QuickDbtCli, dbt_cli


def test_what_quick_dbt_overrides_is_still_there() -> None:
    for name in ("_cli_version", "_initialize_dbt_core_adapter"):
        assert hasattr(DbtCliResource, name)
        assert name in QuickDbtCli.__dict__


def test_dbt_is_started_with_the_version_that_is_installed() -> None:
    assert str(dbt_cli()._cli_version) == version("dbt-core")
