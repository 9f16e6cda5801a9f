# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A HAProxy that is configured by this collection's role ``haproxy``, through its runtime API.

HAProxy looks one word up in a map at every request, which says what is live and whether the other slot has a share of the clients
(``Routing.word``). Before that it looks another one up, for the door (``haproxy_door``). The admin states of the servers
``<host>_<slot>_<port>`` in the backend ``<app>_mixed`` are the seats. All of that is in its memory, so it is also kept in files that it
begins with: ``haproxy.map`` and ``haproxy.servers`` in the state directory. They are written first.

After a reload the workers before it go on answering the connections that they have, from the slot and the seats that they know, and
HAProxy drains none of their servers any more. So their map is set to ``handover``: they hand each request to the newest worker.
(``haproxy_workers``.)
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.door import Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.haproxy_door import HAProxyDoor
from ansible_collections.baton.release.plugins.module_utils.haproxy_seats import flags_of, with_seats
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import SilentError, Worker
from ansible_collections.baton.release.plugins.module_utils.haproxy_states import HAProxyStates
from ansible_collections.baton.release.plugins.module_utils.haproxy_view import (
    NOT_READY,
    View,
    admin_states,
    hosts_of,
    seats_of,
)
from ansible_collections.baton.release.plugins.module_utils.haproxy_workers import HANDOVER, Workers, views_or_refuse
from ansible_collections.baton.release.plugins.module_utils.routing import Routing, live_and_share
from ansible_collections.baton.release.plugins.module_utils.server_states import States
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, SLOTS

__all__ = ["HAProxy"]

_UP = "UP"
"""Exactly: a server that has just left maintenance is "UP 1/3" before any check."""
_ATTEMPTS = 3

Pools = typing.Mapping[str, typing.Mapping[str, typing.Any]]


