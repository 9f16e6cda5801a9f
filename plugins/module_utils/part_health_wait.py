# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What health_wait does: it asks from where it runs."""

from __future__ import annotations

from typing import Any

from ansible_collections.baton.release.plugins.module_utils.health import Expectation, Policy
from ansible_collections.baton.release.plugins.module_utils.health_gate import health_gate
from ansible_collections.baton.release.plugins.module_utils.part import Part

# The mask of a shorter header, say `X-Canary: 1`, would eat every 1 of the result.
SHORTEST_MASK = 8

ENDPOINT_OPTIONS = {
    "name": {"type": "str", "required": True},
    "url": {"type": "str"},
    "tcp": {"type": "str"},
    "headers": {"type": "dict", "no_log": True},
}
EXPECT_OPTIONS = {
    "status": {"type": "int", "default": 200},
    "version": {"type": "str"},
    "version_key": {"type": "str", "default": "version", "no_log": False},
}


ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": ENDPOINT_OPTIONS,
        "mutually_exclusive": [("url", "tcp")],
        "required_one_of": [("url", "tcp")],
    },
    "expect": {"type": "dict", "options": EXPECT_OPTIONS, "apply_defaults": True},
    "consecutive": {"type": "int", "default": 1},
    "min_healthy_seconds": {"type": "float", "default": 0},
    "deadline": {"type": "float", "default": 60},
    "interval": {"type": "float", "default": 0.5},
    "probe_timeout": {"type": "float", "default": 5},
    "max_body": {"type": "int", "default": 65536},
    "fail_on_unhealthy": {"type": "bool", "default": True},
}


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Wait, and return the module's result."""
    return health_gate(
        endpoints=params["endpoints"],
        expectation=Expectation(**params["expect"]),
        policy=Policy(**{name: params[name] for name in Policy._fields}),
        max_body=params["max_body"],
        fail_on_unhealthy=params["fail_on_unhealthy"],
        check_mode=check_mode,
    )


def secrets(params: dict[str, Any]) -> set[str]:
    """Return what must not be shown of the options: what is sent in headers."""
    headers = (value for one in params["endpoints"] for value in (one["headers"] or {}).values())
    return {value for value in map(str, headers) if len(value) >= SHORTEST_MASK}


PART = Part(ARGUMENT_SPEC, run, secrets=secrets)
