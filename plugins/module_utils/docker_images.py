# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The image of a container, had on the host: it is there, in an archive of the release, or in the registry that its name begins with."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._docker import Engine
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["image_id", "registry_of"]


def image_id(engine: Engine, name: str, archive: Path | None, *, check_mode: bool) -> str:
    """Return the id of the image called ``name``, which is loaded or pulled if it is not there; "" for that in check mode.

    Raises:
        BatonError: it cannot be had.
    """
    there = engine.image(name)
    # What an archive of the release holds is the release; whatever else has its name is not.
    if there and (archive is None or there["Id"] == _archived(archive, name)):
        return str(there["Id"])
    if check_mode:
        return ""
    if archive is not None:
        return _loaded(engine, name, archive)
    if not registry_of(name):
        raise BatonError(
            found=f"no image {name} on this host, and no registry in its name",
            expected="the image, or a name as registry.example.com/shop:v1.0.0 by which it can be pulled",
            fix="have the release bring it (docker save, app_docker_archive), name its registry, or load it by hand; nothing was stopped",
        )
    try:
        engine.pull(name)
    except BatonError as error:
        raise BatonError(
            found=f"no image {name} on this host; {error.found}",
            expected="that it can be pulled",
            fix="push it, log this user in (docker login), or have the release bring it (app_docker_archive); nothing was stopped",
        ) from error
    return _id(engine, name, f"docker pull {name}")


def registry_of(name: str) -> str:
    """Return the registry that an image's name begins with, "" for none: then docker would ask a public one."""
    first, slash, _rest = name.partition("/")
    return first if slash and re.search(r"[.:]|^localhost$", first) else ""


def _loaded(engine: Engine, name: str, archive: Path) -> str:
    if not archive.is_file():
        raise BatonError(
            found=f"no {archive}",
            expected="the archive of the image, which app_docker_archive names, in the release",
            fix="have the build put it there (docker save), or correct app_docker_archive; nothing was stopped",
        )
    said = engine.load(archive)
    return _id(engine, name, f"docker load of {archive} ({', '.join(said) or 'nothing'})")


def _id(engine: Engine, name: str, done: str) -> str:
    found = engine.image(name)
    if found is None:
        raise BatonError(
            found=f"no image {name} after {done}",
            expected="the image by that name",
            fix=f"save it by its name (docker save {name}), or correct the name; nothing was stopped",
        )
    return str(found["Id"])


def _archived(archive: Path, name: str) -> str:
    """Return the id of the image ``name`` in an archive, "" where it does not say: then it is loaded, which does no harm."""
    try:
        with tarfile.open(archive) as tar:
            stream = tar.extractfile("manifest.json")
            listed = json.load(stream) if stream else []
        for one in listed:
            digest = re.search(r"[0-9a-f]{64}", str(one["Config"]))
            if digest and name in (one.get("RepoTags") or []):
                return f"sha256:{digest[0]}"
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError):
        pass
    return ""
