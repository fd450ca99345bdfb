"""Every dbt model as an asset, every dbt test as a check of it."""

import contextlib
import datetime as dt
import graphlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pydantic import Field

from orchestration.column_lineage import column_metadata
from orchestration.failures import dbt_failures, dbt_killed, dbt_successes
from orchestration.holds import may_hold, tag_run
from orchestration.keys import AFTER_RECORDING, NEW_DELIVERIES, WAREHOUSE_POOL, model_key
from orchestration.previews import UNCHANGED, last_metadata, personal_columns, preview
from orchestration.project import Project
from orchestration.translators import LayerTranslator
from quality import holding, new_rows, up_to_date
from quality.audit import keeping_marks, mark_built, withdraw_marks
from warehouse.connections import columns, connect, count, tables
from warehouse.dbt_project import Manifest, project_settings, published_models, read_manifest
from warehouse.locks import only_writer
from warehouse.safe_files import is_disk_full
from warehouse.settings import export_replaced_models
from warehouse.sql import quote_table


class BuildConfig(dg.Config):
    """What may be set for one run, in the launchpad."""

    score_as_of: str = Field(
        default="",
        description="Score the customers as of this date, such as 2026-10-31, to look at an earlier score in the "
        "warehouse. Such a run is not published. Empty: as of the newest purchase.",
    )
    full_refresh: bool = Field(default=False, description="Build and test every model, also those that are up to date.")

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
        """Run dbt build: each model, then its tests; a failed test stops what depends on it.

        What was built and tested from the same rows, code and settings before is left as it is. A shop whose new rows
        break an objective is known when they are modelled. It is held then, and all is built once more without these
        rows.
        """
        variables = config.variables()
        with only_writer(project.paths, context.log.info):
            withdraw_marks(project.paths)
            judges = may_hold(context, project) and not context.is_subset
            if judges:
                with connect(project.paths) as connection:
                    holding.begin(connection, project.sources)
            built = _build(context, dbt, project, variables, everything=config.full_refresh)
            if judges and NEW_DELIVERIES in built.models and (held := _hold_breaches(project)):
                for name, reason in held.items():
                    context.log.warning(f"{name} is held: {reason}")
                context.log.info("building without the new rows of the shops that are held", extra={"again": True})
                # What the shops were judged by stays as it was counted.
                built |= _build(context, dbt, project, variables, without_new_deliveries=True)
            if judges:
                with connect(project.paths, read_only=True) as connection:
                    tag_run(context, holding.read(connection, project.sources))
            yield from _finish(context, project, built)
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
            yield from _finish(context, project, _build(context, dbt, project, after_recording=True))

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


def _hold_breaches(project: Project) -> dict[str, str]:
    """Hold each shop whose new rows break an objective, as long as another one is left.

    Returns:
        Source to its breach, of the shops that are held now and were not before. None when no shop would be left, or
        nothing of one of them: then the verdict stops the run.
    """
    with connect(project.paths) as connection:
        held = holding.read(connection, project.sources)
        broken = new_rows.breaches(new_rows.read(connection), project.objectives)
        broken = {name: reason for name, reason in broken.items() if name not in held}
        none_is_left = len(held) + len(broken) == len(project.sources)
        if none_is_left or holding.without_their_last_night(connection, list(broken)):
            return {}
        for name in project.sources:
            holding.note(connection, name, {holding.ROWS: broken.get(name)})
    return broken


@dataclass
class Built:
    """What dbt built and tested, in one or more turns.

    Attributes:
        models: the newest output of each model.
        unchanged: the models and seeds that are up to date, each after those that it reads.
        versions: each model and seed to its version, after those that it reads.
        checks: the newest result of each test.
        others: whatever else it reported.
        error: what the last turn ended with, in words; None when it succeeded.
        replaced: each model of which only some rows were replaced, to the number of new ones.
    """

    models: dict[dg.AssetKey, dg.Output[Any]]
    checks: dict[dg.AssetCheckKey, dg.AssetCheckResult]
    others: list[Any]
    error: str | None
    unchanged: list[dg.AssetKey]
    versions: Mapping[dg.AssetKey, str]
    replaced: dict[dg.AssetKey, int]

    def __or__(self, later: "Built") -> "Built":
        """Take what a later turn built in place of what this one did."""
        return Built(
            {**self.models, **later.models},
            {**self.checks, **later.checks},
            [*self.others, *later.others],
            later.error,
            [key for key in self.unchanged if key in later.unchanged],
            later.versions,
            later.replaced,
        )


