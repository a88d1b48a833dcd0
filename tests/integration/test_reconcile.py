"""Create, keep, recreate, start, restart, remove and scale on a real engine."""

from __future__ import annotations

import pytest

from mmstack_ops.domain.stacks.events import Progress, ServiceResult
from mmstack_ops.domain.stacks.spec import DependencySpec
from tests.integration.world import NEVER, STACK, STAND_IN_PORT, World, free_port

pytestmark = pytest.mark.integration


def test_a_second_start_changes_nothing(world: World) -> None:
    a = world.service("a", ports=world.publish(free_port()))
    b = world.service("b", needs=["a"])
    first = world.up(a, b)
    assert first.outcomes == {"a": "created", "b": "created"}
    assert world.network_names() == {world.network.name}
    ids = {name: world.live(name).id for name in ("a", "b")}

    plan = world.plan(a, b)
    assert plan.is_empty
    assert plan.summary() == "nothing to change (3 unchanged)"
    second = world.apply(plan)
    assert second.outcomes == {"a": "unchanged", "b": "unchanged"}
    assert {name: world.live(name).id for name in ("a", "b")} == ids


def test_the_result_says_where_the_service_is(world: World) -> None:
    port = free_port()
    result = world.up(world.service("a", ports=world.publish(port))).results["a"]
    live = world.live("a")
    address = live.attrs["NetworkSettings"]["Networks"][world.network.name]["IPAddress"]
    assert result.container_ids == (live.id,)
    assert result.addresses == {world.network.name: address}
    assert result.ports == (f"127.0.0.1:{port}->8000/tcp",)
    assert result.image_id == live.attrs["Image"]
    assert result.seconds > 0


def test_a_changed_service_is_recreated_and_the_change_named(world: World) -> None:
    before = world.service("a", environment={"MODE": "slow", "KEPT": "1"})
    other = world.service("b")
    world.started(before, other)
    old, untouched = world.live("a").id, world.live("b").id

    after = world.service("a", environment={"MODE": "fast", "KEPT": "1"}, memory_limit=64 * 2**20)
    plan = world.plan(after, other)
    (change,) = plan.changes
    assert (change.kind, change.service) == ("recreate", "a")
    assert [str(c) for c in change.changes] == [
        "environment.MODE: slow → fast",
        f"memory_limit: (unset) → {64 * 2**20}",
    ]
    applied = world.apply(plan)
    assert applied.outcomes == {"a": "recreated", "b": "unchanged"}
    assert world.names() == {"a-1", "b-1"}
    assert world.live("a").id != old
    assert "MODE=fast" in world.live("a").attrs["Config"]["Env"]
    assert world.live("b").id == untouched


def test_a_changed_secret_shows_as_changed_and_not_its_value(world: World) -> None:
    def service(password: str):  # type: ignore[no-untyped-def]
        return world.service("a", environment={"PASSWORD": password}, secret_variables={"PASSWORD"})

    world.started(service("first-Secret-11"))
    plan = world.plan(service("second-Secret-22"))
    (change,) = plan.changes
    assert [str(c) for c in change.changes] == ["environment.PASSWORD: (secret) → (secret)"]
    labels = str(world.live("a").labels)
    assert "first-Secret-11" not in labels + str(plan.to_json())
    assert "second-Secret-22" not in str(plan.to_json())


def test_stopped_containers_start_again_and_are_not_recreated(world: World) -> None:
    a, b = world.service("a"), world.service("b", needs=["a"])
    world.started(a, b)
    ids = {name: world.live(name).id for name in ("a", "b")}
    stopped = world.down(a, b, keep_containers=True)
    assert stopped.outcomes == {"b": "stopped", "a": "stopped"}
    assert list(stopped.results) == ["b", "a"], "dependants stop first"
    assert {world.live(name).status for name in ("a", "b")} == {"exited"}

    applied = world.up(a, b)
    assert applied.outcomes == {"a": "started", "b": "started"}
    assert {name: world.live(name).id for name in ("a", "b")} == ids


def test_stop_removes_containers_and_the_empty_network_and_keeps_volumes(world: World) -> None:
    data = world.volume("data")
    a, b = world.service("a", mounts=(world.mount(data),)), world.service("b", needs=["a"])
    world.started(a, b)
    world.live("a").exec_run(["sh", "-c", "echo kept > /data/file"], user="root")

    assert world.down(a, b).outcomes == {"b": "removed", "a": "removed"}
    assert world.names() == set()
    assert world.network_names() == set()
    assert world.volume_names() == {"data"}

    world.started(a, b)
    assert world.live("a").exec_run(["cat", "/data/file"]).output == b"kept\n"


def test_stop_of_one_service_leaves_the_network_to_the_others(world: World) -> None:
    a, b = world.service("a"), world.service("b")
    world.started(a, b)
    plan = world.down_plan(a)
    assert [action.kind for action in plan.actions] == ["remove"]
    world.apply(plan)
    assert world.names() == {"b-1"}
    assert world.network_names() == {world.network.name}


def test_stopping_what_somebody_removed_meanwhile_is_done_already(world: World) -> None:
    a = world.service("a")
    world.started(a)
    plan = world.down_plan(a)
    world.live("a").remove(force=True)
    assert world.apply(plan).outcomes == {"a": "removed"}
    assert world.network_names() == set()


