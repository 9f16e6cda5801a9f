# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The controller's part of secret_fetch: reads the store here and hands the values to the module, shown nowhere."""

from __future__ import annotations

import typing

from ansible.plugins.action import ActionBase
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.secret_stores import fetch
from ansible_collections.baton.release.plugins.modules.secret_fetch import ARGUMENT_SPEC, CONSTRAINTS

MODULE = "baton.release.secret_fetch"


class Sealed(dict[str, str]):
    """Values that travel to the module but do not show in Ansible's debug output, which prints all options."""

    def __repr__(self) -> str:
        """Return the names alone."""
        return f"<sealed: {', '.join(sorted(self))}>"


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no types
    """Runs before the module, on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, typing.Any] | None = None) -> dict[str, typing.Any]:
        """Return the module's result, or why the store did not give all secrets."""
        result: dict[str, typing.Any] = super().run(tmp, task_vars)
        del tmp
        try:
            arguments = self._arguments()
        except BatonError as error:
            return {**result, "failed": True, "changed": False, **error.as_result()}
        return {**result, **self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)}

    def _arguments(self) -> dict[str, typing.Any]:
        """Return the options for the module: those of the task and, unless it reads the store itself, the values."""
        # Only checked here: expanding a path, for example, is left to the host it belongs to.
        _validation, checked = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC, **CONSTRAINTS)
        if checked["values"] is not None:
            raise BatonError(
                found="the option values in a task",
                expected="secrets that come from a store",
                fix="remove values, and name the secrets and their keys in secrets",
            )
        if checked["remote_src"]:
            return dict(self._task.args)
        path = None if checked["path"] is None else self._loader.path_dwim(checked["path"])
        values = fetch(checked["secrets"], store=checked["store"], path=path, host="the controller")
        return {**self._task.args, "values": Sealed(values)}
