"""A storage tier in object storage: any endpoint that supports S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.storage.keys import checked_key, checked_prefix
from mmstack_ops.adapters.storage.quota import Quota
from mmstack_ops.adapters.storage.s3.calls import Credentials, Patience, S3Calls
from mmstack_ops.adapters.storage.s3.errors import (
    answer_of,
    is_denied,
    is_missing,
    is_upload_gone,
    taken,
)
from mmstack_ops.adapters.storage.s3.location import S3Location, parse_location
from mmstack_ops.adapters.storage.s3.multipart_upload import Upload
from mmstack_ops.adapters.storage.s3.parts import LARGEST_OBJECT
from mmstack_ops.adapters.storage.s3.read import Download
from mmstack_ops.domain.backups.tier import (
    FileReader,
    FileWriter,
    Folder,
    StoredFile,
    Usage,
    by_folder,
)
from mmstack_ops.domain.errors import ImmutableError, TierError, TierUnavailableError
from mmstack_ops.domain.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from mmstack_ops.domain.schema.policies import Tier as TierPolicy

# Counting lists the whole tier over the network; only writes of other hosts are missed meanwhile.
_COUNT_BELIEVED_SECONDS = 900.0


class S3Tier:
    """A tier that stores files as objects below a prefix of a bucket.

    An object is visible only when it is complete. ``If-None-Match`` prevents two writers from
    using the same key; with endpoints that don't support it, a check before writing must be enough.

    Args:
        name: the tier's name in the schema.
        quota: bytes; None for no quota.
        encryption: server-side, such as ``AES256``; None for the bucket's own default.
        lock: seconds for which the bucket refuses to delete a file (governance mode).
    """

    def __init__(
        self,
        name: str,
        location: S3Location,
        credentials: Credentials,
        *,
        quota: int | None = None,
        path_style: bool = True,
        region: str = "us-east-1",
        encryption: str | None = None,
        lock: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self._location = location
        self._quota = Quota(name, quota, self._count, believed=_COUNT_BELIEVED_SECONDS)
        self._encryption = encryption
        self._lock = lock
        self._calls = S3Calls(
            name,
            location,
            credentials,
            path_style=path_style,
            region=region,
            patience=patience or Patience(),
        )
        self._checks = self._calls.without_retries()

    @classmethod
    def from_policy(
        cls, name: str, policy: TierPolicy, location: str, values: Mapping[str, str]
    ) -> S3Tier:
        """Return the tier as the schema and the environment describe it.

        Args:
            values: the environment's variables: ``BACKUP_CLOUD_ACCESS_KEY``,
                ``BACKUP_CLOUD_SECRET_KEY`` and, for ``s3://``, ``BACKUP_CLOUD_ENDPOINT``. The
                environment of this process and ``~/.aws`` aren't used.

        Raises:
            InputError: the location can't be read.
        """
        encryption = policy.server_side_encryption
        return cls(
            name,
            parse_location(location, endpoint=values.get("BACKUP_CLOUD_ENDPOINT", "")),
            Credentials(
                values.get("BACKUP_CLOUD_ACCESS_KEY", ""), values.get("BACKUP_CLOUD_SECRET_KEY", "")
            ),
            quota=policy.quota,
            path_style=policy.path_style,
            region=policy.region,
            encryption=None if encryption == "none" else encryption,
            lock=policy.object_lock,
        )

    def check(self, *, writing: bool) -> None:
        """Raise unless the bucket can be used. See ``Tier.check``. No retries, short timeout."""
        doing = f"open {self._location}"
        try:
            self._checks.call("head_bucket")
        except Exception as error:
            answer = answer_of(error)
            if answer is not None and answer.status != 404:
                # The answer to HEAD has no body and so no reason: send a request that has one.
                self._first_page(doing)
            elif answer is not None:
                raise self._no_bucket() from None
            else:
                raise self._checks.failure(error, doing) from None
        if writing and self._lock is not None:
            self._require_lock()

    @contextmanager
    def create(self, key: str, *, expected_size: int | None = None) -> Iterator[FileWriter]:
        """Write a file. See ``Tier.create``."""
        checked_key(key)
        if expected_size is not None and expected_size > LARGEST_OBJECT:
            raise TierError(
                f"tier {self.name} can't take {key}",
                why=f"{format_bytes(expected_size)} are more than an object may have",
            )
        if self.size(key) is not None:
            raise taken(self.name, key)
        reservation = self._quota.reserve(expected_size)
        kept = 0
        upload = Upload(
            self._calls,
            key,
            self._location.prefix + key,
            expected_size=expected_size,
            settings=self._settings(),
            reservation=reservation,
        )
        try:
            yield upload
            upload.finish()
            kept = upload.written
        except BaseException as failure:  # Interruptions too: nothing may remain.
            upload.abort(failure)
            raise
        finally:
            upload.close()
            reservation.settle(kept)

    @contextmanager
    def read(self, key: str) -> Iterator[FileReader]:
        """Read a file. See ``Tier.read``."""
        checked_key(key)
        download = Download(self._calls, key, self._location.prefix + key)
        try:
            yield download
        finally:
            download.close()

    def size(self, key: str) -> int | None:
        """Return a file's size in bytes. See ``Tier.size``."""
        checked_key(key)
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield the published files. See ``Tier.list``. Sends one request per 1,000 files."""
        checked_prefix(prefix)
        start = len(self._location.prefix)
        pages = self._calls.pages(
            "list_objects_v2", "Contents", Prefix=self._location.prefix + prefix
        )
        try:
            for entry in pages:
                key = entry["Key"][start:]
                # Consoles create "folders" as empty objects that end in a slash.
                if key and not key.startswith(".") and not key.endswith("/"):
                    yield StoredFile(key, entry["Size"])
        except Exception as error:
            raise self._calls.failure(error, f"list {prefix or self._location}") from None

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        """Yield the files folder by folder, with their bytes. See ``Tier.folders``."""
        return by_folder(self.list(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files in order. See ``Tier.delete``.

        In a bucket with versions, the version itself is deleted: a delete marker would keep the
        data.
        """
        for key in keys:
            checked_key(key)
            found = self._head(key)
            if found is None:
                continue
            self._require_unlocked(key, found)
            version = found.get("VersionId")
            try:
                self._calls.call(
                    "delete_object",
                    Key=self._location.prefix + key,
                    **({"VersionId": version} if version and version != "null" else {}),
                )
            except Exception as error:
                if is_denied(error) and self._lock is not None:
                    raise self._locked(key, "it says no more") from None
                raise self._calls.failure(error, f"delete {key}") from None
            self._quota.release(found["ContentLength"])

    def usage(self) -> Usage:
        """Return the usage of the tier. See ``Tier.usage``. Lists the whole tier."""
        return Usage(used=self._quota.used(), quota=self._quota.limit, free=None)

    def sweep(self, *, older_than: datetime, tell: Callable[[str], None]) -> None:
        """Abort multipart uploads of killed writers. See ``Tier.sweep``.

        An upload that received a part since ``older_than`` belongs to a live writer.
        """
        uploads = self._calls.pages(
            "list_multipart_uploads", "Uploads", Prefix=self._location.prefix
        )
        try:
            for upload in list(uploads):
                which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                if upload["Initiated"] >= older_than:
                    continue
                try:
                    parts = list(self._calls.pages("list_parts", "Parts", **which))
                    if any(part["LastModified"] >= older_than for part in parts):
                        continue
                    self._calls.call("abort_multipart_upload", **which)
                except Exception as error:
                    if is_upload_gone(error):
                        continue  # Completed or aborted since it was listed.
                    raise
                size = format_bytes(sum(part["Size"] for part in parts))
                key = upload["Key"][len(self._location.prefix) :]
                tell(f"the upload of {key}, {size} that a killed writer left")
        except Exception as error:
            raise self._calls.failure(error, "sweep unfinished uploads") from None

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if self._encryption is not None:
            settings["ServerSideEncryption"] = self._encryption
        if self._lock is not None:
            settings["ObjectLockMode"] = "GOVERNANCE"
            settings["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(
                seconds=self._lock
            )
        return settings

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self._calls.call("head_object", Key=self._location.prefix + key)
        except Exception as error:
            if is_missing(error):
                # Also the answer if the bucket doesn't exist: HEAD gives no reason.
                return None
            raise self._calls.failure(error, f"look at {key}") from None

    def _require_unlocked(self, key: str, found: Mapping[str, Any]) -> None:
        until = found.get("ObjectLockRetainUntilDate")
        if until is not None and until > datetime.now(UTC):
            raise self._locked(key, f"until {until:%Y-%m-%d %H:%M} UTC")
        if found.get("ObjectLockLegalHoldStatus") == "ON":
            raise self._locked(key, "it is under legal hold")

    def _locked(self, key: str, why: str) -> ImmutableError:
        return ImmutableError(
            f"tier {self.name} may not delete {key}: the bucket keeps it locked",
            why=why,
            remedy="wait until the lock ends; retention tries again with its next run",
        )

    def _require_lock(self) -> None:
        assert self._lock is not None
        try:
            answer = self._checks.call("get_object_lock_configuration")
            enabled = answer["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled"
        except Exception as error:
            answer_given = answer_of(error)
            if answer_given is None or answer_given.status != 404:
                raise self._checks.failure(error, "read the bucket's object lock") from None
            enabled = False
        if not enabled:
            raise TierUnavailableError(
                f"tier {self.name} asks for object lock, which bucket"
                f" {self._location.bucket} doesn't have",
                why=f"the schema wants files locked for {format_seconds(self._lock)}",
                remedy="make a bucket with object lock enabled, or take object_lock out of the"
                " tier's entry in the schema",
            )

    def _first_page(self, doing: str) -> None:
        try:
            self._checks.call("list_objects_v2", Prefix=self._location.prefix, MaxKeys=1)
        except Exception as error:
            raise self._checks.failure(error, doing) from None

    def _no_bucket(self) -> TierUnavailableError:
        return TierUnavailableError(
            f"tier {self.name} can't be used: there is no bucket {self._location.bucket}",
            why=f"{self._location} answered 404",
            remedy="create the bucket, or correct its name in the tier's location",
        )

    def _count(self) -> int:
        return sum(file.size for file in self.list())
