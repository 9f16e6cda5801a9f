# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An nginx that is configured by this collection's role ``nginx``.

nginx follows a link at every request, so a switch is the change of a link and needs nothing of nginx itself. A listener of its own
says what it is configured with, and where a link leads as one of its workers sees it. So a change is rehearsed before it is made.

nginx itself does not know which servers are up, and does not say what is in flight. Up is here what answers its health check when
it is asked from nginx's host. In flight are the connections of nginx to a server: the role gives each request one of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import typing
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.connections import open_connections
from ansible_collections.baton.release.plugins.module_utils.door import OPEN, Door, refuse_hold
from ansible_collections.baton.release.plugins.module_utils.endpoints import parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.nginx_door import DOOR, NginxDoor, seen_as
from ansible_collections.baton.release.plugins.module_utils.nginx_links import FIRST_CLIENT, LIVE, NginxLinks, ways
from ansible_collections.baton.release.plugins.module_utils.probe import observe
from ansible_collections.baton.release.plugins.module_utils.routing import Routing
from ansible_collections.baton.release.plugins.module_utils.seats import Pools
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, OUT, SLOTS

__all__ = ["Nginx"]

OLDEST = (1, 22)
PROBE_SECONDS = 2.0
_AT_ONCE = 32
_LARGEST_ANSWER = 1 << 16
_ATTEMPTS = 2


class _SilentError(Exception):
    """Nobody answers, or not as nginx with the role's configuration."""


@dataclass(frozen=True)
class _Configured:
    """What nginx says that it is configured with; ``servers`` are, for each host, those of the slots in their order."""

    pid: int
    servers: typing.Mapping[str, tuple[str, ...]]
    door: bool
    """Whether it looks the door up."""
    shares: bool
    """Whether it goes by a client's number where the links say a share."""


