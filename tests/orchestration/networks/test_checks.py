"""The check of the networks' addresses, as Dagster shows it."""

from __future__ import annotations

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.networks.conflicts import ConflictReport, Row, Verdict
from mmstack_ops.domain.networks.orphans import NetworkDecision
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.fakes import FakeControl


def nothing_found(catalogue: Catalogue) -> ConflictReport:
    rows = tuple(
        Row(entry.name, entry.subnet, "engine", "ok", "free")
        for entry in catalogue.networks.values()
    )
    return ConflictReport(rows, {})


@pytest.mark.parametrize(
    ("verdict", "passed", "severity"),
    [
        ("ok", True, dg.AssetCheckSeverity.WARN),
        ("warn", False, dg.AssetCheckSeverity.WARN),
        ("not checked", False, dg.AssetCheckSeverity.WARN),
        ("drift", False, dg.AssetCheckSeverity.ERROR),
        ("conflict", False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_what_was_found_is_the_checks_outcome(
    project: Project,
    instance: dg.DagsterInstance,
    verdict: Verdict,
    passed: bool,
    severity: dg.AssetCheckSeverity,
) -> None:
    catalogue = project.catalogue("development")
    rows = tuple(
        Row(entry.name, entry.subnet, "engine", verdict, "somebody has it", "switch the plan")
        for entry in catalogue.networks.values()
    )
    first = rows[0].network
    control = FakeControl(catalogue, conflicts=ConflictReport(rows, {first: "10.128.0.0/24"}))
    definitions = build_definitions(
        "development", overrides={"project": project, "control": control}
    )
    job = definitions.resolve_job_def("network_conflicts")
    result = job.execute_in_process(instance=instance)
    every = result.get_asset_check_evaluations()
    found = [one for one in every if one.check_name == "addresses"]
    assert len(found) == len(rows)
    assert {one.passed for one in found} == {passed}
    assert {one.severity for one in found} == {severity}
    assert all("somebody has it" in str(one.metadata["table"].value) for one in found)
    free = [one for one in found if "free_subnet" in one.metadata]
    assert [one.metadata["free_subnet"].value for one in free] == ["10.128.0.0/24"]


def test_a_network_that_differs_fails_its_check(
    project: Project, instance: dg.DagsterInstance
) -> None:
    catalogue = project.catalogue("development")
    control = FakeControl(
        catalogue,
        conflicts=nothing_found(catalogue),
        network_problems={"core": ("x is on it, which nothing declares",)},
    )
    definitions = build_definitions(
        "development", overrides={"project": project, "control": control}
    )
    result = definitions.resolve_job_def("network_conflicts").execute_in_process(instance=instance)
    found = {
        one.asset_key.path[-1]: (one.passed, one.description)
        for one in result.get_asset_check_evaluations()
        if one.check_name == "as_declared"
    }
    assert found["core"] == (False, "x is on it, which nothing declares")
    assert found["inference"] == (True, "3 of 254 addresses are in use")


def test_orphans_are_a_warning_with_their_names(
    project: Project, instance: dg.DagsterInstance
) -> None:
    catalogue = project.catalogue("development")
    orphan = NetworkDecision("1", "lab-old", ("10.1.0.0/24",), "testing", True, "nobody wants it")
    control = FakeControl(catalogue, conflicts=nothing_found(catalogue))
    definitions = build_definitions(
        "development", overrides={"project": project, "control": control}
    )
    job = definitions.resolve_job_def("network_conflicts")
    for networks, passed in (([], True), ([orphan], False)):
        control.networks = networks
        (found,) = (
            one
            for one in job.execute_in_process(instance=instance).get_asset_check_evaluations()
            if one.check_name == "orphans"
        )
        assert found.asset_key.path == ["development", "network"]
        assert found.passed is passed
        assert found.severity is dg.AssetCheckSeverity.WARN
        assert passed or "lab-old" in str(found.description)
