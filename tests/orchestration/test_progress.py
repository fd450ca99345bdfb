"""What a run says while it goes on: a line for each step and layer, and each model only when asked."""

import io
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from orchestration.holds import HELD
from orchestration.progress import layers_of, progress_logger, shown
from warehouse.terminal import Terminal


def node(schema: str, table: str, *folders: str, kind: str = "model") -> dict[str, Any]:
    return {"resource_type": kind, "schema": schema, "alias": table, "fqn": ["next_aisle", *folders, table]}


MANIFEST: dict[str, Any] = {
    "nodes": {
        "a": node("staging", "stg_a", "staging", "shop"),
        "b": node("staging", "stg_b", "staging", "shop"),
        "c": node("intermediate", "int_scores", "intermediate", "score"),
        "d": node("core", "dim_a", "marts", "core"),
        "e": node("seeds", "reasons", kind="seed"),
        "f": node("failed_rows", "a_test", kind="test"),
    }
}


@dg.asset(name="load_shop")
def load_shop(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    context.log.info("shop: checking 3 new of 3 landed files")
    return dg.MaterializeResult(metadata={"rows_loaded": 1234})


@dg.asset(name="load_broken_shop", check_specs=[dg.AssetCheckSpec("is_loaded", asset="load_broken_shop")])
def load_broken_shop() -> Iterator[Any]:
    yield dg.MaterializeResult(metadata={HELD: "no file"})
    yield dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(name="land_shop")
def land_shop() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"files_landed_now": 0})


@dg.asset(name="build_models", deps=[load_shop], check_specs=[dg.AssetCheckSpec("unique", asset="build_models")])
def build_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
    for model, seconds in (("staging.stg_a", 0.25), ("intermediate.int_scores", 25.0), ("staging.stg_b", 0.5)):
        context.log.info(f"built {model}", extra={"model": model, "seconds": seconds})
    if context.run.tags.get("again"):
        context.log.info("building without the new rows", extra={"again": True})
        context.log.info("built staging.stg_a", extra={"model": "staging.stg_a", "seconds": 0.1})
    context.log.info("waiting for another run, which is writing the warehouse (0 s so far)")
    context.log.warning("a [/b] new\x1b[2J column")
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(name="check_shop", deps=[build_models])
def check_shop() -> None:
    raise RuntimeError("no")


def progress(*, verbose: bool, out: io.StringIO | None = None, again: bool = False) -> list[str]:
    out = out or io.StringIO()
    definitions = dg.Definitions(
        assets=[land_shop, load_shop, load_broken_shop, build_models, check_shop],
        jobs=[dg.define_asset_job("nightly")],
        loggers={"progress": progress_logger},
        executor=dg.in_process_executor,
    )
    console = Terminal(out)
    with shown(console, MANIFEST, verbose=verbose):
        definitions.resolve_job_def("nightly").execute_in_process(
            run_config={"loggers": {"progress": {}}}, raise_on_error=False, tags={"again": "yes"} if again else None
        )
    return out.getvalue().splitlines()


def line_starting(lines: list[str], start: str) -> str:
    (line,) = [line for line in lines if line.startswith(start)]
    return " ".join(line.split())


def test_a_layer_is_the_folder_of_its_models() -> None:
    assert layers_of(MANIFEST) == {
        "staging.stg_a": "staging",
        "staging.stg_b": "staging",
        "intermediate.int_scores": "score",
        "core.dim_a": "core",
        "seeds.reasons": "seeds",
    }


def test_each_step_and_layer_is_one_line_and_models_are_not_named() -> None:
    lines = progress(verbose=False)
    assert line_starting(lines, "✔ landing shop").startswith("✔ landing shop nothing new, ")
    assert line_starting(lines, "✔ loading shop").startswith("✔ loading shop 1,234 rows, ")
    assert line_starting(lines, "✔   staging") == "✔ staging 2 models, 0.8 s"
    assert line_starting(lines, "✔   score") == "✔ score 1 model, 25.0 s"
    assert line_starting(lines, "✔ modelling").startswith("✔ modelling 3 models, 1 check, ")
    assert line_starting(lines, "✘ checking shop failed").startswith("✘ checking shop failed 0.")
    assert line_starting(lines, "  ! warning: check unique") == "! warning: check unique of build_models"
    # What a person must know is shown anyway; data is shown as data.
    assert line_starting(lines, "    waiting") == "waiting for another run, which is writing the warehouse (0 s so far)"
    assert line_starting(lines, "  ! warning: a") == r"! warning: a [/b] new\x1b[2J column"
    assert not any("built" in line or "landed files" in line for line in lines)


def test_a_shop_that_is_held_did_not_load_and_models_that_are_built_once_more_are_counted_once() -> None:
    lines = progress(verbose=False, again=True)
    held = line_starting(lines, "✘ loading broken_shop")
    assert held.startswith("✘ loading broken_shop failed, so the shop is held, ")
    assert "    building without the new rows" in lines
    assert line_starting(lines, "✔ modelling").startswith("✔ modelling 1 model, 1 check, ")


def test_when_asked_each_message_of_the_run_is_a_line() -> None:
    lines = progress(verbose=True)
    assert "    shop: checking 3 new of 3 landed files" in lines
    assert "    built intermediate.int_scores" in lines


def test_on_a_terminal_a_live_line_shows_the_progress_and_disappears_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    progress(verbose=False, out=out)
    text = out.getvalue()
    assert "modelling staging" in text and "2 of 2 models" in text
    assert r"a [/b] new\x1b[2J column" in text
    assert "\x1b[2J" not in text
    # The cursor is hidden while the line is there, and then shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
