"""Backups of format 1, written once and committed: every later release must read them.

The fixture is never written again. It was made by ``make_fixture`` below.
"""

from __future__ import annotations

import random
import stat
import threading
from pathlib import Path

import pytest

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.backup_index import list_backups
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import FORMAT
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.operations.backups.verify import verify_copy
from tests.operations.backups.sample_backups import take_dump, take_tree

FIXTURE = Path(__file__).parents[1] / "fixtures" / "backups" / "format-1"
DUMP = BackupRef("testing", "postgres", "full", "20260131T010000Z-00000001")
TREES = (
    BackupRef("testing", "n8n", "full", "20260131T010000Z-00000002"),
    BackupRef("testing", "n8n", "full", "20260201T010000Z-00000003"),
)
ROWS = b"".join(b"%d\tsome text\n" % number for number in range(200))
FIRST = {"data/a.txt": b"first", "data/big.bin": random.Random(5).randbytes(3000)}
SECOND = {**FIRST, "data/a.txt": b"second", "odd\udcff name\n": b"not UTF-8"}
LINKS = [TreeFile("data", "dir", mode=0o750), TreeFile("link", "symlink", target="data/a.txt")]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    # A test key that opens nothing but this fixture; git doesn't keep its mode.
    private = tmp_path / "identity"
    private.write_bytes((FIXTURE / "identity.txt").read_bytes())
    private.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return Keys(private)


def test_a_dump_of_format_1_is_read(keys: Keys) -> None:
    tier = DirectoryTier("local", FIXTURE / "tier")
    manifest = read_manifest(tier, DUMP)
    assert manifest.format == 1 <= FORMAT
    assert manifest.payloads[0].encryption == "age"
    with Artifact(tier, manifest, keys).read(manifest.payloads[0]) as source:
        assert source.read() == ROWS
    assert Artifact(tier, manifest, keys).facts().figures == {"tables": 2}


def test_trees_of_format_1_are_read(keys: Keys) -> None:
    tier = DirectoryTier("local", FIXTURE / "tier")
    for ref, expected in zip(TREES, (FIRST, SECOND), strict=True):
        artifact = Artifact(tier, read_manifest(tier, ref), keys)
        found = list(artifact.contents())
        assert {file.path: source.read() for file, source in found if source} == expected
        assert [file for file, source in found if source is None] == LINKS
        kept = {file.path: file for file in artifact.files()}
        assert kept["data/big.bin"].mtime_ns == 1_700_000_000_123_456_789


def test_format_1_is_listed_and_verified(keys: Keys) -> None:
    tier = DirectoryTier("local", FIXTURE / "tier")
    rows = list_backups([tier]).rows
    assert {row.ref for row in rows} == {DUMP, *TREES}
    for row in rows:
        result = verify_copy(tier, row.ref, keys=keys, throttle=Throttle(threading.Event()))
        assert result.problems == ()
        assert result.whole


def make_fixture(folder: Path) -> None:
    """Write the fixture anew, for a new format under a new name."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    folder.mkdir(parents=True)
    path = folder / "identity.txt"
    path.write_text(f"# A test key: it opens nothing but this fixture.\n{identity}\n")
    path.chmod(0o600)
    keys = Keys(path)
    packing = Packing(threads=0, recipients=(str(identity.to_public()),))
    tier = DirectoryTier("local", folder / "tier")
    take_dump(tier, DUMP, content=ROWS, packing=packing, keys=keys)
    for ref, contents in zip(TREES, (FIRST, SECOND), strict=True):
        files = LINKS + [
            TreeFile(
                name,
                "file",
                size=len(content),
                uid=1000,
                mtime_ns=1_700_000_000_123_456_789,
                version=content[:6].hex(),
            )
            for name, content in contents.items()
        ]
        take_tree(tier, files, contents, ref=ref, packing=packing, keys=keys, now=ref.created)
