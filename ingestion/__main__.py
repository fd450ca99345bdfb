"""The loader's command line: `python -m ingestion SOURCE`."""

import argparse
import sys

from ingestion import source
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
    parser = argparse.ArgumentParser(
        prog="python -m ingestion",
        description="Load what is new in a source's landing folder into the warehouse's raw tables.",
        epilog="Data lives below NEXT_AISLE_DATA (default: data/ in the project): files are read from landing/SOURCE, "
        "tables are written to raw_SOURCE in warehouse.duckdb. Loading twice changes nothing.",
    )
    parser.add_argument("source", choices=source.names(), help="which source to load")
    parser.add_argument("--table", action="append", metavar="NAME", help="load this table only (may be repeated)")
    chosen = parser.parse_args(arguments)
    paths = Settings().paths
    try:
        report = load(chosen.source, paths, chosen.table, say=lambda line: print(printable(line), file=sys.stderr))
    except (LoadError, WarehouseBusyError) as reason:
        error(reason)
        return 1
    console = Terminal(sys.stdout)
    for table in report.tables.values():
        console.print(str(table), soft_wrap=True)
    console.print(f"{report.source}: done in {report.seconds:.1f} s, in {paths.warehouse}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
