"""A run that would leave out a gate is refused, however it was started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.settings_run import Started, complaints_of_run, has_template

SETTINGS = ("release_version", "rollback_version", "app_environment", "plan_version")
OWN = ("plan_", "lock_")


@pytest.mark.parametrize(
    ("changed", "path", "found"),
    [
        ({"tags": ["watch", "verify"]}, "--tags", "watch,verify"),
        ({"skip_tags": ["always"]}, "--skip-tags", "always"),
        ({"start_at": "Switch"}, "--start-at-task", "Switch"),
        ({"step": True}, "--step", "a question"),
        ({"left_out": ["app2", "app3"]}, "--limit", "a run without app2, app3"),
        ({"extra": {"rollback_version": "v1"}}, "rollback_version", "given to a release"),
        ({"extra": {"release_version": "v1"}, "action": "rollback"}, "release_version", "given to a rollback"),
        (
            {"extra": {"release_version": "{{ lookup('pipe', 'id') }}"}},
            "release_version",
            "a template on the command line",
        ),
        ({"extra": {"app_environment": {"A": ["{% if x %}"]}}}, "app_environment", "a template on the command line"),
        ({"extra": {"plan_made": {}}}, "plan_made", "a name of the procedure's own"),
        ({"extra": {"lock_token": 9}}, "lock_token", "a name of the procedure's own"),
    ],
)  # fmt: skip - one row, one line
def test_what_is_wrong_is_said(changed: dict[str, Any], path: str, found: str) -> None:
    (complaint,) = complaints_of_run(replace(Started(), **changed), settings=SETTINGS, own=OWN)
    assert complaint.path == path
    assert found in complaint.found
    assert complaint.fix


@pytest.mark.parametrize(
    "started",
    [
        Started(),
        Started(extra={"release_version": "v1", "plan_version": "v1", "their_own": "{{ x }}"}),
        Started("rollback", extra={"rollback_version": "v1"}),
    ],
)
def test_a_whole_run_is_accepted(started: Started) -> None:
    assert complaints_of_run(started, settings=SETTINGS, own=OWN) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ x }}", True),
        ("a {# b", True),
        ({"{% x": 1}, True),
        ([["{{"]], True),
        ("{ x }", False),
        (5, False),
        ({"a": ["b"]}, False),
    ],
)
def test_what_would_be_evaluated_is_a_template(value: object, expected: bool) -> None:
    assert has_template(value) == expected
