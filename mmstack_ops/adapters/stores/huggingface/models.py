"""Back up a Hugging Face cache: blobs named by content, snapshots with links to them, refs."""

from __future__ import annotations

import hashlib
import re
from typing import ClassVar

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.volumes.full import VolumesFull
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree, structure_problems
from mmstack_ops.artifacts.sparse import whole_content

# Files in Git LFS, such as weights, are named by the SHA-256 of their content; small files
# by a Git object id (40 digits), which can't be compared with the plain bytes.
_BY_SHA256 = re.compile(r"/blobs/([0-9a-f]{64})$")


class HuggingfaceModels(VolumesFull):
    """The model cache of a service, without downloads in progress and locks.

    Files of a cache never change after they get their final name: no pause is needed.
    """

    method: ClassVar[str] = "huggingface"
    name: ClassVar[str] = "models"

    def leaves_out(self, instance: Instance, tree: VolumeTree, path: str) -> str:  # noqa: ARG002 - the same for all
        """Return why a path is left out: a download in progress, or a lock; otherwise empty."""
        parts = path.split("/")
        if ".locks" in parts or parts[-1].endswith(".lock"):
            return "a lock of the cache"
        return "a download on its way" if parts[-1].endswith(".incomplete") else ""

    def pause(self, instance: Instance) -> str:  # noqa: ARG002 - the same for all
        """Return ``none``: no pause is needed."""
        return "none"

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Compare blobs with their names; see ``BackupType.check``."""
        problems = structure_problems(artifact)
        for file, content in artifact.contents(lambda one: bool(_BY_SHA256.search(one.path))):
            named = _BY_SHA256.search(file.path)
            if content is None or named is None:
                continue
            digest = hashlib.sha256()
            for block in whole_content(file, content):
                digest.update(block)
            if digest.hexdigest() != named[1]:
                problems.append(f"{file.path!r} isn't what its name says: it was damaged before")
        return problems
