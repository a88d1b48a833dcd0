"""The tape tier on volume files: spanning, rebuilding, protection, damage, recycling."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmstack_ops.adapters.storage.mount import MountTier
from mmstack_ops.adapters.storage.tape.location import open_tape
from mmstack_ops.adapters.storage.tape.tape_tier import TapeTier
from mmstack_ops.domain.errors import (
    ImmutableError,
    InputError,
    TierError,
    TierFullError,
    TierUnavailableError,
)
from tests.adapters.storage.contract import get, keys, pieces, put

VOLUME = 4_000_000


def tape(folder: Path, *, state: str = "state", name: str = "tape") -> TapeTier:
    opened = open_tape(
        name,
        str(folder / "library"),
        volume_size=VOLUME,
        quota=None,
        state=folder / state,
    )
    assert isinstance(opened, TapeTier)
    return opened


def content(size: int) -> bytes:
    return b"".join(pieces(size))


def volume_files(folder: Path) -> list[Path]:
    return sorted((folder / "library").glob("*.tap"))


def test_a_file_spans_many_volumes(tmp_path: Path) -> None:
    large = content(30_000_000)
    tier = tape(tmp_path)
    put(tier, "before", b"small")
    put(tier, "large", large)
    put(tier, "after", b"small too")
    found = volume_files(tmp_path)
    assert len(found) >= 8
    assert max(path.stat().st_size for path in found) <= VOLUME
    # Another host, which has nothing but the volumes.
    other = tape(tmp_path, state="other")
    assert keys(other) == ["after", "before", "large"]
    assert hashlib.sha256(get(other, "large")).digest() == hashlib.sha256(large).digest()


def test_a_copy_of_the_folder_opens_as_it_is(tmp_path: Path) -> None:
    put(tape(tmp_path / "a"), "x/y", content(9_000_000))
    shutil.copytree(tmp_path / "a/library", tmp_path / "b/library")
    copy = tape(tmp_path / "b", name="vault")
    assert get(copy, "x/y") == content(9_000_000)
    put(copy, "x/z", b"goes on there")
    assert keys(tape(tmp_path / "a")) == ["x/y"]


def many(tmp_path: Path) -> tuple[TapeTier, dict[str, int]]:
    tier = tape(tmp_path)
    expected = {}
    for number in range(80):
        put(tier, f"f/{number:03d}", bytes(200_000 + number))
        expected[f"f/{number:03d}"] = 200_000 + number
    tier.delete(["f/003", "f/070"])
    del expected["f/003"], expected["f/070"]
    return tier, expected


@pytest.mark.parametrize("spoil", ["nothing", "missing", "garbage", "old", "of another tape"])
def test_the_host_copy_is_only_a_copy(tmp_path: Path, spoil: str) -> None:
    cache = tmp_path / "state/tape/tape.catalogue"
    _, expected = many(tmp_path)
    assert cache.exists()
    if spoil == "missing":
        cache.unlink()
    elif spoil == "garbage":
        cache.write_bytes(b"garbage")
    elif spoil == "old":
        put(tape(tmp_path, state="elsewhere"), "late", b"x")
        expected["late"] = 1
    elif spoil == "of another tape":
        many(tmp_path / "other")
        put(tape(tmp_path / "other"), "foreign", b"x")
        shutil.copy(tmp_path / "other/state/tape/tape.catalogue", cache)
    found = {file.key: file.size for file in tape(tmp_path).list()}
    assert found == expected


def test_a_volume_that_was_put_back_to_an_earlier_state(tmp_path: Path) -> None:
    tier = tape(tmp_path)
    put(tier, "old", b"x")
    (kept,) = [path.read_bytes() for path in volume_files(tmp_path)]
    put(tier, "new", b"x" * 100_000)
    volume_files(tmp_path)[0].write_bytes(kept)
    assert keys(tier) == ["old"]
    put(tier, "newer", b"yy")
    assert keys(tape(tmp_path, state="other")) == ["newer", "old"]


def test_what_earlier_volumes_hold_is_said_by_the_last(tmp_path: Path) -> None:
    """A volume that was carried away stays in the list, and is named when it is needed."""
    _, expected = many(tmp_path)
    first, *_ = volume_files(tmp_path)
    first.rename(tmp_path / first.name)
    other = tape(tmp_path, state="other")
    assert {file.key: file.size for file in other.list()} == expected
    with pytest.raises(TierUnavailableError, match=first.name) as caught:
        get(other, "f/000")
    assert "bring" in caught.value.remedy
    assert not other.volumes()[0].at_hand
    (tmp_path / first.name).rename(first)
    assert get(other, "f/000") == bytes(200_000)


@pytest.mark.parametrize("what", [b"some other file", b"\0" * 100_000, b"MMSTACK-TAPE 1 label"])
def test_a_foreign_volume_is_refused(tmp_path: Path, what: bytes) -> None:
    (tmp_path / "library").mkdir()
    path = tmp_path / "library/mine.tap"
    path.write_bytes(what)
    tier = tape(tmp_path)
    with pytest.raises(TierUnavailableError, match=r"mine\.tap") as caught:
        put(tier, "a", b"x")
    assert "move it" in caught.value.remedy
    assert path.read_bytes() == what


def test_volumes_of_two_sets_are_refused(tmp_path: Path) -> None:
    put(tape(tmp_path / "a"), "x", b"x")
    put(tape(tmp_path / "b"), "y", b"y")
    shutil.copy(tmp_path / "b/library/VOL000001.tap", tmp_path / "a/library/VOL000007.tap")
    with pytest.raises(TierUnavailableError, match="2 sets"):
        keys(tape(tmp_path / "a"))


def test_a_protected_volume_is_read_and_not_written(tmp_path: Path) -> None:
    put(tape(tmp_path), "a", b"x")
    (path,) = volume_files(tmp_path)
    before = path.read_bytes()
    path.chmod(0o400)
    tier = tape(tmp_path)
    assert get(tier, "a") == b"x"
    with pytest.raises(TierUnavailableError, match="write-protected") as caught:
        tier.check(writing=True)
    assert "chmod" in caught.value.remedy
    with pytest.raises(TierUnavailableError, match="write-protected"):
        put(tier, "b", b"x")
    with pytest.raises(TierUnavailableError, match="write-protected"):
        tier.delete(["a"])
    assert path.read_bytes() == before
    path.chmod(0o600)
    put(tier, "b", b"x")


def test_a_flipped_byte_is_found_on_read(tmp_path: Path) -> None:
    data = content(6_000_000)
    put(tape(tmp_path), "a", data)
    path = volume_files(tmp_path)[0]
    raw = bytearray(path.read_bytes())
    raw[raw.find(data[5000:5100]) + 50] ^= 1
    path.write_bytes(raw)
    tier = tape(tmp_path)
    assert keys(tier) == ["a"]
    with pytest.raises(TierError, match="damaged"):
        get(tier, "a")


@pytest.mark.parametrize("seed", range(12))
def test_damage_costs_nothing_behind_it(tmp_path: Path, seed: int) -> None:
    """Whatever byte of an early file is damaged, later ones are kept, and never written over."""
    chance = random.Random(seed)
    put(tape(tmp_path), "first", b"f" * 50_000)
    (path,) = volume_files(tmp_path)
    begin = path.stat().st_size
    put(tape(tmp_path), "second", b"s" * 50_000)
    end = path.stat().st_size
    put(tape(tmp_path), "third", b"t" * 50_000)
    raw = bytearray(path.read_bytes())
    # The frame of the first block of the second file, or anywhere in it.
    place = begin + seed if seed < 4 else chance.randrange(begin, end)
    raw[place] = raw[place] ^ (1 << chance.randrange(8)) if seed else 0
    path.write_bytes(raw)
    tier = tape(tmp_path, state="other")
    assert {"first", "third"} <= set(keys(tier))
    put(tier, "fourth", b"4")
    again = tape(tmp_path, state="another")
    assert {"first", "third", "fourth"} <= set(keys(again))
    assert get(again, "first") == b"f" * 50_000
    assert get(again, "third") == b"t" * 50_000


KILLED = """
import sys
from pathlib import Path
from tests.adapters.storage.test_tape import content, put, tape
tier = tape(Path(sys.argv[1]))
for number in range(1000):
    key, size = f"k/{number}", (300_000, 9_500_000, 10, 14_000_000)[number % 4]
    data = content(size)
    print("begin", key, size, flush=True)
    put(tier, key, data)
    print("done", key, size, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.041, 0.09, 0.17, 0.3])
