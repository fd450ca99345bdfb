"""A file is replaced as a whole or not at all."""

import os
from pathlib import Path

import pytest

from warehouse.safe_files import replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file.txt"
    write_text(target, "old")
    with replacing(target) as (unfinished,):
        unfinished.write_text("new")
        assert target.read_text() == "old"
        assert unfinished.name.startswith("."), "hidden from a list of the folder"
    assert target.read_text() == "new"
    assert names(target.parent) == ["file.txt"]


def test_a_failure_leaves_all_targets_unchanged_and_no_other_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_text(first, "old")
    with pytest.raises(RuntimeError), replacing(first, second) as unfinished:
        for path in unfinished:
            path.write_text("new")
        raise RuntimeError
    assert first.read_text() == "old"
    assert names(tmp_path) == ["first"]


def test_a_full_disk_is_noticed_before_any_target_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_text(first, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), replacing(first, second) as unfinished:
        for path in unfinished:
            path.write_text("new")
    assert first.read_text() == "old"
    assert names(tmp_path) == ["first"]


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name.split('.')[-1]}")
        fsync(handle)

    def replaced(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_text(tmp_path / "file", "x")
    assert done == ["sync part", "rename", f"sync {tmp_path.name}"]


def test_only_what_a_killed_process_left_of_the_same_target_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".file.4711.part").write_text("half")
    (tmp_path / ".file.4711.part.wal").write_text("its log")
    (tmp_path / ".other.4711.part").write_text("of another file")
    write_text(tmp_path / "file", "x")
    assert names(tmp_path) == [".other.4711.part", "file"]


def test_a_name_with_brackets_is_not_taken_for_a_pattern(tmp_path: Path) -> None:
    (tmp_path / ".a.1.part").write_text("of another file")
    write_text(tmp_path / "[a]", "x")
    assert names(tmp_path) == [".a.1.part", "[a]"]
