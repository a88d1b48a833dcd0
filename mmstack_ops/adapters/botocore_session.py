"""botocore without the settings of the user who runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import botocore.session

_UNSET = (None, None, None, None)


def isolated_session() -> botocore.session.Session:
    """Return a session that ignores profile, credentials and settings of the current user."""
    import botocore.session

    return botocore.session.Session(
        session_vars={
            "profile": _UNSET,
            "config_file": (None, None, "/dev/null", None),
            "credentials_file": (None, None, "/dev/null", None),
        }
    )
