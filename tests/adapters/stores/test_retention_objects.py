"""Objects of a bucket: versions, markers and uploads by their time, and rules of the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.s3.retention_objects import S3Objects
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.schema.retention import ObjectsRule
from tests.adapters.stores.retention_sites import site
from tests.adapters.stores.stores import store

KIND = S3Objects()
# moto gives everything the time of this very moment: what is to be old is judged from tomorrow.
TOMORROW = -1.0


def rule(**changes: object) -> ObjectsRule:
    return ObjectsRule.model_validate({"strategy": "objects", "bucket": "temp", **changes})


@pytest.fixture
def minio() -> Iterator[tuple[Instance, Any]]:
    with store() as (instance, client):
        client.create_bucket(Bucket="temp")
        yield instance, client


def keys(client: Any) -> set[str]:
    return {one["Key"] for one in client.list_objects_v2(Bucket="temp").get("Contents", ())}


def test_old_objects_below_the_prefix_go(minio: tuple[Instance, Any]) -> None:
    instance, client = minio
    for key in ("in/a", "in/ü 漢", "out/b"):
        client.put_object(Bucket="temp", Key=key, Body=b"12345")
    here = site(instance, days=TOMORROW)
    found = KIND.look(here, rule(prefix="in/"))
    assert (found.total, found.expired, found.freed_bytes) == (2, 2, 10)
    assert KIND.clean(here, rule(prefix="in/")).count == 2
    assert keys(client) == {"out/b"}


def test_what_is_young_stays(minio: tuple[Instance, Any]) -> None:
    instance, client = minio
    client.put_object(Bucket="temp", Key="a", Body=b"1")
    assert KIND.look(site(instance, days=1), rule()).expired == 0
    assert KIND.clean(site(instance, days=1), rule()).count == 0
    assert keys(client) == {"a"}


def test_versions_and_markers_go_too(minio: tuple[Instance, Any]) -> None:
    instance, client = minio
    enabled = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket="temp", VersioningConfiguration=enabled)
    for body in (b"first", b"second"):
        client.put_object(Bucket="temp", Key="a", Body=body)
    client.delete_object(Bucket="temp", Key="a")
    here = site(instance, days=TOMORROW)
    assert KIND.look(here, rule()).expired == 3
    assert KIND.clean(here, rule()).count == 3
    left = client.list_object_versions(Bucket="temp")
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


def test_more_than_one_request_deletes(minio: tuple[Instance, Any]) -> None:
    instance, client = minio
    for number in range(1005):
        client.put_object(Bucket="temp", Key=f"{number:04}", Body=b"")
    assert KIND.clean(site(instance, days=TOMORROW), rule()).count == 1005
    assert keys(client) == set()


def test_a_bucket_that_is_not_there_is_an_error(minio: tuple[Instance, Any]) -> None:
    instance, _ = minio
    with pytest.raises(RetentionError, match="has no bucket none"):
        KIND.look(site(instance, days=1), rule(bucket="none"))


def test_the_store_gets_a_rule_and_keeps_those_of_others(minio: tuple[Instance, Any]) -> None:
    instance, client = minio
    other = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "x/"},
        "Expiration": {"Days": 3},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket="temp", LifecycleConfiguration={"Rules": [other]}
    )
    client.put_object(Bucket="temp", Key="a", Body=b"1")
    wanted = rule(by="lifecycle")
    assert KIND.look(site(instance, days=TOMORROW), wanted).expired == 1
    KIND.clean(site(instance, days=30), wanted)
    rules = client.get_bucket_lifecycle_configuration(Bucket="temp")["Rules"]
    assert {one["ID"] for one in rules} == {"theirs", "mmstack", "mmstack markers"}
    ours = next(one for one in rules if one["ID"] == "mmstack")
    assert ours["Expiration"]["Days"] == 30
    assert ours["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 30
    # Set: nothing is left to do, and the object is the store's to delete.
    found = KIND.look(site(instance, days=30), wanted)
    assert (found.expired, found.notes) == (0, ("the store's own rule deletes them after 30 d",))
    assert keys(client) == {"a"}
