"""The emulated drive, and the layout of the st driver's ioctls."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mmstack_ops.adapters.tiers import tape_device
from mmstack_ops.adapters.tiers.tape import TapeTier
from mmstack_ops.adapters.tiers.tape_device import DeviceLibrary
from mmstack_ops.adapters.tiers.tape_drive import (
    DamagedBlockError,
    Drive,
    EndOfDataError,
    EndOfMediumError,
)
from mmstack_ops.adapters.tiers.tape_volume import FileDrive
from mmstack_ops.domain.errors import TierError, TierUnavailableError
from tests.adapters.tiers.contract import get, keys, put

SIZE = 4_000_000


def drive(path: Path, *, size: int = SIZE) -> FileDrive:
    path.touch()
    return FileDrive("t", path, writing=True, size=size)


def test_blocks_and_filemarks(tmp_path: Path) -> None:
    used = drive(tmp_path / "v")
    used.write_block(b"odd")
    used.write_block(b"even")
    used.write_filemark()
    second = used.tell()
    used.write_block(b"x" * (1 << 20))
    used.write_filemark()
    used.seek(0)
    assert [used.read_block() for _ in range(3)] == [b"odd", b"even", None]
    assert used.tell() == second
    used.seek(0)
    assert used.skip_file() == b"even"
    assert used.skip_file() == b"x" * (1 << 20)
    with pytest.raises(EndOfDataError):
        used.skip_file()
    used.close()
    # As the SIMH format says it, byte for byte.
    begin = b"\3\0\0\0odd\0\3\0\0\0" + b"\4\0\0\0even\4\0\0\0" + b"\0\0\0\0"
    assert (tmp_path / "v").read_bytes()[: len(begin)] == begin


def test_early_warning_comes_every_other_time_and_then_the_end(tmp_path: Path) -> None:
    used = drive(tmp_path / "v")
    written = 0
    with pytest.raises(EndOfMediumError):  # noqa: PT012
        while True:
            used.write_block(bytes(1 << 20))
            written += 1
    assert written == 3
    used.write_block(b"closing record")
    with pytest.raises(EndOfMediumError):
        used.write_block(b"one more")
    used.write_filemark()
    with pytest.raises(TierError, match="physical end"):  # noqa: PT012
        for _ in range(10):
            try:
                used.write_block(bytes(1 << 20))
            except EndOfMediumError:
                continue
    used.close()
    assert (tmp_path / "v").stat().st_size <= SIZE


def test_torn_and_broken_frames(tmp_path: Path) -> None:
    used = drive(tmp_path / "v")
    used.write_block(b"x" * 100)
    whole = (tmp_path / "v").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "v").write_bytes(whole[:length])
        used.seek(0)
        with pytest.raises(EndOfDataError):
            used.read_block()
    (tmp_path / "v").write_bytes(whole[:-1] + b"\1")
    used.seek(0)
    with pytest.raises(DamagedBlockError):
        used.read_block()
    used.close()


def test_requests_are_those_of_the_kernel() -> None:
    """From linux/mtio.h on x86-64: _IOW('m', 1, struct mtop), _IOR('m', 2, struct mtget)."""
    assert tape_device.MTIOCTOP == 0x40086D01
    assert tape_device.MTIOCGET == 0x80306D02
    assert tape_device.encode_operation(tape_device.MTWEOF, 1) == struct.pack("<hxxi", 5, 1)


def test_status() -> None:
    data = struct.pack("<5q2i", 0x72, 0, 0, 0x0C000000 | 0x01000000, 0, 7, -1)
    found = tape_device.decode_status(data)
    assert (found.file, found.block) == (7, -1)
    assert found.online
    assert found.protected
    assert found.end_of_data
    empty = tape_device.decode_status(struct.pack("<5q2i", 0x72, 0, 0, 0x00040000, 0, 0, 0))
    assert not empty.online


def test_no_device(tmp_path: Path) -> None:
    tier = TapeTier(
        "tape",
        DeviceLibrary("tape", Path("/dev/nst-none"), state=tmp_path),
        quota=None,
        cache=tmp_path / "c",
    )
    with pytest.raises(TierUnavailableError, match="nst-none"):
        tier.check(writing=False)


def test_one_drive_without_a_changer(tmp_path: Path) -> None:
    """The library of a device, with an emulated drive; cartridges are changed by hand."""
    loaded = [tmp_path / "one"]

    def opened(writing: bool) -> Drive:
        return drive(loaded[0])

    def tier() -> TapeTier:
        library = DeviceLibrary("tape", Path("/dev/nst0"), state=tmp_path, drive=opened)
        return TapeTier("tape", library, quota=None, cache=tmp_path / "catalogue")

    put(tier(), "a", b"a" * 1_000_000)
    put(tier(), "b", b"b" * 1_000_000)
    assert get(tier(), "a") == b"a" * 1_000_000
    with pytest.raises(TierUnavailableError, match="takes no more") as caught:
        put(tier(), "c", b"c" * 3_000_000)
    assert "VOL000002" in caught.value.remedy
    assert keys(tier()) == ["a", "b"]
    loaded[0] = tmp_path / "two"
    put(tier(), "c", b"c" * 2_000_000)
    assert get(tier(), "c") == b"c" * 2_000_000
    # What the other cartridge holds was written at the begin of this one.
    assert keys(tier()) == ["a", "b", "c"]
    with pytest.raises(TierUnavailableError, match="VOL000001"):
        get(tier(), "a")
    loaded[0] = tmp_path / "one"
    assert get(tier(), "b") == b"b" * 1_000_000
