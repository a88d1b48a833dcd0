"""The rules mean what restic's mean: the same histories, the same rules, the same keeps.

Many histories stand in one repository, each under a host of its own: restic's ``forget`` plans
one at a time, and a snapshot takes it half a second.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmstack_ops.domain.backups.reference import moment_of, new_id
from mmstack_ops.domain.retention.keep import Rules, keep
from tests.profiles import examples

pytestmark = pytest.mark.integration

# All of it in the past: restic counts from the newest snapshot that isn't from the future, and
# ours refuses those.
BEGIN = datetime(2022, 12, 20, 23, 30, tzinfo=UTC)
# A few days in hours, some weeks, some years: each rule has something to choose from.
SPANS = (3, 40, 300, 1200)
SNAPSHOTS = 9
EXAMPLES = 25


@dataclass(frozen=True)
class Repository:
    """A repository of restic with histories, by host."""

    environment: dict[str, str] = field(repr=False)
    histories: dict[str, list[str]]

    def kept(self, host: str, rules: Rules) -> set[str]:
        """What restic would keep: ids, by its snapshots' times."""
        counts = {name: number for name, number in vars(rules).items() if name != "within"}
        options = [f"--keep-{name}={number}" for name, number in counts.items() if number]
        if rules.within:
            options.append(f"--keep-within={int(rules.within // 3600)}h")
        (group,) = json.loads(
            restic(self.environment, "forget", "--dry-run", "--json", f"--host={host}", *options)
        )
        times = {snapshot["time"][:19] for snapshot in group["keep"] or ()}
        return {
            one for one in self.histories[host] if f"{moment_of(one):%Y-%m-%dT%H:%M:%S}" in times
        }


def restic(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["restic", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    assert shutil.which("restic"), "restic isn't installed: `make lab-up` does it"
    folder = tmp_path_factory.mktemp("restic")
    (folder / "file").write_text("content")
    environment = {
        **os.environ,
        "RESTIC_REPOSITORY": str(folder / "repository"),
        "RESTIC_PASSWORD": "not secret",
        "RESTIC_CACHE_DIR": str(folder / "cache"),
        "TZ": "UTC",
    }
    restic(environment, "init")
    chance = random.Random(4)
    histories: dict[str, list[str]] = {}
    for number, days in enumerate(SPANS):
        hours = sorted(chance.sample(range(days * 24), SNAPSHOTS), reverse=True)
        moments = [BEGIN + timedelta(hours=hour, minutes=number) for hour in hours]
        histories[f"host{number}"] = [new_id(moment, b"abcd") for moment in moments]
        for moment in moments:
            when = f"{moment:%Y-%m-%d %H:%M:%S}"
            restic(
                environment,
                *("backup", "--host", f"host{number}", "--time", when, str(folder / "file")),
            )
    return Repository(environment, histories)


@given(
    host=st.sampled_from([f"host{number}" for number in range(len(SPANS))]),
    rules=st.builds(
        Rules,
        last=st.integers(0, 4),
        hourly=st.integers(0, 8),
        daily=st.integers(0, 8),
        weekly=st.integers(0, 8),
        monthly=st.integers(0, 8),
        yearly=st.integers(0, 4),
        within=st.sampled_from([0.0, 5 * 3600.0, 86400.0, 20 * 86400.0, 400 * 86400.0]),
    ).filter(lambda rules: not rules.empty),
)
@settings(max_examples=examples(EXAMPLES))
def test_the_same_is_kept(repository: Repository, host: str, rules: Rules) -> None:
    ours = keep(repository.histories[host], rules).keys()
    assert ours == repository.kept(host, rules)
