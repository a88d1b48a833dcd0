"""Proofs are written wherever a backup stands; structure checks know what is no verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mmstack_ops.adapters.networks.host_routes import routed_subnets
from mmstack_ops.artifacts.backup_index import list_backups
from mmstack_ops.artifacts.encryption import NoKeyError
from mmstack_ops.domain.backups.events import Proof
from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.tier import Tier
from mmstack_ops.domain.errors import (
    ArtifactError,
    CancelledError,
    EngineUnavailableError,
    TierUnavailableError,
)
from mmstack_ops.operations.backups.drill import record_proof
from mmstack_ops.operations.backups.structural_check import structure_check
from tests.domain.backups.rows import at, ref
from tests.operations.backups.fakes import MemoryTier

REF = ref("redis", "rdb", 1)


def proof(*, compared: int = 3) -> Proof:
    return Proof(REF, "local", at(2), 9.0, 5.0, Comparison(compared, (), 0), "redis:7")


def tier(name: str) -> MemoryTier:
    made = MemoryTier(name)
    with made.create(REF.manifest_key) as file:
        file.write(b"{}")
    return made


def down(action: str, key: str) -> None:
    if action == "create":
        raise TierUnavailableError("it is away")


def test_a_proof_is_found_again_by_the_catalogue() -> None:
    local, remote = tier("local"), tier("remote")
    assert record_proof(proof(), [local, remote], lambda _: None) == ("local", "remote")
    for one in (local, remote):
        (row,) = list_backups([cast(Tier, one)]).rows
        assert row.proven_at == at(2)


def test_a_drill_that_compared_nothing_is_recorded_as_failed() -> None:
    local = tier("local")
    record_proof(proof(compared=0), [local], lambda _: None)
    (row,) = list_backups([cast(Tier, local)]).rows
    assert (row.proven_at, row.disproven_at) == (None, at(2))


def test_a_tier_that_is_away_does_not_keep_the_proof_from_the_others() -> None:
    local, remote = tier("local"), tier("remote")
    local.on_step = down
    told: list[str] = []
    assert record_proof(proof(), [local, remote], told.append) == ("remote",)
    assert told == ["the proof couldn't be written to local: it is away"]


def test_a_proof_that_nobody_took_is_a_failure() -> None:
    local = tier("local")
    local.on_step = down
    with pytest.raises(TierUnavailableError):
        record_proof(proof(), [local], lambda _: None)


def checked(check: Callable[[], list[str]], *, cancelled: bool = False) -> list[str]:
    kind = SimpleNamespace(check=lambda bench, artifact, image: check())
    bench = SimpleNamespace(cancel=threading.Event())
    if cancelled:
        bench.cancel.set()
    return list(structure_check(cast(Any, kind), cast(Any, bench), image="i")(cast(Any, None)))


def raising(error: Exception) -> Callable[[], list[str]]:
    def check() -> list[str]:
        raise error

    return check


def test_a_damaged_structure_is_a_problem_in_words() -> None:
    assert checked(lambda: ["the dump ends early"]) == ["the dump ends early"]
    assert checked(raising(ArtifactError("it ends early", why="byte 7"))) == [
        "it ends early (byte 7)"
    ]
    assert checked(lambda: []) == []


@pytest.mark.parametrize("error", [EngineUnavailableError, NoKeyError, TierUnavailableError])
def test_what_says_nothing_about_the_copy_is_no_problem_of_it(error: type[Exception]) -> None:
    with pytest.raises(error):
        checked(raising(error("away")))


def test_a_tool_that_was_killed_by_a_cancel_says_nothing() -> None:
    with pytest.raises(CancelledError):
        checked(raising(ArtifactError("killed")), cancelled=True)


def test_routes_are_read_and_the_default_route_is_not_one(tmp_path: Any) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0\n"
        "tun0 000012C6 00000000 0001 0 0 0 0000FEFF 0 0 0\n"
    )
    assert routed_subnets(table) == ["198.18.0.0/255.254.0.0"]
    assert routed_subnets(tmp_path / "none") == []
