# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A file that another process appends to, read line by line through rotation and truncation, also by a later task."""

from __future__ import annotations

import contextlib
import os
import time
import typing
import zlib

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FollowedFile"]

_CHUNK = 1 << 20
"""Bytes read at once. A line that is longer is skipped."""
_HEAD = 256
"""Bytes at the start by which a file is recognized: a new file soon gets the inode number of one that was removed."""
_LAST_LINE = 1 << 16
_APPEARS_WITHIN = 0.5  # seconds in which a file that is just being rotated is there again


class FollowedFile:
    """The complete lines of ``path`` from a cursor on, or from now on without one.

    ``cursor`` says where the next reader goes on: the file's inode, the offset of the first unread byte, and a
    checksum of its first bytes. ``gap`` is true when lines may have been lost: the file was truncated, or the old one
    is gone.
    """

    def __init__(self, path: Path, cursor: typing.Mapping[str, typing.Any] | None) -> None:
        """Open the file.

        Raises:
            BatonError: the cursor is not one.
            OSError: the file cannot be read.
        """
        self._path = path
        self.gap = False
        self._descriptor = self._open()
        self._offset = 0
        if not cursor:
            self._offset = self._end_of_last_line()
        else:
            self._go_on(*_numbers(cursor))

    @property
    def cursor(self) -> dict[str, int]:
        """Where the next reader goes on."""
        head = min(self._offset, _HEAD)
        return {
            "inode": os.fstat(self._descriptor).st_ino,
            "offset": self._offset,
            "head": _checksum(self._descriptor, head),
        }

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def lines(self) -> typing.Iterator[bytes]:
        """Yield every complete line that is there now; one that is still being written comes with a later call."""
        yield from self._available()
        try:
            now = self._path.stat()
        except FileNotFoundError:  # between the two halves of a rotation
            return
        mine = os.fstat(self._descriptor)
        if (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino):
            # Its writer may have added something before it let go of the old file.
            yield from self._available()
            self._replace(self._open(), 0)
            yield from self._available()
        elif mine.st_size < self._offset:
            self.gap = True
            self._offset = 0
            yield from self._available()

    def _available(self) -> typing.Iterator[bytes]:
        # The size at the start bounds it: a fast writer cannot keep this going for ever.
        end = os.fstat(self._descriptor).st_size
        while self._offset < end:
            chunk = os.pread(self._descriptor, _CHUNK, self._offset)
            complete = chunk.rfind(b"\n") + 1
            if complete == 0:
                if len(chunk) < _CHUNK:
                    return
                self._offset += len(chunk)
                continue
            self._offset += complete
            yield from chunk[: complete - 1].split(b"\n")

    def _go_on(self, inode: int, offset: int, head: int) -> None:
        if _is(self._descriptor, inode, offset, head):
            self._offset = offset
            return
        for sibling in self._path.parent.iterdir():
            with contextlib.suppress(OSError):
                if sibling.is_file() and sibling.stat().st_ino == inode:
                    old = os.open(sibling, os.O_RDONLY | os.O_CLOEXEC)
                    if _is(old, inode, offset, head):
                        self._replace(old, offset)
                        return
                    os.close(old)
        # Truncated, or rotated and gone: what was written in between is lost, and the whole present file is new.
        self.gap = True

    def _open(self) -> int:
        deadline = time.monotonic() + _APPEARS_WITHIN
        while True:
            try:
                return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.05)

    def _replace(self, descriptor: int, offset: int) -> None:
        os.close(self._descriptor)
        self._descriptor, self._offset = descriptor, offset

    def _end_of_last_line(self) -> int:
        size = os.fstat(self._descriptor).st_size
        start = max(0, size - _LAST_LINE)
        tail = os.pread(self._descriptor, size - start, start)
        return start + tail.rfind(b"\n") + 1 if b"\n" in tail or not start else size


def _is(descriptor: int, inode: int, offset: int, head: int) -> bool:
    file = os.fstat(descriptor)
    return file.st_ino == inode and file.st_size >= offset and _checksum(descriptor, min(offset, _HEAD)) == head


def _checksum(descriptor: int, length: int) -> int:
    return zlib.crc32(os.pread(descriptor, length, 0))


def _numbers(cursor: typing.Mapping[str, typing.Any]) -> tuple[int, int, int]:
    try:
        return int(cursor["inode"]), int(cursor["offset"]), int(cursor["head"])
    except (KeyError, TypeError, ValueError):
        raise BatonError(
            found="a cursor that this module did not return",
            expected="the value cursor of the previous slice, unchanged",
            fix="pass it on as it was registered, or leave it out to begin now",
        ) from None
