"""S3 object stores: buckets with their settings, retention of objects, sizes."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="s3",
    backup_types={"bucket": "bucket.S3Bucket"},
    retention={"objects": "retention_objects.S3Objects"},
)
