"""The HTTP session of a source that is an API: tries again, waits when asked to, and never shows a credential."""

import base64
import json
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from dlt.sources.helpers.requests import Client
from dlt.sources.helpers.requests.retry import DEFAULT_RETRY_EXCEPTIONS
from dlt.sources.helpers.rest_client.exceptions import IgnoreResponseException
from requests import HTTPError, PreparedRequest, Request, RequestException, Response, Session
from requests.auth import AuthBase
from requests.exceptions import ContentDecodingError
from tenacity import RetryCallState

from ingestion.raw_tables import LoadError, UnreachableError
from ingestion.rest_api.pages import CheckedPages, PullAgainError
from warehouse.locks import Say
from warehouse.secrets import hide
from warehouse.terminal import printable

# What a server may say in an error's text is cut off here.
SHOWN_CHARACTERS = 200

# Attributes of dlt's ways to log in, and headers, that hold no secret.
NO_SECRETS = {"name", "location", "type", "access_token_url", "auth_endpoint"}
SECRET_HEADERS = ("auth", "token", "key", "secret", "cookie", "password")


class Credentials:
    """What must not be shown: hides the values of secrets in any text.

    Args:
        auths: dlt's ways to log in, by table; a token that they get later is hidden too.
        headers: headers of all requests.
        names: where the secrets are configured, such as SOURCES__MY_SHOP__CREDENTIALS__API_KEY.
    """

    def __init__(self, auths: Mapping[str, AuthBase | None], headers: Mapping[str, str], names: Iterable[str]) -> None:
        self.auths = auths
        self.names = list(names)
        self._seen = {value for name, value in headers.items() if any(word in name.lower() for word in SECRET_HEADERS)}

    def hide(self, text: str) -> str:
        """Replace all secrets in a text by three asterisks.

        Args:
            text: such as an error of a library.
        """
        for auth in filter(None, self.auths.values()):
            texts = {name: value for name, value in vars(auth).items() if name not in NO_SECRETS}
            # What is sent with the request for a token may be secret too.
            texts |= getattr(auth, "access_token_request_data", None) or {}
            self._seen |= {value for value in texts.values() if isinstance(value, str)}
            if hasattr(auth, "username") and hasattr(auth, "password"):
                self._seen.add(base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode())
        return hide(text, self._seen)

    @property
    def way_out(self) -> str:
        """What to do when the server refuses them."""
        return f"Set {' and '.join(self.names)}" if self.names else "Declare `auth` in the source's client"


def open_session(source: str, credentials: Credentials, say: Say) -> Session:
    """Open a session that dlt's REST client sends its requests with.

    What is tried again: 429 and 5xx, connections that fail or break, bodies that are cut or are no JSON. How often, and
    how long to wait, are dlt's own settings (RUNTIME__REQUEST_MAX_ATTEMPTS, default 5; RUNTIME__REQUEST_BACKOFF_FACTOR;
    RUNTIME__REQUEST_MAX_RETRY_DELAY, 300 seconds). A server that asks for a longer wait ends the pull. A token that has
    expired is fetched once more where dlt knows how (OAuth 2.0). Redirects are refused: they would carry credentials
    elsewhere.

    Args:
        source: the source's name, for messages.
        credentials: what is hidden in messages.
        say: called with one line for each wait.

    Returns:
        The session. It raises LoadError, with a message that names the request's path and shows no secret, and
        PullAgainError. Numbers with a fraction come as Decimal.
    """
    client = Client(
        raise_for_status=False,
        exceptions=(*DEFAULT_RETRY_EXCEPTIONS, ContentDecodingError),
        retry_condition=_is_unreadable,
    )
    client.configure()
    session: Session = client.session
    # dlt wraps `send` with tenacity, and so do we: everything that dlt sends goes through it.
    tried: Any = session.send
    sending = _Sending(source, credentials, say, tried, max_wait=tried.retry.wait.max)
    tried.retry.before_sleep = sending.before_wait
    session.send = sending.send  # type: ignore[method-assign]
    session.prepare_request = sending.prepared(session.prepare_request)  # type: ignore[assignment, method-assign]
    return session