def test_a_killed_writer_costs_only_its_own_file(tmp_path: Path, delay: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    done = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("done")}
    begun = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("begin")}
    tier = tape(tmp_path)
    found = {file.key: file.size for file in tier.list()}
    # The last may have been completed just before it could be said.
    assert done.items() <= found.items() <= begun.items()
    put(tier, "after", b"the kill")
    again = tape(tmp_path, state="other")
    assert {file.key: file.size for file in again.list()} == {**found, "after": 8}
    for key, size in found.items():
        assert get(again, key) == content(size)
    told: list[str] = []
    again.sweep(older_than=datetime.now(UTC), tell=told.append)
    assert told == []


def test_a_torn_tail_is_told_and_written_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tape(tmp_path), "whole", b"x" * 2_000_000)
    (path,) = volume_files(tmp_path)
    size = path.stat().st_size
    put(tape(tmp_path), "torn", b"y" * 500_000)
    # Without its last filemark a file isn't complete.
    os.truncate(path, path.stat().st_size - 4)
    told: list[str] = []
    tier = tape(tmp_path)
    assert keys(tier) == ["whole"]
    tier.sweep(older_than=datetime.now(UTC), tell=told.append)
    assert "never completed" in told[0]
    assert "never completed" in caplog.text
    assert path.stat().st_size == size


