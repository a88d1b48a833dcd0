"""Configuration: all of it, and no secret where backups aren't encrypted."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.configuration import config
from mmstack_ops.adapters.stores.configuration.config import Config
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.domain.backups.facts import compare
from mmstack_ops.domain.secrets.values import EnvironmentValues
from mmstack_ops.domain.stacks.spec import MountSpec
from tests.adapters.stores.stores import QuietBench, back_up
from tests.operations.backups.sample_backups import plain_of

KIND = Config()
SECRET = 'very "secret" value'


@dataclass
class FolderBench(QuietBench):
    """A bench with a place for what is restored into a folder."""

    root: Path = Path()

    def folder(self, name: str) -> Path:
        return self.root / name


def service(folder: Path) -> Instance:
    folder.mkdir()
    (folder / "app.conf").write_text("listen 80\n")
    made = tool_instance("lab/app:1", "testing", "app")
    templates = {"API_KEY": "${APP_KEY}", "LEVEL": "${LOG_LEVEL}"}
    return replace(
        made,
        running=True,
        definition=made.definition.model_copy(update={"environment": templates}),
        values=EnvironmentValues(
            variables={"APP_KEY": SECRET, "LOG_LEVEL": "INFO", "OTHER": "not used"},
            secret_variables=frozenset({"APP_KEY"}),
            secrets={"app_key": SECRET},
            digest_key=b"key",
            secret_directory="/nonexistent",
        ),
        spec=replace(
            made.spec,
            environment={"API_KEY": SECRET, "LEVEL": "INFO"},
            command=("serve", "--key", SECRET),
            mounts=(MountSpec("bind", str(folder), "/etc/app", read_only=True),),
        ),
    )


def test_no_secret_without_encryption(tmp_path: Path) -> None:
    artifact = back_up(KIND, service(tmp_path / "mounted"), tmp_path / "tier")
    stored = b"".join(plain_of(artifact._tier, artifact.manifest))
    assert b"serve" in stored
    assert b"listen 80" in stored
    assert b"LOG_LEVEL=INFO" in stored
    for shown in (SECRET.encode(), json.dumps(SECRET).encode().strip(b'"')):
        assert shown not in stored
    assert "not its secrets" in artifact.manifest.method


def test_a_restore_writes_a_folder_that_compares(tmp_path: Path) -> None:
    instance = service(tmp_path / "mounted")
    artifact = back_up(KIND, instance, tmp_path / "tier")
    assert KIND.check(cast(Workbench, QuietBench()), artifact, "") == []
    bench = cast(Workbench, FolderBench(root=tmp_path / "state"))
    restored = KIND.restore(bench, instance, artifact)
    folder = tmp_path / "state" / "restored" / artifact.manifest.id
    assert (folder / "files/etc/app/app.conf").read_text() == "listen 80\n"
    assert compare(artifact.facts(), KIND.inspect(bench, restored, artifact.facts())).equal
    (folder / "files/etc/app/app.conf").write_text("listen 81\n")
    assert not compare(artifact.facts(), KIND.inspect(bench, restored, artifact.facts())).equal


def test_what_cannot_be_kept_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = service(tmp_path / "mounted")
    mounted = tmp_path / "mounted"
    (mounted / "closed").mkdir()
    (mounted / "closed" / "inner.conf").write_text("x")
    (mounted / "broken.conf").write_text("x")
    (mounted / "large.conf").write_bytes(b"x" * 101)
    (mounted / "empty").mkdir()
    (mounted / "out").symlink_to("/etc/hostname")
    (mounted / "same").symlink_to("app.conf")
    os.mkfifo(mounted / "pipe")
    monkeypatch.setattr(config, "_LARGEST", 100)
    refuse(monkeypatch, mounted / "closed", mounted / "broken.conf")
    mounts = (
        *instance.spec.mounts,
        MountSpec("bind", str(tmp_path / "gone"), "/etc/gone", read_only=True),
    )
    instance = replace(instance, spec=replace(instance.spec, mounts=mounts))
    artifact = back_up(KIND, instance, tmp_path / "tier")
    facts = artifact.facts()
    assert set(facts.not_covered) == {
        "files/etc/app/closed",
        "files/etc/app/broken.conf",
        "files/etc/app/large.conf",
        "files/etc/gone",
    }
    assert "Permission denied" in facts.not_covered["files/etc/app/closed"]
    assert set(facts.excluded) == {
        "files/etc/app/empty",
        "files/etc/app/out",
        "files/etc/app/pipe",
        "secrets/APP_KEY",
    }
    assert {name for name in facts.items if name.startswith("files/")} == {
        "files/etc/app/app.conf",
        "files/etc/app/same",
    }
    bench = cast(Workbench, FolderBench(root=tmp_path / "state"))
    restored = KIND.restore(bench, instance, artifact)
    assert compare(facts, KIND.inspect(bench, restored, facts)).equal
    # What can't be read in what is compared is a difference, unless it was named before.
    assert compare(facts, KIND.inspect(bench, instance, facts)).equal
    refuse(monkeypatch, mounted / "app.conf")
    assert not compare(facts, KIND.inspect(bench, instance, facts)).equal


def refuse(monkeypatch: pytest.MonkeyPatch, *refused: Path) -> None:
    """Let these be refused, as they are to whoever isn't root."""
    for method in ("open", "iterdir"):
        real = getattr(Path, method)

        def asked(path: Path, *given: Any, real: Any = real, **how: Any) -> Any:
            if path in refused:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *given, **how)

        monkeypatch.setattr(Path, method, asked)
