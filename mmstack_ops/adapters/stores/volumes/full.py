"""Back up all volumes that a service writes to, with the service paused meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import ClassVar, Literal

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.volumes.roots import Judge
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree, structure_problems
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import BackupError, UntouchedError

_METHODS = {
    "stop": "files of its volumes, while the service was stopped",
    "freeze": "files of its volumes, while the service's processes were frozen",
    "none": "files of its volumes as they were read, those that changed meanwhile again",
}


class VolumesFull:
    """An incremental tree of a service's volumes.

    A service that is stopped or frozen stays so from the first look at the files to the last.
    Unchanged files aren't read, so that this is short from the second backup on.
    """

    method: ClassVar[str] = "volumes"
    name: ClassVar[str] = "full"
    tree: ClassVar[bool] = True
    needs_running: ClassVar[bool] = False
    needs_stop: ClassVar[bool] = True
    drilled_in: ClassVar[Literal["server", "files"]] = "files"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store the volumes; see ``BackupType.capture``."""
        tree = self.volumes(bench, instance)
        pause = self.pause(instance) if instance.running else "none"
        still = pause != "none" or not instance.running
        with _still(bench, instance, pause):
            facts = tree.facts(capture.tree(tree.files(still=still), tree.open))
        shown = _METHODS[pause] if instance.running else "files of its volumes; it didn't run"
        capture.note(
            method=shown,
            versions={},
            restore_by_hand=by_hand(tree),
            facts=facts,
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Walk the tree; see ``BackupType.check``."""
        return structure_problems(artifact)

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Replace the content of the volumes; see ``BackupType.restore``."""
        try:
            tree = self.volumes(bench, instance)
        except BackupError as error:
            raise UntouchedError(error.what, why=error.why, remedy=error.remedy) from None
        if instance.running:
            bench.stop(instance)
        tree.replace(artifact, also=self.goes_with(tree, artifact))
        return replace(instance, running=False)

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Read the volumes; see ``BackupType.inspect``."""
        return self.volumes(bench, instance).look(like)

    def volumes(self, bench: Workbench, instance: Instance) -> VolumeTree:
        """Return the volumes as a tree, without what isn't to be backed up."""
        return VolumeTree(
            bench, instance, leaves_out=lambda tree, path: self.leaves_out(instance, tree, path)
        )

    def pause(self, instance: Instance) -> str:
        """Return how a running service is paused: stop, freeze or none."""
        return instance.definition.backup.pause

    def leaves_out(self, instance: Instance, tree: VolumeTree, path: str) -> str:  # noqa: ARG002 - for other types
        """Return why a path is of no use in a backup; empty if it is of use."""
        return ""

    def goes_with(self, tree: VolumeTree, artifact: OpenArtifact) -> Judge:  # noqa: ARG002 - for other types
        """Return a predicate for paths that a restore deletes although the backup omits them."""
        return lambda _: False


def by_hand(tree: VolumeTree) -> tuple[str, ...]:
    """Return how to restore the unpacked folder ``tree`` by hand."""
    return (
        "# tree/ holds a folder for each volume; with the service stopped, as root:",
        *(
            f"# tree/{root.name}/ goes to where {root.target} is mounted from"
            for root in tree.roots
        ),
        "cp -a tree/VOLUME/. \"$(docker volume inspect -f '{{.Mountpoint}}' ENGINE_VOLUME)\"/",
    )


def _still(bench: Workbench, instance: Instance, pause: str) -> AbstractContextManager[None]:
    if pause == "stop":
        return bench.stopped(instance)
    if pause == "freeze":
        return bench.paused(instance)
    return nullcontext()
