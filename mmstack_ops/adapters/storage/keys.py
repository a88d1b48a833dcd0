"""The keys that every tier accepts: relative paths that all file systems and endpoints support."""

from __future__ import annotations

from mmstack_ops.domain.errors import InputError

# Limits of ext4, XFS and NFS for one name, and of S3 for a whole key.
_LONGEST_PART = 255
_LONGEST_KEY = 1024


def checked_key(key: str) -> tuple[str, ...]:
    """Return the parts of ``key``.

    Raises:
        InputError: it is absolute, leads upwards, has empty or hidden parts, contains control
            characters, or is too long.
    """
    parts = tuple(key.split("/"))
    problem = ""
    if any(part in ("", ".", "..") for part in parts):
        problem = "it has an empty part, '.' or '..'"
    elif parts[0].startswith("."):
        problem = "names that begin with a dot are the tier's own"
    elif any(ord(character) < 32 or ord(character) == 127 for character in key):
        problem = "it holds a control character"
    elif any(0xD800 <= ord(character) <= 0xDFFF for character in key):
        problem = "it holds a character that UTF-8 can't write"
    elif len(key.encode()) > _LONGEST_KEY:
        problem = f"it is longer than {_LONGEST_KEY} bytes"
    elif any(len(part.encode()) > _LONGEST_PART for part in parts):
        problem = f"a part of it is longer than {_LONGEST_PART} bytes"
    if problem:
        raise InputError(f"{key!r} can't be the key of a file on a tier", why=problem)
    return parts


def checked_prefix(prefix: str) -> str:
    """Return the folder part of ``prefix``; empty for the tier itself.

    Raises:
        InputError: no key can start with it.
    """
    folder, _, _ = prefix.rpartition("/")
    if folder:
        checked_key(folder)
    return folder
