"""An export is complete: with it alone, the backup restores by hand."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import ArtifactError
from mmstack_ops.operations.backups.export import export
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import take_dump, take_tree

PACE = Throttle(threading.Event())


@pytest.mark.skipif(
    shutil.which("age") is None and not os.environ.get("CI"),
    reason="needs the program age (`make lab-up` installs it)",
)
def test_an_export_restores_by_its_own_instructions(
    tmp_path: Path, identity: Path, recipient: str
) -> None:
    tier = MemoryTier()
    contents = {f"b/f {number}": bytes([number]) * 9000 for number in range(20)}
    files = [TreeFile(path, "object", size=9000, version="1") for path in contents]
    packing = Packing(threads=0, recipients=(recipient,))
    manifest = take_tree(tier, files, contents, packing=packing, pack_bytes=50_000)
    exported = io.BytesIO()
    written = export(tier, manifest.ref, exported, throttle=PACE, progress=lambda count: None)
    assert written == len(exported.getvalue())
    (tmp_path / "export.tar").write_bytes(exported.getvalue())
    subprocess.run(["tar", "-xf", "export.tar"], cwd=tmp_path, check=True)
    text = (tmp_path / "README.txt").read_text()
    steps = text[text.index("FROM=") :].replace("/path/to/age-identity", str(identity))
    subprocess.run(["sh", "-eu", "-c", steps], cwd=tmp_path, check=True)
    tree = tmp_path / "restored" / "tree"
    assert {path: (tree / path).read_bytes() for path in contents} == contents


def test_a_damaged_backup_is_not_exported() -> None:
    tier = MemoryTier()
    manifest = take_dump(tier)
    key = manifest.key_of(manifest.payloads[0])
    tier.files[key] = b"?" * len(tier.files[key])
    with pytest.raises(ArtifactError, match="is damaged"):
        export(tier, manifest.ref, io.BytesIO(), throttle=PACE, progress=lambda count: None)
    tier.delete([key])
    with pytest.raises(ArtifactError, match="is missing"):
        export(tier, manifest.ref, io.BytesIO(), throttle=PACE, progress=lambda count: None)
