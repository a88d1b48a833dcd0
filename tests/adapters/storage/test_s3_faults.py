"""An S3 tier at an endpoint that fails in every known way: exact bytes, or a clear error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmstack_ops.adapters.storage.s3.calls import Credentials, Patience
from mmstack_ops.adapters.storage.s3.location import S3Location
from mmstack_ops.adapters.storage.s3.s3_tier import S3Tier
from mmstack_ops.domain.errors import (
    FileMissingError,
    ImmutableError,
    TierError,
    TierFullError,
    TierUnavailableError,
)
from tests.adapters.storage.contract import get, pieces, put
from tests.adapters.storage.scripted import Endpoint, Fault, scripted

ACCESS, SECRET = "AKIDVISIBLENOWHERE", "s3cr3t/visible+nowhere"
PATIENCE = Patience(attempts=4, first_pause=0.01, longest_pause=0.05, connect=1.0, read=0.5)
LARGE = (18 << 20) + 5
"""Three parts."""
ERROR_500 = Fault(status=500, code="InternalError", message="We encountered an internal error.")
SLOW_DOWN = Fault(status=503, code="SlowDown", message="Please reduce your request rate.")
THROTTLED = Fault(status=429, code="TooManyRequests")
CUT = Fault(silent=True)
LOST_ANSWER = Fault(silent=True, works=True)
TOO_SLOW = Fault(slow=0.8, silent=True)
WRONG_SUM = Fault(checksum="AAAAAA==")
PASSING = [ERROR_500, SLOW_DOWN, THROTTLED, CUT, LOST_ANSWER, TOO_SLOW, WRONG_SUM]
NAMES = ["500", "SlowDown", "429", "cut", "lost answer", "too slow", "wrong checksum"]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with scripted() as made:
        yield made


@pytest.fixture
def tier(endpoint: Endpoint) -> S3Tier:
    return tier_at(endpoint.url)


def tier_at(url: str, *, encryption: str | None = None, lock: float | None = None) -> S3Tier:
    return S3Tier(
        "cloud",
        S3Location(url, "bucket", "p/"),
        Credentials(ACCESS, SECRET),
        encryption=encryption,
        lock=lock,
        patience=PATIENCE,
    )


def large() -> bytes:
    return b"".join(pieces(LARGE))


@pytest.mark.parametrize("fault", PASSING, ids=NAMES)
class TestWhatPasses:
    def test_of_a_small_file(self, endpoint: Endpoint, tier: S3Tier, fault: Fault) -> None:
        endpoint.fail("put", fault, fault)
        put(tier, "a", b"content")
        assert endpoint.objects["p/a"].content == b"content"

    def test_of_a_part(self, endpoint: Endpoint, tier: S3Tier, fault: Fault) -> None:
        endpoint.fail("part", fault, fault)
        put(tier, "a", large())
        assert endpoint.objects["p/a"].content == large()
        assert endpoint.uploads == {}

    def test_of_the_completion(self, endpoint: Endpoint, tier: S3Tier, fault: Fault) -> None:
        endpoint.fail("complete", fault)
        put(tier, "a", large())
        assert endpoint.objects["p/a"].content == large()

    def test_of_looking_and_reading(self, endpoint: Endpoint, tier: S3Tier, fault: Fault) -> None:
        put(tier, "a", b"content")
        for operation in ("head", "get", "list"):
            endpoint.fail(operation, fault)
        assert tier.size("a") == 7
        assert get(tier, "a") == b"content"
        assert [file.size for file in tier.list()] == [7]


def test_an_error_in_a_successful_completion_is_a_failure(endpoint: Endpoint, tier: S3Tier) -> None:
    endpoint.fail("complete", *[Fault(status=200, code="InternalError")] * 10)
    with pytest.raises(TierError, match="InternalError"):
        put(tier, "a", large())
    assert endpoint.asked["complete"] == PATIENCE.attempts
    assert endpoint.objects == {}
    assert endpoint.uploads == {}


def test_an_error_in_a_successful_completion_may_pass(endpoint: Endpoint, tier: S3Tier) -> None:
    endpoint.fail("complete", Fault(status=200, code="InternalError"))
    put(tier, "a", large())
    assert endpoint.objects["p/a"].content == large()


def test_a_completion_that_lost_a_part_is_a_failure(endpoint: Endpoint, tier: S3Tier) -> None:
    with pytest.raises(TierError, match="incompletely"), tier.create("a") as file:  # noqa: PT012
        file.write(large())
        while len(endpoint.uploads["upload-0"]) < 2:
            time.sleep(0.01)
        del endpoint.uploads["upload-0"][1]


@pytest.mark.parametrize("operation", ["put", "begin", "part", "complete"])
def test_what_does_not_pass_leaves_nothing(
    endpoint: Endpoint, tier: S3Tier, operation: str
) -> None:
    endpoint.fail(operation, *[ERROR_500] * 40)
    content = b"content" if operation == "put" else large()
    with pytest.raises(TierUnavailableError, match="InternalError"):
        put(tier, "a", content)
    assert endpoint.objects == {}
    assert endpoint.uploads == {}
    endpoint.faults.clear()
    put(tier, "a", content)
    assert endpoint.objects["p/a"].content == content


def test_a_wrong_checksum_that_stays_is_an_error(endpoint: Endpoint, tier: S3Tier) -> None:
    endpoint.fail("part", *[WRONG_SUM] * 40)
    with pytest.raises(TierError, match="checksum"):
        put(tier, "a", large())
    assert endpoint.objects == {}
    assert endpoint.uploads == {}


@pytest.mark.parametrize("after", [0, 1, 1000, 1 << 20, LARGE - 1])
def test_a_cut_answer_is_taken_up_where_it_ended(
    endpoint: Endpoint, tier: S3Tier, after: int
) -> None:
    put(tier, "a", large())
    endpoint.fail("get", Fault(cut_after=after), Fault(cut_after=100), ERROR_500)
    assert get(tier, "a") == large()
    assert endpoint.asked["get"] >= 2


def test_an_answer_that_is_cut_again_and_again(endpoint: Endpoint, tier: S3Tier) -> None:
    put(tier, "a", large())
    endpoint.fail("get", *[Fault(cut_after=0)] * 40)
    with pytest.raises(TierUnavailableError, match="cut"):
        get(tier, "a")


def test_an_object_that_was_replaced_while_it_was_read(endpoint: Endpoint, tier: S3Tier) -> None:
    put(tier, "a", large())
    endpoint.fail("get", Fault(cut_after=1000), Fault(status=412, code="PreconditionFailed"))
    with pytest.raises(FileMissingError, match="any more"):
        get(tier, "a")


@pytest.mark.parametrize("content", [b"content", large()], ids=["small", "large"])
def test_an_endpoint_without_conditions(endpoint: Endpoint, tier: S3Tier, content: bytes) -> None:
    endpoint.conditional = False
    put(tier, "a", content)
    assert endpoint.objects["p/a"].content == content
    with pytest.raises(ImmutableError):
        put(tier, "a", b"other")
    assert endpoint.objects["p/a"].content == content


def test_interrupted_while_the_endpoint_works(endpoint: Endpoint, tier: S3Tier) -> None:
    """The object stands there, but the caller never heard of it: it goes again."""
    endpoint.fail("put", *[LOST_ANSWER] * 40)
    endpoint.fail("head", Fault(), *[ERROR_500] * PATIENCE.attempts)
    with pytest.raises(TierError):
        put(tier, "a", b"content")
    assert endpoint.objects == {}


def test_a_full_endpoint(endpoint: Endpoint, tier: S3Tier) -> None:
    endpoint.fail("part", *[Fault(status=507, code="XMinioStorageFull")] * 3)
    with pytest.raises(TierFullError):
        put(tier, "a", large())
    assert endpoint.uploads == {}


def test_an_upload_that_somebody_aborted(endpoint: Endpoint, tier: S3Tier) -> None:
    with pytest.raises(TierError, match="upload is gone"), tier.create("a") as file:  # noqa: PT012
        file.write(large())
        while len(endpoint.uploads["upload-0"]) < 2:
            time.sleep(0.01)
        endpoint.uploads.clear()


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Fault(status=403, code="InvalidAccessKeyId"), "BACKUP_CLOUD_ACCESS_KEY"),
        (Fault(status=403, code="SignatureDoesNotMatch"), "BACKUP_CLOUD_SECRET_KEY"),
        (Fault(status=403, code="RequestTimeTooSkewed"), "clock"),
        (Fault(status=403, code="AccessDenied"), "allow this key"),
        (Fault(status=301, code="PermanentRedirect"), "region"),
    ],
)
def test_check_says_what_to_do(endpoint: Endpoint, tier: S3Tier, fault: Fault, remedy: str) -> None:
    endpoint.fail("head_bucket", fault)
    endpoint.fail("list", fault)
    with pytest.raises(TierUnavailableError) as caught:
        tier.check(writing=False)
    assert remedy in caught.value.remedy


def test_check_without_a_bucket(endpoint: Endpoint, tier: S3Tier) -> None:
    endpoint.bucket = False
    with pytest.raises(TierUnavailableError, match="no bucket"):
        tier.check(writing=True)


def test_check_of_an_endpoint_that_is_not_there() -> None:
    with scripted() as endpoint:
        url = endpoint.url
    # A check doesn't wait and try again: with this patience that would take for ever.
    patient = Patience(attempts=1000, first_pause=600.0, longest_pause=600.0)
    location = S3Location(url, "bucket", "p/")
    tier = S3Tier("cloud", location, Credentials(ACCESS, SECRET), patience=patient)
    with pytest.raises(TierUnavailableError, match="connection refused"):
        tier.check(writing=True)


def test_check_without_credentials(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of whoever runs this are not taken."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "else")
    tier = S3Tier("cloud", S3Location(endpoint.url, "bucket", ""), Credentials("", ""))
    with pytest.raises(TierUnavailableError, match="no credentials"):
        tier.check(writing=False)
    assert not endpoint.asked


def test_settings_of_whoever_runs_this_play_no_part(
    endpoint: Endpoint, tier: S3Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    put(tier, "a", b"x")
    signed = [headers["Authorization"] for headers in endpoint.seen_headers]
    assert all(f"Credential={ACCESS}/" in line and "/us-east-1/s3/" in line for line in signed)


def test_errors_show_no_credentials(endpoint: Endpoint, tier: S3Tier) -> None:
    said = f"the key {ACCESS} with {SECRET} isn't known"
    for fault in (Fault(status=403, code="AccessDenied", message=said), *[CUT] * 4):
        endpoint.faults.clear()
        endpoint.fail("put", *[fault] * 10)
        with pytest.raises(TierError) as caught:
            put(tier, "a", b"x")
        shown = str(caught.value) + repr(caught.value) + str(caught.value.__cause__)
        assert ACCESS not in shown
        assert SECRET not in shown
        assert "Signature=" not in shown
    assert SECRET not in repr(vars(tier))


def test_encryption_and_lock_are_asked_for(endpoint: Endpoint) -> None:
    tier = tier_at(endpoint.url, encryption="AES256", lock=3600)
    put(tier, "a", b"x")
    put(tier, "b", large())
    asked = [headers for headers in endpoint.seen_headers if headers[""] in ("put", "begin")]
    assert len(asked) == 2
    for headers in asked:
        lower = {name.lower(): value for name, value in headers.items()}
        assert lower["x-amz-server-side-encryption"] == "AES256"
        assert lower["x-amz-object-lock-mode"] == "GOVERNANCE"
        assert "x-amz-object-lock-retain-until-date" in lower


def test_cancelling_does_not_wait_for_retries(endpoint: Endpoint) -> None:
    patient = Patience(attempts=50, first_pause=600.0, longest_pause=600.0)
    tier = S3Tier(
        "cloud", S3Location(endpoint.url, "bucket", "p/"), Credentials("a", "b"), patience=patient
    )
    endpoint.fail("part", *[SLOW_DOWN] * 50)
    with pytest.raises(KeyboardInterrupt), tier.create("a") as file:  # noqa: PT012
        file.write(large())
        raise KeyboardInterrupt
    assert endpoint.uploads == {}


def test_memory_stays_constant(endpoint: Endpoint, tier: S3Tier) -> None:
    """Parts in flight and the one that is filled, not the file."""
    from mmstack_ops.adapters.storage.s3 import parts as s3_parts

    sizes = [(n, s3_parts.part_size(n, None)) for n in range(1, s3_parts.MOST_PARTS + 1)]
    assert sum(size for _, size in sizes) >= s3_parts.LARGEST_OBJECT
    for _, size in sizes[:8000]:
        assert size * (s3_parts.in_flight(size) + 1) <= 64 << 20
    for expected in (0, 1, 10**9, 10**11, 10**12, s3_parts.LARGEST_OBJECT):
        known = [s3_parts.part_size(n, expected) for n in range(1, s3_parts.MOST_PARTS + 1)]
        assert sum(known) >= expected
        assert min(known) >= 5 << 20
        assert max(known) <= 5 << 30


def test_threads_end_with_the_file(tier: S3Tier) -> None:
    before = {thread.name for thread in threading.enumerate()}
    put(tier, "a", large())
    left = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in left if name.startswith("upload to")]
