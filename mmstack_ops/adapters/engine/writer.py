"""Change the engine: each method makes one change to objects given by exact ids."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import docker
from docker.types import DeviceRequest, Healthcheck, LogConfig, Mount, Ulimit

from mmstack_ops import __version__
from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.failures import MissingObjectError, known_refusal
from mmstack_ops.adapters.engine.pull_progress import PullProgress
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.errors import (
    EngineError,
    EngineUnavailableError,
    ImageUnavailableError,
)
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.spec import (
    ContainerSpec,
    HealthSpec,
    ImageSource,
    MountSpec,
    NetworkSpec,
    ReplicaSpec,
    ServiceSpec,
    VolumeSpec,
)

_NANOSECONDS = 1_000_000_000
# First API version whose health check has a start interval (Docker 25).
_API_START_INTERVAL = (1, 44)
# A probe usually takes a few hundredths of a second.
_FIRST_LOOK = 0.02
_SLOWEST_LOOK = 0.2
# Limit container logs so that they can't fill the disk; the engine's default keeps everything.
_LOG_OPTIONS = {"max-size": "20m", "max-file": "3"}


class EngineWriter(EngineReader):
    """An engine handle that can also write.

    Args:
        connection: a connection that isn't read-only.
        owner: the schema's ``config.project``.
        environment: the environment's name.
        working_dir: the project's root, for Compose's labels.
    """

    def __init__(
        self, connection: EngineConnection, *, owner: str, environment: str, working_dir: str
    ) -> None:
        super().__init__(connection)
        self._marks = {
            labels.MANAGED: __version__,
            labels.OWNER: owner,
            labels.ENVIRONMENT: environment,
        }
        self._working_dir = working_dir

    def create_network(self, spec: NetworkSpec) -> str:
        """Create a bridge network; return its id."""
        ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=spec.subnet)])
        with self._connection.translated(f"create network {spec.name} ({spec.subnet})") as client:
            created = client.create_network(
                spec.name,
                driver="bridge",
                ipam=ipam,
                internal=spec.internal,
                check_duplicate=True,
                labels={
                    **self._marks,
                    labels.STACK: spec.stack,
                    labels.PROJECT: spec.project,
                    labels.NETWORK: spec.key,
                },
            )
        return str(created["Id"])

    def remove_network(self, network_id: str, name: str) -> None:
        """Remove a network without containers; do nothing if it doesn't exist."""
        try:
            with self._connection.translated(f"remove network {name}") as client:
                client.remove_network(network_id)
        except MissingObjectError:
            return

    def create_volume(self, spec: VolumeSpec) -> None:
        """Create a named volume."""
        with self._connection.translated(f"create volume {spec.name}") as client:
            client.create_volume(
                spec.name,
                labels={
                    **self._marks,
                    labels.STACK: spec.stack,
                    labels.PROJECT: spec.project,
                    labels.VOLUME: spec.key,
                    labels.VOLUME_ID: secrets.token_hex(16),
                },
            )

    def remove_volume(self, name: str) -> None:
        """Remove a volume by its exact name; do nothing if it doesn't exist."""
        try:
            with self._connection.translated(f"remove volume {name}") as client:
                client.remove_volume(name)
        except MissingObjectError:
            return

    def pull(self, image: ImageSource) -> Iterator[tuple[str, float | None]]:
        """Pull an image; yield the status and the share done (None if unknown).

        Raises:
            ImageUnavailableError: it can't be pulled; names the variable that sets another image.
        """
        client = self._connection.new_client()
        progress = PullProgress()
        try:
            with self._connection.translated(f"pull {image.reference}"):
                repository, tag = docker.utils.parse_repository_tag(image.reference)
                for line in client.pull(repository, tag=tag or None, stream=True, decode=True):
                    if "error" in line:
                        text = str(line["error"])
                        known = known_refusal(text, doing=f"pull {image.reference}")
                        raise known or self._no_image(image, text)
                    yield str(line.get("status", "")), progress.take(line)
        except EngineError as error:
            # Errors with a remedy of their own (no engine, no space) keep it.
            if isinstance(error, ImageUnavailableError | MissingObjectError) or not error.remedy:
                raise self._no_image(image, error.why or error.what) from None
            raise
        finally:
            client.close()

    def build(self, image: ImageSource, *, fresh: bool) -> Iterator[tuple[str, float | None]]:
        """Build an image from its context; yield the builder's lines.

        Args:
            fresh: ignore the layer cache. The base image is the one that is there.

        Raises:
            EngineError: the build failed; contains the builder's error.
        """
        client = self._connection.new_client()
        try:
            with self._connection.translated(f"build {image.reference}"):
                stream = client.build(
                    path=image.build_context,
                    dockerfile=image.dockerfile,
                    tag=image.reference,
                    buildargs=image.build_args,
                    target=image.build_target or "",
                    nocache=fresh,
                    rm=True,
                    forcerm=True,
                    decode=True,
                    labels=self._marks,
                )
                for line in stream:
                    if "error" in line:
                        why = str(line["error"]).strip()
                        known = known_refusal(why, doing=f"build {image.reference}")
                        raise known or EngineError(
                            f"building {image.reference} failed",
                            why=why,
                        )
                    text = str(line.get("stream", "")).strip()
                    if text:
                        yield text, None
        except EngineError as error:
            error.remedy = error.remedy or f"correct {image.build_context}/{image.dockerfile}"
            raise
        except (TypeError, OSError) as error:
            # docker-py raises a bare TypeError if the path isn't a folder.
            raise EngineError(
                f"the build context {image.build_context} of {image.reference} can't be read",
                why=str(error),
                remedy="correct the path of the build context, or make the folder readable",
            ) from None
        finally:
            client.close()

    def _no_image(self, image: ImageSource, why: str) -> ImageUnavailableError:
        return ImageUnavailableError(
            f"image {image.reference} is neither on this engine nor could it be pulled",
            why=why,
            remedy=f"check the network, or set {image.variable} to an image you have",
        )

    def create_container(self, service: ServiceSpec, replica: ReplicaSpec, name: str) -> str:
        """Create a container named ``name`` from a replica's specification; return its id.

        The container is connected to all its networks before its first start. If connecting to
        one of them fails, the container is removed.
        """
        spec = replica.container
        first, others = spec.networks[0], spec.networks[1:]
        with self._connection.translated(f"create container {name}") as client:
            endpoint = client.create_endpoint_config(aliases=list(first.aliases))
            created = client.create_container(
                image=spec.image,
                name=name,
                command=list(spec.command) if spec.command is not None else None,
                entrypoint=list(spec.entrypoint) if spec.entrypoint is not None else None,
                user=spec.user,
                working_dir=spec.working_dir,
                hostname=spec.hostname,
                environment=spec.environment,
                # The container side must be exposed for a published port to work.
                ports=[(port.container, port.protocol) for port in spec.ports],
                healthcheck=self._health(spec.health),
                stop_signal=spec.stop_signal,
                stop_timeout=max(1, round(spec.stop_grace_period)),
                labels=self._labels(service, replica),
                host_config=_host_config(client, spec),
                networking_config=client.create_networking_config({first.network: endpoint}),
            )
        container_id = str(created["Id"])
        try:
            for attachment in others:
                with self._connection.translated(f"join {name} to {attachment.network}") as client:
                    client.connect_container_to_network(
                        container_id, attachment.network, aliases=list(attachment.aliases)
                    )
        except EngineError:
            self.remove(container_id, name)
            raise
        return container_id

    def start(self, container_id: str, name: str) -> None:
        """Start a container."""
        with self._connection.translated(f"start container {name}") as client:
            client.start(container_id)

    def unpause(self, container_id: str, name: str) -> None:
        """Unpause a container."""
        with self._connection.translated(f"unpause container {name}") as client:
            client.unpause(container_id)

    def stop(self, container_id: str, name: str, *, grace: float) -> None:
        """Stop a container: send its stop signal, then SIGKILL after ``grace`` seconds."""
        with self._connection.translated(f"stop container {name}") as client:
            client.stop(container_id, timeout=max(1, round(grace)))

    def restart(self, container_id: str, name: str, *, grace: float) -> None:
        """Restart a container."""
        with self._connection.translated(f"restart container {name}") as client:
            client.restart(container_id, timeout=max(1, round(grace)))

    def rename(self, container_id: str, old: str, new: str) -> None:
        """Rename a container."""
        with self._connection.translated(f"rename container {old} to {new}") as client:
            client.rename(container_id, new)

    def remove(self, container_id: str, name: str) -> None:
        """Remove a container with its anonymous volumes; do nothing if it doesn't exist."""
        try:
            with self._connection.translated(f"remove container {name}") as client:
                client.remove_container(container_id, force=True, v=True)
        except MissingObjectError:
            return

    def passes_health_check(
        self, container_id: str, name: str, health: HealthSpec, *, give_up: threading.Event
    ) -> bool:
        """Run a container's own health check once, now, and return whether it passes.

        Engines before API 1.44 run the first probe after a whole interval; this method makes it
        unnecessary to wait for it. A probe fails if it takes longer than its timeout, or if
        ``give_up`` is set while it runs.
        """
        command = (
            list(health.test[1:])
            if health.test[0] == "CMD"
            else ["/bin/sh", "-c", *health.test[1:]]
        )
        try:
            with self._connection.translated(f"probe the health of {name}") as client:
                created = client.exec_create(container_id, command)
                # Detached, because waiting for the end of its output can't be cancelled.
                client.exec_start(created["Id"], detach=True)
                deadline, pause = time.monotonic() + health.timeout, _FIRST_LOOK
                while time.monotonic() < deadline and not give_up.wait(pause):
                    seen = client.exec_inspect(created["Id"])
                    if not seen["Running"]:
                        return bool(seen["ExitCode"] == 0)
                    pause = min(pause * 1.5, _SLOWEST_LOOK)
                return False
        except EngineUnavailableError:
            raise
        except EngineError:
            # The container isn't running now; the caller's next inspection shows its state.
            return False

    @property
    def probes_during_start(self) -> bool:
        """Whether the engine itself probes at ``start_interval`` while a container starts."""
        return self._connection.api_version >= _API_START_INTERVAL

    def _health(self, health: HealthSpec | None) -> Healthcheck | None:
        if health is None:
            return None
        check = Healthcheck(
            test=list(health.test),
            interval=int(health.interval * _NANOSECONDS),
            timeout=int(health.timeout * _NANOSECONDS),
            retries=health.retries,
            start_period=int(health.start_period * _NANOSECONDS),
        )
        if self.probes_during_start:
            # docker-py has no argument for it, but sends the dictionary unchanged.
            check["StartInterval"] = int(health.start_interval * _NANOSECONDS)
        return check

    def _labels(self, service: ServiceSpec, replica: ReplicaSpec) -> dict[str, str]:
        return {
            **replica.container.labels,
            **self._marks,
            labels.STACK: service.stack,
            labels.SPEC: json.dumps(replica.public, sort_keys=True, separators=(",", ":")),
            labels.PROJECT: service.project,
            labels.SERVICE: service.name,
            labels.NUMBER: str(replica.number),
            labels.CONFIG_HASH: replica.config_hash,
            labels.ONEOFF: "False",
            labels.DEPENDS_ON: service.depends_on_label,
            labels.IMAGE: replica.container.image,
            labels.WORKING_DIR: self._working_dir,
            labels.CONFIG_FILES: f"{self._working_dir}/schemas/compose-schema.yaml",
            labels.VERSION: f"mmstack-{__version__}",
        }


