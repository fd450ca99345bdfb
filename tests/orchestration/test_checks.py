"""Freshness by the wall clock: how old the newest purchase may be."""

import datetime as dt

import dagster as dg
import pytest

from orchestration.checks import judge

NOW = dt.datetime(2026, 11, 20, 2, 0)
WARN, ERROR = dt.timedelta(hours=30), dt.timedelta(hours=48)


@pytest.mark.parametrize(
    ("newest", "passed", "severity"),
    [
        (dt.datetime(2026, 11, 19, 21, 0), True, None),
        (dt.datetime(2026, 11, 18, 20, 0), True, None),  # 30 hours exactly
        (dt.datetime(2026, 11, 18, 19, 59), False, dg.AssetCheckSeverity.WARN),
        (dt.datetime(2026, 11, 18, 2, 0), False, dg.AssetCheckSeverity.WARN),  # 48 hours exactly
        (dt.datetime(2026, 11, 18, 1, 59), False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_the_newest_purchase_is_judged_by_its_age(
    newest: dt.datetime, passed: bool, severity: dg.AssetCheckSeverity | None
) -> None:
    result = judge(newest, NOW, WARN, ERROR)
    assert result.passed is passed
    if severity:
        assert result.severity == severity


def test_a_shop_without_a_purchase_stops_the_run() -> None:
    result = judge(None, NOW, WARN, ERROR)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
