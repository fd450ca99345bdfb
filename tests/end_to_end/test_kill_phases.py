"""The kill sweep tells the phases of a run apart."""

from pathlib import Path

from tests.end_to_end.kill_sweep import AIMS, Sweep, phase, report
from warehouse.paths import Paths


def test_each_phase_is_told_by_what_was_printed_and_by_what_dlt_and_dbt_have_on_disk(tmp_path: Path) -> None:
    dlt, log = Paths(tmp_path).dlt / "shop", Paths(tmp_path).dbt_target / "dbt.log"
    log.parent.mkdir(parents=True)
    log.write_text('{"data": {"description": "test of_the_night_before"}}\n')
    logged = log.stat().st_size
    seen = []

    def see(printed: str) -> None:
        seen.append(phase(tmp_path, printed, logged))

    see("")
    see(loading := "✔ landing shop\n✔ looking up what is published 0.0 s")
    (dlt / "normalize" / "extracted" / "1.5").mkdir(parents=True)
    see(loading)
    (dlt / "load" / "normalized" / "1.5").mkdir(parents=True)
    see(loading)
    see(modelling := f"{loading}\n✔ loading shop\n✔ checking shop\n✔ looking up which shops are held 0.0 s")
    with log.open("a") as more:
        more.write('{"data": {"description": "sql table model core.dim_products"}}\n')
        more.flush()
        see(modelling)
        more.write('{"data": {"description": "test unique_dim_products"}}\n')
        more.flush()
        see(modelling)
    see(f"{modelling}\n✔ modelling\n✔ measuring")
    see(f"{modelling}\n✔ modelling\n✔ measuring\n✔ judging")
    see(f"{modelling}\n✔ modelling\n✔ measuring\n✔ judging\n✔ quality tables\n✔ comparing")
    assert seen == ["start", "extract", "normalise", "load", "dbt start", "dbt models", "dbt tests", *AIMS[5:]]


def test_the_report_has_each_phase_and_what_came_out() -> None:
    lines = report(Sweep(kills={"start": 1, "load": 2, "publish": 3}, lost=1, reads=50)).splitlines()
    phases = ["extract", "normalise", "load", "dbt models", "dbt tests", "judge", "record", "publish", "start"]
    assert lines[2:11] == [
        f"| {phase} | {count} |" for phase, count in zip(phases, [0, 0, 2, 0, 0, 0, 0, 3, 1], strict=True)
    ]
    assert lines[-2:] == [
        "6 kills (0 runs had ended before): 1 lost, 0 doubled, 0 different, 0 second runs failed.",
        "50 reads, 0 torn.",
    ]
