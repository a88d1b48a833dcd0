"""Every rule of the schema: the place, the path and the suggestion of a small mistake."""

from __future__ import annotations

import pytest

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema.parse import parse_schema
from tests.domain.schema_mistakes import CASES, DATABASE, SITE, VALID


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, source="schema.yaml")
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_the_small_schema_is_valid() -> None:
    schema = parse_schema(VALID, source="schema.yaml")
    assert list(schema.services) == ["database", "cache", "site"]


@pytest.mark.parametrize("case", CASES)
def test_mistake_is_found_at_its_place(case: str) -> None:
    old, new, message = CASES[case]
    assert VALID.count(old) == 1, "the case must change one place"
    text = VALID.replace(old, new)
    problems = problems_of(text)
    wanted = [problem for problem in problems if problem.endswith(message)]
    assert len(wanted) == 1, problems
    marked = [n for n, line in enumerate(text.split("\n"), start=1) if "#!" in line]
    if marked and "syntax" not in case:
        assert wanted[0] == f"schema.yaml:{marked[0]}: {message}"
    else:
        assert wanted[0].startswith("schema.yaml:")


def test_cycle_of_services() -> None:
    text = VALID.replace(DATABASE, DATABASE + "    depends_on: [{service: cache}]\n")
    text = text.replace(
        "    description: Cache.\n",
        "    description: Cache.\n    depends_on: [{service: database}]\n",
    )
    (problem,) = problems_of(text)
    line = text.split("\n").index("    depends_on: [{service: cache}]") + 1
    other = text.split("\n").index("    depends_on: [{service: database}]") + 1
    assert problem in (
        f"schema.yaml:{line}: services.database.depends_on: services in a cycle:"
        " database → cache → database",
        f"schema.yaml:{other}: services.cache.depends_on: services in a cycle:"
        " cache → database → cache",
    )


def test_host_port_clash_names_the_other_service() -> None:
    (problem,) = problems_of(VALID.replace("host: 6379}", "host: 5432}"))
    # Either may be seen first: both start without waiting for the other.
    assert problem.split(": ", 1)[1] in (
        "services.cache.ports[0].host: host port 5432 is already taken by 'database'",
        "services.database.ports[0].host: host port 5432 is already taken by 'cache'",
    )


def test_same_host_port_on_different_addresses_is_no_clash() -> None:
    text = VALID.replace("host: 6379}", "host: 5432, bind: 127.0.0.2}")
    assert parse_schema(text, source="schema.yaml").services["cache"].ports[0].host == (5432, 5432)


@pytest.mark.parametrize(
    ("bind", "clashes"),
    [("'::'", False), ("'[::1]'", False), ("0.0.0.0", True), ("'::ffff:127.0.0.1'", True)],
)
def test_ports_clash_on_addresses_of_one_kind(bind: str, clashes: bool) -> None:
    text = VALID.replace("host: 6379}", f"host: 5432, bind: {bind}}}")
    if clashes:
        (problem,) = problems_of(text)
        assert "host port 5432 is already taken" in problem
    else:
        parse_schema(text, source="schema.yaml")


def test_a_third_service_clashes_with_the_second_too() -> None:
    text = VALID.replace("5432, host: 5432}", "5432, host: 5432, bind: '::1'}")
    text = text.replace("host: 6379}", "host: 5432}").replace(
        SITE, SITE + "    ports: [{name: http, container: 80, host: 5432}]\n"
    )
    (problem,) = problems_of(text)
    assert "host port 5432 is already taken by" in problem
    assert "'database'" not in problem


def test_clash_outside_what_the_environment_starts_is_allowed() -> None:
    text = VALID.replace("host: 6379}", "host: 5432}").replace(
        "stacks: [base, front]", "stacks: []\n    services: [site]"
    )
    assert parse_schema(text, source="schema.yaml")


def test_alias_of_two_environments() -> None:
    first = VALID[VALID.index("  development:") : VALID.index("backup:\n  tiers")]
    text = VALID.replace(first, first + first.replace("development", "staging", 1))
    (problem,) = problems_of(text)
    assert problem.endswith(
        "environments.staging.alias: alias 'dev' already means environment 'development'"
    )


def test_every_problem_is_reported_at_once() -> None:
    text = VALID.replace("0 2 * * *", "0 2 * *").replace("redis:7-alpine", "redis")
    assert len(problems_of(text)) == 2


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_empty_file(text: str) -> None:
    assert problems_of(text) == ("schema.yaml:1: the file is empty",)


def test_not_a_mapping() -> None:
    assert problems_of("- a\n- b\n") == (
        "schema.yaml:1: (the whole file): expected a mapping of keys to values",
    )


def test_literal_secret_never_stands_in_the_message() -> None:
    for old, new, _ in CASES.values():
        if "hunter22" in new:
            assert "hunter22" not in "".join(problems_of(VALID.replace(old, new)))


def test_harmless_names_and_values_are_no_secrets() -> None:
    harmless = "\n".join(
        (
            "      DATABASE_URL: ${DATABASE_URL}",
            "      PASSWORD_FILE: /run/secrets/password",
            "      TOKEN_TTL: 30m",
            "      USE_API_KEY: 'true'",
            "      CACHE_URL: redis://cache:6379/0",
            "      OTHER_URL: redis://:${PASSWORD}@cache:6379/0",
        )
    )
    assert parse_schema(
        VALID.replace("      DATABASE_URL: ${DATABASE_URL}", harmless), source="schema.yaml"
    )


def test_aliases_and_merge_keys_are_resolved() -> None:
    text = VALID.replace("      DATABASE_URL: ${DATABASE_URL}", "      <<: {A: '1'}\n      B: '2'")
    environment = parse_schema(text, source="schema.yaml").services["site"].environment
    assert environment == {"A": "1", "B": "2"}


def test_alias_to_itself() -> None:
    (problem, *_) = problems_of("config: &a\n  x: *a\n")
    assert "an alias refers to itself" in problem
