"""A scratch copy of a container shares nothing it could change with the original."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.scratch import SCRATCH_BLOCK, free_subnet, scratch_container
from mmstack_ops.domain.errors import AddressConflictError
from mmstack_ops.domain.stacks.spec import (
    Attachment,
    ContainerSpec,
    GpuSpec,
    HealthSpec,
    MountSpec,
    PortBinding,
)

LIVE = ContainerSpec(
    image="postgres:16",
    command=("postgres", "-c", "fsync=on"),
    environment={"POSTGRES_USER": "app"},
    ports=(PortBinding(5432, 5432, "127.0.0.1"),),
    mounts=(
        MountSpec("volume", "live_data", "/data"),
        MountSpec("volume", "live_data", "/also/"),
        MountSpec("volume", "live_models", "/models", read_only=True),
        MountSpec("bind", "/etc/secret", "/run/secrets/password", read_only=True),
        MountSpec("bind", "/srv/logs", "/logs"),
        MountSpec("tmpfs", "1000000", "/scratch"),
    ),
    networks=(Attachment("core-net", ("postgres",)), Attachment("ai-net", ("postgres",))),
    health=HealthSpec(("CMD", "true"), 1, 1, 1, 1, 1),
    gpu=GpuSpec("nvidia", 1, (), ("gpu",)),
    restart="always",
    memory_limit=1 << 30,
    labels={"traefik.enable": "true"},
)


def test_a_scratch_copy_keeps_what_makes_the_server_and_nothing_that_is_live() -> None:
    copy, volumes = scratch_container(LIVE, service="postgres", name="x-scratch-postgres")
    assert (copy.image, copy.command, copy.environment) == (
        LIVE.image,
        LIVE.command,
        LIVE.environment,
    )
    assert (copy.health, copy.memory_limit) == (LIVE.health, LIVE.memory_limit)
    assert copy.ports == ()
    assert copy.restart == "no"
    assert copy.gpu is None
    assert copy.labels == {}
    assert copy.networks == (Attachment("x-scratch-postgres", ("postgres",)),)
    kept = {m.target: m for m in copy.mounts}
    assert kept["/run/secrets/password"].source == "/etc/secret"
    assert kept["/logs"].kind == "volume"
    assert not {m.source for m in copy.mounts} & {"live_data", "live_models", "/srv/logs"}
    assert volumes == {
        "/data": "x-scratch-postgres_1",
        "/also/": "x-scratch-postgres_1",
        "/models": "x-scratch-postgres_2",
        "/logs": "x-scratch-postgres_3",
    }


_subnets = st.lists(
    st.builds(
        lambda offset, prefix: str(
            ipaddress.IPv4Network(
                (int(SCRATCH_BLOCK.network_address) + offset, prefix), strict=False
            )
        ),
        st.integers(0, 2**17 - 1),
        st.integers(18, 32),
    ),
    max_size=10,
)


@given(_subnets, st.integers(0, 10**6))
def test_a_free_subnet_overlaps_nothing(taken: list[str], start: int) -> None:
    try:
        found = ipaddress.IPv4Network(free_subnet([*taken, "fd00::/64"], start=start))
    except AddressConflictError:
        # Ten networks of /18 can take all eight eighths of the block.
        used = ipaddress.collapse_addresses(map(ipaddress.IPv4Network, taken))
        assert sum(net.num_addresses for net in used) > SCRATCH_BLOCK.num_addresses / 2
        return
    assert found.subnet_of(SCRATCH_BLOCK)
    assert found.prefixlen == 28
    assert not any(found.overlaps(ipaddress.IPv4Network(net)) for net in taken)


def test_no_room_is_an_error_that_says_where() -> None:
    with pytest.raises(AddressConflictError, match=r"198\.18\.0\.0/15"):
        free_subnet(["198.0.0.0/8"], start=3)
