# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Files that other processes read while we write them: whole or not at all, and one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["append_line", "locked", "read_json", "read_text", "write_atomically", "write_json"]


def read_text(path: Path) -> str | None:
    """Return the text of ``path``, or None when there is no such file.

    Raises:
        BatonError: there is something that cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(path, "read", error) from error


def read_json(path: Path) -> dict[str, typing.Any] | None:
    """Return the JSON object in ``path``, or None when there is no such file.

    Raises:
        BatonError: the file is there but holds no JSON object.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BatonError(
            found=f"{path} does not hold a JSON object",
            expected="the file as this collection wrote it",
            fix="restore the file from a backup, or remove it if nothing of value is in it, and run again",
        )
    return value


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``text`` in one rename that survives a power cut; readers see the old or the new text, never a part.

    Raises:
        BatonError: the disk is full, the permissions do not suffice, or something else lies in the way.
    """
    try:
        _replace(path, text, mode)
    except (OSError, ValueError) as error:
        raise _unusable(path, "written", error) from error


def _replace(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_json(path: Path, value: typing.Mapping[str, typing.Any], *, mode: int = 0o644) -> None:
    """Replace ``path`` by the JSON object ``value``, atomically."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode=mode)


def append_line(path: Path, line: str) -> None:
    """Append ``line`` to ``path``, flushed to the disk; a line that a power cut has torn before does not swallow it.

    Raises:
        BatonError: the disk is full, or the permissions do not suffice.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if _torn(path) else "") + line + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, ValueError) as error:
        raise _unusable(path, "written", error) from error


def _torn(path: Path) -> bool:
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if not size:
            return False
        stream.seek(size - 1)
        return stream.read(1) != b"\n"


@contextlib.contextmanager
def locked(path: Path) -> typing.Iterator[None]:
    """Hold an exclusive lock on the file ``path`` (made when missing); the kernel drops it when the process ends, however it ends.

    Raises:
        BatonError: the file cannot be made or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unusable(path, "written", error) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, verb: str, error: Exception) -> BatonError:
    return BatonError(
        found=f"{path} cannot be {verb}: {getattr(error, 'strerror', None) or error}",
        expected="a place of this collection's own, which the user of this task may read and write",
        fix="correct the path or the permissions (become), or make room, and run again",
    )
