# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A Compose file of the release as the description of its slot's container: one service, of which each key is known or refused.

Only what is understood here takes part; a key that is not would otherwise be something that its writer relies on, and does not get.
(https://github.com/compose-spec/compose-spec)
"""

from __future__ import annotations

import sys
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.compose_values import Place
from ansible_collections.baton.release.plugins.module_utils.containers import Container
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.launch import Launch

__all__ = ["KNOWN", "container_of"]

KNOWN = (
    "cap_drop",
    "command",
    "entrypoint",
    "env_file",
    "environment",
    "image",
    "init",
    "mem_limit",
    "ports",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "user",
    "volumes",
    "working_dir",
)
_ADVICE = {
    "build": "an image is built before the release, and brought along (app_docker_archive) or pulled",
    "container_name": "the slot names its container",
    "depends_on": "a slot is one container",
    "deploy": "the slot is one container; mem_limit limits its memory",
    "healthcheck": "the release itself proves the app (app_health_*)",
    "network_mode": "the container is in docker's own network, with its port published",
    "networks": "the container is in docker's own network, with its port published",
    "privileged": "a slot runs without such rights",
}


def container_of(launch: Launch, file: str, *, address: str) -> Container:
    """Return the container that ``file`` of the release describes.

    Args:
        launch: what is to run.
        file: path of the file in the release.
        address: where its port is published.

    Raises:
        BatonError: the file is missing or no YAML, PyYAML is missing, or a key is not known, or has a value that is not.
    """
    place = Place(file, "", (launch.release / file).parent, launch.own)
    name, service = _service(place, _loaded(launch, file))
    at = place.at("services").at(name)
    for key in service:
        if key not in KNOWN:
            fix = f"remove it: {_ADVICE[key]}" if key in _ADVICE else "remove it, or have the image do it"
            raise at.at(key).refused("a key that is not known here", f"only {', '.join(KNOWN)}", fix)
    for key in ("image", "ports"):
        if key not in service:
            raise at.at(key).refused("nothing", "the image and the port of the app")
    return Container(
        address=address,
        port=launch.port,
        **_values(at, service, launch, address),
    )


def _values(at: Place, service: typing.Mapping[str, object], launch: Launch, address: str) -> dict[str, typing.Any]:
    def value(key: str, read: typing.Callable[[Place, object], typing.Any], otherwise: object) -> typing.Any:
        return read(at.at(key), service[key]) if key in service else otherwise

    return {
        "image": value("image", Place.image, ""),
        "target": at.at("ports").published(service["ports"], launch.port, address),
        "command": value("command", Place.words, ()),
        "entrypoint": value("entrypoint", Place.words, ()),
        "environment": {**value("env_file", Place.env_files, {}), **value("environment", Place.environment, {})},
        "binds": value("volumes", Place.binds, ()),
        "tmpfs": value("tmpfs", Place.texts, ()),
        "user": value("user", Place.text, ""),
        "working_dir": value("working_dir", Place.text, ""),
        "read_only": value("read_only", Place.truth, False),
        "init": value("init", Place.truth, False),
        "cap_drop": value("cap_drop", Place.texts, ()),
        "security_opt": value("security_opt", Place.texts, ()),
        "memory": value("mem_limit", Place.memory, ""),
        "stop_seconds": value("stop_grace_period", Place.seconds, launch.stop_seconds),
        "restart": value("restart", Place.restart, "unless-stopped"),
    }


def _service(place: Place, loaded: object) -> tuple[str, typing.Mapping[str, object]]:
    if not isinstance(loaded, dict):
        raise place.refused("no dictionary at all", "services with one service")
    for key in loaded:
        # Compose itself reads no version any more, and leaves x- to the people who write them.
        if key not in ("services", "version") and not str(key).startswith("x-"):
            raise place.at(key).refused("a key that is not known here", "services, with one service")
    services = loaded.get("services")
    if not isinstance(services, dict) or len(services) != 1:
        count = len(services) if isinstance(services, dict) else 0
        fix = "leave the app in it alone: databases and the like are not released with it, and workers are slot_singletons"
        raise place.at("services").refused(f"{count} services", "one, because a slot is one container", fix)
    ((name, service),) = services.items()
    if not isinstance(service, dict):
        raise place.at("services").at(name).refused("no dictionary", "the keys of a service")
    return str(name), service


def _loaded(launch: Launch, file: str) -> object:
    try:
        import yaml  # noqa: PLC0415 - only this needs it, on hosts that may lack it
    except ImportError as error:
        raise BatonError(
            found=f"no Python package yaml for {sys.executable} ({error})",
            expected="PyYAML on the hosts that read a Compose file (app_docker_compose)",
            fix=f"install python3-yaml there, or PyYAML for that Python ({sys.executable} -m pip install pyyaml); nothing was touched",
        ) from error
    text = read_text(Path(launch.release / file))
    if text is None:
        raise BatonError(
            found=f"no {file} in {launch.version}",
            expected="the Compose file that app_docker_compose names, in the release",
            fix="have the build put it there, or correct app_docker_compose; nothing was touched",
        )
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise BatonError(
            found=f"{file}: no YAML{line} ({getattr(error, 'problem', None) or error})",
            expected="a Compose file",
            fix="correct it in the release; nothing was touched",
        ) from error
