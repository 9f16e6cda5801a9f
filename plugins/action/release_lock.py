# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The controller's part of release_lock: who asks, and whether a holder on this very controller is dead.

A run that was killed leaves its lease behind. Waiting for it to run out would make "run the same command again" a matter of
minutes, so the lease names the process that took it, and the same controller can prove that this process is gone.
"""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.plugin_utils.on_host import OnHost

__all__ = ["ActionModule"]

ORPHANED = BatonError(
    found="the run that wants the lock is gone",
    expected="a lock only for a run that is there to use it",
    fix="nothing was touched; run the same command again",
)


class ActionModule(OnHost):
    """Run the module with the controller's identity; take over from a dead process of this controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, with ``took_over`` when a dead holder was replaced."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = {**self._task.args}
        if arguments.get("state", "held") == "held":
            parent = multiprocessing.parent_process()
            arguments["controller"] = identity(parent.pid if parent and parent.pid else os.getppid())
            # Killed, a controller leaves its worker to another parent, which lives on: its lease would be held by a stranger.
            if parent and parent.pid != os.getppid():
                return {**result, "failed": True, **ORPHANED.as_result()}
            arguments["owner"] = arguments.get("owner") or f"{getpass.getuser()}@{socket.gethostname()}"
        outcome = self.alone("release_lock", arguments, task_vars)
        holder = outcome.get("lease") or {}
        if outcome.get("failed") and holder.get("held") and is_dead(holder.get("controller") or {}):
            outcome = self.alone("release_lock", {**arguments, "takeover_token": holder["token"]}, task_vars)
            if not outcome.get("failed"):
                outcome["took_over"] = holder
        result.update(outcome)
        return result


def identity(pid: int) -> dict[str, Any]:
    """Return what names the process ``pid`` on this controller for all time; empty where there is no /proc."""
    try:
        return {
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            "namespace": str(Path("/proc/self/ns/pid").readlink()),  # containers share the boot id, not their pids
            "pid": pid,
            "started": _start_time(pid),
        }
    except OSError:
        return {}


def is_dead(process: dict[str, Any]) -> bool:
    """Say whether ``process`` ran on this controller and is provably gone; in doubt it is alive."""
    here = identity(os.getpid())
    if not here or any(process.get(key) != here[key] for key in ("boot", "namespace")):
        return False
    try:
        return _start_time(int(process["pid"])) != process.get("started")
    except FileNotFoundError:
        return True
    except (KeyError, TypeError, ValueError, OSError):
        return False


def _start_time(pid: int) -> str:
    """Return the start time of ``pid`` in clock ticks since boot (field 22 of /proc/PID/stat), which makes a reused pid visible."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return fields[19] if fields[0] != "Z" else "zombie"
