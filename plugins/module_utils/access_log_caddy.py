# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Caddy's access log in JSON: one request a line, and the slot that answered it in a field of its own.

Three things in it are not what they seem (measured with Caddy 2.11.7):

- An answer that ended early, because the app died or the client went away in the middle of it, is logged with the
  status it began with and a duration of exactly 0. Why it ended is only in a line before it, by another logger
  (``http.handlers.reverse_proxy``, "aborting with incomplete response").
- Such an entry has the fields of ``log_append`` only where that handler is configured with ``"early": true``.
- A client that left before the answer began has the status 499, and 0 in earlier releases of Caddy.
"""

from __future__ import annotations

import json
import time
import typing

from ansible_collections.baton.release.plugins.module_utils.access_log_file import AccessLogFile
from ansible_collections.baton.release.plugins.module_utils.traffic import Request

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CaddyAccessLog"]

_ABORTING = "aborting with incomplete response"
_REMEMBERED = 1000
_SERVER_ERROR, _CLIENT_LEFT, _UPGRADED = 500, 499, 101

Entry = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too


class CaddyAccessLog(AccessLogFile):
    """The requests in an access log of Caddy, as they come."""

    expected = "the file that Caddy writes its access log to, one JSON object a line"
    fix = "let Caddy's server log into that file (an entry 'logs' and a file writer), or correct access_log"

    def __init__(self, path: Path, **more: typing.Any) -> None:
        """Open the log, as ``AccessLogFile`` does."""
        super().__init__(path, **more)
        self._reasons: dict[tuple[str, ...], str] = {}

    def request_of(self, line: bytes) -> Request | None:
        """Return the request in a line; of a warning, remember why an answer was broken off."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            self.garbage += 1
            return None
        if entry.get("msg") == _ABORTING:
            self._remember(entry)
            return None
        status, seconds = entry.get("status"), entry.get("duration")
        if not isinstance(status, int) or not isinstance(seconds, (int, float)):
            return None
        if not self.matches(entry):
            return None
        outcome = self._outcome(entry, status, seconds)
        if outcome != "ok" and not (outcome == "error" and seconds) and self._is_own(entry):
            return None
        at, slot = entry.get("ts"), entry.get("slot")
        return Request(
            at=float(at) if isinstance(at, (int, float)) else time.time(),
            slot=slot if isinstance(slot, str) else None,
            status=str(status) if seconds else f"{status} cut",
            outcome=outcome,
            ms=seconds * 1000 if seconds and status != _UPGRADED else None,
        )

    def _outcome(self, entry: Entry, status: int, seconds: float) -> str:
        if status >= _SERVER_ERROR:
            return "error"
        if seconds:
            return "left" if status in (0, _CLIENT_LEFT) else "ok"
        return self._reasons.pop(_key(entry), "cut" if status else "error")

    def _remember(self, entry: Entry) -> None:
        reason = str(entry.get("error", ""))
        client = not reason.startswith("reading:") or "context canceled" in reason
        self._reasons[_key(entry)] = "left" if client else "error"
        if len(self._reasons) > _REMEMBERED:
            del self._reasons[next(iter(self._reasons))]

    def _is_own(self, entry: Entry) -> bool:
        headers = _request_of(entry).get("headers")
        return isinstance(headers, dict) and headers.get("User-Agent") == [self._own_agent]


def _request_of(entry: Entry) -> Entry:
    request = entry.get("request")
    return request if isinstance(request, dict) else {}


def _key(entry: Entry) -> tuple[str, ...]:
    request = _request_of(entry)
    return tuple(str(request.get(name)) for name in ("remote_ip", "remote_port", "method", "uri"))
