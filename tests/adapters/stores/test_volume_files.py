"""What files are comes back, judged by GNU tar: two trees that it packs alike are alike."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
import stat
import struct
import subprocess
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.volumes import folder as volume_folder
from mmstack_ops.adapters.stores.volumes import trees as volume_trees
from mmstack_ops.adapters.stores.volumes.full import VolumesFull
from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.artifacts.packs import header
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import RestoreError
from tests.adapters.stores.folders import Here
from tests.adapters.stores.stores import back_up, compared

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and capabilities need root")

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def access_list(user: int, permissions: int) -> bytes:
    """Return a POSIX ACL as the kernel stores it: one more user beside rw-r-----."""
    entries = [
        (0x01, 6, 0xFFFFFFFF),
        (0x02, permissions, user),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def packed(folder: Path) -> list[tuple[object, ...]]:
    """Return what GNU tar packs of a folder, with all that it knows of files."""
    command = ["tar", "--create", "--format=posix", "--sort=name", "--numeric-owner", "--acls"]
    command += ["--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.0"]
    command += ["--pax-option=delete=atime,delete=ctime,exthdr.name=%d/%f", "-C", str(folder), "."]
    made = subprocess.run(command, check=True, capture_output=True).stdout
    found: list[tuple[object, ...]] = []
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        for one in archive:
            content = archive.extractfile(one) if one.isreg() else None
            found.append(
                (
                    *(one.name, one.type, one.mode, one.uid, one.gid, one.linkname, one.size),
                    # The order of attributes is that in which they were set.
                    sorted(one.pax_headers.items()),
                    getattr(one, "sparse", None),
                    sha256(content.read()).hexdigest() if content else "",
                )
            )
    return found


def sparse(path: Path, size: int, *parts: tuple[int, bytes]) -> None:
    with path.open("wb") as target:
        for offset, content in parts:
            target.seek(offset)
            target.write(content)
        target.truncate(size)


def everything(folder: Path) -> None:
    """Fill a folder with one of each."""
    (folder / "program").write_bytes(b"\x7fELF")
    os.chown(folder / "program", 1234, 4321)
    (folder / "program").chmod(0o6755)
    os.setxattr(folder / "program", "security.capability", CAPABILITY)
    os.setxattr(folder / "program", "user.note", b"\x00\xff=")
    os.setxattr(folder / "program", "user.a=b%c", b"odd")
    (folder / "shared").mkdir(mode=0o2770)
    os.setxattr(folder / "shared", "system.posix_acl_default", access_list(1000, 7))
    (folder / "shared" / "plan").write_text("x")
    os.setxattr(folder / "shared" / "plan", "system.posix_acl_access", access_list(1001, 5))
    os.setxattr(folder / "shared" / "plan", "trusted.mark", b"1")
    (folder / "shared" / "again").hardlink_to(folder / "program")
    (folder / "a first name").hardlink_to(folder / "program")
    sparse(folder / "disk.img", 64 << 20, (1 << 20, b"head"), (32 << 20, os.urandom(9000)))
    sparse(folder / "hole", 5 << 20)
    sparse(folder / "tail", 1 << 20, ((1 << 20) - 10, b"at the end"))
    os.mkfifo(folder / "pipe", 0o620)
    (folder / "link").symlink_to("../../nowhere")
    os.chown(folder / "link", 12, 34, follow_symlinks=False)
    (folder / os.fsdecode(b"not utf-8 \xff\xfe")).write_text("odd")
    (folder / ("n" * 255)).write_text("long")
    os.utime(folder / "shared", ns=(0, 1_000_000_000_123_456_789))
    os.utime(folder / "link", ns=(0, -1), follow_symlinks=False)


def test_every_kind_of_file_comes_back_as_it_was(here: Here) -> None:
    everything(here.data)
    before = packed(here.data)
    names = {path.name: path.lstat().st_nlink for path in here.data.rglob("*")}
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    assert artifact.manifest.covers_all, artifact.manifest.not_covered
    for path in here.data.iterdir():
        path.unlink() if not path.is_dir() else shutil.rmtree(path)
    (here.data / "new").write_text("wasn't there")
    VolumesFull().restore(here.at, here.instance, artifact)
    assert packed(here.data) == before
    assert {path.name: path.lstat().st_nlink for path in here.data.rglob("*")} == names
    one = (here.data / "program").stat()
    assert (here.data / "shared" / "again").stat().st_ino == one.st_ino
    assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal


def test_a_second_backup_refers_to_what_is_unchanged(here: Here) -> None:
    everything(here.data)
    back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    again = back_up(VolumesFull(), here.instance, here.tier, days=1, at=here.at)
    assert again.manifest.figures["tree_files_stored"] == 0
    before = packed(here.data)
    VolumesFull().restore(here.at, here.instance, again)
    assert packed(here.data) == before


def by_hand(artifact: Artifact, tier: Path, folder: Path) -> None:
    """Run the manifest's lines as an operator would."""
    folder.mkdir()
    lines = [line for line in artifact.manifest.restore_by_hand if not line.startswith("cp -a")]
    done = subprocess.run(
        ["sh", "-eu", "-c", "\n".join(lines)],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "FROM": str(tier / artifact.manifest.ref.prefix.rstrip("/")),
        },
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the program zstd")
def test_by_hand_tar_brings_back_the_same(here: Here, tmp_path: Path) -> None:
    everything(here.data)
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    by_hand(artifact, here.tier, tmp_path / "by hand")
    assert packed(tmp_path / "by hand" / "tree" / "data") == packed(here.data)


