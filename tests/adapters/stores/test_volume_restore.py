"""A restore of volumes that fails or is killed anywhere: the old content, or all of the new."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.volumes import refill as volume_refill
from mmstack_ops.adapters.stores.volumes.folder import VolumeFolder
from mmstack_ops.adapters.stores.volumes.full import VolumesFull
from mmstack_ops.adapters.stores.volumes.swap import UnfinishedSwapError
from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import (
    CancelledError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)
from tests.adapters.stores.folders import Here
from tests.adapters.stores.stores import back_up, compared

STEPS = {
    "make_folder": 10,
    "create": 5,
    "make_special": 1,
    "link": 1,
    "rename": 14,
    "remove": 2,
    "descriptor": 40,
    "entries": 30,
}
"""Method of a folder → how often to look at a failure of it."""


def fill(here: Here) -> tuple[Instance, Artifact]:
    """Back up one state of both volumes, and leave another one there."""
    instance = here.changed(exclude=["data/kept/cache"])
    (here.data / "kept" / "cache").mkdir(parents=True)
    (here.data / "kept" / "cache" / "precious").write_text("never touched")
    (here.data / "kept" / "config").write_text("old config")
    (here.data / "folder" / "inner").mkdir(parents=True)
    (here.data / "folder" / "inner" / "file").write_text("old")
    (here.data / "folder" / "again").hardlink_to(here.data / "folder" / "inner" / "file")
    (here.data / "link").symlink_to("folder")
    (here.logs / "log").write_text("old log")
    (here.data / "kept").chmod(0o750)
    artifact = back_up(VolumesFull(), instance, here.tier, at=here.at)
    (here.data / "folder" / "inner" / "file").write_text("newer")
    (here.data / "folder" / "again").unlink()
    (here.data / "kept" / "config").write_text("newer config")
    (here.data / "kept" / "more").write_text("more")
    (here.data / "kept").chmod(0o700)
    (here.data / "made since").write_text("x")
    (here.logs / "log").unlink()
    (here.logs / "other log").write_text("newer log")
    return instance, artifact


def state(here: Here) -> dict[str, tuple[object, ...]]:
    """Return all that is in the volumes."""
    found: dict[str, tuple[object, ...]] = {}
    for root in (here.data, here.logs):
        for path in [root, *root.rglob("*")]:
            seen = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            times = seen.st_mtime_ns
            found[str(path.relative_to(here.data.parent))] = (
                *(seen.st_mode, seen.st_uid, times, seen.st_nlink),
                content,
            )
    return found


@contextmanager
def at_the(
    number: int, method: str, act: Callable[[], object], patch: pytest.MonkeyPatch
) -> Iterator[list[int]]:
    """Do something at the n-th call of a method; give the count of calls."""
    real = getattr(VolumeFolder, method)
    calls = [0]

    def counted(self: VolumeFolder, *args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            act()
        return real(self, *args, **options)

    with patch.context() as patched:
        patched.setattr(VolumeFolder, method, counted)
        yield calls


def fail() -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("method", STEPS)
def test_a_restore_that_fails_anywhere_leaves_the_old_content_or_all_of_the_new(
    here: Here, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    instance, artifact = fill(here)
    before = state(here)
    failed = 0
    for number in range(1, STEPS[method] + 1):
        with at_the(number, method, fail, monkeypatch):
            try:
                VolumesFull().restore(here.at, instance, artifact)
            except RestoreError as error:
                failed += 1
                if isinstance(error, UnfinishedSwapError) or state(here) != before:
                    # Not even the way back worked, or only leftovers stay: the next run does it.
                    VolumesFull().volumes(here.at, instance)
            else:
                break  # It was called less often.
        found = state(here)
        if found != before:
            assert compared(VolumesFull(), instance, artifact, at=here.at).equal, number
            return
        assert not [path for path in found if ".mmstack" in path], number
    assert failed
    VolumesFull().restore(here.at, instance, artifact)
    assert compared(VolumesFull(), instance, artifact, at=here.at).equal
    assert (here.data / "kept" / "cache" / "precious").read_text() == "never touched"


def killed_at(here: Here, instance: Instance, artifact: Artifact, method: str, number: int) -> bool:
    """Restore in a process that is killed at the n-th call; return whether it was."""
    child = os.fork()
    if child == 0:
        try:
            with at_the(
                number, method, lambda: os.kill(os.getpid(), signal.SIGKILL), pytest.MonkeyPatch()
            ):
                VolumesFull().restore(here.at, instance, artifact)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(("method", "numbers"), [("rename", range(1, 20)), ("remove", (1, 2, 3))])
def test_a_restore_that_is_killed_is_made_good_by_the_next_run(
    here: Here, method: str, numbers: range
) -> None:
    instance, artifact = fill(here)
    before = state(here)
    killed = 0
    outcomes = set()
    for number in numbers:
        if not killed_at(here, instance, artifact, method, number):
            break
        killed += 1
        (here.data / ".mmstack-restore-mine").mkdir()  # Somebody's, with such a name.
        VolumesFull().volumes(here.at, instance)
        (here.data / ".mmstack-restore-mine").rmdir()
        os.utime(here.data, ns=(0, before["data"][2]))  # type: ignore[arg-type]
        found = state(here)
        whole = found == before
        outcomes.add(whole)
        if not whole:
            # The volume's own time is that of the folder made just now.
            items = artifact.facts().items
            os.utime(here.data, ns=(0, int(items["data"].partition(" time=")[2].split()[0])))
            assert compared(VolumesFull(), instance, artifact, at=here.at).equal, number
        assert not [path for path in found if ".mmstack" in path]
        assert (here.data / "kept" / "cache" / "precious").read_text() == "never touched"
        again = back_up(VolumesFull(), instance, here.tier, days=number, at=here.at)
        assert again.manifest.covers_all
        if not whole:
            _spoil(here)
            before = state(here)
    assert killed >= (6 if method == "rename" else 1)
    assert outcomes == ({True, False} if method == "rename" else {False})
    assert any("was killed" in line for line in here.bench.told)


def test_a_journal_that_cannot_be_written_brings_the_old_content_back(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, artifact = fill(here)
    before = state(here)
    real = here.bench.journal

    def full(key: str, undo: Mapping[str, str]) -> AbstractContextManager[None]:
        if undo["phase"] == "in":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(key, undo)

    monkeypatch.setattr(here.bench, "journal", full)
    with pytest.raises(UntouchedError, match="can't be filled"):
        VolumesFull().restore(here.at, instance, artifact)
    assert state(here) == before


def test_an_interruption_of_the_way_back_loses_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-C is pressed a second time."""
    instance, artifact = fill(here)
    before = state(here)
    real, calls = VolumeFolder.rename, []

    def interrupted(self: VolumeFolder, path: str, to: str) -> None:
        calls.append(path)
        if len(calls) in (4, 6):
            raise KeyboardInterrupt
        real(self, path, to)

    with monkeypatch.context() as patched:
        patched.setattr(VolumeFolder, "rename", interrupted)
        with pytest.raises((KeyboardInterrupt, UnfinishedSwapError)):
            VolumesFull().restore(here.at, instance, artifact)
    VolumesFull().volumes(here.at, instance)
    assert state(here) == before


