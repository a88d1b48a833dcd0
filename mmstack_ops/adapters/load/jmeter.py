"""Run a JMeter test plan in the environment's own JMeter container."""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import EngineError, InputError
from mmstack_ops.domain.load.samples import Figures, Sample, figures, parse_samples

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.one_shots import OneShotEngine
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.stacks.observed import ObservedContainer

SERVICE = "jmeter"
RESULTS = "/results"
"""Mount point of the results volume in JMeter's container."""
DEFAULT_PLAN = Path("schemas") / "config" / "jmeter" / "health.jmx"
_MEMORY_BEFORE_DISK = 8 << 20
# Writes its process id to a file, so that an interrupted load test can be stopped. The output
# format is the one we parse; older JMeters write neither CSV nor its header by default.
_SCRIPT = (
    'cd "$1" && echo $$ > pid && shift && exec timeout "$@" -n -t plan.jmx -l samples.jtl'
    " -j jmeter.log -Jjmeter.save.saveservice.output_format=csv"
    " -Jjmeter.save.saveservice.print_field_names=true"
)


@dataclass(frozen=True)
class LoadResult:
    """The result of a load test, and the folder of its files in the volume."""

    folder: str
    figures: tuple[Figures, ...]

    @property
    def errors(self) -> int:
        """Number of samples that failed."""
        return self.figures[-1].errors


def run_plan(
    project: Project,
    catalogue: Catalogue,
    plan: Path,
    *,
    properties: Mapping[str, str],
    within: float,
    on_output: Callable[[str], None],
) -> LoadResult:
    """Run the test plan in the file ``plan`` and return its figures.

    The plan, samples and JMeter's log are kept in a separate folder of the results volume.

    Args:
        properties: JMeter properties, which a plan reads with ``${__P(name,default)}``.
        within: seconds after which the run is stopped and counts as failed.
        on_output: receives JMeter's output as it arrives.

    Raises:
        InputError: the plan can't be read.
        EngineError: JMeter isn't running, failed, took too long, or took no sample.
    """
    try:
        content = plan.read_bytes()
    except OSError as error:
        raise InputError(
            f"the test plan {plan} can't be read",
            why=error.strerror or "",
            remedy="name a .jmx file",
        ) from None
    from mmstack_ops.adapters.engine.client import EngineConnection
    from mmstack_ops.adapters.engine.exec_command import execute
    from mmstack_ops.adapters.engine.one_shots import OneShotEngine

    connection = EngineConnection(project.settings.docker_base_url, read_only=False)
    owner = catalogue.schema.config.project
    engine = OneShotEngine(
        connection,
        owner=owner,
        environment=catalogue.environment,
        working_dir=str(project.root),
    )
    try:
        jmeter = _container(engine, catalogue)
        run = f"{plan.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        folder = f"{RESULTS}/{run}"
        engine.write_archive(jmeter.id, jmeter.name, RESULTS, _archive(run, content))
        settings = [f"-J{name}={value}" for name, value in properties.items()]
        command = ["sh", "-c", f"{_SCRIPT} {shlex.join(settings)}", "sh", folder]
        command += [str(max(1, round(within))), "jmeter"]
        try:
            code = execute(
                connection,
                jmeter.id,
                jmeter.name,
                command,
                on_output=lambda chunk: on_output(chunk.decode("utf-8", "replace")),
            )
        except KeyboardInterrupt:
            execute(connection, jmeter.id, jmeter.name, ["sh", "-c", f'kill "$(cat {folder}/pid)"'])
            raise
        if code != 0:
            raise EngineError(
                f"JMeter didn't carry out {plan.name}",
                why=f"not done after {within:.0f} s" if code in (124, 143) else f"exit code {code}",
                remedy=f"read {folder}/jmeter.log in {jmeter.name}, and what it printed",
            )
        found = figures(_samples(engine, jmeter, f"{folder}/samples.jtl"))
    finally:
        connection.close()
    if not found:
        raise EngineError(
            f"{plan.name} took no sample, so it tested nothing",
            remedy="look whether its thread groups and samplers are enabled",
        )
    return LoadResult(folder, found)


def _container(engine: OneShotEngine, catalogue: Catalogue) -> ObservedContainer:
    for container in engine.observe(catalogue.schema.config.project).containers:
        mine = container.environment == catalogue.environment and container.service == SERVICE
        if mine and container.state == "running":
            return container
    raise EngineError(
        f"{SERVICE} doesn't run in {catalogue.environment}",
        remedy=f"mmstack -e {catalogue.environment} start testing",
    )


def _archive(folder: str, plan: bytes) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        directory = tarfile.TarInfo(folder)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(directory)
        file = tarfile.TarInfo(f"{folder}/plan.jmx")
        file.size, file.mode = len(plan), 0o644
        tar.addfile(file, io.BytesIO(plan))
    archive.seek(0)
    return archive


def _samples(engine: OneShotEngine, jmeter: ObservedContainer, path: str) -> tuple[Sample, ...]:
    from mmstack_ops.adapters.engine.failures import MissingObjectError

    with tempfile.SpooledTemporaryFile(_MEMORY_BEFORE_DISK) as spool:
        try:
            for chunk in engine.read_archive(jmeter.id, jmeter.name, path):
                spool.write(chunk)
        except MissingObjectError:
            # JMeter also exits with 0 if it couldn't load the plan.
            raise EngineError(
                "JMeter wrote no samples",
                why=f"there is no {path} in {jmeter.name}",
                remedy=f"read jmeter.log beside it in {jmeter.name}, and what it printed",
            ) from None
        spool.seek(0)
        with tarfile.open(fileobj=spool) as tar:
            file = tar.extractfile(tar.getmembers()[0])
            assert file is not None
            return parse_samples(io.TextIOWrapper(file, "utf-8", newline=""))
