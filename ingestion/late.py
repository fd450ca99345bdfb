"""Which shops have not delivered yet: seen from the landed files alone, before anything is loaded."""

import datetime as dt
from collections.abc import Sequence

from ingestion import sample_shop, source
from ingestion.file_checks import LandedTable, is_finished
from ingestion.landed_files import LandedFiles
from warehouse.paths import Paths


def late(paths: Paths, names: Sequence[str], day: dt.date) -> list[str]:
    """Name the shops whose file of a day has not landed.

    Only shops that land a file a day here can be late. Where files are kept elsewhere, and where rows are pulled, the
    run itself asks; the sample shop lands its files in the run.

    Args:
        paths: where data lives.
        names: the sources that are expected to deliver each day.
        day: the day.

    Returns:
        The late ones, in the order of `names`.
    """
    return [name for name in names if name != sample_shop.SOURCE and _is_late(paths, name, day)]


def _is_late(paths: Paths, name: str, day: dt.date) -> bool:
    landed = source.find(name)
    if not isinstance(landed, LandedFiles) or landed.location is not None:
        return False
    daily = [table for table in landed.tables if isinstance(table, LandedTable) and table.is_daily]
    return any(not _has(paths, landed, table, day) for table in daily)


def _has(paths: Paths, landed: LandedFiles, table: LandedTable, day: dt.date) -> bool:
    folder = landed.folder(paths)
    for path in folder.glob(table.names.glob):
        matches, found = table.names.match(path.relative_to(folder).as_posix())
        if matches and found is not None and found >= day and is_finished(path):
            return True
    return False
