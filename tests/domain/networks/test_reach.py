"""The matrix of who may open whose ports, and what an answer makes of a cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.networks.reach import (
    Answer,
    GatewayQuestion,
    GatewayState,
    Question,
    Reach,
    as_matrix,
    gateway_questions,
    judged,
    questions,
)
from tests.domain.networks.running import container

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return open_project(REPOSITORY).catalogue("development")


def test_who_shares_a_declared_network_may(catalogue: Catalogue) -> None:
    here = [
        container(catalogue, "postgres", "core"),
        container(catalogue, "litellm", "inference", "core"),
        container(catalogue, "openwebui", "ui"),
    ]
    asked = [one for found in questions(catalogue, here).values() for one in found]
    allowed = {(one.source, one.target) for one in asked if one.allowed}
    # By declaration openwebui is on the networks of what it needs, wherever it is now.
    needed = {"openwebui"} & {source for source, _ in allowed}
    assert ("litellm", "postgres") in allowed
    assert ("openwebui", "postgres") not in allowed
    assert not needed or ("openwebui", "litellm") in allowed
    # Each address of a target by itself: at its own stack's, postgres can't get at litellm.
    postgres_to_litellm = [o for o in asked if (o.source, o.target) == ("postgres", "litellm")]
    assert {one.allowed for one in postgres_to_litellm} == {True, False}
    assert all(bool(one.name) == one.allowed for one in asked)


def test_a_network_joined_by_hand_allows_nothing(catalogue: Catalogue) -> None:
    here = [
        container(catalogue, "redis", "core"),
        container(catalogue, "allure-results", "testing", "core"),
    ]
    asked = questions(catalogue, here)["allure-results-id"]
    assert asked
    assert not any(one.allowed for one in asked)


def test_only_what_runs_is_asked_and_each_service_once(catalogue: Catalogue) -> None:
    redis = container(catalogue, "redis", "core")
    qdrant = container(catalogue, "qdrant", "core")
    here = [
        replace(redis, number=2, id="second"),
        redis,
        replace(qdrant, state="exited"),
        replace(container(catalogue, "minio", "core"), environment="staging"),
    ]
    assert questions(catalogue, here) == {"redis-id": []}


MAY = Question("a", "b", "10.0.0.2", 80, True, "b")
MAY_NOT = Question("a", "c", "10.0.1.2", 80, False)


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        (MAY, Answer(True, "10.0.0.2"), "ok"),
        (MAY, Answer(False, "10.0.0.2"), "unreachable"),
        (MAY, Answer(True, ""), "no name"),
        (MAY, Answer(True, "10.0.0.2", True), "ok"),
        (MAY, Answer(True, "10.0.0.2", False), "wrong protocol"),
        (MAY_NOT, Answer(False), "ok"),
        (MAY_NOT, Answer(True), "exposed"),
    ],
)
def test_an_answer_makes_the_cell(question: Question, answer: Answer, verdict: str) -> None:
    (cell,) = judged([question], [answer])
    assert cell.verdict == verdict
    assert bool(cell.detail) == (verdict != "ok")


def test_the_worst_address_counts(catalogue: Catalogue) -> None:
    other = replace(MAY, address="10.0.9.2", allowed=False, name="")
    for order in ([MAY, other], [other, MAY]):
        answers = {MAY: Answer(True, "10.0.0.2"), other: Answer(True)}
        (cell,) = judged(order, [answers[one] for one in order])
        assert cell.verdict == "exposed"
        good = {MAY: Answer(True, "10.0.0.2"), other: Answer(False)}
        (cell,) = judged(order, [good[one] for one in order])
        assert (cell.verdict, cell.allowed) == ("ok", True)
    assert set(as_matrix([cell])) == {("a", "b")}


def test_a_port_is_spoken_to_as_its_name_or_the_schema_says(catalogue: Catalogue) -> None:
    here = [container(catalogue, name, "core") for name in ("postgres", "redis", "qdrant", "minio")]
    asked = [one for found in questions(catalogue, here).values() for one in found]
    spoken = {(one.target, one.port): one.speaks for one in asked}
    assert spoken == {
        ("postgres", 5432): "postgres",
        ("redis", 6379): "redis",
        ("qdrant", 6333): "http",
        ("qdrant", 6334): "",
        ("minio", 9000): "http",
        ("minio", 9001): "http",
    }


def test_nobody_is_spoken_to_who_may_not_be(catalogue: Catalogue) -> None:
    here = [
        container(catalogue, "redis", "core"),
        container(catalogue, "allure-results", "testing"),
    ]
    asked = [one for found in questions(catalogue, here).values() for one in found]
    assert asked
    assert {one.speaks for one in asked if not one.allowed} == {""}


def test_a_gateway_that_is_gone_makes_it_all_wrong(catalogue: Catalogue) -> None:
    redis = replace(container(catalogue, "redis", "core"), gateways={"core-net": "10.0.0.1"})
    asked = gateway_questions(catalogue, [redis])
    assert asked == {"redis-id": [GatewayQuestion("redis", "core-net", "10.0.0.1")]}
    for there in (True, False):
        state = GatewayState("redis", "core-net", "10.0.0.1", there)
        assert Reach((), (state,)).clean is there
