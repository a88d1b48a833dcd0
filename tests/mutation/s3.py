"""Buckets: faults in objects, what they carry, and the settings of buckets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.stores.s3.bucket import S3Bucket
from mmstack_ops.adapters.stores.s3.client import s3_client
from tests.adapters.stores.stores import bench, store
from tests.mutation.subject import Counts, Fault, Subject

Client = Any
BUCKET = "photos"
OBJECTS = 20
_PAGE = {
    "Bucket": BUCKET,
    "Key": "page",
    "Body": b"page",
    "ContentType": "text/html; charset=utf-8",
    "ContentEncoding": "gzip",
    "ContentDisposition": 'attachment; filename="a b.html"',
    "ContentLanguage": "de",
    "CacheControl": "max-age=60",
    "Metadata": {"author": "someone", "camera": "old"},
    "Tagging": "a=1&b=2",
}
_POLICY = '{"Version": "2012-10-17", "Statement": []}'
_OTHER_POLICY = '{"Version": "2012-10-17", "Id": "other", "Statement": []}'
_LIFECYCLE = {"Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "tmp/"},
                         "Expiration": {"Days": 7}}]}  # fmt: skip
_CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://example.org"]}]}


def _put(key: str, body: bytes, **more: Any) -> Callable[[Client], object]:
    return lambda c: c.put_object(Bucket=BUCKET, Key=key, Body=body, **more)


def _page(**changes: Any) -> Callable[[Client], object]:
    """Store the page again, with something it carries changed or (None) gone."""
    kept = {name: value for name, value in {**_PAGE, **changes}.items() if value is not None}
    return lambda c: c.put_object(**kept)


def _swap(c: Client) -> None:
    for key, other in (("object 1", "object 2"), ("object 2", "object 1")):
        c.put_object(Bucket=BUCKET, Key=key, Body=f"this is {other}".encode())


FAULTS: dict[str, Callable[[Client], object]] = {
    "an object gone": lambda c: c.delete_object(Bucket=BUCKET, Key="object 7"),
    "an object more": _put("planted", b"x"),
    "an object of other bytes": _put("object 7", b"this was object 7"),
    "an object of other bytes, as long": _put("object 7", b"this is 0bject 7"),
    "the bytes of two objects swapped": _swap,
    "an object emptied": _put("object 7", b""),
    "an object cut off": _put("large", b"0123456789abcdef" * 1000),
    "one byte of a large object": _put("large", b"0123456789abcdef" * 65_535 + b"0123456789abcdeF"),
    "an object under another name": lambda c: (
        c.delete_object(Bucket=BUCKET, Key="object 7"),
        c.put_object(Bucket=BUCKET, Key="object  7", Body=b"this is object 7"),
    ),
    "a folder's mark gone": lambda c: c.delete_object(Bucket=BUCKET, Key="a folder/"),
    "metadata gone": _page(Metadata=None),
    "one of two metadata gone": _page(Metadata={"author": "someone"}),
    "metadata changed": _page(Metadata={"author": "nobody", "camera": "old"}),
    "another content type": _page(ContentType="text/plain"),
    "the encoding gone": _page(ContentEncoding=None),
    "the disposition gone": _page(ContentDisposition=None),
    "another language": _page(ContentLanguage="en"),
    "the rule for caches gone": _page(CacheControl=None),
    "the tags gone": _page(Tagging=None),
    "a tag changed": _page(Tagging="a=1&b=3"),
    "a bucket gone": lambda c: c.delete_bucket(Bucket="empty"),
    "a bucket more": lambda c: c.create_bucket(Bucket="planted"),
    "a bucket's policy gone": lambda c: c.delete_bucket_policy(Bucket=BUCKET),
    "another policy": lambda c: c.put_bucket_policy(Bucket=BUCKET, Policy=_OTHER_POLICY),
    "the lifecycle gone": lambda c: c.delete_bucket_lifecycle(Bucket=BUCKET),
    "a lifecycle that deletes at once": lambda c: c.put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={"Rules": [{**_LIFECYCLE["Rules"][0], "Expiration": {"Days": 1}}]},
    ),
    "the rules for other origins gone": lambda c: c.delete_bucket_cors(Bucket=BUCKET),
    "versions suspended": lambda c: c.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    ),
    "the tags of a bucket gone": lambda c: c.delete_bucket_tagging(Bucket=BUCKET),
    "the encryption of a bucket gone": lambda c: c.delete_bucket_encryption(Bucket=BUCKET),
    "the notifications of a bucket gone": lambda c: c.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={}
    ),
    "the block of public access gone": lambda c: c.delete_public_access_block(Bucket=BUCKET),
    "the website of a bucket gone": lambda c: c.delete_bucket_website(Bucket=BUCKET),
    "a bucket that everybody may read": lambda c: c.put_bucket_acl(
        Bucket=BUCKET, ACL="public-read"
    ),
    "an object that everybody may read": lambda c: c.put_object_acl(
        Bucket=BUCKET, Key="object 7", ACL="public-read"
    ),
    "all objects gone": lambda c: [
        c.delete_object(Bucket=BUCKET, Key=f"object {number}") for number in range(OBJECTS)
    ],
}


class Buckets(Subject):
    """A store that is source and copy."""

    name = "s3 bucket"

    @property
    def client(self) -> Client:
        return s3_client(self.copy)

    @property
    def faults(self) -> Sequence[Fault]:
        return [Fault(name, _on_copy(plant)) for name, plant in FAULTS.items()]

    def change(self, step: int) -> None:
        _put(f"new {step}", b"x" * step)(self.client)
        _put(f"object {step % 10}", f"changed in {step}".encode())(self.client)
        self.client.delete_object(Bucket=BUCKET, Key=f"object {10 + step % 10}")
        _page(Tagging=f"step={step}")(self.client)

    def counts(self) -> Counts:
        found: dict[str, int] = {}
        for bucket in self.client.list_buckets()["Buckets"]:
            name = bucket["Name"]
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=name)
            sizes = [one["Size"] for page in pages for one in page.get("Contents", ())]
            found |= {f"{name} objects": len(sizes), f"{name} bytes": sum(sizes)}
        return found


@contextmanager
def subject(folder: Path) -> Iterator[Buckets]:
    """Start a store, fill it, and take the first backup of it."""
    # One line for each request would hide the score.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with store() as (instance, client):
        _fill(client)
        copy = replace(instance, scratch=True)
        found = Buckets(folder / "tier", S3Bucket(), instance, copy, bench())
        found.back_up()
        yield found


def _fill(c: Client) -> None:
    for bucket in (BUCKET, "empty"):
        c.create_bucket(Bucket=bucket)
    for number in range(OBJECTS):
        _put(f"object {number}", f"this is object {number}".encode())(c)
    _put("large", b"0123456789abcdef" * 65_536)(c)
    _put("a folder/", b"")(c)
    _page()(c)
    c.put_bucket_policy(Bucket=BUCKET, Policy=_POLICY)
    c.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=_LIFECYCLE)
    c.put_bucket_cors(Bucket=BUCKET, CORSConfiguration=_CORS)
    c.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    c.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "team", "Value": "data"}]})
    c.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    queue = {"QueueArn": "arn:aws:sqs:us-east-1:123456789012:q", "Events": ["s3:ObjectCreated:*"]}
    c.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [queue]}
    )
    blocked = {"BlockPublicPolicy": True, "BlockPublicAcls": False, "IgnorePublicAcls": False}
    c.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={**blocked, "RestrictPublicBuckets": False},
    )
    c.put_bucket_website(
        Bucket=BUCKET, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )


def _on_copy(plant: Callable[[Client], object]) -> Callable[[Buckets], None]:
    def planted(subject: Buckets) -> None:
        plant(subject.client)

    return planted
