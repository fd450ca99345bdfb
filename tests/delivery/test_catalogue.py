"""What describes the published file is next to it: the metrics as an OSI document, and the catalogue."""

import json
from pathlib import Path

import pytest

from delivery import catalogue
from delivery.__main__ import main
from tests.fixtures import made_publication
from warehouse.dbt_project import OSI_DOCUMENT, prepare
from warehouse.settings import Settings


def test_the_metrics_are_those_of_the_project(data: Path) -> None:
    manifest = json.loads(prepare(Settings()).read_text(encoding="utf-8"))
    [(name, text)] = catalogue.metrics(prepare(Settings())).items()
    assert name == "metrics.osi.json"
    [model] = json.loads(text)["semantic_model"]
    public = {m["name"] for m in manifest["metrics"].values() if not m["type_params"].get("is_private")}
    assert {metric["name"] for metric in model["metrics"]} >= public


def test_the_order_in_which_dbt_lists_metrics_makes_no_other_file(tmp_path: Path) -> None:
    texts = []
    for names in (["b", "a"], ["a", "b"]):
        document = {
            "semantic_model": [{"name": "m", "metrics": [{"name": name} for name in names]}],
            "dialects": ["z", "y"],
        }
        (tmp_path / OSI_DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        texts.append(catalogue.metrics(tmp_path / "manifest.json"))
    assert texts[0] == texts[1]
    assert json.loads(texts[0]["metrics.osi.json"])["dialects"] == ["z", "y"]


def test_a_manifest_without_the_document_gives_no_file(tmp_path: Path) -> None:
    assert catalogue.metrics(tmp_path / "manifest.json") == {}


def test_before_the_first_publication_there_is_no_catalogue(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalogue"]) == 1
    assert f"nothing is published yet at {data}/published/next_aisle.duckdb: make run" in capsys.readouterr().err


@pytest.mark.slow
def test_the_catalogue_is_one_page_next_to_the_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = made_publication.make(data)
    assert main(["catalogue"]) == 0
    page = published.with_name("catalogue.html")
    assert capsys.readouterr().out == f"the catalogue, one page that needs no network: {page.as_uri()}\n"
    assert "dim_customers" in page.read_text(encoding="utf-8")
