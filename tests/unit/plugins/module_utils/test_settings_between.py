"""Settings that are sound each by itself are judged together, too: on one host, between hosts, and with the groups."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plugins.module_utils.settings_of_a_fleet import GROUPS, problems_of, settings

ROLLING = {"release_strategy": "rolling"}

# What is changed, on which hosts, which groups there are, where the problem is said to be, and words of what is said.
LISTENER = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2"
ALB = {
    "traffic_driver": "aws_alb",
    "traffic_admin": LISTENER,
    "traffic_target_groups": {"blue": "shop-blue", "green": "shop-green"},
    "watch_seconds": 0,
}
TOGETHER: list[tuple[str, dict[str, Any], tuple[str, ...], dict[str, list[str]], str, str]] = [
    ("no app hosts", {}, (), {**GROUPS, "app": []}, "group app", "no hosts, expected at least one host"),
    ("no load balancers", {}, (), {"app": ["app1"]}, "group lb", "the load balancers; to do: correct the inventory"),
    ("a host that is a path", {}, ("../x",), {**GROUPS, "app": ["app1", "../x"]}, "inventory", "rename the host"),
    (
        "the state elsewhere",
        {"release_state_host": "db1"},
        ("app1", "app2", "lb1"),
        GROUPS,
        "release_state_host",
        "'db1'",
    ),
    (
        "a migrator elsewhere",
        {"plan_migrator": "lb1"},
        ("app1", "app2", "lb1"),
        GROUPS,
        "plan_migrator",
        "group migrator",
    ),
    (
        "an option of another tool",
        {"database_driver": "django", "database_knex_file": "knexfile.js"},
        ("app1", "app2", "lb1"),
        GROUPS,
        "database_knex_file",
        "a value, for database_driver django, expected it only for knex",
    ),
    (
        "no commands",
        {"database_driver": "command", "database_commands": {"status": ["npm", "run", "migrate:status"]}},
        ("app1", "app2", "lb1"),
        GROUPS,
        "database_commands.up",
        "a command of the app, for database_driver command",
    ),
    (
        "overlapping slots",
        {"app_slots": {"blue": {"port": 8001}, "green": {"port": 8001}}},
        ("app2",),
        GROUPS,
        "app_slots.green.port",
        "app_slots.blue.port of app2 has the same",
    ),
    (
        "one address for two hosts",
        {"app_address": "10.0.0.1"},
        ("app1", "app2"),
        GROUPS,
        "app_slots.blue.port",
        "app_slots.blue.port of app1 has the same",
    ),
    (
        "one machine under two names",
        {"ansible_host": "10.0.0.1", "app_root": "/srv/shop"},
        ("app1", "app2"),
        GROUPS,
        "app_root",
        "app1 is the same machine",
    ),
    (
        "in both groups, one port",
        {"app_slots": {"blue": {"port": 8081}, "green": {"port": 8002}}},
        ("app1",),
        {**GROUPS, "lb": ["lb1", "app1"]},
        "app_slots.blue.port",
        "app1 is in both groups, app and lb",
    ),
    (
        "listeners on one port",
        {"traffic_preview": {"blue": "http://127.0.0.1:2019", "green": "http://127.0.0.1:1"}},
        ("app1", "app2", "lb1"),
        GROUPS,
        "traffic_admin",
        "its own port",
    ),
    (
        "a deadline that none can meet",
        {"app_health_min_seconds": 60, "app_health_consecutive": 1, "app_health_interval": 1},
        ("app1", "app2", "lb1"),
        GROUPS,
        "app_health_deadline",
        "more than the 60 s",
    ),
    (
        "a proof that none can give",
        {"verify_consecutive": 1000, "verify_deadline": 10},
        ("lb1",),
        GROUPS,
        "verify_deadline",
        "that verify_consecutive needs",
    ),
    (
        "too many slices",
        {"watch_seconds": 604800, "watch_slice_seconds": 1},
        ("lb1",),
        GROUPS,
        "watch_slice_seconds",
        "at most 10,000 slices",
    ),
    (
        "nothing may move",
        {**ROLLING, "release_max_surge": 0, "release_max_unavailable": 0},
        ("app1", "app2", "lb1"),
        GROUPS,
        "release_max_surge",
        "to do: ",
    ),
    (
        "a URL where a socket is needed",
        {"traffic_driver": "haproxy"},
        ("lb1",),
        GROUPS,
        "traffic_admin",
        "the path of HAProxy's socket",
    ),
    (
        "a socket where a URL is needed",
        {"traffic_driver": "caddy", "traffic_admin": "/run/haproxy-master.sock"},
        ("lb1",),
        GROUPS,
        "traffic_admin",
        "the URL of Caddy's admin endpoint",
    ),
    (
        "a socket where nginx's URL is needed",
        {"traffic_driver": "nginx", "traffic_admin": "/run/haproxy-master.sock"},
        ("lb1",),
        GROUPS,
        "traffic_admin",
        "the URL of nginx's listener",
    ),
    (
        "a listener of AWS where nginx's URL is needed",
        {"traffic_driver": "nginx", "traffic_admin": LISTENER},
        ("lb1",),
        GROUPS,
        "traffic_admin",
        "the URL of nginx's listener",
    ),
    (
        "a URL where a listener of AWS is needed",
        {**ALB, "traffic_admin": "http://127.0.0.1:2019"},
        ("lb1",),
        GROUPS,
        "traffic_admin",
        "the ARN of a listener or a listener rule",
    ),
    (
        "no target group",
        {**ALB, "traffic_target_groups": {"blue": "shop-blue", "green": ""}},
        ("lb1",),
        GROUPS,
        "traffic_target_groups.green",
        "nothing, expected the name or ARN of a target group, for traffic_driver aws_alb",
    ),
    (
        "one target group for both",
        {**ALB, "traffic_target_groups": {"blue": "shop", "green": "shop"}},
        ("lb1",),
        GROUPS,
        "traffic_target_groups",
        "shop for both slots",
    ),
    (
        "target groups of another driver",
        {"traffic_driver": "caddy", "traffic_target_groups": ALB["traffic_target_groups"]},
        ("lb1",),
        GROUPS,
        "traffic_target_groups.blue",
        "it only for aws_alb",
    ),
    (
        "a rolling update without seats",
        {**ALB, **ROLLING},
        ("lb1",),
        GROUPS,
        "release_strategy",
        "which has no seats",
    ),
    (
        "a watch of what cannot be read",
        {**ALB, "watch_seconds": 900},
        ("lb1",),
        GROUPS,
        "watch_seconds",
        "found 900, expected 0 for traffic_driver aws_alb",
    ),
    (
        "steps that cannot be watched",
        {**ALB, "traffic_steps": [5]},
        ("lb1",),
        GROUPS,
        "traffic_steps",
        "none for traffic_driver aws_alb",
    ),
    (
        "steps that do not grow",
        {"traffic_steps": [25, 5]},
        ("lb1",),
        GROUPS,
        "traffic_steps",
        "found [25, 5], expected per cents of which",
    ),
    ("a step twice", {"traffic_steps": [5, 25, 25]}, ("lb1",), GROUPS, "traffic_steps", "larger than the one before"),
    (
        "steps of a rolling update",
        {**ROLLING, "traffic_steps": [5]},
        ("lb1",),
        GROUPS,
        "traffic_steps",
        "none with release_strategy rolling",
    ),
    (
        "steps without a gate",
        {"traffic_steps": [5], "watch_step_seconds": 0},
        ("lb1",),
        GROUPS,
        "watch_step_seconds",
        "the gate between",
    ),
    (
        "steps without any watch",
        {"traffic_steps": [5], "watch_seconds": 0},
        ("lb1",),
        GROUPS,
        "watch_seconds",
        "the gate between",
    ),
    (
        "too many slices of a step",
        {"watch_step_seconds": 604800, "watch_slice_seconds": 1},
        ("lb1",),
        GROUPS,
        "watch_slice_seconds",
        "10,000 slices of watch_step_seconds",
    ),
    ("no file of secrets", {"secrets_store": "file", "secrets_path": ""}, ("app1",), GROUPS, "secrets_path", "set it"),
]  # fmt: skip - one row, one line


@pytest.mark.parametrize(
    ("changed", "on", "groups", "path", "said"), [row[1:] for row in TOGETHER], ids=[row[0] for row in TOGETHER]
)
def test_what_does_not_go_together_is_said(
    changed: dict[str, Any], on: tuple[str, ...], groups: dict[str, list[str]], path: str, said: str
) -> None:
    found = problems_of(changed, on=on, groups=groups)
    assert said in found.get(path, ""), found


@pytest.mark.parametrize(
    ("changed", "on", "groups"),
    [
        pytest.param({"app_address": "10.0.0.1"}, ("app1",), GROUPS, id="addresses apart"),
        pytest.param(
            {"plan_migrator": "x", "database_migrate": False}, ("app1", "app2", "lb1"), GROUPS, id="no migration"
        ),
        pytest.param({}, (), {**GROUPS, "lb": ["lb1", "app1"]}, id="in both groups, ports apart"),
        pytest.param({**ROLLING, "release_max_surge": "50%"}, ("app1", "app2", "lb1"), GROUPS, id="half of them"),
        pytest.param({"release_max_surge": 0, "release_max_unavailable": 0}, ("app1",), GROUPS, id="not rolling"),
        pytest.param(
            {"traffic_steps": [1, 99], "watch_step_seconds": 1}, tuple(settings()), GROUPS, id="steps that grow"
        ),
        pytest.param(
            {"traffic_driver": "nginx", "traffic_admin": "http://127.0.0.1:8083", "traffic_steps": [5]},
            tuple(settings()),
            GROUPS,
            id="steps with nginx",
        ),
        pytest.param({"traffic_steps": [], "watch_step_seconds": 0}, ("lb1",), GROUPS, id="no steps, no gate"),
        pytest.param({"ansible_connection": "local"}, ("app1",), GROUPS, id="one of them is this machine"),
        pytest.param({"app_slots": None}, ("lb1",), GROUPS, id="slots where no app runs"),
    ],
)
def test_what_does_go_together_is_accepted(
    changed: dict[str, Any], on: tuple[str, ...], groups: dict[str, list[str]]
) -> None:
    assert problems_of(changed, on=on, groups=groups) == {}


def test_what_is_wrong_by_itself_is_said_once() -> None:
    found = problems_of({"app_slots": {"blue": {"port": 0}, "green": {"port": 0}}}, on=("app1",))
    assert set(found) == {"app_slots.blue.port", "app_slots.green.port"}
    assert all("from 1 to 65535" in text and "has the same" not in text for text in found.values())


def test_an_application_load_balancer_of_aws_is_accepted() -> None:
    assert problems_of(ALB) == {}
    rule = f"{LISTENER.replace(':listener/', ':listener-rule/')}/9683b2d02a6cabee"
    arns = {
        slot: f"{LISTENER.split(':listener', maxsplit=1)[0]}:targetgroup/shop-{slot}/73e2d6bc24d8a067"
        for slot in ("blue", "green")
    }
    assert problems_of({**ALB, "traffic_admin": rule, "traffic_target_groups": arns}) == {}


def test_the_ports_of_aws_are_not_those_of_the_host_that_asks_it() -> None:
    one = {**ALB, "app_slots": {"blue": {"port": 8081}, "green": {"port": 8002}}}
    assert problems_of(one, on=("app1",), groups={**GROUPS, "lb": ["lb1", "app1"]}) == {}
