"""What a backup says it doesn't hold: in its facts, its manifest, its proof and its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.events import Proof
from mmstack_ops.domain.backups.facts import Facts, compare, is_below, parse_facts
from mmstack_ops.domain.backups.listing import Folder, Listing, merge
from mmstack_ops.domain.backups.manifest import NAMED, Manifest, omissions, parse_manifest
from mmstack_ops.domain.backups.records import RecordName
from mmstack_ops.domain.backups.reference import BackupRef

NAMES = st.text(st.characters(exclude_categories=[]), min_size=1)
REF = BackupRef("testing", "redis", "rdb", "20260101T000000Z-0123456789ab")
AT = datetime(2026, 1, 2, tzinfo=UTC)


def manifest_of(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "format": 2,
        "project": "lab",
        "environment": REF.environment,
        "service": REF.service,
        "type": REF.type,
        "id": REF.id,
        "created": REF.created,
        "finished": REF.created,
        "method": "a copy",
        "image": "redis:7",
        "versions": {},
        "payloads": (),
        "figures": {},
        "restore_by_hand": (),
        **changes,
    }
    return Manifest.model_validate(values)


@given(st.dictionaries(NAMES, NAMES), st.dictionaries(NAMES, NAMES))
def test_names_of_any_bytes_come_back_from_the_facts(
    not_covered: dict[str, str], excluded: dict[str, str]
) -> None:
    facts = Facts(items=dict.fromkeys(excluded, "x"), not_covered=not_covered, excluded=excluded)
    assert parse_facts(facts.to_bytes()) == facts


def test_facts_of_the_format_before_are_read() -> None:
    old = b'{"bounds": {}, "complete": true, "figures": {"keys": 1}, "items": {"k": "v"}}\n'
    assert parse_facts(old) == Facts(figures={"keys": 1}, items={"k": "v"})


def test_what_is_left_out_may_be_there_after_a_restore() -> None:
    recorded = Facts(
        items={"data/a": "1"}, not_covered={"data/log": "it grew"}, excluded={"data/cache": "x"}
    )
    there = {"data/a": "1", "data/log": "9", "data/cache/deep/file": "8"}
    assert compare(recorded, Facts(items=there)).equal
    assert not compare(recorded, Facts(items=there | {"data/cached": "7"})).equal


def test_an_error_is_never_equal_to_an_error() -> None:
    recorded = Facts(items={"a": "1"})
    found = Facts(items={"a": "1"}, not_covered={"b": "no such module: x"})
    assert compare(recorded, found).differences == ("b can't be compared: no such module: x",)
    known = Facts(items={"a": "1"}, not_covered={"b": "no such module: x"})
    assert compare(known, found).equal


@pytest.mark.parametrize(
    ("name", "below"), [("a", True), ("a/b/c", True), ("ab", False), ("", False), ("b/a", False)]
)
def test_below(name: str, below: bool) -> None:
    assert is_below(name, {"a"}) is below


def test_a_manifest_names_the_first_and_counts_all() -> None:
    many = {f"file {number:05}\udcff": "it changed" for number in range(NAMED + 5)}
    manifest = manifest_of(not_covered=omissions(many), not_covered_count=len(many))
    read = parse_manifest(manifest.to_bytes(), REF)
    assert read == manifest
    assert len(read.not_covered) == NAMED
    assert read.not_covered[0].name == "file 00000\\xff"
    assert not read.covers_all
    assert read.not_covered_text(1) == "not covered: file 00000\\xff (it changed) and 1004 more"


def test_a_manifest_of_the_format_before_covers_nobody_knows_what() -> None:
    manifest = manifest_of(format=1)
    assert not manifest.covers_all
    assert "without an inventory" in manifest.not_covered_text()


def test_a_proof_that_does_not_cover_all_is_partial() -> None:
    same = compare(Facts(figures={"keys": 1}), Facts(figures={"keys": 1}))
    proof = Proof(REF, "local", AT, 1, 1, same, "redis:7", not_covered="not covered: acl (why)")
    assert proof.proven
    assert not proof.complete
    assert proof.to_json()["complete"] is False


def test_a_row_knows_that_its_newest_proof_is_partial() -> None:
    def row(*results: str):  # type: ignore[no-untyped-def]
        names = [
            str(RecordName("proven", "local", AT + timedelta(hours=hour), result))
            for hour, result in enumerate(results)
        ]
        text = str(REF)
        listing = Listing({text: Folder(REF, 1, complete=True)}, {text: names})
        return merge({"local": listing})[0]

    assert row("ok").proven
    assert row("ok").complete
    assert row("partial").proven
    assert not row("partial").complete
    assert not row("ok", "partial").complete
    assert row("partial", "ok").complete
    assert not row("partial", "failed").proven
