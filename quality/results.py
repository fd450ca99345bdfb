"""What is known of a run: its checks, its steps, the tables that it built, whatever program ran it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

# What a run is called for as long as it is not known how it ended.
UNDER_WAY = "under way"


@dataclass(frozen=True)
class Check:
    """How one check of a run came out.

    Attributes:
        name: the check's name.
        table: `schema.table` that it is about.
        at: when it ran, in seconds since 1970, UTC.
        status: pass, warn or fail.
        rows_read: rows, or whatever else was checked; None when not known.
        rows_failed: how many of them failed.
        description: what was found, in words.
        measures: what an objective may call it, the most particular name first: its own, then that of its kind.
        is_held: whether its shop is held for it; then it breaks no objective, for what failed is not published.
    """

    name: str
    table: str
    at: float
    status: str
    rows_read: int | None
    rows_failed: int | None
    description: str | None
    measures: tuple[str, ...]
    is_held: bool = False


@dataclass(frozen=True)
class Step:
    """How one step of a run went.

    Attributes:
        step: its key: that of the step in Dagster, or `model.<schema>.<table>` for a model.
        seconds: how long it took.
        row_count: rows that it loaded or built; None when it did neither.
        succeeded: whether it came to its end.
        cpu_seconds: processor time of the run and the programs that it started; of a model, its share of its step's by
            wall time; None when not known.
        loaded_bytes: bytes of the landed files that it loaded; None when it loaded none.
    """

    step: str
    seconds: float
    row_count: int | None
    succeeded: bool
    cpu_seconds: float | None = None
    loaded_bytes: int | None = None


@dataclass(frozen=True)
class Run:
    """What one run did.

    Attributes:
        run_id: its id where it ran.
        job: the job's name.
        outcome: success, failure, canceled, unknown or under way.
        started: seconds since 1970, UTC.
        ended: the same; None while it is under way.
        checks: in the order in which they ran.
        steps: in the order in which they ended.
        built: `schema.table` of each model that was built, and when.
    """

    run_id: str
    job: str
    outcome: str
    started: float
    ended: float | None
    checks: Sequence[Check]
    steps: Sequence[Step]
    built: Sequence[tuple[str, float]]


def timestamp(seconds: float) -> str:
    """Write a time as text: ISO 8601, UTC, without a zone.

    Args:
        seconds: since 1970.
    """
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
