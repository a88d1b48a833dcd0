"""Buckets: old versions, restores that are cut off, and backups of format 1."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.s3.bucket import S3Bucket
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import RestoreError
from tests.adapters.stores.stores import back_up, bench, compared, empty, store

KIND = S3Bucket()


@pytest.fixture
def minio() -> Iterator[tuple[Instance, Any]]:
    with store() as found:
        yield found


def versioned(client: Any) -> None:
    client.create_bucket(Bucket="ver")
    client.put_object(Bucket="ver", Key="once", Body=b"once")
    client.put_bucket_versioning(Bucket="ver", VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket="ver", Key="a", Body=b"first", Metadata={"n": "1"})
    client.put_object(Bucket="ver", Key="a", Body=b"second")
    client.delete_object(Bucket="ver", Key="a")
    client.put_object(Bucket="ver", Key="a", Body=b"third")
    client.put_object(Bucket="ver", Key="gone", Body=b"gone", Tagging="t=1")
    client.delete_object(Bucket="ver", Key="gone")


def history(client: Any, key: str) -> list[bytes | None]:
    """The versions of a key, the oldest first; None is a delete marker."""
    found = client.list_object_versions(Bucket="ver", Prefix=key)
    versions = [
        (one["LastModified"], one.get("ETag") and one["VersionId"])
        for one in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))
        if one["Key"] == key
    ]
    return [
        client.get_object(Bucket="ver", Key=key, VersionId=version)["Body"].read()
        if version
        else None
        for _, version in sorted(versions, key=lambda pair: pair[0])
    ]


def test_old_versions_are_counted_where_they_are_not_taken(
    minio: tuple[Instance, Any], tmp_path: Path
) -> None:
    instance, client = minio
    versioned(client)
    facts = back_up(KIND, instance, tmp_path).facts()
    assert facts.excluded["versions of ver"].startswith("3 old versions and 2 delete markers")


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes between any two writes: moto tells no finer moments."""
    from moto.s3 import models

    usual, last = models.utcnow, [models.utcnow()]

    def now() -> datetime:
        last[0] = max(usual(), last[0] + timedelta(seconds=1))
        return last[0]

    monkeypatch.setattr(models, "utcnow", now)


@pytest.mark.usefixtures("ticking")
def test_all_versions_come_back_in_their_order(tmp_path: Path) -> None:
    with store(versions="all") as (instance, client):
        versioned(client)
        artifact = back_up(KIND, instance, tmp_path)
        assert "versions of ver" not in artifact.facts().excluded
        told = [b"first", b"second", None, b"third"]
        assert history(client, "a") == told
        empty(client)
        KIND.restore(bench(), instance, artifact)
        assert history(client, "a") == told
        assert history(client, "gone") == [b"gone", None]
        assert history(client, "once") == [b"once"]
        comparison = compared(KIND, instance, artifact)
        assert comparison.equal, comparison.differences
        # In place, over what was written since.
        client.put_object(Bucket="ver", Key="a", Body=b"since")
        client.put_object(Bucket="ver", Key="other", Body=b"since")
        assert not compared(KIND, instance, artifact).equal
        KIND.restore(bench(), instance, artifact)
        assert history(client, "a") == told
        assert history(client, "other") == []
        comparison = compared(KIND, instance, artifact)
        assert comparison.equal, comparison.differences


@pytest.mark.usefixtures("ticking")
def test_a_version_that_differs_is_found(tmp_path: Path) -> None:
    with store(versions="all") as (instance, client):
        versioned(client)
        artifact = back_up(KIND, instance, tmp_path)
        first = client.list_object_versions(Bucket="ver", Prefix="a")["Versions"][-1]
        client.delete_object(Bucket="ver", Key="a", VersionId=first["VersionId"])
        found = " ".join(compared(KIND, instance, artifact).differences)
        assert "version 4 of object ver/a is missing" in found


WRITES = ("PutObject", "DeleteObject", "CreateBucket", "PutBucketVersioning", "PutBucketPolicy")


