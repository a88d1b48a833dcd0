"""What every tier must do. Each kind runs all of it; see ``places.MAKERS``."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from mmstack_ops.domain.backups.tier import Tier
from mmstack_ops.domain.errors import (
    FileMissingError,
    ImmutableError,
    InputError,
    TierFullError,
)
from tests.adapters.storage.places import Place

LONGEST = "production/postgres/full/" + "ü" * 127 + "/" + "x" * 255


class InterruptedRunError(BaseException):
    """As Dagster's interruption: no ``Exception``."""


def put(tier: Tier, key: str, content: bytes, *, expected: bool = False) -> None:
    with tier.create(key, expected_size=len(content) if expected else None) as file:
        assert file.write(content) == len(content)


def get(tier: Tier, key: str) -> bytes:
    with tier.read(key) as file:
        return file.read()


def keys(tier: Tier, prefix: str = "") -> list[str]:
    return sorted(file.key for file in tier.list(prefix))


def pieces(size: int, *, piece: int = 1_000_003) -> Iterator[bytes]:
    """Yield ``size`` bytes that don't repeat, in pieces that fit no window."""
    source = random.Random(size)
    while size:
        yield source.randbytes(min(piece, size))
        size -= min(piece, size)


class TierContract:
    """The suite."""

    def test_a_new_tier_can_be_used_and_is_empty(self, tier: Tier) -> None:
        tier.check(writing=False)
        assert keys(tier) == []
        tier.check(writing=True)
        assert keys(tier) == []
        assert tier.usage().used == 0
        assert tier.size("a/b") is None

    @pytest.mark.parametrize("content", [b"", b"x", b"\0" * 70_000], ids=["0", "1", "70,000"])
    @pytest.mark.parametrize("expected", [True, False])
    def test_what_was_written_is_read(self, tier: Tier, content: bytes, expected: bool) -> None:
        put(tier, "a/b/c.bin", content, expected=expected)
        assert get(tier, "a/b/c.bin") == content
        assert tier.size("a/b/c.bin") == len(content)
        assert [(file.key, file.size) for file in tier.list()] == [("a/b/c.bin", len(content))]

    def test_a_large_file_goes_through_unchanged(self, place: Place) -> None:
        tier = place.open(None)
        written, read = hashlib.sha256(), hashlib.sha256()
        with tier.create("large") as file:
            for piece in pieces(place.large):
                file.write(memoryview(piece))
                written.update(piece)
        with place.open(None).read("large") as source:
            while piece := source.read(777_777):
                read.update(piece)
            assert source.read(10) == b""
        assert read.digest() == written.digest()
        assert tier.size("large") == place.large
        assert place.leftovers() == []

    def test_reading_may_end_early(self, tier: Tier) -> None:
        put(tier, "a", b"0123456789" * 100_000)
        with tier.read("a") as file:
            assert file.read(3) == b"012"
            assert file.read(0) == b""
            assert file.read(3) == b"345"
        assert get(tier, "a") == b"0123456789" * 100_000

    def test_lists_by_prefix(self, tier: Tier) -> None:
        for key in ("a/b/1", "a/b/2", "a/bc/3", "a/b.records/4", "ab", "b/a/b/5"):
            put(tier, key, b"x")
        assert keys(tier) == ["a/b.records/4", "a/b/1", "a/b/2", "a/bc/3", "ab", "b/a/b/5"]
        assert keys(tier, "a/b/") == ["a/b/1", "a/b/2"]
        assert keys(tier, "a/b") == ["a/b.records/4", "a/b/1", "a/b/2", "a/bc/3"]
        assert keys(tier, "a") == ["a/b.records/4", "a/b/1", "a/b/2", "a/bc/3", "ab"]
        assert keys(tier, "a/b/2") == ["a/b/2"]
        assert keys(tier, "a/b/2/") == []
        assert keys(tier, "c/") == []

    def test_a_file_is_never_replaced(self, tier: Tier) -> None:
        put(tier, "a/b", b"first")
        with pytest.raises(ImmutableError), tier.create("a/b") as file:
            file.write(b"second")
        assert get(tier, "a/b") == b"first"

    def test_the_later_of_two_overlapping_writers_is_refused(self, place: Place) -> None:
        first, second = place.open(None), place.open(None)
        with pytest.raises(ImmutableError), first.create("a/b") as file:  # noqa: PT012
            file.write(b"begun first")
            put(second, "a/b", b"done first")
        assert get(first, "a/b") == b"done first"
        assert place.leftovers() == []

    def test_of_many_racing_writers_exactly_one_wins(self, place: Place) -> None:
        start = threading.Barrier(6)

        def race(number: int) -> bool:
            tier = place.open(None)
            start.wait()
            try:
                with tier.create("raced") as file:
                    file.write(b"%d" % number * 50_000)
                    start.wait()
            except ImmutableError:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(race, range(6)))
        assert won.count(True) == 1
        assert get(place.open(None), "raced") == b"%d" % won.index(True) * 50_000
        assert place.leftovers() == []

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, InterruptedRunError])
    def test_a_block_that_fails_leaves_nothing(
        self, place: Place, failure: type[BaseException]
    ) -> None:
        tier = place.open(None)
        with pytest.raises(failure), tier.create("a/b") as file:  # noqa: PT012
            for piece in pieces(min(place.large, 20 << 20)):
                file.write(piece)
            raise failure("in the middle")
        assert keys(tier) == []
        assert tier.size("a/b") is None
        assert place.leftovers() == []
        put(tier, "a/b", b"now")
        assert get(tier, "a/b") == b"now"

    def test_nothing_is_seen_before_the_block_ends(self, place: Place) -> None:
        tier, other = place.open(None), place.open(None)
        with tier.create("a/b") as file:
            file.write(b"x" * 100_000)
            assert keys(other) == []
            assert other.size("a/b") is None
        assert keys(other) == ["a/b"]

    def test_deletes_in_the_given_order(self, tier: Tier) -> None:
        for number in range(4):
            put(tier, f"a/{number}", b"x")
        seen: list[list[str]] = []

        def order() -> Iterator[str]:
            for number in (2, 9, 0, 1):
                yield f"a/{number}"
                seen.append(keys(tier))

        tier.delete(order())
        assert seen == [
            ["a/0", "a/1", "a/3"],
            ["a/0", "a/1", "a/3"],
            ["a/1", "a/3"],
            ["a/3"],
        ]
        with pytest.raises(FileMissingError):
            get(tier, "a/2")

    def test_those_before_a_failure_are_gone(self, tier: Tier) -> None:
        put(tier, "a", b"x")
        put(tier, "b", b"x")
        with pytest.raises(InputError):
            tier.delete(["a", "../escape", "b"])
        assert keys(tier) == ["b"]

    def test_a_deleted_key_can_be_written_again(self, tier: Tier) -> None:
        put(tier, "a/b/c", b"old")
        tier.delete(["a/b/c"])
        put(tier, "a/b/c", b"new")
        assert get(tier, "a/b/c") == b"new"

    def test_reading_what_is_not_there(self, tier: Tier) -> None:
        put(tier, "a/b", b"x")
        for key in ("nothing", "a/c", "a"):
            with pytest.raises(FileMissingError), tier.read(key) as file:
                file.read()
            assert tier.size(key) is None

    @pytest.mark.parametrize(
        "key",
        [
            "with space/a  b",
            "ünïcödé/日本語/🗄",
            "plus+and&amp;%41=?#[]!'()*,;:@~$",
            "back\\slash",
            '"quotes"/<tag>',
            "-dash/--help",
            "a/.hidden",
            "a/..b",
            "trailing./ and space /x",
            "percent%2Fslash",
            LONGEST,
        ],
    )
    def test_odd_names(self, tier: Tier, key: str) -> None:
        put(tier, key, key.encode())
        assert get(tier, key) == key.encode()
        assert keys(tier) == [key]
        assert keys(tier, key.rpartition("/")[0] + "/" if "/" in key else "") == [key]
        tier.delete([key])
        assert keys(tier) == []

    @pytest.mark.parametrize(
        "key",
        [
            *["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/./b", "a//b", "a/", ".incoming/x"],
            *["a\nb", "a\0b", "a/\x7f", "\ud800", "x" * 256, "/".join("ab" * 300)],
        ],
    )
    def test_names_that_are_refused(self, place: Place, key: str) -> None:
        tier = place.open(None)
        with pytest.raises(InputError), tier.create(key):
            pytest.fail("such a key was taken")
        with pytest.raises(InputError), tier.read(key):
            pytest.fail("such a key was read")
        with pytest.raises(InputError):
            tier.delete([key])
        with pytest.raises(InputError):
            tier.size(key)
        assert keys(tier) == []

    def test_a_prefix_can_not_lead_out(self, tier: Tier) -> None:
        for prefix in ("../", "/etc/", "a/../../"):
            with pytest.raises(InputError):
                list(tier.list(prefix))

    def test_the_quota_refuses_before_writing(self, place: Place) -> None:
        put(place.open(None), "there", b"x" * 600)
        tier = place.open(1000)
        with pytest.raises(TierFullError), tier.create("a", expected_size=401):
            pytest.fail("the block was entered")
        put(tier, "a", b"x" * 400, expected=True)
        with pytest.raises(TierFullError):
            put(tier, "b", b"x")
        assert keys(tier) == ["a", "there"]

    def test_the_quota_refuses_while_writing(self, place: Place) -> None:
        tier = place.open(1000)
        with pytest.raises(TierFullError, match="quota"), tier.create("a") as file:  # noqa: PT012
            file.write(b"x" * 900)
            file.write(b"x" * 101)
        assert keys(tier) == []
        assert place.leftovers() == []
        put(tier, "a", b"x" * 1000)

    def test_the_quota_counts_files_that_are_being_written(self, place: Place) -> None:
        tier = place.open(1000)
        with tier.create("a", expected_size=700) as file:
            # Counts anew: what isn't published must not be forgotten by that.
            assert tier.usage().used == 0
            with pytest.raises(TierFullError):
                put(tier, "b", b"x" * 301)
            file.write(b"x" * 100)
        put(tier, "b", b"x" * 900)
        assert tier.usage().used == 1000

    def test_failed_writes_give_their_share_of_the_quota_back(self, place: Place) -> None:
        tier = place.open(1000)
        for _ in range(3):
            with pytest.raises(KeyError), tier.create("a", expected_size=900) as file:  # noqa: PT012
                file.write(b"x" * 950)
                raise KeyError
        put(tier, "a", b"x" * 1000)

    def test_deleting_gives_the_quota_back(self, place: Place) -> None:
        if not place.reclaims:
            return
        tier = place.open(1000)
        put(tier, "a", b"x" * 1000)
        tier.delete(["a"])
        put(tier, "b", b"x" * 1000)

    def test_usage(self, place: Place) -> None:
        tier = place.open(10_000)
        put(tier, "a/b", b"x" * 1234)
        put(tier, "c", b"x" * 1000)
        usage = tier.usage()
        assert (usage.used, usage.quota) == (2234, 10_000)
        assert place.open(None).usage().quota is None

    def test_sweeping_leaves_live_writers_and_files_alone(self, place: Place) -> None:
        tier, other = place.open(None), place.open(None)
        put(tier, "published", b"x")
        told: list[str] = []
        with tier.create("live") as file:
            for piece in pieces(min(place.large, 20 << 20)):
                file.write(piece)
            other.sweep(older_than=datetime.now(UTC) - timedelta(hours=24), tell=told.append)
            file.write(b"end")
        assert told == []
        assert keys(tier) == ["live", "published"]
        assert get(tier, "live")[-3:] == b"end"

    def test_sweeping_an_empty_tier(self, tier: Tier) -> None:
        told: list[str] = []
        tier.sweep(older_than=datetime.now(UTC), tell=told.append)
        assert told == []

    def test_many_threads_on_one_tier(self, tier: Tier) -> None:
        def work(number: int) -> None:
            key = f"shared/{number % 3}/{number}"
            content = b"%d" % number * 1000
            put(tier, key, content)
            assert get(tier, key) == content
            if number % 2:
                tier.delete([key])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(40)))
        assert keys(tier) == sorted(f"shared/{n % 3}/{n}" for n in range(0, 40, 2))

    def test_one_writer_in_several_files_at_once(self, tier: Tier) -> None:
        with tier.create("a") as first, tier.create("b") as second:
            for _ in range(10):
                first.write(b"a" * 10_000)
                second.write(b"b" * 10_000)
        assert get(tier, "a") == b"a" * 100_000
        assert get(tier, "b") == b"b" * 100_000
