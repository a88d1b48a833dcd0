"""The write side and the read side: exact bytes, clear errors, nothing left after a failure."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmstack_ops.artifacts.encryption import Keys, NoKeyError, choose_recipients
from mmstack_ops.artifacts.payload_reader import opened
from mmstack_ops.artifacts.payload_writer import Packing, storing
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.errors import (
    ArtifactError,
    CancelledError,
    InputError,
    MmstackError,
    TierFullError,
    TierUnavailableError,
)
from tests.operations.backups.fakes import MemoryTier
from tests.profiles import examples

NO_KEYS = Keys(None)


def store(
    tier: MemoryTier,
    content: bytes,
    packing: Packing,
    *,
    throttle: Throttle | None = None,
    piece: int = 0,
) -> Payload:
    with storing(tier, "a/b", packing, throttle or Throttle(threading.Event())) as target:
        for start in range(0, len(content), piece or max(1, len(content))):
            target.write(content[start : start + (piece or len(content))])
    return target.describe("b", "dump", packing, {})


def storing_while(
    tier: MemoryTier,
    work: Callable[[BinaryIO], object],
    packing: Packing | None = None,
    *,
    cancel: threading.Event | None = None,
) -> None:
    with storing(
        tier, "a/b", packing or Packing(), Throttle(cancel or threading.Event())
    ) as target:
        work(target)  # type: ignore[arg-type]  # a raw file, which is all that is needed


def load(tier: MemoryTier, payload: Payload, keys: Keys = NO_KEYS, *, piece: int = -1) -> bytes:
    with opened(tier, "a/b", payload, keys) as source:
        if piece < 0:
            return source.read()
        return b"".join(iter(lambda: source.read(piece), b""))


@settings(max_examples=examples(30))
@given(
    content=st.binary(max_size=20_000),
    repeat=st.integers(0, 200),
    piece=st.integers(1, 3_000_000),
    threads=st.integers(0, 2),
)
def test_what_goes_in_comes_out(content: bytes, repeat: int, piece: int, threads: int) -> None:
    tier = MemoryTier()
    whole = content * repeat
    piece = max(piece, len(whole) // 500)
    payload = store(tier, whole, Packing(threads=threads), piece=piece)
    assert load(tier, payload, piece=piece) == whole
    assert payload.plain_bytes == len(whole)
    assert payload.plain_sha256 == hashlib.sha256(whole).hexdigest()
    assert payload.sha256 == hashlib.sha256(tier.files["a/b"]).hexdigest()
    assert payload.stored_bytes == len(tier.files["a/b"])


def test_encrypted_bytes_open_with_the_key_only(
    identity: Path, recipient: str, tmp_path: Path
) -> None:
    import pyrage

    tier = MemoryTier()
    content = os.urandom(3_000_001)
    payload = store(tier, content, Packing(recipients=(recipient,)))
    assert payload.encryption == "age"
    assert tier.files["a/b"].startswith(b"age-encryption.org/v1\n")
    assert load(tier, payload, Keys(identity)) == content
    with pytest.raises(NoKeyError, match="no key"):
        load(tier, payload)
    other = tmp_path / "other"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    other.chmod(0o600)
    with pytest.raises(NoKeyError, match="doesn't open with the age identity"):
        load(tier, payload, Keys(other))
    other.chmod(0o644)
    with pytest.raises(NoKeyError) as caught:
        load(tier, payload, Keys(other))
    assert "chmod 600" in str(caught.value)
    assert "AGE-SECRET" not in str(caught.value)


@pytest.mark.parametrize("encrypted", [False, True])
def test_every_kind_of_damage_is_found(identity: Path, recipient: str, encrypted: bool) -> None:
    """Bits flipped anywhere, bytes cut off or added: never wrong bytes without an error."""
    chance = random.Random(3)
    tier = MemoryTier()
    content = b"some rows of a table\n" * 20_000 + chance.randbytes(100_000)
    packing = Packing(recipients=(recipient,) if encrypted else ())
    payload = store(tier, content, packing)
    good = tier.files["a/b"]
    damages = [good[:-1], good[: len(good) // 2], b"", good + b"x", good + good, b"x" * len(good)]
    for _ in range(40):
        at = chance.randrange(len(good))
        damages.append(good[:at] + bytes([good[at] ^ (1 << chance.randrange(8))]) + good[at + 1 :])
    for damaged in damages:
        tier.files["a/b"] = damaged
        with pytest.raises(ArtifactError):
            load(tier, payload, Keys(identity))
    del tier.files["a/b"]
    with pytest.raises(ArtifactError, match="is missing"):
        load(tier, payload, Keys(identity))


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_tier_that_fails_reaches_the_writer(recipient: str, encrypted: bool) -> None:
    tier = MemoryTier(capacity=5_000_000)
    packing = Packing(recipients=(recipient,) if encrypted else ())
    taken: list[int] = []

    def fill(target: BinaryIO) -> None:
        while True:  # No end: only the error gets us out.
            taken.append(target.write(os.urandom(1 << 20)))

    with pytest.raises(TierFullError, match="memory is full"):
        storing_while(tier, fill, packing)
    assert len(taken) < 60
    assert tier.files == {}


def test_a_failure_at_any_operation_publishes_nothing() -> None:
    content = os.urandom(3_000_000)
    counting = MemoryTier()
    store(counting, content, Packing())
    for fatal in range(1, counting.steps):
        tier = MemoryTier()

        def fail(action: str, key: str, tier: MemoryTier = tier, fatal: int = fatal) -> None:
            if tier.steps == fatal:
                raise TierUnavailableError("the tier went away")

        tier.on_step = fail
        with pytest.raises(TierUnavailableError):
            store(tier, content, Packing())
        assert tier.files == {}


def test_an_error_in_the_block_is_the_one_that_is_raised() -> None:
    tier = MemoryTier()

    def divide(target: BinaryIO) -> None:
        target.write(b"half of it")
        _ = 1 // 0

    with pytest.raises(ZeroDivisionError):
        storing_while(tier, divide)
    assert tier.files == {}


def test_an_error_that_the_block_swallows_comes_back_at_its_end() -> None:
    tier = MemoryTier(capacity=10)

    def swallow(target: BinaryIO) -> None:
        with contextlib.suppress(MmstackError):
            for _ in range(20):
                target.write(os.urandom(1 << 20))

    with pytest.raises(TierFullError):
        storing_while(tier, swallow)
    assert tier.files == {}


def test_cancelling_stops_it_and_leaves_nothing() -> None:
    tier = MemoryTier()
    cancel = threading.Event()

    def write_and_cancel(target: BinaryIO) -> None:
        target.write(os.urandom(1 << 20))
        cancel.set()
        target.write(os.urandom(1 << 20))

    with pytest.raises(CancelledError):
        storing_while(tier, write_and_cancel, cancel=cancel)
    assert tier.files == {}


class Clock(threading.Event):
    """A clock that goes on by what is waited, and by nothing else."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0
        return self.is_set()


