"""Buckets: what an object and a bucket carry comes back, or stands by name in the manifest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.s3.bucket import S3Bucket
from mmstack_ops.adapters.stores.s3.facts import as_recorded
from mmstack_ops.adapters.stores.s3.settings import read_settings
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import PartialRestoreError, RestoreError
from tests.adapters.stores.store_judge import dump
from tests.adapters.stores.stores import back_up, bench, compared, empty, store

KIND = S3Bucket()
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


@pytest.fixture
def minio() -> Iterator[tuple[Instance, Any]]:
    with store() as found:
        yield found


def refuse(
    client: Any, operation: str, code: str, status: int, *, key: str = "", bucket: str = ""
) -> None:
    """Let a client fail as a server's refusal makes it fail."""

    def fail(params: dict[str, Any], **_: Any) -> None:
        if key in ("", params.get("Key")) and bucket in ("", params.get("Bucket")):
            raise ClientError(
                {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},
                operation,
            )

    client.meta.events.register(f"provide-client-params.s3.{operation}", fail)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the clients that the type makes fail: called as ``refuse``, without the client."""
    from mmstack_ops.adapters.stores.s3 import bucket as s3_bucket

    usual = s3_bucket.s3_client
    wanted: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def made(instance: Instance) -> Any:
        client = usual(instance)
        for given, named in wanted:
            refuse(client, *given, **named)
        return client

    monkeypatch.setattr(s3_bucket, "s3_client", made)
    return lambda *given, **named: wanted.append((given, named))


def everything(client: Any) -> None:
    """A bucket and objects with all that can be set."""
    client.create_bucket(Bucket="logs")
    client.create_bucket(Bucket="full")
    client.put_object(
        Bucket="full",
        Key="page",
        Body=b"page",
        ContentType="text/html",
        Expires=datetime(2031, 5, 1, 10, 0, tzinfo=UTC),
        WebsiteRedirectLocation="/elsewhere",
        StorageClass="REDUCED_REDUNDANCY",
        ServerSideEncryption="AES256",
        ChecksumSHA256=base64.b64encode(hashlib.sha256(b"page").digest()).decode(),
        Metadata={"author": "someone"},
        Tagging="a=1",
    )
    client.put_object(Bucket="full", Key="public", Body=b"public", ACL="public-read")
    client.put_bucket_acl(Bucket="full", ACL="public-read")
    client.put_public_access_block(
        Bucket="full",
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": False,
            "IgnorePublicAcls": False,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": False,
        },
    )
    client.put_bucket_ownership_controls(
        Bucket="full", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    client.put_bucket_website(
        Bucket="full", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )
    client.put_bucket_notification_configuration(
        Bucket="full",
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Id": "all",
                    "QueueArn": "arn:aws:sqs:us-east-1:123456789012:queue",
                    "Events": ["s3:ObjectCreated:*"],
                }
            ]
        },
    )
    client.put_bucket_encryption(
        Bucket="full",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    client.put_bucket_tagging(Bucket="full", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    policy = {"Version": "2012-10-17", "Statement": []}
    client.put_bucket_policy(Bucket="full", Policy=json.dumps(policy))


def test_all_that_objects_and_buckets_carry_comes_back(
    minio: tuple[Instance, Any], tmp_path: Path
) -> None:
    instance, client = minio
    everything(client)
    artifact = back_up(KIND, instance, tmp_path)
    held = dump(client)
    assert not artifact.manifest.not_covered
    empty(client)
    KIND.restore(bench(), instance, artifact)
    assert dump(client) == held
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences


CHANGES: dict[str, Any] = {
    "bucket full/website": lambda c: c.delete_bucket_website(Bucket="full"),
    "bucket full/policy": lambda c: c.delete_bucket_policy(Bucket="full"),
    "bucket full/acl": lambda c: c.put_bucket_acl(Bucket="full", ACL="private"),
    "bucket full/public_access_block": lambda c: c.delete_public_access_block(Bucket="full"),
    "bucket full/notification": lambda c: c.put_bucket_notification_configuration(
        Bucket="full", NotificationConfiguration={}
    ),
    "bucket full/encryption": lambda c: c.delete_bucket_encryption(Bucket="full"),
    "object full/public": lambda c: c.put_object_acl(Bucket="full", Key="public", ACL="private"),
    "object full/page": lambda c: c.put_object(
        Bucket="full", Key="page", Body=b"egap", ContentType="text/html"
    ),
}


def test_each_difference_is_found_and_mended(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    instance, client = minio
    everything(client)
    artifact = back_up(KIND, instance, tmp_path)
    held = dump(client)
    for change in CHANGES.values():
        change(client)
    found = " ".join(compared(KIND, instance, artifact).differences)
    for name in CHANGES:
        assert name in found
    KIND.restore(bench(), instance, artifact)
    assert dump(client) == held


def test_swapped_bytes_of_any_object_are_found(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    instance, client = minio
    client.create_bucket(Bucket="many")
    for number in range(60):
        client.put_object(Bucket="many", Key=f"o{number}", Body=b"abcd")
    artifact = back_up(KIND, instance, tmp_path)
    for number in range(60):
        client.put_object(Bucket="many", Key=f"o{number}", Body=b"abdc")
    assert compared(KIND, instance, artifact).total_differences == 60


def test_objects_beyond_those_listed_by_name_are_compared_in_groups(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmstack_ops.adapters.stores.s3 import facts as s3_facts

    monkeypatch.setattr(s3_facts, "DESCRIBED", 5)
    monkeypatch.setattr(s3_facts, "_GROUPS", 4)
    instance, client = minio
    client.create_bucket(Bucket="many")
    for number in range(30):
        client.put_object(Bucket="many", Key=f"o{number:02}", Body=b"abcd")
    artifact = back_up(KIND, instance, tmp_path)
    assert compared(KIND, instance, artifact).equal
    client.put_object(Bucket="many", Key="o27", Body=b"abdc")
    assert not compared(KIND, instance, artifact).equal
    KIND.restore(bench(), instance, artifact)
    assert compared(KIND, instance, artifact).equal
    client.delete_object(Bucket="many", Key="o29")
    client.put_object(Bucket="many", Key="x29", Body=b"abcd")
    assert not compared(KIND, instance, artifact).equal


@pytest.mark.parametrize("text", ["Grüße 漢字", "Ã¼", "plain"], ids=["utf-8", "latin", "ascii"])
def test_metadata_that_is_not_ascii(minio: tuple[Instance, Any], tmp_path: Path, text: str) -> None:
    instance, client = minio
    client.create_bucket(Bucket="meta")
    client.put_object(Bucket="meta", Key="k", Body=b"1", Metadata={"title": text})
    held = client.head_object(Bucket="meta", Key="k")["Metadata"]
    assert held["title"].encode("latin-1").decode() == text
    artifact = back_up(KIND, instance, tmp_path)
    client.delete_object(Bucket="meta", Key="k")
    KIND.restore(bench(), instance, artifact)
    assert client.head_object(Bucket="meta", Key="k")["Metadata"] == held
    assert compared(KIND, instance, artifact).equal


def locked(client: Any) -> None:
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    client.put_object(Bucket="locked", Key="before the default", Body=b"0")
    client.put_object_lock_configuration(
        Bucket="locked",
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    body = {"Bucket": "locked", "Body": b"1", "ContentMD5": "xMpCOKC5I4INzFCab3WEmw=="}
    client.put_object(
        Key="own", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=LATER, **body
    )
    client.put_object(Key="held", ObjectLockLegalHoldStatus="ON", **body)
    client.put_object(Key="default", **body)


def unlock(client: Any) -> None:
    """Take all away, as only a store that was lost does."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()


