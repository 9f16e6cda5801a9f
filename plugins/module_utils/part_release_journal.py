# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What release_journal does on the state host."""

from __future__ import annotations

from typing import Any

from ansible_collections.baton.release.plugins.module_utils import journal, lease
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS, fenced
from ansible_collections.baton.release.plugins.module_utils.part import Part
from ansible_collections.baton.release.plugins.module_utils.rules import FILE, refuse_unfit, whole

TEXT = {"type": "str"}
RECORD: dict[str, dict[str, Any]] = {
    "action": {"type": "str", "choices": ["release", "rollback", "migrate"]},
    "version": TEXT,
    "from_version": TEXT,
    "slot": TEXT,
    "mode": TEXT,
    "outcome": {"type": "str", "choices": ["verified", "reverted", "abandoned", "failed", "unknown", "migrated"]},
    "detail": TEXT,
    "owner": TEXT,
    "reason": TEXT,
    "sha256": TEXT,
    "schema": {"type": "list", "elements": "str"},
    "applied": {"type": "list", "elements": "str"},
    "undone": {"type": "list", "elements": "str"},
    "contract": {"type": "list", "elements": "str"},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **FENCE_OPTIONS,
    "state": {"type": "str", "choices": ["present", "gathered"], "default": "gathered"},
    "event": {"type": "str", "choices": ["started", "finished"]},
    "record": {"type": "dict", "options": RECORD},
    "limit": {"type": "int", "default": 20},
}
REQUIRED_IF: list[tuple[str, str, list[str]]] = [("state", "present", ["event", "record", "token"])]

RULES = {"state_dir": FILE, "limit": whole(0, 1_000_000)}


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Append the event where wanted, and return the module's result."""
    refuse_unfit(params, RULES)
    directory, changed = params["state_dir"], False
    if params["state"] == "present":
        event = {"token": params["token"], "event": params["event"], **params["record"]}
        with fenced(directory, params["token"], check_mode=check_mode):
            changed = journal.append(directory, event, check_mode=check_mode)
    runs = journal.fold(journal.read(directory))
    verified = dict.fromkeys(one["version"] for one in runs if one["outcome"] == "verified" and one.get("version"))
    return {
        "changed": changed,
        "runs": runs[: params["limit"] or None],
        "verified": list(verified),
        "lease": lease.gather(directory),
    }


PART = Part(ARGUMENT_SPEC, run, required_if=REQUIRED_IF)
