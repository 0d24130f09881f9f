"""The installed package: its version, and the command that installs the packages of an extra.

gaia-local lies in no package registry, so no message may tell users to install it by its name: a
stranger could take that name. Messages name the packages themselves.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NAME = "gaia-local"
SOURCE = Path(__file__).parents[1]
"""The checkout that the package is run from, where it isn't installed."""


def version() -> str:
    """The installed version."""
    # Not before: its import takes longer than that of this whole package.
    from importlib import metadata

    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def install_command(extra: str) -> str:
    """The shell command that installs the packages of an extra, in the versions it asks for."""
    from importlib import metadata

    try:
        requirements = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return pip_install(f"{SOURCE}[{extra}]")
    marker = re.compile(rf" *;.*\bextra == ['\"]{extra}['\"]")
    return pip_install(*(marker.sub("", one) for one in requirements if marker.search(one)))


def pip_install(*wanted: str) -> str:
    """The shell command that installs packages for the Python that runs this program."""
    import shlex

    return shlex.join([sys.executable or "python3", "-m", "pip", "install", *wanted])
