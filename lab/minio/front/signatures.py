"""Checks AWS Signature Version 4, in a request's headers or in its URL."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import quote, unquote_plus

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=15)


class Refused(Exception):  # noqa: N818 (an answer, not a fault)
    """Why, in the code and the words of the S3 protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check(
    method: str,
    target: str,
    headers: Message,
    access_key: str,
    secret: str,
    now: datetime | None = None,
) -> None:
    """Raise Refused unless the request, sent for path and query `target`, is signed by the key."""
    now = now or datetime.now(UTC)
    path, _, query = target.partition("?")
    parameters = [
        (unquote_plus(name), unquote_plus(value))
        for name, _, value in (part.partition("=") for part in query.split("&") if part)
    ]
    given = dict(parameters)
    if given.get("X-Amz-Algorithm") == ALGORITHM:
        credential, signed, signature = (
            given["X-Amz-Credential"],
            given["X-Amz-SignedHeaders"],
            given["X-Amz-Signature"],
        )
        stamp = given["X-Amz-Date"]
        payload = "UNSIGNED-PAYLOAD"
        parameters = [pair for pair in parameters if pair[0] != "X-Amz-Signature"]
        if now > parsed(stamp) + timedelta(seconds=int(given["X-Amz-Expires"])):
            raise Refused("AccessDenied", "Request has expired")
    else:
        header = headers.get("Authorization", "")
        found = re.fullmatch(
            rf"{ALGORITHM} +Credential=([^, ]+), *SignedHeaders=([^, ]+), *Signature=([0-9a-f]+)",
            header,
        )
        if not found:
            raise Refused("AccessDenied", "Access Denied.")
        credential, signed, signature = found.groups()
        stamp = headers.get("X-Amz-Date", "")
        payload = headers.get("X-Amz-Content-SHA256", "")
        if abs(now - parsed(stamp)) > SKEW:
            raise Refused(
                "RequestTimeTooSkewed",
                "The difference between the request time and the server's time is too large.",
            )
    key, _, scope = credential.partition("/")
    if not hmac.compare_digest(key.encode(), access_key.encode()):
        raise Refused(
            "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records."
        )
    canonical = "\n".join(
        [
            method,
            path,
            "&".join(
                sorted(
                    f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
                    for name, value in parameters
                )
            ),
            *(f"{name}:{header_value(headers, name)}" for name in signed.split(";")),
            "",
            signed,
            payload,
        ]
    )
    # A signature is over the bytes that were sent; the parser made a letter of each.
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = "\n".join([ALGORITHM, stamp, scope, digest])
    if not hmac.compare_digest(signature, sign(secret, scope.split("/"), text)):
        raise Refused(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )


def parsed(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("AccessDenied", "The request's date is missing or malformed.") from None


def header_value(headers: Message, name: str) -> str:
    return ",".join(" ".join(value.split()) for value in headers.get_all(name, []))


def sign(secret: str, scope: Iterable[str], text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
