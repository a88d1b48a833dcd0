"""Quick verbs stay quick: what they import, completion, and the process as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from mmstack_ops.adapters.project import Project
from mmstack_ops.cli import app
from tests.cli.conftest import Finished

REPOSITORY = Path(__file__).parents[2]


def python(*arguments: str, **variables: str) -> Finished:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **variables},
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def modules_after(statement: str) -> set[str]:
    shown = python("-c", f"{statement}; import sys; print(*sys.modules)")
    assert shown.exit_code == 0, shown.stderr
    return set(shown.stdout.split())


@pytest.mark.parametrize("slow", ["dagster", "docker", "rich", "boto3", "jinja2", "pydantic"])
def test_listing_the_verbs_imports_nothing_slow(slow: str) -> None:
    assert slow not in modules_after("import mmstack_ops.cli.app")


def verbs_imported_by(*arguments: str) -> set[str]:
    """Return the verbs whose modules a command imports."""
    prefix = "mmstack_ops.cli.verbs."
    modules = modules_after(
        "from mmstack_ops.cli.app import make_app\n"
        f"try: make_app()({list(arguments)!r})\n"
        "except SystemExit: pass\n"
        "print()"
    )
    return {name.removeprefix(prefix) for name in modules if name.startswith(prefix)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--help"),
        ("-e", "status", "plan", "--help"),
        ("--environment=dev", "--project", "wipe", "plan", "-h"),
    ],
)
def test_only_the_verb_that_was_asked_for_is_imported(arguments: tuple[str, ...]) -> None:
    assert verbs_imported_by(*arguments) == {"plan"}


def test_help_knows_every_verb_and_each_has_a_module() -> None:
    files = (Path(app.__file__).parent / "verbs").glob("[a-z]*.py")
    assert verbs_imported_by("--help") == {path.stem for path in files}
    shown = python("-m", "mmstack_ops", "--help").stdout
    group = typer.main.get_group(app.make_app())
    for verb in group.list_commands(typer.Context(group)):
        assert f" {verb} " in shown


def test_a_misspelt_verb_gets_a_suggestion() -> None:
    shown = python("-m", "mmstack_ops", "stauts")
    assert shown.exit_code == 2
    assert "status" in shown.stderr


def test_reading_never_imports_dagster(project: Project) -> None:
    # No engine answers: the verb goes as far as asking it.
    code = (
        "import sys\nfrom mmstack_ops.cli.main import main\n"
        "try: main(['status', '--json'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    shown = python("-c", code)
    modules = shown.stdout.split()
    assert "mmstack_ops.adapters.engine.local_socket" in modules
    # docker-py is for those who change something, or follow a stream.
    assert "docker" not in modules
    assert "dagster" not in modules
    assert "rich" not in modules
    # Neither what only changing verbs, backups or network checks need.
    assert not [
        name
        for name in modules
        if name.startswith(
            (
                "asyncio",
                "boto3",
                "pyrage",
                "mmstack_ops.adapters.backups",
                "mmstack_ops.operations.stacks.apply",
                "mmstack_ops.domain.networks",
            )
        )
    ]


_STATUS_OF_AN_ENGINE = """
import gc, sys
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.cli.main import main
from mmstack_ops.domain.stacks.observed import ObservedState
EngineReader.observe = lambda reader, owner, images=(): ObservedState("id", (), (), (), {})
seldom = []
def note(phase, _):
    # Those before `main` set its own limit don't count.
    if phase == "start" and gc.get_threshold()[0] > 1000: seldom.append(1)
gc.callbacks.append(note)
try: main(sys.argv[1:])
except SystemExit: pass
print(len(seldom))
print(*sys.modules)
"""


@pytest.mark.parametrize("verb", [("status",), ("status", "--json")])
def test_a_status_of_an_idle_engine_does_nothing_in_vain(
    project: Project, verb: tuple[str, ...]
) -> None:
    shown = python("-c", _STATUS_OF_AN_ENGINE, *verb)
    assert shown.exit_code == 0, shown.stderr
    *_, passes, modules = shown.stdout.splitlines()
    # No pass of the garbage collector; no values where no container is compared with them;
    # and nothing of `--watch`.
    assert int(passes) == 0
    assert not {"jinja2", "rich.live", "dagster"} & set(modules.split())
    assert ("rich" in modules.split()) == ("--json" not in verb)


def test_the_module_and_its_exit_codes(project: Project) -> None:
    assert python("-m", "mmstack_ops", "--version").exit_code == 0
    assert python("-m", "mmstack_ops", "status").exit_code == 1
    assert python("-m", "mmstack_ops", "start", "nope").exit_code == 2


def test_a_reader_that_leaves_early_is_no_error_message(project: Project) -> None:
    command = f"{sys.executable} -m mmstack_ops render compose --stdout | head -1"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.stdout.startswith("# Generated by mmstack")
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    shown = python("-m", "mmstack_ops", _MMSTACK_COMPLETE=f"source_{shell}")
    assert "mmstack" in shown.stdout


@pytest.mark.parametrize(
    ("line", "expected", "never"),
    [
        ("mmstack sta", {"start", "status"}, {"stop"}),
        ("mmstack start co", {"core"}, {"redis"}),
        ("mmstack stop core post", {"postgres"}, {"core"}),
        ("mmstack -e st", {"staging"}, {"development"}),
        ("mmstack status --environment pro", {"production"}, {"staging"}),
    ],
)
def test_completion_of_words(
    project: Project, line: str, expected: set[str], never: set[str]
) -> None:
    words = complete(line)
    assert expected <= words
    assert not never & words


def test_completion_of_a_broken_schema_is_empty_not_noise(project: Project) -> None:
    project.schema_path.write_text("services: [")
    assert complete("mmstack start co") == set()


def complete(line: str) -> set[str]:
    shown = python(
        "-m",
        "mmstack_ops",
        _MMSTACK_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split()) - 1),
    )
    assert shown.stderr == ""
    return set(shown.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [(["--version"], 0, "mmstack "), (["nonsense"], 2, "No such command")],
)
def test_a_quick_exit_loses_neither_output_nor_exit_code(
    arguments: list[str], code: int, shown: str
) -> None:
    command = [sys.executable, "-m", "mmstack_ops", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert shown in ended.stdout + ended.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m mmstack_ops --help | head -c 1"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr


_READING_BACKUPS = """
import sys
from mmstack_ops.cli.main import main
from mmstack_ops.cli.session import Session
from tests.orchestration.backups.fake import FakeBackups
Session.backups = property(lambda session: FakeBackups(session.catalogue))
try: main(sys.argv[1:])
except SystemExit: print(*sys.modules)
"""


@pytest.mark.parametrize("verb", [("backup", "status"), ("backup", "list"), ("backup", "tiers")])
def test_reading_backups_imports_neither_dagster_nor_rich(
    project: Project, verb: tuple[str, ...]
) -> None:
    shown = python("-c", _READING_BACKUPS, *verb, "--json")
    assert shown.exit_code == 0, shown.stderr
    modules = set(shown.stdout.split())
    assert "mmstack_ops.domain.backups.status" in modules
    assert not modules & {"dagster", "docker", "boto3", "rich", "psycopg", "qdrant_client"}
