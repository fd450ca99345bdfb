"""The loader's command line: `python -m ingestion SOURCE`."""

import argparse
import pkgutil
import sys

from ingestion import sources, warehouse
from ingestion.contracts import LandingError
from ingestion.load import load


def main(arguments: list[str] | None = None) -> int:
    """Load one source and print what happened.

    Returns:
        The exit code: 0 when loaded or nothing was new, 1 when the files or the warehouse are not fit to load.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    parser = argparse.ArgumentParser(
        prog="python -m ingestion",
        description="Load what is new in a source's landing folder into the warehouse's raw tables.",
        epilog="Data lives below NEXT_AISLE_DATA (default: data/ in the project): files are read from landing/SOURCE, "
        "tables are written to raw_SOURCE in warehouse.duckdb. Loading twice changes nothing.",
    )
    parser.add_argument("source", choices=known, help="which source to load")
    parser.add_argument("--table", action="append", metavar="NAME", help="load this table only (may be repeated)")
    chosen = parser.parse_args(arguments)
    try:
        report = load(chosen.source, chosen.table, say=lambda line: print(line, file=sys.stderr))
    except (LandingError, warehouse.WarehouseBusyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for table in report.tables.values():
        print(table)
    print(f"{report.source}: done in {report.seconds:.1f} s, in {warehouse.paths().warehouse}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
