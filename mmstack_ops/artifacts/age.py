"""Encrypt and decrypt the secret store with age. The ``age`` command can open it too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.domain.errors import SecretError

if TYPE_CHECKING:
    from pyrage import x25519


def encrypt(content: bytes, identity_path: Path) -> bytes:
    """Encrypt ``content`` to the recipients of the identities in ``identity_path``.

    Raises:
        SecretError: the identity file can't be used.
    """
    import pyrage

    encrypted: bytes = pyrage.encrypt(
        content, [identity.to_public() for identity in read_identities(identity_path)]
    )
    return encrypted


def decrypt(path: Path, identity_path: Path) -> bytes:
    """Return the decrypted content of ``path``.

    Raises:
        SecretError: the identity file can't be used, or doesn't open the store.
        OSError: the store can't be read.
    """
    import pyrage

    identities = read_identities(identity_path)
    try:
        content: bytes = pyrage.decrypt(path.read_bytes(), identities)
    except pyrage.DecryptError as error:
        raise SecretError(
            f"the secret store {path} doesn't open with the age identity {identity_path}",
            why=str(error),
            remedy="set the identity it was encrypted to, or put your safe copy back",
        ) from None
    return content


def read_identities(path: Path) -> list[x25519.Identity]:
    """Return the identities in a file that only its owner can read.

    Raises:
        SecretError: the file can't be read, others can read it, or it holds no identity.
    """
    import pyrage

    try:
        text = path.read_text(encoding="ascii")
        mode = path.stat().st_mode & 0o777
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise SecretError(
            f"the age identity {path} can't be read",
            why=str(reason),
            remedy="create one with `age-keygen -o <file>`, and keep a copy elsewhere",
        ) from None
    if mode & 0o077:
        raise SecretError(
            f"the age identity {path} can be read by others (mode {mode:04o})",
            remedy=f"run `chmod 600 {path}`",
        )
    keys = [line.strip() for line in text.splitlines()]
    keys = [line for line in keys if line and not line.startswith("#")]
    try:
        identities = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        identities = []
    if not identities:
        raise SecretError(
            f"{path} holds no age identity",
            why="expected lines that begin with AGE-SECRET-KEY-1",
            remedy="create one with `age-keygen -o <file>`",
        )
    return identities
