"""Files of volumes: what is old goes, what is written to is rotated, nothing else is touched."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard

from mmstack_ops.adapters.stores.volumes import retention_files as volume_files
from mmstack_ops.adapters.stores.volumes.retention_files import VolumeFiles
from mmstack_ops.domain.errors import CancelledError, RetentionError
from mmstack_ops.domain.schema.retention import FilesRule
from tests.adapters.stores.retention_sites import DAY, site, with_volume

KIND = VolumeFiles()


def rule(**changes: object) -> FilesRule:
    return FilesRule.model_validate({"strategy": "files", "path": "/data", **changes})


def write(folder: Path, name: str, *, days: float, content: str = "x" * 10) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    moment = time.time() - days * DAY
    os.utime(path, (moment, moment), follow_symlinks=False)
    return path


def test_old_files_go_with_the_folders_they_leave_empty(tmp_path: Path) -> None:
    old = write(tmp_path, "a/b/old.log", days=9)
    young = write(tmp_path, "a/young.log", days=1)
    instance, folders = with_volume(tmp_path)
    here = site(instance, days=7, folders=folders)
    found = KIND.look(here, rule())
    assert (found.total, found.expired, found.freed_bytes) == (2, 1, 10)
    assert found.names == ("a/b/old.log",)
    gone = KIND.clean(here, rule())
    assert (gone.count, gone.freed_bytes) == (1, 10)
    assert not old.parent.exists()
    assert young.exists()


def test_only_what_matches_goes(tmp_path: Path) -> None:
    write(tmp_path, "deep/shot.png", days=20)
    kept = write(tmp_path, "deep/result.json", days=20)
    instance, folders = with_volume(tmp_path)
    assert KIND.clean(site(instance, days=14, folders=folders), rule(patterns=["*.png"])).count == 1
    assert kept.exists()


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    """A container could put them there; the clean-up is root."""
    outside = write(tmp_path / "host", "precious", days=90)
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "folder").symlink_to(outside.parent)
    (volume / "file").symlink_to(outside)
    instance, folders = with_volume(volume)
    moment = time.time() - 90 * DAY
    os.utime(volume / "file", (moment, moment), follow_symlinks=False)
    KIND.clean(site(instance, days=7, folders=folders), rule())
    assert outside.exists()
    assert not (volume / "file").is_symlink()


def test_a_folder_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "logs").symlink_to(tmp_path / "host")
    instance, folders = with_volume(volume)
    with pytest.raises(RetentionError, match="leads out of its volume"):
        KIND.look(site(instance, days=7, folders=folders), rule(path="/data/logs"))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    instance, folders = with_volume(tmp_path)
    with pytest.raises(RetentionError, match="has no folder /data/none"):
        KIND.look(site(instance, days=7, folders=folders), rule(path="/data/none"))
    with pytest.raises(RetentionError, match="on none of its volumes"):
        KIND.look(site(instance, days=7, folders=folders), rule(path="/elsewhere"))


def test_a_file_written_again_in_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "app.log", days=9)
    instance, folders = with_volume(tmp_path)
    here = site(instance, days=7, folders=folders)
    unlink = volume_files._unlink

    def written_before(*arguments: object) -> bool:
        path.write_text("news")
        return unlink(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(volume_files, "_unlink", written_before)
    assert KIND.clean(here, rule()).count == 0
    assert path.read_text() == "news"


def test_a_large_log_is_rotated_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, "app.log", days=0, content="line\n" * 1000)
    instance, folders = with_volume(tmp_path)
    here = site(instance, days=7, folders=folders)
    with path.open("a") as writer:
        gone = KIND.clean(here, rule(rotate_above="1K", patterns=["*.log"]))
        writer.write("next\n")
    assert gone.notes == ("1 of them were rotated",)
    assert path.read_text() == "next\n"
    (rotated,) = tmp_path.glob("app.log.*.zst")
    unpacked = zstandard.ZstdDecompressor().stream_reader(rotated.open("rb")).read()
    assert unpacked == b"line\n" * 1000
    # It belongs to its log: by the same pattern, and goes when it is old itself.
    os.utime(rotated, (0, 0))
    assert KIND.clean(here, rule(rotate_above="1K", patterns=["*.log"])).count == 1
    assert not rotated.exists()


def test_a_log_that_cannot_be_copied_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "app.log", days=0, content="line\n" * 1000)
    instance, folders = with_volume(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RetentionError, match="wasn't rotated") as raised:
        KIND.clean(site(instance, days=7, folders=folders), rule(rotate_above="1K"))
    assert raised.value.why == "No space left on device"
    assert path.read_text() == "line\n" * 1000
    assert [one.name for one in tmp_path.iterdir()] == ["app.log"]


def test_cancelling_stops_between_two_files(tmp_path: Path) -> None:
    write(tmp_path, "one", days=9)
    instance, folders = with_volume(tmp_path)
    folders.cancel.set()
    with pytest.raises(CancelledError):
        KIND.clean(site(instance, days=7, folders=folders), rule())
    assert (tmp_path / "one").exists()


def test_a_folder_that_becomes_a_link_after_the_look_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may do that at any moment; the clean-up is root."""
    volume, host = tmp_path / "volume", tmp_path / "host"
    write(volume, "logs/old.log", days=9)
    precious = write(host, "old.log", days=9)
    instance, folders = with_volume(volume)
    here = site(instance, days=7, folders=folders)
    opened = volume_files.opened_inside

    def swapped(*arguments: Any) -> Any:
        (volume / "logs").rename(tmp_path / "aside")
        (volume / "logs").symlink_to(host)
        return opened(*arguments)

    monkeypatch.setattr(volume_files, "opened_inside", swapped)
    with pytest.raises(RetentionError, match="leads out of its volume"):
        KIND.clean(here, rule(path="/data/logs"))
    assert precious.exists()


