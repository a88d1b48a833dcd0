"""One place of each kind of tier, for the contract: a new kind adds its maker to ``MAKERS``."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.storage.mount import MountTier
from mmstack_ops.adapters.storage.s3.calls import Credentials, Patience
from mmstack_ops.adapters.storage.s3.location import S3Location
from mmstack_ops.adapters.storage.s3.s3_tier import S3Tier
from mmstack_ops.adapters.storage.tape.location import open_tape
from mmstack_ops.domain.backups.tier import Tier

KEYS = Credentials("test-access", "test-secret")
QUICK = Patience(attempts=4, first_pause=0.01, longest_pause=0.05, connect=2.0, read=5.0)


@dataclass(frozen=True)
class Place:
    """Storage of one kind.

    Args:
        open: makes a tier on it, with a quota in bytes or None; each call a new one, as
            another process would have it.
        leftovers: names what unfinished writes left there.
        large: bytes that make the tier write in more than one piece.
        reclaims: deleting gives space back (a tape's doesn't).
    """

    open: Callable[[int | None], Tier]
    leftovers: Callable[[], list[str]]
    large: int
    reclaims: bool = True


class BelievedMount(MountTier):
    """A mount tier that takes any folder for mounted."""

    def require_usable(self) -> None:
        return


@contextmanager
def directory(folder: Path) -> Iterator[Place]:
    with _folder(folder, DirectoryTier) as place:
        yield place


@contextmanager
def mount(folder: Path) -> Iterator[Place]:
    (folder / "tier").mkdir()
    with _folder(folder, BelievedMount) as place:
        yield place


@contextmanager
def _folder(folder: Path, kind: type[DirectoryTier]) -> Iterator[Place]:
    root = folder / "tier"
    incoming = root / ".incoming"
    yield Place(
        open=lambda quota: kind("place", root, quota=quota),
        leftovers=lambda: [path.name for path in incoming.iterdir()] if incoming.exists() else [],
        # Beyond the 64 MiB after which a window is written back.
        large=(64 << 20) + (1 << 20) + 7,
    )


@contextmanager
def s3(folder: Path) -> Iterator[Place]:
    endpoint = s3_endpoint()
    bucket = f"b-{uuid.uuid4().hex}"
    client = s3_client(endpoint)
    client.create_bucket(Bucket=bucket)
    location = S3Location(endpoint, bucket, "some/prefix/")

    def leftovers() -> list[str]:
        found = client.list_multipart_uploads(Bucket=bucket)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    try:
        yield Place(
            open=lambda quota: S3Tier("place", location, KEYS, quota=quota, patience=QUICK),
            leftovers=leftovers,
            large=(20 << 20) + 7,
        )
    finally:
        client.close()


@contextmanager
def tape(folder: Path) -> Iterator[Place]:
    library = folder / "library"

    def leftovers() -> list[str]:
        told: list[str] = []
        opened(None).sweep(older_than=datetime.now(UTC), tell=told.append)
        return told

    def opened(quota: int | None) -> Tier:
        return open_tape(
            "place", str(library), volume_size=4_000_000, quota=quota, state=folder / "state"
        )

    # Over several volumes.
    yield Place(open=opened, leftovers=leftovers, large=(10 << 20) + 7, reclaims=False)


def s3_client(endpoint: str) -> Any:
    """Return a plain client, as other software has one."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        region_name="us-east-1",
    )


_running: list[ThreadedMotoServer] = []


def s3_endpoint() -> str:
    """Start moto once for each test process."""
    if not _running:
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        _running.append(server)
    host, port = _running[0].get_host_and_port()
    return f"http://{host}:{port}"


def stop_servers() -> None:
    while _running:
        with contextlib.suppress(OSError):
            _running.pop().stop()


MAKERS: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "directory": directory,
    "mount": mount,
    "s3": s3,
    "tape": tape,
}
