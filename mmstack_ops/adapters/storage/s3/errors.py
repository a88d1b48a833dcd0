"""Convert errors of an S3 endpoint to ours, and recognize transient failures."""

from __future__ import annotations

from dataclasses import dataclass

from mmstack_ops.domain.errors import (
    FileMissingError,
    ImmutableError,
    TierError,
    TierFullError,
    TierUnavailableError,
)

# Answers after which the same request may succeed. The codes are those of Amazon's list of error
# responses, MinIO's and Ceph's; any other 5xx counts too.
_TRANSIENT_CODES = frozenset(
    {"InternalError", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException"}
    | {"RequestLimitExceeded", "RequestThrottled", "TooManyRequests", "BandwidthLimitExceeded"}
    | {"RequestTimeout", "RequestTimeoutException", "IncompleteBody", "OperationAborted"}
    | {"BadDigest", "XAmzContentSHA256Mismatch", "ConditionalRequestConflict"}
)
_FULL_CODES = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"}
)
# 507 means that the disk is full, which a retry doesn't change; 501 means "never".
_LASTING_STATUS = frozenset({501, 507})
_REMEDIES = {
    "NoSuchBucket": "create the bucket, or correct its name in BACKUP_CLOUD_URL",
    "InvalidAccessKeyId": "correct BACKUP_CLOUD_ACCESS_KEY in the environment's local.env",
    "SignatureDoesNotMatch": "correct BACKUP_CLOUD_SECRET_KEY in the environment's local.env",
    "RequestTimeTooSkewed": "set this machine's clock right (`timedatectl` says whether it is"
    " synchronised)",
    "ExpiredToken": "renew BACKUP_CLOUD_ACCESS_KEY and BACKUP_CLOUD_SECRET_KEY",
    "AuthorizationHeaderMalformed": "set the tier's region in the schema to the bucket's",
    "PermanentRedirect": "set the tier's region in the schema to the bucket's, or ask the endpoint"
    " that holds it",
    "AccessDenied": "allow this key to list, read, write and delete in the bucket",
}
_UNAVAILABLE_STATUS = frozenset({301, 307, 401, 403})


class ChecksumRefusedError(Exception):
    """The endpoint's checksum of the received bytes differs from that of the bytes sent."""


class ConnectionCutError(Exception):
    """An answer ended before it was complete."""


@dataclass(frozen=True)
class Answer:
    """An error answer, without anything that could show a credential or a signature."""

    status: int
    code: str
    message: str


def answer_of(error: BaseException) -> Answer | None:
    """Return the endpoint's error answer, or None if ``error`` isn't one."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return None
    found = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    return Answer(
        status=int(metadata.get("HTTPStatusCode", 0)),
        code=str(found.get("Code", "")),
        message=str(found.get("Message", "")),
    )


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed if it is sent again."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError, SSLError
    from botocore.parsers import ResponseParserError

    passing = ChecksumRefusedError | ConnectionCutError | IncompleteReadError | ResponseParserError
    if isinstance(error, passing):
        return True
    if isinstance(error, SSLError):
        # A retry doesn't help with an untrusted certificate.
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    if isinstance(error, HTTPClientError):
        return True
    answer = answer_of(error)
    if answer is None or answer.status in _LASTING_STATUS or answer.code in _FULL_CODES:
        return False
    return answer.code in _TRANSIENT_CODES or answer.status == 429 or answer.status >= 500


def is_refusal(error: BaseException) -> bool:
    """Return whether a request raised ``error``; anything else is a bug, to be raised unchanged."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    own = ChecksumRefusedError | ConnectionCutError
    return isinstance(error, own | BotoCoreError | ClientError | ResponseParserError)


def is_missing(error: BaseException) -> bool:
    """Return whether ``error`` means that the object doesn't exist."""
    answer = answer_of(error)
    return answer is not None and answer.status == 404 and answer.code != "NoSuchBucket"


def is_taken(error: BaseException) -> bool:
    """Return whether ``If-None-Match`` failed because the key is taken."""
    answer = answer_of(error)
    return answer is not None and (answer.status == 412 or answer.code == "PreconditionFailed")


def is_unsupported(error: BaseException) -> bool:
    """Return whether the endpoint doesn't support the request."""
    answer = answer_of(error)
    return answer is not None and (answer.status == 501 or answer.code == "NotImplemented")


