"""Volume files: blocks and filemarks, the early warning, the end, what is torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.adapters.storage.tape.volume import (
    DamagedBlockError,
    EndOfDataError,
    EndOfMediumError,
    FileDrive,
)
from mmstack_ops.domain.errors import TierError

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
