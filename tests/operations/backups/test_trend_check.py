"""A drill's look at the trend, on backups that the real code stored."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.artifacts.artifact_writer import taking
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.artifacts.proofs import newest_proof
from mmstack_ops.artifacts.records import accept, accepted_reason, write_proof
from mmstack_ops.domain.backups.events import DrillCheck, Proof
from mmstack_ops.domain.backups.facts import Comparison, Facts
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.tier import Tier
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.schema.policies import Trend
from mmstack_ops.operations.backups.backup_operations import BackupOperations
from mmstack_ops.operations.backups.trend_check import series_trend, trend_check
from tests.adapters.config_project import make_project
from tests.operations.backups.sample_backups import NO_KEYS, NOW, opener, ref_at, scan, take_tree

POLICY = Trend()


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return DirectoryTier("local", tmp_path / "tier")


def take(tier: Tier, ref: BackupRef, users: int, content: bytes = b"rows\n" * 20_000) -> Artifact:
    with taking(
        tier,
        ref,
        project="lab",
        image="lab/postgres:15",
        packing=Packing(threads=0),
        keys=NO_KEYS,
        cancel=threading.Event(),
        tell=lambda _: None,
    ) as capture:
        with capture.payload("app.dump", "dump") as target:
            target.write(content)
        items = {"table app.public.users": f"{users} rows, all 5f3a"}
        capture.note(
            method="", versions={}, restore_by_hand=(), facts=Facts({"rows": users}, items)
        )
    return opened(tier, capture.manifest.ref if capture.manifest else ref)


def opened(tier: Tier, ref: BackupRef) -> Artifact:
    from mmstack_ops.artifacts.artifact_reader import read_manifest

    return Artifact(tier, read_manifest(tier, ref), NO_KEYS)


def day(number: int) -> BackupRef:
    return ref_at(NOW + timedelta(days=number))


def test_a_table_that_lost_its_rows_is_suspicious_and_names_the_backup(tier: Tier) -> None:
    base, now = take(tier, day(0), 1200), take(tier, day(1), 300)
    found = trend_check(now, [lambda: base], POLICY)
    assert not found.passed
    assert base.manifest.id in found.words
    assert "rows of table app.public.users fell from 1200 to 300" in found.words


def test_an_encrypted_dump_is_suspicious(tier: Tier) -> None:
    noise = random.Random(1).randbytes(100_000)
    base, now = take(tier, day(0), 100), take(tier, day(1), 100, noise)
    assert "app.dump compresses to 100 %" in trend_check(now, [lambda: base], POLICY).words


def test_what_is_accepted_passes_and_still_says_what_was_found(tier: Tier) -> None:
    base, now = take(tier, day(0), 1200), take(tier, day(1), 0)
    found = trend_check(now, [lambda: base], POLICY, accepted="the tests were cleaned up")
    assert found.passed
    assert "accepted (the tests were cleaned up)" in found.words
    assert "1200 before, 0 now" in found.words


def test_the_first_backup_and_a_policy_that_is_off_pass_and_say_so(tier: Tier) -> None:
    base, now = take(tier, day(0), 1200), take(tier, day(1), 0)
    assert trend_check(now, [], POLICY) == DrillCheck(
        "trend", True, "nothing to compare with: it is the first one"
    )
    off = trend_check(now, [lambda: base], Trend(check=False))
    assert (off.passed, off.words) == (True, "not looked at: the schema says so")


def test_an_earlier_backup_that_cant_be_read_is_told_and_the_one_before_taken(
    tier: Tier, tmp_path: Path
) -> None:
    oldest, middle, now = take(tier, day(0), 1200), take(tier, day(1), 1200), take(tier, day(2), 3)
    for path in (tmp_path / "tier" / middle.manifest.ref.prefix).glob("facts*"):
        path.write_bytes(b"damaged")
    told: list[str] = []
    found = trend_check(now, [lambda: middle, lambda: oldest], POLICY, tell=told.append)
    assert not found.passed
    assert oldest.manifest.id in found.words
    assert len(told) == 1
    alone = trend_check(now, [lambda: middle], POLICY, tell=told.append)
    assert alone.words == "nothing to compare with: 1 earlier ones can't be read"


def tree(tier: Tier, source: Path, number: int, files: Mapping[str, bytes]) -> Artifact:
    for name, content in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    ref = ref_at(NOW + timedelta(days=number), service="n8n")
    manifest = take_tree(tier, scan(source), opener(source), ref=ref, now=NOW + timedelta(days=9))
    return opened(tier, manifest.ref)


def test_a_tree_that_ransomware_went_through_is_suspicious(tier: Tier, tmp_path: Path) -> None:
    chance = random.Random(1)
    good = {f"f{n}.txt": b"an ordinary text\n" * (100 + n) for n in range(40)}
    base = tree(tier, tmp_path / "source", 0, good)
    some = {f"f{n}.txt": b"an ordinary change\n" * 100 for n in range(15)}
    healthy = tree(tier, tmp_path / "source", 1, some)
    assert trend_check(healthy, [lambda: base], POLICY).passed
    worse = {name: chance.randbytes(len(content)) for name, content in good.items()}
    bad = tree(tier, tmp_path / "source", 2, worse)
    found = trend_check(bad, [lambda: healthy], POLICY)
    assert not found.passed
    assert "40 of 40 files changed or were deleted at once (100 %" in found.words
    assert "the tree compresses to " in found.words


def proof(ref: BackupRef, *checks: DrillCheck) -> Proof:
    compared = Comparison(3, (), 0)
    return Proof(ref, "local", NOW, 9.0, 5.0, compared, "postgres:16", checks=checks)


def test_a_failed_check_makes_a_drill_unproven_and_the_record_says_why(tier: Tier) -> None:
    ref = take(tier, day(0), 3).manifest.ref
    bad = proof(ref, DrillCheck("trend", False, "rows fell"), DrillCheck("probe x", True, "7"))
    assert not bad.proven
    assert bad.unproven == "trend: rows fell"
    write_proof(tier, bad)
    assert newest_proof(tier, ref) == bad
    good = replace(proof(ref, DrillCheck("probe x", True, "7")), at=NOW + timedelta(hours=1))
    assert good.proven
    write_proof(tier, good)
    assert newest_proof(tier, ref) == good


def test_a_record_of_an_earlier_release_has_no_checks(tier: Tier) -> None:
    import json

    ref = take(tier, day(0), 3).manifest.ref
    key = write_proof(tier, proof(ref))
    path = tier.root / key  # type: ignore[attr-defined]  # of a directory
    document = json.loads(path.read_text())
    del document["checks"]
    path.chmod(0o644)
    path.write_text(json.dumps(document))
    found = newest_proof(tier, ref)
    assert found is not None
    assert (found.checks, found.proven) == ((), True)


def test_the_newest_acceptance_counts(tier: Tier) -> None:
    ref = take(tier, day(0), 3).manifest.ref
    assert accepted_reason(tier, ref) is None
    accept(tier, ref, "first", at=NOW)
    accept(tier, ref, "second", at=NOW + timedelta(hours=1))
    assert accepted_reason(tier, ref) == "second"


def test_a_suspicious_backup_never_becomes_what_others_are_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the same loss: the second is compared with the good one, until it is accepted."""
    project = make_project(tmp_path, monkeypatch)
    generate(project, project.catalogue("development"))
    control = BackupOperations(project, "development")
    tier = control._tier_contents.tiers.open("local")
    refs = [replace(day(number), environment="development") for number in range(3)]
    good, bad, worse = [
        take(tier, ref, users) for ref, users in zip(refs, (1200, 0, 0), strict=True)
    ]

    def judge(artifact: Artifact) -> DrillCheck:
        return series_trend(
            artifact, control._tier_contents, NO_KEYS, control.catalogue, lambda _: None
        )

    assert judge(good).passed
    write_proof(tier, proof(refs[0], judge(good)))
    for artifact in (bad, worse):
        found = judge(artifact)
        assert (found.passed, refs[0].id in found.words) == (False, True)
        write_proof(tier, proof(artifact.manifest.ref, found))
    control.accept(refs[2], "the customer left")
    found = judge(worse)
    assert found.passed
    assert "the customer left" in found.words
    with pytest.raises(InputError, match="there is no backup"):
        control.accept(replace(refs[0], id="20200101T000000Z-00000000"), "why")
