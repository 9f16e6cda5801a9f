# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The requests that a HAProxy keeps in its ring ``requests`` (role haproxy), one JSON object a line, read through its socket.

Every worker has a ring of its own, which begins empty and forgets its oldest lines when it is full. It is read as a whole each time,
and what came after the last line seen is new.
"""

from __future__ import annotations

import json
import time
import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime, SilentError, Worker
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.traffic import Request

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HAProxyRing"]

RING = "requests"
HANDOVER = "handover"
_SERVER_ERROR, _UPGRADED = 500, 101
_SHARE_OF_TIME = 0.1
"""So much of the time is spent on reading at most, however large the ring is."""

Entry = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too


class HAProxyRing:
    """The requests in the rings of a HAProxy's workers, as they come; the attributes count as those of ``CaddyAccessLog`` do."""

    def __init__(
        self,
        path: Path,
        *,
        cursor: typing.Mapping[str, typing.Any] | None,
        match: typing.Mapping[str, typing.Any],
        own_agent: str,
    ) -> None:
        """Look where the rings end now, or go on at ``cursor``; otherwise as ``CaddyAccessLog``, whose ``path`` is a socket here.

        ``own_agent`` is not needed: the role's configuration marks these requests.

        Raises:
            BatonError: HAProxy does not answer, has no such ring, or the cursor is not one.
        """
        del own_agent
        self.entries = self.matched = self.garbage = 0
        self.gap = False
        self._path, self._match = path, match
        self._runtime = Runtime(path)
        self._last: dict[str, str] = {}
        self._not_before = 0.0
        if cursor is None:
            self._last = {pid: ring.splitlines()[-1] if ring else "" for pid, ring in self._rings()}
        else:
            self._last = _lines(cursor)

    @property
    def cursor(self) -> dict[str, typing.Any]:
        """Where the next reader goes on."""
        return {"last": dict(self._last)}

    def close(self) -> None:
        """Do nothing: between two looks nothing is open."""

    def read(self, *, last: bool = False) -> typing.Iterator[Request]:
        """Yield the requests that ended since the last call; none when it comes too soon after it and is not the ``last`` one.

        Raises:
            BatonError: HAProxy does not answer any longer.
        """
        began = time.monotonic()
        if began < self._not_before and not last:
            return
        rings = list(self._rings())
        self._not_before = time.monotonic() + (time.monotonic() - began) * (1 / _SHARE_OF_TIME - 1)
        if {*self._last} - {pid for pid, _ring in rings}:
            # A worker has ended, and nobody can tell how many requests it had after the last look.
            self.gap = True
        before, self._last = self._last, {}
        for pid, ring in rings:
            new = self._after(before.get(pid, ""), ring)
            self._last[pid] = new[-1] if new else before.get(pid, "")
            yield from filter(None, map(self._request, new))

    def _rings(self) -> typing.Iterator[tuple[str, str]]:
        """Return for each worker its pid and the lines of its ring."""
        try:
            for worker in self._runtime.workers():
                ring = self._ring(worker)
                if ring is not None:
                    yield ring
        except SilentError as error:
            raise BatonError(
                found=f"HAProxy does not answer ({error})",
                expected="its master's socket or a stats socket, through which the latest requests are read",
                fix="correct watch_access_log (access_log), or start HAProxy",
            ) from error

    def _ring(self, worker: Worker) -> tuple[str, str] | None:
        try:
            pid = str(worker.pid or _pid(self._runtime.ask(worker, "show info")))
            answer = self._runtime.ask(worker, f"show events {RING}")
        except SilentError:
            if worker.current:
                raise
            return None
        if answer.startswith("No such event sink"):
            if worker.current:
                raise BatonError(
                    found=f"HAProxy runs without the ring {RING}",
                    expected="the configuration that the role haproxy writes",
                    fix="configure it with the role haproxy, and reload it (haproxy_reload: true)",
                )
            return None
        return pid, answer.strip("\n")

    def _after(self, last: str, ring: str) -> list[str]:
        at = ring.rfind(last) if last else 0
        if at < 0:
            self.gap = True
            at, last = 0, ""
        return ring[at + len(last) :].strip("\n").splitlines()

    def _request(self, line: str) -> Request | None:
        if not line.startswith("{") or f'_{HANDOVER}"' in line:
            return None  # HAProxy's own messages, and what the newest worker has answered and lists too
        try:
            entry: Entry = json.loads(line)
            status, end, ms = int(entry["status"]), str(entry["end"]), float(entry["ms"])
            at = float(entry["at"]) + max(ms, 0.0) / 1000
        except (ValueError, KeyError, TypeError):
            self.garbage += 1
            return None
        self.entries += 1
        if any(entry.get(name) != value for name, value in self._match.items()):
            return None
        self.matched += 1
        cut = end[1:2] == "D" and status != _UPGRADED
        outcome = _outcome(status, end)
        if outcome != "ok" and not (outcome == "error" and not cut) and entry.get("own") == "yes":
            return None
        return Request(
            at=at,
            slot=_slot(str(entry.get("backend")), str(entry.get("server"))),
            status=f"{status} cut" if cut else str(status),
            outcome=outcome,
            ms=None if cut or ms < 0 or status == _UPGRADED else ms,
        )


def _outcome(status: int, end: str) -> str:
    """Say how a request ended, by its status and HAProxy's two letters: who ended it (C and c the client), and in which phase."""
    by_client, in_data = end[:1] in {"C", "c"}, end[1:2] == "D"
    if status == _UPGRADED:
        return "ok"
    if by_client and not (in_data and status >= _SERVER_ERROR):
        return "left"
    return "error" if status >= _SERVER_ERROR or in_data or status < 0 else "ok"


def _slot(backend: str, server: str) -> str | None:
    """Return the slot of a backend; of a seat, which is named <host>_<slot>_<port>, that of its server."""
    parts = [backend.rpartition("_")[2], *server.rsplit("_", 2)[1:2]]
    return next((part for part in parts if part in SLOTS), None)


def _pid(information: str) -> str:
    return next((line.split()[1] for line in information.splitlines() if line.startswith("Pid: ")), "0")


def _lines(cursor: typing.Mapping[str, typing.Any]) -> dict[str, str]:
    last = cursor.get("last")
    if isinstance(last, dict) and all(isinstance(line, str) for line in last.values()):
        return {str(pid): line for pid, line in last.items()}
    raise BatonError(
        found="a cursor that this module did not return",
        expected="the value cursor of the previous slice, unchanged",
        fix="pass it on as it was registered, or leave it out to begin now",
    )
