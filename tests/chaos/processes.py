"""The processes of one run, found by a mark in their environment: workers leave the process group, but not their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["MARK", "await_end", "end", "leads_session", "of_run", "parent", "send"]

MARK = "BATON_STRUCK_RUN"
POLL_SECONDS = 0.05


def of_run(run: str) -> list[int]:
    """Return the pids of all living processes that were started by the run marked ``run``."""
    wanted = f"{MARK}={run}\0".encode()
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if wanted in _environment(process)]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()  # empty for a zombie
    except OSError:
        return b""


def parent(pid: int) -> int:
    """Return the pid of the process' parent; 0 when the process is gone."""
    return _stat(pid)[0]


def leads_session(pid: int) -> bool:
    """Say whether the process has a session of its own, as Ansible's workers have, but not what they start."""
    return _stat(pid)[1] == pid


def _stat(pid: int) -> tuple[int, int]:
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[3])


def send(pids: Iterable[int], what: signal.Signals) -> None:
    """Send a signal to each process that still is."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def await_end(run: str, *, seconds: float) -> list[int]:
    """Wait until no process of the run is left; return those that are left after ``seconds``."""
    deadline = time.monotonic() + seconds
    while (left := of_run(run)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def end(run: str) -> None:
    """End whatever is left of the run."""
    send(of_run(run), signal.SIGKILL)
