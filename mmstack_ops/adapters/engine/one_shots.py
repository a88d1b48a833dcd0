"""Engine operations for backups: one-shot containers, pausing, and files inside containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from docker.types import Healthcheck, LogConfig, Mount

from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.stacks import labels

ONE_SHOT = "io.mmstack.oneshot"
"""Label of a one-shot container: the exchange folder of the process that created it."""
_CHUNK = 1 << 20
# Packing or unpacking a large tree is one request; the engine answers when it has finished.
_ARCHIVE_TIMEOUT = 6 * 3600.0
# A volume's files may belong to any user; without a volume, no capability is needed.
_VOLUME_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID")
_LOG_OPTIONS = {"max-size": "20m", "max-file": "2"}


@dataclass(frozen=True)
class OneShot:
    """A container that runs one command and is then removed."""

    name: str
    image: str
    command: tuple[str, ...]
    network: str
    exchange: str
    """Host folder that is mounted at ``/run/exchange``."""
    user: str
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Volume → path in the container."""
    writable: bool = False
    """Whether the volumes are writable."""


@dataclass(frozen=True)
class Ended:
    """The exit status of a container."""

    exit_code: int
    out_of_memory: bool = False


class OneShotEngine(EngineWriter):
    """An engine handle that also runs one-shot containers, pauses others, and copies files."""

    def create_one_shot(self, spec: OneShot, *, target: str) -> str:
        """Create a one-shot container; return its id.

        It has Compose's label for one-off containers and no service name, so that plans and
        status don't count it as a replica.

        Args:
            target: mount point of the exchange folder in the container.
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
                # The image's own health check would probe a server that doesn't run here.
                healthcheck=Healthcheck(test=["NONE"]),
                labels={**self._marks, labels.ONEOFF: "True", ONE_SHOT: spec.exchange},
                host_config=host,
            )
        return str(created["Id"])

    def ended(self, container_id: str, name: str) -> Ended | None:
        """Return the exit status of a container, or None while it runs.

        Raises:
            MissingObjectError: the container was removed.
        """
        with self._connection.translated(f"look at {name}") as client:
            state = client.inspect_container(container_id)["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        return Ended(int(state.get("ExitCode") or 0), bool(state.get("OOMKilled")))

    def output(self, container_id: str, name: str, *, stderr: bool) -> str:
        """Return everything that a container wrote to stdout, or to stderr."""
        with self._connection.translated(f"read the output of {name}") as client:
            raw: bytes = client.logs(container_id, stdout=not stderr, stderr=stderr)
        return raw.decode("utf-8", "replace")

    def pause(self, container_id: str, name: str) -> None:
        """Pause a container."""
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
        """Return a volume's path on the engine's host, or None if its driver isn't ``local``."""
        with self._connection.translated(f"look at volume {volume}") as client:
            found = client.inspect_volume(volume)
        return found.get("Mountpoint") if found.get("Driver") == "local" else None

    @property
    def is_local(self) -> bool:
        """Whether the engine runs on this host."""
        return self._connection.base_url.startswith("unix://")

    def read_archive(self, container_id: str, name: str, path: str) -> Iterator[bytes]:
        """Yield a tar of ``path`` inside a container, read on a separate connection."""
        client = self._connection.new_client()
        client.timeout = _ARCHIVE_TIMEOUT
        try:
            with self._connection.translated(f"read {path} of {name}"):
                stream, _ = client.get_archive(container_id, path, chunk_size=_CHUNK)
                yield from stream
        finally:
            client.close()

    def write_archive(self, container_id: str, name: str, path: str, archive: BinaryIO) -> None:
        """Unpack a tar into the folder ``path`` inside a container; file owners are kept."""
        client = self._connection.new_client()
        client.timeout = _ARCHIVE_TIMEOUT
        try:
            with self._connection.translated(f"write {path} of {name}"):
                client.put_archive(container_id, path, iter(lambda: archive.read(_CHUNK), b""))
        finally:
            client.close()
