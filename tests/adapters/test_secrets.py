from __future__ import annotations

import os
import stat
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
import yaml

from mmstack_ops.adapters.project import Project, Settings
from mmstack_ops.adapters.secrets.store import generate, names, read_store
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import SecretError
from tests.adapters.config_project import ROOT, make_project

KEYED = f"format: 1\ndigest_key: '{'00' * 32}'\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return make_project(tmp_path, monkeypatch)


@pytest.fixture
def catalogue(project: Project) -> Catalogue:
    return project.catalogue("development")


def plain(project: Project) -> Path:
    return project.environment_state("development") / "secrets.yaml"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_generated_once(project: Project, catalogue: Catalogue) -> None:
    declared = tuple(catalogue.schema.security.secrets)
    assert generate(project, catalogue) == declared
    content = plain(project).read_bytes()
    assert generate(project, catalogue) == ()
    assert plain(project).read_bytes() == content
    store = read_store(project, "development")
    assert store is not None
    values = [secret.value for secret in store.secrets.values()]
    assert len(set(values)) == len(declared)
    assert all(len(value) >= 22 for value in values)
    assert len(store.digest_key) == 32


def test_files_are_private(project: Project, catalogue: Catalogue) -> None:
    os.umask(0o022)
    generate(project, catalogue)
    assert mode(plain(project)) == 0o600
    assert mode(plain(project).parent) == 0o700
    assert mode(project.state) == 0o700
    assert sorted(p.name for p in plain(project).parent.iterdir()) == [
        ".secrets.lock",
        "secrets.yaml",
    ]


def test_only_what_is_missing_is_added(project: Project, catalogue: Catalogue) -> None:
    generate(project, catalogue)
    document = yaml.safe_load(plain(project).read_text())
    del document["secrets"]["redis_password"]
    document["secrets"]["of_an_older_schema"] = {"value": "kept", "created": "2020-01-01T00:00:00Z"}
    plain(project).write_text(yaml.safe_dump(document))
    assert generate(project, catalogue) == ("redis_password",)
    after = yaml.safe_load(plain(project).read_text())
    assert after["secrets"].pop("redis_password")["value"]
    assert after == document


def test_environments_share_nothing(project: Project) -> None:
    for name in ("development", "testing"):
        generate(project, project.catalogue(name))
    first, second = read_store(project, "development"), read_store(project, "testing")
    assert first is not None
    assert second is not None
    assert not {s.value for s in first.secrets.values()} & {
        s.value for s in second.secrets.values()
    }
    assert first.digest_key != second.digest_key


def test_names_tell_no_values(project: Project, catalogue: Catalogue) -> None:
    assert not any(entry.present for entry in names(project, catalogue))
    assert not project.state.exists()
    generate(project, catalogue)
    entries = names(project, catalogue)
    store = read_store(project, "development")
    assert store is not None
    assert [entry.name for entry in entries] == list(catalogue.schema.security.secrets)
    assert all(entry.present and entry.created.endswith("Z") for entry in entries)
    shown = repr(entries) + repr(store)
    assert not any(secret.value in shown for secret in store.secrets.values())
    assert store.digest_key.hex() not in shown
    assert repr(store.digest_key) not in shown


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o644, 0o620])
def test_store_that_others_can_read_is_refused(
    project: Project, catalogue: Catalogue, bits: int
) -> None:
    generate(project, catalogue)
    plain(project).chmod(bits)
    for look in (lambda: read_store(project, "development"), lambda: generate(project, catalogue)):
        with pytest.raises(SecretError, match=rf"mode {bits:04o}") as caught:
            look()
        assert f"chmod 600 {plain(project)}" in caught.value.remedy


@pytest.mark.parametrize(
    "content",
    [
        "",
        "secrets: [",
        "just a text",
        "format: 2\ndigest_key: '00'\nsecrets: {}\n",
        "format: 1\nsecrets: {}\n",
        "format: 1\ndigest_key: xyz\nsecrets: {}\n",
        "format: 1\ndigest_key: '00'\nsecrets: {}\ncomplete: true\n",
        KEYED + "secrets: {}\n",
        KEYED + "secrets: {a: hunter22}\ncomplete: true\n",
        KEYED + "secrets: {a: {value: '', created: x}}\ncomplete: true\n",
        KEYED + "secrets: {a: {value: hunter22}}\ncomplete: true\n",
        KEYED + "secrets: {a: {value: hunter22 : }}\n",
    ],
)
def test_damaged_store_is_refused_and_kept(
    project: Project, catalogue: Catalogue, content: str
) -> None:
    generate(project, catalogue)
    plain(project).write_text(content)
    with pytest.raises(SecretError, match="is damaged") as caught:
        generate(project, catalogue)
    assert plain(project).read_text() == content
    assert "hunter22" not in "".join(traceback.format_exception(caught.value))


