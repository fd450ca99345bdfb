"""Keys, and secrets in texts that people read: errors of servers, drivers and clients repeat them."""

import base64
from collections.abc import Iterable
from urllib.parse import quote, quote_plus


def hide(text: str, secrets: Iterable[str]) -> str:
    """Replace secrets in a text by three asterisks, as they are and as they stand in addresses.

    Args:
        text: such as an error of a library.
        secrets: passwords, tokens and keys.
    """
    spelled = {
        spelling
        for secret in secrets
        if secret
        for spelling in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
    }
    # The longest first: one secret may be part of another.
    for spelling in sorted(spelled, key=len, reverse=True):
        text = text.replace(spelling, "***")
    return text


def parse_key(text: str) -> bytes:
    """Read a key.

    Args:
        text: 32 bytes in base64, as `openssl rand -base64 32` makes them.

    Raises:
        ValueError: it is something else; the message does not repeat it.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("must be 32 bytes in base64: make one with openssl rand -base64 32")
    return key
