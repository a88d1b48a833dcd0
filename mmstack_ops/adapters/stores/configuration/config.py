"""Back up the configuration that a service was created from: schema, templates, files."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from mmstack_ops.adapters.files import make_private_directory, write_atomically
from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.domain.backups.backup_kind import EVERY_METHOD
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.interpolation import references
from mmstack_ops.domain.secrets.redact import redactor
from mmstack_ops.domain.units import format_bytes

_FILES = "config.tar"
_SECRETS = "secrets.json"
_INSIDE = "restored-config"
# The archive is built in memory; a larger file is data, not configuration.
_LARGEST = 32 << 20


class Config:
    """Schema entry, container specification, variables and mounted files of a service.

    A restore never overwrites the schema: it writes a folder to read and copy from.
    Secrets are included only if backups are encrypted.
    """

    method: ClassVar[str] = EVERY_METHOD
    name: ClassVar[str] = "config"
    tree: ClassVar[bool] = False
    needs_running: ClassVar[bool] = False
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "files"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:  # noqa: ARG002 - nothing runs
        """Store the configuration; see ``BackupType.capture``."""
        found = _Inventory.of(instance)
        with capture.payload(_FILES, "files") as sink:
            sink.write(_packed(found.documents))
        secrets = _secrets(instance)
        kept = "its secrets, which are encrypted" if capture.encrypted else "not its secrets"
        if capture.encrypted:
            with capture.payload(_SECRETS, "files") as sink:
                sink.write(json.dumps(secrets, indent=1, sort_keys=True).encode())
        else:
            why = "a secret, and the backup isn't encrypted"
            found.excluded.update({f"secrets/{name}": why for name in secrets})
        capture.note(
            method=f"read from the schema, the templates and this host; {kept}",
            versions={},
            restore_by_hand=(
                f"tar -xf {_FILES}",
                "# schema.json is the service's entry, container.json what its container is made",
                "# from, variables.env its values, files/ what is mounted into it from the host",
            ),
            facts=found.facts(),
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Unpack the archive in memory; see ``BackupType.check``."""
        try:
            documents = _unpacked(_content(artifact))
            for name in ("schema.json", "container.json"):
                json.loads(documents[name])
        except (tarfile.TarError, ValueError, KeyError) as error:
            return [f"{_FILES}: {type(error).__name__}"]
        return []

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Write the configuration to a folder; see ``BackupType.restore``.

        If the service is running, the folder is in the environment's state; in a scratch copy it
        is ``/restored-config``.

        Returns:
            The instance; with the folder as its name if that is in the environment's state.
        """
        content = _content(artifact)
        if not instance.running:
            archive = io.BytesIO(_packed(_unpacked(content), below=_INSIDE))
            bench.write_tree(instance, "/", archive)
            return instance
        folder = bench.folder("restored") / artifact.manifest.id
        for name, data in _unpacked(content).items():
            place = folder / name
            make_private_directory(place.parent)
            write_atomically(place, data, mode=0o600)
        for payload in artifact.manifest.with_role("files"):
            if payload.name.startswith(_SECRETS):
                with artifact.read(payload) as source:
                    write_atomically(folder / _SECRETS, source.read(), mode=0o600)
        bench.tell(f"the configuration stands in {folder}; nothing of the schema was changed")
        return replace(instance, name=str(folder))

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:  # noqa: ARG002 - it is small: all is compared
        """Return facts about what was restored; see ``BackupType.inspect``."""
        folder = Path(instance.name)
        if folder.is_absolute() and folder.is_dir():
            found = {
                str(path.relative_to(folder)): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file() and path.name != _SECRETS
            }
            return _facts(found)
        if instance.running or not instance.container_id:
            return _Inventory.of(instance).facts()
        with (
            bench.read_tree(instance, f"/{_INSIDE}") as stream,
            tarfile.open(fileobj=cast("Any", stream), mode="r|") as archive,
        ):
            return _facts(_members(archive))


@dataclass
class _Inventory:
    """All of a service's configuration, stored or not.

    Args:
        documents: file name → content of everything that isn't a secret.
        not_covered: name → why it couldn't be read.
        excluded: name → why it isn't backed up.
    """

    documents: dict[str, bytes] = field(default_factory=dict)
    not_covered: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: Instance) -> _Inventory:
        """Return the configuration of a service, with the names of what can't be read."""
        found = cls(_described(instance))
        secrets = Path(instance.values.secret_directory)
        for mount in instance.spec.mounts:
            source = Path(mount.source)
            if mount.kind == "bind" and not source.is_relative_to(secrets):
                found._add(source, source, f"files{mount.target}")
        return found

    def facts(self) -> Facts:
        """Return the inventory as facts."""
        return replace(_facts(self.documents), not_covered=self.not_covered, excluded=self.excluded)

    def _add(self, path: Path, root: Path, name: str) -> None:
        """Add the file or folder at ``path``, with everything below it."""
        try:
            if path.is_symlink() and path != root and not _leads_inside(path, root):
                # The link may point to anything on this host.
                self.excluded[name] = f"a link to {path.readlink()}"
                return
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                inside = sorted(path.iterdir())
                if not inside:
                    self.excluded[name] = "an empty folder"
                for one in inside:
                    self._add(one, root, f"{name}/{one.name}")
            elif not stat.S_ISREG(mode):
                self.excluded[name] = "a socket, a pipe or a device"
            else:
                self._read(path, name)
        except FileNotFoundError:
            self.not_covered[name] = f"{path} isn't there"
        except OSError as error:
            self.not_covered[name] = f"{path} can't be read: {error.strerror or error}"

    def _read(self, path: Path, name: str) -> None:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            self.not_covered[name] = f"{path} is larger than {format_bytes(_LARGEST)}"
        else:
            self.documents[name] = content