def test_the_rate_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("mmstack_ops.artifacts.throttle.time", clock)
    throttle = Throttle(clock, rate_limit=6 << 20)
    payload = store(MemoryTier(), os.urandom(30 << 20), Packing(), throttle=throttle)
    assert clock.now == pytest.approx(payload.stored_bytes / (6 << 20))


def test_a_cancel_ends_the_wait_for_the_rate() -> None:
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(CancelledError):
        store(MemoryTier(), os.urandom(3 << 20), Packing(), throttle=Throttle(cancel, rate_limit=1))


def test_leaving_a_reader_early_ends_its_thread() -> None:
    tier = MemoryTier()
    payload = store(tier, os.urandom(40 << 20), Packing())
    with opened(tier, "a/b", payload, NO_KEYS) as source:
        assert len(source.read(10)) == 10
    assert not [t for t in threading.enumerate() if t.name.startswith("backup-")]


def test_recipients_are_read_by_policy(recipient: str) -> None:
    variables = {"BACKUP_AGE_RECIPIENTS": f" {recipient}, {recipient}\n"}
    assert choose_recipients(variables, "when-keyed") == (recipient,)
    assert choose_recipients(variables, "required") == (recipient,)
    assert choose_recipients(variables, "none") == ()
    assert choose_recipients({}, "when-keyed") == ()
    with pytest.raises(InputError, match="names nobody"):
        choose_recipients({"BACKUP_AGE_RECIPIENTS": ""}, "required")


def test_bad_recipients_are_refused_and_secret_keys_never_shown(
    identity: Path, recipient: str
) -> None:
    with pytest.raises(InputError, match="no age recipient"):
        choose_recipients({"BACKUP_AGE_RECIPIENTS": recipient[:-1]}, "when-keyed")
    secret = identity.read_text().strip()
    with pytest.raises(InputError) as caught:
        choose_recipients({"BACKUP_AGE_RECIPIENTS": f"{recipient} {secret}"}, "when-keyed")
    assert secret[20:40] not in str(caught.value)
