"""A fixed tenth of the planted faults, and a few healthy backups: `make mutation` has all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import config, folders, postgres, qdrant, redis, s3, source, stored
from tests.mutation.score import ON_ENGINE, ON_HOST, SUBJECTS, alarms, judge

EACH = 10
# By what a policy allows to change at once; docs/proof.md says so.
KNOWN = {"every second file encrypted"}


@pytest.mark.parametrize("name", ON_HOST)
def test_faults_of_what_needs_no_engine_are_found(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.integration
@pytest.mark.parametrize("name", ON_ENGINE)
def test_faults_of_servers_are_found(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


def check(name: str, folder: Path) -> None:
    with SUBJECTS[name](folder) as subject:
        verdicts = list(judge(subject, every=EACH))
        assert verdicts
        missed = {one.fault for one in verdicts if not one.found}
        assert missed <= KNOWN
        assert list(alarms(subject, 1)) == []


def test_the_corpus_is_as_large_as_the_docs_say() -> None:
    tables = [
        *(postgres.IN_APP, postgres.IN_CLUSTER, redis.FAULTS, redis.ELSEWHERE, qdrant.FAULTS),
        *(s3.FAULTS, folders.FILES, folders.ROWS, folders.CACHE, config.FAULTS, stored.FAULTS),
        *(source.FILES, source.ROWS),
    ]
    assert sum(map(len, tables)) >= 250
