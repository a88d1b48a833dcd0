"""Redis' files replaced: killed at any command, all of the old data or all of the new is there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.redis.files import (
    FINISH,
    PUT_BACK,
    SETTLE,
    STAGE,
    SWAP,
    variables,
)
from mmstack_ops.adapters.stores.redis.server import Files

NEW = b"REDIS0011 new \xff12345678"
OLD = b"REDIS0011 old \xff12345678"
# Kills the shell before its n-th command.
_KILLER = "n=0; trap 'n=$((n+1)); [ \"$n\" -lt {at} ] || kill -9 $$' DEBUG\n"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Stands for redis-check-rdb: it finds everything sound."""
    folder = tmp_path / "tools"
    folder.mkdir()
    check = folder / "redis-check-rdb"
    check.write_text("#!/bin/sh\necho 'RDB looks OK'\n")
    check.chmod(0o755)
    return folder


def files(data: Path, *, append: bool, folder: str) -> Files:
    return Files(str(data), "v", str(data), "dump.rdb", append, "appendonly.aof", folder)


def make_old(data: Path, there: Files) -> None:
    data.mkdir(parents=True)
    if not there.append_only:
        (data / "dump.rdb").write_bytes(OLD)
    elif not there.append_folder:
        (data / "appendonly.aof").write_bytes(OLD)
    else:
        parts = data / there.append_folder
        parts.mkdir()
        (parts / "appendonly.aof.1.base.rdb").write_bytes(OLD)
        (parts / "appendonly.aof.2.incr.aof").write_bytes(b"")
        (parts / "appendonly.aof.manifest").write_text(
            "file appendonly.aof.1.base.rdb seq 1 type b\n"
            "file appendonly.aof.2.incr.aof seq 2 type i\n"
        )


def starts_from(there: Files) -> bytes:
    """Return what a server with these settings loads."""
    data = Path(there.directory)
    if not there.append_only:
        return (data / "dump.rdb").read_bytes()
    if not there.append_folder:
        return (data / "appendonly.aof").read_bytes()
    parts = data / there.append_folder
    lines = (parts / "appendonly.aof.manifest").read_text().splitlines()
    return b"".join((parts / line.split()[1]).read_bytes() for line in lines)


def run(script: str, there: Files, tools: Path, copy: Path, *, kill_at: int = 0) -> int:
    environment = {
        **variables(there, "rdb"),
        "IN": str(copy),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    text = (_KILLER.format(at=kill_at) if kill_at else "") + script
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, check=False)
    return done.returncode


KINDS = [(True, "appendonlydir"), (True, ""), (False, "appendonlydir")]


@pytest.mark.parametrize(("append", "folder"), KINDS, ids=["parts", "one file", "snapshot"])
@pytest.mark.parametrize("step", ["stage", "swap", "finish", "put back", "settle"])
def test_a_kill_at_any_command_leaves_the_old_or_the_new(
    tmp_path: Path, tools: Path, append: bool, folder: str, step: str
) -> None:
    copy = tmp_path / "copy.rdb"
    copy.write_bytes(NEW)
    killed_at = 0
    seen = set()
    while True:
        killed_at += 1
        there = files(tmp_path / str(killed_at), append=append, folder=folder)
        make_old(Path(there.directory), there)
        script = {"stage": STAGE, "swap": SWAP, "finish": FINISH, "put back": PUT_BACK}.get(
            step, SETTLE
        )
        if step != "stage":
            assert run(STAGE, there, tools, copy) == 0
        if step in ("finish", "put back", "settle"):
            assert run(SWAP, there, tools, copy) == 0
        code = run(script, there, tools, copy, kill_at=killed_at)
        held = starts_from(there)
        assert held in (OLD, NEW), killed_at
        seen.add(held)
        if step == "stage":
            assert held == OLD
        if step in ("finish", "settle"):
            assert held == NEW
        # The next run makes good, and is itself safe to repeat.
        assert run(SETTLE, there, tools, copy) == 0
        assert starts_from(there) == held
        assert not (Path(there.directory) / ".mmstack-restore").exists()
        if append and folder:
            parts = Path(there.directory) / folder
            listed = (parts / "appendonly.aof.manifest").read_text().split()
            assert {p.name for p in parts.iterdir()} == {
                *(word for word in listed if word.startswith("appendonly")),
                "appendonly.aof.manifest",
            }
        if code == 0:
            break
        assert code == -9
    assert killed_at > 5
    if step in ("swap", "put back"):
        assert seen == {OLD, NEW}


