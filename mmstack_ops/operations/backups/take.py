"""Take one backup: the backup type captures the data, the pipeline stores it."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance
from mmstack_ops.adapters.stores.instances import find_instance
from mmstack_ops.adapters.stores.registry import backup_type
from mmstack_ops.artifacts.artifact_writer import newest_manifest, taking
from mmstack_ops.artifacts.encryption import Keys, choose_recipients
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.events import BackupDone
from mmstack_ops.domain.errors import BackupError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier
    from mmstack_ops.operations.backups.progress import ProgressReporter
    from mmstack_ops.operations.backups.restore_environment import RestoreEnvironment


def take_backup(
    ref: BackupRef,
    tier: Tier,
    place: RestoreEnvironment,
    *,
    said: ProgressReporter,
    cancel: threading.Event,
    now: datetime,
) -> BackupDone:
    """Take the backup ``ref`` and store it on ``tier``. The caller holds the series' lock.

    Services that an earlier, killed backup left frozen or stopped, and its leftovers, are
    recovered first.

    Raises:
        BackupError: nothing was stored.
        TierError: the tier refused; nothing that looks like a backup is left.
        CancelledError: ``cancel`` was set; likewise.
    """
    begun = time.monotonic()
    tier.check(writing=True)
    kind = backup_type(place.catalogue.services[ref.service].definition, ref.type)
    bench = place.bench(cancel)
    for line in bench.recover():
        said.warn(f"an earlier run was killed: {line}")
    instance = _source(place, ref.service, kind)
    policy = place.catalogue.schema.backup
    previous = newest_manifest(tier, ref.series, now=now, tell=said.warn) if kind.tree else None
    said.tell(f"backing up {ref.service} ({ref.type}) to {tier.name}", "capturing")
    with taking(
        tier,
        ref,
        project=place.catalogue.schema.config.project,
        image=instance.spec.image,
        packing=Packing(
            level=policy.compression_level,
            threads=policy.compression_threads,
            recipients=choose_recipients(place.values.variables, policy.encryption),
            rate_limit=policy.rate_limit,
        ),
        keys=Keys(place.project.settings.age_identity),
        cancel=cancel,
        tell=said.tell,
        progress=said.count,
        previous=previous,
    ) as capture:
        kind.capture(bench, instance, capture)
    assert capture.manifest is not None
    if not capture.manifest.covers_all:
        said.warn(f"{ref} isn't complete; {capture.manifest.not_covered_text()}")
    return BackupDone(
        manifest=capture.manifest,
        tier=tier.name,
        seconds=time.monotonic() - begun,
        written_bytes=capture.written_bytes,
    )


def _source(place: RestoreEnvironment, service: str, kind: BackupType) -> Instance:
    """Return the instance to back up: the container, or the planned instance."""
    if not kind.needs_running:
        return place.find(service) or place.planned_instance(service)
    try:
        return find_instance(place.project, place.catalogue, place.values, place.engine, service)
    except BackupError as error:
        raise BackupError(
            f"{service} ({kind.name}) can't be backed up: {error.what}",
            why=error.why,
            remedy=error.remedy,
        ) from None
