"""Packages of the system that tests need, installed where that is possible: on Debian and what is made of it, as root."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["family", "install", "installable"]

FAMILY = {"debian", "ubuntu"}
SECONDS = 900.0


def family() -> set[str]:
    """Return the names of the system and of those it was made of."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return set()
    return {release.get("ID", ""), *release.get("ID_LIKE", "").split()}


def installable() -> bool:
    """Return whether packages can be installed here."""
    return bool(family() & FAMILY) and os.geteuid() == 0


def install(packages: Sequence[str]) -> None:
    """Install packages with apt-get.

    Raises:
        BatonError: it failed.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split()[-40:])
            raise BatonError(
                found=f"{' '.join(command[:2])} failed: {said}",
                expected=f"the packages {', '.join(packages)}",
                fix="make apt-get work on this machine, or install them by hand",
            )
