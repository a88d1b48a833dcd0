"""What we write restores exactly with sh, age, zstd and tar, and nothing of ours."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.manifest import Manifest
from tests.operations.backups.fakes import FolderTier
from tests.operations.backups.sample_backups import NOW, opener, ref_at, scan, take_dump, take_tree

pytestmark = pytest.mark.skipif(
    (shutil.which("age") is None or shutil.which("zstd") is None) and not os.environ.get("CI"),
    reason="needs the programs age and zstd (`make lab-up` installs them)",
)


def restore_by_hand(tier: FolderTier, manifest: Manifest, folder: Path, key: Path) -> None:
    """Run the manifest's lines, all but the type's own, as an operator would."""
    folder.mkdir()
    own = "\n".join(manifest.restore_by_hand[:-1])
    done = subprocess.run(
        ["sh", "-eu", "-c", own],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "FROM": str(tier.root / manifest.ref.prefix.rstrip("/")),
            "KEY": str(key),
        },
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr


def snapshot(root: Path) -> dict[str, object]:
    """Everything a restore must bring back."""
    found: dict[str, object] = {}
    for file in scan(root):
        path = root / file.path
        content = path.read_bytes() if file.kind == "file" else file.target
        found[file.path] = (file.kind, file.mode, file.uid, file.gid, file.mtime_ns, content)
    return found


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_dump_comes_back(tmp_path: Path, identity: Path, recipient: str, encrypted: bool) -> None:
    tier = FolderTier(tmp_path / "tier")
    content = random.Random(1).randbytes(3_000_000)
    packing = Packing(recipients=(recipient,) if encrypted else ())
    manifest = take_dump(tier, content=content, packing=packing)
    restore_by_hand(tier, manifest, tmp_path / "restored", identity)
    assert (tmp_path / "restored" / "app.dump").read_bytes() == content
    assert manifest.restore_by_hand[-1] == "pg_restore -d app app.dump"


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_tree_comes_back_after_a_random_history(
    tmp_path: Path, identity: Path, recipient: str, encrypted: bool
) -> None:
    """Files become folders and links and back; each backup restores exactly, old ones too."""
    chance = random.Random(7)
    tier = FolderTier(tmp_path / "tier")
    source = tmp_path / "source"
    source.mkdir()
    packing = Packing(threads=0, recipients=(recipient,) if encrypted else ())
    names = [b"a", b"b c", "grüße".encode(), b"new\nline", b"\xff\xfe", b"x" * 200, b"-rf", b"{}"]
    history: list[tuple[Manifest, dict[str, object]]] = []
    for round_number in range(8):
        for _ in range(12):
            _edit(source, chance, names)
        taken = take_tree(
            tier,
            scan(source),
            opener(source),
            packing=packing,
            keys=Keys(identity),
            pack_bytes=60_000,
            ref=ref_at(NOW + timedelta(days=round_number), service="n8n"),
            now=NOW + timedelta(days=round_number),
        )
        history.append((taken, snapshot(source)))
    reused = sum(manifest.figures["tree_files_unchanged"] for manifest, _ in history)
    assert reused > 10
    for number, (manifest, expected) in enumerate(history):
        restored = tmp_path / f"restored-{number}"
        restore_by_hand(tier, manifest, restored, identity)
        assert snapshot(restored / "tree") == expected


def _edit(root: Path, chance: random.Random, names: list[bytes]) -> None:
    """Change one place of a tree to anything else."""
    depth = chance.randint(1, 3)
    path = root.joinpath(*map(os.fsdecode, chance.choices(names, k=depth)))
    for parent in reversed(path.relative_to(root).parents):
        above = root / parent
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            above.unlink()
        above.mkdir(exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    match chance.choice(["file", "file", "file", "symlink", "dir", "nothing", "large"]):
        case "file":
            path.write_bytes(chance.randbytes(chance.choice([0, 1, 512, 3000])))
            path.chmod(chance.choice([0o600, 0o644, 0o4755]))
            os.utime(path, ns=(0, chance.randrange(2 * 10**18)))
        case "large":
            path.write_bytes(b"compressible " * 100_000)
        case "symlink":
            path.symlink_to(chance.choice(["nowhere", "/etc", "a"]))
        case "dir":
            path.mkdir(mode=0o750)
