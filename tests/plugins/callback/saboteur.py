# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Write down every task that runs, and do what a test asked for when one of them starts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: saboteur
type: aggregate
short_description: Record the tasks of a playbook, and disturb it where a test says
description:
  - Appends a JSON line for each result to the file E(BATON_TASKS).
  - Appends a JSON line for each start of a task, and for each end of it on a host, to the file E(BATON_RECORDING).
  - Runs the shell command E(BATON_SABOTAGE) before the task whose name is E(BATON_SABOTAGE_BEFORE). It finds the pid of
    ansible-playbook in E(PLAYBOOK_PID).
  - With a number in E(BATON_SABOTAGE_NTH) only the so-manieth task of that name counts. With a number in E(BATON_SABOTAGE_WORKER) the
    command runs when the task's so-manieth worker is about to be started, without one before the task.
  - With a directory in E(BATON_TEST_MODULES) the zips that are made of modules are kept there for the next playbook.
  - With the address of a warm Python in E(BATON_TEST_WARM), tasks of the controller alone are done in its process.
"""

import collections
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible import __version__
from ansible import constants as C  # noqa: N812  # its usual name
from ansible.plugins.callback import CallbackBase

ON_CONTROLLER = {
    "assert",
    "debug",
    "fail",
    "include_role",
    "include_tasks",
    "release_plan",
    "release_settings",
    "set_fact",
    "validate_argument_spec",
}


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """The recorder."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "saboteur"

    def __init__(self) -> None:
        """Start counting."""
        super().__init__()
        self._started: collections.Counter[str] = collections.Counter()
        self._workers = 0
        if kept := os.environ.get("BATON_TEST_MODULES"):
            Path(kept).mkdir(parents=True, exist_ok=True)
            Path(C.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(kept)
        if os.environ.get("BATON_TEST_WARM") and __version__.startswith("2.19."):
            from tests.speed import in_process  # noqa: PLC0415  # it needs the inside of this Ansible, and fits no other

            in_process.install()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002  # as Ansible calls it
        """Count the task, and do what the test asked for before it."""
        name = _name(task)
        self._started[name] += 1
        self._workers = 0
        action = _action(task)
        start = {"event": "start", "action": action, "remote": action not in ON_CONTROLLER}
        _append("BATON_RECORDING", {**self._occurrence(task), **start})
        if "BATON_SABOTAGE_WORKER" not in os.environ:
            self._sabotage(name)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:  # noqa: ARG002  # as Ansible calls it
        """Do what the test asked for when a worker of the task is about to be started."""
        self._workers += 1
        if os.environ.get("BATON_SABOTAGE_WORKER") == str(self._workers):
            self._sabotage(_name(task))

    def _sabotage(self, name: str) -> None:
        command, wanted = os.environ.get("BATON_SABOTAGE"), os.environ.get("BATON_SABOTAGE_NTH")
        if not command or name != os.environ.get("BATON_SABOTAGE_BEFORE"):
            return
        if wanted is None or int(wanted) == self._started[name]:
            subprocess.run(command, shell=True, check=True, env={**os.environ, "PLAYBOOK_PID": str(os.getpid())})  # noqa: S602  # the test's own

    def _occurrence(self, task: Any) -> dict[str, Any]:
        return {"task": _name(task), "nth": self._started[_name(task)], "at": time.time()}

    def _record(self, result: Any, outcome: str) -> None:
        action = _action(result.task)
        line = {
            "host": result.host.get_name(),
            "task": _name(result.task),
            "action": action,
            "remote": action not in ON_CONTROLLER,
            "outcome": outcome,
            "changed": bool(result.result.get("changed")),
        }
        if outcome != "skipped":
            _append("BATON_TASKS", line)
        end = {"event": "end", "host": line["host"], "outcome": outcome}
        _append("BATON_RECORDING", {**self._occurrence(result.task), **end})

    def v2_runner_on_ok(self, result: Any) -> None:
        """Record a task that went well."""
        self._record(result, "ok")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Record that a host took no part in a task."""
        self._record(result, "skipped")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002  # as Ansible calls it
        """Record a task that failed."""
        self._record(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Record a task whose host was not reached."""
        self._record(result, "unreachable")


def _name(task: Any) -> str:
    return str(task.get_name()).rsplit(" : ", 1)[-1]


def _action(task: Any) -> str:
    return str(task.action).rsplit(".", 1)[-1]


def _append(variable: str, line: dict[str, Any]) -> None:
    if variable in os.environ:
        with Path(os.environ[variable]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
