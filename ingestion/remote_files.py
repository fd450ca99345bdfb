"""Where files are kept elsewhere: kinds of locations, their listings, and getting one file. fsspec has the clients.

Credentials and other settings come from dlt's configuration: environment variables SOURCES__<NAME>__CREDENTIALS__...,
or .dlt/secrets.toml. Messages name the variables and never show what is in them.
"""

import contextlib
import functools
import importlib
import importlib.util
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dlt
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.storages.configuration import FilesystemConfiguration
from dlt.common.storages.fsspec_filesystem import prepare_fsspec_args

from ingestion.raw_tables import LoadError, UnreachableError
from warehouse.safe_files import is_disk_full
from warehouse.secrets import hide

# Before a connection that broke is made again; twice as long each time.
PAUSE_SECONDS = 1.0
Answer = TypeVar("Answer")

# A server that says nothing for so long is given up.
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Kind:
    """How the files of one kind of location are reached.

    Attributes:
        client: fsspec's class for it, imported only when it is used.
        package: what the client needs, installed by the project's extra of the kind's name; None: nothing.
        credentials: the usual ones; each is set as SOURCES__<NAME>__CREDENTIALS__<...>.
        settle_seconds: how long a file must stay the same to count as complete; 0 where incomplete files do not show.
        connections: files that are fetched at the same time.
        attempts: how often something is asked for when the connection breaks; the clients of object storage try again
            by themselves.
        lists_flat: whether one listing, page after page, has all files below a folder.
        get_options: what makes the client stream a file; some keep several parts of it in memory otherwise.
    """

    client: str
    package: str | None = None
    credentials: tuple[str, ...] = ()
    settle_seconds: float = 0
    connections: int = 8
    attempts: int = 1
    lists_flat: bool = False
    get_options: Mapping[str, Any] = field(default_factory=dict)


KINDS = {
    "s3": Kind(
        "s3fs.S3FileSystem",
        "s3fs",
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        lists_flat=True,
        get_options={"max_concurrency": 1},
    ),
    # Not gcsfs's default class, which asks for the kind of bucket by gRPC first: up to a minute where that is closed.
    "gs": Kind(
        "gcsfs.core.GCSFileSystem",
        "gcsfs",
        ("PROJECT_ID", "CLIENT_EMAIL", "PRIVATE_KEY"),
        lists_flat=True,
        get_options={"concurrency": 1},
    ),
    # In an account with a hierarchical namespace, files show while they are written.
    "az": Kind(
        "adlfs.AzureBlobFileSystem",
        "adlfs",
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
        settle_seconds=5,
        get_options={"max_concurrency": 1},
    ),
    # Servers may refuse more connections of one user.
    "sftp": Kind(
        "ingestion.sftp.KnownHostsClient",
        "paramiko",
        ("SFTP_USERNAME", "SFTP_KEY_FILENAME", "SFTP_PASSWORD"),
        settle_seconds=5,
        connections=4,
        attempts=3,
    ),
    "file": Kind("fsspec.implementations.local.LocalFileSystem", settle_seconds=5, connections=2),
}

# What clients raise when credentials are wrong, missing or expired.
REFUSALS = {
    "PermissionError",
    # botocore
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    # azure
    "ClientAuthenticationError",
    # google
    "GoogleAuthError",
    # paramiko
    "AuthenticationException",
}


@dataclass(frozen=True)
class RemoteFile:
    """A file as its location lists it.

    Attributes:
        path: what the client calls it.
        size: bytes.
        version: another text for another content: the size, with the etag or the time of change.
    """

    path: str
    size: int
    version: str


@dataclass(frozen=True)
class ListedFolder:
    """A folder of a location that has to be listed.

    Attributes:
        path: its path below the location; empty for the location itself.
        depth: how many levels of it; 1 for the files in it, None for all.
    """

    path: str
    depth: int | None

    @classmethod
    def of(cls, pattern: str) -> "ListedFolder":
        """Find the folder that has all files of a pattern, so that what is next to it is not listed.

        Args:
            pattern: a glob below the location.
        """
        parts = PurePosixPath(pattern).parts
        fixed = next((n for n, part in enumerate(parts[:-1]) if re.search(r"[*?\[]", part)), len(parts) - 1)
        return cls("/".join(parts[:fixed]), None if "**" in parts else len(parts) - fixed)

    def covers(self, name: str) -> bool:
        """Whether a file would be in the listing.

        Args:
            name: its name below the location.
        """
        prefix = f"{self.path}/" if self.path else ""
        below = name.removeprefix(prefix)
        return name.startswith(prefix) and (self.depth is None or below.count("/") < self.depth)


