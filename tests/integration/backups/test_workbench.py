"""The workbench on a real engine: streams, secrets, failures, cancellation, leftovers."""

# ruff: noqa: PT012 -- what is tested is what leaving the block does

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.domain.errors import BackupError, CancelledError
from tests.integration.backups.lab import Bench, redis
from tests.integration.world import BASE, World, wait_until

pytestmark = pytest.mark.integration

TOOLS = tool_instance(BASE)
MEBIBYTE = 1 << 20


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_what_a_command_writes_is_read_whole(at: Bench) -> None:
    script = 'head -c 50000000 /dev/zero | tr \'\\0\' x >"$OUT"; echo tail >>"$OUT"'
    with at.bench.produce(TOOLS, shell(script)) as stream:
        digest = hashlib.sha256()
        size = 0
        while chunk := stream.read(MEBIBYTE):
            digest.update(chunk)
            size += len(chunk)
    assert size == 50_000_005
    expected = hashlib.sha256(b"x" * 50_000_000)
    expected.update(b"tail\n")
    assert digest.digest() == expected.digest()
    at.nothing_left()


def test_an_empty_stream_has_an_end(at: Bench) -> None:
    with at.bench.produce(TOOLS, shell(':> "$OUT"')) as stream:
        assert stream.read() == b""
    at.nothing_left()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo the disk is on fire >&2; exit 3", "on fire"),
        ('head -c 3000000 /dev/zero >"$OUT"; exit 4', "exit code 4"),
        ('head -c 3000000 /dev/zero >"$OUT"; echo beware >&2', "beware"),
        ('head -c 3000000 /dev/zero >"$OUT"; kill -9 $$; sleep 9', "backup"),
        ("no-such-program", "not found"),
    ],
)
def test_a_command_that_fails_raises_at_the_end(at: Bench, script: str, says: str) -> None:
    if "kill -9" in script:
        # The first process of a container can't kill itself; one below it can be killed.
        script = "sh -c '" + script.replace("; sleep 9", "") + "'"
        says = "signal 9"
    with pytest.raises(BackupError) as caught, at.bench.produce(TOOLS, shell(script)) as stream:
        while stream.read(MEBIBYTE):
            pass
    assert says in str(caught.value)
    at.nothing_left()


def test_a_container_killed_in_the_middle_fails_the_block(at: Bench) -> None:
    script = 'cat /dev/zero >"$OUT"'
    with pytest.raises(BackupError, match="signal 9"), at.bench.produce(TOOLS, shell(script)) as s:
        s.read(3 * MEBIBYTE)
        at.world.docker.containers.get(at.one_shots()[0]).kill()
        while s.read(MEBIBYTE):
            pass
    at.nothing_left()


def test_stopping_to_read_is_an_error(at: Bench) -> None:
    script = 'head -c 30000000 /dev/zero >"$OUT"'
    with pytest.raises(BackupError, match="not all"), at.bench.produce(TOOLS, shell(script)) as s:
        s.read(10)
    at.nothing_left()


def test_cancelling_ends_a_silent_command_at_once(at: Bench) -> None:
    threading.Timer(1.0, at.cancel.set).start()
    forever = shell("sleep infinity")
    with pytest.raises(CancelledError), at.bench.produce(TOOLS, forever) as stream:
        stream.read()
    at.nothing_left()


def test_a_deadline_ends_it(at: Bench) -> None:
    with (
        pytest.raises(BackupError, match="within 1 s"),
        at.bench.produce(TOOLS, shell("sleep 100"), deadline=1.0) as stream,
    ):
        stream.read()
    at.nothing_left()


def test_an_exception_in_the_block_ends_the_command(at: Bench) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        at.bench.produce(TOOLS, shell('cat /dev/zero >"$OUT"')) as stream,
    ):
        stream.read(10)
        _ = 1 / 0
    at.nothing_left()


def test_secrets_are_files_and_nothing_else_shows_them(at: Bench) -> None:
    script = (
        "cat /run/exchange/secrets/key >\"$OUT\"; stat -c '%a %u' /run/exchange/secrets/key >>$OUT"
    )
    with at.bench.produce(TOOLS, shell(script), secrets={"key": "hush-hush\n"}) as stream:
        wait_until(lambda: bool(at.one_shots()))
        shown = json.dumps(
            [c.attrs for c in at.world.docker.containers.list(all=True, filters=at.world._mine)]
        )
        content = stream.read()
    assert content == b"hush-hush\n600 %d\n" % os.getuid()
    assert "hush-hush" not in shown
    assert '"com.docker.compose.oneoff": "True"' in shown
    at.nothing_left()


def test_what_is_written_arrives_whole(at: Bench) -> None:
    script = 'sha256sum <"$IN" >&2'
    content = os.urandom(5 * MEBIBYTE + 17)
    digest = hashlib.sha256(content).hexdigest()
    with at.bench.consume(
        TOOLS, shell("sleep 0.3; " + script), stderr_fails=lambda text: digest not in text
    ) as stream:
        for begin in range(0, len(content), 70_000):
            stream.write(content[begin : begin + 70_000])
    at.nothing_left()


