"""One-shot containers, frozen containers and files inside containers: what backups need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from docker.types import Healthcheck, LogConfig, Mount

from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.stacks import labels

ONE_SHOT = "io.mmstack.oneshot"
"""Label of a one-shot container: the exchange folder of the process that made it."""
_CHUNK = 1 << 20
# Packing or unpacking a large tree is one request; the engine answers when it is through.
_ARCHIVE_TIMEOUT = 6 * 3600.0
# A volume's files may belong to anybody; without a volume no capability is needed at all.
_VOLUME_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID")
_LOG_OPTIONS = {"max-size": "20m", "max-file": "2"}


@dataclass(frozen=True)
class OneShot:
    """A container that runs one command and is removed."""

    name: str
    image: str
    command: tuple[str, ...]
    network: str
    exchange: str
    """Folder of the host that is mounted at ``/run/exchange``."""
    user: str
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Volume → path inside."""
    writable: bool = False
    """Volumes may be written to."""


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    out_of_memory: bool = False


class OneShotEngine(EngineWriter):
    """An engine handle that also runs one-shot containers, freezes others, and moves files."""

    def create_one_shot(self, spec: OneShot, *, target: str) -> str:
        """Create a one-shot container; return its id.

        It carries Compose's mark for one-off containers and no service's name, so that no
        plan and no status takes it for a replica.

        Args:
            target: where the exchange folder is mounted inside.
        """
        with self._connection.translated(f"create one-shot container {spec.name}") as client:
            mounts = [Mount(target=target, source=spec.exchange, type="bind")]
            mounts += [
                Mount(target=path, source=volume, type="volume", read_only=not spec.writable)
                for volume, path in spec.volumes.items()
            ]
            host = client.create_host_config(
                mounts=mounts,
                network_mode=spec.network,
                cap_drop=["ALL"],
                cap_add=list(_VOLUME_CAPABILITIES) if spec.volumes else [],
                security_opt=["no-new-privileges:true"],
                log_config=LogConfig(type=LogConfig.types.JSON, config=_LOG_OPTIONS),
            )
            created = client.create_container(
                image=spec.image,
                name=spec.name,
                entrypoint=list(spec.command[:1]),
                command=list(spec.command[1:]),
                user=spec.user,
                environment=dict(spec.environment),
                # The image's own probe would look for a server that doesn't run here.
                healthcheck=Healthcheck(test=["NONE"]),
                labels={**self._marks, labels.ONEOFF: "True", ONE_SHOT: spec.exchange},
                host_config=host,
            )
        return str(created["Id"])

    def ended(self, container_id: str, name: str) -> Ended | None:
        """Return how a container ended; None while it runs.

        Raises:
            MissingObjectError: somebody removed it.
        """
        with self._connection.translated(f"look at {name}") as client:
            state = client.inspect_container(container_id)["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        return Ended(int(state.get("ExitCode") or 0), bool(state.get("OOMKilled")))

    def output(self, container_id: str, name: str, *, stderr: bool) -> str:
        """Return all that a container wrote to stdout, or to stderr."""
        with self._connection.translated(f"read the output of {name}") as client:
            raw: bytes = client.logs(container_id, stdout=not stderr, stderr=stderr)
        return raw.decode("utf-8", "replace")

    def pause(self, container_id: str, name: str) -> None:
        """Freeze a container's processes."""
        with self._connection.translated(f"freeze container {name}") as client:
            client.pause(container_id)

    def one_shots(self) -> dict[str, tuple[str, str]]:
        """Return this environment's one-shot containers: id → name and exchange folder."""
        marks = [f"{key}={self._marks[key]}" for key in (labels.OWNER, labels.ENVIRONMENT)]
        with self._connection.translated("list one-shot containers") as client:
            listed = client.containers(all=True, filters={"label": [*marks, ONE_SHOT]})
        return {
            entry["Id"]: ((entry.get("Names") or [""])[0].lstrip("/"), entry["Labels"][ONE_SHOT])
            for entry in listed
        }

    def volume_mountpoint(self, volume: str) -> str | None:
        """Return where a volume stands on the engine's host; None when no driver says so."""
        with self._connection.translated(f"look at volume {volume}") as client:
            found = client.inspect_volume(volume)
        return found.get("Mountpoint") if found.get("Driver") == "local" else None

    @property
    def is_local(self) -> bool:
        """The engine runs on this host."""
        return self._connection.base_url.startswith("unix://")

    def read_archive(self, container_id: str, name: str, path: str) -> Iterator[bytes]:
        """Yield a tar of ``path`` inside a container, on a connection of its own."""
        client = self._connection.new_client()
        client.timeout = _ARCHIVE_TIMEOUT
        try:
            with self._connection.translated(f"read {path} of {name}"):
                stream, _ = client.get_archive(container_id, path, chunk_size=_CHUNK)
                yield from stream
        finally:
            client.close()

    def write_archive(self, container_id: str, name: str, path: str, archive: BinaryIO) -> None:
        """Unpack a tar into the folder ``path`` inside a container; owners are the tar's."""
        client = self._connection.new_client()
        client.timeout = _ARCHIVE_TIMEOUT
        try:
            with self._connection.translated(f"write {path} of {name}"):
                client.put_archive(container_id, path, iter(lambda: archive.read(_CHUNK), b""))
        finally:
            client.close()
