# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The door of a HAProxy: a word in the map that each worker looks up at every request, before it looks up what is live.

While it is held, a request waits in HAProxy (role haproxy, ``hold.lua``) until the word is another one.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace

from ansible_collections.baton.release.plugins.module_utils.door import CLOSED, HELD, MAINTENANCE, OPEN, Door, door_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import SilentError, Worker
from ansible_collections.baton.release.plugins.module_utils.haproxy_view import View
from ansible_collections.baton.release.plugins.module_utils.haproxy_workers import Workers

__all__ = ["HAProxyDoor"]

_ATTEMPTS = 3


@dataclass(frozen=True)
class HAProxyDoor:
    """The door at all workers of one HAProxy."""

    workers: Workers

    def door(self) -> Door:
        """Return the door as the newest worker has it; where none answers, as HAProxy would begin with it."""
        kept = self.workers.kept().get(self.workers.door_key, OPEN)
        try:
            views = self.workers.views()
        except SilentError:
            return door_of(kept, str(self.workers.map_file), otherwise=MAINTENANCE)
        current = next(iter(views.values()))
        door = door_of(current.door or OPEN, f"HAProxy's map {self.workers.map_file}", otherwise=MAINTENANCE)
        differences = [door.unsettled, *self._differences(door, kept, views)]
        return replace(door, unsettled="; ".join(filter(None, differences)))

    def refuse(self, after: Door) -> None:
        """Refuse a door that the running configuration would not look up; where nothing answers, there is nothing to refuse.

        Raises:
            BatonError: it would not.
        """
        try:
            views = self.workers.views()
        except SilentError:
            return
        if not self._known(after, next(iter(views.values()))):
            raise BatonError(
                found=f"HAProxy runs with a configuration that does not know how to "
                f"{'hold requests' if after.state == HELD else 'show a maintenance page'}",
                expected="the configuration that the role haproxy writes now"
                + (", with haproxy_hold: true (it needs a HAProxy with Lua)" if after.state == HELD else ""),
                fix="configure it with the role haproxy, and reload it (haproxy_reload: true); nothing was touched",
            )

    def move(self, after: Door) -> None:
        """Keep the door, tell every worker, and ask each of them what it has then; one that does not run begins with it.

        Raises:
            BatonError: HAProxy does not answer any more, refuses, or has another one afterwards.
        """
        running = self._answers()
        self.workers.keep(self.workers.door_key, after.word)
        if not running:
            return
        try:
            for _attempt in range(_ATTEMPTS):
                for worker in self.workers.runtime.workers():
                    self._tell(worker, after)
                found = self.door()
                if found == after:
                    return
        except SilentError as error:
            raise BatonError(
                found=f"HAProxy does not answer any more ({error}); when it is started, {after.as_text().strip()}",
                expected="an answer of every worker, so that all of them are known to have it so",
                fix="look whether HAProxy runs, and at its log; then run again",
            ) from error
        raise BatonError(
            found=f"HAProxy was told {_ATTEMPTS} times, and {found.as_text().strip()}",
            expected=after.as_text().strip(),
            fix="look who else changes this HAProxy, then run again",
            door=found.as_result(),
        )

    def _answers(self) -> bool:
        try:
            return bool(self.workers.views())
        except SilentError:
            return False

    def _known(self, door: Door, view: View) -> bool:
        """Say whether the configuration of a worker goes by such a door."""
        return door.state not in CLOSED or self.workers.knows(view, "hold" if door.state == HELD else "maintenance")

    def _tell(self, worker: Worker, after: Door) -> None:
        try:
            view = self.workers.view(worker)
            if view is None or (not worker.current and self.workers.hand_over(worker, view)):
                return
            self.workers.map_word(worker, view, self.workers.door_key, after.word)
        except SilentError:
            if worker.current:
                raise

    def _differences(self, told: Door, kept: str, views: typing.Mapping[Worker, View]) -> typing.Iterator[str]:
        """Say what is other than the newest worker has it: at a worker before it, or what HAProxy would begin with."""
        newest, *_older = views.values()
        if not self._known(told, newest):
            yield "the running configuration lacks it"
        if kept != told.word:
            yield f"{kept} after a restart"
        for worker, view in views.items():
            if worker.current or self.workers.handed_over(view):
                continue
            # Its own configuration may not know the door at all, and let requests by.
            if (view.door or OPEN) != told.word or not self._known(told, view):
                yield f"{view.door or OPEN} at the old worker {worker.pid}"
