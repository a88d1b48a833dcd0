"""Owner locks tell what a living process uses from what a dead one left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmstack_ops.adapters.locks.owner_lock import OwnerLocks


def state(owner_locks: OwnerLocks, path: Path) -> str:
    with owner_locks.examined(path) as found:
        return found


def test_a_claim_is_live_in_its_block_and_gone_after_it(tmp_path: Path) -> None:
    owner_locks = OwnerLocks(tmp_path / "scratch")
    with owner_locks.take() as claim:
        assert owner_locks.paths() == [claim.path]
        assert state(owner_locks, claim.path) == "live"
        claim.finished = True
    assert owner_locks.paths() == []
    assert state(owner_locks, claim.path) == "unknown"


def test_a_claim_whose_clean_up_failed_is_dead_after_its_block(tmp_path: Path) -> None:
    owner_locks = OwnerLocks(tmp_path)
    with pytest.raises(ZeroDivisionError), owner_locks.take() as claim:
        raise ZeroDivisionError
    assert state(owner_locks, claim.path) == "dead"
    owner_locks.forget(claim.path)
    assert owner_locks.paths() == []


def test_a_claim_that_finished_is_gone_also_when_its_block_failed(tmp_path: Path) -> None:
    owner_locks = OwnerLocks(tmp_path)

    def block() -> None:
        with owner_locks.take() as claim:
            claim.finished = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert owner_locks.paths() == []


def test_what_is_kept_is_nobodys_leftover(tmp_path: Path) -> None:
    owner_locks = OwnerLocks(tmp_path)
    with owner_locks.take() as claim:
        claim.keep("a copy")
    assert state(owner_locks, claim.path) == "kept"


def test_the_claim_of_a_killed_process_is_dead(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path;"
        "from mmstack_ops.adapters.locks.owner_lock import OwnerLocks\n"
        "with OwnerLocks(Path(sys.argv[1])).take() as claim: os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -9
    owner_locks = OwnerLocks(tmp_path)
    (path,) = owner_locks.paths()
    assert state(owner_locks, path) == "dead"


def test_a_dead_claim_is_held_while_it_is_examined(tmp_path: Path) -> None:
    owner_locks = OwnerLocks(tmp_path)
    with owner_locks.take() as claim:
        pass
    with owner_locks.examined(claim.path) as first:
        assert first == "dead"
        assert state(owner_locks, claim.path) == "live"