def test_tombstones_and_recycling(tmp_path: Path) -> None:
    tier = tape(tmp_path)
    put(tier, "a", b"a" * 5_000_000)
    put(tier, "b", b"b" * 5_000_000)
    put(tier, "c", b"c")
    first, second, *_ = [volume.name for volume in tier.volumes()]
    used = tier.usage().used
    with pytest.raises(ImmutableError, match="can't be recycled"):
        tier.recycle(first)
    tier.delete(["a"])
    assert tier.usage().used == used
    tier.recycle(first)
    assert (tmp_path / "library" / first).stat().st_size == 0
    with pytest.raises(ImmutableError):
        tier.recycle(second)
    with pytest.raises(InputError, match="no volume"):
        tier.recycle(first)
    other = tape(tmp_path, state="other")
    assert keys(other) == ["b", "c"]
    assert get(other, "b") == b"b" * 5_000_000
    put(other, "d", b"d" * 9_000_000)
    assert (tmp_path / "library" / first).stat().st_size > 0
    assert get(tape(tmp_path, state="third"), "d") == b"d" * 9_000_000


def test_recycling_does_not_bring_forgotten_files_back(tmp_path: Path) -> None:
    tier = tape(tmp_path)
    put(tier, "a", b"a" * 100_000)
    put(tier, "kept", b"k" * 100_000)
    put(tier, "b", b"b" * 9_000_000)
    # Its tombstone stands on the last volume, the file on the first.
    tier.delete(["a", "b"])
    last = tier.volumes()[-1].name
    tier.recycle(last)
    assert keys(tape(tmp_path, state="other")) == ["kept"]
    assert keys(tier) == ["kept"]


def test_a_second_large_file_in_one_thread_is_refused(tmp_path: Path) -> None:
    tier = tape(tmp_path)
    with tier.create("a") as first:
        first.write(bytes(9_000_000))
        with pytest.raises(TierError, match="this thread"), tier.create("b") as second:
            second.write(bytes(9_000_000))
        first.write(b"end")
    assert keys(tier) == ["a"]


def test_large_files_of_several_threads_wait_for_each_other(tmp_path: Path) -> None:
    tiers = [tape(tmp_path) for _ in range(3)]
    threads = [
        threading.Thread(target=put, args=(tier, f"t/{number}", bytes([number]) * 9_000_000))
        for number, tier in enumerate(tiers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number in range(3):
        assert get(tiers[0], f"t/{number}") == bytes([number]) * 9_000_000


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = tape(tmp_path)
    put(tier, "before", b"x")
    with pytest.raises(TierFullError), tier.create("huge", expected_size=1 << 60):
        pytest.fail("the block was entered")
    real = os.pwritev
    left = [6_000_000]

    def pwritev(descriptor: int, parts: list[bytes], place: int) -> int:
        left[0] -= sum(map(len, parts))
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, parts, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", pwritev)
        with pytest.raises(TierFullError, match="full"):
            put(tier, "large", bytes(20_000_000))
    assert keys(tier) == ["before"]
    put(tier, "large", bytes(20_000_000))
    assert keys(tape(tmp_path, state="other")) == ["before", "large"]


def test_a_volume_in_a_volume(tmp_path: Path) -> None:
    """What looks like our records in somebody's data isn't taken for them."""
    tier = tape(tmp_path)
    put(tier, "a", b"x" * 500_000)
    image = volume_files(tmp_path)[0].read_bytes()
    put(tier, "image", image * 12)
    other = tape(tmp_path, state="other")
    assert keys(other) == ["a", "image"]
    assert get(other, "image") == image * 12


def test_too_small_a_volume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too small"):
        open_tape("t", str(tmp_path), volume_size=1_000_000, quota=None, state=tmp_path)


def test_a_mount_point_is_ltfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = open_tape("t", "/proc", volume_size=None, quota=7, state=tmp_path)
    assert isinstance(opened, MountTier)
    assert opened.root == Path("/proc")
