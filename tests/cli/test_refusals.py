"""What can't be done is refused with the right exit code, a reason and a suggestion."""

from __future__ import annotations

import json

import pytest

from mmstack_ops.adapters.project import Project
from tests.cli.conftest import Mmstack


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["statsu"], "Did you mean 'status'"),
        (["status", "--jsn"], "--json"),
        (["start", "cor"], "did you mean 'core'"),
        (["stop", "postgress"], "did you mean 'postgres'"),
        (["plan", "posgres"], "did you mean 'postgres'"),
        (["logs", "rediss"], "did you mean 'redis'"),
        (["-e", "stagin", "status"], "did you mean 'staging'"),
        (["status", "-e", "prodution"], "did you mean 'production'"),
        (["doctor", "--only", "engin"], "did you mean 'engine'"),
        (["render", "compose", "cores"], "did you mean 'core'"),
        (["plan", "--stop", "--restart"], "different plans"),
        (["status", "--json", "--watch", "1"], "exclude each other"),
        (["status", "--all", "core"], "every environment"),
        (["logs", "--since", "yesterday"], "neither a span nor a moment"),
        (["logs", "--tail", "-1"], "--tail"),
        (["logs", "--tail", "9" * 30], "--tail"),
        (["logs", "--since", "9999999d"], "is out of range: 0s to 36500d"),
        (["logs", "--since", "0001-01-01"], "the year must be in 1971 to 9998"),
        (["logs", "--since", "9999-12-31T23:59:59-12:00"], "the year must be in 1971 to 9998"),
        (["status", "--watch", "nan"], "--watch"),
        (["status", "--watch", "inf"], "--watch"),
        (["status", "--watch", "1e300"], "--watch"),
        (["jmeter", "--within", "nan"], "--within"),
        (["jmeter", "--within", "1e18"], "--within"),
        (["jmeter", "--users", "9" * 5000], "--users"),
        (["drill", "--limit", "0"], "--limit"),
        (["drill", "--limit", "9999999"], "--limit"),
        (["backup", "list", "--last", "-1"], "--last"),
        (["restore", "postgres", "--at", "0001-01-01"], "is no point in time"),
        (["restore", "postgres", "--at", "9999-12-31T23:59:59-12:00"], "is no point in time"),
        (["restore", "postgres", "--at", "2026-02-30"], "is no point in time"),
        (["ui", "--port", "0"], "--port"),
        (["ui", "--stop", "--status"], "exclude each other"),
        (["ui", "--port", "70000"], "--port"),
        (["--project", "/nonexistent", "status"], "/nonexistent"),
    ],
)
def test_bad_input_exits_2_and_says_what_was_meant(
    mmstack: Mmstack, arguments: list[str], said: str
) -> None:
    finished = mmstack(*arguments)
    assert finished.exit_code == 2
    assert said in " ".join(finished.stderr.split())
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr


def test_an_error_is_one_json_object_when_json_was_asked_for(mmstack: Mmstack) -> None:
    finished = mmstack("start", "nope", "--json")
    error = json.loads(finished.stderr)["error"]
    assert finished.exit_code == error["exit_code"] == 2
    assert "nope" in error["what"]
    assert error["remedy"]


def test_a_broken_schema_names_file_and_line(project: Project, mmstack: Mmstack) -> None:
    text = project.schema_path.read_text()
    line = text[: text.index("\nstacks:")].count("\n") + 2
    project.schema_path.write_text(text.replace("\nstacks:", "\nstakcs:", 1))
    finished = mmstack("validate", "schema")
    assert finished.exit_code == 2
    assert f"compose-schema.yaml:{line}" in finished.stderr
    assert "did you mean 'stacks'" in finished.stderr


def test_no_engine_exits_1_with_its_address_and_a_remedy(mmstack: Mmstack) -> None:
    mmstack("secrets", "generate")
    for verb in (["status"], ["plan", "core"], ["logs", "core"]):
        finished = mmstack(*verb)
        assert finished.exit_code == 1, verb
        assert "/nonexistent/docker.sock" in finished.stderr
        assert "do:" in finished.stderr


def test_missing_secrets_name_the_command_that_makes_them(mmstack: Mmstack) -> None:
    finished = mmstack("plan", "core", "-e", "staging")
    assert finished.exit_code == 1
    assert "mmstack -e staging secrets generate" in finished.stderr


def test_a_valid_schema(mmstack: Mmstack) -> None:
    assert mmstack("validate", "schema").exit_code == 0
    document = mmstack("validate", "schema", "--json").document
    assert document["valid"] is True
    assert (document["services"], document["stacks"]) == (26, 6)


def test_version_and_help(mmstack: Mmstack) -> None:
    assert mmstack("--version").stdout.startswith("mmstack ")
    shown = mmstack("--help").stdout
    verbs = "start stop restart rebuild plan status logs validate render secrets doctor ui"
    for verb in verbs.split():
        assert f" {verb} " in shown


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:99999", "tcp://[::1:2375"])
def test_an_engine_at_a_port_that_cannot_be_is_refused(
    mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    finished = mmstack("status")
    assert finished.exit_code == 2
    assert "the address of the Docker engine isn't one" in finished.stderr
    assert "Traceback" not in finished.stderr