def is_upload_gone(error: BaseException) -> bool:
    """Return whether a multipart upload was already completed or aborted."""
    answer = answer_of(error)
    return answer is not None and answer.code == "NoSuchUpload"


def is_denied(error: BaseException) -> bool:
    """Return whether the endpoint forbids the request."""
    answer = answer_of(error)
    return answer is not None and answer.status == 403


def translated(error: BaseException, *, tier: str, place: str, doing: str) -> TierError:
    """Return our error for an exception of botocore. It has no header, signature or signed URL.

    Args:
        place: endpoint, bucket and prefix.
        doing: the action that failed, as an infinitive with its object.
    """
    answer = answer_of(error)
    if answer is not None:
        return _answered(answer, tier, place, doing)
    if isinstance(error, ChecksumRefusedError):
        return TierError(
            f"tier {tier} can't {doing}",
            why="the endpoint's checksum isn't the one of the bytes that were sent",
            remedy="run it again; if it stays so, look for a proxy or memory that changes bytes",
        )
    return TierUnavailableError(
        f"tier {tier} doesn't answer: can't {doing}",
        why=f"{place}: {_connection_problem(error)}",
        remedy="check the endpoint's address and port, its certificate, and the network to it",
    )


def _answered(answer: Answer, tier: str, place: str, doing: str) -> TierError:
    said = ": ".join(filter(None, (answer.code, answer.message))) or "no reason given"
    why = f"{place} answered {answer.status} {said}"
    if answer.code in _FULL_CODES or answer.status == 507:
        return TierFullError(
            f"tier {tier} is full: can't {doing}",
            why=why,
            remedy="enlarge it, or let retention remove old backups",
        )
    if answer.code == "NoSuchUpload":
        return TierError(
            f"tier {tier} can't {doing}: its upload is gone",
            why="somebody aborted it, or the bucket's lifecycle rule did",
            remedy="run it again; such a rule must leave uploads at least two days",
        )
    if answer.status == 404 and answer.code != "NoSuchBucket":
        return FileMissingError(f"tier {tier} can't {doing}: there is no such file", why=why)
    if answer.status == 412:
        return taken(tier, doing)
    if answer.code in _REMEDIES or answer.status in _UNAVAILABLE_STATUS:
        return TierUnavailableError(
            f"tier {tier} can't be used: can't {doing}",
            why=why,
            remedy=_REMEDIES.get(answer.code, _REMEDIES["AccessDenied"]),
        )
    if answer.status >= 500 or answer.code in _TRANSIENT_CODES:
        return TierUnavailableError(
            f"tier {tier} failed again and again: can't {doing}",
            why=why,
            remedy="wait and try again; the endpoint's own log says what is wrong with it",
        )
    return TierError(f"tier {tier} can't {doing}", why=why)


def taken(tier: str, key: str) -> ImmutableError:
    """Return the error for a key that is taken."""
    return ImmutableError(
        f"tier {tier} already holds {key.removeprefix('write ')}",
        why="files on a tier are never replaced",
        remedy="this is a bug, or two backups had the same name: run it again",
    )


def _connection_problem(error: BaseException) -> str:
    """Return the cause; botocore's own messages show whole URLs."""
    from botocore import exceptions

    for kind, text in (
        (ConnectionCutError, "the connection was cut"),
        (exceptions.IncompleteReadError, "the connection was cut"),
        (exceptions.ConnectTimeoutError, "no connection in time"),
        (exceptions.ReadTimeoutError, "no answer in time"),
        (exceptions.ConnectionClosedError, "the connection was cut"),
        (exceptions.ProxyConnectionError, "the proxy can't be reached"),
        (exceptions.SSLError, "its certificate or TLS isn't accepted"),
    ):
        if isinstance(error, kind):
            return text
    text = str(getattr(error, "kwargs", {}).get("error", ""))
    for sign, meaning in (
        ("Connection refused", "connection refused"),
        ("Name or service not known", "its name can't be resolved"),
        ("name resolution", "its name can't be resolved"),
        ("No route to host", "no route to host"),
        ("Network is unreachable", "network is unreachable"),
    ):
        if sign in text:
            return meaning
    return type(error).__name__