def _leads_inside(link: Path, root: Path) -> bool:
    return link.resolve().is_relative_to(root.resolve()) and link.is_file()


def _described(instance: Instance) -> dict[str, bytes]:
    """Return file name → content, for the configuration from the schema and the templates."""
    values = instance.values
    public = instance.spec.public(
        secret_variables=frozenset(
            name
            for name, template in instance.definition.environment.items()
            if values.is_secret(template)
        ),
        key=values.digest_key,
    )
    named = {
        name
        for template in instance.definition.environment.values()
        for name in references(template)
        if name not in values.secret_variables
    }
    lines = [f"{name}={values.variables[name]}" for name in sorted(named & set(values.variables))]
    return {
        "schema.json": instance.definition.model_dump_json(indent=1).encode(),
        "container.json": json.dumps(
            _redacted(instance, public), indent=1, sort_keys=True
        ).encode(),
        "variables.env": ("\n".join(lines) + "\n").encode(),
    }


def _secrets(instance: Instance) -> dict[str, str]:
    """Return the secrets that the service receives as files or in its environment."""
    values = instance.values
    names = {use.secret for use in instance.definition.secrets}
    variables = {
        name
        for template in instance.definition.environment.values()
        for name in references(template)
        if name in values.secret_variables
    }
    found = {name: values.secrets[name] for name in names if name in values.secrets}
    return found | {name: values.variables[name] for name in variables}


def _redacted(instance: Instance, value: Any) -> Any:
    """Return ``value`` without secrets: a command or a health check may contain them too."""
    values = instance.values
    hidden = (values.variables.get(name, "") for name in values.secret_variables)
    redact = redactor([*values.secrets.values(), *hidden])

    def without(one: Any) -> Any:
        if isinstance(one, str):
            return redact(one)
        if isinstance(one, Mapping):
            return {name: without(part) for name, part in one.items()}
        return [without(part) for part in one] if isinstance(one, list) else one

    return without(value)


def _facts(documents: Mapping[str, bytes]) -> Facts:
    items = {name: sha256(data).hexdigest() for name, data in documents.items()}
    return Facts(figures={"files": len(items)}, items=items)


def _content(artifact: OpenArtifact) -> bytes:
    (payload,) = [p for p in artifact.manifest.with_role("files") if p.name.startswith(_FILES)]
    with artifact.read(payload) as source:
        return source.read()


def _packed(documents: Mapping[str, bytes], *, below: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(documents.items()):
            info = tarfile.TarInfo(f"{below}/{name}" if below else name)
            info.size, info.mode = len(data), 0o600
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return _members(archive)


def _members(archive: tarfile.TarFile) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in archive:
        source = archive.extractfile(member)
        if source is not None:
            found[member.name.removeprefix("./")] = source.read()
    return found
