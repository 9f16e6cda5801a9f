# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""All settings of all hosts are judged on the controller, in one task: no host is asked, and no process is started for any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.settings import (
    Inventory,
    Problem,
    problems_in,
    refuse,
)
from ansible_collections.baton.release.plugins.module_utils.settings_run import Started, complaints_of_run, has_template
from ansible_collections.baton.release.plugins.module_utils.settings_types import Unresolved, masked

__all__ = ["ActionModule"]

ARGUMENT_SPEC = {
    "action": {"type": "str", "choices": ["release", "rollback", "migrate"], "default": "release"},
    "roles": {"type": "list", "elements": "str", "required": True},
}
ROLES = Path(__file__).resolve().parents[2] / "roles"
CONNECTION = ("ansible_connection", "ansible_host", "ansible_port")
# What a playbook gives to the plan under another name.
GIVEN_AS = {
    "rollback_version": "plan_version",
    "rollback_past_contract": "plan_past_contract",
    "rollback_database": "plan_database",
    "migrate_action": "plan_migrate_action",
    "migrate_version": "plan_version",
    "migrate_revision": "plan_revision",
}
# The roles that keep notes of the run in variables; given from outside, these would overrule what the run finds.
OWN = ("plan_", "lock_", "conclude_", "revert_", "stage_", "migrate_", "maintenance_", "blue_green_", "singletons_")
SHOWN_REASON = 160


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Judge the settings, or refuse with all that is wrong."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return how many settings of how many hosts were judged."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        variables: dict[str, Any] = task_vars or {}
        specs, others = specs_of(ROLES, arguments["roles"])
        groups = {name: [str(host) for host in hosts] for name, hosts in variables["groups"].items()}
        hosts = list(dict.fromkeys([*groups.get("lb", ()), *groups.get("app", ())]))
        try:
            # First and alone: to resolve any setting would evaluate a template that came with the command line.
            started = self._started(arguments["action"], hosts, variables)
            wrong = complaints_of_run(started, settings={*specs, *others}, own=OWN)
            refuse([Problem(one, ()) for one in wrong], hosts)
            raw = {host: self._variables_of(host, variables) for host in hosts}
            inventory = Inventory(
                groups=groups,
                settings={host: self._resolved(one, specs) for host, one in raw.items()},
                names={host: [name for name in one if not name.startswith("ansible_")] for host, one in raw.items()},
                where=where,
                written=written,
            )
            refuse(problems_in(inventory, specs, others=others), hosts)
        except BatonError as error:
            return {**result, "failed": True, **error.as_result()}
        return {**result, "changed": False, "hosts": len(hosts), "settings": len(specs)}

    def _started(self, action: str, hosts: list[str], variables: dict[str, Any]) -> Started:
        playing = set(variables.get("ansible_play_hosts_all", hosts))
        options = context.CLIARGS
        return Started(
            action=action,
            tags=[str(tag) for tag in variables.get("ansible_run_tags", ["all"])],
            skip_tags=[str(tag) for tag in variables.get("ansible_skip_tags", [])],
            start_at=str(options.get("start_at_task") or ""),
            step=bool(options.get("step")),
            left_out=[host for host in hosts if host not in playing],
            extra=variables["hostvars"]._variable_manager.extra_vars,
        )

    def _variables_of(self, host: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the variables of ``host`` as this very task would see them there, templates unresolved.

        hostvars lacks the defaults of roles and the variables of the play. The variable manager behind it is what Ansible itself
        asks, once for each host and task; a task without run_once would ask it as often, and start a process for each host.
        """
        hostvars = variables["hostvars"]
        found: dict[str, Any] = hostvars._variable_manager.get_vars(
            play=self._task.get_play(), host=hostvars._inventory.get_host(host), task=self._task
        )
        return found

    def _resolved(self, variables: dict[str, Any], specs: Mapping[str, Any]) -> dict[str, Any]:
        templar = self._templar.copy_with_new_env(available_variables=variables)
        # With the keys as the inventory has them: they too know where they were written.
        names = {*specs, *CONNECTION}
        found = {name: resolve(value, templar) for name, value in variables.items() if name in names}
        # Where the playbooks hand a setting on to the plan, what is wrong with it is said once, with the name that was given.
        return {
            name: value
            for name, value in found.items()
            if name not in GIVEN_AS.values() or not has_template(variables[name])
        }


def specs_of(roles: Path, judged: list[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Return the options of the ``judged`` roles, and the names of the options of all others."""
    specs: dict[str, dict[str, Any]] = {}
    others: set[str] = set()
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        entry_points = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"]
        role = path.parents[1].name
        for name, entry_point in entry_points.items():
            options = entry_point.get("options") or {}
            if role in judged and name in ("main", "settings"):
                specs.update(options)
            else:
                others.update(options)
    specs.update({given: specs[name] for given, name in GIVEN_AS.items() if name in specs})
    return specs, others


def resolve(value: Any, templar: Any) -> Any:
    """Return ``value`` with its templates evaluated; Unresolved, with the reason, where they cannot be."""
    if not has_template(value):
        return value
    try:
        return templar.template(value)
    except (AnsibleError, RecursionError) as error:
        reason = masked(" ".join(str(error).split()))
        return Unresolved(reason[:SHOWN_REASON])


def where(value: object) -> str:
    """Return where ``value`` was written (``file:line``), "" where Ansible does not say."""
    origin = origin_of(value)
    if not origin:
        return ""
    path, line = getattr(origin, "path", None), getattr(origin, "line_num", None)
    if not path:
        return str(getattr(origin, "description", "") or "").strip("<>")
    return f"{path}:{line}" if line else str(path)


def written(value: object) -> str:
    """Return the word that stands where ``value`` comes from, as it was written; "" where that is not known."""
    origin = origin_of(value)
    path, line, column = (getattr(origin, name, None) for name in ("path", "line_num", "col_num"))
    if not (path and line and column):
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8").splitlines()[line - 1][column - 1 :]
    except (OSError, ValueError, IndexError):
        return ""
    found = re.match(r"[^\s,#\]}]+", text)
    return found[0] if found else ""


def origin_of(value: object) -> object:
    """Return the tag by which Ansible remembers where ``value`` was written, None where it has none."""
    tags = getattr(value, "_ansible_tags_mapping", None) or {}
    return next((tag for tag in tags.values() if hasattr(tag, "line_num")), None)
