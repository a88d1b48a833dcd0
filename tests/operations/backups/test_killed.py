"""kill -9 at random moments of backing up, copying, deleting and sweeping."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.artifacts.artifact_reader import read_manifest
from mmstack_ops.artifacts.backup_index import list_backups
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.operations.backups.garbage_collect import sweep_series, sweep_tier
from mmstack_ops.operations.backups.verify import verify_copy
from tests.operations.backups.sample_backups import read_back

_ROOT = Path(__file__).parents[3]
_END = datetime.max.replace(tzinfo=UTC)
_PACE = Throttle(threading.Event())


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Every backup the catalogue shows is whole; every one that was reported is there."""
    chance = random.Random(11)
    (tmp_path / "source").mkdir()
    tiers = [DirectoryTier(name, tmp_path / name) for name in ("local", "remote")]
    reported: dict[str, set[str]] = {"taken": set(), "copied": set()}
    for _ in range(6):
        lines = _run_and_kill(tmp_path, chance)
        for line in lines:
            word, _, ref = line.partition(" ")
            if word == "deleting":
                reported["taken"].discard(ref)
                reported["copied"].discard(ref)
            elif word in reported:
                reported[word].add(ref)
        for tier, word in zip(tiers, ("taken", "copied"), strict=True):
            refs = {row.ref for row in list_backups([tier]).rows}
            assert reported[word] <= {str(ref) for ref in refs}
            for ref in refs:
                result = verify_copy(tier, ref, keys=Keys(None), throttle=_PACE)
                assert result.problems == ()
                # Each file of a backup was written whole by one round.
                contents = read_back(tier, read_manifest(tier, ref))
                assert len(contents) >= 15
                assert all(content == content[:2] * 20_000 for content in contents.values())
    for tier in tiers:
        _everything_else_goes(tier)


def _run_and_kill(folder: Path, chance: random.Random) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.operations.backups.backup_until_killed", str(folder)],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("taken"), "the writer didn't come to work"
    time.sleep(chance.uniform(0, 0.6))
    process.kill()
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    return [first.strip(), *(line for line in rest.split("\n")[:-1] if line)]


def _everything_else_goes(tier: DirectoryTier) -> None:
    contents = list_backups([tier])
    series = contents.rows[0].ref.series
    sweep_series(tier, series, now=_END, tell=lambda message: None, throttle=_PACE)
    sweep_tier(tier, now=_END, tell=lambda message: None)
    named = set()
    for row in list_backups([tier]).rows:
        manifest = read_manifest(tier, row.ref)
        named |= {row.ref.manifest_key, *(manifest.key_of(p) for p in manifest.payloads)}
    assert {file.key for file in tier.list()} == named
    assert not list_backups([tier]).partial.get(tier.name)
