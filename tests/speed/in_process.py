"""What a task does on the controller alone is done in its process, and not in a fork of it for each host.

Ansible forks for an include, for a fact that is set, and to find out that a host has nothing to do in a task: half of its forks in
a release. What comes of such a task is the same. On the fleets, in the demo and with the newest Ansible all of them are forks.
"""

from __future__ import annotations

import copy
from typing import Any

from ansible._internal import _task
from ansible.executor.process.worker import WorkerProcess
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult

__all__ = ["install"]

ON_CONTROLLER = {"assert", "debug", "fail", "include_role", "include_tasks", "set_fact"}


def install() -> None:
    """Have this ansible-playbook work so; its Ansible has to be 2.19, whose inside is known here."""
    fork = WorkerProcess.start

    def start(worker: Any) -> None:
        if _needs_no_host(worker):
            _do(worker)
        else:
            fork(worker)

    WorkerProcess.start = start


def _needs_no_host(worker: Any) -> bool:
    task = worker._task
    if task.action.rpartition(".")[2] in ON_CONTROLLER:
        return True
    if not task.when or task.loop is not None or task.loop_with is not None:
        return False
    try:
        return not task._resolve_conditional(task.when, worker._task_vars)
    except Exception:  # noqa: BLE001  # a worker finds out why, and says so
        return False


def _do(worker: Any) -> None:
    # A fork changes its own copy of the task and of the host.
    task, host = worker._task.copy(exclude_parent=True), copy.copy(worker._host)
    task._parent = worker._task._parent
    with _task.TaskContext(task):
        told = TaskExecutor(
            worker._host,
            task,
            worker._task_vars,
            worker._play_context,
            worker._loader,
            worker._shared_loader_obj,
            worker._final_q,
            worker._variable_manager,
        ).run()
    host.vars, host.groups = {}, []
    worker._final_q.send_task_result(
        _RawTaskResult(host=host, task=task, return_data=told, task_fields=task.dump_attrs())
    )
