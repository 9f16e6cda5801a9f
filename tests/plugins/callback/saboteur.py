# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Write down every task that runs, and do what a test asked for just before one of them starts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: saboteur
type: aggregate
short_description: Record the tasks of a playbook, and disturb it where a test says
description:
  - Appends a JSON line for each result to the file E(BATON_TASKS).
  - Runs the shell command E(BATON_SABOTAGE) before the task whose name is E(BATON_SABOTAGE_BEFORE). It finds the pid of
    ansible-playbook in E(PLAYBOOK_PID).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

ON_CONTROLLER = {
    "assert",
    "debug",
    "fail",
    "include_role",
    "include_tasks",
    "release_plan",
    "set_fact",
    "validate_argument_spec",
}


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """The recorder."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "saboteur"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002  # as Ansible calls it
        """Do what the test asked for before this task."""
        command = os.environ.get("BATON_SABOTAGE")
        if command and str(task.get_name()).rsplit(" : ", 1)[-1] == os.environ.get("BATON_SABOTAGE_BEFORE"):
            subprocess.run(command, shell=True, check=True, env={**os.environ, "PLAYBOOK_PID": str(os.getpid())})  # noqa: S602  # the test's own

    def _record(self, result: Any, outcome: str) -> None:
        action = str(result.task.action).rsplit(".", 1)[-1]
        if "BATON_TASKS" not in os.environ:
            return
        line = {
            "host": result.host.get_name(),
            "task": str(result.task.get_name()).rsplit(" : ", 1)[-1],
            "action": action,
            "remote": action not in ON_CONTROLLER,
            "outcome": outcome,
            "changed": bool(result.result.get("changed")),
        }
        with Path(os.environ["BATON_TASKS"]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Record a task that went well."""
        self._record(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002  # as Ansible calls it
        """Record a task that failed."""
        self._record(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Record a task whose host was not reached."""
        self._record(result, "unreachable")
