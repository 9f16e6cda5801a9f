# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What app_slot does on an app host."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils import app_slots, migration_log, retirement
from ansible_collections.baton.release.plugins.module_utils.durations import seconds_of
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS, fenced, newest_token
from ansible_collections.baton.release.plugins.module_utils.part import Part
from ansible_collections.baton.release.plugins.module_utils.releases import Releases
from ansible_collections.baton.release.plugins.module_utils.rules import (
    ADDRESS,
    APP_NAME,
    BASE_URL_WITH_PATH,
    DURATION_OR_NOTHING,
    FILE,
    IMAGE_OR_NOTHING,
    INSIDE_OR_NOTHING,
    KEY_PATH,
    PORT,
    SECONDS,
    SOME_SECONDS,
    TAG,
    VALUE,
    refuse_unfit,
    whole,
)
from ansible_collections.baton.release.plugins.module_utils.runtimes import RUNTIMES, Runtime, runtime_of
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import singletons_of
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

STATES = [
    "present",
    "installed",
    "started",
    "stopped",
    "absent",
    "verified",
    "retired",
    "singletons_started",
    "singletons_stopped",
    "hot",
    "fenced",
    "gathered",
]
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **FENCE_OPTIONS,
    "state": {"type": "str", "choices": STATES, "default": "present"},
    "app_name": {"type": "str", "required": True},
    "app_root": {"type": "path", "required": True},
    "slot": {"type": "str", "choices": list(SLOTS)},
    "version": {"type": "str"},
    "artifact": {"type": "str"},
    "artifact_src": {"type": "path"},
    "sha256": {"type": "str"},
    "artifact_timeout": {"type": "float", "default": 30},
    "port": {"type": "int"},
    "instance": {"type": "str", "default": ""},
    "command": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "default": {}},
    "exclusive": {"type": "bool", "default": False},
    "singletons": {"type": "dict", "default": {}},
    "singletons_stay": {"type": "float", "default": 5},
    "start_timeout": {"type": "float", "default": 60},
    "stop_timeout": {"type": "int", "default": 30},
    "keep_releases": {"type": "int", "default": 5},
    "keep_hot": {"type": "str", "default": ""},
    "ask": {"type": "list", "elements": "str", "default": []},
    "version_key": {"type": "str", "default": "version", "no_log": False},
    "runtime": {"type": "str", "choices": list(RUNTIMES), "default": "supervisor"},
    "docker_image": {"type": "str", "default": ""},
    "docker_compose": {"type": "str", "default": ""},
    "docker_archive": {"type": "str", "default": ""},
    "docker_address": {"type": "str", "default": "127.0.0.1"},
    "supervisor_config": {"type": "path", "default": "/etc/supervisor/supervisord.conf"},
}
MUTUALLY_EXCLUSIVE = [("artifact", "artifact_src")]
REQUIRED_IF = [
    ("state", "fenced", ["token"]),
    ("state", "present", ["slot", "version", "sha256", "port", "command"]),
    ("state", "installed", ["version", "sha256"]),
    ("state", "started", ["slot", "version", "port", "command"]),
    ("state", "stopped", ["slot"]),
    ("state", "absent", ["slot"]),
    ("state", "verified", ["slot", "version"]),
    ("state", "retired", ["slot"]),
    ("state", "singletons_started", ["slot"]),
    ("state", "singletons_stopped", ["slot"]),
]

# What becomes a file name, or a line of a script or of a runtime's configuration.
RULES = {
    "app_name": APP_NAME,
    "app_root": FILE,
    "state_dir": FILE,
    "supervisor_config": FILE,
    "docker_image": IMAGE_OR_NOTHING,
    "docker_compose": INSIDE_OR_NOTHING,
    "docker_archive": INSIDE_OR_NOTHING,
    "docker_address": ADDRESS,
    "version": TAG,
    "port": PORT,
    "command": VALUE,
    "artifact_timeout": SOME_SECONDS,
    "singletons_stay": SECONDS,
    "start_timeout": SOME_SECONDS,
    "stop_timeout": whole(0, 86_400),
    "keep_releases": whole(0, 1000),
    "keep_hot": DURATION_OR_NOTHING,
    "ask": BASE_URL_WITH_PATH,
    "version_key": KEY_PATH,
}


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Bring the slot to the wanted state and return the module's result."""
    refuse_unfit(params, RULES)
    app_root, runtime = Path(params["app_root"]), runtime_of(params["runtime"], params)
    result: dict[str, Any] = {"changed": False}
    if params["state"] in ("fenced", "hot"):
        with fenced(params["state_dir"], params["token"], check_mode=check_mode):
            result = {"changed": _keep_hot(params, runtime, check_mode=check_mode)}
    elif params["state"] == "installed":
        with fenced(params["state_dir"], params["token"], check_mode=check_mode):
            result = {"changed": _install(Releases(app_root), params, check_mode=check_mode)}
    elif params["state"] != "gathered":
        with fenced(params["state_dir"], params["token"], check_mode=check_mode):
            result = _change(app_slots.Slot(_spec(params), runtime), params, check_mode=check_mode)
    gathered = app_slots.gather(params["app_name"], app_root, runtime)
    for slot, one in gathered["slots"].items():
        one.update(retirement.retires(Path(params["state_dir"]), slot, time.time()))
    return {
        **result,
        **gathered,
        "newest_token": newest_token(params["state_dir"]),
        "schema_changes": migration_log.changes(Path(params["state_dir"])),
    }