def test_truncated_store_is_refused(project: Project, catalogue: Catalogue) -> None:
    """It would else be taken for one with fewer secrets, and the lost ones be made anew."""
    generate(project, catalogue)
    whole = plain(project).read_bytes().rstrip()
    for length in range(0, len(whole), 17):
        plain(project).write_bytes(whole[:length])
        with pytest.raises(SecretError, match="is damaged"):
            generate(project, catalogue)


def test_a_store_of_before_is_read_and_gets_what_is_missing(
    project: Project, catalogue: Catalogue
) -> None:
    """Stores were block YAML once; every value has to come through."""
    generate(project, catalogue)
    before = read_store(project, "development")
    document = yaml.safe_load(plain(project).read_text())
    plain(project).write_text("# a comment\n" + yaml.safe_dump(document, sort_keys=False))
    assert read_store(project, "development") == before
    lost = document["secrets"].pop("redis_password")
    plain(project).write_text(yaml.safe_dump(document, sort_keys=False))
    assert generate(project, catalogue) == ("redis_password",)
    after = read_store(project, "development")
    assert before is not None
    assert after is not None
    assert after.secrets.pop("redis_password").value != lost["value"]
    before.secrets.pop("redis_password")
    assert after == before


def test_two_at_once_make_one_store(project: Project) -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from mmstack_ops.adapters.project import open_project;"
        "from mmstack_ops.adapters.secrets.store import generate;"
        "p = open_project(Path(sys.argv[1]));"
        "print(len(generate(p, p.catalogue('development'))))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(project.root)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(3)
    ]
    outputs = [int(process.communicate(timeout=60)[0]) for process in running]
    declared = len(project.load_schema().security.secrets)
    assert sorted(outputs) == [0, 0, declared]


def test_full_disk_leaves_the_store_as_it_was(
    project: Project, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(project, catalogue)
    document = yaml.safe_load(plain(project).read_text())
    del document["secrets"]["redis_password"]
    content = yaml.safe_dump(document)
    plain(project).write_text(content)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SecretError, match="can't be written") as caught:
        generate(project, catalogue)
    assert "No space left on device" in caught.value.why
    assert plain(project).read_text() == content
    assert not list(plain(project).parent.glob(".secrets.yaml.*"))


class TestEncryption:
    @pytest.fixture
    def sealed(self, project: Project) -> Project:
        identity = pyrage.x25519.Identity.generate()
        path = project.root / "age-key.txt"
        path.write_text(f"# created: today\n# public key: x\n{identity}\n")
        path.chmod(0o600)
        return replace(project, settings=Settings(age_identity=path))

    def encrypted(self, project: Project) -> Path:
        return plain(project).with_name("secrets.yaml.age")

    def test_store_is_encrypted(self, sealed: Project) -> None:
        added = generate(sealed, sealed.catalogue("development"))
        assert added
        assert not plain(sealed).exists()
        content = self.encrypted(sealed).read_bytes()
        assert content.startswith(b"age-encryption.org/v1")
        assert mode(self.encrypted(sealed)) == 0o600
        assert generate(sealed, sealed.catalogue("development")) == ()
        assert self.encrypted(sealed).read_bytes() == content

    def test_plain_store_migrates_with_its_values(self, project: Project, sealed: Project) -> None:
        catalogue = project.catalogue("development")
        generate(project, catalogue)
        before = read_store(project, "development")
        assert generate(sealed, catalogue) == ()
        assert not plain(project).exists()
        assert read_store(sealed, "development") == before
        with pytest.raises(SecretError, match="is encrypted, and no age identity is set"):
            read_store(project, "development")

    def test_other_identity_is_refused_and_nothing_is_lost(self, sealed: Project) -> None:
        catalogue = sealed.catalogue("development")
        generate(sealed, catalogue)
        content = self.encrypted(sealed).read_bytes()
        identity = sealed.settings.age_identity
        assert identity is not None
        identity.write_text(str(pyrage.x25519.Identity.generate()))
        with pytest.raises(SecretError, match="doesn't open with the age identity"):
            generate(sealed, catalogue)
        assert self.encrypted(sealed).read_bytes() == content

    @pytest.mark.parametrize("content", ["", "# only a comment\n", "AGE-SECRET-KEY-1NONSENSE\n"])
    def test_bad_identity(self, sealed: Project, content: str) -> None:
        identity = sealed.settings.age_identity
        assert identity is not None
        identity.write_text(content)
        with pytest.raises(SecretError, match="holds no age identity") as caught:
            generate(sealed, sealed.catalogue("development"))
        assert "NONSENSE" not in str(caught.value)

    def test_identity_that_others_can_read(self, sealed: Project) -> None:
        identity = sealed.settings.age_identity
        assert identity is not None
        identity.chmod(0o644)
        with pytest.raises(SecretError, match=r"age identity .* can be read by others"):
            generate(sealed, sealed.catalogue("development"))

    def test_missing_identity(self, sealed: Project) -> None:
        identity = sealed.settings.age_identity
        assert identity is not None
        identity.unlink()
        with pytest.raises(SecretError, match="can't be read"):
            generate(sealed, sealed.catalogue("development"))
