"""Where everything is on disk."""

from dataclasses import dataclass
from pathlib import Path

# The checkout, or the folder that the package is installed in.
PROJECT_DIR = Path(__file__).resolve().parent.parent
DBT_DIR = PROJECT_DIR / "dbt_project"
# An installed package is no place for data.
DEFAULT_DATA = PROJECT_DIR / "data" if (PROJECT_DIR / "pyproject.toml").exists() else Path("data")


@dataclass(frozen=True)
class Paths:
    """All places on disk, below one folder. Nothing is created by naming it.

    Attributes:
        root: the data folder, absolute, anywhere on a local disk.
    """

    root: Path

    @property
    def landing(self) -> Path:
        """Files as the source dropped them: `landing/<source>/...`."""
        return self.root / "landing"

    @property
    def fetched(self) -> Path:
        """Files that were fetched from where a source keeps them: `fetched/<source>/files/...`, until the next load."""
        return self.root / "fetched"

    @property
    def warehouse(self) -> Path:
        """The private warehouse: raw, staging, intermediate and marts. Only the pipeline opens it."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The marts as last published: what everyone else opens."""
        return self.root / "published" / "next_aisle.duckdb"

    @property
    def hash_key(self) -> Path:
        """The secret key of the hashes that stand for customers (delivery/policy.py)."""
        return self.root / "secrets" / "hash_key"

    @property
    def tokens(self) -> Path:
        """Who may use the doors: tokens, hashed (delivery/tokens.py)."""
        return self.root / "secrets" / "tokens.json"

    @property
    def audit_log(self) -> Path:
        """Who asked what at the doors (delivery/access.py)."""
        return self.root / "audit" / "doors.jsonl"

    @property
    def published_checksum(self) -> Path:
        """The checksum of the published file, as `sha256sum` writes and checks it."""
        return self.published.with_name(f"{self.published.name}.sha256")

    @property
    def dlt(self) -> Path:
        """dlt's working folder: scratch, emptied before each load."""
        return self.root / "dlt"

    @property
    def converted(self) -> Path:
        """Landed files in the form that DuckDB loads: scratch, emptied before and after each load."""
        return self.root / "converted"

    @property
    def dbt_target(self) -> Path:
        """What dbt compiles, and what it says of its runs.

        Each data folder has its own, so that one clone serves several. That of the default data folder is dbt's own
        default: `dbt` and `mf` called by hand, which know no other, then find what a run left.
        """
        return DBT_DIR / "target" if self.root == DEFAULT_DATA else self.root / "dbt"

    @property
    def dagster(self) -> Path:
        """Dagster's home: its runs, events and logs."""
        return self.root / "dagster"

    @property
    def logs(self) -> Path:
        """One log file for each run of the nightly job."""
        return self.root / "logs"

    @property
    def run_history(self) -> Path:
        """One file for each run: its checks, steps and deliveries. Outside the warehouse, which may be rebuilt."""
        return self.root / "run_history"

    @property
    def audited(self) -> Path:
        """Says which run built the warehouse, and whether it was judged good enough to be published."""
        return self.root / "audited"

    @property
    def suspected(self) -> Path:
        """Is there when a step failed because of a damaged warehouse, and says what the step said."""
        return self.root / "warehouse.suspected"

    @property
    def writers_lock(self) -> Path:
        """The file whose lock is held by the process that writes the warehouse."""
        return self.root / "warehouse.lock"

    @property
    def run_lock(self) -> Path:
        """The file whose lock is held by the process of the run that is under way."""
        return self.root / "run.lock"

    @property
    def runs_under_way(self) -> Path:
        """A locked file for each run that is under way or waits; one that is not locked is of a killed run."""
        return self.root / "runs_under_way"
