"""An object store of this process as an instance, and backups of it by the real code."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.s3.client import s3_client
from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.artifacts.artifact_writer import newest_manifest, taking
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.facts import Comparison, compare
from mmstack_ops.domain.schema.service import Port
from tests.operations.backups.sample_backups import NOW, ref_at

USER, PASSWORD = "minio-user", "minio-password"


@dataclass
class QuietBench:
    """What types use of a workbench when they need no container."""

    told: list[str] = field(default_factory=list)
    accept_differences: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)

    def tell(self, message: str) -> None:
        self.told.append(message)


@dataclass
class JournallingBench(QuietBench):
    """One that also keeps a journal, as the real one does."""

    state: Path = Path()

    def journal(self, key: str, undo: Mapping[str, str]) -> AbstractContextManager[None]:
        return self._journal.entry(key, undo)

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        return self._journal.abandoned(begins)

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        return self._journal.leftovers(key)

    @property
    def _journal(self) -> Journal:
        return Journal(self.state / "journal")


def bench() -> Workbench:
    return cast(Workbench, QuietBench())


def instance_at(port: int, **backup_options: Any) -> Instance:
    """An instance whose store listens on this host."""
    made = tool_instance("lab/minio:1", "testing", "minio")
    backup = made.definition.backup.model_copy(update={"method": "s3", **backup_options})
    definition = made.definition.model_copy(
        update={"ports": [Port(name="s3", container=port)], "backup": backup}
    )
    environment = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD}
    return replace(
        made,
        definition=definition,
        spec=replace(made.spec, environment=environment),
        address="127.0.0.1",
        running=True,
    )


@contextmanager
def store(**backup: Any) -> Iterator[tuple[Instance, Any]]:
    """An empty store of its own; gives the instance and a client."""
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    from moto.s3 import models
    from moto.s3.models import get_canned_acl, s3_backends
    from moto.s3.responses import S3Response

    shown = S3Response._acl_to_dict
    lock = models.S3Backend.put_object_lock_configuration

    def lock_at_any_time(self: Any, bucket_name: str, *given: Any, **named: Any) -> None:
        """A default retention may be set for a bucket that holds objects: moto refuses that."""
        bucket = self.get_bucket(bucket_name)
        held, bucket.keys = bucket.keys, models._VersionedKeyStore()
        try:
            lock(self, bucket_name, *given, **named)
        finally:
            bucket.keys = held

    models.S3Backend.put_object_lock_configuration = lock_at_any_time  # type: ignore[method-assign]
    # It answers 500 for objects that came in parts.
    S3Response._acl_to_dict = staticmethod(lambda acl: shown(acl or get_canned_acl("private")))
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.reset()
    try:
        _, port = server.get_host_and_port()
        instance = instance_at(port, **backup)
        yield instance, s3_client(instance)
    finally:
        backend.reset()
        server.stop()
        S3Response._acl_to_dict = staticmethod(shown)
        models.S3Backend.put_object_lock_configuration = lock  # type: ignore[method-assign]


def empty(client: Any) -> None:
    """Take everything away, as somebody does by mistake."""
    for bucket in client.list_buckets()["Buckets"]:
        name = bucket["Name"]
        for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                client.delete_object(Bucket=name, Key=one["Key"], VersionId=one["VersionId"])
        client.delete_bucket(Bucket=name)


def back_up(
    kind: BackupType,
    instance: Instance,
    folder: Path,
    *,
    moment: datetime = NOW,
    days: int = 0,
    at: Workbench | None = None,
) -> Artifact:
    """Back an instance up onto a folder; open what was stored."""
    tier = DirectoryTier("local", folder)
    moment += timedelta(days=days)
    ref = ref_at(moment, service=instance.service, type_name=kind.name)
    with taking(
        tier,
        ref,
        project="lab",
        image=instance.spec.image,
        packing=Packing(threads=0),
        keys=Keys(None),
        cancel=threading.Event(),
        tell=lambda _: None,
        previous=newest_manifest(tier, ref.series, now=moment, tell=lambda _: None),
    ) as capture:
        kind.capture(at or bench(), instance, capture)
    assert capture.manifest is not None
    return Artifact(tier, capture.manifest, Keys(None))


def opened(folder: Path) -> Artifact:
    """Open the newest backup of ``back_up`` in a folder."""
    tier = DirectoryTier("local", folder)
    ref = ref_at(NOW, service="minio", type_name="bucket")
    manifest = newest_manifest(tier, ref.series, now=NOW, tell=lambda _: None)
    assert manifest is not None
    return Artifact(tier, manifest, Keys(None))


def compared(
    kind: BackupType, instance: Instance, artifact: Artifact, *, at: Workbench | None = None
) -> Comparison:
    """Compare what an instance holds now with what was recorded."""
    facts = artifact.facts()
    return compare(facts, kind.inspect(at or bench(), instance, facts))