def test_a_way_that_turns_into_a_link_while_it_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, host = tmp_path / "volume", tmp_path / "host"
    write(volume, "logs/app/old.log", days=9)
    precious = write(host, "app/old.log", days=9)
    instance, folders = with_volume(volume)
    opening = os.open

    def swapped(path: Any, *arguments: Any, **how: Any) -> int:
        if path == "logs" and not (volume / "logs").is_symlink():
            (volume / "logs").rename(tmp_path / "aside")
            (volume / "logs").symlink_to(host)
        return opening(path, *arguments, **how)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(RetentionError, match="became a link"):
        KIND.clean(site(instance, days=7, folders=folders), rule(path="/data/logs/app"))
    assert precious.exists()


def test_empty_folders_are_removed_by_the_way_they_were_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, host = tmp_path / "volume", tmp_path / "host"
    write(volume, "a/b/old.log", days=9)
    (host / "b").mkdir(parents=True)
    instance, folders = with_volume(volume)
    remove = volume_files._remove_empty

    def swapped(*arguments: Any) -> None:
        (volume / "a").rename(tmp_path / "aside")
        (volume / "a").symlink_to(host)
        remove(*arguments)

    monkeypatch.setattr(volume_files, "_remove_empty", swapped)
    assert KIND.clean(site(instance, days=7, folders=folders), rule()).count == 1
    assert (host / "b").is_dir()


@pytest.mark.parametrize("moment", [2**40, 10**15, -(2**31)])
def test_a_time_that_no_calendar_has_is_no_traceback(tmp_path: Path, moment: int) -> None:
    """A container can give its files any time that the file system takes."""
    path = write(tmp_path, "odd.log", days=0)
    try:
        os.utime(path, (moment, moment))
    except OverflowError:
        pytest.skip("the file system doesn't take it")
    instance, folders = with_volume(tmp_path)
    here = site(instance, days=7, folders=folders)
    found = KIND.look(here, rule())
    assert (found.total, found.expired) == (1, int(moment < 0))
    assert KIND.clean(here, rule()).count == found.expired