class _Sending:
    def __init__(
        self, source: str, credentials: Credentials, say: Say, tried: Callable[..., Response], max_wait: float
    ) -> None:
        self.source = source
        self.credentials = credentials
        self.say = say
        self.tried = tried
        self.max_wait = max_wait

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        """Send a request until it is answered, and judge the answer."""
        page = _page(request)
        response = self._send(request, options)
        auth: Any = self.credentials.auths.get(page.table) if page else None
        if response.status_code == 401 and hasattr(auth, "obtain_token"):
            self.say(f"{self.source}: the token was refused; fetching another")
            auth.obtain_token()
            response = self._send(auth(request), options)
        if response.status_code >= 300:
            self._refuse(request, response)
        if not _is_json(response):
            kind = response.headers.get("Content-Type", "no content type")
            self._fail(request, f"answered with no JSON ({kind}, {len(response.content):,} bytes): {_text(response)}")
        return response

    def prepared(self, prepare: Callable[[Request], PreparedRequest]) -> Callable[[Request], PreparedRequest]:
        """Prepare a request; an address that is none is not shown, for it may have a secret in it."""

        def prepare_safely(request: Request) -> PreparedRequest:
            try:
                return prepare(request)
            except RequestException as error:
                raise LoadError(
                    f"{self.source}: an address to ask is not valid ({type(error).__name__}). Look at `base_url` and "
                    "the endpoints' `path`; nothing was loaded."
                ) from None

        return prepare_safely

    def before_wait(self, state: RetryCallState) -> None:
        """Say how long the wait is, or that it would be too long."""
        request: PreparedRequest = state.args[0]
        outcome = state.outcome
        assert outcome is not None and state.next_action is not None
        error = outcome.exception()
        response = error.response if isinstance(error, HTTPError) else None if error else outcome.result()
        reason = f"answered {response.status_code}" if response is not None else _short(error)
        if response is not None and response.status_code < 300:
            reason = "answered with no JSON"
        asked = _seconds_asked(response)
        if asked > self.max_wait:
            self._fail(
                request,
                f"{reason} and asks to wait {asked:,.0f} s, more than the {self.max_wait:,.0f} s that "
                "RUNTIME__REQUEST_MAX_RETRY_DELAY allows. Run again later",
            )
        as_asked = " as asked" if asked else ""
        self.say(
            f"{self._where(request)}: {self.credentials.hide(reason)}; trying again in "
            f"{state.next_action.sleep:,.0f} s{as_asked} (attempt {state.attempt_number + 1})"
        )

    def _send(self, request: PreparedRequest, options: dict[str, Any]) -> Response:
        try:
            # Not followed: requests keeps headers other than Authorization when it follows to another server.
            return self.tried(request, **{**options, "allow_redirects": False})
        except IgnoreResponseException:
            # Declared in `response_actions`; fine for a place that has nothing, but not for the rest of a list.
            page = _page(request)
            if page and page.received:
                self._fail(request, "the answer is to be ignored by `response_actions`, but pages were read before it")
            raise
        except HTTPError as error:
            # From the hook of dlt's client, which raises for all answers of 400 and above.
            assert error.response is not None
            return error.response
        except RequestException as error:
            # No "from": the library's messages and attributes have the whole URL and the headers.
            self._fail(request, _short(error), UnreachableError)

    def _refuse(self, request: PreparedRequest, response: Response) -> NoReturn:
        code, text = response.status_code, f"answered {response.status_code}: {_text(response)}"
        page = _page(request)
        if code < 400:
            target = urlsplit(response.headers.get("Location", ""))
            place = f"{target.scheme}://{target.netloc}{target.path}" if target.netloc else target.path
            self._fail(request, f"sends on to {place} ({code}). Declare that place in `base_url` and `path`")
        if code == 429 or code >= 500:
            self._fail(request, f"{text}, at every attempt. Run again later", UnreachableError)
        if code in (401, 403) or page is None:
            self._fail(request, f"{text}. {self.credentials.way_out}, and look whether it is still valid")
        if code in (400, 404, 410, 422) and page.received:
            message = (
                f"{self._where(request)}: the reference to page {page.received + 1} is no longer valid ({text}). "
                "Nothing was loaded; run again."
            )
            # The server no longer knows the page that it named itself.
            raise PullAgainError(self.credentials.hide(message)) from None
        self._fail(request, f"{text}. Look at the table's `endpoint` in the source's module")

    def _fail(self, request: PreparedRequest, what: str, kind: type[LoadError] = LoadError) -> NoReturn:
        raise kind(self.credentials.hide(f"{self._where(request)}: {what}. Nothing was loaded.")) from None

    def _where(self, request: PreparedRequest) -> str:
        """Which request: without its query, which may hold a key or a customer's data."""
        page = _page(request)
        url = urlsplit(str(request.url))
        if page:
            return f"{page.table}: page {page.received + 1} of {url.path}"
        return f"{self.source}: token from {url.netloc}{url.path}"


def _page(request: PreparedRequest) -> CheckedPages | None:
    return next((hook for hook in request.hooks["response"] if isinstance(hook, CheckedPages)), None)


def _is_unreadable(response: Response | None, error: BaseException | None) -> bool:
    """Whether an answer that says it is fine is not: tried again, as a proxy's or a server's mishap."""
    return error is None and response is not None and 200 <= response.status_code < 300 and not _is_json(response)


def _is_json(response: Response) -> bool:
    """Read the body once and keep it; money must not become a binary fraction."""
    if getattr(response, "is_read_as_json", False):
        return True
    try:
        # By the bytes: requests would guess an encoding and put other characters in the place of invalid ones.
        body = json.loads(response.content, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return False
    response.json = lambda **_: body  # type: ignore[method-assign]
    response.is_read_as_json = True  # type: ignore[attr-defined]
    return True


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _seconds_asked(response: Response | None) -> float:
    """How long a server asks to wait, in seconds: Retry-After has seconds or a date."""
    asked = response.headers.get("Retry-After", "").strip() if response is not None else ""
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _text(response: Response) -> str:
    text = " ".join(response.content[: SHOWN_CHARACTERS * 4].decode("utf-8", "replace").split())
    return printable(text[:SHOWN_CHARACTERS]) or "no text"


def _short(error: BaseException | None) -> str:
    """What went wrong, without the URL that the libraries write into their messages."""
    kind = type(error).__name__
    names = {
        "ConnectTimeout": "the server did not answer in time",
        "ReadTimeout": "the server did not answer in time",
        "ChunkedEncodingError": "the answer was cut off",
        "ContentDecodingError": "the answer's compression is damaged",
        "SSLError": "the server's certificate is not valid",
        "ConnectionError": "the server cannot be reached, or broke the connection",
    }
    return names.get(kind, f"the request failed ({kind})")