@dataclass(frozen=True)
class HAProxy:
    """One HAProxy: the socket of its master or of its worker, the app's name in its configuration, and its files."""

    admin: Path
    app_name: str
    state_dir: Path
    timeout: float = 5.0

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, hosts, up, in_flight}}``, or None when this HAProxy does not answer as configured."""
        try:
            views = list(self.workers.views().values())
        except (SilentError, LookupError, ValueError):
            return None
        counts, backends = _in_flight(views), views[0].backends
        pools = {}
        for slot in SLOTS:
            pool = backends.get(f"{self.app_name}_{slot}")
            if not pool:
                return None
            hosts = list(hosts_of(pool).values())
            seated = all(host in seats_of(self._states(views[0]))[0] for host in hosts)
            pools[slot] = {
                "servers": [server.address for server in pool.values()],
                "hosts": hosts if seated else [],
                "up": [server.address for server in pool.values() if server.status == _UP],
                "in_flight": {server.address: counts.get(server.address, 0) for server in pool.values()},
            }
        return pools

    def in_flight(self) -> dict[str, int] | None:
        """Return the requests at each server that has any, at all workers; None when this HAProxy does not answer."""
        try:
            return _in_flight(self.workers.views().values())
        except (SilentError, LookupError, ValueError):
            return None

    def warnings(self) -> list[str]:
        """Return what a person should know of how this HAProxy is reached."""
        try:
            through_master = self.workers.runtime.workers()[0].pid != 0
        except SilentError:
            return []
        if through_master:
            return []
        alone = f"{self.admin} leads to the newest worker of HAProxy alone: after a reload, connections that older ones still have"
        return [f"{alone} reach the slot from before. Name the master's socket in traffic_admin."]

    def routing(self, pools: Pools) -> Routing:
        """Return where the newest worker sends requests; where none answers, what HAProxy would begin with."""
        del pools  # these name only the servers in the two pools
        try:
            views = self.workers.views()
        except SilentError:
            live, share = _known(self._kept_word(), str(self.workers.map_file))
            seats, _both = seats_of(admin_states(read_text(self._servers_file) or ""))
            return Routing(live, seats if live == MIXED else {}, share)
        current = next(iter(views.values()))
        live, share = self._live(current)
        seats, _both = seats_of(self._states(current))
        if live in SLOTS:
            seats = dict.fromkeys(seats, live)
        told = Routing(live, seats if live != NOTHING_LIVE else {}, share)
        return replace(told, unsettled="; ".join(self._differences(told, views)))

    def route(self, before: Routing, after: Routing, pools: Pools) -> None:
        """Keep where requests are to go, tell every worker, and ask each of them what it has then.

        Raises:
            BatonError: HAProxy does not answer, refuses, or has something else afterwards.
        """
        del before
        if after.share:
            self._refuse_without_shares()
        try:
            self._keep(after)
            for _attempt in range(_ATTEMPTS):
                for worker in self.workers.runtime.workers():
                    self._tell(worker, after)
                found = self.routing(pools)
                if found.same(after):
                    return
        except SilentError as error:
            raise BatonError(
                found=f"HAProxy does not answer ({error}); it begins with {after.as_text().strip()} when it is started",
                expected="an answer of every worker, so that all of them are known to have switched",
                fix="look whether HAProxy runs, and at its log; then run again",
            ) from error
        raise BatonError(
            found=f"HAProxy was told {_ATTEMPTS} times, and has {found.as_text().strip()}",
            expected=after.as_text().strip(),
            fix="look who else changes this HAProxy, then run again",
            live=found.live,
            share=found.share,
        )

    def door(self) -> Door:
        """Return the door as the newest worker has it."""
        return HAProxyDoor(self.workers).door()

    def refuse_door(self, after: Door) -> None:
        """Refuse a door that the running configuration does not know."""
        HAProxyDoor(self.workers).refuse(after)

    def move_door(self, after: Door) -> None:
        """Have the door so at every worker, now and after a restart."""
        HAProxyDoor(self.workers).move(after)

    def server_states(self) -> dict[str, dict[str, str]]:
        """Return for each slot the state of each host's server; empty where HAProxy does not answer."""
        return HAProxyStates(self.workers).states()

    def unsettled_states(self, slot: str) -> str:
        """Say what of these states is other elsewhere, for instance after a restart."""
        return HAProxyStates(self.workers).unsettled(slot)

    def refuse_states(self) -> None:
        """Refuse to change states where the running configuration would not keep them."""
        HAProxyStates(self.workers).refuse()

    def put_states(self, slot: str, states: States) -> None:
        """Have servers of a slot in these states, now and after a restart."""
        HAProxyStates(self.workers).put(slot, states)

    @property
    def workers(self) -> Workers:
        """Its workers."""
        return Workers(self.admin, self.app_name, self.state_dir, self.timeout)

    @property
    def _servers_file(self) -> Path:
        return self.state_dir / "haproxy.servers"

    @property
    def _mixed(self) -> str:
        return f"{self.app_name}_{MIXED}"

    def _states(self, view: View) -> dict[str, int]:
        return {name: server.admin for name, server in view.backends.get(self._mixed, {}).items()}

    def _refuse_without_shares(self) -> None:
        """Refuse a share where the configuration would take its word for the name of a backend that is not there."""
        backends = next(iter(views_or_refuse(self.workers, "a share is moved by what runs").values())).backends
        if f"{self.app_name}_shares" not in backends:
            raise BatonError(
                found="HAProxy runs with a configuration that knows no shares",
                expected="the configuration that the role haproxy writes now",
                fix="configure it with the role haproxy, and reload it (haproxy_reload: true), or leave traffic_steps empty",
            )

    def _live(self, view: View) -> tuple[str, int]:
        if view.live is None:
            raise BatonError(
                found=f"HAProxy runs without the map {self.workers.map_file}",
                expected="the configuration that the role haproxy writes",
                fix="configure it with the role haproxy, and reload it (haproxy_reload: true)",
            )
        return _known(view.live or NOTHING_LIVE, f"HAProxy's map {self.workers.map_file}")

    def _kept_word(self) -> str:
        return self.workers.kept().get(self.app_name, NOTHING_LIVE)

    def _differences(self, told: Routing, views: typing.Mapping[Worker, View]) -> typing.Iterator[str]:
        """Say what is other than the newest worker has it: at a worker before it, or what HAProxy would begin with."""
        live = told.live
        if (kept := self._kept_word()) != told.word:
            yield f"{kept} after a restart"
        newest, *_older = views.values()
        current = self._states(newest)
        for worker, view in views.items():
            # Without the map it began before this app was configured. Its seats stay as they were at the reload.
            alike = view.live in (None, HANDOVER) or ((view.live or NOTHING_LIVE) == told.word and live != MIXED)
            if not worker.current and not alike:
                yield f"{view.live or NOTHING_LIVE} at the old worker {worker.pid}"
        if live == MIXED:
            begins = admin_states(read_text(self._servers_file) or "")
            if any(_ready(begins.get(name, 0)) != _ready(flags) for name, flags in current.items()):
                yield "other seats after a restart"
            for host in seats_of(current)[1]:
                yield f"{host} answers from both slots"

    def _keep(self, after: Routing) -> None:
        if after.live == MIXED:
            try:
                worker = self.workers.runtime.workers()[0]
                states = self.workers.runtime.ask(worker, f"show servers state {self._mixed}")
            except SilentError:
                states = read_text(self._servers_file) or ""
            write_atomically(self._servers_file, with_seats(states, after.seats))
        self.workers.keep(self.app_name, after.word)

    def _tell(self, worker: Worker, after: Routing) -> None:
        try:
            view = self.workers.view(worker)
            if view is None or (not worker.current and self.workers.hand_over(worker, view)):
                return
            if after.live == MIXED:
                commands = [
                    f"set server {self._mixed}/{name} state {'drain' if flags_of(name, after.seats) else 'ready'}"
                    for name in self._states(view)
                ]
                # What is to answer first, so that at no instant there is nobody.
                self.workers.runtime.do(worker, *sorted(commands, key=lambda command: command.endswith("drain")))
            self.workers.map_word(worker, view, self.app_name, after.word)
        except SilentError:
            if worker.current:
                raise


def _in_flight(views: typing.Iterable[View]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for view in views:
        for backend in view.backends.values():
            for server in backend.values():
                counts[server.address] = counts.get(server.address, 0) + server.in_flight
    return {address: count for address, count in counts.items() if count}


def _ready(flags: int) -> bool:
    return not flags & NOT_READY


def _known(word: str, where: str) -> tuple[str, int]:
    found = live_and_share(word)
    if found is None:
        raise BatonError(
            found=f"{where} holds {word[:40]!r}",
            expected=f"one of {', '.join((*SLOTS, MIXED, NOTHING_LIVE))}, or a share such as {SLOTS[0]}:{SLOTS[1]}:5",
            fix="find out who wrote it, and correct it there",
        )
    return found
