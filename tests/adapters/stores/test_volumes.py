"""Trees of volumes on plain folders: what a restore touches, and what it must leave alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.prometheus import full as prometheus_full
from mmstack_ops.adapters.stores.prometheus.full import PrometheusFull
from mmstack_ops.adapters.stores.sqlite.full import SqliteFull
from mmstack_ops.adapters.stores.volumes.full import VolumesFull
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree
from mmstack_ops.domain.errors import BackupError, RestoreError
from mmstack_ops.domain.schema.service import Mount
from tests.adapters.stores.folders import Here
from tests.adapters.stores.stores import back_up


def test_a_volume_that_is_excluded_is_neither_taken_nor_emptied(here: Here) -> None:
    instance = here.changed(exclude=["logs"])
    (here.data / "model").write_text("good")
    (here.logs / "today.log").write_text("precious line")
    artifact = back_up(VolumesFull(), instance, here.tier, at=here.at)
    assert {file.path for file in artifact.files()} == {"data", "data/model"}
    (here.data / "model").write_text("spoilt")
    VolumesFull().restore(here.at, instance, artifact)
    assert (here.data / "model").read_text() == "good"
    assert (here.logs / "today.log").read_text() == "precious line"


def test_paths_that_are_excluded_are_left_alone(here: Here) -> None:
    instance = here.changed(exclude=["data/cache", "data/*/tmp"])
    for path in ("cache/deep/thing", "job/tmp/x", "job/result", "old"):
        (here.data / path).parent.mkdir(parents=True, exist_ok=True)
        (here.data / path).write_text(path)
    artifact = back_up(VolumesFull(), instance, here.tier, at=here.at)
    assert not [f.path for f in artifact.files() if "cache" in f.path or "tmp" in f.path]
    (here.data / "new").write_text("goes")
    (here.data / "old").unlink()
    VolumesFull().restore(here.at, instance, artifact)
    found = {str(p.relative_to(here.data)) for p in here.data.rglob("*") if p.is_file()}
    assert found == {"cache/deep/thing", "job/tmp/x", "job/result", "old"}


def test_a_stale_log_of_writes_never_meets_a_restored_database(here: Here) -> None:
    import sqlite3
    from contextlib import closing

    instance = here.changed(method="sqlite", sqlite=["/data/app.db"])
    with closing(sqlite3.connect(here.data / "app.db")) as database:
        database.execute("CREATE TABLE t (n)")
        database.commit()
    artifact = back_up(SqliteFull(), instance, here.tier, at=here.at)
    for end in ("-wal", "-shm", "-journal"):
        (here.data / f"app.db{end}").write_bytes(b"of another life")
    SqliteFull().restore(here.at, instance, artifact)
    assert sorted(path.name for path in here.data.iterdir()) == ["app.db"]


@pytest.mark.parametrize("kind", [VolumesFull(), SqliteFull()])
def test_a_volume_out_of_reach_is_refused_before_anything_is_touched(
    here: Here, kind: VolumesFull
) -> None:
    (here.data / "file").write_text("kept")
    artifact = back_up(kind, here.instance, here.tier, at=here.at)
    here.bench.folders = {"v-data": here.data}
    with pytest.raises(BackupError, match="logs"):
        back_up(kind, here.instance, here.tier, days=1, at=here.at)
    with pytest.raises(RestoreError, match="logs"):
        kind.restore(here.at, here.instance, artifact)
    assert (here.data / "file").read_text() == "kept"


def test_a_folder_below_a_volume_is_made_when_it_is_not_there(here: Here) -> None:
    os.chown(here.data, 1000, 1000)
    (here.data / "snapshots").mkdir()
    (here.data / "snapshots" / "index.latest").write_text("1")
    (here.data / "live").write_text("untouched")
    instance = here.changed(exclude=["logs"])

    class Below(VolumesFull):
        def volumes(self, bench: Workbench, instance: Instance) -> VolumeTree:
            return VolumeTree(bench, instance, below="snapshots", only=["data"])

    artifact = back_up(Below(), instance, here.tier, at=here.at)
    (here.data / "snapshots" / "index.latest").unlink()
    (here.data / "snapshots").rmdir()
    Below().restore(here.at, instance, artifact)
    assert (here.data / "snapshots" / "index.latest").read_text() == "1"
    assert (here.data / "live").read_text() == "untouched"
    assert here.data.stat().st_uid == 1000


def test_a_link_that_leads_out_is_kept_as_it_is(here: Here) -> None:
    (here.data / "out").symlink_to("/etc/passwd")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)
    (here.data / "out").unlink()
    VolumesFull().restore(here.at, here.instance, artifact)
    assert str((here.data / "out").readlink()) == "/etc/passwd"


def test_a_full_disk_is_told_in_our_words(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.data / "file").write_text("x")
    artifact = back_up(VolumesFull(), here.instance, here.tier, at=here.at)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchown", full)
    with pytest.raises(RestoreError, match="No space left"):
        VolumesFull().restore(here.at, here.instance, artifact)
    assert [path.name for path in here.data.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        ([], []),
        (["20260301T120004Z-0a1b2c"], ["20260301T120004Z-0a1b2c"]),
        # The request never came to the server, and an operator made one since.
        (["20260301T123000Z-0a1b2c"], []),
        (["20260301T115900Z-0a1b2c", "mine"], []),
        (["20260301T120004Z-0a1b2c", "20260301T123000Z-3d4e5f"], ["20260301T120004Z-0a1b2c"]),
        (["20260301T120004Z-0a1b2c", "20260301T120006Z-3d4e5f"], []),
    ],
)
def test_only_a_snapshot_of_the_moment_it_was_asked_for_is_ours(
    here: Here, names: list[str], gone: list[str]
) -> None:
    mounts = [Mount(target="/prometheus", volume="data")]
    definition = here.instance.definition.model_copy(update={"mounts": mounts})
    instance = replace(
        here.instance, definition=definition, volumes={"/prometheus": "v-data"}, running=True
    )
    for name in ("20250101T000000Z-old", *names):
        (here.data / "snapshots" / name).mkdir(parents=True)
    record = {"known": '["20250101T000000Z-old"]', "at": "2026-03-01T12:00:00+00:00"}
    here.bench.records["prometheus-snapshot-asked-for worker"] = [record]
    prometheus_full._delete_leftovers(here.at, instance)
    left = {one.name for one in (here.data / "snapshots").iterdir()}
    assert left == {"20250101T000000Z-old", *names} - set(gone)


def test_prometheus_refuses_odd_names_of_snapshots(here: Here) -> None:
    from mmstack_ops.adapters.stores.prometheus import full as prometheus_full

    (here.data / "precious").write_text("x")
    for name in ("", "..", "a/b", ".hidden"):
        with pytest.raises(BackupError, match="isn't the name of a folder"):
            prometheus_full._delete(here.at, here.instance, name)
    assert PrometheusFull.method == "prometheus"
    assert (here.data / "precious").exists()


def test_reading_for_a_backup_is_no_use_of_a_file(here: Here) -> None:
    """Retention of model caches goes by when a file was last read."""
    path = here.data / "config.json"
    path.write_text("{}")
    now = time.time()
    # Read before it was written last: the next reading is noted also where few are.
    os.utime(path, (now - 90 * 86400, now - 80 * 86400))
    before = path.stat().st_atime
    tree = VolumeTree(here.at, here.instance, only=["data"])
    (file,) = (file for file in tree.scan() if file.kind == "file")
    with tree.open(file) as source:
        assert source.read() == b"{}"
    assert tree.look(None).items
    assert path.stat().st_atime == before
