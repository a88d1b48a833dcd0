"""Many small objects: ten thousand are a minute and a half of requests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.s3.bucket import S3Bucket
from mmstack_ops.adapters.stores.s3.client import s3_client
from tests.adapters.stores.stores import back_up, bench, instance_at
from tests.integration.backups.plain_store import BUCKET

pytestmark = pytest.mark.integration

KIND = S3Bucket()


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.soak)])
def test_many_small_objects(tmp_path: Path, count: int) -> None:
    """The first backup takes them all, the next nothing; one that was lost comes back."""
    with many_objects(count) as instance:
        client = s3_client(instance)
        first = back_up(KIND, instance, tmp_path)
        assert first.manifest.figures["objects"] == count
        # Together in one file: a file for each would cost every tier as many requests.
        packs = list(tmp_path.glob("*/*/*/packs/*"))
        assert len(packs) == 1
        client.delete_object(Bucket=BUCKET, Key="1/8.txt")
        second = back_up(KIND, instance, tmp_path, days=1)
        assert second.manifest.figures["objects"] == count - 1
        assert list(tmp_path.glob("*/*/*/packs/*")) == packs
        KIND.restore(bench(), instance, first)
        assert client.get_object(Bucket=BUCKET, Key="1/8.txt")["Body"].read() == b"object 8"


@contextmanager
def many_objects(count: int) -> Iterator[Instance]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.backups.plain_store", str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield instance_at(int(server.stdout.readline()))
    finally:
        server.kill()
        server.communicate()
