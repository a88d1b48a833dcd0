"""From a verb and its targets to runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.run_requests import Options, RunRequest, run_request

PLAIN = Options()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return open_project(Path(__file__).parents[2]).catalogue("development")


def test_a_stack_and_the_environment_have_jobs_of_their_own(catalogue: Catalogue) -> None:
    assert run_request(catalogue, "start", ["inference"], PLAIN) == RunRequest("start_inference")
    assert run_request(catalogue, "start", ["development"], PLAIN) == RunRequest(
        "start_environment"
    )


def test_a_service_starts_with_what_it_needs(catalogue: Catalogue) -> None:
    request = run_request(catalogue, "start", ["litellm"], PLAIN)
    assert request.job == "start_environment"
    assert request.selection is not None
    assert {"litellm", "postgres"} <= set(request.selection)
    alone = run_request(catalogue, "start", ["litellm"], Options(dependencies=False))
    assert alone.selection == ["litellm"]


def test_several_targets_are_one_start(catalogue: Catalogue) -> None:
    request = run_request(catalogue, "start", ["core", "prometheus"], PLAIN)
    assert set(request.selection or ()) >= {*catalogue.schema.stacks["core"].services, "prometheus"}


def test_gpu_reaches_the_step(catalogue: Catalogue) -> None:
    request = run_request(catalogue, "start", ["inference"], Options(gpu=True))
    assert request.run_config == {"ops": {"bring_up": {"config": {"gpu": True}}}}


def test_a_rebuild_leaves_other_stacks_as_they_are(catalogue: Catalogue) -> None:
    request = run_request(catalogue, "rebuild", ["inference"], PLAIN)
    assert request.job == "rebuild_inference"
    assert request.run_config == {"ops": {"bring_up": {"config": {"rebuild": ["vllm", "litellm"]}}}}
    single = run_request(catalogue, "rebuild", ["litellm"], PLAIN)
    assert single.selection == ["litellm"]


def test_a_stop_names_the_services_unless_the_whole_stack_is_meant(catalogue: Catalogue) -> None:
    assert run_request(catalogue, "stop", ["core"], PLAIN) == RunRequest("stop_core")
    assert run_request(catalogue, "stop", ["litellm"], PLAIN) == RunRequest(
        "stop_inference",
        {"ops": {"stop_inference_services": {"config": {"services": ["litellm"]}}}},
    )


def test_a_stop_over_several_stacks_is_one_run(catalogue: Catalogue) -> None:
    request = run_request(catalogue, "stop", ["core", "litellm"], PLAIN)
    assert request.job == "stop_environment"
    config = request.run_config["ops"]["stop_environment_services"]["config"]
    assert set(config["services"]) == {*catalogue.schema.stacks["core"].services, "litellm"}


def test_stopping_the_environment_can_keep_all_containers(catalogue: Catalogue) -> None:
    assert run_request(catalogue, "stop", ["development"], PLAIN) == RunRequest("stop_environment")
    kept = run_request(catalogue, "stop", ["development"], Options(keep_containers=True))
    assert kept.run_config == {
        "ops": {"stop_environment_services": {"config": {"keep_containers": True}}}
    }


def test_a_stop_names_what_has_left_the_schema(catalogue: Catalogue) -> None:
    def stop(*targets: str, removed: dict[str, str]) -> RunRequest:
        return run_request(catalogue, "stop", targets, PLAIN, removed=removed)

    assert stop("gone", removed={"gone": "core"}) == RunRequest(
        "stop_core", {"ops": {"stop_core_services": {"config": {"services": ["gone"]}}}}
    )
    both = stop("gone", "redis", "elsewhere", removed={"gone": "core", "elsewhere": "old"})
    assert both == RunRequest(
        "stop_environment",
        {
            "ops": {
                "stop_environment_services": {
                    "config": {"services": ["redis", "gone", "elsewhere"]}
                }
            }
        },
    )
