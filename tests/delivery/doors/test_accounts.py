"""The login by an account of the company, against a provider of OpenID Connect on this machine."""

import base64
import contextlib
import datetime as dt
import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx
import oidc_provider_mock
import pytest
import werkzeug.serving
from werkzeug.wrappers import Request

from delivery import policy
from delivery.accounts import AccountsError, from_settings
from delivery.policy import Policy
from delivery.service import COOKIE, LOGIN_COOKIE
from tests.delivery.doors.conftest import House, open_house
from warehouse.settings import Settings

BACK = "/login/account/back"


class Provider:
    """A provider in a thread; it keeps what it is asked for tokens."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[dict[str, str]] = []
        app = oidc_provider_mock.app(require_nonce=True, **options)

        def kept(environ: Any, start: Any) -> Any:
            if environ["PATH_INFO"] == "/oauth2/token":
                request = Request(environ, shallow=False)
                self.asked.append(dict(request.form))
                body = urlencode(dict(request.form)).encode()
                environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            return app(environ, start)

        self.server = werkzeug.serving.make_server("localhost", 0, kept, threaded=True)
        self.issuer = f"http://localhost:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def user(self, subject: str, **claims: Any) -> None:
        httpx.put(f"{self.issuer}/users/{subject}", json=claims).raise_for_status()

    def accept(self, address: str, subject: str) -> str:
        """Log in there as a user; gives the address of the service that it sends back to."""
        answer = httpx.post(address, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    try:
        yield made
    finally:
        made.stop()


def with_groups() -> Policy:
    rules = policy.read()
    roles = dict(rules.roles)
    roles["marketing"] = roles["marketing"].model_copy(update={"groups": ("campaigns", "growth")})
    roles["viewer"] = roles["viewer"].model_copy(update={"groups": ("everyone",)})
    return rules.model_copy(update={"roles": roles})


@contextlib.contextmanager
def house_of(data: Path, issuer: str) -> Iterator[House]:
    yield from open_house(
        data, with_groups(), oidc_issuer=issuer, oidc_client_id="next-aisle", oidc_client_secret="not so secret"
    )


@pytest.fixture
def house(tmp_path: Path, provider: Provider) -> Iterator[House]:
    with house_of(tmp_path, provider.issuer) as made:
        yield made


def begin(house: House) -> str:
    answer = house.client.get("/login/account", follow_redirects=False)
    assert answer.status_code == 302, answer.text
    cookie = answer.headers["set-cookie"]
    assert LOGIN_COOKIE in cookie and "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
    return answer.headers["location"]


def come_back(house: House, address: str) -> Any:
    parts = urlsplit(address)
    assert parts.path == BACK
    return house.client.get(f"{parts.path}?{parts.query}", follow_redirects=False)


def changed(address: str, **parameters: str) -> str:
    parts = urlsplit(address)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()} | parameters
    return urlunsplit(parts._replace(query=urlencode(asked)))


def test_a_member_of_a_group_gets_its_role(house: House, provider: Provider) -> None:
    provider.user("anna", groups=["everyone", "campaigns"], email="anna@example.org")
    assert 'href="/login/account"' in house.client.get("/login").text
    address = begin(house)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 20 and len(asked["nonce"]) >= 20
    answer = come_back(house, provider.accept(address, "anna"))
    assert answer.status_code == 200 and "anna@example.org" in answer.text
    session = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE))
    assert "HttpOnly" in session and "samesite=strict" in session.lower()
    # The first role of the policy that a group has: marketing stands after viewer there.
    page = house.client.get("/")
    assert page.status_code == 200 and "You see this as viewer" in page.text
    [sent] = provider.asked
    digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
    lines = Settings(data=house.data).paths.audit_log.read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines if BACK in line]
    assert logged[0]["role"] == "viewer" and logged[0]["name"] == "anna@example.org"


def test_log_out_and_the_end_of_a_session(house: House, provider: Provider) -> None:
    provider.user("ben", groups="growth", name="Ben")
    come_back(house, provider.accept(begin(house), "ben"))
    page = house.client.get("/quality").text
    assert "You see this as marketing" in page
    form = re.search(r'name="form" value="([^"]+)"', page)
    assert form is not None
    assert house.client.post("/logout", data={"form": form[1]}, follow_redirects=False).status_code == 303
    assert house.client.get("/quality", follow_redirects=False).status_code == 303
    come_back(house, provider.accept(begin(house), "ben"))
    assert house.client.get("/quality").status_code == 200
    [session] = house.client.app.state.service.access._sessions.values()  # type: ignore[attr-defined]
    session.ends = 0
    assert house.client.get("/quality", follow_redirects=False).headers["location"] == "/login"


@pytest.mark.parametrize("claims", [{}, {"groups": []}, {"groups": ["others"]}, {"groups": {"campaigns": 1}}])
def test_an_account_without_a_known_group_has_no_access(house: House, provider: Provider, claims: Any) -> None:
    provider.user("cleo", **claims)
    answer = come_back(house, provider.accept(begin(house), "cleo"))
    assert answer.status_code == 401 and "has no role here" in answer.text
    assert COOKIE not in house.client.cookies
    assert house.client.get("/quality", follow_redirects=False).status_code == 303


def test_only_the_login_that_began_here_counts_and_once(house: House, provider: Provider) -> None:
    provider.user("anna", groups=["campaigns"])
    address = provider.accept(begin(house), "anna")
    kept = house.client.cookies.get(LOGIN_COOKIE)
    assert come_back(house, changed(address, state="another")).status_code == 401
    # The wrong state has used it up.
    house.client.cookies.set(LOGIN_COOKIE, str(kept), path="/login")
    assert come_back(house, address).status_code == 401
    # In a browser that did not begin it.
    address = provider.accept(begin(house), "anna")
    house.client.cookies.clear()
    assert come_back(house, address).status_code == 401
    # The answer to another question of the same browser: the nonce is not that of this login.
    address = provider.accept(changed(begin(house), nonce="of somebody else"), "anna")
    answer = come_back(house, address)
    assert answer.status_code == 401 and "did not accept you" in answer.text
    assert COOKIE not in house.client.cookies
    address = provider.accept(begin(house), "anna")
    assert come_back(house, address).status_code == 200
    house.client.cookies.clear()
    house.client.cookies.set(LOGIN_COOKIE, str(kept), path="/login")
    assert come_back(house, address).status_code == 401


def test_who_says_no_at_the_provider_is_not_in(house: House) -> None:
    begin(house)
    answer = house.client.get(f"{BACK}?error=access_denied&error_description=%3Cb%3E", follow_redirects=False)
    assert answer.status_code == 401 and "<b>" not in answer.text


def test_an_expired_word_of_the_provider_is_refused(tmp_path: Path) -> None:
    provider = Provider(access_token_max_age=dt.timedelta(hours=-1))
    try:
        with house_of(tmp_path, provider.issuer) as house:
            provider.user("anna", groups=["campaigns"])
            assert come_back(house, provider.accept(begin(house), "anna")).status_code == 401
            assert COOKIE not in house.client.cookies
    finally:
        provider.stop()


def test_a_provider_that_is_down_or_another_one(tmp_path: Path, provider: Provider) -> None:
    with house_of(tmp_path / "down", "http://localhost:1") as house:
        answer = house.client.get("/login/account", follow_redirects=False)
        assert answer.status_code == 503 and "does not answer" in answer.text
    # The same server by another name: its documents are of another issuer.
    with house_of(tmp_path / "other", provider.issuer.replace("localhost", "127.0.0.1") + "/") as house:
        provider.user("anna", groups=["campaigns"])
        answer = come_back(house, provider.accept(begin(house), "anna"))
        assert answer.status_code == 401 and COOKIE not in house.client.cookies


def test_settings_that_are_half_are_refused(tmp_path: Path) -> None:
    for more, why in [
        ({"oidc_issuer": "https://login.example.org"}, "OIDC_CLIENT_ID"),
        ({"oidc_issuer": "http://login.example.org", "oidc_client_id": "x"}, "https"),
    ]:
        with pytest.raises(AccountsError, match=why):
            from_settings(Settings(data=tmp_path, **more), with_groups())  # type: ignore[arg-type]
    with pytest.raises(AccountsError, match="groups"):
        from_settings(Settings(data=tmp_path, oidc_issuer="https://x.example", oidc_client_id="x"), policy.read())
    assert from_settings(Settings(data=tmp_path), policy.read()) is None
