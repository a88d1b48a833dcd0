"""Backups to try things on: taken by the real code, of data made here."""

from __future__ import annotations

import io
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.artifacts.artifact_writer import newest_manifest, taking
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.backups.tier import Tier

NOW = datetime(2026, 1, 31, 1, 0, 0, tzinfo=UTC)
NO_KEYS = Keys(None)
_counter = itertools.count(1)


def ref_at(
    moment: datetime = NOW, *, service: str = "postgres", type_name: str = "full"
) -> BackupRef:
    """Return a new backup's name."""
    return BackupRef("testing", service, type_name, new_id(moment, os.urandom(4)))


def take_dump(
    tier: Tier,
    ref: BackupRef | None = None,
    *,
    content: bytes = b"rows\n" * 1000,
    packing: Packing | None = None,
    keys: Keys = NO_KEYS,
    cancel: threading.Event | None = None,
    during: Callable[[BinaryIO], object] = lambda target: None,
) -> Manifest:
    """Take a backup of one payload, as a database's would be."""
    with taking(
        tier,
        ref or ref_at(),
        project="lab",
        image="lab/postgres:15",
        packing=packing or Packing(threads=0),
        keys=keys,
        cancel=cancel or threading.Event(),
        tell=lambda message: None,
    ) as capture:
        with capture.payload("app.dump", "dump", attributes={"database": "app"}) as target:
            target.write(content)
            during(target)
        capture.note(
            method="pg_dump in one transaction",
            versions={"postgresql": "15.4"},
            restore_by_hand=["pg_restore -d app app.dump"],
            facts=Facts(figures={"tables": 2}, items={"app.rows": "1000 aa"}),
        )
    assert capture.manifest is not None
    return capture.manifest


def take_tree(
    tier: Tier,
    files: list[TreeFile],
    contents: Mapping[str, bytes] | Callable[[TreeFile], BinaryIO],
    *,
    ref: BackupRef | None = None,
    packing: Packing | None = None,
    keys: Keys = NO_KEYS,
    pack_bytes: int = 1 << 20,
    told: list[str] | None = None,
    now: datetime = NOW,
) -> Manifest:
    """Take a backup of a tree, incremental to the newest of its series on the tier."""
    ref = ref or ref_at(service="minio", type_name="bucket")
    told = told if told is not None else []

    def open_file(file: TreeFile) -> BinaryIO:
        if callable(contents):
            return contents(file)
        return io.BytesIO(contents[file.path])

    with taking(
        tier,
        ref,
        project="lab",
        image="lab/minio:1",
        packing=packing or Packing(threads=0),
        keys=keys,
        cancel=threading.Event(),
        tell=told.append,
        previous=newest_manifest(tier, ref.series, now=now, tell=told.append),
        pack_bytes=pack_bytes,
    ) as capture:
        capture.tree(iter(files), open_file)
        capture.note(
            method="files read while nothing changed",
            versions={},
            restore_by_hand=["# tree/ now holds the files"],
            facts=Facts(),
        )
    assert capture.manifest is not None
    return capture.manifest


def scan(root: Path) -> list[TreeFile]:
    """List a real folder the way the volume types do."""
    found: list[TreeFile] = []
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        kind = {stat.S_IFLNK: "symlink", stat.S_IFDIR: "dir"}.get(
            stat.S_IFMT(state.st_mode), "file"
        )
        found.append(
            TreeFile(
                path=str(path.relative_to(root)),
                kind=kind,
                size=state.st_size if kind == "file" else 0,
                mode=stat.S_IMODE(state.st_mode),
                uid=state.st_uid,
                gid=state.st_gid,
                mtime_ns=state.st_mtime_ns,
                target=str(path.readlink()) if kind == "symlink" else "",
                version=f"{state.st_ino}-{state.st_ctime_ns}" if kind == "file" else "",
            )
        )
    return found


def opener(root: Path) -> Callable[[TreeFile], BinaryIO]:
    """Return what opens the files of ``scan``."""
    return lambda file: cast("BinaryIO", (root / file.path).open("rb", buffering=0))


def read_back(tier: Tier, manifest: Manifest, keys: Keys = NO_KEYS) -> dict[str, bytes]:
    """Return path → content of a stored tree."""
    return {
        file.path: source.read()
        for file, source in Artifact(tier, manifest, keys).contents()
        if source is not None
    }


def plain_of(tier: Tier, manifest: Manifest, keys: Keys = NO_KEYS) -> Iterator[bytes]:
    """Yield the plain bytes of every payload."""
    artifact = Artifact(tier, manifest, keys)
    for payload in manifest.payloads:
        with artifact.read(payload) as source, closing(source):
            yield source.read()
