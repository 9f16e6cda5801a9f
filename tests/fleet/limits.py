"""What one machine has to allow, so that many hosts can run on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["allow"]

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
OF_A_HOST = 8
"""systemd takes five and dbus one. A host that gets none does not start, and says nothing about it."""
OF_OTHERS = 64

Say = Callable[[str], None]


def allow(hosts: int, say: Say) -> None:
    """Have the kernel allow as many watchers of files as ``hosts`` take; all containers share the limit of root.

    Raises:
        BatonError: it allows fewer, and this user cannot change that.
    """
    if os.environ.get("DOCKER_HOST") or not INSTANCES.exists():
        return
    allowed, wanted = int(INSTANCES.read_text()), OF_A_HOST * hosts + OF_OTHERS
    if allowed >= wanted:
        return
    try:
        INSTANCES.write_text(f"{wanted}\n")
    except OSError as error:
        raise BatonError(
            found=f"fs.inotify.max_user_instances is {allowed}",
            expected=f"at least {wanted}, for {hosts} hosts with systemd on one machine",
            fix=f"sysctl fs.inotify.max_user_instances={wanted}, as root",
        ) from error
    say(f"Raised fs.inotify.max_user_instances from {allowed} to {wanted}, until this machine starts again")