def test_an_empty_stream_can_be_written(at: Bench) -> None:
    with at.bench.consume(TOOLS, shell('sleep 0.3; test -z "$(cat "$IN")"')):
        pass
    at.nothing_left()


@pytest.mark.parametrize(
    "script",
    ["echo no thanks >&2; exit 1", 'head -c 10 "$IN" >/dev/null; echo no thanks >&2; exit 1'],
)
def test_a_reader_that_fails_raises_and_never_hangs(at: Bench, script: str) -> None:
    with pytest.raises(BackupError, match="no thanks"), at.bench.consume(TOOLS, shell(script)) as s:
        for _ in range(200):
            s.write(b"x" * 100_000)
    at.nothing_left()


def test_run_returns_what_was_said(at: Bench) -> None:
    assert at.bench.run(TOOLS, shell("echo hello; echo noise >&2")) == "hello\n"
    with pytest.raises(BackupError, match="noise"):
        at.bench.run(TOOLS, shell("echo noise >&2; false"))
    at.nothing_left()


def test_no_plan_takes_a_one_shot_for_a_replica(at: Bench) -> None:
    service = at.world.service("one")
    at.world.started(service)
    with at.bench.produce(TOOLS, shell('sleep 1; :>"$OUT"')) as stream:
        wait_until(lambda: bool(at.one_shots()))
        assert at.world.plan(service).is_empty
        stream.read()


_KILLED = """
import sys, threading
from pathlib import Path
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.tool_containers.workbench import EngineWorkbench
from mmstack_ops.adapters.engine.client import EngineConnection

owner, state = sys.argv[1:]
bench = EngineWorkbench(EngineConnection(None, read_only=False), owner=owner, environment="test",
    state=Path(state), cancel=threading.Event(), tell=print)
with bench.journal("setting", {"value": "17"}):
    with bench.produce(tool_instance("mmstack-lab/base:lab"), ["sh", "-c", 'cat /dev/zero >"$OUT"'],
                       secrets={"key": "hush"}) as stream:
        stream.read(1000)
        print("reading", flush=True)
        while True:
            stream.read(1 << 20)
"""


def test_what_a_killed_process_left_is_swept_and_live_ones_are_spared(at: Bench) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, at.world.owner, str(at.state)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"reading\n"
    # Alive: nothing of it is touched.
    assert at.bench.sweep_leftovers() == ()
    assert list(at.bench.leftovers("setting")) == []
    assert len(at.one_shots()) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    with at.bench.produce(TOOLS, shell('sleep 2; echo mine >"$OUT"')) as mine:
        removed = at.bench.sweep_leftovers()
        assert len(removed) == 2, removed
        assert mine.read() == b"mine\n"
    assert list(at.bench.leftovers("setting")) == [{"value": "17"}]
    assert list(at.bench.leftovers("setting")) == []
    at.nothing_left()


def test_frozen_and_stopped_containers_come_back(at: Bench) -> None:
    server = redis(at.world)
    live = at.world.live("redis")
    with pytest.raises(ZeroDivisionError), at.bench.paused(server):
        live.reload()
        assert live.status == "paused"
        _ = 1 / 0
    live.reload()
    assert live.status == "running"
    with at.bench.stopped(server):
        live.reload()
        assert live.status == "exited"
    live.reload()
    assert live.status == "running"
    # As a process that was killed leaves it: the record is there, its lock is not.
    for key, leave in (("frozen", live.pause), ("stopped", live.stop)):
        with (
            pytest.raises(ZeroDivisionError),
            at.bench.journal(key, {"container": server.container_id, "name": server.name}),
        ):
            leave()
            _ = 1 / 0
        assert len(at.bench.recover()) == 1
        live.reload()
        assert live.status == "running"


def test_trees_go_in_and_out_as_they_are(at: Bench) -> None:
    server = redis(at.world)
    live = at.world.live("redis")
    code, _ = live.exec_run(
        ["sh", "-c", "mkdir -p /data/'a b' && echo hi >/data/'a b'/ü && chown 7:8 /data/'a b'/ü"]
    )
    assert code == 0
    import tarfile

    with at.bench.read_tree(server, "/data/a b") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            entries = {e.name: (e.uid, e.gid) for e in archive}
        while stream.read(MEBIBYTE):
            pass
    assert entries["./ü"] == (7, 8)
    live.exec_run(["mkdir", "/data/copy"])
    with at.bench.read_tree(server, "/data/a b") as stream:
        copy = io.BytesIO(stream.read())
    at.bench.write_tree(server, "/data/copy", copy)
    _, output = live.exec_run(["stat", "-c", "%u:%g %n", "/data/copy/ü"])
    assert output.decode().startswith("7:8 ")
    path = at.bench.volume_path(server.volumes["/data"])
    assert path is None or (path / "copy" / "ü").read_text() == "hi\n"


@pytest.mark.fault
def test_a_silent_command_whose_server_died_is_ended(at: Bench) -> None:
    server = redis(at.world)
    threading.Timer(1.0, at.world.live("redis").kill).start()
    with (
        pytest.raises(BackupError, match="server of sleep is gone"),
        at.bench.produce(server, shell("sleep infinity")) as stream,
    ):
        stream.read()
    at.nothing_left()
