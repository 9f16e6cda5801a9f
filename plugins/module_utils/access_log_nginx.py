# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The log of an nginx that the role ``nginx`` configures: one request a line in JSON, and nginx's own errors between them.

Three things in it are not what they seem (measured with nginx 1.22.1):

- An answer that ended early has the status that it began with. If a server was the reason, only a line before it says so ("while
  reading upstream"), with the same connection. If it was the client, ``done``, nginx's ``$request_completion``, is empty.
- A request that was tried again lists the servers and nothing of what it first got; its status is what the client got in the end.
- A client that left before the answer began has the status 499.
"""

from __future__ import annotations

import json
import re
import time
import typing

from ansible_collections.baton.release.plugins.module_utils.access_log_file import AccessLogFile
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.traffic import Request

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NginxAccessLog"]

_ERROR = re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] (\d+)#\d+: (?:\*(\d+) )?")
_BROKEN_OFF = b" while reading upstream,"
_REMEMBERED = 1000
_SERVER_ERROR, _CLIENT_LEFT, _UPGRADED = 500, 499, 101

Entry = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too


class NginxAccessLog(AccessLogFile):
    """The requests in such a log, as they come; nginx's own errors are no garbage.

    ``own_agent`` is not needed: the role's configuration marks these requests.
    """

    expected = "the file that nginx writes its requests and errors to, as the role nginx configures it"
    fix = "configure nginx with the role nginx and reload it, or correct watch_access_log (access_log)"

    def __init__(self, path: Path, **more: typing.Any) -> None:
        """Open the log, as ``AccessLogFile`` does."""
        super().__init__(path, **more)
        self._broken_off: dict[tuple[int, int], None] = {}

    def request_of(self, line: bytes) -> Request | None:
        """Return the request in a line; of an error, remember whose answer it broke off."""
        error = _ERROR.match(line)
        if error:
            if error[2] and _BROKEN_OFF in line:
                self._remember(int(error[1]), int(error[2]))
            return None
        try:
            entry: Entry = json.loads(line)
            status, seconds, at = int(entry["status"]), float(entry["seconds"]), float(entry["at"])
            connection = (int(entry["pid"]), int(entry["connection"]))
        except (ValueError, KeyError, TypeError):
            self.garbage += 1
            return None
        broken_off = connection in self._broken_off
        self._broken_off.pop(connection, None)
        if not self.matches(entry):
            return None
        cut = (broken_off or entry.get("done") != "OK") and status not in (_CLIENT_LEFT, _UPGRADED)
        outcome = _outcome(status, cut=cut, broken_off=broken_off)
        if outcome != "ok" and not (outcome == "error" and not cut) and entry.get("own") == "yes":
            return None  # the probe knows it at first hand
        return Request(
            at=at or time.time(),
            slot=entry["slot"] if entry.get("slot") in SLOTS else None,
            status=f"{status} cut" if cut else str(status),
            outcome=outcome,
            ms=None if cut or status == _UPGRADED else seconds * 1000,
        )

    def _remember(self, pid: int, connection: int) -> None:
        self._broken_off[pid, connection] = None
        if len(self._broken_off) > _REMEMBERED:
            del self._broken_off[next(iter(self._broken_off))]


def _outcome(status: int, *, cut: bool, broken_off: bool) -> str:
    if status == _CLIENT_LEFT:
        return "left"
    if status >= _SERVER_ERROR:
        return "error"
    if not cut:
        return "ok"
    return "error" if broken_off else "left"