@dataclass(frozen=True)
class Nginx:
    """One nginx: the URL of its listener for this driver, the app's name in its configuration, and the links it follows."""

    admin: str
    app_name: str
    health_path: str
    state_dir: Path
    timeout: float = 5.0

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, hosts, up, in_flight}}``, or None when this nginx does not answer as configured."""
        try:
            configured = self._configured()
        except _SilentError:
            return None
        counts = self._connections(configured) or {}
        up = self._up([server for servers in configured.servers.values() for server in servers])
        pools = {}
        for index, slot in enumerate(SLOTS):
            servers = [own[index] for own in configured.servers.values()]
            pools[slot] = {
                "servers": servers,
                "hosts": list(configured.servers),
                "up": [server for server in servers if server in up],
                "in_flight": {server: counts[server] for server in servers if server in counts},
            }
        return pools

    def in_flight(self) -> dict[str, int] | None:
        """Return the number of connections that nginx has to each server; None when it does not answer, or its host shows none."""
        for _attempt in range(_ATTEMPTS):  # a worker that has answered may be gone
            try:
                counts = self._connections(self._configured())
            except _SilentError:
                return None
            if counts is not None:
                return counts
        return None

    def door(self) -> Door:
        """Return the door that the link says, which is what nginx goes by.

        Raises:
            BatonError: nginx sees another one.
        """
        for attempt in range(_ATTEMPTS):  # somebody may move it between the two looks
            door = NginxDoor(self.state_dir).door()
            try:
                if not self._configured().door:
                    return Door(unsettled=f"{door.state} after a reload") if door.state != OPEN else door
                seen = self._ask(f"/door/{DOOR}").strip()
            except _SilentError:
                return door
            if seen == seen_as(door) or door.unsettled:
                break
            if attempt + 1 == _ATTEMPTS:
                raise self._other(DOOR, seen, seen_as(door))
        return door

    def refuse_door(self, after: Door) -> None:
        """Refuse to hold requests, and a door that the running configuration does not look up; an nginx that is silent refuses none.

        Raises:
            BatonError: it cannot.
        """
        refuse_hold(after, "nginx")
        try:
            known = self._configured().door
        except _SilentError:
            return
        if not known and after.state != OPEN:
            raise BatonError(
                found="nginx runs with a configuration that does not know how to show a maintenance page",
                expected="the configuration that the role nginx writes now",
                fix="configure it with the role nginx, and reload it (nginx_reload: true); nothing was touched",
            )

    def move_door(self, after: Door) -> None:
        """Have nginx see where the link is to lead, and then have it lead there; one that does not run begins with it.

        Raises:
            BatonError: nginx does not see it, and nothing was changed; or it has another one afterwards.
        """
        door = NginxDoor(self.state_dir)
        target = door.prepare(after)
        try:
            seen = self._ask(f"/door/{target}").strip() if target and self._configured().door else seen_as(after)
        except _SilentError:
            door.publish(target)
            return
        if seen != seen_as(after):
            raise self._other(target, seen, seen_as(after))
        door.publish(target)
        found = self.door()
        if found != after:
            raise BatonError(
                found=f"the door was moved, and {found.as_text().strip()}",
                expected=after.as_text().strip(),
                fix="look who else changes this link, then run again",
                door=found.as_result(),
            )

    def server_states(self) -> dict[str, dict[str, str]]:
        """Return none: it has no states of single servers."""
        return {}

    def warnings(self) -> list[str]:
        """Return what a person should know of how this nginx is reached."""
        try:
            configured = self._configured()
        except _SilentError:
            return []
        if self._connections(configured) is not None:
            return []
        unseen = f"No nginx is seen as process {configured.pid} of this host, so a drain takes all its time"
        return [
            f"{unseen}: nobody can tell its requests in flight. Have it run beside nginx, with neither in a container of its own."
        ]

    def routing(self, pools: Pools) -> Routing:
        """Return where the links lead, which is where nginx sends requests.

        Raises:
            BatonError: the links make no sense, or nginx sees others.
        """
        del pools  # nginx is asked again: it may have another configuration meanwhile
        for attempt in range(_ATTEMPTS):  # somebody may switch between the two looks
            routing = NginxLinks(self.state_dir).routing()
            looked_at = ["00", FIRST_CLIENT] if routing.share else ["00"]
            try:
                configured = self._configured()
                seen = [self._leads_to(f"{LIVE}/{name}") for name in looked_at]
            except _SilentError:
                return routing
            expected = [ways(routing).get(name, NOTHING_LIVE) for name in looked_at]
            if seen == expected or routing.unsettled:
                break
            if attempt + 1 == _ATTEMPTS:
                raise self._other(LIVE, " and ".join(seen), " and ".join(expected))
        if routing.share and not configured.shares:
            routing = replace(routing, share=0, unsettled=f"{routing.word} after a reload")
        return _among(routing, configured.servers)

    def route(self, before: Routing, after: Routing, pools: Pools) -> None:
        """Have nginx see where ``after`` leads, and then have it lead there.

        Raises:
            BatonError: nginx does not see it, and nothing was changed; or it does not answer.
        """
        del before
        if after.share:
            self._refuse_without_shares()
        links = NginxLinks(self.state_dir)
        target = links.prepare(after)
        # One link for each end: who sees one, sees all that lead there.
        ends = {way: name for name, way in ways(after).items()}
        try:
            for way, name in ends.items():
                if (seen := self._leads_to(f"{target}/{name}")) != way:
                    raise self._other(target, seen, way)
        except _SilentError as error:
            links.publish(target)
            raise BatonError(
                found=f"nginx does not answer ({error}); it goes by {after.as_text().strip()} when it is started",
                expected="an answer, so that it is known to have switched",
                fix="look whether nginx runs, and at its log; then run again",
            ) from error
        links.publish(target)
        found = self.routing(pools)
        if not found.same(after):
            raise BatonError(
                found=f"nginx was switched, and goes by {found.as_text().strip()}",
                expected=after.as_text().strip(),
                fix="look who else changes these links, then run again",
                live=found.live,
                share=found.share,
            )

    def _refuse_without_shares(self) -> None:
        """Refuse a share where the running configuration would send all clients to the slot that is live."""
        with contextlib.suppress(_SilentError):
            if self._configured().shares:
                return
        raise BatonError(
            found="nginx runs with a configuration that knows no shares, or does not answer",
            expected="the configuration that the role nginx writes now",
            fix="run provision.yml first, with nginx_reload: true, or leave traffic_steps empty; nothing was touched",
        )

    def _other(self, target: str, seen: str, expected: str) -> BatonError:
        return BatonError(
            found=f"the links in {self.state_dir / target} lead to {expected}; nginx, which follows them, finds {seen}",
            expected="the same",
            fix=f"give nginx's workers the right to enter {self.state_dir} and what is in it, and look at nginx's error log",
        )

    def _configured(self) -> _Configured:
        """Return what nginx is configured with.

        Raises:
            _SilentError: it does not answer.
            BatonError: it is another one, or older than what is supported.
        """
        try:
            told = json.loads(self._ask("/"))
            version, servers = str(told["version"]), {str(host): tuple(map(str, own)) for host, *own in told["servers"]}
            configured = _Configured(int(told["pid"]), servers, bool(told.get("door")), bool(told.get("shares")))
            app, state = str(told["app"]), Path(str(told["state"]))
        except (ValueError, LookupError, TypeError) as error:
            raise _SilentError(f"{self.admin} answers, but not as the role nginx configures it") from error
        if app != self.app_name or state.resolve() != self.state_dir.resolve():
            raise BatonError(
                found=f"nginx at {self.admin} is configured for {app} with the links in {state}",
                expected=f"{self.app_name} with those in {self.state_dir}",
                fix="correct traffic_admin, app_name or release_state_dir, or configure it with the role nginx",
            )
        numbers = version.split(".")[:2]
        if not all(one.isdigit() for one in numbers) or tuple(map(int, numbers)) < OLDEST:
            raise BatonError(
                found=f"nginx {version}",
                expected=f"nginx {'.'.join(map(str, OLDEST))} or newer",
                fix="install a newer nginx",
            )
        return configured

    def _leads_to(self, link: str) -> str:
        """Return where a link in the state directory leads, as nginx sees it; ``none`` for nowhere."""
        return self._ask(f"/to/{link}").strip()

    def _ask(self, path: str) -> str:
        parts = urllib.parse.urlsplit(self.admin)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=self.timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(1 << 20)
        except (OSError, http.client.HTTPException) as error:
            raise _SilentError(f"{self.admin}: {error}") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise _SilentError(f"{self.admin}{path} answers {response.status}")
        return body.decode("utf-8", "replace")

    def _connections(self, configured: _Configured) -> dict[str, int] | None:
        servers = [server for own in configured.servers.values() for server in own]
        return open_connections(configured.pid, "nginx", servers)

    def _up(self, servers: typing.Sequence[str]) -> set[str]:
        def is_up(server: str) -> bool:
            endpoint = parse_endpoint(server, url=f"http://{server}{self.health_path}")
            seen = observe(endpoint, timeout=PROBE_SECONDS, max_body=_LARGEST_ANSWER)
            return (seen.kind, seen.status) == ("answered", http.client.OK)

        with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
            return {server for server, up in zip(servers, threads.map(is_up, servers)) if up}


def _among(routing: Routing, hosts: typing.Collection[str]) -> Routing:
    """Return the routing with a seat for each of ``hosts``, those that nginx knows; say so where the links lead to others."""
    if routing.live in SLOTS:
        return replace(routing, seats=dict.fromkeys(hosts, routing.live))
    if routing.live != MIXED:
        return routing
    strangers = sorted(host for host, slot in routing.seats.items() if slot != OUT and host not in hosts)
    unknown = f"links lead to {', '.join(strangers)}, of which nginx knows nothing" if strangers else ""
    seats = {host: routing.seats.get(host, OUT) for host in hosts}
    return Routing(MIXED, seats, unsettled="; ".join(filter(None, (routing.unsettled, unknown))))
