"""Names the benchmarks: `python -m benchmarks --help`."""

import argparse

if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Each benchmark is a command of its own; its --help says what it measures and how long it takes.",
        epilog="  python -m benchmarks.main_job        the nightly run next to plain DuckDB: seconds and memory\n"
        "  python -m benchmarks.job_scale       the nightly run on larger shops: whole, one more day, nothing new\n"
        "  python -m benchmarks.database_pull   tables pulled from databases next to the drivers: rows per second\n"
        "  python -m benchmarks.doors           the service next to DuckDB alone: milliseconds, requests a second\n"
        "  python -m benchmarks.postgres_publication   a table published to PostgreSQL next to the driver alone\n"
        "  python -m benchmarks.score_quality   the cross-sell score next to its peers\n"
        "  python -m benchmarks.score_scale     the cross-sell score on larger shops: seconds and memory",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).print_help()
