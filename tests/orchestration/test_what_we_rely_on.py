"""Behaviour of Dagster and dagster-dbt that this project leans on: an upgrade that changes it fails here."""

import re
import sqlite3
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import sqlalchemy
from dagster_dbt import DbtCliResource

from orchestration.instance import open_instance
from orchestration.resources import QuickDbtCli, dbt_cli
from tests import here
from warehouse.paths import PROJECT_DIR

# Private parts of Dagster, each with the reason for it.
PRIVATE = {
    # The run of a terminal with the code location of the UI (orchestration/instance.py): the public functions that run
    # a job in this process make runs of no code location. The UI does not show those with their job, and cannot
    # execute them again.
    ("orchestration/instance.py", "dagster._core.remote_origin"),
    ("orchestration/instance.py", "dagster._core.definitions.repository_definition"),
    ("orchestration/instance.py", "dagster._core.execution.api"),
    ("orchestration/instance.py", "dagster._core.definitions.job_base"),
    # The names of the tags by which a killed run is repeated once, as a whole: Dagster documents their values only.
    ("orchestration/schedules.py", "dagster._core.storage.tags"),
    ("orchestration/schedules.py", "dagster._core.execution.plan.resume_retry"),
    ("orchestration/killed_runs.py", "dagster._core.storage.tags"),
    # The same for a run that came across a damaged warehouse.
    ("orchestration/executor.py", "dagster._core.storage.tags"),
    # What a step cost, in the log of its run; the public events of a step are made by its own code.
    ("orchestration/costs.py", "dagster._core.events"),
    # Dagster deletes a run and leaves its evaluations of checks.
    ("orchestration/retention.py", "dagster._core.storage.event_log.schema"),
    # The daemon as a module to run: its command looks for a workspace of its own.
    ("orchestration/services.py", "dagster._daemon"),
}


def test_what_is_private_to_dagster_is_used_where_it_is_listed_and_nowhere_else() -> None:
    used = {
        (file.relative_to(PROJECT_DIR).as_posix(), module)
        for file in PROJECT_DIR.glob("orchestration/**/*.py")
        for module in re.findall(r"\bdagster(?:_\w+)?(?:\.\w+)*\._[\w.]+", file.read_text(encoding="utf-8"))
    }
    assert used == PRIVATE


def test_what_quick_dbt_overrides_is_still_there() -> None:
    for name in ("_cli_version", "_initialize_dbt_core_adapter"):
        assert hasattr(DbtCliResource, name)
        assert name in QuickDbtCli.__dict__


def test_dbt_is_started_with_the_version_that_is_installed() -> None:
    assert str(dbt_cli()._cli_version) == version("dbt-core")


def test_the_event_log_writes_a_run_over_connections_that_stay_open(data: Path) -> None:
    @dg.op
    def count_to_thirty(context: dg.OpExecutionContext) -> None:
        for number in range(30):
            context.log.info(str(number))

    @dg.job
    def night() -> None:
        count_to_thirty()

    opened: list[str] = []

    def note(connection: sqlite3.Connection, _: object) -> None:
        opened.append(Path(connection.execute("pragma database_list").fetchone()[2]).stem)

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", note)
    with open_instance(here.paths()) as instance:
        run = night.execute_in_process(instance=instance)
        events = len(instance.all_logs(run.run_id))
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", note)
    assert events > 30
    # Those by which Dagster makes the file, and the one that stays open.
    assert 2 <= opened.count(run.run_id) < 10
