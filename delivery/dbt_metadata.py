"""What dbt knows of the project: its manifest, parsed anew whenever a file of the project changed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

DBT_DIR = Path(__file__).resolve().parent.parent / "dbt_project"
DBT_EXECUTABLE = str(Path(sys.executable).parent / "dbt")

Manifest = dict[str, Any]


class DbtProjectError(Exception):
    """The dbt project does not parse; the message is dbt's own."""


def project_settings() -> dict[str, Any]:
    """Read dbt_project.yml."""
    settings: dict[str, Any] = yaml.safe_load((DBT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))
    return settings


def parse_if_stale() -> Path:
    """Have dbt parse the project when a file changed since the last time; needs no network and no warehouse.

    Returns:
        Where the manifest is.

    Raises:
        DbtProjectError: the project does not parse.
    """
    manifest = DBT_DIR / "target" / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(manifest.parent / "parse.lock"):
        if not _is_fresh(manifest):
            parsed = subprocess.run(
                [DBT_EXECUTABLE, "--no-use-colors", "parse"],
                cwd=DBT_DIR,
                capture_output=True,
                text=True,
                check=False,
            )
            if parsed.returncode:
                raise DbtProjectError(f"dbt cannot parse {DBT_DIR}:\n{parsed.stdout}{parsed.stderr}")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: target/manifest.json of a dbt project.
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


def _is_fresh(manifest: Path) -> bool:
    try:
        json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        # Not there, or cut off: dbt was killed while it wrote it.
        return False
    written = manifest.stat().st_mtime
    folders = ("models", "macros", "seeds", "tests")
    files = [path for folder in folders for path in [DBT_DIR / folder, *(DBT_DIR / folder).rglob("*")]]
    files += DBT_DIR.glob("*.yml")
    return all(path.stat().st_mtime <= written for path in files)