def test_restart_keeps_the_container_and_goes_in_dependency_order(world: World) -> None:
    a, b = world.service("a"), world.service("b", needs=["a"])
    world.started(a, b)
    before = {name: world.live(name).attrs for name in ("a", "b")}
    applied = world.restart(a, b)
    assert applied.outcomes == {"a": "restarted", "b": "restarted"}
    assert list(applied.results) == ["a", "b"]
    for name in ("a", "b"):
        now = world.live(name).attrs
        assert now["Id"] == before[name]["Id"]
        assert now["State"]["StartedAt"] > before[name]["State"]["StartedAt"]


def test_scaling_adds_and_removes_only_the_difference(world: World) -> None:
    world.started(world.service("a"))
    first = world.live("a").id
    up = world.up(world.service("a", replicas=3))
    assert up.outcomes == {"a": "created"}
    assert len(up.results["a"].container_ids) == 3
    assert world.names() == {"a-1", "a-2", "a-3"}

    plan = world.plan(world.service("a", replicas=1))
    assert {(c.kind, c.target) for c in plan.changes} == {
        ("remove", world.name_of("a", 2)),
        ("remove", world.name_of("a", 3)),
    }
    world.apply(plan)
    assert world.names() == {"a-1"}
    assert world.live("a").id == first


def test_a_dependant_starts_only_when_its_dependency_is_healthy(world: World) -> None:
    a = world.service("a", environment={"STANDIN_START_DELAY": "2"})
    b = world.service("b", needs=["a"])
    c = world.service("c")
    seen: dict[str, object] = {}
    probe = ["curl", "-fsS", f"http://127.0.0.1:{STAND_IN_PORT}/health"]

    def look(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "creating" and event.service == "b":
            # The engine's own verdict may come an interval later than ours.
            seen["a answers"] = world.live("a").exec_run(probe).exit_code == 0
            seen["c"] = world.live("c").status

    applied = world.up(a, b, c, on_event=look)
    assert applied.outcomes == {"a": "created", "b": "created", "c": "created"}
    assert seen == {"a answers": True, "c": "running"}
    assert list(applied.results) == ["c", "a", "b"], "c doesn't wait for the slow one"


def test_a_failure_stops_what_depends_on_it_and_nothing_else(world: World) -> None:
    a = world.service("a", health=NEVER)
    b = world.service("b", needs=["a"])
    c = world.service("c", needs=["b"])
    free = world.service("free")
    applied = world.up(a, b, c, free)
    assert applied.outcomes == {
        "a": "failed",
        "b": "skipped",
        "c": "skipped",
        "free": "created",
    }
    assert applied.results["b"].reason == "a, which it needs, failed"
    assert applied.results["c"].reason == "b, which it needs, skipped"
    assert world.names() == {"a-1", "free-1"}


def test_a_dependant_restarts_with_its_dependency_where_it_says_so(world: World) -> None:
    def services(mode: str):  # type: ignore[no-untyped-def]
        follows = DependencySpec("a", STACK, "healthy", restart=True)
        return (
            world.service("a", environment={"MODE": mode}),
            world.service("b", needs=[follows]),
            world.service("c", needs=["a"]),
        )

    world.started(*services("1"))
    ids = {name: world.live(name).id for name in ("b", "c")}
    applied = world.up(*services("2"))
    assert applied.outcomes == {"a": "recreated", "b": "restarted", "c": "unchanged"}
    assert {name: world.live(name).id for name in ("b", "c")} == ids


def test_a_one_shot_service_is_done_when_it_has_ended_well(world: World) -> None:
    job = world.service(
        "job", entrypoint=("sh", "-c", "sleep 1; echo done"), restart="no", health=None
    )
    after = world.service("after", needs=[DependencySpec("job", STACK, "completed")])
    seen: list[str] = []

    def look(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "creating" and event.service == "after":
            seen.append(world.live("job").status)

    applied = world.up(job, after, on_event=look)
    assert applied.outcomes == {"job": "created", "after": "created"}
    assert seen == ["exited"], "it is waited for to the end"
    assert world.plan(job, after).is_empty


def test_a_one_shot_that_still_works_is_waited_for_by_the_next_start_too(world: World) -> None:
    job = world.service("job", entrypoint=("sleep", "3"), restart="no", health=None, init=True)
    world.started(job)
    assert world.live("job").status == "running"
    after = world.service("after", needs=[DependencySpec("job", STACK, "completed")])
    seen: list[str] = []

    def look(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "creating" and event.service == "after":
            seen.append(world.live("job").status)

    assert world.up(job, after, on_event=look).outcomes == {"job": "unchanged", "after": "created"}
    assert seen == ["exited"]


def test_a_one_shot_that_fails_stops_its_dependants(world: World) -> None:
    job = world.service(
        "job", entrypoint=("sh", "-c", "echo went wrong; exit 3"), restart="no", health=None
    )
    after = world.service("after", needs=[DependencySpec("job", STACK, "completed")])
    applied = world.up(job, after)
    assert applied.outcomes == {"job": "failed", "after": "skipped"}
    assert "exited with code 3" in applied.results["job"].error
    assert "went wrong" in applied.results["job"].log_tail


def test_every_service_has_exactly_one_result(world: World) -> None:
    services = [world.service(name) for name in ("a", "b")]
    applied = world.up(*services)
    told = [event.service for event in applied.events if isinstance(event, ServiceResult)]
    assert sorted(told) == ["a", "b"]


def test_a_paused_container_runs_on(world: World) -> None:
    a = world.service("a")
    world.started(a)
    world.live("a").pause()
    applied = world.up(a)
    assert applied.outcomes == {"a": "started"}, applied.results
    assert world.live("a").status == "running"
