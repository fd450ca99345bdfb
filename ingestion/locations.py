"""Files in object storage, on a server or in a folder elsewhere: what is new is fetched into a local folder.

A file is fetched when the location lists another version of it (its etag, or its size and time of change) than the one
whose content is in the warehouse. Whether it is loaded is then decided by the digest of its content, as it is for local
files.

Only whole files are taken: what was fetched counts when the location, listed once more, still shows the version that
was asked for. A file that changed meanwhile is fetched again; what still changes after `ROUNDS` is left for the next
load. Object storage shows a file when all of it has arrived. Elsewhere a file shows from its first byte while it is
uploaded, so it is fetched `Kind.settle_seconds` after it was listed: it is complete when its size and time of change
stayed the same for so long and until it was fetched. (The wait comes first, for times may be of whole seconds: what is
written after it has another time.) An upload that pauses for longer looks complete; the rest is then a newer version of
the file. An upload under a name that ends in .part or .tmp, renamed when it is complete, is always safe.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ingestion.file_checks import Delivery, LandedTable, find_deliveries, sha256
from ingestion.raw_tables import LoadError
from ingestion.remote_files import KINDS, Kind, ListedFolder, Remote, RemoteFile, kind_of
from warehouse.locks import Say
from warehouse.paths import Paths
from warehouse.safe_files import write_text

# How often a load fetches what changed, or came, while it was fetching.
ROUNDS = 3
PROGRESS_SECONDS = 10


@dataclass(frozen=True)
class Fetched:
    """The files of a location, as they are now.

    Attributes:
        deliveries: all of them, as `find_deliveries` lists those of a local folder. What is new or changed is at its
            path; of the others only the digest is known.
        warnings: table to a sentence on its files that are left for the next load.
    """

    deliveries: list[Delivery]
    warnings: Mapping[str, str]


def fetched_folder(paths: Paths, source: str) -> Path:
    """Say where the files are that the last load of a source fetched.

    They stay until the next load, so that the raw tables can be compared with them.

    Args:
        paths: where data lives.
        source: the source's name.
    """
    return paths.fetched / source / "files"


@contextlib.contextmanager
def fetched(
    source: str,
    location: str,
    tables: Sequence[LandedTable],
    all_tables: Sequence[LandedTable],
    known: Mapping[tuple[str, str], str],
    paths: Paths,
    say: Say,
) -> Iterator[Fetched]:
    """Fetch what is new or changed at a location. An error in the `with` block names files by their location.

    Args:
        source: the source's name.
        location: where its files are.
        tables: those to load.
        all_tables: all tables of the source, whose files may stand in the same folders.
        known: (table, delivery) to the digest of its newest version in the warehouse.
        paths: where data lives.
        say: called with one line of progress at a time.

    Yields:
        The files of the location.

    Raises:
        LoadError: the location cannot be listed or read, or its files are not as `find_deliveries` expects them.
    """
    folder = fetched_folder(paths, source)
    with _named_by(location, folder):
        yield _Fetch(source, location, tables, all_tables, known, say, _Spool(folder, location)).run()


@dataclass(frozen=True)
class _Fetch:
    """One load's look at a location (see `fetched`)."""

    source: str
    location: str
    tables: Sequence[LandedTable]
    all_tables: Sequence[LandedTable]
    known: Mapping[tuple[str, str], str]
    say: Say
    spool: "_Spool"

    @property
    def kind(self) -> Kind:
        return KINDS[kind_of(self.location)]

    def run(self) -> Fetched:
        """Fetch until the location lists nothing that is not here, at most `ROUNDS` times."""
        folders = list(dict.fromkeys(ListedFolder.of(table.names.glob) for table in self.all_tables))
        with contextlib.closing(Remote(self.source, self.location)) as remote:
            return self._run(remote, folders)

    def _run(self, remote: Remote, folders: Sequence[ListedFolder]) -> Fetched:
        for fetches_left in reversed(range(ROUNDS + 1)):
            listing = remote.files(folders)
            listed_at = time.monotonic()
            deliveries = self._match(listing)
            new = {d.name: listing[d.name] for d in deliveries if not self._is_loaded(d, listing[d.name])}
            self.spool.keep_only(new)
            missing = {name: file for name, file in new.items() if not self.spool.has(name, file)}
            if not missing or not fetches_left:
                break
            self._settle(listed_at)
            self._download(remote, missing, len({delivery.name for delivery in deliveries}))
        self.spool.forget_all_but(listing, folders)
        return self._result(deliveries, listing, missing)

    def _match(self, listing: Mapping[str, RemoteFile]) -> list[Delivery]:
        """Find which file feeds which table: as `find_deliveries` says of a folder of empty files with these names."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / self.source
            made = set()
            for name in sorted(listing):
                path = folder / name
                try:
                    # In object storage, any text is a name: a//b, ../b, also a next to a/b.
                    if name.startswith("/") or os.path.normpath(f"/{name}") != f"/{name}":
                        raise ValueError("it has empty parts or dots between its slashes")
                    if path.parent not in made:
                        path.parent.mkdir(parents=True, exist_ok=True)
                        made.add(path.parent)
                    path.touch(exist_ok=False)
                except (OSError, ValueError) as error:
                    raise LoadError(
                        f"{self.location}/{name} has a name that no file can have here "
                        f"({getattr(error, 'strerror', None) or error}). "
                        "Rename it, or move it out of the folder; nothing was loaded."
                    ) from None
            with _named_by(self.location, folder):
                return find_deliveries(folder, self.tables, self.all_tables)

    def _is_loaded(self, delivery: Delivery, file: RemoteFile) -> bool:
        digest = self.spool.digest(delivery.name, file)
        return digest is not None and self.known.get((delivery.table.name, delivery.name)) == digest

    def _download(self, remote: Remote, files: Mapping[str, RemoteFile], found: int) -> None:
        size = sum(file.size for file in files.values())
        free = shutil.disk_usage(self.spool.folder).free
        if size > free:
            raise LoadError(
                f"{self.location} has {len(files):,} new files with {_megabytes(size)}, but there are "
                f"{_megabytes(free)} free at {self.spool.folder}. Free some space and run again; nothing was loaded."
            )
        self.say(
            f"{self.source}: fetching {len(files):,} new of {found:,} files ({_megabytes(size)}) from {self.location}"
        )
        said_at = time.monotonic()
        with self.spool.unfinished(), ThreadPoolExecutor(min(self.kind.connections, len(files)), "fetch") as pool:
            fetches = [pool.submit(self.spool.take, remote, name, file) for name, file in files.items()]
            try:
                for done, fetch in enumerate(as_completed(fetches), start=1):
                    fetch.result()
                    if time.monotonic() - said_at > PROGRESS_SECONDS:
                        said_at = time.monotonic()
                        self.say(f"{self.source}: {done:,} of {len(files):,} files fetched")
            finally:
                pool.shutdown(cancel_futures=True)

    def _settle(self, listed_at: float) -> None:
        left = listed_at + self.kind.settle_seconds - time.monotonic()
        if left > 0:
            self.say(f"{self.source}: waiting {left:.0f} s to see that no file is still being written")
            time.sleep(left)

    def _result(
        self, matched: Sequence[Delivery], listing: Mapping[str, RemoteFile], missing: Mapping[str, RemoteFile]
    ) -> Fetched:
        deliveries: list[Delivery] = []
        left: dict[str, list[str]] = {}
        for delivery in matched:
            digest = self.spool.digest(delivery.name, listing[delivery.name])
            if delivery.name in missing:
                left.setdefault(delivery.table.name, []).append(delivery.name)
                # What was loaded of it before still counts.
                digest = self.known.get((delivery.table.name, delivery.name))
            if digest is not None:
                path = self.spool.files / delivery.name
                deliveries.append(dataclasses.replace(delivery, path=path, digest=digest))
        for table, names in left.items():
            if not any(delivery.table.name == table for delivery in deliveries):
                raise LoadError(
                    f"{self.location}/{names[0]} changed or vanished each time it was fetched, and the table {table} "
                    "has no other file. Run again when it is complete; nothing was loaded."
                )
        return Fetched(deliveries, {table: _left(names) for table, names in left.items()})


class _Spool:
    """The local folder of what was fetched, and the memory of which version of a file has which content.

    A lost memory costs a download, a wrong one is noticed: contents are compared by their digests.

    Args:
        files: where fetched files are.
        location: where they come from; what is remembered of another location does not count.
    """

    def __init__(self, files: Path, location: str) -> None:
        self.files = files
        self.folder = files.parent
        self.location = location
        self._unfinished = self.folder / "unfinished"
        self._memory = self.folder / "versions.jsonl"
        self._here: dict[str, str] = {}
        self._noting = threading.Lock()
        self.folder.mkdir(parents=True, exist_ok=True)
        # Customers' data.
        self.folder.chmod(0o700)
        self._versions = self._read()

    def digest(self, name: str, file: RemoteFile) -> str | None:
        """The digest of a file's content, when this version of it was fetched before."""
        version, digest = self._versions.get(name, ("", None))
        return digest if version == file.version else None

    def has(self, name: str, file: RemoteFile) -> bool:
        """Whether this version of a file is here, whole; also of an earlier load that did not come to its end."""
        digest = self.digest(name, file)
        if digest is None or not (self.files / name).is_file():
            return False
        if self._here.get(name) != digest:
            self._here[name] = sha256(self.files / name)
        return self._here[name] == digest

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[None]:
        """Have a folder for files that are on their way."""
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)

    def take(self, remote: Remote, name: str, file: RemoteFile) -> None:
        """Fetch a file, unless it vanished or is not as large as it was listed.

        It is remembered at once, so that a load that is cut off need not fetch it again.
        """
        unfinished = self._unfinished / hashlib.sha256(name.encode()).hexdigest()
        if not remote.get(file, unfinished) or unfinished.stat().st_size != file.size:
            return
        digest = sha256(unfinished)
        target = self.files / name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(target)
        with self._noting, self._memory.open("a", encoding="utf-8") as lines:
            self._here[name] = digest
            self._versions[name] = (file.version, digest)
            lines.write(_line(name, file.version, digest))

    def keep_only(self, names: Mapping[str, RemoteFile]) -> None:
        """Remove all fetched files but these."""
        for path in sorted(self.files.rglob("*"), reverse=True):
            if path.is_dir():
                with contextlib.suppress(OSError):
                    path.rmdir()
            elif path.relative_to(self.files).as_posix() not in names:
                path.unlink()

    def forget_all_but(self, listing: Mapping[str, RemoteFile], folders: Sequence[ListedFolder]) -> None:
        """Forget files that are not at the location any more, and write down what is known of the others."""
        self._versions = {
            name: known
            for name, known in self._versions.items()
            if name in listing or not any(folder.covers(name) for folder in folders)
        }
        self._write(self._versions)

    def _write(self, versions: Mapping[str, tuple[str, str]]) -> None:
        lines = [_line(self.location), *(_line(name, *known) for name, known in versions.items())]
        write_text(self._memory, "".join(lines))

    def _read(self) -> dict[str, tuple[str, str]]:
        versions = {}
        try:
            first, *lines = self._memory.read_text(encoding="utf-8").splitlines()
            if json.loads(first) == [self.location]:
                for line in lines:
                    name, version, digest = json.loads(line)
                    versions[name] = (version, digest)
                return versions
        except (OSError, TypeError, ValueError):
            # There is none yet, or its last line was cut off.
            pass
        self._write(versions)
        return versions


@contextlib.contextmanager
def _named_by(location: str, folder: Path) -> Iterator[None]:
    """Say what is wrong with a file in the folder of the one at the location, where it has to be put right."""
    try:
        yield
    except LoadError as error:
        if str(folder) not in str(error):
            raise
        raise LoadError(str(error).replace(str(folder), location)) from error.__cause__


def _left(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} changed or came while files were fetched; left for the next load"


def _line(*texts: str) -> str:
    return json.dumps(texts) + "\n"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
