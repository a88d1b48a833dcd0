"""Read the state of the engine."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.engine.inspection import (
    observed_container,
    observed_network,
)
from mmstack_ops.domain.errors import ImageUnavailableError
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import (
    ObservedContainer,
    ObservedImage,
    ObservedState,
    ObservedVolume,
)

LogStream = Iterator[tuple[Literal["stdout", "stderr"], bytes]]

_T = TypeVar("_T")
_R = TypeVar("_R")

# Inspecting takes a round trip of about 2 ms to the daemon; a few parallel requests hide it.
_PARALLEL_READS = 4


class EngineReader:
    """A handle that reads containers, networks, volumes, images, logs and events of one engine."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection

    def daemon_id(self) -> str:
        """Return the engine's own id, stable for its data directory."""
        return str(self.info()["ID"])

    def info(self) -> dict[str, Any]:
        """Return the engine's ``/info``."""
        info: dict[str, Any] = self._connection.get("/info", doing="ask the engine about itself")
        return info

    def observe(self, owner: str, images: Iterable[str] = ()) -> ObservedState:
        """Return the state of everything that plans and status need.

        Args:
            owner: the schema's ``config.project``; other containers are only listed by name.
            images: references of the images to look up.
        """
        with ThreadPoolExecutor(1) as pool:
            # ``/info`` takes an engine longer than all of these lists.
            described = pool.submit(self.info)
            listed = self._containers()
            networks = self._connection.get("/networks", doing="list networks")
            volumes = self._connection.get("/volumes", doing="list volumes").get("Volumes") or []
            info = described.result()
        ours = {c["Id"] for c in listed if (c.get("Labels") or {}).get(labels.OWNER) == owner}
        members: dict[str, set[str]] = {}
        foreign: dict[str, str] = {}
        for container in listed:
            attached = (container.get("NetworkSettings") or {}).get("Networks") or {}
            for name in attached:
                members.setdefault(name, set()).add(container["Id"])
            if container["Id"] not in ours:
                for name in container.get("Names") or []:
                    foreign[name.lstrip("/")] = container["Id"]
        containers = self._in_parallel(self._inspect, sorted(ours))
        return ObservedState(
            daemon_id=str(info["ID"]),
            containers=tuple(c for c in containers if c is not None),
            networks=tuple(
                observed_network(network, members.get(network["Name"], set()))
                for network in networks
            ),
            volumes=tuple(
                ObservedVolume(name=v["Name"], labels=v.get("Labels") or {}) for v in volumes
            ),
            images=self.images(images),
            has_gpu="nvidia" in (info.get("Runtimes") or {}),
            foreign_names=foreign,
        )

    def container(self, container_id: str) -> ObservedContainer:
        """Inspect one container.

        Raises:
            MissingObjectError: the container doesn't exist.
        """
        doing = f"inspect container {container_id[:12]}"
        return observed_container(
            self._connection.get(f"/containers/{container_id}/json", doing=doing)
        )

    def container_states(self) -> dict[str, tuple[str, str]]:
        """Return every container on the engine: id → name and state."""
        return {
            entry["Id"]: ((entry.get("Names") or [""])[0].lstrip("/"), entry["State"])
            for entry in self._containers()
        }

    def images(self, references: Iterable[str]) -> dict[str, ObservedImage]:
        """Return the images of ``references`` that the engine has, by reference."""
        found = self._in_parallel(self._image, sorted(set(references)))
        return {reference: image for reference, image in found if image is not None}

    def image(self, reference: str) -> ObservedImage | None:
        """Return the image, or None if the engine doesn't have it."""
        return self._image(reference)[1]

    def memory_and_cpu(self, container_id: str) -> dict[str, Any]:
        """Return one raw sample of the engine's statistics (one-shot: the engine doesn't wait)."""
        sample: dict[str, Any] = self._connection.get(
            f"/containers/{container_id}/stats",
            # Numbers, because the engine doesn't understand Python's "True" and "False".
            {"stream": 0, "one-shot": 1},
            doing=f"measure container {container_id[:12]}",
        )
        return sample

    def samples(self, container_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return one raw statistics sample for each container that still exists."""

        def sample(container_id: str) -> tuple[str, dict[str, Any] | None]:
            try:
                return container_id, self.memory_and_cpu(container_id)
            except MissingObjectError:
                return container_id, None

        pairs = self._in_parallel(sample, list(container_ids))
        return {container_id: found for container_id, found in pairs if found}

    def log_tail(self, container_id: str, lines: int = 20) -> str:
        """Return the last lines that a container wrote, stdout and stderr combined."""
        with self._connection.translated(f"read logs of {container_id[:12]}") as client:
            raw: bytes = client.logs(container_id, stdout=True, stderr=True, tail=lines)
        return raw.decode("utf-8", "replace").rstrip()

    def follow_logs(
        self, container_id: str, *, follow: bool, since: float | None, tail: int | None
    ) -> LogStream:
        """Yield (stream, bytes) chunks with engine timestamps, read on a separate connection.

        Args:
            since: seconds since the epoch.
            tail: number of lines from the end; None for all.
        """
        from mmstack_ops.adapters.engine.docker_py import raise_for_status, versioned_url

        client = self._connection.new_client()
        params = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "since": since or 0,
            "tail": "all" if tail is None else tail,
        }
        try:
            with self._connection.translated(f"read logs of {container_id[:12]}"):
                # docker-py's own reader doesn't return which of the two streams a frame belongs to.
                # Following has no read timeout: a silent container is not a dead engine.
                response = client.get(
                    versioned_url(client, f"/containers/{container_id}/logs"),
                    params=params,
                    stream=True,
                    timeout=(10.0, None) if follow else 60.0,
                )
                raise_for_status(response)
                while len(header := response.raw.read(8)) == 8:
                    kind, length = struct.unpack(">BxxxL", header)
                    yield ("stderr" if kind == 2 else "stdout"), response.raw.read(length)
        finally:
            client.close()

    def events(self, owner: str, *, since: float, until: float) -> list[dict[str, Any]]:
        """Return container events of ``owner`` between two times (seconds since the epoch)."""
        filters = {"type": ["container"], "label": [f"{labels.OWNER}={owner}"]}
        with self._connection.translated("read container events") as client:
            stream = client.events(since=since, until=until, filters=filters, decode=True)
            return list(stream)

    def _containers(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._connection.get(
            "/containers/json", {"all": 1}, doing="list containers"
        )
        return listed

    def _inspect(self, container_id: str) -> ObservedContainer | None:
        try:
            return self.container(container_id)
        except MissingObjectError:
            # The container was removed between listing and inspecting, so it doesn't exist.
            return None

    def _image(self, reference: str) -> tuple[str, ObservedImage | None]:
        try:
            raw = self._connection.get(
                f"/images/{quote(reference, safe='/:@')}/json", doing=f"inspect image {reference}"
            )
        except (MissingObjectError, ImageUnavailableError):
            return reference, None
        digests = raw.get("RepoDigests") or [""]
        return reference, ObservedImage(id=raw["Id"], digest=digests[0].rpartition("@")[2])

    def _in_parallel(self, read: Callable[[_T], _R], items: list[_T]) -> list[_R]:
        if len(items) < 2:
            return [read(item) for item in items]
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            return list(pool.map(read, items))
