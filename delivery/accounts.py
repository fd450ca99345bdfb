"""Log in at the pages with an account of the company: OpenID Connect, by authlib.

The provider says who somebody is and which groups they are in; the policy says which role a group has. An account
without such a group has no access.
"""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.starlette_client import OAuth
from starlette.requests import Request
from starlette.responses import Response

from delivery.access import NoAccessError
from delivery.policy import Policy
from warehouse.settings import Settings

# How long somebody may take to log in at the provider, and how many may do so at once.
LOGIN_SECONDS = 600
MOST_LOGINS = 1_000
# Clocks of two machines differ by a little.
LEEWAY_SECONDS = 60


class AccountsError(Exception):
    """The settings of the provider are wrong; the message says which."""


@dataclass(frozen=True)
class Account:
    """Somebody whom the provider knows.

    Attributes:
        id: of the account, without its name.
        name: as people know it.
        role: that its groups have.
    """

    id: str
    name: str
    role: str


@dataclass
class _Login:
    """One that has begun, and ends when the provider sends its caller back."""

    ends: float
    session: dict[str, Any] = field(default_factory=dict)


class Accounts:
    """Logs people in by a provider.

    Args:
        issuer: the provider's address, as its own documents have it.
        client: the id that the provider knows the service by.
        secret: the service's password there; None for one without.
        claim: the claim that has the groups.
        policy: which role a group has.

    Raises:
        AccountsError: the address is not safe.
    """

    def __init__(self, issuer: str, client: str, secret: str | None, claim: str, policy: Policy) -> None:
        address = urlsplit(issuer)
        if address.scheme != "https" and address.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise AccountsError(f"NEXT_AISLE_OIDC_ISSUER must begin with https://, but is {issuer}")
        self.issuer = issuer
        self.claim = claim
        self.policy = policy
        self._client_id = client
        self._provider = OAuth().register(
            "provider",
            server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            client_id=client,
            client_secret=secret,
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "timeout": 10,
                **({} if secret else {"token_endpoint_auth_method": "none"}),
            },
        )
        self._logins: OrderedDict[str, _Login] = OrderedDict()
        self._lock = threading.Lock()

    async def begin(self, request: Request, back: str) -> tuple[Response, str]:
        """Send somebody to the provider.

        Args:
            request: the request.
            back: the address that the provider sends them back to.

        Returns:
            The answer, and the value of the cookie that ties the login to this browser.

        Raises:
            NoAccessError: the provider cannot be reached.
        """
        key, login = secrets.token_urlsafe(32), _Login(time.monotonic() + LOGIN_SECONDS)
        request.scope["session"] = login.session
        try:
            answer = await self._provider.authorize_redirect(request, back, nonce=secrets.token_urlsafe(32))
        except Exception as error:
            # Of authlib, or of whichever HTTP client it finds installed.
            raise NoAccessError("the login of your company does not answer: try again later") from error
        with self._lock:
            self._logins[key] = login
            while len(self._logins) > MOST_LOGINS:
                self._logins.popitem(last=False)
        return answer, key

    async def end(self, request: Request, key: str | None) -> Account:
        """Take in somebody whom the provider sends back.

        Args:
            request: with what the provider says.
            key: the cookie of `begin`. It counts once.

        Raises:
            NoAccessError: it is not the login that began here, or the account has no role.
        """
        with self._lock:
            login = self._logins.pop(key or "", None)
        if login is None or login.ends < time.monotonic():
            raise NoAccessError("this login did not begin here, or took too long: log in again")
        request.scope["session"] = login.session
        expected = {
            "iss": {"essential": True, "values": [self.issuer]},
            "aud": {"essential": True, "values": [self._client_id]},
        }
        try:
            token = await self._provider.authorize_access_token(request, claims_options=expected, leeway=LEEWAY_SECONDS)
        except Exception as error:
            # Whatever is wrong with what it says, it lets no one in.
            raise NoAccessError("the login of your company did not accept you: log in again") from error
        claims = token.get("userinfo")
        if not claims:
            raise NoAccessError("the login of your company does not say who you are")
        role = self._role(claims.get(self.claim))
        if role is None:
            raise NoAccessError("your account has no role here: ask the people who run Next Aisle")
        name = str(claims.get("email") or claims.get("preferred_username") or claims.get("name") or "an account")
        subject = hashlib.sha256(f"{self.issuer} {claims['sub']}".encode()).hexdigest()[:12]
        return Account(f"account {subject}", name[:80], role)

    def _role(self, given: Any) -> str | None:
        """The first role of the policy that one of the groups has."""
        groups: Iterable[Any] = given if isinstance(given, list) else [given]
        names = {group for group in groups if isinstance(group, str)}
        return next((name for name, role in self.policy.roles.items() if names & set(role.groups)), None)


def from_settings(settings: Settings, policy: Policy) -> Accounts | None:
    """Make what the settings name; None where they name no provider.

    Args:
        settings: with the provider.
        policy: which role a group has.

    Raises:
        AccountsError: half of it is missing.
    """
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id:
        raise AccountsError("NEXT_AISLE_OIDC_ISSUER is set, but NEXT_AISLE_OIDC_CLIENT_ID is not")
    if not any(role.groups for role in policy.roles.values()):
        raise AccountsError(
            "NEXT_AISLE_OIDC_ISSUER is set, but no role of the policy has groups, so that no account would have access"
        )
    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
    return Accounts(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_claim, policy)
