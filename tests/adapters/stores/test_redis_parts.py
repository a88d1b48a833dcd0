"""What the Redis types judge, cut and pack without a server."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.redis import copy as redis_copy
from mmstack_ops.adapters.stores.redis.aof import pack
from mmstack_ops.adapters.stores.redis.facts import (
    Counts,
    Look,
    _key,
    as_recorded,
    expired,
    facts_of,
    is_quiet,
    shown,
)
from mmstack_ops.adapters.stores.redis.files import is_broken
from mmstack_ops.adapters.stores.redis.rdb import complaint, copy_rdb
from mmstack_ops.adapters.stores.redis.server import (
    REWRITE_SETTING,
    REWRITES,
    Files,
    journal_key,
    read_files,
    renamed_commands,
    restore_settings,
)
from mmstack_ops.adapters.stores.redis.users import Users, parse_users
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import BackupError, MmstackError, UntouchedError
from tests.adapters.stores.stores import JournallingBench

MARK = b"0123456789abcdef0123456789abcdef01234567"


def rdb(size: int) -> bytes:
    return b"REDIS0011" + b"\x01" * size + b"\xff" + b"checksum"


@pytest.mark.parametrize("size", [0, 5, 40, 100, (1 << 20) - 20, (1 << 20) + 7, 3 << 20])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_the_mark_of_a_transfer_is_cut_off(size: int, mark: bytes) -> None:
    sink = io.BytesIO()
    copy_rdb(io.BytesIO(rdb(size) + mark), sink)
    assert sink.getvalue() == rdb(size)


@pytest.mark.parametrize(
    "content", [b"", b"-ERR no", rdb(100)[:-1], rdb(100)[:-9], rdb(100) + MARK[:-1], b"REDIS0011"]
)
def test_what_is_no_whole_rdb_is_refused(content: bytes) -> None:
    with pytest.raises(BackupError):
        copy_rdb(io.BytesIO(content), io.BytesIO())


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        (
            "sending REPLCONF capa eof\nSYNC sent to master, w\nTransfer finished with success",
            False,
        ),
        ("sending REPLCONF capa eof", True),
        ("", True),
        ("Transfer finished with success\nftruncate failed", True),
        ("I/O error reading bulk count from SYNC", True),
    ],
)
def test_what_redis_cli_says_is_judged(said: str, fails: bool) -> None:
    assert complaint(said) is fails


def analyzed(*left: int) -> str:
    return "\n".join(
        f"AOF analyzed: filename=appendonly.aof.{i}.incr.aof, size=9, ok_up_to=1, diff={diff}\n"
        + (f"INCR AOF {i} is not valid. Use --fix" if diff else f"INCR AOF {i} is valid")
        for i, diff in enumerate(left)
    )


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        (analyzed(0, 0), False),
        (analyzed(0, 17), False),
        (analyzed(17, 0), True),
        ("Expected prefix '*', got: 'x'\n" + analyzed(0, 17), True),
        (analyzed(0, 5_000_000), True),
        ("--- RDB ERROR DETECTED ---\nRDB preamble of AOF file is not sane, aborting.", True),
        ("", True),
    ],
)
def test_only_a_torn_end_is_no_damage(said: str, broken: bool) -> None:
    assert is_broken(said) is broken


FILES = Files("/data", "v", "/data", "dump.rdb", True, "appendonly.aof", "appendonlydir")
MANIFEST = (
    "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i"
)


def test_parts_become_a_tar_that_unpacks_where_they_were() -> None:
    content = b"B" * 70_000 + b"I" * 5 + MANIFEST.encode() + b"\n"
    parts = [
        ("a.base.rdb", 70_000),
        ("a.incr.aof", 5),
        ("appendonly.aof.manifest", len(MANIFEST) + 1),
    ]
    sink = io.BytesIO()
    pack(io.BytesIO(content), sink, parts, FILES, MANIFEST)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        read = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert read == {
        "appendonlydir/a.base.rdb": b"B" * 70_000,
        "appendonlydir/a.incr.aof": b"I" * 5,
        "appendonlydir/appendonly.aof.manifest": MANIFEST.encode() + b"\n",
    }


@pytest.mark.parametrize("content", [b"B" * 10, b"B" * 20 + b"another manifest" + b" " * 99])
def test_a_rewrite_meanwhile_fails_the_copy(content: bytes) -> None:
    parts = [("a.base.rdb", 20), ("appendonly.aof.manifest", len(MANIFEST) + 1)]
    with pytest.raises(BackupError, match="rewritten"):
        pack(io.BytesIO(content), io.BytesIO(), parts, FILES, MANIFEST)


@given(st.one_of(st.binary(), st.text().map(str.encode), st.just(b"hex:00")))
def test_any_key_is_shown_so_that_it_can_be_read_back(key: bytes) -> None:
    assert _key(shown(key)) == key
    shown(key).encode()


def test_only_what_didnt_change_must_come_back() -> None:
    looks = [Counts({0: 10, 3: 1}, {0: 4, 3: 1}, 7), Counts({0: 12}, {0: 3}, 9)]
    facts = facts_of(
        looks,
        Look({"db0 a": "x", "db0 b": "x", "db0 c": "x"}),
        Look({"db0 a": "x", "db0 b": "y"}),
    )
    assert not is_quiet(looks)
    assert facts.items == {"db0 a": "x"}
    assert facts.bounds == {"keys in db0": (6, 12), "keys in db3": (0, 1)}
    assert facts.figures == {}
    assert not facts.complete


def test_a_quiet_server_has_exact_figures() -> None:
    look = Counts({0: 10, 3: 1}, {0: 4, 3: 1}, 7)
    assert is_quiet([look, look])
    assert facts_of([look, look], Look(), None).figures == {
        "keys_without_expiry": 6,
        "databases_in_use": 1,
    }


def test_an_expired_key_is_as_expected() -> None:
    like = {"db0 a": "string 1 expires 100", "db0 b": "string 2 expires 900", "db0 c": "string 3"}
    assert expired(like, {}, 500) == {"db0 a": "string 1 expires 100"}
    assert expired(like, {"db0 a": "another"}, 500) == {}


def test_what_an_old_backup_did_not_record_is_not_compared() -> None:
    like = Facts(items={"db0 a": "stream 12"}, complete=False)
    assert as_recorded(like, Look({"db0 a": "stream 12 whole 34"}), 0) == {"db0 a": "stream 12"}
    now = Facts(items={"db0 a": "stream 12 whole 56"}, complete=False)
    assert as_recorded(now, Look({"db0 a": "stream 12 whole 34"}), 0) != now.items


def test_a_group_that_expires_within_the_hour_is_as_expected() -> None:
    name = "keys of db0 that expire in hour 2"
    like = Facts(items={name: "9 keys 12"}, complete=False)
    assert as_recorded(like, Look({name: "8 keys 34"}), 2 * 3_600_000) == like.items
    assert as_recorded(like, Look(), 2 * 3_600_000) == like.items
    assert as_recorded(like, Look({name: "8 keys 34"}), 7_199_999) != like.items


def test_commands_that_are_renamed_are_read_from_the_command_line() -> None:
    command = (
        'redis-server --rename-command FLUSHALL "" <<EOF\n'
        "rename-command config cfg-9f3\n  rename-command DEBUG ''\nEOF"
    )
    assert renamed_commands(command) == {"FLUSHALL": "", "CONFIG": "cfg-9f3", "DEBUG": ""}


def test_users_are_read_with_their_selectors() -> None:
    lines = ["user default on nopass ~* &* +@all", "user a off #12 -@all (~x:* +get) (~y +set)"]
    assert parse_users(lines)["a"] == ("off", "#12", "-@all", "(~x:* +get)", "(~y +set)")
    users = Users(parse_users(lines), "default")
    assert parse_users(users.to_bytes().decode().splitlines()) == users.rules


def test_a_password_counts_but_that_of_the_one_who_connects() -> None:
    one = Users({"default": ("on", "#1"), "a": ("on", "#1")}, "default").items()
    other = Users({"default": ("on", "#2"), "a": ("on", "#2")}, "default").items()
    assert one["user default"] == other["user default"]
    assert one["user a"] != other["user a"]


def test_a_rule_that_is_shown_only_after_a_reset_is_no_difference() -> None:
    one = Users({"a": ("on", "sanitize-payload", "+get")}, "default").items()
    assert one == Users({"a": ("on", "+get")}, "default").items()
    assert one != Users({"a": ("on", "skip-sanitize-payload", "+get")}, "default").items()


class Closed:
    """A server that has CONFIG disabled."""

    def config_get(self, _: str) -> dict[str, str]:
        raise redis.ResponseError("unknown command 'CONFIG'")

    def info(self) -> dict[str, object]:
        return {"aof_enabled": 1, "redis_version": "7.0.15", "config_file": ""}


def closed(command: str, *volumes: str) -> Instance:
    made = tool_instance("redis", "test", "redis")
    spec = replace(made.spec, command=("sh", "-c", command))
    return replace(made, spec=spec, volumes={target: f"v{target}" for target in volumes})


def test_without_config_settings_are_those_of_the_command_line() -> None:
    instance = closed(
        "exec redis-server - --databases 64 <<EOF\ndir /data/in\nappendonly no\nEOF", "/data", "/x"
    )
    files = read_files(Closed(), instance)
    assert files == Files(
        "/data/in", "v/data", "/data", "dump.rdb", True, "appendonly.aof", "appendonlydir", 64
    )
    assert read_files(Closed(), closed("redis-server", "/data")).directory == "/data"


def test_without_config_a_folder_that_cannot_be_told_is_a_refusal() -> None:
    with pytest.raises(BackupError, match="can't be told where redis keeps its data"):
        read_files(Closed(), closed("redis-server", "/data", "/other"))


class Told:
    """A server that remembers what it was set to."""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}

    def config_set(self, name: str, value: str) -> None:
        self.settings[name] = value


def left_by_a_kill(bench: JournallingBench, key: str, container: str) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        bench.journal(key, {"container": container, "value": "100"}),
    ):
        _ = 1 / 0


@pytest.mark.parametrize("kind", ["scratch", "restored"])
@pytest.mark.parametrize(
    "key",
    ["redis-rewrites lab-test-redis-1", "redis-rewrites test/redis"],
    ids=["this release", "before"],
)
def test_a_drill_leaves_the_live_server_its_setting(tmp_path: Path, kind: str, key: str) -> None:
    bench = JournallingBench(state=tmp_path)
    live = replace(
        tool_instance("redis", "test", "redis"), name="lab-test-redis-1", container_id="1"
    )
    scratch = replace(live, name=f"lab-test-{kind}-redis-4f2a", container_id="2", scratch=True)
    assert journal_key(live, REWRITES) == "redis-rewrites lab-test-redis-1"
    left_by_a_kill(bench, key, "1")
    client = Told()
    restore_settings(cast(Workbench, bench), scratch, client)
    assert client.settings == {}
    restore_settings(cast(Workbench, bench), live, client)
    assert client.settings == {REWRITE_SETTING: "100"}
    assert list(bench.abandoned("redis-")) == []


class Failing(JournallingBench):
    """Its scripts fail from the first on, or only the first."""

    failures = 1

    @contextmanager
    def stopped(self, _: Instance) -> Iterator[None]:
        yield

    def run(self, *_: object, **__: object) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise BackupError("the script failed")
        return ""


@pytest.mark.parametrize(
    ("failures", "append", "untouched"), [(1, True, True), (2, True, False), (1, False, False)]
)
def test_only_a_server_that_has_its_old_files_again_counts_as_untouched(
    tmp_path: Path, failures: int, append: bool, untouched: bool
) -> None:
    bench = Failing(state=tmp_path)
    bench.failures = failures
    there = replace(FILES, append_only=append)
    with pytest.raises(MmstackError, match="the script failed") as caught:
        redis_copy._swapped(cast(Workbench, bench), closed("x", "/data"), there, Facts())
    assert isinstance(caught.value, UntouchedError) is untouched
