"""A full backup of a PostgreSQL server against what is run by hand, and against pgBackRest.

About 1 GB of realistic rows; ``MMSTACK_BENCH_ROWS`` makes it smaller for a try.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import docker
from docker.errors import BuildError
from docker.models.containers import Container

from bench.measure import Row, peak_memory, timed
from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.artifacts.artifact_writer import taking
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from tests.integration.backups.lab import Bench, postgres
from tests.integration.world import POSTGRES, World

TITLE = "Backup of PostgreSQL"
_ROWS = int(os.environ.get("MMSTACK_BENCH_ROWS", "3000000"))
_ROUNDS = 3
_AT_LEAST_GZIP = 3.0
_AT_LEAST_ZSTD = 0.9
_RSS_MIB = 200
_PEERS = "mmstack-bench/postgres:peers"
# The lab's image leaves out what the packages' own tools would need; these programs don't.
_DOCKERFILE = f"""FROM {POSTGRES}
RUN apt-get update && cd /tmp && apt-get download pgbackrest zstd libxml2 libssh2-1 \\
    && dpkg --force-depends -i *.deb && rm -rf *.deb /var/lib/apt/lists/*
"""
_PGBACKREST = """[global]
repo1-path=/var/lib/postgresql/backrest
compress-type=zst
compress-level=3
process-max=2
start-fast=y
log-level-file=off
log-path=/tmp
lock-path=/tmp
[bench]
pg1-path=/var/lib/postgresql/data
pg1-user=app owner
"""
_WORDS = [
    *("the", "a", "model", "vector", "query", "answer", "of", "token", "with", "index"),
    *("page", "image", "text", "is", "and", "to", "in", "for"),
]
_FILL = f"""
CREATE TABLE public.documents (id bigint PRIMARY KEY, sha text, other text, score float8,
  weight float8, at timestamptz, body text);
INSERT INTO public.documents SELECT i, md5(i::text), md5((i * 7)::text), random(), random() * 1e6,
  '2024-01-01'::timestamptz + i * interval '1 s',
  (SELECT string_agg((ARRAY{_WORDS})[1 + floor(random() * {len(_WORDS)})::int], ' ')
     FROM generate_series(1, 25 + (i % 20)::int))
FROM generate_series(1::bigint, {_ROWS}) i;
"""


def run() -> list[Row]:
    """Fill a server, then back it up in turn with ours and with each peer."""
    engine = docker.DockerClient(timeout=600)
    has_peers = _build_peers(engine)
    number = os.getpid() % 256
    world = World(owner=f"mmtest-{os.getpid()}-bench", subnet=f"10.203.{number}.0/24")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(world, Path(folder), has_peers=has_peers)
    finally:
        world.remove_everything()
        world.close()
        engine.close()


def _measure(world: World, folder: Path, *, has_peers: bool) -> list[Row]:
    image = _PEERS if has_peers else POSTGRES
    instance = postgres(world, image=image, command=_archiving() if has_peers else None)
    server = Server.of(instance)
    with server.connect("app") as connection:
        connection.execute(_FILL.encode())
        connection.execute(b"VACUUM ANALYZE public.documents")
        (size,) = connection.execute(b"SELECT pg_database_size('app')").fetchall()[0]
    container = world.live("postgres")
    commands = {
        "pg_dump -Fc (its own gzip)": "pg_dump -Fc -d app -f /tmp/peer && sync /tmp/peer",
    }
    if has_peers:
        commands["pg_dump -Fc -Z0 piped into zstd -3 -T2"] = (
            "pg_dump -Fc -Z0 -d app | zstd -q -3 -T2 -o /tmp/peer && sync /tmp/peer"
        )
        commands["pgbackrest, zst, two processes"] = "pgbackrest --stanza=bench --type=full backup"
        _prepare_pgbackrest(container)
    _ours(world, instance, folder)
    ours: list[float] = []
    peers: dict[str, list[float]] = {name: [] for name in commands}
    stored = 0
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        stored = _ours(world, instance, folder)
        ours.append(time.perf_counter() - begun)
        for name, command in commands.items():
            peers[name].append(timed(lambda command=command: _inside(container, command)))  # type: ignore[misc]
    mine = statistics.median(ours)
    bounds = (_AT_LEAST_GZIP, _AT_LEAST_ZSTD, None)
    rows = [
        _speed_row(name, mine, statistics.median(times), bound)
        for (name, times), bound in zip(peers.items(), bounds, strict=False)
    ]
    peak = peak_memory()
    return [
        *rows,
        Row(
            "plain and stored size",
            f"{size / 1e6:.0f} MB in the server, {stored / 1e6:.0f} MB stored",
        ),
        Row(
            "peak RSS of our process",
            f"{peak:.0f} MiB",
            target=f"≤ {_RSS_MIB} MiB",
            met=peak <= _RSS_MIB,
        ),
    ]


def _ours(world: World, instance: Instance, folder: Path) -> int:
    """Take one whole backup: facts, roles, all databases, compressed, hashed, on the disk."""
    cancel = threading.Event()
    bench = Bench(world, folder / "state").bench
    tier = DirectoryTier("local", folder / "tier")
    ref = BackupRef("test", "postgres", "full", new_id(datetime.now(UTC), os.urandom(4)))
    with taking(
        tier,
        ref,
        project=world.owner,
        image=instance.spec.image,
        packing=Packing(),
        keys=Keys(None),
        cancel=cancel,
        tell=lambda _: None,
    ) as capture:
        PostgresFull().capture(bench, instance, capture)
    shutil.rmtree(folder / "tier")
    assert capture.manifest is not None
    return capture.manifest.stored_bytes


def _speed_row(peer: str, ours: float, theirs: float, at_least: float | None) -> Row:
    faster = theirs / ours
    return Row(
        what=f"full backup against {peer}",
        figure=f"{ours:.2f} s",
        peer=f"{theirs:.2f} s",
        ratio=faster,
        target=f"≥ {at_least}× as fast" if at_least else "shown",
        met=None if at_least is None else faster >= at_least,
    )


def _inside(container: Container, command: str) -> None:
    login = 'export PGUSER="$POSTGRES_USER" PGPASSWORD="$POSTGRES_PASSWORD" PGHOST=127.0.0.1; '
    script = f"rm -f /tmp/peer; {login}set -o pipefail; {command}"
    code, said = container.exec_run(["bash", "-c", script], user="postgres")
    if code != 0:
        raise SystemExit(f"{command} failed:\n{said.decode()}")


def _archiving() -> tuple[str, ...]:
    push = "pgbackrest --stanza=bench archive-push %p"
    return ("postgres", "-c", "archive_mode=on", "-c", f"archive_command={push}")


def _prepare_pgbackrest(container: Container) -> None:
    """Write its configuration; a password file lets its own connection in."""
    for path, content in (("/etc/pgbackrest.conf", _PGBACKREST),):
        code, said = container.exec_run(
            ["sh", "-c", 'printf %s "$CONTENT" >"$FILE"'],
            environment={"CONTENT": content, "FILE": path},
        )
        if code != 0:
            raise SystemExit(f"{path} couldn't be written:\n{said.decode()}")
    _inside(container, "pgbackrest --stanza=bench stanza-create")


def _build_peers(engine: docker.DockerClient) -> bool:
    """Build an image with the peers' programs; without a package source there is none."""
    try:
        engine.images.build(fileobj=io.BytesIO(_DOCKERFILE.encode()), tag=_PEERS, rm=True)
    except BuildError as error:
        print(f"zstd and pgbackrest couldn't be installed, so they are left out: {error}")
        return False
    return True
