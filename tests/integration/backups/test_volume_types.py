"""Volumes, SQLite, model caches and Prometheus: backed up, proven, lost, brought back."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.adapters.stores.probes import run_probes
from mmstack_ops.adapters.stores.prometheus import full as prometheus_full
from mmstack_ops.adapters.stores.volumes.folder import VolumeFolder
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupDone, BackupEvent, BackupProgress
from mmstack_ops.domain.schema.probes import ObjectProbe
from mmstack_ops.operations.backups.backup_operations import BackupOperations
from mmstack_ops.operations.stacks.stack_operations import StackOperations
from tests.e2e.product import Product, make_product

pytestmark = pytest.mark.integration
ENVIRONMENT = "development"


@dataclass
class Here:
    product: Product
    control: BackupOperations
    stacks: StackOperations
    events: list[BackupEvent] = field(default_factory=list)

    def start(self, service: str) -> None:
        results = self.stacks.apply(
            self.stacks.plan_up([service], dependencies=False),
            holder="a test",
            cancel=threading.Event(),
            on_event=lambda _: None,
        )
        assert all(result.ok for result in results), results

    def folder(self, service: str, target: str) -> Path:
        """Where a volume of the service stands on this host."""
        (mount,) = [
            mount
            for mount in self.product.one(service).attrs["Mounts"]
            if mount["Destination"] == target
        ]
        return Path(mount["Source"])

    def back_up(self, service: str, kind: str) -> BackupDone:
        return self.control.back_up(
            Series(service, kind),
            holder="a test",
            cancel=threading.Event(),
            on_event=self.events.append,
        )

    def prove_and_bring_back(self, service: str, kind: str, spoil: Callable[[], None]) -> None:
        self.back_up(service, kind)
        again = self.back_up(service, kind)
        assert again.manifest.parent is not None
        ref = again.manifest.ref
        proof = self.control.drill(
            ref, holder="a test", cancel=threading.Event(), on_event=self.events.append
        )
        assert proof.proven, proof
        result = self.control.verify(
            ref,
            tier="local",
            holder="a test",
            cancel=threading.Event(),
            on_event=self.events.append,
        )
        assert result.ok, result
        assert result.whole
        spoil()
        plan = self.control.plan_restore([], backup=ref)
        self.control.restore(
            plan,
            confirmation=plan.confirmation,
            holder="a test",
            cancel=threading.Event(),
            on_event=self.events.append,
        )
        assert self.product.containers()[service] == "running"
        # What it held before is kept, and isn't what the next restore takes.
        rows = self.control.backups(targets=[service], types=[kind])
        (kept,) = [row for row in rows if row.safety]
        next_one = self.control.plan_restore([service], types=[kind])
        assert next_one.items[0].ref != kept.ref
        assert any(str(kept.ref) in warning for warning in next_one.warnings)

    def said(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, BackupProgress)]


@pytest.fixture
def here(tmp_path: Path, engine_url: str) -> Iterator[Here]:
    client = docker.DockerClient(base_url=engine_url)
    product = make_product(tmp_path / "project", client)
    product.change_schema(_alone)
    try:
        with product.variables():
            project = open_project(product.root)
            generate(project, project.catalogue(ENVIRONMENT))
            yield Here(
                product,
                BackupOperations(project, ENVIRONMENT),
                StackOperations(project, ENVIRONMENT),
            )
    finally:
        product.remove_everything()
        client.close()


def _alone(schema: dict[str, Any]) -> None:
    """One service at a time: what it needs plays no part here."""
    for service in schema["services"].values():
        service.pop("depends_on", None)


def _seen(folder: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *folder.rglob("*")]:
        seen = path.lstat()
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        times = seen.st_mtime_ns if path != folder else 0
        found[str(path.relative_to(folder))] = (
            seen.st_mode,
            seen.st_uid,
            seen.st_gid,
            times,
            content,
        )
    return found


def test_a_volume_comes_back_with_owners_modes_times_and_odd_names(here: Here) -> None:
    here.start("n8n")
    folder = here.folder("n8n", "/home/node/.n8n")
    (folder / "empty folder").mkdir(mode=0o751)
    (folder / "a b\n'ü\"").write_bytes(b"odd name")
    (folder / "binary").mkdir()
    big = folder / "binary" / "data"
    big.write_bytes(os.urandom(3 << 20))
    os.chown(big, 1234, 4321)
    big.chmod(0o4640)
    os.utime(big, ns=(1_000_000_000_000_000_123, 1_000_000_000_000_000_123))
    (folder / "link").symlink_to("binary/data")
    (folder / "dangling").symlink_to("../../nowhere")
    os.setxattr(big, "user.note", b"\x00\xff")
    started = here.product.one("n8n").attrs["State"]["StartedAt"]
    before = _seen(folder)

    def spoil() -> None:
        assert here.product.one("n8n").attrs["State"]["StartedAt"] != started
        big.write_bytes(b"spoilt")
        (folder / "link").unlink()
        (folder / "new").write_text("wasn't there")

    here.prove_and_bring_back("n8n", "full", spoil)
    assert _seen(here.folder("n8n", "/home/node/.n8n")) == before
    assert os.getxattr(folder / "binary" / "data", "user.note") == b"\x00\xff"


def test_a_restore_that_is_killed_while_it_swaps_is_made_good_by_the_next_run(here: Here) -> None:
    here.start("n8n")
    folder = here.folder("n8n", "/home/node/.n8n")
    for name in ("one", "two", "three"):
        (folder / name).write_text("backed up")
    ref = here.back_up("n8n", "full").manifest.ref
    for name in ("one", "two", "four"):
        (folder / name).write_text("newer")
    before = _seen(folder)
    plan = here.control.plan_restore([], backup=ref)
    child = os.fork()
    if child == 0:
        real, calls = VolumeFolder.rename, []

        def deadly(self: VolumeFolder, path: str, to: str) -> None:
            calls.append(path)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, path, to)

        VolumeFolder.rename = deadly  # type: ignore[method-assign]
        try:
            here.control.restore(
                plan,
                confirmation=plan.confirmation,
                holder="a test",
                cancel=threading.Event(),
                on_event=here.events.append,
            )
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert _seen(folder) != before
    here.back_up("n8n", "full")
    assert _seen(folder) == before
    assert any("was killed: the volume holds what it held before" in line for line in here.said())


def test_an_unchanged_volume_is_referenced_not_read_again(here: Here) -> None:
    here.start("allure-results")
    folder = here.folder("allure-results", "/app/allure-results")
    (folder / "result.json").write_bytes(os.urandom(1 << 20))
    container = here.product.one("allure-results").id
    first = here.back_up("allure-results", "full")
    second = here.back_up("allure-results", "full")
    assert first.written_bytes > 1 << 20
    assert second.written_bytes < 20_000
    assert here.product.one("allure-results").id == container
    assert here.product.containers()["allure-results"] == "running"


def test_a_sqlite_database_in_use_is_whole(here: Here) -> None:
    here.start("grafana")
    folder = here.folder("grafana", "/var/lib/grafana")
    place = folder / "grafana.db"
    (folder / "plugins").mkdir()
    (folder / "plugins" / "plugin.json").write_text("{}")
    stop = threading.Event()
    with closing(sqlite3.connect(place)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE dashboard (id integer primary key, title text)")
        database.execute("CREATE TABLE busy (n integer)")
        database.executemany(
            "INSERT INTO dashboard (title) VALUES (?)", [(f"title {n}",) for n in range(1000)]
        )
        database.commit()

    def write() -> None:
        with closing(sqlite3.connect(place, timeout=300)) as database:
            while not stop.wait(0.01):
                database.execute("INSERT INTO busy VALUES (1)")
                database.commit()

    writer = threading.Thread(target=write)
    writer.start()
    started = here.product.one("grafana").attrs["State"]["StartedAt"]
    try:
        here.back_up("grafana", "full")
    finally:
        stop.set()
        writer.join()
    # Nobody stopped it for that.
    assert here.product.one("grafana").attrs["State"]["StartedAt"] == started

    def spoil() -> None:
        with closing(sqlite3.connect(place)) as database:
            database.execute("DROP TABLE dashboard")
            database.commit()

    here.prove_and_bring_back("grafana", "full", spoil)
    with closing(sqlite3.connect(here.folder("grafana", "/var/lib/grafana") / "grafana.db")) as db:
        assert db.execute("SELECT count(*) FROM dashboard").fetchone() == (1000,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_all_replicas_are_stopped_for_a_backup_and_come_back_after_a_kill(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(schema: dict[str, Any]) -> None:
        service = schema["services"]["n8n"]
        service["replicas"] = 2
        service["ports"] = []

    here.product.change_schema(two)
    project = open_project(here.product.root)
    at = Here(
        here.product, BackupOperations(project, ENVIRONMENT), StackOperations(project, ENVIRONMENT)
    )
    at.start("n8n")

    def states() -> list[str]:
        return [c.status for c in at.product.found(ENVIRONMENT)]

    assert states() == ["running", "running"]
    seen: list[list[str]] = []
    real = VolumeTree.files
    deadly = False

    def watched(self: VolumeTree, *, still: bool) -> Any:
        seen.append(states())
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, still=still)

    monkeypatch.setattr(VolumeTree, "files", watched)
    at.back_up("n8n", "full")
    assert seen == [["exited", "exited"]]
    assert states() == ["running", "running"]
    child = os.fork()
    if child == 0:
        deadly = True
        try:
            at.back_up("n8n", "full")
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    assert states() == ["exited", "exited"]
    at.back_up("n8n", "full")
    assert states() == ["running", "running"]


def test_a_damaged_database_is_named_and_stops_nothing(here: Here) -> None:
    here.start("grafana")
    place = here.folder("grafana", "/var/lib/grafana") / "grafana.db"
    place.write_bytes(b"SQLite format 3\x00" + os.urandom(8000))
    (place.parent / "other").write_text("x")
    done = here.back_up("grafana", "full")
    (named,) = done.manifest.not_covered
    assert named.name.endswith("/grafana.db")


def test_a_model_cache_keeps_links_and_leaves_downloads_out(here: Here) -> None:
    here.start("vllm")
    hub = here.folder("vllm", "/root/.cache/huggingface") / "hub" / "models--lab--tiny"
    weights = os.urandom(2 << 20)
    digest = hashlib.sha256(weights).hexdigest()
    for name in ("blobs", "snapshots/abc", "refs", ".locks"):
        (hub / name).mkdir(parents=True)
    (hub / "blobs" / digest).write_bytes(weights)
    (hub / "blobs" / f"{digest[:20]}.incomplete").write_bytes(b"half")
    (hub / ".locks" / "x.lock").write_bytes(b"")
    (hub / "refs" / "main").write_text("abc")
    (hub / "snapshots/abc/model.safetensors").symlink_to(f"../../blobs/{digest}")

    def spoil() -> None:
        (hub / "blobs" / digest).unlink()

    assert here.control.probe_models()
    here.prove_and_bring_back("vllm", "models", spoil)
    link = hub / "snapshots/abc/model.safetensors"
    assert link.is_symlink()
    assert link.read_bytes() == weights
    # A download on its way is named by the backup: it was left where it is.
    assert list(hub.rglob("*.incomplete"))


def test_prometheus_is_taken_by_its_own_snapshot(here: Here) -> None:
    here.start("prometheus")
    folder = here.folder("prometheus", "/prometheus")
    done = here.back_up("prometheus", "full")
    assert done.manifest.figures["blocks"] >= 0
    # The server's disk is as before.
    assert list((folder / "snapshots").iterdir()) == []
    here.prove_and_bring_back("prometheus", "full", lambda: None)
    assert not [line for line in here.said() if "killed" in line]


def killed_as_the_snapshot_came(here: Here) -> None:
    """Have a backup killed after the server made its snapshot, before its name is known."""
    child = os.fork()
    if child == 0:
        real = prometheus_full.ask

        def deadly(instance: Any, method: str, path: str) -> Any:
            answer = real(instance, method, path)
            if "tsdb/snapshot" in path:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        prometheus_full.ask = deadly
        try:
            here.back_up("prometheus", "full")
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_a_snapshot_whose_name_was_never_written_down_goes_the_next_time(here: Here) -> None:
    here.start("prometheus")
    snapshots = here.folder("prometheus", "/prometheus") / "snapshots"
    (snapshots / "20200101T000000Z-somebodys").mkdir(parents=True)
    owner = snapshots.parent.stat()
    # The server makes its own beside it.
    os.chown(snapshots, owner.st_uid, owner.st_gid)
    killed_as_the_snapshot_came(here)
    assert len(list(snapshots.iterdir())) == 2
    here.back_up("prometheus", "full")
    assert [one.name for one in snapshots.iterdir()] == ["20200101T000000Z-somebodys"]
    assert any("that a killed backup left" in line for line in here.said())

    # Somebody made one of their own since: only the one of that moment goes.
    killed_as_the_snapshot_came(here)
    (snapshots / "20300101T000000Z-another").mkdir()
    here.back_up("prometheus", "full")
    assert {one.name for one in snapshots.iterdir()} == {
        "20200101T000000Z-somebodys",
        "20300101T000000Z-another",
    }


def test_grafanas_users_are_there_and_it_starts_on_the_restored_data(here: Here) -> None:
    here.start("grafana")
    place = here.folder("grafana", "/var/lib/grafana") / "grafana.db"

    def checks() -> dict[str, tuple[bool, str]]:
        ref = here.back_up("grafana", "full").manifest.ref
        proof = here.control.drill(
            ref, holder="a test", cancel=threading.Event(), on_event=here.events.append
        )
        assert proof.comparison.equal, proof
        assert proof.proven is (not proof.failed_checks)
        kept = here.control.proof(ref)
        assert kept is not None
        assert kept.checks == proof.checks
        return {check.name: (check.passed, check.words) for check in proof.checks}

    with closing(sqlite3.connect(place)) as database:
        database.execute('CREATE TABLE "user" (id integer primary key, login text)')
        database.execute("""INSERT INTO "user" (login) VALUES ('admin'), ('somebody')""")
        database.commit()
        good = checks()
        assert good["probe users"] == (True, "2")
        assert good["probe starts"] == (True, "status 200")
        database.execute('DELETE FROM "user"')
        database.commit()
    bad = checks()
    assert bad["probe users"] == (False, "0 is less than 1")
    assert bad["probe starts"][0] is True
    passed, words = bad["trend"]
    assert not passed
    assert "table user: 2 before, 0 now" in words


def test_an_objects_content_is_asked_for(here: Here) -> None:
    from mmstack_ops.adapters.stores.s3.client import s3_client

    here.start("minio")
    with here.control._place("a test", lambda _: None) as place:
        found = place.find("minio")
        assert found is not None
        client = s3_client(found)
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="card.md", Body=b"a model of words")
        digest = hashlib.sha256(b"a model of words").hexdigest()

        def judged(**fields: Any) -> tuple[bool, str]:
            wanted = {"bucket": "models", "key": "card.md"} | fields
            probe = ObjectProbe(name="card", kind="object", **wanted)
            bench = place.bench(threading.Event())
            (check,) = run_probes([probe], "bucket", bench, found, start=lambda one: one)
            return check.passed, check.words

        assert judged(min_size=16, max_size=16, sha256=digest, contains="of words") == (
            True,
            "16 bytes",
        )
        assert judged(min_size=17) == (False, "16 bytes, at least 17 are expected")
        assert judged(max_size=15) == (False, "16 bytes, at most 15 are expected")
        assert judged(sha256="0" * 64) == (False, f"its SHA-256 is {digest}")
        assert judged(contains="pictures")[0] is False
        assert judged(key="none") == (False, "the store doesn't give the object: NoSuchKey")
        assert judged(bucket="nowhere")[0] is False
