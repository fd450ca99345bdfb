"""What a run does before it loads: mend a damaged warehouse, and forget what is to be loaded again."""

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from pydantic import Field

from delivery.publication import PublicationError, published_deliveries
from ingestion.again import landed, load_again, not_landed, since
from orchestration.project import Project
from warehouse import damage
from warehouse.connections import connect
from warehouse.dbt_project import active_sources, prepare, read_manifest
from warehouse.locks import Say
from warehouse.paths import Paths
from warehouse.settings import Settings

RESTORE = "uv run python -m orchestration restore"
FROM_LANDING = "uv run python -m orchestration rebuild --from-landing"

# In the name of a warehouse that was set aside because a person asked for it.
BEFORE_REBUILD = "before-rebuild"


class RecoveryError(Exception):
    """The warehouse cannot be made again from what is landed; the message says what is missing, and what to do."""


class FromRaw(dg.Config):
    """What is to be loaded again; `python -m orchestration rebuild` sets it."""

    from_landing: bool = Field(
        default=False, description="Set the warehouse aside and load all landed files again, into a new one."
    )
    without_missing: bool = Field(
        default=False, description="Do so also when some of the published deliveries are not landed any more."
    )
    since: str = Field(
        default="", description="Load the deliveries of this day and later again, such as 2026-10-31. Empty: none."
    )

    def first_day(self) -> dt.date | None:
        """Read the day.

        Raises:
            RecoveryError: it is no date.
        """
        if not self.since:
            return None
        try:
            return dt.date.fromisoformat(self.since)
        except ValueError:
            raise RecoveryError(f"{self.since!r} is not a date. Write it as 2026-10-31.") from None


def mend_warehouse(project: Project, say: Say) -> None:
    """Set a damaged warehouse aside, where what is landed is enough to make it again; this run then does so.

    The warehouse is opened; it is read whole when a step failed before with words of damage.

    Args:
        project: what the definitions are made from.
        say: called with one line for what is done.

    Raises:
        RecoveryError: published deliveries are not landed any more, so that a new warehouse would not have them.
    """
    paths = project.paths
    suspected = damage.is_suspected(paths)
    if (found := damage.examine(paths, whole=suspected)) and found.of_log:
        aside = damage.set_aside(paths, only_log=True)
        say(
            f"{found.reason}. The log is now {aside}: the warehouse is as it was at its last checkpoint, and this run "
            "goes on from there. Remove the log when all is well."
        )
        found = damage.examine(paths, whole=True)
    if found is None:
        damage.acquit(paths)
        return
    if missing := missing_files(paths):
        raise RecoveryError(
            f"{found.reason}. It cannot be made again by itself: {missing}. Nothing was changed, and readers still "
            f"have their copy. Restore the newest backup ({RESTORE}), or land the files again, or build everything "
            f"without them ({FROM_LANDING} --without-missing)."
        )
    say(
        f"{found.reason}. It was set aside as {damage.set_aside(paths)}; this run loads all landed files again and "
        "builds everything. Remove it when all is well."
    )


def missing_files(paths: Paths) -> str:
    """Say which of the published deliveries could not be loaded again.

    Args:
        paths: where data lives.

    Returns:
        In words; empty where everything is landed.
    """
    try:
        missing = not_landed(paths, published_deliveries(paths))
    except PublicationError as error:
        return f"{error}, so it is not known whether all files are still landed"
    if not missing:
        return ""
    more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
    return f"not in the landing folder any more: {', '.join(missing[:3])}{more}"


def begin_again(project: Project, config: FromRaw, say: Say) -> None:
    """Have this run load again what a person asked for.

    Args:
        project: what the definitions are made from.
        config: what they asked for.
        say: called with one line for what is done.

    Raises:
        RecoveryError: some of it is not landed any more, or the day is no date.
    """
    paths, day = project.paths, config.first_day()
    if config.from_landing and paths.warehouse.exists():
        missing = missing_files(paths)
        if missing and not config.without_missing:
            raise RecoveryError(
                f"Nothing was changed: {missing}. Land these files again, or build everything without them "
                f"({FROM_LANDING} --without-missing)."
            )
        aside: Path = damage.set_aside(paths, BEFORE_REBUILD)
        say(f"the warehouse was set aside as {aside}; all landed files are loaded again. Remove it when all is well.")
    elif day and paths.warehouse.exists():
        with connect(paths) as connection:
            for name in project.sources:
                chosen = since(connection, paths, name, day)
                load_again(connection, name, chosen)
                say(f"{name}: {len(chosen):,} deliveries of {day} and later are loaded again")


def plan(settings: Settings, *, from_landing: bool, day: dt.date | None) -> Iterator[str]:
    """Say what a rebuild would do.

    Args:
        settings: where data lives.
        from_landing: whether the warehouse would be set aside.
        day: the day from which on deliveries would be loaded again; None: none would be.

    Yields:
        Lines for a person.
    """
    paths = settings.paths
    manifest = read_manifest(prepare(settings))
    kinds = [node["resource_type"] for node in manifest["nodes"].values()]
    names = active_sources()
    if from_landing:
        size = paths.warehouse.stat().st_size if paths.warehouse.exists() else 0
        free = shutil.disk_usage(paths.root).free
        yield f"set aside   {paths.warehouse} ({size / 1e6:,.0f} MB); free on its disk: {free / 1e6:,.0f} MB"
        for name in names:
            files = landed(paths, name)
            yield (
                f"load        {name}: {_sized(files)}"
                if files is not None
                else f"load        {name}: all that it sends"
            )
        if missing := missing_files(paths):
            yield f"missing     {missing}: without --without-missing nothing is done"
    elif day:
        with connect(paths, read_only=True) as connection:
            for name in names:
                chosen = since(connection, paths, name, day)
                yield f"load again  {name}: {len(chosen):,} deliveries of {day} and later"
                yield from (f"              {delivery}" for _, delivery in chosen)
    yield f"build       {kinds.count('model')} models and {kinds.count('seed')} seeds, {kinds.count('test')} tests"
    yield "publish     when no blocking check fails and no objective that blocks is breached"


def _sized(files: list[Path]) -> str:
    return f"{len(files):,} landed files, {sum(file.stat().st_size for file in files) / 1e6:,.1f} MB"
