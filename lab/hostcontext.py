"""What a build needs to know of this machine to reach the package index.

That is a CA bundle and settings of pip. Both go into a folder of a temporary build context, are
used by an early stage of the build only, and are no part of the image that comes out of it.
"""

import configparser
import os
import shutil
from pathlib import Path

CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Settings that mean the same inside a container; paths of this machine do not.
PIP_SETTINGS = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)


def ca_bundle() -> Path | None:
    for candidate in (
        *(Path(os.environ[name]) for name in CA_VARIABLES if os.environ.get(name)),
        CA_BUNDLE,
    ):
        if candidate.is_file():
            return candidate
    return None


def pip_files() -> list[Path]:
    """pip's configuration files, in the order in which pip reads them."""
    if os.environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    candidates = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        config / "pip/pip.conf",
    ]
    if os.environ.get("PIP_CONFIG_FILE"):
        candidates.append(Path(os.environ["PIP_CONFIG_FILE"]))
    return [path for path in candidates if path.is_file()]


def pip_settings() -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read(pip_files())
    settings = {
        name: parser.get(section, name)
        for section in ("global", "install")
        if parser.has_section(section)
        for name in PIP_SETTINGS
        if parser.has_option(section, name)
    }
    for name in PIP_SETTINGS:
        value = os.environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            settings[name] = value
    return settings


def write(folder: Path) -> None:
    """`ca.crt` and `pip.conf`, both always there and possibly empty."""
    folder.mkdir()
    bundle = ca_bundle()
    if bundle is None:
        (folder / "ca.crt").touch()
    else:
        shutil.copyfile(bundle, folder / "ca.crt")
    settings = pip_settings()
    if bundle is not None:
        settings["cert"] = "/build/host/ca.crt"
    parser = configparser.RawConfigParser()
    parser["global"] = settings
    with (folder / "pip.conf").open("w") as file:
        parser.write(file)
