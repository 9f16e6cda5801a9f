# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where a throw-away server keeps its data: in memory where there is room, as many a disk takes a second to make 40 MB of small writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import typing
from pathlib import Path

__all__ = ["throw_away_directory"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
_ROOM = 2**30  # bytes, of that file system and of memory: what a schema without rows never needs
_PREFIX = "baton-rehearsal-"
_LOCK = "lock"
"""Is locked while its directory is in use: a killed process leaves the directory, and the next one removes it."""


@contextlib.contextmanager
def throw_away_directory() -> typing.Iterator[Path]:
    """Make a directory of this user's alone, which is gone afterwards, as are those that killed processes left behind."""
    place = _place()
    _sweep(place)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        # Renamed when it is locked: who finds it before that would take its process for dead.
        with (directory / "locking").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            Path(lock.name).rename(directory / _LOCK)
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _place() -> Path:
    if "TMPDIR" not in os.environ and _room_in_memory() >= _ROOM:
        return _MEMORY
    return Path(tempfile.gettempdir())


def _room_in_memory() -> int:
    """Return how many bytes can be had there."""
    try:
        there = os.statvfs(_MEMORY)
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return 0
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    return min(there.f_bavail * there.f_frsize, available)


def _sweep(place: Path) -> None:
    for left in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            # Others may make files there too: nothing is followed, nothing waited for.
            lock = os.open(left / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