@pytest.mark.parametrize("step", range(6))
def test_a_restore_that_is_cut_off_leaves_the_old_or_the_new(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The store goes away after ``step`` writes: no object of the backup is gone."""
    from mmstack_ops.adapters.stores.s3 import bucket as s3_bucket

    instance, client = minio
    client.create_bucket(Bucket="bkt")
    client.put_bucket_policy(Bucket="bkt", Policy='{"Version": "2012-10-17", "Statement": []}')
    for number in range(3):
        client.put_object(Bucket="bkt", Key=f"o{number}", Body=b"new")
    artifact = back_up(KIND, instance, tmp_path)
    for number in range(3):
        client.put_object(Bucket="bkt", Key=f"o{number}", Body=b"old")
    client.put_object(Bucket="bkt", Key="extra", Body=b"old")
    client.delete_bucket_policy(Bucket="bkt")
    usual = s3_bucket.s3_client
    done: list[str] = []

    def cut_off(instance: Instance) -> Any:
        made = usual(instance)

        def fail(model: Any, **_: Any) -> None:
            if model.name in WRITES:
                if len(done) >= step:
                    raise EndpointConnectionError(endpoint_url="http://store")
                done.append(model.name)

        made.meta.events.register("before-call.s3", fail)
        return made

    monkeypatch.setattr(s3_bucket, "s3_client", cut_off)
    if step < 5:
        with pytest.raises(RestoreError):
            KIND.restore(bench(), instance, artifact)
    else:
        KIND.restore(bench(), instance, artifact)
    held = {
        one["Key"]: client.get_object(Bucket="bkt", Key=one["Key"])["Body"].read()
        for one in client.list_objects_v2(Bucket="bkt")["Contents"]
    }
    assert {held[f"o{n}"] for n in range(3)} <= {b"old", b"new"}
    if "extra" not in held:
        assert {held[f"o{n}"] for n in range(3)} == {b"new"}
    monkeypatch.undo()
    KIND.restore(bench(), instance, artifact)
    assert compared(KIND, instance, artifact).equal


def test_a_backup_of_format_1_is_restored_and_compared(
    minio: tuple[Instance, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its facts have one digest for all settings of a bucket, and a shorter text of an object."""
    from mmstack_ops.adapters.stores.s3 import bucket as s3_bucket
    from mmstack_ops.adapters.stores.s3.attributes import described_first
    from mmstack_ops.adapters.stores.s3.settings import FIRST_FORMAT, settings_digest

    instance, client = minio
    client.create_bucket(Bucket="old")
    client.put_object(Bucket="old", Key="k", Body=b"1", Metadata={"a": "b"}, Tagging="t=1")
    client.put_bucket_tagging(Bucket="old", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    document = s3_bucket.Inventory.document

    def first_document(self: Any, histories: Any) -> dict[str, Any]:
        found = document(self, histories)
        return {name: found[name] for name in ("settings", "deleted")}

    def first_facts(objects: Any, seen: Any, _: Any, after: Any, inventory: Any, *__: Any) -> Facts:
        first = {
            name: value
            for name, value in inventory.settings["old"].values.items()
            if name in FIRST_FORMAT
        }
        return Facts(
            figures={"buckets": 1, "objects": len(after), "bytes": 1},
            items={
                "object old/k": described_first(seen["old/k"])
                + f" sha256={objects.digest('old/k')}",
                "bucket old": settings_digest(first),
            },
        )

    monkeypatch.setattr(s3_bucket.Inventory, "document", first_document)
    monkeypatch.setattr(s3_bucket, "stable_facts", first_facts)
    artifact = back_up(KIND, instance, tmp_path)
    assert compared(KIND, instance, artifact).equal
    # What it doesn't speak of stays as it is.
    client.put_bucket_website(
        Bucket="old", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )
    client.put_object(Bucket="old", Key="k", Body=b"2")
    client.delete_bucket_tagging(Bucket="old")
    assert not compared(KIND, instance, artifact).equal
    KIND.restore(bench(), instance, artifact)
    assert client.get_bucket_website(Bucket="old")["IndexDocument"] == {"Suffix": "index.html"}
    assert compared(KIND, instance, artifact).equal


_KILLED = """
import sys, threading, time
from pathlib import Path
from mmstack_ops.adapters.stores.s3 import bucket as s3_bucket
from tests.adapters.stores.stores import bench, instance_at, opened

usual, done = s3_bucket.s3_client, []

def slow(instance):
    client = usual(instance)

    def wait(**_):
        if len(done) > 3:
            print("now", flush=True)
            time.sleep(60)

    client.meta.events.register("before-call.s3.PutObject", wait)
    client.meta.events.register("after-call.s3.PutObject", lambda **_: done.append(1))
    return client

s3_bucket.s3_client = slow
s3_bucket.S3Bucket().restore(bench(), instance_at(int(sys.argv[1])), opened(Path(sys.argv[2])))
"""


def test_a_killed_restore_leaves_every_object_old_or_new(
    minio: tuple[Instance, Any], tmp_path: Path
) -> None:
    instance, client = minio
    client.create_bucket(Bucket="bkt")
    for number in range(40):
        client.put_object(Bucket="bkt", Key=f"o{number}", Body=b"new")
    artifact = back_up(KIND, instance, tmp_path)
    for number in range(40):
        client.put_object(Bucket="bkt", Key=f"o{number}", Body=b"old")
    client.put_object(Bucket="bkt", Key="extra", Body=b"old")
    port = instance.definition.ports[0].container
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(port), str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    )
    assert process.stdout is not None
    # Several threads may say it at once.
    assert process.stdout.readline().startswith(b"now")
    process.kill()
    process.wait()
    held = {
        one["Key"]: client.get_object(Bucket="bkt", Key=one["Key"])["Body"].read()
        for one in client.list_objects_v2(Bucket="bkt")["Contents"]
    }
    assert {*held} == {*(f"o{number}" for number in range(40)), "extra"}
    assert {*held.values()} == {b"old", b"new"}
    KIND.restore(bench(), instance, artifact)
    assert compared(KIND, instance, artifact).equal
