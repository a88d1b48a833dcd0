"""Buckets: everything lost comes back, whatever the objects are called and carry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.s3 import upload as s3_upload
from mmstack_ops.adapters.stores.s3.bucket import S3Bucket
from tests.adapters.stores.stores import back_up, bench, compared, empty, store

KIND = S3Bucket()
HOSTILE = (
    "plain.txt",
    "folder/with/files.bin",
    "folder",
    "a folder marker/",
    "with space and ümläut 漢字 😀.txt",
    "quote'\"$(touch x)`.txt",
    "percent%2Fencoded+plus&amp;.txt",
    "double//slash",
    "/leading slash",
    "up/../../../etc/passwd",
    "..",
    "dot/./dot",
    "back\\slash",
    "a\ttab",
    "delete \x7f and \x85 next line",
    "-rf",
    "x" * 1024,
    "é" * 300,
)


@pytest.fixture
def minio() -> Iterator[tuple[Instance, Any]]:
    with store() as found:
        yield found


def objects(client: Any, bucket: str) -> dict[str, bytes]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return {k: client.get_object(Bucket=bucket, Key=k)["Body"].read() for k in keys}


def test_hostile_names_come_back(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    instance, client = minio
    client.create_bucket(Bucket="names")
    for number, key in enumerate(HOSTILE):
        client.put_object(Bucket="names", Key=key, Body=f"{number} {key}".encode())
    artifact = back_up(KIND, instance, tmp_path)
    held = objects(client, "names")
    assert held.keys() == set(HOSTILE)
    empty(client)
    KIND.restore(bench(), instance, artifact)
    assert objects(client, "names") == held
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences
    assert comparison.compared >= len(HOSTILE)
    assert KIND.check(bench(), artifact, "") == []


def test_metadata_tags_and_settings_come_back(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    instance, client = minio
    client.create_bucket(Bucket="set")
    client.create_bucket(Bucket="empty")
    policy = '{"Version": "2012-10-17", "Statement": []}'
    client.put_bucket_policy(Bucket="set", Policy=policy)
    client.put_bucket_versioning(Bucket="set", VersioningConfiguration={"Status": "Enabled"})
    rule = {
        "ID": "old",
        "Status": "Enabled",
        "Filter": {"Prefix": "tmp/"},
        "Expiration": {"Days": 7},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket="set", LifecycleConfiguration={"Rules": [rule]}
    )
    client.put_bucket_cors(
        Bucket="set",
        CORSConfiguration={
            "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://example.org"]}]
        },
    )
    client.put_bucket_tagging(Bucket="set", Tagging={"TagSet": [{"Key": "team", "Value": "data"}]})
    carried = {
        "ContentType": "text/html; charset=utf-8",
        "ContentEncoding": "gzip",
        "ContentDisposition": 'attachment; filename="a b.html"',
        "ContentLanguage": "de",
        "CacheControl": "max-age=60",
        "Metadata": {"author": "someone", "empty": ""},
    }
    client.put_object(Bucket="set", Key="page", Body=b"page", Tagging="a=1&b=x%20y", **carried)
    client.put_object(Bucket="set", Key="twice", Body=b"old")
    client.put_object(Bucket="set", Key="twice", Body=b"new")
    client.put_object(Bucket="set", Key="gone", Body=b"gone")
    client.delete_object(Bucket="set", Key="gone")
    client.put_object(Bucket="set", Key="large", Body=b"0123456789abcdef" * (1 << 20))
    artifact = back_up(KIND, instance, tmp_path)
    empty(client)
    client.create_bucket(Bucket="set")
    client.put_object(Bucket="set", Key="not in the backup", Body=b"x")
    KIND.restore(bench(), instance, artifact)

    head = client.head_object(Bucket="set", Key="page")
    assert {name: head[name] for name in carried} == carried
    tags = client.get_object_tagging(Bucket="set", Key="page")["TagSet"]
    assert {one["Key"]: one["Value"] for one in tags} == {"a": "1", "b": "x y"}
    held = objects(client, "set")
    assert held.keys() == {"page", "twice", "large"}
    assert held["twice"] == b"new"
    assert held["large"] == b"0123456789abcdef" * (1 << 20)
    assert client.get_bucket_policy(Bucket="set")["Policy"] == policy
    assert client.get_bucket_versioning(Bucket="set")["Status"] == "Enabled"
    rules = client.get_bucket_lifecycle_configuration(Bucket="set")["Rules"]
    assert rules[0]["Expiration"] == {"Days": 7}
    assert client.get_bucket_cors(Bucket="set")["CORSRules"][0]["AllowedMethods"] == ["GET"]
    assert client.get_bucket_tagging(Bucket="set")["TagSet"] == [{"Key": "team", "Value": "data"}]
    assert objects(client, "empty") == {}
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences


def test_a_second_backup_stores_only_what_changed(
    minio: tuple[Instance, Any], tmp_path: Path
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bucket")
    for number in range(20):
        client.put_object(Bucket="bucket", Key=f"o{number}", Body=bytes([number]) * 5000)
    back_up(KIND, instance, tmp_path)
    client.put_object(Bucket="bucket", Key="o3", Body=b"changed")
    client.put_object(Bucket="bucket", Key="new", Body=b"new")
    client.delete_object(Bucket="bucket", Key="o4")
    client.put_object_tagging(
        Bucket="bucket", Key="o5", Tagging={"TagSet": [{"Key": "seen", "Value": "yes"}]}
    )
    second = back_up(KIND, instance, tmp_path, days=1)
    assert second.manifest.figures["tree_files_stored"] == 3
    assert second.manifest.figures["tree_files_unchanged"] == 17
    held = objects(client, "bucket")
    empty(client)
    KIND.restore(bench(), instance, second)
    assert objects(client, "bucket") == held
    assert client.get_object_tagging(Bucket="bucket", Key="o5")["TagSet"][0]["Value"] == "yes"


def test_differences_are_seen(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bucket")
    for key in ("same", "content", "type", "tag", "gone"):
        client.put_object(Bucket="bucket", Key=key, Body=b"12345", ContentType="text/plain")
    artifact = back_up(KIND, instance, tmp_path)
    assert compared(KIND, instance, artifact).equal
    client.put_object(Bucket="bucket", Key="content", Body=b"54321", ContentType="text/plain")
    client.put_object(Bucket="bucket", Key="type", Body=b"12345", ContentType="text/html")
    client.put_object_tagging(
        Bucket="bucket", Key="tag", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    )
    client.delete_object(Bucket="bucket", Key="gone")
    client.put_object(Bucket="bucket", Key="more", Body=b"12345")
    found = " ".join(compared(KIND, instance, artifact).differences)
    for key in ("bucket/content", "bucket/type", "bucket/tag", "bucket/gone", "bucket/more"):
        assert key in found
    assert "bucket/same" not in found


def test_an_object_that_changes_meanwhile_is_whole(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmstack_ops.adapters.stores.s3 import objects as s3_objects

    instance, client = minio
    client.create_bucket(Bucket="bucket")
    for number in range(5):
        client.put_object(Bucket="bucket", Key=f"o{number}", Body=b"first")
    opened = s3_objects.Objects.open
    changed: list[str] = []

    def meddle(self: s3_objects.Objects, file: Any) -> Any:
        if not changed:
            changed.append(file.path)
            client.put_object(
                Bucket="bucket", Key=file.path.partition("/")[2], Body=b"second, longer"
            )
            client.delete_object(Bucket="bucket", Key="o4")
        return opened(self, file)

    monkeypatch.setattr(s3_objects.Objects, "open", meddle)
    artifact = back_up(KIND, instance, tmp_path)
    stored = {f.path: c.read() for f, c in artifact.contents() if c is not None}
    assert stored[changed[0]] == b"second, longer"
    assert stored.keys() >= {f"bucket/o{number}" for number in range(4)}
    empty(client)
    monkeypatch.undo()
    KIND.restore(bench(), instance, artifact)
    comparison = compared(KIND, instance, artifact)
    assert comparison.equal, comparison.differences


def test_many_small_objects(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    instance, client = minio
    client.create_bucket(Bucket="many")

    def put(number: int) -> None:
        client.put_object(Bucket="many", Key=f"{number % 7}/{number}", Body=b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(200)))
    artifact = back_up(KIND, instance, tmp_path)
    assert artifact.manifest.figures["objects"] == 200
    client.delete_object(Bucket="many", Key="1/8")
    KIND.restore(bench(), instance, artifact)
    assert client.get_object(Bucket="many", Key="1/8")["Body"].read() == b"8"
    assert compared(KIND, instance, artifact).equal


def test_only_the_buckets_of_the_schema(tmp_path: Path) -> None:
    with store(include=["app-*"]) as (instance, client):
        for bucket in ("app-a", "other"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="k", Body=b"v")
        artifact = back_up(KIND, instance, tmp_path)
        assert [file.path for file in artifact.files()] == ["app-a/k"]
        KIND.restore(bench(), instance, artifact)
        assert objects(client, "other") == {"k": b"v"}


def test_an_empty_store(minio: tuple[Instance, Any], tmp_path: Path) -> None:
    instance, _ = minio
    artifact = back_up(KIND, instance, tmp_path)
    KIND.restore(bench(), instance, artifact)
    assert compared(KIND, instance, artifact).equal


def test_a_bucket_that_the_backup_does_not_name_is_no_difference(
    minio: tuple[Instance, Any], tmp_path: Path
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="documents")
    client.put_object(Bucket="documents", Key="a", Body=b"1")
    artifact = back_up(S3Bucket(), instance, tmp_path)
    client.create_bucket(Bucket="younger")
    client.put_object(Bucket="younger", Key="b", Body=b"2")
    client.delete_object(Bucket="documents", Key="a")
    S3Bucket().restore(bench(), instance, artifact)
    assert compared(S3Bucket(), instance, artifact).equal
    assert client.get_object(Bucket="younger", Key="b")["Body"].read() == b"2"


def test_a_large_object_comes_back_in_parts(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_upload, "_SMALL", 5 << 20)
    instance, client = minio
    content = os.urandom(12 << 20)
    client.create_bucket(Bucket="documents")
    client.put_object(Bucket="documents", Key="large", Body=content, Metadata={"kind": "video"})
    artifact = back_up(S3Bucket(), instance, tmp_path)
    client.delete_object(Bucket="documents", Key="large")
    S3Bucket().restore(bench(), instance, artifact)
    answer = client.get_object(Bucket="documents", Key="large")
    assert answer["Body"].read() == content
    assert answer["Metadata"] == {"kind": "video"}
    assert answer["ETag"].strip('"').endswith("-3")
