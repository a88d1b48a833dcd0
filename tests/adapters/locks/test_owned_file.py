"""Files that belong to a living process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmstack_ops.adapters.locks.owned_file import look_at, owned_file, owner_of, take_over

OWNER = (
    "import sys, time; from pathlib import Path\n"
    "from mmstack_ops.adapters.locks.owned_file import owned_file\n"
    "with owned_file(Path(sys.argv[1]), b'mine'):\n"
    "    print('owned', flush=True)\n"
    "    time.sleep(600)\n"
)


def test_a_file_belongs_to_its_process_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "record"
    command = [sys.executable, "-c", OWNER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "owned\n"
            assert owner_of(path) == "live"
            with take_over(path) as found:
                assert found == ("live", b"mine")
            assert look_at(path) == ("live", b"mine")
        finally:
            process.send_signal(signal.SIGKILL)
    assert owner_of(path) == "dead"
    with take_over(path) as found:
        assert found == ("dead", b"mine")


def test_who_takes_over_is_the_owner_for_the_block(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"left")
    with take_over(path):
        assert owner_of(path) == "live"
        with take_over(path) as found:
            assert found == ("live", b"left")
    assert owner_of(path) == "dead"


def test_two_who_look_do_not_take_each_other_for_the_owner(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "record"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert owner_of(path) == "dead"


def test_what_is_missing_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert owner_of(path) == "missing"
    with take_over(path) as found:
        assert found == ("missing", b"")


def test_the_content_is_there_before_the_name_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record"
    seen: list[tuple[bool, bytes]] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        fresh = path.with_name(f".{path.name}")
        seen.append((path.exists(), fresh.read_bytes() if fresh.exists() else b""))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with owned_file(path, b"mine") as descriptor:
        os.write(descriptor, b" and more")
    assert seen[0] == (False, b"mine")
    assert path.read_bytes() == b"mine and more"
    assert [one.name for one in tmp_path.iterdir()] == ["record"]


def test_a_file_that_cannot_be_written_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), owned_file(tmp_path / "record", b"mine"):
        pass
    assert list(tmp_path.iterdir()) == []
