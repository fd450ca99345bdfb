"""Tokens: who may use the doors, and as which role. They are stored hashed, in a file that only its owner can read."""

import datetime as dt
import hashlib
import hmac
import json
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from warehouse.safe_files import replacing

# What a token looks like: na_<id>_<secret>. Scanners for leaked secrets find it by its beginning.
_TOKEN = re.compile(r"^na_([0-9a-f]{8})_([A-Za-z0-9_-]{43})$")
# Compared with where there is no such token, so that both take as long.
_NO_HASH = "0" * 64

LONGEST_DAYS = 3660


class TokenError(Exception):
    """The tokens cannot be read or changed; the message says why."""


class Token(BaseModel):
    """What is kept of a token.

    Attributes:
        id: its name in the list, in the audit log, and in the token itself.
        name: who or what it is for.
        role: one of the policy's.
        hash: SHA-256 of its secret part, which is random and long.
        created: when it was made, UTC.
        expires: when it ends, UTC.
        revoked: when it was revoked, UTC; None while it is not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: str
    role: str
    hash: str
    created: dt.datetime
    expires: dt.datetime
    revoked: dt.datetime | None = None

    def state(self, now: dt.datetime) -> str:
        """Say in a word whether it can be used.

        Args:
            now: with its time zone.
        """
        if self.revoked:
            return "revoked"
        return "expired" if now >= self.expires else "valid"


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: list[Token] = []


class Tokens:
    """The tokens of one data folder. A change by another process counts from the next question on.

    Args:
        file: where they are kept; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[int, int, int] | None = None
        self._by_id: dict[str, Token] = {}

    def create(self, name: str, role: str, days: int) -> tuple[Token, str]:
        """Make a token.

        Args:
            name: who or what it is for.
            role: one of the policy's; the caller checks that.
            days: how long it can be used.

        Returns:
            What is kept of it, and the token itself, which cannot be read again.

        Raises:
            TokenError: the name is empty or the days are none; the tokens cannot be read.
        """
        if not name.strip() or not name.isprintable() or len(name) > 80:
            raise TokenError("a token needs a name of 1 to 80 letters: who or what it is for")
        if not 1 <= days <= LONGEST_DAYS:
            raise TokenError(f"a token can be valid for 1 to {LONGEST_DAYS} days")
        now = _now()
        secret = secrets.token_urlsafe(32)
        with self._changing() as kept:
            taken = {token.id for token in kept.tokens}
            token_id = next(number for number in iter(lambda: secrets.token_hex(4), "") if number not in taken)
            token = Token(
                id=token_id,
                name=name.strip(),
                role=role,
                hash=_hash(secret),
                created=now,
                expires=now + dt.timedelta(days=days),
            )
            kept.tokens.append(token)
        return token, f"na_{token.id}_{secret}"

    def revoke(self, token_id: str) -> Token:
        """Revoke a token; the doors refuse it from the next request on.

        Args:
            token_id: its id.

        Raises:
            TokenError: there is none of that id; the tokens cannot be read.
        """
        with self._changing() as kept:
            for position, token in enumerate(kept.tokens):
                if token.id == token_id:
                    kept.tokens[position] = token.model_copy(update={"revoked": token.revoked or _now()})
                    return kept.tokens[position]
            raise TokenError(f"there is no token {token_id}; list them with: python -m delivery token list")

    def all(self) -> list[Token]:
        """List the tokens, the newest last.

        Raises:
            TokenError: the file cannot be read.
        """
        self._refresh()
        return list(self._by_id.values())

    def check(self, given: str) -> Token | None:
        """Find the valid token that somebody gives.

        Args:
            given: what they give.

        Returns:
            None where it is no token, or not valid any more.

        Raises:
            TokenError: the file cannot be read.
        """
        self._refresh()
        parts = _TOKEN.match(given)
        kept = self._by_id.get(parts[1]) if parts else None
        is_same = hmac.compare_digest(_hash(parts[2] if parts else given), kept.hash if kept else _NO_HASH)
        return kept if kept and is_same and kept.state(_now()) == "valid" else None

    def is_valid(self, token_id: str) -> bool:
        """Tell whether a token that was checked before is still valid.

        Args:
            token_id: its id.
        """
        self._refresh()
        kept = self._by_id.get(token_id)
        return kept is not None and kept.state(_now()) == "valid"

    def _refresh(self) -> None:
        try:
            stat = self.file.stat()
        except FileNotFoundError:
            self._seen, self._by_id = None, {}
            return
        except OSError as error:
            raise TokenError(f"{self.file} cannot be read: {error.strerror}") from error
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen != self._seen:
            self._by_id = {token.id: token for token in _read(self.file).tokens}
            self._seen = seen

    def _changing(self) -> "_Change":
        return _Change(self.file)


class _Change:
    """The tokens while they are changed, by one process at a time; written when the block succeeds."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = FileLock(file.with_name(f".{file.name}.lock"), timeout=10)

    def __enter__(self) -> _Kept:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock.acquire()
        try:
            self.kept = _read(self.file) if self.file.exists() else _Kept()
        except BaseException:
            self.lock.release()
            raise
        return self.kept

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                text = json.dumps(self.kept.model_dump(mode="json"), indent=1)
                with replacing(self.file) as (unfinished,):
                    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(handle, "w", encoding="utf-8") as written:
                        written.write(text + "\n")
        finally:
            self.lock.release()


def _read(file: Path) -> _Kept:
    try:
        return _Kept.model_validate_json(file.read_bytes())
    except OSError as error:
        raise TokenError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        # Its text would repeat what is in the file.
        raise TokenError(
            f"{file} is damaged: no token is accepted. Put the file back from a backup, or remove it and make new ones."
        ) from error


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
