"""The contract on every kind of tier, and histories at random against a dictionary."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mmstack_ops.domain.errors import FileMissingError, ImmutableError, TierFullError
from tests.adapters.storage.contract import TierContract, get, put
from tests.adapters.storage.places import MAKERS
from tests.profiles import examples

QUOTA = 200_000
KEYS = st.sampled_from(["a", "a.b", "b/c", "b/c.records/1", "b/d/e", "b/d/ü x", "c/d/e/f/g"])
SIZES = st.sampled_from([0, 1, 10, 4096, 60_000, 150_000])


class TestContract(TierContract):
    pass


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_histories_at_random(kind: str) -> None:
    class History(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.stack = contextlib.ExitStack()
            folder = self.stack.enter_context(tempfile.TemporaryDirectory())
            self.place = self.stack.enter_context(MAKERS[kind](Path(folder)))
            self.tier = self.place.open(QUOTA)
            self.model: dict[str, bytes] = {}

        def teardown(self) -> None:
            assert self.place.leftovers() == []
            self.stack.close()

        @rule(key=KEYS, size=SIZES, expected=st.booleans(), fails=st.booleans())
        def write(self, key: str, size: int, expected: bool, fails: bool) -> None:
            content = bytes([len(self.model)]) * size
            full = sum(map(len, self.model.values())) + size > QUOTA
            conflict = any(
                k != key and (k.startswith(f"{key}/") or key.startswith(f"{k}/"))
                for k in self.model
            )
            assert not conflict, "the keys of this test don't nest"
            try:
                with self.tier.create(key, expected_size=size if expected else None) as file:
                    file.write(content)
                    if fails:
                        raise ValueError
            except ImmutableError:
                assert key in self.model
            except TierFullError:
                assert full or not self.place.reclaims
            except ValueError:
                assert fails
            else:
                assert not fails
                assert not full
                assert key not in self.model
                self.model[key] = content

        @rule(keys=st.lists(KEYS, max_size=3))
        def delete(self, keys: list[str]) -> None:
            self.tier.delete(keys)
            for key in keys:
                self.model.pop(key, None)

        @rule(key=KEYS)
        def read(self, key: str) -> None:
            try:
                assert get(self.tier, key) == self.model[key]
            except FileMissingError:
                assert key not in self.model

        @rule()
        def reopen(self) -> None:
            self.tier = self.place.open(QUOTA)

        @invariant()
        def lists_what_is_there(self) -> None:
            listed = {file.key: file.size for file in self.tier.list()}
            assert listed == {key: len(content) for key, content in self.model.items()}

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        History,
        settings=settings(
            max_examples=examples(8 if kind == "s3" else 25),
            stateful_step_count=12,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_suite_sees_a_tier_that_loses_bytes(tmp_path: Path) -> None:
    """A contract that nothing can fail proves nothing."""
    with MAKERS["directory"](tmp_path) as place:
        tier = place.open(None)
        put(tier, "a/b/c.bin", b"content")
        (tmp_path / "tier/a/b/c.bin").write_bytes(b"conten")
        assert get(tier, "a/b/c.bin") != b"content"
