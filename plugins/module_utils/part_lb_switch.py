# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What lb_switch does on a load balancer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.balancers import DRIVERS, balancer, stateful_balancer
from ansible_collections.baton.release.plugins.module_utils.door import CLOSED, DOORS, HELD, LONGEST_HOLD, Door
from ansible_collections.baton.release.plugins.module_utils.door_change import move_door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS, fenced
from ansible_collections.baton.release.plugins.module_utils.lookup_files import LookupFiles
from ansible_collections.baton.release.plugins.module_utils.part import Part
from ansible_collections.baton.release.plugins.module_utils.routing import WHOLE
from ansible_collections.baton.release.plugins.module_utils.seats import prepare_seats
from ansible_collections.baton.release.plugins.module_utils.server_change import WantedStates, put_states
from ansible_collections.baton.release.plugins.module_utils.server_states import MAINT, STATES
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, OUT, SLOTS
from ansible_collections.baton.release.plugins.module_utils.switch import Balancer, Wanted, observe, switch

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
A_DAY = 86400
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **FENCE_OPTIONS,
    "state": {
        "type": "str",
        "choices": ["live", "prepared", "fenced", "gathered", *DOORS, "servers"],
        "default": "live",
    },
    "driver": {"type": "str", "choices": sorted(DRIVERS), "default": "caddy"},
    "app_name": {"type": "str", "required": True},
    "slot": {"type": "str", "choices": [*SLOTS, MIXED]},
    "share": {"type": "int", "default": WHOLE},
    "seats": {"type": "dict", "default": {}},
    "expected": {"type": "str", "choices": [*SLOTS, MIXED, NOTHING_LIVE]},
    "min_up": {"type": "int", "default": 1},
    "wait": {"type": "float", "default": 15},
    "drain": {"type": "float", "default": 0},
    "hold_limit": {"type": "int", "default": 30},
    "retry_after": {"type": "int", "default": 60},
    "server_states": {"type": "dict", "default": {}},
    "reasons": {"type": "dict", "default": {}},
    "servers": {"type": "dict"},
    "admin": {"type": "str"},
    "target_groups": {"type": "dict", "options": {slot: {"type": "str"} for slot in SLOTS}},
    "preview": {"type": "dict", "required": True},
    "health_path": {"type": "str", "default": "/health/ready"},
}
REQUIRED_IF: list[tuple[str, str, list[str]]] = [
    ("state", "live", ["slot"]),
    ("state", "prepared", ["servers"]),
    ("state", "fenced", ["token"]),
    ("state", "servers", ["slot", "server_states"]),
]

WANTED = ("slot", "expected", "share", "seats", "min_up", "wait", "drain")


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Switch, fence or read, and return the module's result."""
    directory, token = params["state_dir"], params["token"]
    _refuse_bad(params)
    if params["state"] == "prepared":
        with fenced(directory, token, check_mode=check_mode):
            seated = prepare_seats(Path(directory), params["servers"], check_mode=check_mode)
            return {"changed": LookupFiles(Path(directory)).prepare_door(check_mode=check_mode) or seated}
    kept = {"state_dir": directory, "token": token, "check_mode": check_mode}
    if params["state"] == "servers":
        stateful = stateful_balancer(params)
        named = {name: params[name] for name in ("slot", "reasons", "health_path", "min_up", "wait", "drain")}
        result = put_states(stateful, WantedStates(states=params["server_states"], **named), **kept)
        return {**result, "told": stateful.warnings()}
    own = balancer(params)
    if params["state"] in DOORS:
        result = move_door(own, _door(params), drain=params["drain"], **kept)
        return {**result, "told": own.warnings()}
    if params["state"] == "gathered":
        return _seen(own, directory, params["expected"])
    if params["state"] == "fenced":
        with fenced(directory, token, check_mode=check_mode):
            return _seen(own, directory, params["expected"])
    wanted = Wanted(**{name: params[name] for name in WANTED})
    result = switch(own, wanted, **kept)
    return {**result, "told": own.warnings()}


