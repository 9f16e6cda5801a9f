# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the settings of an app host must be for app_runtime docker, and what of them is for it alone."""

from __future__ import annotations

import ipaddress
import typing

from ansible_collections.baton.release.plugins.module_utils.settings_types import Complaint

__all__ = ["complaints_of_docker"]

Values = typing.Mapping[str, typing.Any]
_FOR = "for app_runtime docker"
_ITS_OWN = ("app_docker_image", "app_docker_compose", "app_docker_archive")


def complaints_of_docker(values: Values) -> typing.Iterator[Complaint]:
    """Yield what is wrong with settings that are sound by themselves."""
    runtime = values.get("app_runtime")
    if runtime == "docker":
        yield from _described(values)
        yield from _published(values)
        return
    said = f", for app_runtime {runtime}" if runtime else ""
    if "app_command" in values and not values["app_command"]:
        yield Complaint("app_command", "an empty list", f"at least one word{said}", "say what runs the app")
    for name in _ITS_OWN:
        if runtime and values.get(name):
            yield Complaint(name, f"a value{said}", "it only for docker", "remove it, or correct app_runtime")


def _described(values: Values) -> typing.Iterator[Complaint]:
    image, compose = values.get("app_docker_image", ""), values.get("app_docker_compose", "")
    if image and compose:
        expected = f"no value beside app_docker_compose, whose file names the image, {_FOR}"
        yield Complaint("app_docker_image", f"{image:.80}", expected, "remove one of the two")
    if not image and not compose and {"app_docker_image", "app_docker_compose"} & {*values}:
        expected = f"an image, or a Compose file of the release in app_docker_compose, {_FOR}"
        yield Complaint("app_docker_image", "nothing", expected, "set one of the two")
    if compose and values.get("app_command"):
        expected = "none beside app_docker_compose, whose file says it"
        yield Complaint("app_command", "a command", expected, "set app_command: []")


def _published(values: Values) -> typing.Iterator[Complaint]:
    address = str(values.get("app_docker_address", ""))
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        if "app_docker_address" in values:
            expected = "an IP address of the host, where docker publishes the port of the slot (by default app_address)"
            yield Complaint("app_docker_address", f"{address:.80}", expected, "set it")
