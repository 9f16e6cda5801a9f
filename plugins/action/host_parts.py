# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The controller's part of host_parts: a host that does not answer is an answer too, which what comes later judges.

Ansible would end the run for all hosts, where errors are fatal to all, also if the task ignores that a host is unreachable.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.baton.release.plugins.modules.host_parts import ARGUMENT_SPEC
from ansible_collections.baton.release.plugins.plugin_utils.on_host import OnHost

__all__ = ["ActionModule"]


class ActionModule(OnHost):
    """Run the module, and return for each part why there is nothing where it could not run."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # A misspelt part is nobody's answer.
        _validation, given = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        wanted = {name: options for name, options in given.items() if options}
        if not wanted:
            return {**result, "skipped": True, "skip_reason": "this host has no part in it"}
        try:
            said = self.together(wanted, task_vars)
        except AnsibleConnectionFailure as error:
            said = {"unreachable": True, "msg": str(error)}
        except AnsibleError as error:
            # Without pipelining the module is copied first, for which a full disk has no room.
            said = {"failed": True, "msg": str(error)}
        if said.get("failed") or said.get("unreachable"):
            return {**result, "changed": False, **{name: {**said} for name in wanted}}
        return {**result, **said}

    def cleanup(self, force: bool = False) -> None:
        """Remove what was copied; what is left on a host that has died meanwhile stays there."""
        with contextlib.suppress(AnsibleConnectionFailure):
            super().cleanup(force)
