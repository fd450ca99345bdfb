"""The loader's command line: `python -m ingestion SOURCE`, and `new` and `replay` (their `--help` says more)."""

import argparse
import sys

from ingestion import replay, source
from ingestion.load import load
from ingestion.raw_tables import LoadError
from warehouse.connections import WarehouseBusyError
from warehouse.settings import Settings
from warehouse.terminal import Terminal, error, printable


def main(arguments: list[str] | None = None) -> int:
    """Load one source and print what happened.

    Returns:
        The exit code: 0 when loaded or nothing was new, 1 when the files cannot be loaded or the warehouse is in use.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["new"]:
        # Imported here: what reads Excel and looks at columns is not needed to load.
        from ingestion.new_source import command

        return command.main(given[1:])
    if given[:1] == ["replay"]:
        return replay.main(given[1:])
    parser = argparse.ArgumentParser(
        prog="python -m ingestion",
        description="Load what is new at a source into the warehouse's raw tables.",
        epilog="Data lives below NEXT_AISLE_DATA (default: data/ in the project): files are read from landing/SOURCE, "
        "or from the location that ingestion/sources/SOURCE.py names; tables are written to raw_SOURCE in "
        "warehouse.duckdb. Loading twice changes nothing. A new shop: python -m ingestion new --help. Corrected rows "
        "of a quarantine: python -m ingestion replay --help",
    )
    parser.add_argument("source", choices=source.names(), help="which source to load")
    parser.add_argument("--table", action="append", metavar="NAME", help="load this table only (may be repeated)")
    chosen = parser.parse_args(given)
    settings = Settings()
    paths = settings.paths
    try:
        report = load(
            chosen.source,
            paths,
            chosen.table,
            lambda line: print(printable(line), file=sys.stderr),
            settings.keep_superseded_days,
        )
    except (LoadError, WarehouseBusyError) as reason:
        error(reason)
        return 1
    console = Terminal(sys.stdout)
    for table in report.tables.values():
        console.print(str(table), soft_wrap=True)
        for warning in table.warnings:
            console.print(f"{table.name}: WARNING: {warning}", soft_wrap=True)
    console.print(f"{report.source}: done in {report.seconds:.1f} s, in {paths.warehouse}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