def _seen(own: Balancer, directory: Path, expected: str | None) -> dict[str, Any]:
    """Return what there is, and refuse to begin with a plan that was made for something else."""
    seen = observe(own, directory)
    live = seen["live"]
    if expected not in (None, live):
        raise BatonError(
            found=f"{live} is live on this load balancer",
            expected=f"{expected}, as it was when the plan was made",
            fix="somebody else, or what was left of a run that died, has switched since; nothing was touched; run again to plan anew",
            live=live,
        )
    return {"changed": False, **seen}


def _door(params: dict[str, Any]) -> Door:
    """Return the door that is asked for; what does not matter for it is 0."""
    state = params["state"]
    return Door(
        state,
        hold_limit=params["hold_limit"] if state == HELD else 0,
        retry_after=params["retry_after"] if state in CLOSED else 0,
    )


def _refuse_bad(params: dict[str, Any]) -> None:
    if sorted(params["preview"]) != sorted(SLOTS) or min(params["min_up"], params["wait"], params["drain"]) < 0:
        raise BatonError(
            found=f"preview for {sorted(params['preview'])}, min_up {params['min_up']}, wait {params['wait']:g}, drain {params['drain']:g}",
            expected=f"a preview URL for each of {', '.join(SLOTS)}; min_up, wait and drain of at least 0",
            fix="correct traffic_preview, traffic_min_available, traffic_wait, or the seconds to drain",
        )
    if not 0 <= params["share"] <= WHOLE or (params["share"] != WHOLE and params["slot"] not in SLOTS):
        raise BatonError(
            found=f"a share of {params['share']} for slot {params['slot']}",
            expected=f"from 0 to {WHOLE} per cent, below {WHOLE} only for {' or '.join(SLOTS)}",
            fix="correct the option share",
        )
    wrong = {host: slot for host, slot in params["seats"].items() if slot not in (*SLOTS, OUT)}
    if wrong or (params["seats"] and params["slot"] != MIXED):
        raise BatonError(
            found=f"seats {params['seats']} for slot {params['slot']}",
            expected=f"for slot {MIXED} alone, and for each host one of {', '.join((*SLOTS, OUT))}",
            fix="correct the option seats",
        )
    if not 1 <= params["hold_limit"] <= LONGEST_HOLD or not 1 <= params["retry_after"] <= A_DAY:
        raise BatonError(
            found=f"hold_limit {params['hold_limit']}, retry_after {params['retry_after']}",
            expected=f"hold_limit from 1 to {LONGEST_HOLD}, retry_after from 1 to {A_DAY} seconds",
            fix="correct maintenance_hold_limit or maintenance_retry_after",
        )
    if params["state"] == "servers":
        _refuse_bad_states(params)
    unsafe = [host for host in params["servers"] or () if not HOST.fullmatch(host)]
    if unsafe:
        raise BatonError(
            found=f"the app hosts {unsafe}",
            expected="names of letters, digits and . _ -, because each names a file that the load balancer looks up",
            fix="name them so in the inventory, with their addresses in ansible_host",
        )


def _refuse_bad_states(params: dict[str, Any]) -> None:
    states = params["server_states"]
    if params["slot"] not in SLOTS or not states or any(state not in STATES for state in states.values()):
        raise BatonError(
            found=f"server_states {states} for slot {params['slot']}",
            expected=f"for one of {', '.join(SLOTS)}, and for at least one host one of {', '.join(STATES)}",
            fix="correct the options slot and server_states; nothing was changed",
        )
    reasons = params["reasons"]
    if any(states.get(host) != MAINT or not isinstance(why, str) or not why for host, why in reasons.items()):
        raise BatonError(
            found=f"reasons {reasons} for server_states {states}",
            expected=f"a text for hosts that are put into {MAINT}, and for no others",
            fix="correct the option reasons; nothing was changed",
        )


PART = Part(ARGUMENT_SPEC, run, required_if=REQUIRED_IF)
