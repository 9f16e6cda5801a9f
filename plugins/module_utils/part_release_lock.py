# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What release_lock does on the state host."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.baton.release.plugins.module_utils import lease
from ansible_collections.baton.release.plugins.module_utils.part import Part
from ansible_collections.baton.release.plugins.module_utils.rules import A_WEEK, FILE, refuse_unfit, whole

POLL_SECONDS = 0.5
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state_dir": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["held", "renewed", "released", "gathered"], "default": "held"},
    "token": {"type": "int", "no_log": False},
    "expected_token": {"type": "int", "no_log": False},
    "owner": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": "unspecified"},
    "ttl": {"type": "int", "default": 300},
    "wait": {"type": "int", "default": 0},
    "takeover_token": {"type": "int", "no_log": False},
    "newest_seen": {"type": "int", "default": 0},
    "controller": {"type": "dict", "default": {}},
}
REQUIRED_IF: list[tuple[str, str, list[str]]] = [("state", "renewed", ["token"]), ("state", "released", ["token"])]

RULES = {"state_dir": FILE, "ttl": whole(1, A_WEEK, " of seconds"), "wait": whole(0, A_WEEK, " of seconds")}


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Bring the lease to the wanted state and return the module's result."""
    directory, changed = params["state_dir"], False
    refuse_unfit(params, RULES)
    if params["state"] == "held":
        _acquire_within(params, check_mode=check_mode)
        changed = True
    elif params["state"] == "renewed" and not check_mode:
        lease.renew(directory, token=params["token"], ttl=params["ttl"])
        changed = True
    elif params["state"] == "released" and not check_mode:
        changed = lease.release(directory, token=params["token"])
    return {"changed": changed, "lease": lease.gather(directory)}


def _acquire_within(params: dict[str, Any], *, check_mode: bool) -> None:
    deadline = time.monotonic() + params["wait"]
    names = ("owner", "reason", "ttl", "controller", "expected_token", "takeover_token", "newest_seen")
    wanted = {name: params[name] for name in names}
    while not check_mode and lease.gather(params["state_dir"])["held"] and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    lease.acquire(params["state_dir"], **wanted, check_mode=check_mode)


PART = Part(ARGUMENT_SPEC, run, required_if=REQUIRED_IF)
