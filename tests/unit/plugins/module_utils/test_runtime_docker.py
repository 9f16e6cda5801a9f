"""What an engine says of a container, as the state of a slot; which images are pulled; and what the settings of a host must be."""

from __future__ import annotations

import calendar
import time
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.docker_images import registry_of
from ansible_collections.baton.release.plugins.module_utils.runtime_docker import state_of

from tests.unit.plugins.module_utils.settings_of_a_fleet import GROUPS, problems_of

STARTED = "2026-11-26T22:00:00.123456789Z"
NOW = calendar.timegm(time.strptime(STARTED[:19], "%Y-%m-%dT%H:%M:%S"))
DOCKER = {"app_runtime": "docker", "app_docker_image": "shop:{version}", "app_docker_address": "10.0.0.5"}


@pytest.mark.parametrize(
    ("state", "policy", "restarts", "age", "expected"),
    [
        ({"Status": "running", "Pid": 7}, "no", 0, 1, ("running", 7, "")),
        ({"Status": "running", "Pid": 7}, "unless-stopped", 3, 9, ("failing", 7, "(restarted 3 times)")),
        ({"Status": "running", "Pid": 7}, "unless-stopped", 3, 10, ("running", 7, "")),
        (
            {"Status": "restarting", "Pid": 0, "ExitCode": 1},
            "always",
            1,
            1,
            ("failing", None, "(exit status 1, restarted 1 time)"),
        ),
        ({"Status": "paused", "Pid": 7}, "no", 0, 1, ("failing", 7, "(paused)")),
        ({"Status": "created", "Pid": 0}, "no", 0, 1, ("absent", None, "")),
        ({"Status": "exited", "Pid": 0, "ExitCode": 0}, "no", 0, 1, ("absent", None, "")),
        ({"Status": "exited", "Pid": 0, "ExitCode": 3}, "", 0, 1, ("absent", None, "(exit status 3)")),
        ({"Status": "exited", "Pid": 0, "ExitCode": 0}, "always", 0, 1, ("stopped", None, "")),
        (
            {"Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": True},
            "no",
            0,
            1,
            ("absent", None, "(killed, because its memory ran out, exit status 137)"),
        ),
        (
            {"Status": "dead", "Pid": 0, "ExitCode": 1, "Error": "no room"},
            "no",
            0,
            1,
            ("absent", None, "(exit status 1, no room)"),
        ),
    ],
)  # fmt: skip - one row, one line
def test_the_state_of_a_container(
    state: dict[str, Any], policy: str, restarts: int, age: int, expected: tuple[str, int | None, str]
) -> None:
    seen = {
        "State": {"StartedAt": STARTED, **state},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
        "RestartCount": restarts,
    }
    found = state_of(seen, NOW + age)
    assert (found["state"], found["pid"], found["detail"]) == expected


def test_no_container_is_an_absent_slot() -> None:
    assert state_of(None, NOW)["state"] == "absent"


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("registry.example.com/shop:v1", "registry.example.com"),
        ("localhost/shop:v1", "localhost"),
        ("10.0.0.9:5000/a/shop:v1", "10.0.0.9:5000"),
        ("shop:v1.0.0", ""),
        ("our/shop:v1.0.0", ""),
    ],
)
def test_only_a_registry_that_is_named_is_asked(name: str, registry: str) -> None:
    assert registry_of(name) == registry


@pytest.mark.parametrize(
    "changed",
    [
        DOCKER,
        {**DOCKER, "app_command": []},
        {**DOCKER, "app_docker_image": f"registry.example.com/shop@sha256:{'a' * 64}"},
        {**DOCKER, "app_docker_image": "10.0.0.9:5000/our/shop:{version}-slim", "app_docker_archive": "image.tar"},
        {**DOCKER, "app_docker_image": "", "app_docker_compose": "docker-compose.{slot}.yml", "app_command": []},
        {**DOCKER, "app_docker_address": "[fd00::5]"},
    ],
)
def test_settings_for_docker_are_sound(changed: dict[str, Any]) -> None:
    assert problems_of(changed, on=("app1", "app2")) == {}
    # A load balancer has none of these addresses.
    assert problems_of({**changed, "app_docker_address": "lb1"}, on=("lb1",)) == {}


@pytest.mark.parametrize(
    ("changed", "path", "said"),
    [
        ({**DOCKER, "app_docker_image": ""}, "app_docker_image", "nothing, expected an image, or a Compose file"),
        (
            {**DOCKER, "app_docker_compose": "compose.yml", "app_command": []},
            "app_docker_image",
            "no value beside app_docker_compose",
        ),
        ({**DOCKER, "app_docker_image": "", "app_docker_compose": "c.yml"}, "app_command", "set app_command: []"),
        (
            {**DOCKER, "app_docker_address": "app1.example.com"},
            "app_docker_address",
            "expected an IP address of the host",
        ),
        ({**DOCKER, "app_docker_image": "shop:latest"}, "app_docker_image", "with {version} in its tag"),
        ({**DOCKER, "app_docker_image": "shop:v1"}, "app_docker_image", "with {version} in its tag"),
        ({**DOCKER, "app_docker_image": "shop{version}:v1"}, "app_docker_image", "with {version} in its tag"),
        (
            {**DOCKER, "app_docker_image": "shop:{version} --privileged"},
            "app_docker_image",
            "with {version} in its tag",
        ),
        ({**DOCKER, "app_docker_archive": "/srv/image.tar"}, "app_docker_archive", "a path inside of the release"),
        ({**DOCKER, "app_docker_compose": "../compose.yml"}, "app_docker_compose", "a path inside of the release"),
        ({"app_runtime": "systemd", "app_docker_image": "shop:{version}"}, "app_docker_image", "it only for docker"),
        ({"app_runtime": "supervisor", "app_docker_archive": "image.tar"}, "app_docker_archive", "it only for docker"),
        ({"app_runtime": "systemd", "app_command": []}, "app_command", "at least one word, for app_runtime systemd"),
        ({"app_runtime": "podman"}, "app_runtime", "one of docker, supervisor, systemd"),
    ],
)
def test_settings_that_do_not_go_with_the_runtime_are_refused(changed: dict[str, Any], path: str, said: str) -> None:
    found = problems_of(changed, on=tuple(GROUPS["app"]))
    assert said in found.pop(path)
    assert found == {}
