"""Tokens: what is stored of them, and when they are refused."""

import datetime as dt
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from delivery import tokens as module
from delivery.__main__ import main
from delivery.tokens import TokenError, Tokens
from tests import here


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "secrets" / "tokens.json")


def test_a_token_is_valid_until_it_is_revoked(tokens: Tokens) -> None:
    token, secret = tokens.create("Anna", "marketing", 30)
    assert tokens.check(secret) == token and token.role == "marketing"
    # Another process revokes it.
    Tokens(tokens.file).revoke(token.id)
    assert tokens.check(secret) is None and not tokens.is_valid(token.id)
    assert tokens.all()[0].state(dt.datetime.now(dt.UTC)) == "revoked"
    with pytest.raises(TokenError, match="there is no token 00000000"):
        tokens.revoke("00000000")


def test_the_secret_is_not_stored_and_the_file_is_its_owner_s(tokens: Tokens) -> None:
    old_mask = os.umask(0)
    try:
        _, secret = tokens.create("Anna", "viewer", 1)
    finally:
        os.umask(old_mask)
    assert secret.split("_", 2)[2] not in tokens.file.read_text(encoding="utf-8")
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens.file.parent.stat().st_mode) == 0o700


def test_it_expires(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token, secret = tokens.create("Anna", "viewer", 1)
    monkeypatch.setattr(module, "_now", lambda: token.expires - dt.timedelta(seconds=1))
    assert tokens.check(secret) == token
    monkeypatch.setattr(module, "_now", lambda: token.expires)
    assert tokens.check(secret) is None


@pytest.mark.parametrize("wrong", ["", "na_", "Bearer", "na_00000000_" + "x" * 43, "\udcff", "x" * 100_000])
def test_what_is_no_token_is_refused(tokens: Tokens, wrong: str) -> None:
    assert tokens.check(wrong) is None
    _, secret = tokens.create("Anna", "viewer", 1)
    assert tokens.check(wrong) is None
    assert tokens.check(secret[:-1]) is None and tokens.check(secret + "x") is None
    assert tokens.check(secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None


@pytest.mark.parametrize(("name", "days"), [("", 1), ("  ", 1), ("a\nb", 1), ("x" * 81, 1), ("a", 0), ("a", 4000)])
def test_a_token_needs_a_name_and_an_end(tokens: Tokens, name: str, days: int) -> None:
    with pytest.raises(TokenError):
        tokens.create(name, "viewer", days)
    assert not tokens.file.exists()


def test_a_damaged_file_lets_no_token_pass_and_is_kept(tokens: Tokens) -> None:
    _, secret = tokens.create("Anna", "viewer", 1)
    text = tokens.file.read_text(encoding="utf-8")[:-20]
    tokens.file.write_text(text, encoding="utf-8")
    with pytest.raises(TokenError, match="is damaged: no token is accepted"):
        tokens.check(secret)
    with pytest.raises(TokenError, match="is damaged"):
        tokens.create("Ben", "viewer", 1)
    assert tokens.file.read_text(encoding="utf-8") == text


def test_several_at_once_are_all_kept(tokens: Tokens) -> None:
    threads = [
        threading.Thread(target=lambda n=n: Tokens(tokens.file).create(f"number {n}", "viewer", 1)) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {token.name for token in tokens.all()} == {f"number {n}" for n in range(8)}


def test_at_a_terminal(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "list"]) == 0
    assert "there is no token yet" in capsys.readouterr().out
    assert main(["token", "create", "--role", "admn", "--name", "Anna"]) == 1
    assert "there is no role admn; did you mean admin?" in capsys.readouterr().err
    assert main(["token", "create", "--role", "viewer", "--name", "Anna", "--days", "7"]) == 0
    printed = capsys.readouterr()
    secret = printed.out.strip()
    token = Tokens(here.paths().tokens).check(secret)
    assert token is not None and token.name == "Anna"
    assert secret not in printed.err
    assert main(["token", "list"]) == 0
    listed = capsys.readouterr().out
    assert f"{token.id}  valid  viewer" in listed and secret not in listed
    assert main(["token", "revoke", token.id]) == 0
    assert main(["token", "list"]) == 0
    assert f"{token.id}  revoked" in capsys.readouterr().out
    assert json.loads(here.paths().tokens.read_text(encoding="utf-8"))["tokens"][0]["role"] == "viewer"
