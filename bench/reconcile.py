"""Our engine adapter against docker-compose: six services, cold and unchanged."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml

from bench.measure import Row, alternating, command_seconds, seconds_row, timed
from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.stacks.spec import (
    Attachment,
    ContainerSpec,
    DesiredState,
    ImageSource,
    NetworkSpec,
    PortBinding,
    ReplicaSpec,
    ServiceSpec,
    config_hash,
)
from mmstack_ops.domain.stacks.stack_plan import Plan
from mmstack_ops.domain.stacks.stack_planner import plan_down, plan_up
from mmstack_ops.operations.stacks.apply import PlanApplier

TITLE = "Reconcile six services, against docker-compose"
_OWNER = "mmbench"
_PEER = "mmbenchpeer"
_IMAGE = "mmstack-lab/stand-in:lab"
# What runs inside mustn't count: six interpreters that start take a third of the time of two
# cores, whoever started them.
_COMMAND = ("sleep", "infinity")
_NAMES = tuple(f"service{number}" for number in range(1, 7))
_ROUNDS = 9
# docker-compose's own work without starting Python and importing itself: the same calls its
# command makes, in a process that already has everything loaded.
_WARM_PEER = """
import sys, time
from compose.cli.main import TopLevelCommand, project_from_options
from compose.cli.docopt_command import DocoptDispatcher
folder, rounds = sys.argv[1], int(sys.argv[2])
options = {"--file": [folder + "/docker-compose.yml"], "--project-name": sys.argv[3]}
def once():
    project = project_from_options(folder, options)
    began = time.perf_counter()
    project.up(detached=True)
    return time.perf_counter() - began
def gone():
    project_from_options(folder, options).down(None, False, timeout=0)
project_from_options(folder, options).client.ping()
for _ in range(rounds):
    gone()
    cold = once()
    print(cold, once())
gone()
"""


def run() -> list[Row]:
    """Measure cold and unchanged reconciles, peer and ours in turn."""
    engine = EngineWriter(
        EngineConnection(None, read_only=False),
        owner=_OWNER,
        environment="bench",
        working_dir="/",
    )
    with tempfile.TemporaryDirectory() as folder:
        compose = ["docker-compose", "-p", _PEER, "-f", f"{folder}/docker-compose.yml"]
        _write_peer(Path(folder))
        try:
            engine.observe(_OWNER)

            def our_cold() -> float:
                _down(engine)
                return timed(lambda: _up(engine))

            def peer_cold() -> float:
                command_seconds([*compose, "down", "-t", "0"])
                return command_seconds([*compose, "up", "-d"])

            def our_same() -> float:
                return timed(lambda: _up(engine))

            def peer_same() -> float:
                return command_seconds([*compose, "up", "-d"])

            cold = alternating(our_cold, peer_cold, _ROUNDS)
            same = alternating(our_same, peer_same, _ROUNDS)
            _down(engine)
            command_seconds([*compose, "down", "-t", "0"])
            warm = _warm_peer(folder)
        finally:
            _down(engine)
            command_seconds([*compose, "down", "-t", "0"])
    return [
        seconds_row("cold, against `docker-compose up -d`", cold[0], peer=cold[1], at_most=0.7),
        seconds_row("unchanged, against the whole command", same[0], peer=same[1], at_most=0.2),
        seconds_row("cold, against its warm part", cold[0], peer=warm[0]),
        seconds_row("unchanged, against its warm part", same[0], peer=warm[1]),
    ]


def _warm_peer(folder: str) -> tuple[float, float]:
    """Return the medians of docker-compose's cold and unchanged work in a warm process."""
    # Debian installs it for the system's Python, whatever Python runs this.
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _WARM_PEER, folder, str(_ROUNDS), _PEER],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"docker-compose in a warm process failed:\n{done.stderr}")
    pairs = [line.split() for line in done.stdout.splitlines() if line and line[0].isdigit()]
    colds, sames = sorted(float(p[0]) for p in pairs), sorted(float(p[1]) for p in pairs)
    return colds[len(colds) // 2], sames[len(sames) // 2]


def _desired() -> DesiredState:
    network = "mmbench-net"
    services: list[ServiceSpec] = []
    for number, name in enumerate(_NAMES, start=1):
        container = ContainerSpec(
            image=_IMAGE,
            entrypoint=_COMMAND,
            environment={"SERVICE": name},
            ports=(PortBinding(8000, 28000 + number, "127.0.0.1"),),
            networks=(Attachment(network, (name,)),),
        )
        public = container.public(secret_variables=frozenset(), key=b"")
        services.append(
            ServiceSpec(
                name=name,
                stack="bench",
                project=_OWNER,
                image=ImageSource(_IMAGE, "IMAGE"),
                replicas=(
                    ReplicaSpec(f"{_OWNER}-{name}-1", 1, container, public, config_hash(public)),
                ),
            )
        )
    return DesiredState(
        owner=_OWNER,
        environment="bench",
        networks=(NetworkSpec(network, "bench", "10.211.0.0/24", False, "bench", _OWNER),),
        volumes=(),
        services=tuple(services),
        known_services=frozenset(_NAMES),
    )


def _up(engine: EngineWriter) -> None:
    desired = _desired()
    _apply(engine, plan_up(desired, engine.observe(_OWNER, [_IMAGE])))


def _down(engine: EngineWriter) -> None:
    observed = engine.observe(_OWNER)
    for container in observed.containers:
        engine.remove(container.id, container.name)
    observed = engine.observe(_OWNER)
    plan = plan_down(_OWNER, "bench", [], observed, networks=_desired().networks, dependencies={})
    _apply(engine, plan)


def _apply(engine: EngineWriter, plan: Plan) -> None:
    results = PlanApplier(
        engine,
        plan,
        cancel=threading.Event(),
        on_event=lambda _event: None,
        redact=str,
    ).run()
    failed = [result for result in results if not result.ok]
    if failed:
        sys.exit(f"our own reconcile failed: {failed[0].error}")


def _write_peer(folder: Path) -> None:
    services = {
        name: {
            "image": _IMAGE,
            "entrypoint": list(_COMMAND),
            "environment": {"SERVICE": name},
            "ports": [f"127.0.0.1:{28100 + number}:8000"],
            "networks": ["bench"],
            "restart": "unless-stopped",
        }
        for number, name in enumerate(_NAMES, start=1)
    }
    network = {"ipam": {"config": [{"subnet": "10.212.0.0/24"}]}}
    document = {"version": "3.8", "services": services, "networks": {"bench": network}}
    (folder / "docker-compose.yml").write_text(yaml.safe_dump(document))
