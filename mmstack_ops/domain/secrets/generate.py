"""Generate secret values."""

from __future__ import annotations

import base64
import math
import secrets
import string
from collections.abc import Iterable, Mapping

from mmstack_ops.domain.schema.policies import GeneratedSecret

_PASSWORD = string.ascii_letters + string.digits
"""No punctuation: a password must be safe in URLs, shells, SQL and configuration files."""


def new_value(secret: GeneratedSecret) -> str:
    """Return a new value with ``secret.bytes`` bytes of randomness (at least 128 bits)."""
    if secret.kind == "hex":
        text = secrets.token_hex(secret.bytes)
    elif secret.kind == "urlsafe":
        text = secrets.token_urlsafe(secret.bytes)
    elif secret.kind == "key":
        text = base64.b64encode(secrets.token_bytes(secret.bytes)).decode()
    else:
        length = math.ceil(secret.bytes * 8 / math.log2(len(_PASSWORD)))
        text = "".join(secrets.choice(_PASSWORD) for _ in range(length))
    return secret.prefix + text


def missing_names(declared: Mapping[str, object], present: Iterable[str]) -> tuple[str, ...]:
    """Return the declared names that aren't present yet, in the schema's order."""
    there = set(present)
    return tuple(name for name in declared if name not in there)
