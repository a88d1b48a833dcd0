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
        # Of a script, only what differs.
        (
            {"command": ["sh", "a\nb 1\nc\nd 1"]},
            {"command": ["sh", "a\nb 2\nc\nd 2"]},
            ["command[1] line 2: b 1 → b 2", "command[1] line 4: d 1 → d 2"],
        ),
        ({"c": "a\nb\nc"}, {"c": "a\nc"}, ["c line 2: b → (unset)"]),
        ({"c": "a\nc"}, {"c": "a\nx\ny\nc"}, ["c line 2: (unset) → x\\ny"]),
        ({"c": "a\na"}, {"c": "a\na\na"}, ["c line 3: (unset) → a"]),
        ({"c": ["a\nb", "x"]}, {"c": ["a\nb", "y"]}, ["c[1]: x → y"]),
        ({"c": "a\nb"}, {"c": "a"}, ["c: a\nb → a"]),
    ],
)
def test_changes_in_words(old: dict[str, Any], new: dict[str, Any], says: list[str]) -> None:
    assert [str(change) for change in diff_specs(old, new)] == says
