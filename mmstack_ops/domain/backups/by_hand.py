"""Build the shell commands that restore a backup with public tools: sh, age, zstd, tar."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.backups.tree import FOLDERS, INDEX, LISTS

# Python's tarfile marks names that aren't UTF-8 with a keyword GNU tar doesn't need.
# The folder comes first: names before -C on the command line aren't looked up in it.
_UNPACK = (
    "tar -x -p --xattrs --xattrs-include='*' --numeric-owner --warning=no-unknown-keyword -C tree"
)


def plain_name(payload: Payload) -> str:
    """Return a payload's name without the suffixes of compression and encryption."""
    return payload.name.removesuffix(".age").removesuffix(".zst")


def lines_by_hand(payloads: Sequence[Payload], last_steps: Iterable[str]) -> tuple[str, ...]:
    """Return all commands of the restore.

    The commands run in an empty folder. They put each payload there under its plain name, and
    a tree into the folder ``tree``; the type's ``last_steps`` use these.
    """
    encrypted = any(payload.encryption == "age" for payload in payloads)
    lines = ["# in an empty folder; FROM is the folder this manifest stands in"]
    if encrypted:
        lines.append("# KEY is a file with the age identity of one of the recipients")
    lines += ["export LC_ALL=C.UTF-8"]
    named = {plain_name(payload): payload for payload in payloads if payload.role != "pack"}
    lines += [
        f"{_opened(payload, 'FROM')} > {shlex.quote(name)}"
        for name, payload in named.items()
        if name not in (INDEX, LISTS, FOLDERS)
    ]
    if LISTS in named:
        packs = [payload for payload in payloads if payload.role == "pack"]
        one = packs[0] if packs else named[LISTS]
        loop = _opened(one, "FROM/../packs", name="$pack")
        lines += [
            "mkdir lists tree",
            f"{_opened(named[LISTS], 'FROM')} | tar -x -C lists",
            f"while read -r pack; do {loop} | {_UNPACK} --same-order --no-recursion --null"
            ' --verbatim-files-from -T "lists/$pack.list"; done < lists/packs',
            f"{_opened(named[FOLDERS], 'FROM')} | {_UNPACK}",
        ]
    return (*lines, *last_steps)


def _opened(payload: Payload, folder: str, *, name: str | None = None) -> str:
    variable, _, below = folder.partition("/")
    path = f'"${variable}{"/" + below if below else ""}/{name or payload.name}"'
    if payload.encryption == "age":
        start = f'age -d -i "$KEY" {path}'
        return f"{start} | zstd -dc" if payload.compression == "zstd" else start
    return f"zstd -dc {path}" if payload.compression == "zstd" else f"cat {path}"
