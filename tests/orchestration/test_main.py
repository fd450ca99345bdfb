"""`python -m orchestration`: options that do not fit together."""

from pathlib import Path

import pytest

from orchestration.__main__ import main


def test_rebuild_refuses_options_that_do_not_fit_together(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rebuild", "--without-missing"]) == 2
    assert "--without-missing goes with --from-landing only" in capsys.readouterr().err
    assert list(data.iterdir()) == []
