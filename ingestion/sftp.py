"""A client for sftp that knows its servers by their keys. Imported only where it is used: it needs paramiko."""

import logging
import shutil
from pathlib import Path
from typing import Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

# As much as OpenSSH's server gives at a time; one that gives less is asked more often.
PIECE_BYTES = 255 * 1024

# What goes wrong is said by the exception. Without a handler, Python prints paramiko's warnings.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class KnownHostsClient(SFTPFileSystem):  # type: ignore[misc]
    """A connection to a server whose key is in the file of known hosts; fsspec's own trusts any server.

    Args:
        host: the server.
        known_hosts: the file of known hosts; None: ~/.ssh/known_hosts.
        timeout: seconds that the server may take to answer.
        settings: of paramiko's `SSHClient.connect`.
    """

    def __init__(self, host: str, known_hosts: str | None, timeout: float, **settings: Any) -> None:
        self._known_hosts = known_hosts
        self._timeout = timeout
        super().__init__(host, **settings)

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys(self._known_hosts)
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        timeouts = dict.fromkeys(["timeout", "banner_timeout", "auth_timeout"], self._timeout)
        self.client.connect(self.host, **{**timeouts, **self.ssh_kwargs})
        self.ftp = self.client.open_sftp()
        self.ftp.get_channel().settimeout(self._timeout)

    def get_file(self, rpath: str, lpath: str, **_options: Any) -> None:
        """Fetch a file.

        Args:
            rpath: the file on the server.
            lpath: where to put it.
        """
        # Not paramiko's own `get`: its requests ahead of time keep what comes early in memory, up to the whole file.
        with self.ftp.open(rpath, "rb") as remote, Path(lpath).open("wb") as local:
            remote.MAX_REQUEST_SIZE = PIECE_BYTES
            shutil.copyfileobj(remote, local, PIECE_BYTES)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()
