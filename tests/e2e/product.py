"""A copy of the product with a project, a state and addresses of its own, on a real engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.models.containers import Container
from docker.models.networks import Network

from mmstack_ops.adapters.project import open_project
from mmstack_ops.adapters.secrets.store import read_store
from mmstack_ops.adapters.ui.supervise import DAEMON
from mmstack_ops.domain.stacks import labels
from mmstack_ops.orchestration.instance import prepare_instance
from tests import allocation
from tests.allocation import free_port as free_port
from tests.e2e.command import Command
from tests.integration.world import remove_labelled

REPOSITORY = Path(__file__).parents[2]
Running = Command | subprocess.Popen[str]
ENVIRONMENTS = ("development", "staging", "production", "testing")


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr

    def document(self) -> dict[str, Any]:
        """Return the JSON the command printed."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    def outcomes(self) -> dict[str, str]:
        """Service → outcome, of a changing verb with ``--json``."""
        return {one["service"]: one["outcome"] for one in self.document()["services"]}


@dataclass
class Product:
    """The project in ``root``; everything it makes on the engine carries ``owner``."""

    root: Path
    owner: str
    engine: docker.DockerClient
    environment: dict[str, str] = field(default_factory=dict)
    own_interpreter: bool = False
    """Start ``mmstack`` as an operator does, not as a fork of a process that is warm."""

    @property
    def home(self) -> Path:
        return self.root / "dagster_home"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def _schema_path(self) -> Path:
        return self.root / "schemas" / "compose-schema.yaml"

    def schema(self) -> dict[str, Any]:
        """Return the project's own schema as YAML has it."""
        schema: dict[str, Any] = yaml.safe_load(self._schema_path.read_text())
        return schema

    def change_schema(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit the project's own copy of the schema."""
        schema = self.schema()
        change(schema)
        self._schema_path.write_text(yaml.safe_dump(schema, sort_keys=False))

    @property
    def _workspace_path(self) -> Path:
        return self.root / "workspace.yaml"

    def show_in_ui(self, *environments: str) -> None:
        """Let the UI load these environments only: each costs seconds of processor time."""
        workspace = yaml.safe_load(self._workspace_path.read_text())
        entries = {one["python_module"]["location_name"]: one for one in workspace["load_from"]}
        chosen = {"load_from": [entries[name] for name in environments]}
        self._workspace_path.write_text(yaml.safe_dump(chosen))

    def shown_in_ui(self) -> set[str]:
        """Return the environments that the UI loads."""
        workspace = yaml.safe_load(self._workspace_path.read_text())
        return {one["python_module"]["location_name"] for one in workspace["load_from"]}

    def subnet(self, network: str, plan: str = "test") -> str:
        """Return the subnet that ``network`` has in an address plan."""
        subnet: str = self.schema()["config"]["address_plans"][plan]["subnets"][network]
        return subnet

    def begin(self, *arguments: str, **variables: str) -> Running:
        """Start ``mmstack`` with ``arguments``."""
        env = {**os.environ, **self.environment, **variables}
        if not self.own_interpreter:
            return Command(arguments, cwd=self.root, env=env)
        return subprocess.Popen(
            [sys.executable, "-m", "mmstack_ops", *arguments],
            cwd=self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def mmstack(self, *arguments: str, seconds: float = 300, **variables: str) -> Ended:
        """Run ``mmstack`` to its end, whatever that is."""
        return end_of(self.begin(*arguments, **variables), seconds=seconds)

    def done(self, *arguments: str, seconds: float = 300, **variables: str) -> Ended:
        """Run ``mmstack``, which has to succeed."""
        ended = self.mmstack(*arguments, seconds=seconds, **variables)
        assert ended.code == 0, f"mmstack {' '.join(arguments)}: {ended.code}\n{ended.text}"
        return ended

    def found(self, environment: str | None = None) -> list[Container]:
        """Return the containers this product has on the engine, running or not."""
        mine = [f"{labels.OWNER}={self.owner}"]
        if environment is not None:
            mine.append(f"{labels.ENVIRONMENT}={environment}")
        found: list[Container] = self.engine.containers.list(
            all=True, filters={"label": mine}, ignore_removed=True
        )
        return found

    def one(self, service: str, environment: str = "development") -> Container:
        """Return the only container of ``service``."""
        mine = self.found(environment)
        (container,) = (c for c in mine if c.labels.get(labels.SERVICE) == service)
        return container

    def lives(self, environment: str | None = None) -> dict[str, tuple[str, str]]:
        """Name → id and moment of start: equal as long as nobody touches the containers."""
        return {c.name: (c.id, c.attrs["State"]["StartedAt"]) for c in self.found(environment)}

    def containers(self) -> dict[str, str]:
        """Service → state, of everything this product has on the engine."""
        return {
            c.labels[labels.SERVICE]: c.status for c in self.found() if labels.SERVICE in c.labels
        }

    def network(self, key: str) -> Network:
        """Return the network of the stack ``key``."""
        mine = [f"{labels.OWNER}={self.owner}", f"{labels.NETWORK}={key}"]
        (network,) = self.engine.networks.list(filters={"label": mine})
        return network

    def secrets(self) -> list[str]:
        """Return the values of all secrets generated so far."""
        with self.variables():
            project = open_project(self.root)
            stores = [read_store(project, name) for name in ENVIRONMENTS]
        return [s.value for store in stores if store is not None for s in store.secrets.values()]

    @contextlib.contextmanager
    def variables(self) -> Iterator[None]:
        """Give this process the product's environment variables for a while."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def remove_everything(self) -> None:
        remove_labelled(self.engine, f"{labels.OWNER}={self.owner}")


def end_of(process: Running, *, seconds: float = 300) -> Ended:
    """Wait for ``process``; one that doesn't end in time is killed, and a failure."""
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"still ran after {seconds} s\n{stdout}{stderr}") from None
    assert process.returncode is not None
    return Ended(process.returncode, stdout, stderr)


def make_product(root: Path, engine: docker.DockerClient) -> Product:
    """Copy the project to ``root`` under a name, subnets and ports nobody else uses."""
    root.mkdir(parents=True)
    for folder in ("schemas", "env-templates"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    (root / "dagster_home").mkdir()
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", root / "dagster_home")
    shutil.copy(REPOSITORY / "workspace.yaml", root)
    product = Product(root=root, owner=allocation.new_owner(), engine=engine)
    product.environment = {
        "MMSTACK_PROJECT": str(root),
        "MMSTACK_STATE": str(product.state),
        "MMSTACK_LOCK_DIR": str(root / "locks"),
        "MMSTACK_IMAGE_OVERRIDES": str(REPOSITORY / "lab" / "images.yaml"),
        "DAGSTER_HOME": str(product.home),
        "PYTHONPATH": str(REPOSITORY),
    }

    def own_names_and_addresses(schema: dict[str, Any]) -> None:
        config = schema["config"]
        config["project"] = product.owner
        config["address_plan"] = "test"
        config["address_plans"]["test"] = {
            "network_suffix": f"-{product.owner}",
            "port_offset": allocation.port_offset(),
            "subnets": allocation.product_subnets(list(schema["networks"])),
        }
        for settings in schema["environments"].values():
            settings.pop("address_plan", None)
        # The machine may be busy: a deadline only ends what hangs.
        for service in schema["services"].values():
            service["healthy_within"] = "10m"
            service["healthcheck"]["timeout"] = "30s"
            # Engines before 25 wait a whole interval before their first look.
            service["healthcheck"]["interval"] = "3s"

    product.change_schema(own_names_and_addresses)
    return product


@dataclass
class Ui:
    """Dagster's webserver and daemon, as an operator has them."""

    product: Product
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def start(cls, product: Product) -> Ui:
        ui = cls(product, free_port())
        with product.variables():
            prepare_instance(open_project())
        workspace = ["-w", str(product.root / "workspace.yaml")]
        address = ["-h", "127.0.0.1", "-p", str(ui.port)]
        ui._spawn("webserver", sys.executable, "-m", "dagster_webserver", *address, *workspace)
        ui._spawn("daemon", str(DAEMON), "run", *workspace)
        return ui

    def _spawn(self, name: str, *command: str) -> None:
        log = (self.product.root / f"{name}.log").open("wb")
        self.processes.append(
            subprocess.Popen(
                command,
                cwd=self.product.root,
                env={**os.environ, **self.product.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: the code servers they start end with them.
                start_new_session=True,
            )
        )
        log.close()

    def wait_until_loaded(self, *, seconds: float = 300) -> None:
        """Wait until the code location of every environment that it shows answers."""
        query = (
            "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus"
            " locationOrLoadError { __typename ... on PythonError { message } } } } } }"
        )
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, ValueError):
                entries = self.ask(query)["workspaceOrError"]["locationEntries"]
                errors = [
                    entry["locationOrLoadError"]["message"]
                    for entry in entries
                    if (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError"
                ]
                assert not errors, errors
                if {
                    e["name"] for e in entries if e["loadStatus"] == "LOADED"
                } == self.product.shown_in_ui():
                    return
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a GraphQL query and return its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def materialize(self, *keys: list[str], job: str = "__ASSET_JOB") -> str:
        """Do what the button "Materialize" does; return the run's id."""
        selector = {
            "repositoryLocationName": keys[0][0],
            "repositoryName": "__repository__",
            "pipelineName": job,
            "assetSelection": [{"path": key} for key in keys],
        }
        return self.launch(selector)

    def launch(self, selector: dict[str, Any]) -> str:
        """Launch a run through the queue; return its id."""
        result = self.ask(
            """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
                 __typename ... on LaunchRunSuccess { run { id } }
                 ... on PythonError { message }
                 ... on RunConfigValidationInvalid { errors { message } } } }""",
            params={"selector": selector, "runConfigData": {}, "mode": "default"},
        )["launchRun"]
        assert result["__typename"] == "LaunchRunSuccess", result
        run_id: str = result["run"]["id"]
        return run_id

    def terminate(self, run_id: str) -> None:
        """Do what the button "Terminate" does."""
        result = self.ask(
            """mutation ($id: String!) { terminateRun(runId: $id) { __typename
                 ... on TerminateRunFailure { message } ... on PythonError { message } } }""",
            id=run_id,
        )["terminateRun"]
        assert result["__typename"] == "TerminateRunSuccess", result

    def status(self, run_id: str) -> str:
        found = self.ask(
            "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id
        )
        status: str = found["runOrError"]["status"]
        return status

    def wait_for(self, run_id: str, *statuses: str, seconds: float = 300) -> str:
        """Wait until the run has one of ``statuses``."""
        deadline = time.monotonic() + seconds
        while (status := self.status(run_id)) not in statuses:
            assert status not in ("SUCCESS", "FAILURE", "CANCELED"), (
                status,
                self.messages(run_id),
            )
            assert time.monotonic() < deadline, (status, self.messages(run_id), self.logs())
            time.sleep(0.2)
        return status

    def messages(self, run_id: str) -> list[str]:
        """Return the messages of a run's event log."""
        found = self.ask(
            """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection {
                 events { ... on MessageEvent { message } } } } }""",
            id=run_id,
        )
        return [event.get("message", "") for event in found["logsForRun"]["events"]]

    def logs(self) -> str:
        """Return the end of what the processes wrote."""
        return "\n".join(
            f"--- {name}\n{(self.product.root / f'{name}.log').read_text()[-4000:]}"
            for name in ("webserver", "daemon")
        )

    def stop(self) -> None:
        """End the processes by their ids, and the code servers they started with them."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
