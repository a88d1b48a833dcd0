"""Versions, object lock and abandoned uploads, at an endpoint that knows them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmstack_ops.adapters.storage.s3.location import S3Location
from mmstack_ops.adapters.storage.s3.s3_tier import S3Tier
from mmstack_ops.domain.errors import ImmutableError, TierUnavailableError
from tests.adapters.storage.contract import get, keys, put
from tests.adapters.storage.places import KEYS, QUICK, s3_client, s3_endpoint


@pytest.fixture
def client() -> Iterator[Any]:
    made = s3_client(s3_endpoint())
    yield made
    made.close()


def tier_in(bucket: str, *, lock: float | None = None) -> S3Tier:
    return S3Tier("cloud", S3Location(s3_endpoint(), bucket, "p/"), KEYS, lock=lock, patience=QUICK)


def make_bucket(client: Any, *, lock: bool = False) -> str:
    bucket = f"b-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)
    return bucket


def test_a_locked_file_is_not_deleted(client: Any) -> None:
    bucket = make_bucket(client, lock=True)
    tier = tier_in(bucket, lock=3600)
    tier.check(writing=True)
    put(tier, "a", b"kept")
    put(tier_in(bucket), "before", b"x")
    with pytest.raises(ImmutableError, match="locked"):
        tier.delete(["before", "a"])
    assert keys(tier) == ["a"]
    assert get(tier, "a") == b"kept"
    found = client.head_object(Bucket=bucket, Key="p/a")
    left = found["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(minutes=58) < left <= timedelta(hours=1)


def test_a_lock_that_the_bucket_does_not_have(client: Any) -> None:
    tier = tier_in(make_bucket(client), lock=3600)
    tier.check(writing=False)
    with pytest.raises(TierUnavailableError, match="object lock"):
        tier.check(writing=True)


def test_deleting_frees_the_bytes_of_a_bucket_with_versions(client: Any) -> None:
    bucket = make_bucket(client)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tier = tier_in(bucket)
    put(tier, "a", b"x")
    tier.delete(["a"])
    left = client.list_object_versions(Bucket=bucket)
    assert left.get("Versions", []) == []
    assert left.get("DeleteMarkers", []) == []


def test_abandoned_uploads_are_swept(client: Any) -> None:
    bucket = make_bucket(client)
    tier = tier_in(bucket)
    killed = client.create_multipart_upload(Bucket=bucket, Key="p/killed")["UploadId"]
    other = client.create_multipart_upload(Bucket=bucket, Key="elsewhere")["UploadId"]
    client.upload_part(
        Bucket=bucket, Key="p/killed", UploadId=killed, PartNumber=1, Body=b"x" * 1000
    )
    told: list[str] = []
    tier.sweep(older_than=datetime.now(UTC) - timedelta(hours=1), tell=told.append)
    assert told == []
    # As if an hour went by. (moto gives every upload one and the same age.)
    tier.sweep(older_than=datetime.now(UTC) + timedelta(hours=1), tell=told.append)
    assert len(told) == 1
    assert "killed" in told[0]
    left = [
        upload["UploadId"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    ]
    assert left == [other]


def test_more_files_than_a_page_holds(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    bucket = make_bucket(client)
    tier = tier_in(bucket)
    for number in range(43):
        client.put_object(Bucket=bucket, Key=f"p/{number:04d}", Body=b"x")
    client.put_object(Bucket=bucket, Key="p/folder/", Body=b"")
    client.put_object(Bucket=bucket, Key="beside", Body=b"")
    assert keys(tier) == [f"{number:04d}" for number in range(43)]