def _build(
    context: dg.AssetExecutionContext,
    dbt: DbtCliResource,
    project: Project,
    variables: Mapping[str, str] | None = None,
    *,
    everything: bool = False,
    without_new_deliveries: bool = False,
    after_recording: bool = False,
) -> Built:
    """Have dbt build and test what is not up to date."""
    manifest = project.current_manifest()
    nodes = _nodes(manifest, after_recording=after_recording)
    tables = {unique_id: _key(node) for unique_id, node in nodes.items() if node["resource_type"] != "test"}
    # An objective that is stricter now judges what an earlier run built, too.
    settings = [{**project_settings()["vars"], **(variables or {})}, project.objectives.model_dump()]
    with connect(project.paths) as connection:
        versions = up_to_date.versions(manifest, connection, settings)
        codes = up_to_date.code_versions(manifest, connection, settings)
        if everything:
            up_to_date.forget(connection, versions)
        # A person who chooses some models wants these built.
        noted = {} if context.is_subset else up_to_date.noted(connection)
        there = columns(connection).keys()
        left_out = {
            unique_id
            for unique_id in nodes
            if noted.get(unique_id) == versions[unique_id]
            and (unique_id not in tables or tuple(tables[unique_id].path) in there)
        }
        if without_new_deliveries:
            new_deliveries = {unique_id for unique_id, node in nodes.items() if _key(node) == NEW_DELIVERIES}
            left_out |= new_deliveries
            # Whatever comes of the held rows, the next run is to count them again.
            up_to_date.forget(connection, new_deliveries)
        replaced: set[str] = set()
        # What a person chooses is built whole, and so is what is not to be noted.
        if not (everything or variables or context.is_subset):
            replaced = up_to_date.replaces_rows(manifest, connection, settings, codes) & (nodes.keys() - left_out)
        if replaced:
            up_to_date.begin_changes(connection)
        whole_at = up_to_date.tests_new_rows(manifest, connection, codes, replaced)
    built = Built(
        {},
        {},
        [],
        None,
        [key for unique_id, key in tables.items() if unique_id in left_out],
        {key: versions[unique_id] for unique_id, key in tables.items()},
        {},
    )
    context.log.info(
        f"{len(built.unchanged)} of {len(tables)} models and seeds are up to date",
        extra={"unchanged": [".".join(key.path) for key in built.unchanged]},
    )
    if left_out == nodes.keys():
        return built
    # One target folder for all runs on this data: the pool allows one at a time, and dbt reuses what it parsed.
    target = project.paths.dbt_target
    # What an earlier build left must not be taken for this one's.
    (target / "run_results.json").unlink(missing_ok=True)
    # Unit tests prove the rules when they change (CI), not the data of the night. Said here, and not where the assets
    # are declared: dagster-dbt drops that selection when only some assets are materialized.
    command = ["build", "--exclude-resource-type", "unit_test"]
    if everything:
        command += ["--full-refresh"]
    if left_out and not after_recording:
        # dbt's own way to name many nodes at once: those that are in an earlier manifest.
        not_built = versions.keys() - (nodes.keys() - left_out)
        state = up_to_date.write_state(target / "up_to_date", manifest, not_built)
        # A test is left out by itself, not with one of the models that it reads.
        command += ["--indirect-selection", "empty", "--exclude", "state:old", "--state", str(state)]
    if variables:
        command += ["--vars", json.dumps(variables)]
    try:
        export_replaced_models(
            (nodes[unique_id]["name"] for unique_id in replaced),
            (nodes[unique_id]["name"] for unique_id in whole_at.keys() & nodes.keys()),
        )
        invocation = dbt.cli(command, context=context, target_path=target)
        for event in invocation.stream():
            if isinstance(event, dg.Output):
                key = context.asset_key_for_output(event.output_name)
                model = ".".join(key.path)
                duration = event.metadata.get("Execution Duration")
                # For the progress at a terminal, which adds the seconds up by layer.
                facts = {"model": model, "seconds": duration.value if duration else 0.0}
                context.log.info(f"built {model}", extra=facts)
                built.models[key] = event
            elif isinstance(event, dg.AssetCheckResult):
                assert event.asset_key and event.check_name
                built.checks[dg.AssetCheckKey(event.asset_key, event.check_name)] = event
            else:
                built.others.append(event)
    except DagsterDbtCliRuntimeError as raised:
        built.error = dbt_killed(invocation.process.returncode) or str(raised)
        # Of a model that cannot be written dbt says so in a line; of its own files it has nothing but a traceback.
        if is_disk_full(raised) and "Traceback" in built.error:
            built.error = f"the disk is full: dbt cannot write to {target}. Free some space and run again"
    rows: dict[str, int] = {}
    if not variables and not context.is_subset:
        succeeded = dbt_successes(target)
        with connect(project.paths) as connection:
            versions = {unique_id: versions[unique_id] for unique_id in succeeded & versions.keys()}
            up_to_date.note(
                connection, versions, context.run_id, codes=codes, whole_at=whole_at, is_judged=after_recording
            )
            if replaced:
                rows = up_to_date.replaced_rows(connection)
    if rows:
        built.replaced = {tables[unique_id]: count for unique_id, count in rows.items()}
        for key, check in built.checks.items():
            test = str(check.metadata["unique_id"].value) if "unique_id" in check.metadata else ""
            if test not in whole_at or nodes[test]["config"].get("where"):
                continue
            if (rows_read := rows.get(nodes[test]["attached_node"])) is not None:
                read = dg.MetadataValue.int(rows_read)
                built.checks[key] = check._replace(metadata={**check.metadata, "rows_read": read})
        context.log.info(
            f"of {len(rows)} models only the rows of changed baskets were replaced",
            extra={"replaced": {".".join(key.path): count for key, count in built.replaced.items()}},
        )
    return built