def check_location(location: str) -> None:
    """Say what is wrong with a declared location.

    Args:
        location: a URL such as s3://bucket/folder, or the path of a folder.

    Raises:
        ValueError: it is of an unknown kind, no whole path, or has a password in it.
    """
    kind = kind_of(location)
    if kind not in KINDS:
        known = ", ".join(f"{known}://" for known in KINDS)
        raise ValueError(f"location: {kind}:// is not one of {known} or the path of a folder")
    if kind == "file":
        if not Path(_path_of(location)).is_absolute():
            raise ValueError(f"location={location!r} must be a whole path, such as /mnt/shop")
        return
    url = urlsplit(location)
    if url.password is not None:
        raise ValueError(
            f"location: {kind}://...@{url.hostname} has a password in it. Take it out, and set it as "
            f"{_variable('<NAME OF THE SOURCE>', KINDS[kind].credentials[-1])}"
        )
    if not url.hostname or url.query or url.fragment:
        raise ValueError(f"location={location!r} must be a bucket or server with a folder: {kind}://shop/folder")


def kind_of(location: str) -> str:
    """Say of which kind a location is: `s3`, `gs`, `az`, `sftp`, or `file` for a folder.

    Args:
        location: as declared.
    """
    scheme, separator, _ = location.partition("://")
    return scheme.lower() if separator else "file"


