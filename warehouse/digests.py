"""Digests by which it is known that something is as it was."""

import hashlib
import json
from typing import Any


def digest(*parts: Any) -> str:
    """Make one hex digest (SHA-256) of several parts.

    Args:
        parts: anything that JSON can write; the order of a dictionary's keys does not matter.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