def _host_config(client: docker.APIClient, spec: ContainerSpec) -> dict[str, Any]:
    bindings: dict[str, list[tuple[str, int]]] = {}
    for port in spec.ports:
        key = f"{port.container}/{port.protocol}"
        bindings.setdefault(key, []).append((port.bind, port.host))
    devices: list[DeviceRequest] = []
    if spec.gpu is not None:
        capabilities = [list(spec.gpu.capabilities)]
        # The engine accepts a count or ids, not both.
        devices.append(
            DeviceRequest(
                driver=spec.gpu.driver,
                device_ids=list(spec.gpu.device_ids),
                capabilities=capabilities,
            )
            if spec.gpu.device_ids
            else DeviceRequest(
                driver=spec.gpu.driver, count=spec.gpu.count, capabilities=capabilities
            )
        )
    config: dict[str, Any] = client.create_host_config(
        port_bindings=bindings,
        mounts=[_mount(mount) for mount in spec.mounts],
        tmpfs=dict(item.partition(":")[::2] for item in spec.tmpfs) or None,
        restart_policy={"Name": spec.restart, "MaximumRetryCount": 0},
        mem_limit=spec.memory_limit,
        mem_reservation=spec.memory_reservation,
        nano_cpus=None if spec.cpu_limit is None else int(spec.cpu_limit * 1_000_000_000),
        pids_limit=spec.pids_limit,
        init=spec.init or None,
        privileged=spec.privileged,
        read_only=spec.read_only or None,
        cap_add=list(spec.cap_add),
        cap_drop=list(spec.cap_drop),
        security_opt=list(spec.security_opt),
        sysctls=spec.sysctls or None,
        ulimits=[Ulimit(name=n, soft=v, hard=v) for n, v in sorted(spec.ulimits.items())],
        shm_size=spec.shm_size,
        extra_hosts=spec.extra_hosts or None,
        network_mode=spec.networks[0].network,
        device_requests=devices or None,
        log_config=LogConfig(type=LogConfig.types.JSON, config=_LOG_OPTIONS),
    )
    return config


def _mount(mount: MountSpec) -> Mount:
    if mount.kind == "tmpfs":
        return Mount(target=mount.target, source=None, type="tmpfs", tmpfs_size=int(mount.source))
    return Mount(
        target=mount.target,
        source=mount.source,
        type=mount.kind,
        read_only=mount.read_only,
    )
