"""The dbt project as other rooms see it: where it is, its settings, and its manifest."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from warehouse.digests import digest
from warehouse.paths import DBT_DIR
from warehouse.safe_files import is_disk_full
from warehouse.settings import Settings, environment

DBT_EXECUTABLE = str(Path(sys.executable).parent / "dbt")

Manifest = dict[str, Any]

# In dbt's target folder, next to the manifest: the metrics as Open Semantic Interchange writes them.
OSI_DOCUMENT = "osi_document.json"

# In dbt's target folder: from which files the manifest was made.
PARSED_FROM = "parsed_from"

# In dbt's target folder: what dbt parsed, so that the next time it only parses the files that changed since.
PARTIAL_PARSE = "partial_parse.msgpack"


class DbtProjectError(Exception):
    """The dbt project does not parse, or its manifest is not there; the message says why."""


def project_settings() -> dict[str, Any]:
    """Read dbt_project.yml."""
    settings: dict[str, Any] = yaml.safe_load((DBT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))
    return settings


def active_sources() -> list[str]:
    """Read the list of active sources from its one place, the variable `sources` in dbt_project.yml.

    Returns:
        Source names in that order.
    """
    return list(project_settings()["vars"]["sources"])


def prepare(settings: Settings) -> Path:
    """Name the manifest; where none was made ahead, have dbt parse the project if a file changed since the last time.

    Needs no network and no warehouse.

    Args:
        settings: where data lives, and the manifest that was made ahead, if any.

    Returns:
        Where the manifest is.

    Raises:
        DbtProjectError: the project does not parse, or the manifest that was made ahead is not there.
    """
    if settings.manifest:
        if not settings.manifest.is_file():
            raise DbtProjectError(
                f"there is no manifest at {settings.manifest}, which NEXT_AISLE_MANIFEST names. "
                "Make one with `python -m orchestration manifest FOLDER`, or unset the variable."
            )
        return settings.manifest
    target = settings.paths.dbt_target
    manifest = target / "manifest.json"
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / "parse.lock"):
        if not _is_fresh(target):
            files = _files()
            parse(settings, target)
            (target / PARSED_FROM).write_text(files, encoding="utf-8")
    return manifest


def parse(settings: Settings, target: Path) -> None:
    """Have dbt parse the project.

    Args:
        settings: where data lives.
        target: the folder to write manifest.json to.

    Raises:
        DbtProjectError: the project does not parse, and the message is dbt's own; or memory or disk ran out.
    """
    parsed = _dbt_parse(settings, target)
    if parsed.returncode and "which was not found" in parsed.stdout and (target / PARTIAL_PARSE).exists():
        # dbt mixes files of now with those of the last time when a model is gone that something else named.
        forget_parsed(target)
        parsed = _dbt_parse(settings, target)
    if parsed.returncode:
        printed = f"{parsed.stdout}{parsed.stderr}"
        if parsed.returncode < 0 or "MemoryError" in printed:
            raise DbtProjectError("memory ran out while dbt parsed the project. Free some and run again")
        if is_disk_full(OSError(printed)):
            raise DbtProjectError(f"the disk is full: dbt cannot write to {target}. Free some space and run again")
        raise DbtProjectError(f"dbt cannot parse {DBT_DIR}:\n{printed}")


def forget_parsed(target: Path) -> None:
    """Have dbt parse the whole project the next time, also what it takes for unchanged.

    Args:
        target: dbt's target folder.
    """
    (target / PARTIAL_PARSE).unlink(missing_ok=True)


def _dbt_parse(settings: Settings, target: Path) -> "subprocess.CompletedProcess[str]":
    command = [DBT_EXECUTABLE, "--no-use-colors", "parse", "--target-path", str(target), "--log-path", str(target)]
    return subprocess.run(
        command, cwd=DBT_DIR, env=environment(settings.paths), capture_output=True, text=True, check=False
    )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: the manifest.json of a dbt project.
    """
    manifest: Manifest = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def published_models(manifest: Manifest) -> list[dict[str, Any]]:
    """List the models that are published: all below models/marts.

    Args:
        manifest: dbt's.

    Returns:
        Their nodes, by schema and table.
    """
    marts = [node for node in manifest["nodes"].values() if node["resource_type"] == "model" and "marts" in node["fqn"]]
    return sorted(marts, key=lambda node: (node["schema"], node["alias"]))


def source_table(manifest: Manifest, source: str, table: str) -> dict[str, Any]:
    """Find a source's table: its description, columns, freshness limits.

    Args:
        manifest: dbt's.
        source: the source's name.
        table: the table's name.

    Raises:
        DbtProjectError: the dbt project declares no such table.
    """
    node: dict[str, Any] | None = manifest["sources"].get(f"source.{_project(manifest)}.{source}.{table}")
    if node is None:
        raise DbtProjectError(f"the dbt project declares no source table {source}.{table}: add it to the source's yml")
    return node


def has_source_table(manifest: Manifest, source: str, table: str) -> bool:
    """Tell whether the dbt project declares a source's table.

    Args:
        manifest: dbt's.
        source: the source's name.
        table: the table's name.
    """
    return f"source.{_project(manifest)}.{source}.{table}" in manifest["sources"]


def is_staged(manifest: Manifest, source: str, table: str) -> bool:
    """Tell whether a raw table has a staging model of its name, such as stg_shop__purchases.

    Args:
        manifest: dbt's.
        source: the source's name.
        table: the table's name.
    """
    return f"model.{_project(manifest)}.stg_{source}__{table}" in manifest["nodes"]


def owner(manifest: Manifest, group: str) -> dict[str, str]:
    """Say whom to ask about a group of tables: name and e-mail, as models/groups.yml has them.

    Args:
        manifest: dbt's.
        group: the group's name.

    Raises:
        DbtProjectError: the dbt project declares no such group.
    """
    node = manifest["groups"].get(f"group.{_project(manifest)}.{group}")
    if node is None:
        raise DbtProjectError(f"the dbt project declares no group {group}: add it to models/groups.yml")
    return {"name": node["owner"]["name"], "email": node["owner"]["email"]}


def _project(manifest: Manifest) -> str:
    return str(manifest["metadata"]["project_name"])


def _is_fresh(target: Path) -> bool:
    try:
        json.loads((target / "manifest.json").read_bytes())
        return (target / OSI_DOCUMENT).exists() and (target / PARSED_FROM).read_text(encoding="utf-8") == _files()
    except (OSError, ValueError):
        # Not there, or cut off: dbt was killed while it wrote it.
        return False


def _files() -> str:
    """The project's files as they are: a data folder may serve several checkouts, whose files are of any age."""
    folders = ("models", "macros", "seeds", "tests")
    files = [path for folder in folders for path in (DBT_DIR / folder).rglob("*")]
    files += DBT_DIR.glob("*.yml")
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files) if path.is_file()]
    return digest(stats)
