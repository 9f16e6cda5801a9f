"""Whom release_excluded_hosts may name is judged before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plugins.module_utils.settings_of_a_fleet import problems_of

NAME = "release_excluded_hosts"
HAPROXY = {"traffic_driver": "haproxy", "traffic_admin": "/run/haproxy-master.sock"}
OUT = {**HAPROXY, NAME: {"app2": "its disk is broken"}}


@pytest.mark.parametrize(
    ("changed", "path", "said"),
    [
        pytest.param(
            {NAME: {"app9": "dead"}}, NAME, "the host 'app9', expected hosts of the group app", id="a stranger"
        ),
        pytest.param({NAME: {"app1": "dead", "app2": "dead"}}, NAME, "every app host", id="all of them"),
        pytest.param({NAME: {"app2": ""}}, f"{NAME}.app2", "say why the host is left out", id="no reason"),
        pytest.param({NAME: {"app2": "  "}}, f"{NAME}.app2", "say why", id="a reason of spaces"),
        pytest.param({NAME: {"app2": None}}, f"{NAME}.app2", "say why", id="nothing"),
        pytest.param({NAME: ["app2"]}, NAME, "", id="a list"),
        pytest.param(
            {"release_state_host": "app2"}, "release_state_host", "copy release_state_dir", id="the state host"
        ),
        pytest.param({"plan_migrator": "app2"}, "plan_migrator", "the group migrator", id="the migrator"),
        pytest.param({"traffic_min_available": 2}, "traffic_min_available", "at most the 1 app hosts", id="a floor"),
        pytest.param(
            {"traffic_driver": "caddy", "traffic_admin": "http://127.0.0.1:2019"},
            NAME,
            "for traffic_driver caddy",
            id="caddy",
        ),
        pytest.param(
            {"release_strategy": "rolling", "release_max_surge": 0, "release_max_unavailable": 1},
            "release_max_surge",
            "1 of 1 app hosts",
            id="a rolling update of what is left",
        ),
    ],
)  # fmt: skip - one row, one line
def test_what_cannot_be_excluded_is_said(changed: dict[str, Any], path: str, said: str) -> None:
    found = problems_of({**OUT, **changed})
    assert said in found.get(path, ""), found
    assert found


def test_a_host_with_a_reason_is_accepted() -> None:
    assert problems_of(OUT) == {}
    assert problems_of({**OUT, "plan_migrator": "app2", "database_migrate": False}) == {}
    assert problems_of({NAME: {}}) == {}


def test_it_is_the_same_for_all_hosts() -> None:
    assert NAME in problems_of(OUT, on=("app1",))
