"""A project's own redis: backed up, drilled, lost, planned, and restored under the lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import docker
import pytest

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.adapters.project import Project, open_project
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.adapters.stores.backup_type import OpenArtifact
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb
from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.artifact_writer import taking
from mmstack_ops.artifacts.backup_index import list_backups
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.backup_plan import RestorePlan, Series
from mmstack_ops.domain.backups.events import BackupDone, BackupEvent, BackupProgress, Proof
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.backups.restore_planner import RestoreWish, plan_restore
from mmstack_ops.domain.backups.status import BackupRow
from mmstack_ops.domain.errors import CancelledError
from mmstack_ops.domain.stacks import labels
from mmstack_ops.operations.backups.drill import drill, record_proof
from mmstack_ops.operations.backups.restore import restore
from mmstack_ops.operations.backups.restore_environment import RestoreEnvironment
from mmstack_ops.operations.backups.restore_scope import restore_scope
from mmstack_ops.operations.stacks.stack_operations import StackOperations
from tests.e2e.product import Product, make_product

pytestmark = pytest.mark.integration

ENVIRONMENT = "development"


@dataclass
class Here:
    """What ``BackupOperations`` puts together, with one tier."""

    product: Product
    project: Project
    tier: DirectoryTier
    connection: EngineConnection
    events: list[BackupEvent] = field(default_factory=list)
    on_event: Callable[[BackupEvent], None] = lambda _: None

    def __post_init__(self) -> None:
        self.catalogue = self.project.catalogue(ENVIRONMENT)
        self.stacks = StackOperations(self.project, ENVIRONMENT)
        self.environment = RestoreEnvironment(
            self.project, self.catalogue, self.connection, "a restore", self._listen
        )
        self.kind = RedisRdb()

    def _listen(self, event: BackupEvent) -> None:
        self.events.append(event)
        self.on_event(event)

    def up(self) -> None:
        results = self.stacks.apply(
            self.stacks.plan_up(["redis"]),
            holder="a test",
            cancel=threading.Event(),
            on_event=lambda _: None,
        )
        assert all(result.ok for result in results), results

    def redis(self, *command: str) -> str:
        live = self.product.one("redis")
        password = self.environment.values.secrets["redis_password"]
        done = live.exec_run(["redis-cli", *command], environment={"REDISCLI_AUTH": password})
        assert done.exit_code == 0, done.output
        return str(done.output.decode().strip())

    def back_up(self, series: Series, cancel: threading.Event) -> BackupDone:
        ref = BackupRef(
            ENVIRONMENT, series.service, series.type, new_id(datetime.now(UTC), os.urandom(4))
        )
        instance = self.environment.find(series.service)
        assert instance is not None
        with taking(
            self.tier,
            ref,
            project="test",
            image=instance.spec.image,
            packing=Packing(),
            keys=Keys(None),
            cancel=cancel,
            tell=lambda _: None,
        ) as capture:
            self.kind.capture(self.environment.bench(cancel), instance, capture)
        assert capture.manifest is not None
        return BackupDone(capture.manifest, self.tier.name, 0.1, 1)

    @contextmanager
    def artifact(self, ref: BackupRef, tier: str) -> Iterator[OpenArtifact]:
        yield cast(OpenArtifact, Artifact(self.tier, read_manifest(self.tier, ref), Keys(None)))

    def drilled(self, ref: BackupRef) -> Proof:
        with self.artifact(ref, "local") as artifact:
            return drill(
                artifact,
                self.kind,
                self.environment.recipe("redis"),
                tier=self.tier.name,
                scratch=self.environment.scratch,
                bench=self.environment.bench(threading.Event()),
                record=lambda proof: record_proof(proof, [self.tier], lambda _: None) and None,
                on_event=self._listen,
            )

    def rows(self) -> tuple[BackupRow, ...]:
        return list_backups([self.tier]).rows

    def plan(self) -> RestorePlan:
        observed = EngineReader(self.connection).observe(self.product.owner)
        scope = restore_scope(self.catalogue, observed, targets=["redis"], tiers=("local",))
        return plan_restore(scope, RestoreWish(), self.rows(), now=datetime.now(UTC))

    def restore(self, plan: RestorePlan) -> BackupRef | None:
        means = self.environment.means(
            artifact=self.artifact, kind=lambda ref: self.kind, back_up=self.back_up
        )
        (done,) = restore(plan, means, confirmation=plan.confirmation, cancel=threading.Event())
        return done.safety_backup


@pytest.fixture
def here(tmp_path: Path, engine_url: str) -> Iterator[Here]:
    client = docker.DockerClient(base_url=engine_url)
    product = make_product(tmp_path / "project", client)
    connection = EngineConnection(engine_url, read_only=False)
    try:
        with product.variables():
            project = open_project(product.root)
            generate(project, project.catalogue(ENVIRONMENT))
            made = Here(product, project, DirectoryTier("local", tmp_path / "tier"), connection)
            made.up()
            yield made
    finally:
        product.remove_everything()
        connection.close()
        client.close()


def test_redis_is_proven_lost_and_brought_back_while_nothing_else_may_change_it(
    here: Here,
) -> None:
    here.redis("set", "key", "precious")
    ref = here.back_up(Series("redis", "rdb"), threading.Event()).manifest.ref

    proof = here.drilled(ref)
    assert proof.proven, proof
    assert here.rows()[0].proven
    assert [c.name for c in here.product.found()] == [here.product.one("redis").name]

    live = here.product.one("redis")
    volume = next(m["Name"] for m in live.attrs["Mounts"] if m["Type"] == "volume")
    plan = here.plan()
    assert plan.items[0].replaces == (live.name, volume)
    live.remove(force=True)
    here.product.engine.volumes.get(volume).remove()

    refused: list[str] = []

    def try_to_start(event: BackupEvent) -> None:
        if isinstance(event, BackupProgress) and event.phase == "restoring":
            without_retries = threading.Event()
            without_retries.set()
            with (
                pytest.raises(CancelledError) as waiting,
                here.stacks.lock(
                    plan.daemon_id, holder="a start", cancel=without_retries, on_wait=lambda _: None
                ),
            ):
                pass
            refused.append(waiting.value.why)

    here.on_event = try_to_start
    assert here.restore(plan) is None
    assert here.redis("get", "key") == "precious"
    assert len(refused) == 1
    assert "a restore" in refused[0]
    assert here.product.one("redis").labels[labels.SERVICE] == "redis"


def test_a_backup_whose_stored_bytes_were_changed_is_disproven_and_passed_over(
    here: Here,
) -> None:
    here.redis("set", "key", "precious")
    good = here.back_up(Series("redis", "rdb"), threading.Event()).manifest.ref
    here.redis("set", "key", "newer")
    bad = here.back_up(Series("redis", "rdb"), threading.Event()).manifest
    payload = here.tier.root / bad.key_of(bad.with_role("dump")[0])
    content = bytearray(payload.read_bytes())
    content[len(content) // 2] ^= 1
    payload.chmod(0o600)
    payload.write_bytes(content)

    proof = here.drilled(bad.ref)
    assert not proof.proven
    assert proof.error
    row = next(row for row in here.rows() if row.ref == bad.ref)
    assert row.disproven_at is not None
    plan = here.plan()
    assert plan.items[0].ref == good
    assert any("passed over" in warning for warning in plan.warnings)
    assert [c.name for c in here.product.found()] == [here.product.one("redis").name]
