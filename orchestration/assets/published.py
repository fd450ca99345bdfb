"""The published copy as an asset: made last, and only when every blocking check passed.

And what is known before the models are built: what the copy holds so far, and which shops are held.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from delivery import personal
from delivery.catalogue import metrics
from delivery.contract import ContractError, in_force, problem
from delivery.publication import (
    Encrypted,
    Publication,
    PublicationError,
    damage,
    describe,
    is_current,
    note_current,
    note_published_deliveries,
    publish,
    refuse_for_all_readers,
)
from ingestion import source
from ingestion.raw_tables import DELIVERIES
from orchestration.assets.models import scored_as_of
from orchestration.holds import HELD, tag_run
from orchestration.keys import (
    HELD_SOURCES,
    PUBLISHED,
    PUBLISHED_DELIVERIES,
    VERDICT,
    WAREHOUSE_POOL,
    model_key,
    raw_key,
)
from orchestration.previews import UNCHANGED, last_metadata
from orchestration.project import Project
from orchestration.recovery import FromRaw, RecoveryError, begin_again, mend_warehouse
from orchestration.translators import EVERY_NIGHT
from quality import holding
from quality.audit import is_audited
from warehouse.connections import WarehouseBusyError, connect
from warehouse.dbt_project import published_models, source_table
from warehouse.locks import only_writer


def published_asset(project: Project) -> dg.AssetsDefinition:
    """Declare the published copy.

    Args:
        project: what the definitions are made from; everything below models/marts is published.
    """
    models = published_models(project.manifest)
    marts = [(node["schema"], node["alias"]) for node in models]

    @dg.asset(
        key=PUBLISHED,
        deps=[VERDICT, *(model_key(*mart) for mart in marts)],
        group_name="published",
        owners=project.owners("published"),
        kinds={"duckdb"},
        pool=WAREHOUSE_POOL,
        freshness_policy=EVERY_NIGHT,
        description="The marts in a file of their own. Everyone reads this file, which never blocks a run.",
        output_required=False,
    )
    def next_aisle(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        if date := scored_as_of(context.run):
            context.log.warning(f"not published: the score is as of {date} (score_as_of). Readers keep what they have.")
            return
        try:
            with only_writer(project.paths, context.log.info):
                texts, promises = _promises(project)
                if is_current(project.paths, models, promises):
                    since = dt.datetime.fromtimestamp(project.paths.published.stat().st_mtime, dt.UTC)
                    context.log.info(f"nothing new since the copy of {since:%Y-%m-%d %H:%M} UTC")
                    yield dg.MaterializeResult(metadata={**last_metadata(context, PUBLISHED), UNCHANGED: True})
                    return
                publication = _publish(project, context.run_id)
        except (PublicationError, WarehouseBusyError, ContractError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if outdated := problem(texts, publication.columns):
            context.log.warning(outdated)
        yield dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(publication.path)),
                "bytes": publication.path.stat().st_size,
                "dagster/row_count": sum(publication.row_counts.values()),
                "contract": dg.MetadataValue.json(sorted(texts)),
                "tables": dg.MetadataValue.json(publication.row_counts),
            }
        )

    return next_aisle


def _promises(project: Project) -> tuple[dict[str, str], list[Any]]:
    """The texts of the contract and of the metrics, and all that readers are told in addition to the rows."""
    texts = in_force(project.manifest, project.objectives if project.own_objectives else None)
    texts |= metrics(project.manifest_path)
    descriptions = describe(published_models(project.manifest))
    promises = [texts, sorted(descriptions.items()), project.objectives.model_dump()]
    if project.personal_key:
        # Another key, too, is a reason to publish; the digest does not give it away.
        promises.append(hashlib.sha256(project.personal_key).hexdigest())
    return texts, promises


def _publish(project: Project, run_id: str) -> Publication:
    models = published_models(project.manifest)
    texts, promises = _promises(project)
    marts = [(node["schema"], node["alias"]) for node in models]
    encrypted = Encrypted(personal.tables(models), project.personal_key) if project.personal_key else None
    publication = publish(project.paths, marts, texts, describe(models), project.readers, encrypted)
    note_current(project.paths, models, promises, run_id)
    return publication


def _heal(context: dg.AssetExecutionContext, project: Project) -> None:
    """Publish once more what was published last, where the copy is damaged and the warehouse still has it."""
    if (found := damage(project.paths)) is None:
        return
    if not is_audited(project.paths):
        context.log.warning(f"{found}. Readers cannot rely on it until this run has published.")
        return
    try:
        _publish(project, context.run_id)
    except (PublicationError, ContractError) as error:
        context.log.warning(f"{found}. Readers cannot rely on it until this run has published: {error}")
        return
    context.log.warning(f"{found}. It was published again from the warehouse, as it was: readers have it back.")


def published_deliveries_asset(project: Project) -> dg.AssetsDefinition:
    """Declare what readers have: the deliveries behind the copy that was published before this run.

    Args:
        project: what the definitions are made from.
    """
    declared = source_table(project.manifest, *PUBLISHED_DELIVERIES.path)

    @dg.asset(
        key=PUBLISHED_DELIVERIES,
        group_name="published",
        owners=project.owners("published"),
        kinds={"duckdb"},
        pool=WAREHOUSE_POOL,
        description=declared["description"],
        metadata={"dagster/column_schema": project.column_schema(*PUBLISHED_DELIVERIES.path)},
    )
    def deliveries(context: dg.AssetExecutionContext, config: FromRaw) -> dg.MaterializeResult[Any]:
        try:
            if not project.personal_key:
                # Now, and not once all is built.
                refuse_for_all_readers(project.paths)
            with only_writer(project.paths, context.log.info):
                mend_warehouse(project, context.log.warning)
                begin_again(project, config, context.log.info)
                _heal(context, project)
                rows = note_published_deliveries(project.paths)
        except (WarehouseBusyError, RecoveryError, PublicationError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(metadata={"dagster/row_count": rows})

    return deliveries


def held_sources_asset(project: Project) -> dg.AssetsDefinition:
    """Declare which shops are held, as their loads and checks found it; the models are built once that is known.

    Args:
        project: what the definitions are made from.
    """
    declared = source_table(project.manifest, *HELD_SOURCES.path)
    raw = [raw_key(name, table.name) for name in project.sources for table in source.find(name).tables]

    @dg.asset(
        key=HELD_SOURCES,
        # Their checks block: they come before this.
        deps=[PUBLISHED_DELIVERIES, *(raw_key(name, DELIVERIES) for name in project.sources), *raw],
        group_name="published",
        owners=project.owners("published"),
        kinds={"duckdb"},
        pool=WAREHOUSE_POOL,
        description=declared["description"],
        metadata={"dagster/column_schema": project.column_schema(*HELD_SOURCES.path)},
    )
    def held_sources(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        try:
            with only_writer(project.paths, context.log.info), connect(project.paths) as connection:
                holding.begin(connection, project.sources)
                held = holding.read(connection, project.sources)
                emptied = holding.without_their_last_night(connection, list(held))
        except WarehouseBusyError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        reasons = {name: shop.reason for name, shop in held.items()}
        tag_run(context, held)
        if len(held) == len(project.sources):
            # The names first: the summary of a run cuts a long text, and the log file has all of it.
            names = ", ".join(held)
            raise dg.Failure(f"no shop is left to publish ({names}). {_listed(reasons)}", allow_retries=False)
        if emptied:
            raise dg.Failure(
                f"{_listed({name: reasons[name] for name in emptied})}. The warehouse was made again since the last "
                "publication, so the rows that readers have of this shop are not in it: publishing now would take them "
                "away. Nothing is published; put right what the message names and run again.",
                allow_retries=False,
            )
        for name, shop in held.items():
            context.log.warning(f"{name} is held: {shop.reason}")
        return dg.MaterializeResult(
            metadata={"dagster/row_count": sum(len(shop.causes) for shop in held.values()), HELD: reasons}
        )

    return held_sources


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
