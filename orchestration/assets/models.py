"""Every dbt model as an asset, every dbt test as a check of it."""

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pydantic import Field

from orchestration.column_lineage import column_metadata
from orchestration.keys import AFTER_RECORDING, WAREHOUSE_POOL
from orchestration.previews import personal_columns, preview
from orchestration.project import Project
from orchestration.translators import LayerTranslator
from quality.audit import keeping_marks, mark_built, withdraw_marks
from warehouse.connections import columns, connect, count, tables
from warehouse.dbt_project import Manifest, published_models, read_manifest
from warehouse.locks import only_writer
from warehouse.sql import quote_table


class BuildConfig(dg.Config):
    """What may be set for one run, in the launchpad."""

    score_as_of: str = Field(
        default="",
        description="Score the customers as of this date, such as 2026-10-31, to look at an earlier score in the "
        "warehouse. Such a run is not published. Empty: as of the newest purchase.",
    )

    def variables(self) -> dict[str, str]:
        """Make dbt's variables of it.

        Raises:
            Failure: the text is not a date, or the date is still to come.
        """
        if not self.score_as_of:
            return {}
        try:
            day = dt.date.fromisoformat(self.score_as_of)
        except ValueError:
            raise dg.Failure(
                f"score_as_of is {self.score_as_of!r}, which is not a date. Write it as 2026-10-31.",
                allow_retries=False,
            ) from None
        if day > dt.date.today():
            raise dg.Failure(f"score_as_of is {day}, which is still to come.", allow_retries=False)
        return {"score_as_of": str(day)}


def scored_as_of(run: dg.DagsterRun) -> str:
    """Name the date that a run's score is of, where its launcher set one; else the empty text.

    Args:
        run: the run.
    """
    ops: Any = run.run_config.get("ops", {})
    return str(ops.get("build_models", {}).get("config", {}).get("score_as_of", ""))


def model_assets(project: Project) -> dg.AssetsDefinition:
    """Declare the dbt models that are built from the sources' rows.

    Args:
        project: what the definitions are made from.
    """

    @_models("build_models", project, exclude=AFTER_RECORDING)
    def build_models(context: dg.AssetExecutionContext, dbt: DbtCliResource, config: BuildConfig) -> Iterator[Any]:
        """Run dbt build: each model, then its tests; a failed test stops what depends on it."""
        variables = config.variables()
        with only_writer(project.paths, context.log.info):
            withdraw_marks(project.paths)
            yield from _build(context, dbt, project, variables)
            if not variables and not context.is_subset:
                mark_built(project.paths, context.run_id)

    return build_models


def quality_assets(project: Project) -> dg.AssetsDefinition:
    """Declare the dbt models that say how the run went, built once it is recorded.

    Args:
        project: what the definitions are made from.
    """

    @_models("build_quality", project, select=AFTER_RECORDING)
    def build_quality(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Run dbt build for the tables of the run's checks, steps and deliveries, and how the objectives stand."""
        with only_writer(project.paths, context.log.info), keeping_marks(project.paths):
            yield from _build(context, dbt, project)

    return build_quality


def _models(
    name: str, project: Project, select: str = "fqn:*", exclude: str | None = None
) -> Callable[..., dg.AssetsDefinition]:
    return dbt_assets(
        # By its path: dagster-dbt would copy and compare a manifest that it is given at each turn.
        manifest=project.manifest_path,
        dagster_dbt_translator=LayerTranslator(project),
        name=name,
        pool=WAREHOUSE_POOL,
        select=select,
        exclude=exclude,
    )


def _build(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, project: Project, variables: Mapping[str, str] | None = None
) -> Iterator[Any]:
    models: list[dg.Output[Any]] = []
    failed: list[dg.AssetCheckResult] = []
    error = None
    # One target folder for all runs on this data: the pool allows one at a time, and dbt reuses what it parsed.
    target = project.paths.dbt_target
    # What an earlier build left must not be taken for this one's.
    (target / "run_results.json").unlink(missing_ok=True)
    # Unit tests prove the rules when they change (CI), not the data of the night. Said here, and not where the assets
    # are declared: dagster-dbt drops that selection when only some assets are materialized.
    command = ["build", "--exclude-resource-type", "unit_test"]
    if variables:
        command += ["--vars", json.dumps(variables)]
    try:
        for event in dbt.cli(command, context=context, target_path=target).stream():
            if isinstance(event, dg.Output):
                model = ".".join(context.asset_key_for_output(event.output_name).path)
                duration = event.metadata.get("Execution Duration")
                # For the progress at a terminal, which adds the seconds up by layer.
                facts = {"model": model, "seconds": duration.value if duration else 0.0}
                context.log.info(f"built {model}", extra=facts)
                models.append(event)
            elif isinstance(event, dg.AssetCheckResult) and not event.passed:
                failed.append(event)
            else:
                yield event
    except DagsterDbtCliRuntimeError as raised:
        error = raised
    # Over one connection and only now: dbt has let go.
    if models or failed:
        with connect(project.paths, read_only=True) as connection:
            yield from (_with_failed_rows(check, project.manifest, connection) for check in failed)
            yield from _with_metadata(context, models, target, connection)
    if error:
        raise dg.Failure(_reason(target) or str(error), allow_retries=False) from None


def _reason(target: Path) -> str:
    """What dbt says of the first three models and tests that failed; empty when it did not get that far."""
    try:
        results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError):
        return ""
    failed = [
        f"{node['unique_id'].split('.')[2]}: {' '.join(str(node['message']).split())}"
        for node in results
        if node["status"] in ("error", "fail")
    ]
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return "; ".join(failed[:3]) + more


def _with_failed_rows(
    check: dg.AssetCheckResult, manifest: Manifest, connection: duckdb.DuckDBPyConnection
) -> dg.AssetCheckResult:
    """Show the first rows that fail a test, and the command that shows more."""
    unique_id = check.metadata["unique_id"].value if "unique_id" in check.metadata else None
    node = manifest["nodes"].get(str(unique_id), {})
    # A test that could not run left none.
    if not node.get("relation_name") or node["alias"] not in tables(connection, node["schema"]):
        return check
    command = f'uv run python -m delivery query --warehouse "from {node["schema"]}.{node["alias"]} limit 20"'
    metadata = {**check.metadata, "failed_rows": dg.MetadataValue.text(command)}
    # No column of a source has the tag that hides a person's data.
    if not any(parent.startswith("source.") for parent in node["depends_on"]["nodes"]):
        # A view shows what fails now; what it reads may be gone.
        with contextlib.suppress(duckdb.Error):
            metadata["first_failed_rows"] = preview(
                connection, node["schema"], node["alias"], personal_columns(manifest)
            )
    return check._replace(metadata=metadata)


def _with_metadata(
    context: dg.AssetExecutionContext,
    models: list[dg.Output[Any]],
    target: Path,
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[dg.Output[Any]]:
    """Add each model's row count, what is known of its columns and, of a mart, its first rows."""
    manifest = read_manifest(target / "manifest.json")
    known = dict(column_metadata(manifest, target, columns(connection), context.log.warning))
    marts = {(node["schema"], node["alias"]) for node in published_models(manifest)}
    personal = personal_columns(manifest)
    for model in models:
        schema, table = context.asset_key_for_output(model.output_name).path
        metadata = {
            **model.metadata,
            "dagster/row_count": count(connection, quote_table(schema, table)),
            **known.get((schema, table), {}),
        }
        if (schema, table) in marts:
            metadata["first_rows"] = preview(connection, schema, table, personal)
        yield model.with_metadata(metadata)
