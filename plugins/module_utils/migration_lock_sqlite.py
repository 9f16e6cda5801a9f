# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One migration at a time for each database of SQLite: a lock on a file beside it, which lasts as long as anybody has it open."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._sqlite import is_there, path_of, read
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession

__all__ = ["LOCK_SUFFIX", "sqlite_lock"]

LOCK_SUFFIX = ".baton-lock"
"""What the name of the lock's file has after that of the database."""
_POLL = 0.2  # seconds
_NOTE_BYTES = 1000
_OBJECTS = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"


@contextlib.contextmanager
def sqlite_lock(url: str, *, wait: float) -> typing.Iterator[LockSession]:
    """Run the body as the only migration of this database.

    Hand ``fileno`` to the process that migrates: if this one is killed, the lock lasts until that one ends too.

    Args:
        url: of the database.
        wait: seconds to wait for another holder.

    Raises:
        BatonError: the URL names no file, its directory is not to be written, or somebody else holds the lock for all of this time.
    """
    path = path_of(url)
    is_there(path)  # refuses what can be no database, before a lock is left beside it
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, wait)
        _note(descriptor, path)
        yield LockSession(
            descriptor, 0, list, lambda: _is_ours(descriptor, path), product="SQLite", objects=lambda: _objects(path)
        )
    finally:
        # Closing would not do: what the tool may have left running has the file open too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock_of(path: Path) -> str:
    return f"{path}{LOCK_SUFFIX}"


def _open(path: Path) -> int:
    try:
        descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
        _refuse_another(descriptor)
        if os.geteuid() == 0:
            # Whoever may migrate without root has to be able to use it too.
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise _no_file(path, error) from error
    return descriptor


def _no_file(path: Path, error: OSError) -> BatonError:
    return BatonError(
        found=f"no file for the migration lock ({_lock_of(path)}): {error.strerror}",
        expected="a directory of the database in which this task may write; nothing was changed",
        fix="make the directory, outside of the release trees, or correct the URL, the rights or what room there is",
    )


def _refuse_another(descriptor: int) -> None:
    """Refuse what is another file by a second name: the directory is the app's, and root writes to the file and gives it away."""
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file of its own")


def _note(descriptor: int, path: Path) -> None:
    """Write into the file who holds the lock."""
    name = f"baton.db_migrate {socket.gethostname()[:30]} {os.getpid()}"
    since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "application_name": name, "since": since}).encode(), 0)
    except OSError as error:  # such as a full disk
        raise _no_file(path, error) from error


def _acquire(descriptor: int, path: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                raise _held(descriptor, wait) from None
            time.sleep(_POLL)
            continue
        if _is_ours(descriptor, path):
            return
        raise BatonError(
            found=f"{_lock_of(path)}, which was removed or replaced meanwhile; nothing was changed",
            expected="one file for the lock, for as long as the database is there",
            fix="leave that file alone, and run again",
        )


def _held(descriptor: int, wait: float) -> BatonError:
    holder: dict[str, typing.Any] = {"pid": None, "application_name": "", "since": None}
    with contextlib.suppress(ValueError, OSError):
        note = json.loads(os.pread(descriptor, _NOTE_BYTES, 0))
        holder = {name: note.get(name) for name in holder}
    return BatonError(
        found=f"process {holder['pid']} ('{holder['application_name']}', since {holder['since'] or 'unknown'}), or the tool that it"
        f" started, holds the migration lock after {wait:g} s of waiting",
        expected="to be the only migration of this database; nothing was changed",
        fix="run again when it has ended",
        holder=holder,
    )


def _is_ours(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), Path(_lock_of(path)).stat())
    except OSError:
        return False


def _objects(path: Path) -> dict[str, str] | None:
    try:
        return {str(name): str(definition) for name, definition in read(path, _OBJECTS)}
    except BatonError:
        return None
