"""What slot_singletons may say is judged before anything is touched, and no command of it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plugins.module_utils.settings_of_a_fleet import problems_of

NAME = "slot_singletons"
MAILER = {"command": ["bin/mailer", "--password=c4n4ry"]}


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        pytest.param({"Mailer": MAILER}, NAME, "the key 'Mailer'", id="a name that is no unit"),
        pytest.param({"a/b": MAILER}, NAME, "the key 'a/b'", id="a path"),
        pytest.param({"old-blue": MAILER}, NAME, "not blue or green", id="a name that ends as a slot does"),
        pytest.param({"a" * 31: MAILER}, NAME, "at most 30", id="a long name"),
        pytest.param({"mailer": None}, f"{NAME}.mailer", "give it a value", id="nothing"),
        pytest.param({"mailer": "bin/mailer"}, f"{NAME}.mailer", "a dictionary", id="text"),
        pytest.param({"mailer": {}}, f"{NAME}.mailer.command", "add it", id="no command"),
        pytest.param({"mailer": {"command": "bin/mailer"}}, f"{NAME}.mailer.command", "a list", id="a command line"),
        pytest.param({"mailer": {"command": []}}, f"{NAME}.mailer.command", "at least one word", id="no words"),
        pytest.param({"mailer": {"command": ["x", 5]}}, f"{NAME}.mailer.command[1]", "in quotes", id="a number"),
        pytest.param({"mailer": {"command": ["x\0"]}}, f"{NAME}.mailer.command[0]", "without NUL", id="a NUL"),
        pytest.param({"mailer": {**MAILER, "comand": 5}}, f"{NAME}.mailer", "unknown key 'comand'", id="a slip"),
        pytest.param({"mailer": {**MAILER, "host": "app9"}}, f"{NAME}.mailer.host", "the group app", id="a stranger"),
        pytest.param({"mailer": {**MAILER, "host": "lb1"}}, f"{NAME}.mailer.host", "the group app", id="no app host"),
        pytest.param({"mailer": {**MAILER, "host": ["app1"]}}, f"{NAME}.mailer.host", "text", id="two hosts"),
        pytest.param({"mailer": {**MAILER, "stop_seconds": -1}}, f"{NAME}.mailer.stop_seconds", "from 0", id="below 0"),
        pytest.param({"mailer": {**MAILER, "stop_seconds": 1.5}}, f"{NAME}.mailer.stop_seconds", "whole", id="a part"),
        pytest.param([], NAME, "a dictionary", id="a list"),
    ],
)  # fmt: skip - one row, one line
def test_what_cannot_run_is_said(given: Any, path: str, said: str) -> None:
    found = problems_of({NAME: given})
    assert said in found.get(path, ""), found
    assert "c4n4ry" not in str(found)


@pytest.mark.parametrize(
    ("more", "path", "said"),
    [
        pytest.param({"release_lock_ttl": 30}, NAME, "raise release_lock_ttl", id="an end that outlasts the lease"),
        pytest.param(
            {"slot_singletons_stay": 400, "release_lock_ttl": 300}, NAME, "release_lock_ttl", id="a long proof"
        ),
        pytest.param({"slot_singletons_stay": -1}, "slot_singletons_stay", "from 0", id="a proof below 0"),
        pytest.param(
            {
                "release_excluded_hosts": {"app2": "its disk is broken"},
                "traffic_driver": "haproxy",
                "traffic_admin": "/run/haproxy-master.sock",
                NAME: {"mailer": {**MAILER, "host": "app2"}},
            },
            f"{NAME}.mailer.host",
            "be sure that the old one is off",
            id="a host that is excluded",
        ),
    ],
)  # fmt: skip - one row, one line
def test_what_does_not_go_with_the_rest_is_said(more: dict[str, Any], path: str, said: str) -> None:
    found = problems_of({NAME: {"mailer": MAILER}, **more})
    assert said in found.get(path, ""), found
    assert "c4n4ry" not in str(found)


def test_what_can_run_is_accepted() -> None:
    given = {"mailer": {**MAILER, "host": "app2", "stop_seconds": 60}, "mail-worker_2": MAILER}
    docker = {"app_runtime": "docker", "app_docker_image": "x:{version}", "app_docker_address": "10.0.0.1"}
    for runtime in ({}, docker):
        assert problems_of({NAME: given, "release_lock_ttl": 300, **runtime}) == {}


def test_it_is_the_same_for_all_hosts_and_said_without_its_value() -> None:
    found = problems_of({NAME: {"mailer": MAILER}}, on=("app1",))
    assert "the same on every host" in found[NAME]
    assert "c4n4ry" not in found[NAME]