def test_tar_finds_the_same_in_what_was_restored(here: Here, tmp_path: Path) -> None:
    everything(here.data)
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    before = tmp_path / "before.tar"
    subprocess.run(["tar", "-cSf", before, "--format=posix", "-C", here.data, "."], check=True)
    VolumesFull().restore(here.at, here.instance, artifact)
    compare = ["tar", "--compare", "-f", str(before), "-C", str(here.data)]
    done = subprocess.run(compare, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b""), done.stdout


def test_sockets_and_devices_are_named_and_stay_where_they_are(here: Here) -> None:
    (here.data / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(here.data / "run")  # A socket's path is short.
        listening.bind("app.sock")
    os.mknod(here.data / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (here.data / "file").write_text("x")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    facts = artifact.facts()
    assert facts.excluded == {"data/run/app.sock": "a socket"}
    assert facts.not_covered == {"data/null": "it is a device"}
    VolumesFull().restore(here.at, here.instance, artifact)
    assert stat.S_ISSOCK((here.data / "run" / "app.sock").stat().st_mode)
    assert stat.S_ISCHR((here.data / "null").stat().st_mode)
    assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal


def test_a_path_longer_than_the_host_takes_comes_back(here: Here) -> None:
    depth, part = 40, "d" * 200
    os.chdir(here.data)
    for _ in range(depth):
        Path(part).mkdir()
        os.chdir(part)
    Path("file").write_text("deep")
    os.chdir("/")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    assert artifact.manifest.covers_all
    assert artifact.facts().figures["folders"] == depth + 2
    shutil.rmtree(here.data / part)
    VolumesFull().restore(here.at, here.instance, artifact)
    assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal
    os.chdir(here.data)
    for _ in range(depth):
        os.chdir(part)
    assert Path("file").read_text() == "deep"
    os.chdir("/")


def test_what_cannot_be_read_is_named_and_stops_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.data / "good").write_text("good")
    (here.data / "bad").mkdir()
    (here.data / "bad" / "inside").write_text("untouched")
    (here.data / "worse").write_text("untouched")
    real_entries, real_read = volume_folder.VolumeFolder.entries, volume_folder.VolumeFolder.read

    def entries(self: Any, path: str = "") -> Any:
        if path == "bad":
            raise OSError(errno.EIO, "Input/output error")
        return real_entries(self, path)

    def read(self: Any, path: str) -> int:
        if path == "worse":
            raise OSError(errno.EIO, "Input/output error")
        return real_read(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(volume_folder.VolumeFolder, "entries", entries)
        patched.setattr(volume_folder.VolumeFolder, "read", read)
        artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    assert artifact.facts().not_covered == {
        "data/bad": "Input/output error",
        "data/worse": "Input/output error",
    }
    (here.data / "good").write_text("spoilt")
    VolumesFull().restore(here.at, here.instance, artifact)
    assert (here.data / "good").read_text() == "good"
    assert (here.data / "bad" / "inside").read_text() == "untouched"
    assert (here.data / "worse").read_text() == "untouched"
    assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal


def test_a_file_that_changes_all_the_time_is_not_covered_and_not_deleted(here: Here) -> None:
    busy = here.data / "busy"
    busy.write_bytes(b"0" * 1000)
    (here.data / "still").write_text("x")

    class Busy(VolumesFull):
        def volumes(self, bench: Any, instance: Any) -> Any:
            made = super().volumes(bench, instance)
            real = made.open

            def opened(file: TreeFile) -> Any:
                source = real(file)
                if not file.path.endswith("busy"):
                    return source
                reading = source.read

                def read(count: int) -> bytes:
                    busy.write_bytes(os.urandom(1000))
                    return bytes(reading(count))

                return Reading(source, read)

            made.open = opened
            return made

    class Reading:
        def __init__(self, source: Any, read: Callable[[int], bytes]) -> None:
            self._source, self.read = source, read

        def __getattr__(self, name: str) -> Any:
            return getattr(self._source, name)

    artifact = back_up(Busy(), here.instance, here.tier, at=here.at)
    assert list(artifact.facts().not_covered) == ["data/busy"]
    busy.write_bytes(b"the newest")
    VolumesFull().restore(here.at, here.instance, artifact)
    assert busy.read_bytes() == b"the newest"
    assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal


def test_flags_are_named_and_keep_a_restore_from_beginning(here: Here) -> None:
    (here.data / "folder").mkdir()
    path = here.data / "folder" / "kept"
    path.write_text("old")
    if subprocess.run(["chattr", "+i", path], check=False, capture_output=True).returncode:
        pytest.skip("no flags here")
    try:
        artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
        assert list(artifact.facts().not_covered) == ["data/folder/kept (immutable)"]
        (here.data / "other").write_text("newer")
        with pytest.raises(RestoreError, match="can't be replaced") as caught:
            VolumesFull().restore(here.at, here.instance, artifact)
        assert "data/folder/kept is immutable" in caught.value.why
        assert (here.data / "other").read_text() == "newer"
        assert sorted(path.name for path in here.data.iterdir()) == ["folder", "other"]
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    VolumesFull().restore(here.at, here.instance, artifact)
    assert path.read_text() == "old"
    assert not (here.data / "other").exists()


@pytest.mark.parametrize("what", ["exclude", "socket", "unnamed"])
def test_the_inventory_finds_what_the_walk_passes_over(
    here: Here, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A mistake in what selects files can't be silent."""
    instance = here.changed(exclude=["data/cache", "logs"])
    (here.data / "cache" / "deep").mkdir(parents=True)
    (here.data / "lost").mkdir()
    (here.data / "lost" / "file").write_text("x")
    (here.data / "file").write_text("x")
    real = volume_trees.walk

    def forgetful(*args: Any, **options: Any) -> Any:
        return (file for file in real(*args, **options) if "lost" not in file.path)

    if what == "unnamed":
        monkeypatch.setattr(volume_trees, "walk", forgetful)
        monkeypatch.setattr(volume_trees, "_CLOCK_TICK", -(10**9))
    facts = back_up(VolumesFull(), instance, here.tier, at=here.at).facts()
    assert facts.excluded == {
        "data/cache": "backup.exclude: data/cache",
        "logs": "backup.exclude: logs",
    }
    assert facts.not_covered == ({"data/lost": "it wasn't taken"} if what == "unnamed" else {})


def replaced_byte(path: Path) -> None:
    seen = path.stat()
    with path.open("r+b") as target:
        target.seek(-1, os.SEEK_END)
        last = target.read(1)
        target.seek(-1, os.SEEK_END)
        target.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def without_its_hole(path: Path) -> None:
    seen = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def as_a_copy(path: Path) -> None:
    shutil.copy2(path, f"{path}.copy")
    os.chown(f"{path}.copy", 1234, 4321)
    Path(f"{path}.copy").chmod(0o6755)
    for name in os.listxattr(path):
        os.setxattr(f"{path}.copy", name, os.getxattr(path, name))
    Path(f"{path}.copy").rename(path)


FAULTS: dict[str, Callable[[Path], object]] = {
    "a byte of a small file": lambda data: replaced_byte(data / "shared" / "plan"),
    "a byte of one of many files": lambda data: replaced_byte(data / "many" / "77"),
    "a byte of a sparse file": lambda data: replaced_byte(data / "tail"),
    "a hole": lambda data: without_its_hole(data / "tail"),
    "a mode": lambda data: (data / "pipe").chmod(0o640),
    "an owner": lambda data: os.chown(data / "many" / "3", 7, 0),
    "the owner of a link": lambda data: os.chown(data / "link", 7, 7, follow_symlinks=False),
    "a time": lambda data: os.utime(data / "many" / "5", ns=(0, 5)),
    "the time of a folder": lambda data: os.utime(data / "many", ns=(0, 5)),
    "a link's target": lambda data: (
        (data / "link").unlink(),
        (data / "link").symlink_to("elsewhere"),
    ),
    "an attribute": lambda data: os.setxattr(data / "program", "user.note", b"other"),
    "a capability": lambda data: os.removexattr(data / "program", "security.capability"),
    "an ACL": lambda data: os.setxattr(
        data / "shared" / "plan", "system.posix_acl_access", access_list(1001, 7)
    ),
    "a default ACL": lambda data: os.removexattr(data / "shared", "system.posix_acl_default"),
    "a hard link": lambda data: as_a_copy(data / "a first name"),
    "a missing file": lambda data: (data / "many" / "99").unlink(),
    "a file too many": lambda data: (data / "many" / "new").write_text(""),
    "a pipe that is a file": lambda data: (
        (data / "pipe").unlink(),
        (data / "pipe").write_text(""),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_drill_finds_any_difference(here: Here, fault: str) -> None:
    everything(here.data)
    (here.data / "many").mkdir()
    for number in range(100):
        (here.data / "many" / str(number)).write_text(f"content {number}")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal
    FAULTS[fault](here.data)
    assert not compared(VolumesFull(), here.instance, artifact, at=here.at).equal


def test_facts_of_an_older_version_are_still_compared(here: Here) -> None:
    (here.data / "file").write_text("x")
    (here.data / "link").symlink_to("file")
    (here.data / "again").hardlink_to(here.data / "file")
    tree = VolumesFull().volumes(here.at, here.instance)
    from mmstack_ops.domain.backups.facts import Facts, compare

    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    old = Facts(
        figures={"files": 2, "folders": 2, "links": 1, "bytes": 2},
        items={
            "data": "folder 0755 0:0",
            "data/file": "file 0644 0:0 1 bytes",
            "data/again": f"file 0644 0:0 1 bytes sha256={digest}",
            "data/link": "link to file",
            "logs": "folder 0755 0:0",
        },
    )
    assert compare(old, tree.look(old)).equal, compare(old, tree.look(old))


def test_a_sparse_file_takes_no_more_room_than_before(here: Here) -> None:
    sparse(here.data / "disk.img", 3 << 30, (1 << 30, os.urandom(1 << 20)))
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    (pack,) = artifact.manifest.with_role("pack")
    assert pack.plain_bytes < 2 << 20
    before = (here.data / "disk.img").stat()
    VolumesFull().restore(here.at, here.instance, artifact)
    after = (here.data / "disk.img").stat()
    assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks)
    assert after.st_ino != before.st_ino


def test_a_header_of_a_sparse_file_stays_small(here: Here) -> None:
    path = here.data / "many holes"
    with path.open("wb") as target:
        for number in range(6000):
            target.seek(number * 16384)
            target.write(b"x")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    (file,) = (file for file in artifact.files() if file.data is not None)
    assert file.data is not None
    assert len(file.data) <= 4096
    assert len(header(file, file.path)) < 1 << 20
    content = path.read_bytes()
    VolumesFull().restore(here.at, here.instance, artifact)
    assert path.read_bytes() == content
