"""What the fleet needs, and what of it is there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests import packages
from tests.fleet import engine, image
from tests.fleet.docker import docker, inspect


@dataclass(frozen=True)
class Finding:
    """One thing that is good, or is not, in a sentence."""

    good: bool
    text: str


def examine() -> list[Finding]:
    """Look at everything that ``up`` will need."""
    reason = engine.unavailable()
    if engine.answers():
        found = [Finding(True, f"docker engine {docker('version', '--format', '{{.Server.Version}}')} answers")]
    elif reason:
        found = [Finding(False, f"{reason}: start one, or run this as root on Debian")]
    else:
        to_install = ", ".join(engine.missing()) or "nothing"
        found = [Finding(True, f"no docker engine answers; up will install {to_install} and start one")]
    found += [_program(name) for name in ("ssh", "ssh-keygen")]
    return [*found, *_image()]


def _program(name: str) -> Finding:
    path = shutil.which(name)
    return Finding(path is not None, f"{name}: {path or 'install openssh-client'}")


def _image() -> list[Finding]:
    try:
        name = image.tag()
    except BatonError as error:
        return [Finding(False, str(error))]
    if not engine.answers():
        return [Finding(True, f"the image {name} will be looked for when there is an engine")]
    if inspect("image", name) is not None:
        return [Finding(True, f"the image {name} is there")]
    text = f"the image {name} is not there yet; up will build it"
    if inspect("image", image.BASE) or inspect("image", image.PUBLIC_BASE):
        return [Finding(True, text)]
    ways = image.sources() and (
        packages.installable() or (shutil.which("mmdebstrap") is not None and os.geteuid() == 0)
    )
    from_packages = "from packages" if ways else "only from a registry (no root, mmdebstrap and Debian 12 here)"
    return [Finding(True, f"{text}, its base {from_packages}")]
