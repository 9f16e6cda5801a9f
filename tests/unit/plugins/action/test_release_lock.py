"""The controller's part of release_lock: a holder counts as dead only when that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.action.release_lock import identity, is_dead


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
