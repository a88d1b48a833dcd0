"""Measure the sizes of buckets."""

from __future__ import annotations

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.s3.client import s3_client


def bucket_sizes(bench: Workbench, instance: Instance) -> dict[str, int]:
    """Return ``service/bucket`` → size in bytes, for an instance's object store."""
    client = s3_client(instance)
    sizes: dict[str, int] = {}
    for bucket in client.list_buckets()["Buckets"]:
        if bench.cancel.is_set():
            break
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
        sizes[f"{instance.service}/{bucket['Name']}"] = sum(
            item["Size"] for page in pages for item in page.get("Contents", ())
        )
    return sizes
