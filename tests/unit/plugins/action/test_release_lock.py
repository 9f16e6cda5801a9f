"""The controller's part of release_lock: a holder counts as dead only when that is certain."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.action.release_lock import ActionModule, identity, is_dead


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_process_that_ended_is_dead_and_one_that_runs_is_not() -> None:
    process = sleeper()
    holder = identity(process.pid)
    assert not is_dead(holder)
    process.kill()
    assert process.wait() != 0
    assert is_dead(holder)


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    process = sleeper()
    holder = identity(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(holder)
    process.wait()


def test_another_process_with_the_same_pid_is_not_the_holder() -> None:
    assert is_dead({**identity(os.getpid()), "started": "1"})


@pytest.mark.parametrize(
    "change", [{"boot": "another machine"}, {"namespace": "pid:[1]"}, {"pid": "many"}, {"pid": None}], ids=str
)
def test_in_doubt_the_holder_lives(change: dict[str, Any]) -> None:
    assert not is_dead({**identity(os.getpid()), "started": "1", **change})


def test_a_holder_that_named_nothing_lives() -> None:
    assert not is_dead({})


def _ask(outcome: Path) -> None:
    """Ask for the lock as a worker of a controller that was killed."""
    parent = multiprocessing.parent_process()
    while parent and os.getppid() == parent.pid:
        time.sleep(0.01)
    task = SimpleNamespace(args={"state_dir": str(outcome.parent)}, async_val=0, check_mode=False)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    nothing = dict.fromkeys(("play_context", "loader", "templar", "shared_loader_obj"))
    result = ActionModule(task=task, connection=connection, **nothing).run(task_vars={})
    outcome.with_suffix(".new").write_text(json.dumps(result))
    outcome.with_suffix(".new").replace(outcome)


def _die(outcome: Path) -> None:
    multiprocessing.get_context("fork").Process(target=_ask, args=(outcome,)).start()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_takes_no_lock_for_a_controller_that_is_gone(tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    controller = multiprocessing.get_context("fork").Process(target=_die, args=(outcome,))
    controller.start()
    controller.join()
    deadline = time.monotonic() + 30
    while not outcome.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    result = json.loads(outcome.read_text())
    assert result["failed"]
    assert "the run that wants the lock is gone" in result["msg"]