def _install(releases: Releases, params: dict[str, Any], *, check_mode: bool) -> bool:
    source, sha256, timeout = params["artifact"] or "", params["sha256"], params["artifact_timeout"]
    return releases.install(params["version"], source=source, sha256=sha256, timeout=timeout, check_mode=check_mode)


def _keep_hot(params: dict[str, Any], runtime: Runtime, *, check_mode: bool) -> bool:
    return retirement.cancel(params["app_name"], runtime, state_dir=Path(params["state_dir"]), check_mode=check_mode)


def _retire_later(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> bool:
    """Have the other slot retired after its time, if it runs."""
    idle, seconds = slot.beside(), seconds_of(params["keep_hot"])
    seen = idle.observe()
    if not seconds or not seen["current"]:
        return _keep_hot(params, slot.runtime, check_mode=check_mode)
    wanted = retirement.Retirement(
        app_name=params["app_name"],
        slot=idle.spec.slot,
        version=seen["version"],
        live_version=params["version"],
        seconds=seconds,
        unit=idle.unit,
        ask=params["ask"],
        version_key=params["version_key"],
    )
    kept = {"state_dir": Path(params["state_dir"]), "token": params["token"], "check_mode": check_mode}
    return retirement.arrange(wanted, slot.runtime, **kept)


def _retire(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> bool:
    """Stop the slot if its time is over."""
    left = retirement.retires(Path(params["state_dir"]), slot.spec.slot, time.time())["retires_in"]
    if left is None or left > 0:
        return False
    stopped = slot.stop(check_mode=check_mode)
    return _keep_hot(params, slot.runtime, check_mode=check_mode) or stopped


def _singletons(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> bool:
    wanted = singletons_of(params["singletons"])
    if params["state"] == "singletons_stopped":
        return slot.singletons.stop_others(slot.spec.slot, wanted, check_mode=check_mode)
    return slot.start_singletons(wanted, stay_seconds=params["singletons_stay"], check_mode=check_mode)


def _change(slot: app_slots.Slot, params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    state = params["state"]
    if state == "retired":
        return {"changed": _retire(slot, params, check_mode=check_mode)}
    if state != "verified":
        # Whatever happens to a slot now: what was to happen by itself was decided before, and no longer counts.
        _keep_hot(params, slot.runtime, check_mode=check_mode)
    if state == "present":
        installed = _install(slot.releases, params, check_mode=check_mode)
        return {"changed": slot.prepare(check_mode=check_mode) or installed}
    if state == "started":
        stopped = params["exclusive"] and slot.beside().stop(check_mode=check_mode)
        started = slot.start(check_mode=check_mode)
        kept = params["exclusive"] and slot.keep(check_mode=check_mode)
        return {"changed": started or stopped or kept}
    if state in ("singletons_started", "singletons_stopped"):
        return {"changed": _singletons(slot, params, check_mode=check_mode)}
    if state == "verified":
        # Whatever became of them on the way: this slot is the one that is live.
        alone = slot.singletons.stop_all_of(slot.beside().spec.slot, check_mode=check_mode)
        marked = slot.releases.verify(params["version"], check_mode=check_mode)
        removed = slot.prune(keep=params["keep_releases"], check_mode=check_mode)
        kept = slot.keep(check_mode=check_mode)
        later = _retire_later(slot, params, check_mode=check_mode)
        return {"changed": marked or kept or later or alone or bool(removed), "removed": removed}
    stopped = slot.stop(check_mode=check_mode)
    return {"changed": (slot.remove(check_mode=check_mode) or stopped) if state == "absent" else stopped}


def _spec(params: dict[str, Any]) -> app_slots.Spec:
    return app_slots.Spec(
        app_name=params["app_name"],
        app_root=Path(params["app_root"]),
        slot=params["slot"],
        port=params["port"] or 0,
        instance=params["instance"],
        version=params["version"] or "",
        command=tuple(params["command"] or ()),
        environment={name: str(value) for name, value in params["environment"].items()},
        stop_seconds=params["stop_timeout"],
        start_seconds=params["start_timeout"],
        published=params["docker_address"].strip("[]") if params["runtime"] == "docker" else "",
    )


PART = Part(ARGUMENT_SPEC, run, required_if=REQUIRED_IF, mutually_exclusive=MUTUALLY_EXCLUSIVE)
