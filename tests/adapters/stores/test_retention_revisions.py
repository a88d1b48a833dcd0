"""Revisions of a model cache: what nobody uses goes, with the blobs that nobody else needs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.huggingface import retention_revisions as huggingface_revisions
from mmstack_ops.adapters.stores.huggingface.retention_revisions import HuggingfaceRevisions
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.schema.retention import RevisionsRule
from tests.adapters.stores.retention_sites import DAY, Folders, site, with_volume
from tests.profiles import examples

KIND = HuggingfaceRevisions()
RULE = RevisionsRule(strategy="revisions", path="/cache/hub")


@pytest.fixture
def cache(tmp_path: Path) -> tuple[Instance, Folders, Path]:
    (tmp_path / "hub").mkdir()
    return (*with_volume(tmp_path, at="/cache"), tmp_path / "hub")


def revision(hub: Path, model: str, name: str, blobs: dict[str, str], *, days: float) -> Path:
    """A revision of links to blobs, all last used so many days ago."""
    repository = hub / f"models--{model.replace('/', '--')}"
    folder = repository / "snapshots" / name
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir(exist_ok=True)
    moment = time.time() - days * DAY
    for file, blob in blobs.items():
        path = repository / "blobs" / blob
        if not path.exists():
            path.write_text(blob * 10)
            os.utime(path, (moment, moment))
        (folder / file).symlink_to(f"../../blobs/{blob}")
        os.utime(folder / file, (moment, moment), follow_symlinks=False)
    os.utime(folder, (moment, moment))
    return folder


def test_an_unused_revision_goes_and_shared_blobs_stay(
    cache: tuple[Instance, Folders, Path],
) -> None:
    instance, folders, hub = cache
    old = revision(hub, "org/m", "aaa", {"config": "shared", "weights": "only"}, days=90)
    new = revision(hub, "org/m", "bbb", {"config": "shared", "weights": "new"}, days=1)
    here = site(instance, days=30, folders=folders)
    # The shared blob is as old as the old revision: the new one's own link is young.
    found = KIND.look(here, RULE)
    assert (found.total, found.expired) == (2, 1)
    assert found.names == ("models--org--m@aaa",)
    assert found.freed_bytes == len("only") * 10
    gone = KIND.clean(here, RULE)
    assert (gone.count, gone.freed_bytes) == (1, 40)
    assert not old.exists()
    assert {one.name: one.read_text() for one in new.iterdir()} == {
        "config": "shared" * 10,
        "weights": "new" * 10,
    }
    assert {one.name for one in (new.parents[1] / "blobs").iterdir()} == {"shared", "new"}


def test_what_a_branch_points_to_stays(cache: tuple[Instance, Folders, Path]) -> None:
    instance, folders, hub = cache
    folder = revision(hub, "org/m", "aaa", {"w": "b"}, days=90)
    refs = folder.parents[1] / "refs" / "pr"
    refs.mkdir(parents=True)
    (refs / "1").write_text("aaa\n")
    here = site(instance, days=30, folders=folders)
    found = KIND.look(here, RULE)
    assert found.expired == 0
    assert found.notes == ("models--org--m@aaa stays: pr/1 points to it",)
    assert KIND.clean(here, RULE).count == 0
    assert folder.exists()


def test_the_model_that_is_served_stays(cache: tuple[Instance, Folders, Path]) -> None:
    instance, folders, hub = cache
    served = revision(hub, "org/m-2", "aaa", {"w": "b"}, days=90)
    revision(hub, "org/other", "aaa", {"w": "b"}, days=90)
    told = replace(instance, spec=replace(instance.spec, command=("--model", "org/m-2")))
    assert KIND.clean(site(told, days=30, folders=folders), RULE).count == 1
    assert served.exists()


def test_reading_a_blob_is_use(cache: tuple[Instance, Folders, Path]) -> None:
    instance, folders, hub = cache
    folder = revision(hub, "org/m", "aaa", {"w": "b"}, days=90)
    blob = folder.parents[1] / "blobs" / "b"
    os.utime(blob, (time.time(), blob.stat().st_mtime))
    assert KIND.look(site(instance, days=30, folders=folders), RULE).expired == 0


def test_links_that_lead_out_are_not_followed(
    cache: tuple[Instance, Folders, Path], tmp_path: Path
) -> None:
    instance, folders, hub = cache
    folder = revision(hub, "org/m", "aaa", {}, days=90)
    precious = tmp_path / "precious"
    precious.write_text("x")
    (folder / "w").symlink_to(precious)
    moment = time.time() - 90 * DAY
    os.utime(folder / "w", (moment, moment), follow_symlinks=False)
    os.utime(folder, (moment, moment))
    assert KIND.clean(site(instance, days=30, folders=folders), RULE).count == 1
    assert precious.exists()


@pytest.mark.parametrize("part", ["", "snapshots", "blobs", "refs"])
def test_a_repository_that_is_a_link_out_is_refused(
    cache: tuple[Instance, Folders, Path], tmp_path: Path, part: str
) -> None:
    """A container could put it there; the clean-up is root."""
    instance, folders, hub = cache
    real = revision(hub, "org/m", "aaa", {"w": "b"}, days=90).parents[1]
    (real / "refs").mkdir()
    host = tmp_path / "host"
    (real / part).rename(host)
    (real / part).symlink_to(host)
    before = sorted(host.rglob("*"))
    for act in (KIND.look, KIND.clean):
        with pytest.raises(RetentionError, match="is a link"):
            act(site(instance, days=30, folders=folders), RULE)
    assert sorted(host.rglob("*")) == before


def test_a_link_that_comes_after_the_look_leads_nowhere(
    cache: tuple[Instance, Folders, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, folders, hub = cache
    repository = revision(hub, "org/m", "aaa", {"w": "b"}, days=90).parents[1]
    precious = tmp_path / "host" / "aaa"
    precious.mkdir(parents=True)
    (precious / "file").write_text("x")
    goes = huggingface_revisions._goes

    def swapped(*arguments: Any) -> Any:
        (repository / "snapshots").rename(tmp_path / "aside")
        (repository / "snapshots").symlink_to(precious.parent)
        return goes(*arguments)

    monkeypatch.setattr(huggingface_revisions, "_goes", swapped)
    with pytest.raises(RetentionError, match="became a link"):
        KIND.clean(site(instance, days=30, folders=folders), RULE)
    assert (precious / "file").exists()


@pytest.mark.parametrize(
    "told",
    [
        {"command": ("--model", "/cache/hub/models--org--m/snapshots/aaa")},
        {"entrypoint": ("serve", "org/m")},
    ],
)
def test_a_model_served_by_path_or_entry_point_stays(
    cache: tuple[Instance, Folders, Path], told: dict[str, tuple[str, ...]]
) -> None:
    instance, folders, hub = cache
    served = revision(hub, "org/m", "aaa", {"w": "b"}, days=90)
    instance = replace(instance, spec=replace(instance.spec, **told))  # type: ignore[arg-type]
    assert KIND.clean(site(instance, days=30, folders=folders), RULE).count == 0
    assert served.exists()


def test_a_stray_file_among_revisions_is_none(cache: tuple[Instance, Folders, Path]) -> None:
    instance, folders, hub = cache
    stray = revision(hub, "org/m", "aaa", {"w": "b"}, days=90).parent / ".DS_Store"
    stray.write_text("x")
    os.utime(stray, (0, 0))
    assert KIND.clean(site(instance, days=30, folders=folders), RULE).count == 1
    assert stray.exists()


@pytest.mark.parametrize("steps", range(1, 7))
def test_what_a_killed_clean_up_left_goes_the_next_time(
    cache: tuple[Instance, Folders, Path], monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    instance, folders, hub = cache
    for name in ("aaa", "bbb"):
        revision(hub, "org/m", name, {"w": f"only-{name}", "c": "both"}, days=90)
    kept = revision(hub, "org/m", "ccc", {"w": "young"}, days=1)
    here = site(instance, days=30, folders=folders)

    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    done = 0
    rmtree, unlink = huggingface_revisions.shutil.rmtree, os.unlink

    def counted(real: Any) -> Any:
        def act(*arguments: Any, **how: Any) -> Any:
            nonlocal done
            done += 1
            if done > steps:
                raise Killed
            return real(*arguments, **how)

        return act

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_revisions.shutil, "rmtree", counted(rmtree))
        patch.setattr(huggingface_revisions.os, "rename", counted(os.rename))
        patch.setattr(huggingface_revisions.os, "unlink", counted(unlink))
        with pytest.raises(Killed):
            KIND.clean(here, RULE)
    assert KIND.look(here, RULE).expired > 0
    KIND.clean(here, RULE)
    assert KIND.look(here, RULE).expired == 0
    repository = kept.parents[1]
    assert {one.name for one in repository.iterdir()} == {"blobs", "snapshots"}
    assert {one.name for one in (repository / "blobs").iterdir()} == {"young"}
    assert [one.name for one in (repository / "snapshots").iterdir()] == ["ccc"]
    assert (kept / "w").read_text() == "young" * 10


def test_links_put_aside_by_a_killed_clean_up_go_though_nothing_else_does(
    cache: tuple[Instance, Folders, Path],
) -> None:
    """Also where the revision was downloaded again since, and is too old again."""
    instance, folders, hub = cache
    again = revision(hub, "org/m", "aaa", {"w": "b"}, days=90)
    repository = again.parents[1]
    aside = repository / ".going-aaa"
    aside.mkdir()
    (aside / "w").symlink_to("../blobs/b")
    (repository / ".going-planted").symlink_to(hub.parent)
    here = site(instance, days=30, folders=folders)
    found = KIND.look(here, RULE)
    assert (found.expired, found.leftovers) == (2, 1)
    assert found.names[1] == "models--org--m/.going-aaa, of a clean-up that was killed"
    assert KIND.clean(here, RULE).count == 2
    assert KIND.look(here, RULE).expired == 0
    assert {one.name for one in repository.iterdir()} == {"blobs", "snapshots", ".going-planted"}


def test_a_download_that_is_finished_in_the_last_moment_stays(
    cache: tuple[Instance, Folders, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, folders, hub = cache
    blobs = revision(hub, "org/m", "aaa", {"w": "b"}, days=1).parents[1] / "blobs"
    for name in ("gone.incomplete", "resumed.incomplete", "dead.incomplete"):
        (blobs / name).write_text("half")
        os.utime(blobs / name, (time.time() - 90 * DAY,) * 2)
    unlink = huggingface_revisions._unlink

    def late(name: str, *arguments: Any) -> int | None:
        if name == "gone.incomplete":
            (blobs / name).rename(blobs / "whole")
        if name == "resumed.incomplete":
            (blobs / name).write_text("half and more")
        return unlink(name, *arguments)

    monkeypatch.setattr(huggingface_revisions, "_unlink", late)
    gone = KIND.clean(site(instance, days=30, folders=folders), RULE)
    assert (gone.count, gone.freed_bytes) == (1, 4)
    assert {one.name for one in blobs.iterdir()} == {"b", "whole", "resumed.incomplete"}


def test_what_broke_off_of_the_model_that_is_served_goes_too(
    cache: tuple[Instance, Folders, Path],
) -> None:
    instance, folders, hub = cache
    served = revision(hub, "org/m", "aaa", {"w": "b"}, days=90)
    dead = served.parents[1] / "blobs" / "dead.incomplete"
    dead.write_text("half")
    os.utime(dead, (time.time() - 90 * DAY,) * 2)
    told = replace(instance, spec=replace(instance.spec, command=("--model", "org/m")))
    assert KIND.clean(site(told, days=30, folders=folders), RULE).count == 1
    assert not dead.exists()
    assert (served / "w").read_text() == "b" * 10


def test_a_disk_that_fails_half_way_says_what_went(
    cache: tuple[Instance, Folders, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, folders, hub = cache
    for name in ("aaa", "bbb"):
        revision(hub, "org/m", name, {"w": name}, days=90)
    here = site(instance, days=30, folders=folders)
    rename = os.rename

    def failing(name: str, *arguments: Any, **how: Any) -> None:
        if name == "bbb":
            raise OSError(5, "Input/output error", name)
        rename(name, *arguments, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(RetentionError, match="1 revisions of worker went") as raised:
            KIND.clean(here, RULE)
    assert raised.value.why == "bbb: Input/output error"
    assert KIND.clean(here, RULE).count >= 1
    assert KIND.look(here, RULE).expired == 0


def test_downloads_that_broke_off_go_and_those_under_way_stay(
    cache: tuple[Instance, Folders, Path],
) -> None:
    instance, folders, hub = cache
    blobs = revision(hub, "org/m", "aaa", {"w": "b"}, days=1).parents[1] / "blobs"
    dead, alive = blobs / "dead.incomplete", blobs / "alive.incomplete"
    for path in (dead, alive):
        path.write_text("half")
    os.utime(dead, (time.time() - 90 * DAY,) * 2)
    # One whose very first download broke off has no revision at all.
    first = hub / "models--org--first" / "blobs"
    first.mkdir(parents=True)
    (first / "x.incomplete").write_text("half")
    os.utime(first / "x.incomplete", (time.time() - 90 * DAY,) * 2)
    here = site(instance, days=30, folders=folders)
    found = KIND.look(here, RULE)
    assert found.names == (
        "models--org--first: x.incomplete, of no revision",
        "models--org--m: dead.incomplete, of no revision",
    )
    assert (found.total, found.expired, found.freed_bytes) == (3, 2, 8)
    gone = KIND.clean(here, RULE)
    assert (gone.count, gone.freed_bytes) == (2, 8)
    assert alive.exists()
    assert not dead.exists()


def test_a_cache_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    instance, folders = with_volume(tmp_path, at="/cache")
    # A service that never downloaded anything has an empty volume: that is no mistake.
    assert KIND.look(site(instance, days=30, folders=folders), RULE).total == 0
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(RetentionError, match="has no cache /cache/hub"):
        KIND.look(site(instance, days=30, folders=folders), RULE)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcdef"), min_size=1), st.sampled_from([1.0, 90.0])),
        max_size=6,
    )
)
def test_what_stays_is_whole(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[set[str], float]]
) -> None:
    hub = tmp_path_factory.mktemp("cache") / "hub"
    hub.mkdir()
    instance, folders = with_volume(hub.parent, at="/cache")
    for number, (blobs, days) in enumerate(made):
        revision(hub, "org/m", f"r{number}", {f"f-{b}": b for b in sorted(blobs)}, days=days)
    here = site(instance, days=30, folders=folders)
    found = KIND.look(here, RULE)
    gone = KIND.clean(here, RULE)
    assert (gone.count, gone.freed_bytes) == (found.expired, found.freed_bytes)
    for folder in hub.glob("*/snapshots/*"):
        for link in folder.iterdir():
            assert link.read_text() == link.name.removeprefix("f-") * 10
