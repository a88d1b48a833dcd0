"""What files of the project parse to, kept so that a reading verb needn't parse them again.

Parsing and validating the schema takes a tenth of ``mmstack status``, compiling the templates of
the environment file a twentieth; reading back what came of them takes milliseconds. Only what was
valid is kept, and it is used only while the text, our own code, Python and pydantic are what they
were.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from mmstack_ops.adapters.files import make_private_directory, write_atomically

_Parsed = TypeVar("_Parsed")

_HERE = Path(__file__).resolve().parent
_CODE = (_HERE.parent / "domain", _HERE / "environment")
"""What reads, checks and compiles the files: another edition may make something else of them."""
_TRUSTED = "mmstack_ops.domain.schema."
_HEAD = hashlib.sha256().digest_size


class ParseCache:
    """Parsed files in ``folder``. Losing it, or having none, costs time and nothing else.

    Args:
        folder: where it is kept, private to this user; made when first needed, if the folder
            above it is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, source: str, text: str, parse: Callable[[], _Parsed]) -> _Parsed:
        """Return what ``parse`` gives for ``text``, from the cache where it is known.

        Args:
            source: the file's name as messages show it; part of what is parsed.
            text: all that ``parse`` depends on.
        """
        content = self.recall(source, text)
        if content is not None:
            try:
                known: _Parsed = _SchemaUnpickler(io.BytesIO(content)).load()
            except Exception:  # noqa: S110
                # What somebody planted may raise anything at all; the text is still there.
                pass
            else:
                return known
        parsed = parse()
        self.keep(source, text, pickle.dumps(parsed, protocol=5))
        return parsed

    def recall(self, source: str, text: str) -> bytes | None:
        """Return what was kept for ``text``; None when it isn't there, whole, and private."""
        path = self._path(source)
        try:
            with path.open("rb") as file:
                seen = os.fstat(file.fileno())
                if seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
                    return None  # Somebody else could have written it.
                found = file.read()
        except OSError:
            return None  # Not there yet, or not for us: the file itself is parsed.
        content = found[_HEAD:]
        return content if found[:_HEAD] == _head(source, text, content) else None

    def keep(self, source: str, text: str, content: bytes) -> None:
        """Keep ``content`` for the next process that has the same ``text``."""
        if not self._folder.parent.is_dir():
            return  # Reading a project makes no state where there is none.
        try:
            make_private_directory(self._folder)
            head = _head(source, text, content)
            write_atomically(self._path(source), head + content, mode=0o600)
        except OSError:
            # A full disk or a state of somebody else's: whoever changes something will say so.
            return

    def _path(self, source: str) -> Path:
        return self._folder / hashlib.sha256(source.encode()).hexdigest()[:16]


class _SchemaUnpickler(pickle.Unpickler):
    """Makes values of the schema's own classes, and of no others."""

    def find_class(self, module: str, name: str) -> Any:
        # A dotted name would reach whatever those modules import, `os` among it.
        if module.startswith(_TRUSTED) and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no class of the schema")


def _head(source: str, text: str, content: bytes) -> bytes:
    """Return what a file begins with: a digest of all that it was made from, and of itself."""
    from pydantic import VERSION

    digest = hashlib.sha256(content)
    for part in (sys.version, VERSION, _edition(_CODE), source, text):
        digest.update(b"\0" + part.encode())
    return digest.digest()


@cache
def _edition(folders: tuple[Path, ...]) -> str:
    """Return what tells one edition of our code from another; it is that of this process."""
    return "\n".join(line for folder in folders for line in _code(folder))


def _code(folder: Path) -> Iterator[str]:
    """Yield a line for every module that parsing may run: another edition, another key."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _code(Path(entry.path))
            elif entry.name.endswith(".py"):
                seen = entry.stat()
                yield f"{entry.path} {seen.st_size} {seen.st_mtime_ns}"
