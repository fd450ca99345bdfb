"""Why a step failed: the error that began it, and what dbt says of its models and tests."""

import json
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

DBT_KILLED = "dbt was killed"


def first_error(failure: Any) -> Any:
    """Follow a chain of errors to the one that the others were raised from.

    Args:
        failure: Dagster's data of a step that failed.

    Returns:
        Dagster's record of that error; None where there is no error.
    """
    error = failure.error
    while error and error.cause:
        error = error.cause
    return error


def dbt_killed(exit_code: int | None) -> str:
    """Say that dbt's process was killed, as the system does with the largest one when memory runs out.

    Args:
        exit_code: of the process; None when it has not ended.

    Returns:
        In words, with the way out; empty where it ended by itself.
    """
    if exit_code is None or exit_code >= 0:
        return ""
    return (
        f"{DBT_KILLED} ({signal.Signals(-exit_code).name}). When memory ran out, the system's log says so (journalctl "
        "-k). Run again: the run goes on from what is done."
    )


def dbt_failures(target: Path, statuses: Collection[str]) -> list[str]:
    """Read what dbt's last command says of the models and tests that ended with one of some statuses.

    Args:
        target: dbt's target folder.
        statuses: dbt's words, such as `error` (it could not run) and `fail` (a test found rows).

    Returns:
        `name: message` of each; nothing where the command did not get as far as its results.
    """
    return [
        f"{node['unique_id'].split('.')[2]}: {' '.join(str(node['message']).split())}"
        for node in _results(target)
        if node["status"] in statuses
    ]


def dbt_successes(target: Path) -> set[str]:
    """Name the models and seeds that dbt's last command built, and the tests that found nothing.

    Args:
        target: dbt's target folder.

    Returns:
        Their unique ids; none where the command did not get as far as its results.
    """
    return {node["unique_id"] for node in _results(target) if node["status"] in ("success", "pass")}


def _results(target: Path) -> list[Any]:
    try:
        results: list[Any] = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError):
        return []
    return results
