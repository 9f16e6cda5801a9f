# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The servers of a HAProxy one by one: ready, drained, or in maintenance.

A state is HAProxy's own for the server ``<host>_<port>`` of the backend ``<app>_<slot>``, and holds for that host's seat too. It is in
HAProxy's memory, so it is also kept in a file that HAProxy begins with: ``haproxy.<slot>`` in the state directory, written first.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.haproxy_seats import with_states
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import SilentError, Worker
from ansible_collections.baton.release.plugins.module_utils.haproxy_view import (
    DRAINED,
    IN_MAINTENANCE,
    Server,
    View,
    admin_states,
    hosts_of,
)
from ansible_collections.baton.release.plugins.module_utils.haproxy_workers import Workers, views_or_refuse
from ansible_collections.baton.release.plugins.module_utils.server_states import DRAIN, MAINT, READY, States
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

__all__ = ["HAProxyStates"]

_ATTEMPTS = 3
_WHY = "the state of a server is in its memory"
_CHECKED = 6
"""As a server with health checks has it in a server-state-file; with 0 HAProxy would never check it again."""


@dataclass(frozen=True)
class HAProxyStates:
    """The states of the servers at all workers of one HAProxy."""

    workers: Workers

    def states(self) -> dict[str, dict[str, str]]:
        """Return for each slot the state of each host's server, as the newest worker has it; empty where none answers."""
        try:
            current = next(iter(self.workers.views().values()))
        except SilentError:
            return {}
        return {slot: self._states(current, slot) for slot in SLOTS}

    def unsettled(self, slot: str) -> str:
        """Say what is other than the newest worker has it: at a worker before it, or what HAProxy would begin with."""
        views = views_or_refuse(self.workers, _WHY)
        current = next(iter(views.values()))
        return "; ".join(self._differences(slot, self._states(current, slot), views))

    def refuse(self) -> None:
        """Refuse to change states that the running configuration would not begin with after a restart.

        Raises:
            BatonError: it would not.
        """
        views = views_or_refuse(self.workers, _WHY)
        current = next(iter(views.values()))
        if not self.workers.knows(current, "states"):
            raise BatonError(
                found="HAProxy runs with a configuration that does not keep the states of servers over a restart",
                expected="the configuration that the role haproxy writes now",
                fix="configure it with the role haproxy, and reload it (haproxy_reload: true); nothing was touched",
            )

    def put(self, slot: str, states: States) -> None:
        """Keep the states of a slot's servers, tell the newest worker, and ask it what it has then.

        Raises:
            BatonError: HAProxy does not answer any more, refuses, or has others afterwards.
        """
        current = next(iter(views_or_refuse(self.workers, _WHY).values()))
        wanted = {**self._states(current, slot), **states}
        try:
            self._keep(slot, wanted, current.backends[self._backend(slot)])
            for _attempt in range(_ATTEMPTS):
                for worker in self.workers.runtime.workers():
                    self._tell(worker, slot, wanted)
                views = self.workers.views()
                found = self._states(next(iter(views.values())), slot)
                if found == wanted and not any(self._differences(slot, found, views)):
                    return
        except SilentError as error:
            raise BatonError(
                found=f"HAProxy does not answer any more ({error}); it begins with {wanted} in {slot} when it is started",
                expected="an answer of every worker, so that all of them are known to have it so",
                fix="look whether HAProxy runs, and at its log; then run again",
            ) from error
        raise BatonError(
            found=f"HAProxy was told {_ATTEMPTS} times, and has {found} in {slot}",
            expected=f"{wanted}",
            fix="look who else changes this HAProxy, then run again",
            server_states={slot: found},
        )

    def _backend(self, slot: str) -> str:
        return f"{self.workers.app_name}_{slot}"

    def _file(self, slot: str) -> Path:
        return self.workers.state_dir / f"haproxy.{slot}"

    def _states(self, view: View, slot: str) -> dict[str, str]:
        pool = view.backends.get(self._backend(slot), {})
        return {host: _state(pool[name].admin) for name, host in hosts_of(pool).items()}

    def _keep(self, slot: str, states: States, pool: typing.Mapping[str, Server]) -> None:
        """Write the file: a line for each server that is not ready. The others begin as they do without any file."""
        worker = self.workers.runtime.workers()[0]
        answer = self.workers.runtime.ask(worker, f"show servers state {self._backend(slot)}")
        flags = {name: _FLAGS[states[host]] for name, host in hosts_of(pool).items() if states[host] != READY}
        write_atomically(self._file(slot), with_states(answer, flags, check_state=_CHECKED))

    def _tell(self, worker: Worker, slot: str, states: States) -> None:
        try:
            view = self.workers.view(worker)
            # The servers of a worker that is older than a reload cannot be changed any more.
            if view is None or not worker.current:
                if view is not None:
                    self.workers.hand_over(worker, view)
                return
            commands = [
                f"set server {self._backend(slot)}/{name} state {states[host]}"
                for name, host in hosts_of(view.backends.get(self._backend(slot), {})).items()
                if host in states and self._states(view, slot)[host] != states[host]
            ]
            if commands:
                # What is to answer first, so that at no instant there is nobody.
                self.workers.runtime.do(worker, *sorted(commands, key=lambda command: not command.endswith(READY)))
        except SilentError:
            if worker.current:
                raise

    def _differences(self, slot: str, told: States, views: typing.Mapping[Worker, View]) -> typing.Iterator[str]:
        flags = admin_states(read_text(self._file(slot)) or "")
        newest, *_older = views.values()
        names = hosts_of(newest.backends.get(self._backend(slot), {}))
        begins = {host: _state(flags.get(name, 0)) for name, host in names.items()}
        if begins != dict(told):
            yield f"{begins} after a restart"
        for worker, view in views.items():
            if not worker.current and not self.workers.handed_over(view) and self._states(view, slot) != dict(told):
                yield f"{self._states(view, slot)} at the old worker {worker.pid}"


_FLAGS = {READY: 0, DRAIN: DRAINED, MAINT: IN_MAINTENANCE}


def _state(flags: int) -> str:
    return MAINT if flags & IN_MAINTENANCE else DRAIN if flags & DRAINED else READY