def test_a_volume_that_cannot_be_made_good_stops_nobody_else(here: Here) -> None:
    instance, artifact = fill(here)
    assert killed_at(here, instance, artifact, "rename", 3)
    gone = here.bench.folders.pop("v-data")
    (here.data.parent / "other").mkdir()
    here.bench.folders["v-other"] = here.data.parent / "other"
    alone = replace(here.changed(exclude=["data"]), volumes={"/logs": "v-other"})
    assert back_up(VolumesFull(), alone, here.tier, days=1, at=here.at).facts().items
    with pytest.raises(RestoreError, match="half replaced"):
        VolumesFull().volumes(here.at, replace(alone, volumes={"/logs": "v-logs"}))
    here.bench.folders["v-data"] = gone
    VolumesFull().volumes(here.at, instance)
    assert (here.data / "made since").exists()


def test_two_runs_that_make_the_same_good_at_once_lose_nothing(here: Here) -> None:
    instance, artifact = fill(here)
    before = state(here)
    for number in (1, 2, 3):
        assert killed_at(here, instance, artifact, "rename", number)
        runs = [
            threading.Thread(target=VolumesFull().volumes, args=(here.at, instance))
            for _ in range(4)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        found = state(here)
        assert {path: seen[4] for path, seen in found.items()} == {
            path: seen[4] for path, seen in before.items()
        }


def _spoil(here: Here) -> None:
    (here.data / "folder" / "inner" / "file").write_text("newer")
    (here.data / "kept" / "more").write_text("more")
    (here.logs / "log").unlink()


def test_a_cancelled_restore_leaves_the_old_content(here: Here) -> None:
    instance, artifact = fill(here)
    before = state(here)
    here.bench.cancel = threading.Event()
    here.bench.cancel.set()
    with pytest.raises(CancelledError):
        VolumesFull().restore(here.at, instance, artifact)
    assert state(here) == before


def test_what_was_written_is_compared_before_the_old_content_goes(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, artifact = fill(here)
    before = state(here)
    real = volume_refill._write

    def wrong(folder: VolumeFolder, place: str, *args: Any) -> tuple[str, dict[str, str]]:
        written_as = real(folder, place, *args)
        with os.fdopen(folder.read(place), "rb") as written:
            Path(f"/proc/self/fd/{written.fileno()}").write_bytes(b"spoilt")
        return written_as

    monkeypatch.setattr(volume_refill, "_write", wrong)
    with pytest.raises(RestoreError, match="isn't what the backup holds"):
        VolumesFull().restore(here.at, instance, artifact)
    assert state(here) == before


def test_without_room_for_both_the_old_content_goes_first(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, artifact = fill(here)
    monkeypatch.setattr(volume_refill, "_is_room", lambda *_: False)
    VolumesFull().restore(here.at, instance, artifact)
    assert compared(VolumesFull(), instance, artifact, at=here.at).equal
    assert (here.data / "kept" / "cache" / "precious").read_text() == "never touched"
    assert any("there isn't room" in line for line in here.bench.told)


@pytest.mark.parametrize(
    ("method", "number", "said"),
    [
        ("remove", 3, "holds a part of it at most"),
        ("create", 1, "is empty"),
        ("rename", 1, "holds all of the backup"),
    ],
)
def test_a_kill_when_the_old_content_was_deleted_first_is_told_as_what_it_is(
    here: Here, monkeypatch: pytest.MonkeyPatch, method: str, number: int, said: str
) -> None:
    instance, artifact = fill(here)
    monkeypatch.setattr(volume_refill, "_is_room", lambda *_: False)
    assert killed_at(here, instance, artifact, method, number)
    VolumesFull().volumes(here.at, instance)
    (line,) = [one for one in here.bench.told if "v-data" in one and "was killed" in one]
    assert said in line
    assert ("safety backup" in line) is (method != "rename")
    assert not [path for path in state(here) if ".mmstack" in path]
    assert (here.data / "folder").exists() is (method == "rename")
    monkeypatch.undo()
    VolumesFull().restore(here.at, instance, artifact)
    assert compared(VolumesFull(), instance, artifact, at=here.at).equal


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug")])
def test_an_interruption_while_the_old_content_goes_keeps_the_new(
    here: Here, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    instance, artifact = fill(here)
    real = VolumeFolder.remove

    def interrupted(self: VolumeFolder, path: str) -> None:
        real(self, f"{path}/old/kept")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(VolumeFolder, "remove", interrupted)
        with pytest.raises(UnfinishedSwapError, match="when the backup was in place"):
            VolumesFull().restore(here.at, instance, artifact)
    assert (here.data / "kept" / "config").read_text() == "old config"
    VolumesFull().volumes(here.at, instance)
    assert not [path for path in state(here) if ".mmstack" in path]
    assert compared(VolumesFull(), instance, artifact, at=here.at).equal


@pytest.mark.parametrize("phase", ["in", "out"])
def test_a_record_that_cannot_be_deleted_keeps_the_new_content(
    here: Here, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    instance, artifact = fill(here)
    real = here.bench.journal

    @contextmanager
    def stuck(key: str, undo: Mapping[str, str]) -> Iterator[None]:
        with real(key, undo):
            yield
        if undo["phase"] == phase:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(here.bench, "journal", stuck)
        with pytest.raises(UnfinishedSwapError, match="when the backup was in place"):
            VolumesFull().restore(here.at, instance, artifact)
    VolumesFull().volumes(here.at, instance)
    assert compared(VolumesFull(), instance, artifact, at=here.at).equal


def test_a_small_disk(here: Here) -> None:
    """Room for both, for one, and for none."""
    disk = here.data.parent / "disk"
    disk.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        here.bench.folders["v-data"] = disk
        (disk / "big").write_bytes(os.urandom(30 << 20))
        artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
        VolumesFull().restore(here.at, here.instance, artifact)
        assert any("there isn't room" in line for line in here.bench.told)
        assert compared(VolumesFull(), here.instance, artifact, at=here.at).equal
        subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
        (disk / "big").write_bytes(b"small")
        with pytest.raises(RestoreError, match="there isn't room") as caught:
            VolumesFull().restore(here.at, here.instance, artifact)
        assert "nothing was touched" in caught.value.remedy
        assert (disk / "big").read_bytes() == b"small"
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(RestoreError, match="can't be replaced") as caught:
            VolumesFull().restore(here.at, here.instance, artifact)
        assert "read-only" in caught.value.why
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_mount_inside_a_volume_keeps_a_restore_from_beginning(here: Here) -> None:
    (here.data / "file").write_text("old")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    (here.data / "mounted").mkdir()
    options = ["mount", "-t", "tmpfs", "tmpfs", str(here.data / "mounted")]
    if subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (here.data / "file").write_text("newer")
        with pytest.raises(RestoreError, match="can't be replaced") as caught:
            VolumesFull().restore(here.at, here.instance, artifact)
        assert "data/mounted" in caught.value.why
        assert (here.data / "file").read_text() == "newer"
    finally:
        subprocess.run(["umount", str(here.data / "mounted")], check=True)


def test_no_link_of_a_volume_leads_a_restore_out_of_it(here: Here, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("somebody's")
    (here.data / "folder").mkdir()
    (here.data / "folder" / "file").write_text("ours")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    (here.data / "folder" / "file").unlink()
    (here.data / "folder").rmdir()
    (here.data / "folder").symlink_to(outside)
    VolumesFull().restore(here.at, here.instance, artifact)
    assert (outside / "file").read_text() == "somebody's"
    assert not (here.data / "folder").is_symlink()
    assert (here.data / "folder" / "file").read_text() == "ours"


@pytest.mark.parametrize("why", [errno.EOPNOTSUPP, errno.EPERM])
def test_attributes_that_cannot_be_set_here_are_named_and_all_else_comes_back(
    here: Here, monkeypatch: pytest.MonkeyPatch, why: int
) -> None:
    (here.data / "plain").write_text("plain")
    (here.data / "marked").write_text("content")
    os.setxattr(here.data / "marked", "trusted.mark", b"1")
    os.setxattr(here.data / "marked", "user.note", b"kept")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    (here.data / "marked").unlink()
    real = os.setxattr

    def refusing(place: Any, name: str, *args: Any, **options: Any) -> None:
        if name.startswith("trusted."):
            raise OSError(why, os.strerror(why))
        real(place, name, *args, **options)

    monkeypatch.setattr(os, "setxattr", refusing)
    with pytest.raises(PartialRestoreError) as caught:
        VolumesFull().restore(here.at, here.instance, artifact)
    assert list(caught.value.refused) == ["data/marked"]
    assert "trusted.mark" in caught.value.refused["data/marked"]
    assert (here.data / "marked").read_text() == "content"
    assert os.listxattr(here.data / "marked") == ["user.note"]
    found = VolumesFull().inspect(here.at, here.instance, artifact.facts())
    assert compare(artifact.facts().without(caught.value.refused), found).equal


def test_a_folder_stays_for_what_is_excluded_in_it(here: Here) -> None:
    (here.data / "file").write_text("old")
    instance = here.changed(exclude=["data/newer/cache"])
    artifact = back_up(VolumesFull(), instance, here.tier, at=here.at)
    (here.data / "newer" / "cache").mkdir(parents=True)
    (here.data / "newer" / "cache" / "precious").write_text("x")
    (here.data / "newer" / "other").write_text("goes")
    VolumesFull().restore(here.at, instance, artifact)
    assert (here.data / "newer" / "cache" / "precious").read_text() == "x"
    assert not (here.data / "newer" / "other").exists()
    assert compared(VolumesFull(), instance, artifact, at=here.at).equal


@pytest.mark.parametrize("path", ["data/../../escaped", "data//x", "data/./x", "data/a\0b"])
def test_a_path_that_leads_out_is_refused(here: Here, path: str) -> None:
    (here.data / "file").write_text("kept")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)

    class Forged:
        def files(self) -> list[TreeFile]:
            return [*artifact.files(), TreeFile(path, "symlink", target="x")]

        def __getattr__(self, name: str) -> Any:
            return getattr(artifact, name)

    with pytest.raises(UntouchedError, match="is no path"):
        VolumesFull().restore(here.at, here.instance, cast(Artifact, Forged()))
    with VolumeFolder(here.data) as folder, pytest.raises(OSError, match="Invalid"):
        folder.make_folder("../escaped/inner")
    assert not (here.data.parent / "escaped").exists()


def test_a_file_system_that_is_left_alone_may_be_mounted_inside(here: Here) -> None:
    instance = here.changed(exclude=["data/mounted"])
    (here.data / "file").write_text("old")
    (here.data / "mounted").mkdir()
    artifact = back_up(VolumesFull(), instance, here.tier, at=here.at)
    options = ["mount", "-t", "tmpfs", "tmpfs", str(here.data / "mounted")]
    if subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (here.data / "file").write_text("newer")
        VolumesFull().restore(here.at, instance, artifact)
        assert (here.data / "file").read_text() == "old"
    finally:
        subprocess.run(["umount", str(here.data / "mounted")], check=True)
