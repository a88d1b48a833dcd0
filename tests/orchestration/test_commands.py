"""From a verb and its targets to runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.commands import Options, RunRequest, run_requests

PLAIN = Options()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return open_project(Path(__file__).parents[2]).catalogue("development")


def test_a_stack_and_the_environment_have_jobs_of_their_own(catalogue: Catalogue) -> None:
    assert run_requests(catalogue, "start", ["inference"], PLAIN) == [RunRequest("start_inference")]
    assert run_requests(catalogue, "start", ["development"], PLAIN) == [
        RunRequest("start_environment")
    ]


def test_a_service_starts_with_what_it_needs(catalogue: Catalogue) -> None:
    (request,) = run_requests(catalogue, "start", ["litellm"], PLAIN)
    assert request.job == "start_environment"
    assert request.selection is not None
    assert {"litellm", "postgres"} <= set(request.selection)
    (alone,) = run_requests(catalogue, "start", ["litellm"], Options(dependencies=False))
    assert alone.selection == ["litellm"]


def test_several_targets_are_one_start(catalogue: Catalogue) -> None:
    (request,) = run_requests(catalogue, "start", ["core", "prometheus"], PLAIN)
    assert set(request.selection or ()) >= {*catalogue.schema.stacks["core"].services, "prometheus"}


def test_gpu_reaches_every_stack_involved(catalogue: Catalogue) -> None:
    (request,) = run_requests(catalogue, "start", ["inference"], Options(gpu=True))
    assert request.run_config == {
        "ops": {
            "bring_up_core": {"config": {"gpu": True}},
            "bring_up_inference": {"config": {"gpu": True}},
        }
    }


def test_a_rebuild_leaves_other_stacks_as_they_are(catalogue: Catalogue) -> None:
    (request,) = run_requests(catalogue, "rebuild", ["inference"], PLAIN)
    assert request.job == "rebuild_inference"
    assert request.run_config == {"ops": {"bring_up_inference": {"config": {"rebuild": True}}}}
    (single,) = run_requests(catalogue, "rebuild", ["litellm"], PLAIN)
    assert single.selection == ["litellm"]


def test_stops_name_the_services_unless_the_whole_stack_is_meant(catalogue: Catalogue) -> None:
    requests = run_requests(catalogue, "stop", ["core", "litellm"], PLAIN)
    assert requests == [
        RunRequest(
            "stop_inference",
            {"ops": {"stop_inference_services": {"config": {"services": ["litellm"]}}}},
        ),
        RunRequest("stop_core"),
    ]


def test_restarts_go_in_dependency_order(catalogue: Catalogue) -> None:
    requests = run_requests(catalogue, "restart", ["inference", "core"], PLAIN)
    assert [request.job for request in requests] == ["restart_core", "restart_inference"]


def test_stopping_the_environment_can_keep_all_containers(catalogue: Catalogue) -> None:
    (plain,) = run_requests(catalogue, "stop", ["development"], PLAIN)
    assert plain == RunRequest("stop_environment")
    (kept,) = run_requests(catalogue, "stop", ["development"], Options(keep_containers=True))
    assert set(kept.run_config["ops"]) == {
        f"stop_{stack}_services" for stack in catalogue.schema.stacks
    }
