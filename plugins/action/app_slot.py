# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The controller's part of app_slot: it brings the artifact along where it lies on the controller.

A copy task of its own would cost two more starts of Python on every host, and a directory to make first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.plugin_utils.on_host import OnHost

__all__ = ["ActionModule"]


class ActionModule(OnHost):
    """Copy ``artifact_src`` into the task's temporary directory on the host, then run the module."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = {**self._task.args}
        source = arguments.pop("artifact_src", None)
        # An artifact that is missing here is no error yet: the release may be installed on the host already.
        if source and Path(source).is_file() and not self._task.check_mode:
            arguments["artifact"] = self._bring(Path(source))
        return {**result, **self.alone("app_slot", arguments, task_vars)}

    def _bring(self, source: Path) -> str:
        directory = self._connection._shell.tmpdir or self._make_tmp_path()  # what ansible.builtin.copy does
        remote: str = self._connection._shell.join_path(directory, source.name)  # same
        self._transfer_file(str(source), remote)
        self._fixup_perms2((directory, remote))
        return remote
