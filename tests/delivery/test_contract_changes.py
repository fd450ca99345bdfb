"""What breaks the readers of a published table needs a new version, and names them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.breaking import breakages, is_bumped
from delivery.contract import Metadata, read_metadata, render
from quality import objectives
from warehouse.dbt_project import Manifest, prepare, read_manifest
from warehouse.settings import Settings

pytest.importorskip("datacontract", reason="needs the group contract")

CUSTOMERS = "model.next_aisle.dim_customers"
Change = Callable[[Manifest], object]


@pytest.fixture(scope="module")
def metadata() -> Metadata:
    return read_metadata(read_manifest(prepare(Settings())), objectives.read())


@pytest.fixture
def broken(metadata: Metadata) -> Callable[[Change], list[str]]:
    """What a change of the manifest breaks, as the messages that users see."""

    def tell(change: Change) -> list[str]:
        manifest = copy.deepcopy(metadata.manifest)
        change(manifest)
        return [str(breakage) for breakage in breakages(render(metadata), render(replace(metadata, manifest=manifest)))]

    return tell


def columns(manifest: Manifest) -> dict[str, dict[str, object]]:
    return manifest["nodes"][CUSTOMERS]["columns"]  # type: ignore[no-any-return]


def without_test(manifest: Manifest, name: str) -> None:
    del manifest["nodes"][next(key for key, node in manifest["nodes"].items() if node["name"] == name)]


def accept_one_more(manifest: Manifest) -> None:
    test = next(
        node
        for node in manifest["nodes"].values()
        if node.get("attached_node") == CUSTOMERS and node["test_metadata"]["name"] == "accepted_values"
    )
    test["test_metadata"]["kwargs"]["values"].append("lost")


def rename(manifest: Manifest) -> None:
    columns(manifest)["segment"] = {**columns(manifest).pop("rfm_segment"), "name": "segment"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: columns(m).pop("income_band"), "core.dim_customers.income_band: Removed property income_band"),
        (rename, "core.dim_customers.rfm_segment: Removed property rfm_segment"),
        (lambda m: columns(m)["income"].update(data_type="bigint"), "core.dim_customers.income: Changed"),
        (lambda m: without_test(m, "not_null_dim_customers_total_spending"), "core.dim_customers.total_spending: "),
        (lambda m: without_test(m, "unique_dim_customers_customer_key"), "core.dim_customers.customer_key: "),
        (accept_one_more, "core.dim_customers.rfm_segment: Added allowed values: lost"),
    ],
    ids=["removed", "renamed", "type", "nullable", "key", "values"],
)
def test_a_breaking_change_names_the_column_and_its_readers(
    broken: Callable[[Change], list[str]], change: Change, message: str
) -> None:
    text = "\n".join(broken(change))
    assert message in text
    assert "Campaign list of next-category offers (exposure next_category_offers): marketing <marketing@" in text


def test_a_removed_table_names_its_readers_even_if_dbt_no_longer_has_them(
    broken: Callable[[Change], list[str]],
) -> None:
    def remove(manifest: Manifest) -> None:
        del manifest["nodes"][CUSTOMERS]
        del manifest["exposures"]["exposure.next_aisle.next_category_offers"]

    text = "\n".join(broken(remove))
    assert "core.dim_customers: Removed schema dim_customers" in text
    assert "marketing <marketing@example.com>" in text


def test_removing_a_whole_schema_breaks_its_readers(broken: Callable[[Change], list[str]]) -> None:
    def remove(manifest: Manifest) -> None:
        for key in [key for key, node in manifest["nodes"].items() if node["schema"] == "quality"]:
            del manifest["nodes"][key]

    assert any(breakage.startswith("  quality.rejected_rows: Removed") for breakage in broken(remove))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: columns(m).update(mood={**columns(m)["age_band"], "name": "mood"}),
        lambda m: columns(m)["income"].update(description="Said otherwise."),
    ],
    ids=["column added", "other words"],
)
def test_a_new_column_or_other_wording_breaks_nothing(broken: Callable[[Change], list[str]], change: Change) -> None:
    assert broken(change) == []


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.1.1", False),
        ("0.1.0", "0.2.0", True),
        ("0.2.0", "0.1.0", False),
        ("0.9.0", "1.0.0", True),
        ("1.0.0", "1.1.0", False),
        ("1.9.0", "2.0.0", True),
    ],
)
def test_breaking_changes_need_a_higher_major_version_or_before_1_0_a_higher_minor_version(
    old: str, new: str, allowed: bool
) -> None:
    assert is_bumped(old, new) is allowed


def test_the_command_writes_nothing_that_breaks_readers_until_the_version_is_raised(
    metadata: Metadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from delivery import __main__ as command

    monkeypatch.setattr(command, "FOLDER", tmp_path)
    metadata = replace(metadata, version="0.1.0")
    monkeypatch.setattr(command, "read_metadata", lambda *_: metadata)
    assert command.main(["contract"]) == 0
    before = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert before == render(metadata)

    manifest = copy.deepcopy(metadata.manifest)
    columns(manifest).pop("income_band")
    changed = replace(metadata, manifest=manifest)
    monkeypatch.setattr(command, "read_metadata", lambda *_: changed)
    for arguments in (["contract"], ["contract", "--check"]):
        assert command.main(arguments) == 1
        errors = capsys.readouterr().err
        assert "core.dim_customers.income_band" in errors
        assert "marketing@example.com" in errors
        assert "raise the minor version in dbt_project/dbt_project.yml" in errors
        assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == before

    changed = replace(changed, version="0.2.0")
    assert command.main(["contract"]) == 0
    assert "version 0.2.0 breaks what readers have of 0.1.0" in capsys.readouterr().out
    assert "income_band" not in (tmp_path / "core.odcs.yaml").read_text(encoding="utf-8")