def test_retention_and_legal_hold_are_the_objects_own(
    minio: tuple[Instance, Any], tmp_path: Path
) -> None:
    instance, client = minio
    locked(client)
    artifact = back_up(KIND, instance, tmp_path)
    default = client.head_object(Bucket="locked", Key="default")["ObjectLockRetainUntilDate"]
    unlock(client)
    KIND.restore(bench(), instance, artifact)
    own = client.head_object(Bucket="locked", Key="own")
    assert own["ObjectLockMode"] == "COMPLIANCE"
    assert own["ObjectLockRetainUntilDate"] == LATER
    assert client.head_object(Bucket="locked", Key="held")["ObjectLockLegalHoldStatus"] == "ON"
    again = client.head_object(Bucket="locked", Key="default")["ObjectLockRetainUntilDate"]
    assert abs(again - default) < timedelta(seconds=1)
    first = client.head_object(Bucket="locked", Key="before the default")
    assert "ObjectLockMode" not in first
    rule = client.get_object_lock_configuration(Bucket="locked")["ObjectLockConfiguration"]
    assert rule["Rule"]["DefaultRetention"]["Days"] == 1
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences


def test_each_put_carries_a_checksum(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmstack_ops.adapters.stores.s3 import bucket as s3_bucket
    from mmstack_ops.adapters.stores.s3 import upload as s3_upload

    monkeypatch.setattr(s3_upload, "_SMALL", 5 << 20)
    instance, client = minio
    client.create_bucket(Bucket="bkt")
    client.put_object(Bucket="bkt", Key="small", Body=b"1")
    client.put_object(Bucket="bkt", Key="large", Body=bytes(11 << 20))
    artifact = back_up(KIND, instance, tmp_path)
    sent: list[str] = []
    usual = s3_bucket.s3_client

    def watched(instance: Instance) -> Any:
        made = usual(instance)

        def look(model: Any, params: dict[str, Any], **_: Any) -> None:
            if model.name in ("PutObject", "UploadPart"):
                assert params["headers"]["Content-MD5"]
                sent.append(model.name)

        made.meta.events.register("before-call.s3", look)
        return made

    monkeypatch.setattr(s3_bucket, "s3_client", watched)
    KIND.restore(bench(), instance, artifact)
    assert sorted(sent) == ["PutObject", "UploadPart", "UploadPart", "UploadPart"]


def test_one_object_that_the_store_refuses_is_named_and_the_rest_comes_back(
    minio: tuple[Instance, Any], tmp_path: Path, refusing: Any
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bkt")
    for key in ("a", "bad", "z"):
        client.put_object(Bucket="bkt", Key=key, Body=key.encode())
    artifact = back_up(KIND, instance, tmp_path)
    for key in ("a", "bad", "z"):
        client.delete_object(Bucket="bkt", Key=key)
    client.put_object(Bucket="bkt", Key="extra", Body=b"x")
    refusing("PutObject", "XMinioInvalidObjectName", 400, key="bad")
    with pytest.raises(PartialRestoreError) as caught:
        KIND.restore(bench(), instance, artifact)
    assert set(caught.value.refused) == {"object bkt/bad"}
    assert "XMinioInvalidObjectName" in caught.value.refused["object bkt/bad"]
    assert [one["Key"] for one in client.list_objects_v2(Bucket="bkt")["Contents"]] == ["a", "z"]


def test_a_store_that_refuses_every_object_loses_none(
    minio: tuple[Instance, Any], tmp_path: Path, refusing: Any
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bkt")
    client.put_object(Bucket="bkt", Key="k", Body=b"1")
    artifact = back_up(KIND, instance, tmp_path)
    client.put_object(Bucket="bkt", Key="extra", Body=b"x")
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    # The backup's object has none, so that it is put without this default.
    client.put_bucket_encryption(Bucket="bkt", ServerSideEncryptionConfiguration={"Rules": rules})
    held = read_settings(client, "bkt").values
    refusing("PutObject", "AccessDenied", 403)
    with pytest.raises(RestoreError, match="refused every one"):
        KIND.restore(bench(), instance, artifact)
    assert read_settings(client, "bkt").values == held
    assert [one["Key"] for one in client.list_objects_v2(Bucket="bkt")["Contents"]] == [
        "extra",
        "k",
    ]


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject", "GetObjectTagging"])
def test_one_object_that_cannot_be_read_stops_nothing(
    minio: tuple[Instance, Any], tmp_path: Path, refusing: Any, operation: str
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bkt")
    for key in ("a", "bad"):
        client.put_object(Bucket="bkt", Key=key, Body=key.encode())
    refusing(operation, "AccessDenied", 403, key="bad")
    artifact = back_up(KIND, instance, tmp_path)
    facts = artifact.facts()
    assert set(facts.not_covered) == {"bkt/bad"}
    assert "AccessDenied" in facts.not_covered["bkt/bad"]
    assert "object bkt/a" in facts.items
    KIND.restore(bench(), instance, artifact)
    assert {one["Key"] for one in client.list_objects_v2(Bucket="bkt")["Contents"]} == {"a", "bad"}
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences


def test_one_bucket_that_cannot_be_listed_stops_nothing(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: Any
) -> None:
    instance, client = minio
    for bucket in ("good", "locked-up"):
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="k", Body=b"1")
    refusing("ListObjectsV2", "AccessDenied", 403, bucket="locked-up")
    refusing("ListObjectVersions", "AccessDenied", 403, bucket="locked-up")
    artifact = back_up(KIND, instance, tmp_path)
    facts = artifact.facts()
    assert set(facts.not_covered) == {"locked-up"}
    assert "the server doesn't list them" in facts.excluded["versions of locked-up"]
    client.put_object(Bucket="good", Key="k", Body=b"2")
    with pytest.raises(PartialRestoreError) as caught:
        KIND.restore(bench(), instance, artifact)
    assert set(caught.value.refused) == {"bucket locked-up"}
    monkeypatch.undo()
    assert client.get_object(Bucket="good", Key="k")["Body"].read() == b"1"
    assert client.get_object(Bucket="locked-up", Key="k")["Body"].read() == b"1"
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences


def test_a_setting_that_cannot_be_asked_for_is_not_taken_for_unset(
    minio: tuple[Instance, Any], tmp_path: Path, refusing: Any
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bkt")
    client.put_bucket_website(
        Bucket="bkt", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )
    client.put_object(Bucket="bkt", Key="k", Body=b"1")
    refusing("GetBucketWebsite", "AccessDenied", 403)
    refusing("GetBucketCors", "NotImplemented", 501)
    artifact = back_up(KIND, instance, tmp_path)
    assert set(artifact.facts().not_covered) == {"bucket bkt/website"}
    assert "setting cors" in artifact.facts().excluded
    KIND.restore(bench(), instance, artifact)
    assert client.get_bucket_website(Bucket="bkt")["IndexDocument"] == {"Suffix": "index.html"}


def test_buckets_that_the_schema_leaves_out_are_named(tmp_path: Path) -> None:
    with store(exclude=["tmp-*"]) as (instance, client):
        for bucket in ("app", "tmp-a"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="k", Body=b"v")
        artifact = back_up(KIND, instance, tmp_path)
    assert "tmp-a" in artifact.facts().excluded
    assert "tmp-a" in [one.name for one in artifact.manifest.excluded]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_checksum_that_the_client_sent_comes_back(tmp_path: Path, algorithm: str) -> None:
    with store() as (instance, client):
        client.create_bucket(Bucket="sums")
        client.put_object(Bucket="sums", Key="a", Body=b"abc", ChecksumAlgorithm=algorithm)
        artifact = back_up(KIND, instance, tmp_path)
        (item,) = (text for name, text in artifact.facts().items.items() if name == "object sums/a")
        assert f"checksum={algorithm}:" in item
        empty(client)
        KIND.restore(bench(), instance, artifact)
        comparison = compared(KIND, instance, artifact)
        assert comparison.equal, comparison.differences


def test_a_store_that_keeps_no_checksums_holds_the_same_objects() -> None:
    name = "object sums/a"
    recorded = Facts(items={name: "3 bytes, attributes 1f checksum=CRC32:AA== md5=900150"})
    bare = {name: "3 bytes, attributes 1f md5=900150"}
    assert as_recorded(bare, recorded, {}) == recorded.items
    other = {name: "3 bytes, attributes 1f md5=900151"}
    assert as_recorded(other, recorded, {}) != recorded.items
    wrong = {name: "3 bytes, attributes 1f checksum=CRC32:BB== md5=900150"}
    assert as_recorded(wrong, recorded, {}) != recorded.items
    nothing = {name: "3 bytes, attributes 1f"}
    assert as_recorded(nothing, recorded, {}) != recorded.items