def rewrite(there: Files) -> bytes:
    """Write the parts anew as Redis does: each kind's highest number and one. Return them."""
    parts = Path(there.directory) / there.append_folder
    (parts / "appendonly.aof.2.base.rdb").write_bytes(OLD)
    (parts / "appendonly.aof.3.incr.aof").write_bytes(b"written since")
    (parts / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.3.incr.aof seq 3 type i\n"
    )
    (parts / "appendonly.aof.1.base.rdb").unlink()
    (parts / "appendonly.aof.2.incr.aof").unlink()
    return OLD + b"written since"


@pytest.mark.parametrize("step", ["swap", "put back"])
def test_parts_that_the_server_has_written_since_a_kill_stay(
    tmp_path: Path, tools: Path, step: str
) -> None:
    """Its next rewrite may use the names of parts that were staged."""
    copy = tmp_path / "copy.rdb"
    copy.write_bytes(NEW)
    killed_at = rewritten = 0
    code = -9
    while code != 0:
        killed_at += 1
        there = files(tmp_path / str(killed_at), append=True, folder="appendonlydir")
        make_old(Path(there.directory), there)
        assert run(STAGE, there, tools, copy) == 0
        if step == "put back":
            assert run(SWAP, there, tools, copy) == 0
        code = run(PUT_BACK if step == "put back" else SWAP, there, tools, copy, kill_at=killed_at)
        if starts_from(there) != OLD:
            continue
        rewritten += 1
        held = rewrite(there)
        assert run(SETTLE, there, tools, copy) == 0
        assert starts_from(there) == held, killed_at
        assert {path.name for path in (Path(there.directory) / "appendonlydir").iterdir()} == {
            "appendonly.aof.2.base.rdb",
            "appendonly.aof.3.incr.aof",
            "appendonly.aof.manifest",
        }
    assert rewritten > 5


@pytest.mark.parametrize(("append", "folder"), KINDS, ids=["parts", "one file", "snapshot"])
def test_old_files_are_put_back(tmp_path: Path, tools: Path, append: bool, folder: str) -> None:
    copy = tmp_path / "copy.rdb"
    copy.write_bytes(NEW)
    there = files(tmp_path / "data", append=append, folder=folder)
    make_old(Path(there.directory), there)
    before = sorted(p.relative_to(tmp_path) for p in Path(there.directory).rglob("*"))
    assert run(STAGE, there, tools, copy) == 0
    assert run(SWAP, there, tools, copy) == 0
    assert starts_from(there) == NEW
    assert run(PUT_BACK, there, tools, copy) == 0
    assert starts_from(there) == OLD
    assert sorted(p.relative_to(tmp_path) for p in Path(there.directory).rglob("*")) == before


def test_a_copy_that_is_not_sound_touches_nothing(tmp_path: Path, tools: Path) -> None:
    (tools / "redis-check-rdb").write_text("#!/bin/sh\nexit 1\n")
    there = files(tmp_path / "data", append=True, folder="appendonlydir")
    make_old(Path(there.directory), there)
    copy = tmp_path / "copy.rdb"
    copy.write_bytes(b"no RDB")
    assert run(STAGE, there, tools, copy) == 1
    assert starts_from(there) == OLD
    assert not (Path(there.directory) / ".mmstack-restore").exists()
