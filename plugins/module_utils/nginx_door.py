# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The door of an nginx: while there is the link ``nginx.door`` in the state directory, users get the page that it leads to.

It leads to ``nginx.d/door/maintenance.<seconds>``, whose name says what Retry-After is, and in which the page is.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.door import MAINTENANCE, OPEN, Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.links import (
    link_text,
    make_directory,
    replace_link,
    sync_directory,
)

__all__ = ["DOOR", "NginxDoor", "seen_as"]

DOOR = "nginx.door"
_PAGE = "baton.release.maintenance.html"
_CLOSED = re.compile(rf"nginx\.d/door/{MAINTENANCE}\.([1-9][0-9]{{0,5}})")


def seen_as(door: Door) -> str:
    """Return what nginx says of such a door."""
    return f"{MAINTENANCE}.{door.retry_after}" if door.state == MAINTENANCE else OPEN


@dataclass(frozen=True)
class NginxDoor:
    """The link of one app, in its state directory on nginx's host."""

    directory: Path

    def door(self) -> Door:
        """Return the door that the link says; one that leads elsewhere closes it where there is a page."""
        link = self.directory / DOOR
        target = link_text(link)
        if not target and not link.exists():
            return Door()
        if found := _CLOSED.fullmatch(target):
            lacking = "" if (link / _PAGE).is_file() else "the page is missing, so users are let in"
            return Door(MAINTENANCE, retry_after=int(found[1]), unsettled=lacking)
        effect = MAINTENANCE if (link / _PAGE).is_file() else OPEN
        return Door(effect, unsettled=f"{link} is {target[:80]!r}, which somebody else made")

    def prepare(self, door: Door) -> str:
        """Make what the link is to lead to, and return it, "" for an open door; nothing leads there yet.

        Raises:
            BatonError: it cannot be written.
        """
        if door.state == OPEN:
            return ""
        target = Path("nginx.d/door") / seen_as(door)
        try:
            for path in (Path("nginx.d"), Path("nginx.d/door"), target):
                make_directory(self.directory / path)
            replace_link(self.directory / target / _PAGE, "../../../nginx.page.html")
            for path in (target, Path("nginx.d/door"), Path("nginx.d")):
                sync_directory(self.directory / path)
        except OSError as error:
            raise self._unwritable(error) from error
        return str(target)

    def publish(self, target: str) -> None:
        """Have the link lead to what ``prepare`` returned, at one instant and over a power cut.

        Raises:
            BatonError: it cannot be replaced.
        """
        try:
            if target:
                replace_link(self.directory / DOOR, target)
            else:
                with contextlib.suppress(FileNotFoundError):
                    (self.directory / DOOR).unlink()
            sync_directory(self.directory)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> BatonError:
        return BatonError(
            found=f"{error.filename or self.directory} cannot be written: {error.strerror or error}",
            expected="a place of this collection's own, which the user of this task may read and write",
            fix="correct the path or the permissions (become), or make room, and run again",
        )