def _nodes(manifest: Manifest, *, after_recording: bool) -> dict[str, Mapping[str, Any]]:
    """The models, seeds and data tests of one of the two steps: before or after the run is recorded.

    Each comes after those that it reads.
    """
    nodes = manifest["nodes"]
    reads = {unique_id: node["depends_on"].get("nodes", []) for unique_id, node in nodes.items()}
    late = {unique_id for unique_id, node in nodes.items() if AFTER_RECORDING.removeprefix("tag:") in node["tags"]}
    return {
        unique_id: nodes[unique_id]
        for unique_id in graphlib.TopologicalSorter(reads).static_order()
        if unique_id in nodes
        and nodes[unique_id]["config"]["enabled"]
        and nodes[unique_id]["resource_type"] in up_to_date.KINDS
        and (unique_id in late or not late.isdisjoint(reads[unique_id])) == after_recording
    }


def _key(node: Mapping[str, Any]) -> dg.AssetKey:
    return model_key(node["schema"], node["alias"])


def _finish(context: dg.AssetExecutionContext, project: Project, built: Built) -> Iterator[Any]:
    """Report what dbt built, with row counts and the rows that fail; fail as dbt did."""
    target = project.paths.dbt_target
    yield from built.others
    failed = [check for check in built.checks.values() if not check.passed]
    yield from (check for check in built.checks.values() if check.passed)
    outputs = dict(_unchanged(context, built))
    # Over one connection and only now: dbt has let go.
    if built.models or failed:
        personal = personal_columns(project.manifest)
        with connect(project.paths, read_only=True) as connection:
            yield from (_with_failed_rows(check, project.manifest, connection, personal) for check in failed)
            outputs |= _with_metadata(context, built, target, connection, personal)
    # Dagster wants each after those that it reads.
    yield from (outputs[key] for key in built.versions if key in outputs)
    if built.error:
        raise dg.Failure(_reason(target) or built.error, allow_retries=False) from None


def _reason(target: Path) -> str:
    """What dbt says of the first three models and tests that failed; empty when it did not get that far."""
    failures = dbt_failures(target, ("error", "fail"))
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return "; ".join(failures[:3]) + more


def _with_failed_rows(
    check: dg.AssetCheckResult, manifest: Manifest, connection: duckdb.DuckDBPyConnection, personal: set[str]
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
            metadata["first_failed_rows"] = preview(connection, node["schema"], node["alias"], personal)
    return check._replace(metadata=metadata)


def _with_metadata(
    context: dg.AssetExecutionContext,
    built: Built,
    target: Path,
    connection: duckdb.DuckDBPyConnection,
    personal: set[str],
) -> Iterator[tuple[dg.AssetKey, dg.Output[Any]]]:
    """Add each model's row count, what is known of its columns and, of a mart, its first rows."""
    try:
        manifest = read_manifest(target / "manifest.json")
    except ValueError:
        raise dg.Failure(
            f"dbt could not write all of its manifest in {target}. Is the disk full? Free some space and run again.",
            allow_retries=False,
        ) from None
    known = dict(column_metadata(manifest, target, columns(connection), context.log.warning))
    marts = {(node["schema"], node["alias"]) for node in published_models(manifest)}
    for key, model in built.models.items():
        schema, table = key.path
        metadata = {
            **model.metadata,
            "dagster/row_count": count(connection, quote_table(schema, table)),
            **known.get((schema, table), {}),
        }
        if key in built.replaced:
            metadata["rows_replaced"] = built.replaced[key]
        if (schema, table) in marts:
            metadata["first_rows"] = preview(connection, schema, table, personal)
        version = dg.DataVersion(built.versions[key])
        yield key, dg.Output(model.value, model.output_name, metadata=metadata, data_version=version)


def _unchanged(context: dg.AssetExecutionContext, built: Built) -> Iterator[tuple[dg.AssetKey, dg.Output[Any]]]:
    """Report the models that are up to date with what is known of them: else Dagster skips what reads them."""
    for key in built.unchanged:
        # A server that is older than the model does not know it.
        if key in built.models or key not in context.assets_def.keys:
            continue
        name = context.assets_def.get_output_name_for_asset_key(key)
        metadata = {**last_metadata(context, key), UNCHANGED: True}
        yield key, dg.Output(None, name, metadata=metadata, data_version=dg.DataVersion(built.versions[key]))
