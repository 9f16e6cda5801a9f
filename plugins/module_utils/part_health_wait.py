# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What health_wait does: it asks from where it runs."""

from __future__ import annotations

from typing import Any

from ansible_collections.baton.release.plugins.module_utils.health import Expectation, Policy
from ansible_collections.baton.release.plugins.module_utils.health_gate import health_gate
from ansible_collections.baton.release.plugins.module_utils.part import Part

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


PART = Part(ARGUMENT_SPEC, run)
