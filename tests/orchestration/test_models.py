"""How dbt is started for a run, and what a run says when dbt fails."""

from typing import Any

import dagster as dg
import pytest
from dagster_dbt import DbtCliResource

from orchestration.definitions import defs


class StartedError(Exception):
    """dbt would have been started now."""


@pytest.mark.parametrize("config", [{}, {"score_as_of": "2026-10-31"}])
@pytest.mark.parametrize("selected", [["core", "dim_dates"], None])
def test_dbt_runs_no_unit_tests_also_when_only_one_model_is_materialized(
    selected: list[str] | None, config: dict[str, str], data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def cli(_dbt: DbtCliResource, arguments: list[str], **_options: object) -> None:
        commands.append(arguments)
        raise StartedError

    monkeypatch.setattr(DbtCliResource, "cli", cli)
    models = defs().resolve_asset_graph().assets_def_for_key(dg.AssetKey(["core", "dim_dates"]))
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [models],
            selection=[dg.AssetKey(selected)] if selected else None,
            run_config={"ops": {"build_models": {"config": config}}},
            instance=instance,
            raise_on_error=False,
        )
    (command,) = commands
    assert command[:3] == ["build", "--exclude-resource-type", "unit_test"]
    assert command[3:] == (["--vars", '{"score_as_of": "2026-10-31"}'] if config else [])


def test_dbt_writes_no_colours_which_show_as_escape_codes() -> None:
    dbt: Any = defs().resources["dbt"]  # type: ignore[index]
    assert "--no-use-colors" in dbt.resource_fn(None).global_config_flags
