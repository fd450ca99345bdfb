"""What describes the published file, next to it: the metrics as an OSI document, and the catalogue as one page.

The contract is written by publication itself (delivery/publication.py).
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from warehouse.dbt_project import DBT_EXECUTABLE, OSI_DOCUMENT
from warehouse.paths import DBT_DIR
from warehouse.safe_files import write_text
from warehouse.settings import Settings, environment

# Next to the published file.
METRICS_FILE = "metrics.osi.json"
CATALOGUE_FILE = "catalogue.html"


class CatalogueError(Exception):
    """The catalogue cannot be made; the message says why."""


def metrics(manifest: Path) -> dict[str, str]:
    """Give the definitions of the metrics as an Open Semantic Interchange document, which dbt writes.

    Args:
        manifest: where dbt's manifest is.

    Returns:
        File name to text, always in the same order; empty where the manifest was made by a dbt that writes none.
    """
    document = manifest.with_name(OSI_DOCUMENT)
    if not document.exists():
        return {}
    content = _in_order(json.loads(document.read_text(encoding="utf-8")))
    return {METRICS_FILE: json.dumps(content, indent=1, ensure_ascii=False) + "\n"}


def write(settings: Settings) -> Path:
    """Have dbt write its documentation as one page, and put it next to the published file.

    Args:
        settings: where data lives.

    Returns:
        The page.

    Raises:
        CatalogueError: nothing is published yet, or dbt fails; the message is dbt's own.
    """
    paths = settings.paths
    if not paths.published.exists():
        raise CatalogueError(f"nothing is published yet at {paths.published}: make run")
    target = paths.dbt_target
    command = [DBT_EXECUTABLE, "--quiet", "--no-use-colors", "docs", "generate", "--static"]
    done = subprocess.run(
        [*command, "--target-path", str(target), "--log-path", str(target)],
        cwd=DBT_DIR,
        env=environment(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CatalogueError(f"dbt cannot write the catalogue:\n{done.stdout}{done.stderr}")
    page = paths.published.with_name(CATALOGUE_FILE)
    write_text(page, (target / "static_index.html").read_text(encoding="utf-8"))
    return page


def _in_order(value: Any) -> Any:
    """Named things by their names: dbt lists them as it happened to parse them."""
    if isinstance(value, dict):
        return {key: _in_order(part) for key, part in value.items()}
    if isinstance(value, list):
        parts = [_in_order(part) for part in value]
        named = all(isinstance(part, dict) and "name" in part for part in parts)
        return sorted(parts, key=lambda part: str(part["name"])) if named else parts
    return value
