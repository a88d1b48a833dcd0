"""What stands on an engine of a product, and what only looks as if it were."""

from __future__ import annotations

from mmstack_ops.domain.stacks import labels
from tests.e2e.product import Product
from tests.integration.world import BASE


def standing(product: Product, environment: str = "development") -> set[str]:
    """Return the names of all this product has in an environment."""
    mine = [f"{labels.OWNER}={product.owner}", f"{labels.ENVIRONMENT}={environment}"]
    found = {one.name for one in product.found(environment)}
    found |= {one.name for one in product.engine.volumes.list(filters={"label": mine})}
    return found | {one.name for one in product.engine.networks.list(filters={"label": mine})}


class LookAlikes:
    """What isn't ours though its name says so, with something in it."""

    def __init__(self, product: Product) -> None:
        self._product = product
        engine, owner = product.engine, product.owner
        test = {"io.mmstack.test": owner}
        core = f"{owner}-development-core"
        other = {labels.OWNER: "somebody-else", labels.ENVIRONMENT: "development"}
        staging = {labels.OWNER: owner, labels.ENVIRONMENT: "staging", labels.STACK: "core"}
        self.volumes = [
            engine.volumes.create(f"{core}_redis_data2", labels=test),
            engine.volumes.create(f"{owner}-other_redis_data", labels={**test, **other}),
            engine.volumes.create(f"{owner}-staging-core_redis_data", labels={**test, **staging}),
        ]
        self.networks = [
            engine.networks.create(f"{owner}-other", labels=test),
            engine.networks.create(f"{owner}-core-net-2", labels={**test, **other}),
        ]
        self.containers = [
            engine.containers.run(
                BASE,
                ["sleep", "900"],
                name=f"{name}-{owner}",
                detach=True,
                init=True,
                labels={**test, **marks},
                network=network.name,
                volumes={volume.name: {"bind": "/data", "mode": "rw"}},
            )
            for name, marks, network, volume in zip(
                ("my-postgres", "multimodal-other"),
                # Compose's labels say it is redis of our project: that isn't ours either.
                ({}, {labels.SERVICE: "redis", labels.PROJECT: core, **other}),
                self.networks,
                self.volumes,
                strict=False,
            )
        ]
        for container in self.containers:
            code, _ = container.exec_run(["sh", "-c", "echo precious > /data/kept"])
            assert code == 0

    def assert_untouched(self) -> None:
        engine = self._product.engine
        for container in self.containers:
            found = engine.containers.get(container.id)
            assert found.status == "running"
            assert found.exec_run(["cat", "/data/kept"]).output == b"precious\n"
        names = {one.name for one in engine.volumes.list()}
        assert {one.name for one in self.volumes} <= names
        ids = {one.id for one in engine.networks.list()}
        assert {one.id for one in self.networks} <= ids

    def remove(self) -> None:
        for container in self.containers:
            container.remove(force=True, v=True)
        for one in (*self.volumes, *self.networks):
            one.remove()
