"""Every dbt model as an asset, every dbt test as a check of it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from orchestration.column_lineage import column_metadata
from orchestration.keys import AFTER_RECORDING, WAREHOUSE_POOL
from orchestration.project import Project
from orchestration.translators import LayerTranslator
from quality.audit import keeping_marks, mark_built, withdraw_marks
from warehouse.connections import columns, connect, count
from warehouse.dbt_project import read_manifest
from warehouse.locks import only_writer
from warehouse.sql import quote_table


def model_assets(project: Project) -> dg.AssetsDefinition:
    """Declare the dbt models that are built from the sources' rows.

    Args:
        project: what the definitions are made from.
    """

    # Unit tests prove the rules when they change (CI), not the data of the night.
    @_models("build_models", project, exclude=f"resource_type:unit_test {AFTER_RECORDING}")
    def build_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Run dbt build: each model, then its tests; a failed test stops what depends on it."""
        with only_writer(project.paths, context.log.info):
            withdraw_marks(project.paths)
            yield from _build(context, dbt, project)
            if not context.is_subset:
                mark_built(project.paths, context.run_id)

    return build_models


def quality_assets(project: Project) -> dg.AssetsDefinition:
    """Declare the dbt models that say how the run went, built once it is recorded.

    Args:
        project: what the definitions are made from.
    """

    @_models("build_quality", project, select=AFTER_RECORDING, exclude="resource_type:unit_test")
    def build_quality(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Run dbt build for the tables of the run's checks, steps and deliveries, and how the objectives stand."""
        with only_writer(project.paths, context.log.info), keeping_marks(project.paths):
            yield from _build(context, dbt, project)

    return build_quality


def _models(name: str, project: Project, exclude: str, select: str = "fqn:*") -> Callable[..., dg.AssetsDefinition]:
    return dbt_assets(
        # By its path: dagster-dbt would copy and compare a manifest that it is given at each turn.
        manifest=project.manifest_path,
        dagster_dbt_translator=LayerTranslator(project),
        name=name,
        pool=WAREHOUSE_POOL,
        select=select,
        exclude=exclude,
    )


def _build(context: dg.AssetExecutionContext, dbt: DbtCliResource, project: Project) -> Iterator[Any]:
    models, failure = [], None
    # One target folder for all runs on this data: the pool allows one at a time, and dbt reuses what it parsed.
    target = project.paths.dbt_target
    # What an earlier build left must not be taken for this one's.
    (target / "run_results.json").unlink(missing_ok=True)
    try:
        for event in dbt.cli(["build"], context=context, target_path=target).stream():
            if isinstance(event, dg.Output):
                model = ".".join(context.asset_key_for_output(event.output_name).path)
                duration = event.metadata.get("Execution Duration")
                # For the progress at a terminal, which adds the seconds up by layer.
                facts = {"model": model, "seconds": duration.value if duration else 0.0}
                context.log.info(f"built {model}", extra=facts)
                models.append(event)
            else:
                yield _with_failed_rows(event, project.manifest)
    except DagsterDbtCliRuntimeError as error:
        failure = error
    yield from _with_metadata(context, project, models, target)
    if failure:
        raise failure


def _with_failed_rows(event: Any, manifest: Mapping[str, Any]) -> Any:
    """Say of a test that did not pass where its rows can be looked at."""
    if not isinstance(event, dg.AssetCheckResult) or event.passed:
        return event
    unique_id = event.metadata["unique_id"].value if "unique_id" in event.metadata else None
    test = manifest["nodes"].get(str(unique_id), {})
    if not test.get("relation_name"):
        return event
    table = dg.MetadataValue.text(f"{test['schema']}.{test['alias']}")
    return event._replace(metadata={**event.metadata, "failed_rows": table})


def _with_metadata(
    context: dg.AssetExecutionContext, project: Project, models: list[dg.Output[Any]], target: Path
) -> Iterator[dg.Output[Any]]:
    """Add each model's row count and what is known of its columns, over one connection and only now: dbt has let go."""
    if not models:
        return
    manifest = read_manifest(target / "manifest.json")
    with connect(project.paths, read_only=True) as connection:
        known = dict(column_metadata(manifest, target, columns(connection), context.log.warning))
        for model in models:
            schema, table = context.asset_key_for_output(model.output_name).path
            rows = count(connection, quote_table(schema, table))
            yield model.with_metadata({**model.metadata, "dagster/row_count": rows, **known.get((schema, table), {})})
