"""Field-by-field comparison."""

from __future__ import annotations

from typing import Any

import pytest

from mmstack_ops.domain.stacks.diff import diff_specs


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"image": "a:1"}, {"image": "a:2"}, ["image: a:1 → a:2"]),
        ({"e": {"A": "1"}}, {"e": {"A": "2"}}, ["e.A: 1 → 2"]),
        ({"e": {"A": "1", "B": "1"}}, {"e": {"B": "1"}}, ["e.A: 1 → (unset)"]),
        ({}, {"user": "1000"}, ["user: (unset) → 1000"]),
        ({"p": [1]}, {"p": [1, 2]}, ["p: [1] → [1, 2]"]),
        ({"e": {"A": "hmac:1"}}, {"e": {"A": "hmac:2"}}, ["e.A: (secret) → (secret)"]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, ["a: 1 → 2", "b: 1 → 2"]),
        ({"a": [{"k": 1}]}, {"a": [{"k": 1}]}, []),
    ],
)
def test_changes_in_words(old: dict[str, Any], new: dict[str, Any], says: list[str]) -> None:
    assert [str(change) for change in diff_specs(old, new)] == says
