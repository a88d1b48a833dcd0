"""Check that probes fit the rest of the schema."""

from __future__ import annotations

from collections.abc import Iterator

from mmstack_ops.domain.schema.document import Path
from mmstack_ops.domain.schema.probes import (
    METHODS,
    TYPES,
    HttpProbe,
    N8nCredentialsProbe,
    Probe,
    SqliteProbe,
)
from mmstack_ops.domain.schema.problem import Problem
from mmstack_ops.domain.schema.root import Schema
from mmstack_ops.domain.schema.service import Service


def probes_can_run(schema: Schema) -> Iterator[Problem]:
    """Yield problems of probes that no drill could run: they would silently prove nothing."""
    for name, service in schema.services.items():
        seen: set[str] = set()
        for index, probe in enumerate(service.backup.probes):
            at: Path = ("services", name, "backup", "probes", index)
            if probe.name in seen:
                yield Problem((*at, "name"), f"a second probe called {probe.name!r}")
            seen.add(probe.name)
            yield from _possible(at, schema, service, probe)


def _possible(at: Path, schema: Schema, service: Service, probe: Probe) -> Iterator[Problem]:
    method = service.backup.method
    if method not in METHODS.get(probe.kind, (method,)):
        wanted = " or ".join(map(repr, METHODS[probe.kind]))
        message = (
            f"a probe of kind {probe.kind!r} is for services whose backup method is {wanted},"
            f" not {method!r}"
        )
        yield Problem((*at, "kind"), message)
    elif not set(TYPES[probe.kind]) & set(service.backup.types):
        wanted = ", ".join(TYPES[probe.kind])
        message = f"it never runs: the service has no backups of a type it asks ({wanted})"
        yield Problem((*at, "kind"), message)
    if isinstance(probe, HttpProbe):
        known = [port.name for port in service.ports if port.protocol == "tcp"]
        if probe.port not in known:
            message = f"the service has no TCP port called {probe.port!r}: {', '.join(known)}"
            yield Problem((*at, "port"), message)
    if isinstance(probe, SqliteProbe):
        targets = [m.target.rstrip("/") for m in service.mounts if m.volume is not None]
        if not any(probe.path.startswith(f"{one}/") for one in targets):
            yield Problem((*at, "path"), f"{probe.path} is on no volume of this service")
    if isinstance(probe, N8nCredentialsProbe) and probe.secret not in schema.security.secrets:
        yield Problem((*at, "secret"), f"there is no secret {probe.secret!r}")
