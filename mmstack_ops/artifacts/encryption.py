"""Encrypt and decrypt payloads with age: recipients, identities and streams."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mmstack_ops.artifacts.age import read_identities
from mmstack_ops.domain.errors import ArtifactError, InputError, SecretError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrage import x25519

RECIPIENTS_VARIABLE = "BACKUP_AGE_RECIPIENTS"
_REMEDY = (
    f"write public keys (age1…, one `age-keygen -y <identity file>` prints it) into"
    f" {RECIPIENTS_VARIABLE} of the environment's local.env, separated by commas or spaces"
)


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


def choose_recipients(
    variables: Mapping[str, str], policy: Literal["when-keyed", "required", "none"]
) -> tuple[str, ...]:
    """Return the age recipients of backups; empty if backups aren't encrypted.

    Args:
        variables: the environment's values.
        policy: the schema's ``backup.encryption``.

    Raises:
        InputError: a recipient is invalid, or encryption is required and there is no recipient.
    """
    import pyrage

    if policy == "none":
        return ()
    found = [text for text in re.split(r"[\s,]+", variables.get(RECIPIENTS_VARIABLE, "")) if text]
    for text in found:
        if text.upper().startswith("AGE-SECRET-KEY"):
            # The key isn't shown, not even in part: it can decrypt every backup.
            raise InputError(
                f"{RECIPIENTS_VARIABLE} holds a secret key where public keys belong", remedy=_REMEDY
            )
        try:
            pyrage.x25519.Recipient.from_str(text)
        except pyrage.RecipientError:
            raise InputError(
                f"{RECIPIENTS_VARIABLE} names {text!r}, which is no age recipient",
                why="it doesn't begin with age1, or a character was lost",
                remedy=_REMEDY,
            ) from None
    if policy == "required" and not found:
        raise InputError(
            f"backups must be encrypted, and {RECIPIENTS_VARIABLE} names nobody",
            why="the schema says `encryption: required`",
            remedy=_REMEDY,
        )
    return tuple(dict.fromkeys(found))


def encrypt_stream(source: _Readable, target: _Writable, recipients: Sequence[str]) -> None:
    """Encrypt all data from ``source`` to ``target``.

    Raises:
        BaseException: the unchanged error of ``source`` or ``target``.
    """
    import pyrage

    keys = [pyrage.x25519.Recipient.from_str(text) for text in recipients]
    guarded = _Guarded(source.read, target.write)
    try:
        pyrage.encrypt_io(guarded, guarded, keys)
    except BaseException:
        # pyrage reports the error of a file object only as text; the error itself says more.
        if guarded.error is not None:
            raise guarded.error from None
        raise


class NoKeyError(ArtifactError):
    """An encrypted backup can't be read on this machine: the key is missing or wrong."""


class Keys:
    """The identities that decrypt backups. Their file is read when it is first needed.

    Args:
        identity_path: the ``age_identity`` of this machine's settings; None: not set.
    """

    def __init__(self, identity_path: Path | None) -> None:
        self._path = identity_path
        self._identities: list[x25519.Identity] | None = None

    def decrypt_stream(self, source: _Readable, target: _Writable, *, what: str) -> None:
        """Decrypt all data from ``source`` to ``target``.

        Args:
            what: name of the data, for messages.

        Raises:
            NoKeyError: the key is missing or wrong.
            ArtifactError: the bytes are damaged.
            BaseException: the unchanged error of ``source`` or ``target``.
        """
        import pyrage

        identities = self._load(what)
        guarded = _Guarded(source.read, target.write)
        try:
            pyrage.decrypt_io(guarded, guarded, identities)
        except BaseException as error:
            if guarded.error is not None:
                raise guarded.error from None
            if not isinstance(error, (pyrage.DecryptError, OSError, ValueError)):
                raise
            if "No matching keys" in str(error):
                raise NoKeyError(
                    f"{what} doesn't open with the age identity {self._path}",
                    why="it was encrypted to other recipients; its manifest names them",
                    remedy="set MMSTACK_AGE_IDENTITY to the identity of one of them",
                ) from None
            raise damaged(what, str(error)) from None

    def _load(self, what: str) -> list[x25519.Identity]:
        if self._identities is None:
            if self._path is None:
                raise NoKeyError(
                    f"{what} is encrypted, and this machine has no key",
                    why="no age identity is configured",
                    remedy="set `age_identity` in settings.yaml, or MMSTACK_AGE_IDENTITY,"
                    " to a file with the identity",
                )
            try:
                self._identities = read_identities(self._path)
            except SecretError as error:
                raise NoKeyError(
                    f"{what} is encrypted, and the key can't be used: {error.what}",
                    why=error.why,
                    remedy=error.remedy,
                ) from None
        return self._identities


def damaged(what: str, why: str) -> ArtifactError:
    """Return the error for stored bytes that differ from what was written."""
    return ArtifactError(
        f"{what} is damaged",
        why=why,
        remedy="run `mmstack verify` for this backup: it looks for a good copy on the other tiers",
    )


class _Guarded:
    """A reader and writer that keeps the error it failed with."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read = read
        self._write = write
        self.error: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            block: bytes = self._read(size)
        except BaseException as error:
            self.error = error
            raise
        return block

    def write(self, data: bytes, /) -> int:
        try:
            count: int = self._write(data)
        except BaseException as error:
            self.error = error
            raise
        return count

    def flush(self) -> None:
        """Do nothing: nothing is buffered here. pyrage calls it."""
