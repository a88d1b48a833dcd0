"""Send requests to an S3 endpoint: one client, credentials from the environment file, retries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mmstack_ops.adapters.botocore_session import isolated_session
from mmstack_ops.adapters.storage.s3.errors import (
    ChecksumRefusedError,
    is_refusal,
    is_transient,
    translated,
)
from mmstack_ops.adapters.storage.s3.location import S3Location
from mmstack_ops.domain.errors import TierUnavailableError


@dataclass(frozen=True)
class Credentials:
    """The keys that sign requests; never printed."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class Patience:
    """Retries and timeouts. The tests use lower values.

    Args:
        attempts: number of attempts of one request, including the first.
        longest_pause: seconds; pauses double up to this value, each shortened randomly so
            that several writers don't retry at the same time.
        connect: seconds within which a connection must be established.
        read: seconds without a byte after which an answer counts as lost.
    """

    attempts: int = 8
    first_pause: float = 0.5
    longest_pause: float = 20.0
    connect: float = 5.0
    read: float = 60.0


class S3Calls:
    """A sender of requests that retries them if that may help. Thread-safe.

    Args:
        tier: its name, for messages.
        path_style: the bucket is in the path, not in the host name.
        region: the region that requests are signed for.
        patience: retries and timeouts.
    """

    def __init__(
        self,
        tier: str,
        location: S3Location,
        credentials: Credentials,
        *,
        path_style: bool,
        region: str,
        patience: Patience,
    ) -> None:
        self.tier = tier
        self.location = location
        self._credentials = credentials
        self._path_style = path_style
        self._region = region
        self._patience = patience
        self._making = threading.Lock()

    def call(
        self,
        operation: str,
        /,
        *,
        stop: threading.Event | None = None,
        accept: Callable[[dict[str, Any]], bool] | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Send a request for the bucket, and retry it after transient failures.

        Args:
            operation: botocore's name of it, such as ``put_object``.
            stop: if set, no further attempt is made and a pause ends immediately.
            accept: returns whether an answer's checksum is correct.

        Raises:
            ChecksumRefusedError: no answer was accepted.
            botocore.exceptions.BotoCoreError, ClientError: the last attempt's failure; see
                ``failure``.
        """
        from tenacity import (
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_attempt,
            stop_when_event_set,
            wait_random_exponential,
        )

        ended = stop or threading.Event()
        retrying = Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_after_attempt(self._patience.attempts) | stop_when_event_set(ended),
            wait=wait_random_exponential(
                multiplier=self._patience.first_pause, max=self._patience.longest_pause
            ),
            sleep=sleep_using_event(ended),
            reraise=True,
        )
        request = getattr(self._client, operation)

        def once() -> dict[str, Any]:
            answer: dict[str, Any] = request(Bucket=self.location.bucket, **parameters)
            if accept is not None and not accept(answer):
                raise ChecksumRefusedError
            return answer

        return retrying(once)

    def pages(self, operation: str, result: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of a listing, page by page.

        Args:
            result: the key of the entries in a page.

        Raises:
            botocore.exceptions.BotoCoreError, ClientError: a page couldn't be read.
        """
        tokens = _TOKENS[operation]
        position: dict[str, Any] = {}
        while True:
            page = self.call(operation, **parameters, **position)
            yield from page.get(result, ())
            if not page.get("IsTruncated"):
                return
            position = {ask: page[told] for ask, told in tokens.items() if page.get(told)}

    def failure(self, error: Exception, doing: str) -> Exception:
        """Return our error for an exception of a request, with the credentials masked.

        Other exceptions are returned unchanged.
        """
        if not is_refusal(error):
            return error
        found = translated(error, tier=self.tier, place=str(self.location), doing=doing)
        why = found.why
        for part in (self._credentials.secret_key, self._credentials.access_key):
            why = why.replace(part, "***") if part else why
        return type(found)(found.what, why=why, remedy=found.remedy)

    def without_retries(self) -> S3Calls:
        """Return a copy without retries and with a short timeout, for checks."""
        return S3Calls(
            self.tier,
            self.location,
            self._credentials,
            path_style=self._path_style,
            region=self._region,
            patience=replace(self._patience, attempts=1, read=min(10.0, self._patience.read)),
        )

    @property
    def _client(self) -> Any:
        # Threads may share a client, but must not create clients at the same time.
        with self._making:
            return self._made

    @cached_property
    def _made(self) -> Any:
        from botocore.config import Config

        if not (self._credentials.access_key and self._credentials.secret_key):
            raise TierUnavailableError(
                f"tier {self.tier} can't be used: it has no credentials",
                why="BACKUP_CLOUD_ACCESS_KEY or BACKUP_CLOUD_SECRET_KEY is empty",
                remedy="set both in the environment's local.env",
            )
        session = isolated_session()
        return session.create_client(
            "s3",
            region_name=self._region,
            endpoint_url=self.location.endpoint,
            aws_access_key_id=self._credentials.access_key,
            aws_secret_access_key=self._credentials.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path" if self._path_style else "virtual"},
                connect_timeout=self._patience.connect,
                read_timeout=self._patience.read,
                # Only our own retries, which can be stopped; two retry loops would multiply.
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=32,
                tcp_keepalive=True,
                ignore_configured_endpoint_urls=True,
                # Checksums are sent as plain headers, which every endpoint accepts; botocore by
                # itself adds a trailer, which many endpoints refuse.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


_TOKENS = {
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_multipart_uploads": {
        "KeyMarker": "NextKeyMarker",
        "UploadIdMarker": "NextUploadIdMarker",
    },
    "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
}
