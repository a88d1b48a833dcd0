"""Find secrets that are written as literals instead of references."""

from __future__ import annotations

import re

# Words that name a credential if they are whole parts of a variable's or label's name.
_CREDENTIAL_NAME = re.compile(
    r"(?:^|[_.-])(PASSWORD|PASSWD|PASS|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|MASTER_?KEY"
    r"|ENCRYPTION_?KEY|SALT(?:_?KEY)?|CREDENTIALS?)(?:$|[_.-])",
    re.IGNORECASE,
)
# Names that mention a credential without holding one.
_NOT_A_VALUE = re.compile(r"(_FILE|_PATH|_NAME|_TTL|_EXPIRY|_ALGORITHM|_LENGTH)$", re.IGNORECASE)
_URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@$]*:(?P<password>[^@/\s]+)@", re.I)
# Prefixes that issuers add to their keys.
_ISSUED_KEY = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{16,}|ghp_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}|xox[abp]-[A-Za-z0-9-]{10,}"
    r"|glpat-[A-Za-z0-9_-]{16,}|AGE-SECRET-KEY-1[A-Z0-9]+)"
)
_HARMLESS = frozenset({"", "true", "false", "none", "0", "1"})


def names_a_credential(name: str) -> bool:
    """Return whether a variable or label with this name holds a credential."""
    return bool(_CREDENTIAL_NAME.search(name)) and not _NOT_A_VALUE.search(name)


def literal_secret_problem(name: str, value: str) -> str | None:
    """Return a message if ``value`` of ``name`` is a secret in plain text, otherwise None.

    The value itself is never part of the message.
    """
    remedy = "declare it under security.secrets and refer to it as ${NAME} or by 'secrets'"
    if _ISSUED_KEY.search(value):
        return f"a key of a known issuer is written as a literal: {remedy}"
    match = _URL_WITH_PASSWORD.search(value)
    if match and "${" not in match["password"]:
        return f"the URL holds a password as a literal: {remedy}"
    if names_a_credential(name) and "${" not in value and value.lower() not in _HARMLESS:
        return f"a secret is written as a literal: {remedy}"
    return None
