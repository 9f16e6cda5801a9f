# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How the actions of this collection run their modules on a host: all of them as parts of one, host_parts.

Ansible looks up and packs what a module imports anew in every run of a playbook, for each module that the run uses. With a module for each
step of a rollback that was a second and a half.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

__all__ = ["OnHost", "Result"]

Result = dict[str, Any]


class OnHost(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """An action whose work is done on the host."""

    _supports_check_mode = True

    def together(self, parts: dict[str, dict[str, Any]], task_vars: dict[str, Any] | None) -> Result:
        """Do several parts, and return the result of each by its name; or why none could be done, with ``failed``."""
        # A copy, because Ansible adds what it wants to tell the module.
        said: Result = self._execute_module(
            module_name="baton.release.host_parts", module_args={**parts}, task_vars=task_vars
        )
        return said

    def alone(self, part: str, options: dict[str, Any], task_vars: dict[str, Any] | None) -> Result:
        """Do one part, and return what it came to, as the module of its name would."""
        said = self.together({part: options}, task_vars)
        # Without the one and the other it is what the module itself would have returned.
        told, invocation = said.pop(part, {}), said.pop("invocation", {})
        shown = invocation.get("module_args", {}).get(part)
        return {**said, **told, **({"invocation": {"module_args": shown}} if shown else {})}


class OfOnePart(OnHost):
    """An action that is one part and needs nothing of the controller."""

    part: str

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Return what the part came to."""
        result: Result = super().run(tmp, task_vars)
        return {**result, **self.alone(self.part, self._task.args, task_vars)}
