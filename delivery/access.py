"""Who comes in at the service: tokens, sessions of the pages, how often one may ask, and the record of it."""

import datetime as dt
import json
import logging
import logging.handlers
import os
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delivery.doors import Caller
from delivery.errors import RefusedError
from delivery.policy import Policy
from delivery.tokens import Token, Tokens

SESSION_HOURS = 12
# Who leaves the company, or a group, is known to its login alone: it is asked again.
ACCOUNT_HOURS = 1
MOST_SESSIONS = 10_000
AUDIT_BYTES = 10_000_000
AUDIT_FILES = 10


class NoAccessError(Exception):
    """There is no valid token; the message says how to give one."""


class TooOftenError(Exception):
    """Too many requests; `seconds` says when to try again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"too many requests: try again in {seconds:.0f} s")


@dataclass
class _Bucket:
    left: float
    at: float


class Rate:
    """How often each caller may ask: `burst` at once, and `per_second` from then on.

    Args:
        per_second: requests per second.
        burst: requests at once.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second = per_second
        self.burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> None:
        """Count a request.

        Args:
            name: of the caller.

        Raises:
            TooOftenError: it is one too many.
        """
        # Not the clock on the wall, which may be set.
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.pop(name, None) or _Bucket(self.burst, now)
            bucket.left = min(self.burst, bucket.left + (now - bucket.at) * self.per_second)
            bucket.at = now
            self._buckets[name] = bucket
            while len(self._buckets) > 10_000:
                self._buckets.popitem(last=False)
            if bucket.left < 1:
                raise TooOftenError(max(1.0, (1 - bucket.left) / self.per_second))
            bucket.left -= 1


@dataclass
class Session:
    """A login of the pages.

    Attributes:
        token: id of its token, or of the account.
        name: of the token or account.
        role: of the token or account.
        form: what the forms of its pages carry, so that no other site can send them.
        ends: when it ends, by the monotonic clock.
        by_token: whether it ends with its token.
    """

    token: str
    name: str
    role: str
    form: str
    ends: float
    by_token: bool = True


class Access:
    """Finds the caller of a request.

    Args:
        tokens: of the data folder.
        policy: who may see what.
        rate: of each token.
    """

    def __init__(self, tokens: Tokens, policy: Policy, rate: Rate) -> None:
        self.tokens = tokens
        self.policy = policy
        self.rate = rate
        # Of those who give a wrong token, by their address.
        self.failures = Rate(0.2, 20)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def caller(self, authorization: str | None, session: str | None, purpose: str | None, address: str) -> Caller:
        """Find out who asks.

        Args:
            authorization: the header of that name.
            session: the cookie of the pages.
            purpose: the header X-Purpose.
            address: where the request comes from.

        Raises:
            NoAccessError: there is no valid token.
            TooOftenError: it is one request too many.
            RefusedError: the role has no such purpose.
        """
        token_id, name, role_name = self._token(authorization, session, address)
        self.rate.take(token_id)
        role = self.policy.roles.get(role_name)
        if role is None:
            raise NoAccessError(f"the token's role {role_name} is no longer in the policy: ask for another token")
        if purpose is not None and purpose not in role.purposes:
            raise RefusedError(f"your role {role_name} may not ask for this purpose; it has {', '.join(role.purposes)}")
        return Caller(role_name, token_id, name, purpose or role.purposes[0])

    def checked(self, given: str, address: str) -> Token:
        """Check a token.

        Args:
            given: what was given.
            address: where the request comes from.

        Raises:
            NoAccessError: it is not valid.
            TooOftenError: too many wrong ones came from there.
        """
        token = self.tokens.check(given)
        if token is None:
            self.failures.take(address)
            raise NoAccessError("the token is not valid: it is unknown, expired or revoked")
        return token

    def log_in(self, given: str, address: str) -> str:
        """Begin a session.

        Args:
            given: a token.
            address: where the request comes from.

        Returns:
            The value of the cookie.
        """
        token = self.checked(given, address)
        return self._opened(token.id, token.name, token.role, SESSION_HOURS, by_token=True)

    def log_in_account(self, account: str, name: str, role: str) -> str:
        """Begin a session of somebody whom the company's login knows.

        Args:
            account: its id.
            name: of the account.
            role: that it has.

        Returns:
            The value of the cookie.
        """
        return self._opened(account, name, role, ACCOUNT_HOURS, by_token=False)

    def _opened(self, token: str, name: str, role: str, hours: float, *, by_token: bool) -> str:
        cookie = secrets.token_urlsafe(32)
        ends = time.monotonic() + hours * 3600
        with self._lock:
            self._sessions[cookie] = Session(token, name, role, secrets.token_urlsafe(16), ends, by_token)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return cookie

    def session(self, cookie: str | None) -> Session | None:
        """Find a session; None where it ended, or where its token did.

        Args:
            cookie: its value.
        """
        session = self._sessions.get(cookie or "")
        if session and session.ends > time.monotonic():
            return session if not session.by_token or self.tokens.is_valid(session.token) else None
        return None

    def log_out(self, cookie: str | None) -> None:
        """End a session.

        Args:
            cookie: its value.
        """
        with self._lock:
            self._sessions.pop(cookie or "", None)

    def _token(self, authorization: str | None, cookie: str | None, address: str) -> tuple[str, str, str]:
        if authorization is not None:
            scheme, _, given = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise NoAccessError("give the token as: Authorization: Bearer na_...")
            token = self.checked(given.strip(), address)
            return token.id, token.name, token.role
        if session := self.session(cookie):
            return session.token, session.name, session.role
        raise NoAccessError(
            "give a token as: Authorization: Bearer na_... (made with: python -m delivery token create)"
        )


class Audit:
    """Who asked what, one line of JSON each, without values: names of metrics, tables and columns, and sizes.

    Args:
        file: where it is written; older ones get numbers.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._logger = logging.Logger(f"audit {file}")
        handler = _PrivateFile(file, maxBytes=AUDIT_BYTES, backupCount=AUDIT_FILES, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._logger.addHandler(handler)

    def record(self, **what: Any) -> None:
        """Write a line.

        Args:
            what: fields of it.
        """
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        self._logger.info(json.dumps({"at": now} | what, ensure_ascii=True, default=str))

    def close(self) -> None:
        """Close the file."""
        for handler in self._logger.handlers:
            handler.close()


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A log that only its owner can read. A full disk does not stop the service."""

    def _open(self) -> Any:
        return os.fdopen(
            os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Say it on standard error, once a line, without a traceback."""
        logging.getLogger("delivery").error("the audit log cannot be written")