class Remote:
    """The files at a location.

    Args:
        source: the source's name, by which its credentials are found.
        location: where its files are.

    Raises:
        LoadError: the client is not installed, or credentials are missing.
    """

    def __init__(self, source: str, location: str) -> None:
        self.source = source
        self.location = location
        self.scheme = kind_of(location)
        self.kind = KINDS[self.scheme]
        self._secrets: list[str] = []
        self._settings = self._read_settings()
        self._root = _path_of(location)
        # sftp has one for each thread, for it has one connection; the others are shared.
        self._clients: dict[int, Any] = {}
        self._opening = threading.Lock()

    def files(self, folders: Sequence[ListedFolder]) -> dict[str, RemoteFile]:
        """List files, as they are now.

        Args:
            folders: those of the location's folders that are looked into.

        Returns:
            Name below the location to file.

        Raises:
            LoadError: the location cannot be listed, or there are no files.
        """
        files: dict[str, RemoteFile] = {}
        reason = ""
        for folder in folders:
            try:
                for info in self._ask(functools.partial(self._infos, folder)):
                    name = info["name"].removeprefix(f"{self._root}/")
                    if name != info["name"] and folder.covers(name):
                        files[name] = RemoteFile(info["name"], int(info["size"] or 0), _version(info))
            except FileNotFoundError as error:
                words = self._words(error)
                # Some clients say the path only.
                reason = "" if words.strip("/").startswith(self._root.strip("/")) else f" ({words})"
        # Some tools make an empty file for each folder.
        with_files = {name.rpartition("/")[0] for name in files}
        files = {n: f for n, f in files.items() if f.size or not (n.endswith("/") or n in with_files)}
        if not files:
            raise LoadError(
                f"{self.location} does not exist, or has no files{reason}. Check `location` in "
                f"ingestion/sources/{self.source}.py, and what the credentials may list; nothing was loaded."
            )
        return files

    def get(self, file: RemoteFile, target: Path) -> bool:
        """Fetch a file, a piece at a time.

        Args:
            file: which one.
            target: where to put it.

        Returns:
            Whether it was still there.

        Raises:
            LoadError: it cannot be read.
            OSError: the disk is full.
        """
        try:
            self._ask(lambda client: client.get_file(file.path, str(target), **self.kind.get_options))
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Close the connections that do not close by themselves."""
        for client in self._clients.values():
            if self.scheme == "sftp":
                client.close()

    def _infos(self, folder: ListedFolder, client: Any) -> list[dict[str, Any]]:
        path = f"{self._root}/{folder.path}".rstrip("/") or "/"
        if self.kind.lists_flat and folder.depth != 1:
            return [*client.find(path, detail=True).values()]
        return [*self._walk(client, path, folder.depth)]

    def _walk(self, client: Any, path: str, depth: int | None) -> Iterator[dict[str, Any]]:
        # Not fsspec's own walk, which passes over folders that cannot be listed.
        for info in client.ls(path, detail=True):
            if info["type"] == "directory":
                if depth != 1 and info["name"].rstrip("/") != path:
                    yield from self._walk(client, info["name"].rstrip("/"), depth and depth - 1)
                continue
            if info["type"] != "file":
                # A link: what it leads to counts. Folders behind links are not looked into.
                try:
                    info = client.info(info["name"])
                except FileNotFoundError:
                    continue
            if info["type"] == "file":
                yield info

    def _ask(self, ask: Callable[[Any], Answer]) -> Answer:
        """Ask the server, again when the connection breaks."""
        for attempt in itertools.count(1):
            try:
                return ask(self._client())
            except (FileNotFoundError, LoadError):
                raise
            except Exception as error:
                if is_disk_full(error):
                    raise
                if attempt == self.kind.attempts or _is_refusal(error):
                    # Without the cause, which Dagster would show: it may have a secret in it.
                    raise self._explained(error) from None
            # A connection that broke stays broken.
            self._clients.pop(self._client_key(), None)
            time.sleep(PAUSE_SECONDS * 2**attempt)
        raise AssertionError

    def _client_key(self) -> int:
        return threading.get_ident() if self.scheme == "sftp" else 0

    def _client(self) -> Any:
        key = self._client_key()
        with self._opening if self.scheme != "sftp" else contextlib.nullcontext():
            if key not in self._clients:
                try:
                    self._clients[key] = self._open()
                except FileNotFoundError as error:
                    raise LoadError(
                        f"{self.location}: the settings name the file {error.filename}, which does not exist "
                        f"({self._variables()}); nothing was loaded."
                    ) from None
            return self._clients[key]

    def _open(self) -> Any:
        module, _, name = self.kind.client.rpartition(".")
        return getattr(importlib.import_module(module), name)(**{**self._settings, "skip_instance_cache": True})

    def _read_settings(self) -> dict[str, Any]:
        """Read what the client is made with from dlt's configuration."""
        if self.kind.package is None:
            return {}
        if importlib.util.find_spec(self.kind.package) is None:
            raise LoadError(
                f"{self.location} needs the package {self.kind.package}, which is not installed. Install it: "
                f"uv sync --extra {self.scheme}; nothing was loaded."
            )
        url = urlsplit(self.location)
        try:
            configuration = resolve_configuration(
                FilesystemConfiguration(),
                sections=("sources", self.source),
                explicit_value={"bucket_url": f"{self.scheme}://{url.netloc}"},
            )
        except Exception:
            # dlt's message goes over many lines, and shows a value that it could not read.
            raise LoadError(
                f"{self.location}: the credentials are missing or incomplete. Set {self._variables()} in the "
                f"environment, or {', '.join(self.kind.credentials).lower()} below "
                f"[sources.{self.source}.credentials] in .dlt/secrets.toml; nothing was loaded."
            ) from None
        credentials, kwargs = configuration.credentials, configuration.kwargs or {}
        hints = credentials.get_resolvable_fields()
        secrets = [credentials[name] for name, hint in hints.items() if is_secret_hint(hint)]
        # A whole connection string may be among them.
        secrets += [value for name, value in kwargs.items() if name in ("connection_string", "token", "password")]
        self._secrets = [str(secret) for secret in secrets if secret]
        settings: dict[str, Any] = prepare_fsspec_args(configuration)
        if self.scheme == "sftp":
            known_hosts: str | None = dlt.config.get(f"sources.{self.source}.known_hosts")
            settings |= {
                "host": url.hostname,
                "port": url.port or settings["port"],
                "username": url.username or settings.get("username"),
                "known_hosts": str(Path(known_hosts).expanduser()) if known_hosts else None,
                "timeout": TIMEOUT_SECONDS,
            }
        # Last what is set for the client itself.
        return {**settings, **kwargs}

    def _variables(self) -> str:
        return ", ".join(_variable(self.source, name) for name in self.kind.credentials)

    def _explained(self, error: Exception) -> LoadError:
        """Say what a client's error means, and what to do."""
        words = self._words(error)
        if type(error).__name__ == "BadHostKeyException":
            return LoadError(
                f"{self.location}: the server's key is not the one in the file of known hosts. Ask the shop whether "
                "its key has changed: another server may answer in its place. Nothing was loaded."
            )
        if "not found in known_hosts" in words:
            url = urlsplit(self.location)
            return LoadError(
                f"{self.location}: the server's key is not known. Get it by `ssh-keyscan -p {url.port or 22} "
                f"{url.hostname}`, compare it with the one that the shop names, and add it to ~/.ssh/known_hosts (or "
                f"to the file that SOURCES__{self.source.upper()}__KNOWN_HOSTS names). Nothing was loaded."
            )
        if _is_refusal(error):
            check = "it may be listed and read"
            if self.kind.credentials:
                check = f"the credentials are right, still valid, and may list and read it: {self._variables()}"
            return LoadError(f"{self.location}: access was refused ({words}). Check that {check}. Nothing was loaded.")
        return UnreachableError(
            f"{self.location} cannot be read ({words}). Check the server and run again; nothing was loaded."
        )

    def _words(self, error: Exception) -> str:
        """What an error says, on one line and without a secret in it."""
        text = " ".join((str(error).strip() or type(error).__name__).split())
        text = hide(text, self._secrets)
        text = re.sub(r"(sig|token|password|signature)=[^&\s]+", r"\1=***", text, flags=re.IGNORECASE)
        return f"{text[:200]} ..." if len(text) > 200 else text


def _is_refusal(error: Exception) -> bool:
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & REFUSALS) or status in (401, 403) or "Token" in code


def _version(info: Mapping[str, Any]) -> str:
    marks = [info[key] for key in ("ETag", "etag") if info.get(key)]
    marks = marks or [
        info[key] for key in ("mtime", "ino", "LastModified", "last_modified", "updated") if info.get(key)
    ]
    return " ".join(str(mark) for mark in (info["size"], *marks))


def _path_of(location: str) -> str:
    """The location as the client calls it, without a slash at its end."""
    kind = kind_of(location)
    if kind == "file":
        path = FilesystemConfiguration.make_local_path(location) if "://" in location else location
    elif kind == "sftp":
        path = urlsplit(location).path
    else:
        path = location.partition("://")[2]
    return path.rstrip("/")


def _variable(source: str, credential: str) -> str:
    return f"SOURCES__{source.upper()}__CREDENTIALS__{credential}"
