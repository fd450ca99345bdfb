"""The mark that allows publication holds for the warehouse as it was when it was judged."""

from pathlib import Path

import pytest

from quality.audit import built_by, is_audited, keeping_marks, mark_audited, mark_built, withdraw_marks
from tests import here


@pytest.fixture
def filled(data: Path) -> Path:
    write()
    return data


def write() -> None:
    with here.connect() as connection:
        connection.execute("create table if not exists t (n int)")
        connection.execute("insert into t values (7)")


def test_a_warehouse_counts_as_audited_until_it_is_written(filled: Path) -> None:
    assert not is_audited(here.paths())
    mark_audited(here.paths(), "run-1")
    assert is_audited(here.paths())
    with here.connect(read_only=True):
        pass
    assert is_audited(here.paths())
    write()
    assert not is_audited(here.paths())


def test_recording_the_run_keeps_the_mark_of_the_warehouse(filled: Path) -> None:
    paths = here.paths()
    with keeping_marks(paths):
        write()
    assert built_by(paths) is None
    mark_built(paths, "run-1")
    with keeping_marks(paths):
        write()
    assert built_by(paths) == "run-1" and not is_audited(paths)
    mark_audited(paths, "run-1")
    with keeping_marks(paths):
        write()
    assert built_by(paths) == "run-1" and is_audited(paths)
    write()
    assert built_by(paths) is None, "another process wrote it"
    mark_built(paths, "run-2")
    withdraw_marks(paths)
    assert built_by(paths) is None


def test_a_record_that_fails_keeps_no_mark(filled: Path) -> None:
    mark_audited(here.paths(), "run-1")
    with pytest.raises(RuntimeError), keeping_marks(here.paths()):
        write()
        raise RuntimeError("the disk is full")
    assert not is_audited(here.paths())


def test_without_a_warehouse_nothing_is_audited(filled: Path) -> None:
    mark_audited(here.paths(), "run-1")
    here.paths().warehouse.unlink()
    assert not is_audited(here.paths())
