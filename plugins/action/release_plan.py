# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The plan is made on the controller, from what the hosts said: no host is asked here."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible_collections.baton.release.plugins.module_utils.answers import observed_from
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan
from ansible_collections.baton.release.plugins.module_utils.plan_migrate import MIGRATE_ACTIONS, plan_migrate
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_singletons import with_singletons
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.plan_undo import Undoable, plan_undo, undoing
from ansible_collections.baton.release.plugins.module_utils.rollout import STRATEGIES, Rollout

__all__ = ["ActionModule"]

ARGUMENT_SPEC = {
    "action": {"type": "str", "choices": ["release", "rollback", "migrate"], "default": "release"},
    "app_name": {"type": "str", "required": True},
    "version": {"type": "str", "default": ""},
    "strategy": {"type": "str", "choices": list(STRATEGIES), "default": "blue_green"},
    "max_surge": {"type": "str", "default": "1"},
    "max_unavailable": {"type": "str", "default": "0"},
    "traffic_steps": {"type": "list", "elements": "int", "default": []},
    "migrator": {"type": "str", "default": ""},
    "state_host": {"type": "str", "required": True},
    "play_hosts": {"type": "list", "elements": "str", "required": True},
    "balancers": {"type": "dict", "required": True},
    "hosts": {"type": "dict", "required": True},
    "journal": {"type": "dict", "required": True},
    "excluded": {"type": "dict", "default": {}},
    "manifest_dir": {"type": "path"},
    "sha256": {"type": "str", "default": ""},
    "over_unverified": {"type": "bool", "default": False},
    "past_contract": {"type": "bool", "default": False},
    "migrate_action": {"type": "str", "choices": list(MIGRATE_ACTIONS), "default": "status"},
    "revision": {"type": "str", "default": ""},
    "database": {"type": "bool", "default": False},
    "schema": {"type": "dict", "default": {}},
    "singletons": {"type": "dict", "default": {}},
    "keep_hot": {"type": "str", "default": ""},
    "step_notes": {"type": "dict", "default": {}},
}
# Of a dry run too: they say what they would do, and a rehearsal changes nothing.
DRY = ("migrate", "read", "rehearse", "undo", "undo_first", "undo_last")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Make the plan, or refuse with the reason."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return ``plan`` and its ``text``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        try:
            _refuse_steps(bool(context.CLIARGS.get("step")))
            plan = replace(make(arguments), keep_hot=arguments["keep_hot"])
        except BatonError as error:
            return {**result, "failed": True, **error.as_result()}
        text = describe(plan, app_name=arguments["app_name"], step_notes=arguments["step_notes"])
        decided = plan.as_result()
        run = [] if self._task.check_mode or not plan.changes else decided["steps"]
        parts = plan.parts(state_host=arguments["state_host"])
        if self._task.check_mode:
            parts = {host: [step for step in steps if step in DRY] for host, steps in parts.items()}
        return {**result, "changed": False, "plan": decided, "run": run, "parts": parts, "text": "\n".join(text)}


def make(arguments: dict[str, Any]) -> Plan:
    """Validate what the operator gave and decide.

    Raises:
        BatonError: the input is no good, or there is a reason not to go on.
    """
    version = arguments["version"]
    excluded = {str(host): str(why) for host, why in arguments["excluded"].items()}
    observed = observed_from(arguments["balancers"], arguments["hosts"], arguments["journal"], excluded)
    if version or arguments["action"] == "release":
        _refuse_bad_version(version)
    if not observed.hosts or not observed.balancers:
        raise BatonError(
            found=f"{len(observed.balancers)} load balancers and {len(observed.hosts)} app hosts in the inventory",
            expected="at least one host in each of the groups lb and app",
            fix="correct the inventory",
        )
    _refuse_part(arguments)
    _refuse_bad_sha256(str(arguments["sha256"]))
    rollout = Rollout(*(arguments[name] for name in ("strategy", "max_surge", "max_unavailable", "traffic_steps")))
    if arguments["action"] == "migrate":
        return plan_migrate(
            observed,
            what=arguments["migrate_action"],
            migrator=arguments["migrator"],
            version=version,
            revision=arguments["revision"],
            sha256=_sha256_of(arguments, version),
        )
    if arguments["action"] == "rollback":
        return with_singletons(_rollback(observed, arguments, rollout), observed, arguments["singletons"])
    plan = plan_release(
        observed,
        version=version,
        sha256=_sha256_of(arguments, version),
        migrator=arguments["migrator"],
        over_unverified=arguments["over_unverified"],
        rollout=rollout,
    )
    return with_singletons(plan, observed, arguments["singletons"])


def _rollback(observed: Observed, arguments: dict[str, Any], rollout: Rollout) -> Plan:
    past_contract, database, schema = (arguments[name] for name in ("past_contract", "database", "schema"))
    # With the database, whether a contract migration is in the way is decided when the schema was read.
    plan = plan_rollback(
        observed,
        version=arguments["version"],
        # Which version it is, is known only when it is planned.
        sha256_of=functools.partial(_sha256_of, arguments),
        past_contract=past_contract or database,
        rollout=rollout,
    )
    if not database:
        return plan
    plan = undoing(plan, observed, arguments["migrator"])
    if not schema:
        return plan
    return plan_undo(
        plan, observed, Undoable(schema["keep"], schema["undone"], schema["missing"]), past_contract=past_contract
    )


def _refuse_steps(asked: bool) -> None:
    """Refuse --step here as well: whoever runs so can leave out the task that judges the settings, but not the plan."""
    if asked:
        raise BatonError(
            found="--step, which asks before each task",
            expected="the whole procedure, because each of its steps is a gate for the next one",
            fix="run without --step; --check shows what would happen; nothing was touched",
        )


def _refuse_part(arguments: dict[str, Any]) -> None:
    wanted = {*arguments["balancers"], *arguments["hosts"], arguments["state_host"]}
    missing = sorted(wanted - set(arguments["play_hosts"]))
    if missing:
        raise BatonError(
            found=f"{', '.join(missing)} not in this run",
            expected="all hosts of the groups app and lb, with the state host among them, because traffic moves for all of them at once",
            fix="run without --limit, or correct release_state_host; nothing was touched",
        )


def _refuse_bad_version(version: str) -> None:
    if not VERSION.fullmatch(version) or version == "latest":
        raise BatonError(
            found=f"the version {version!r}",
            expected="the name of a tag, such as v1.2.0: letters, digits and . _ + -, at most 64 of them, and never latest",
            fix="give it as -e release_version=v1.2.0",
        )


def _refuse_bad_sha256(given: str) -> None:
    if given and not SHA256.fullmatch(given):
        raise BatonError(
            found=f"release_sha256 {given!r}",
            expected="64 hexadecimal digits",
            fix="copy it from the build's manifest, or leave it out where app_artifact_dir holds the manifest",
        )


def _sha256_of(arguments: dict[str, Any], version: str) -> str:
    """Return the SHA-256 of a version's artifact: what the operator gave, else what the build's manifest says, else ""."""
    given = str(arguments["sha256"])
    path = Path(arguments["manifest_dir"] or ".") / f"{arguments['app_name']}-{version}.json"
    if given or not arguments["manifest_dir"] or not path.is_file():
        return given
    try:
        sha256 = str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BatonError(
            found=f"{path} cannot be read as a build's manifest: {error}",
            expected="the JSON object that build.yml writes, with sha256",
            fix="build the version again",
        ) from error
    return sha256
