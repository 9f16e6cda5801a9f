# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a Caddy, configured by this collection's role ``caddy``, says about its pools.

Caddy looks the live slot up in a file at every request, so a switch needs nothing of Caddy itself: each change of its
configuration restarts its listeners and loses requests. Its admin endpoint is only read here. It does not say which servers its
health checks hold to be up, so that is asked through the preview listener of each slot, which leads through the very pool that
traffic uses and names the server that answered.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
import typing
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.door import OPEN, Door, refuse_hold
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.lookup_files import LookupFiles
from ansible_collections.baton.release.plugins.module_utils.routing import Routing
from ansible_collections.baton.release.plugins.module_utils.seats import Pools

__all__ = ["Caddy"]

SERVER_HEADER = "X-Baton-Server"
PROBES_PER_SERVER = 12
"""Requests for each server of a pool after which one that never answered counts as down. Public traffic shares the pool's round
robin, so which server a probe meets is as good as random: 12 n probes miss one of n live servers less than once in 100,000 times."""
PROBE_SECONDS = 1.0
"""A server may take requests and never answer them; it must cost a probe, not what the others have to say."""
SEAT = re.compile(r"\{file\..*/([^/]+)\}")


class _NotConfiguredError(LookupError):
    """Caddy has no such part in its configuration."""


@dataclass(frozen=True)
class Caddy:
    """One Caddy: its admin endpoint, the app's name in its configuration, the preview of each slot, and the files it looks up."""

    admin: str
    app_name: str
    preview: typing.Mapping[str, str]
    health_path: str
    state_dir: Path
    timeout: float = 5.0

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, hosts, up, in_flight}}``, or None when this Caddy does not answer as configured."""
        try:
            counts, hosts = self._counts(), self._hosts()
            pools = {}
            for slot in self.preview:
                servers = [_address(one["dial"]) for one in self._admin(f"/id/{self.app_name}_{slot}/upstreams")]
                answering = self._answering(slot, len(servers))
                pools[slot] = {
                    "servers": servers,
                    "hosts": hosts if len(hosts) == len(servers) else [],
                    "up": [server for server in servers if server in answering],
                    "in_flight": {server: counts.get(server, 0) for server in servers},
                }
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return None
        return pools

    def in_flight(self) -> dict[str, int] | None:
        """Return the number of requests at each server that has any, or None when this Caddy does not answer."""
        try:
            return self._counts()
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return None

    def routing(self, pools: Pools) -> Routing:
        """Return where the files that Caddy looks up send requests."""
        return LookupFiles(self.state_dir).routing(pools)

    def route(self, before: Routing, after: Routing, pools: Pools) -> None:
        """Change these files; Caddy itself needs nothing.

        Raises:
            BatonError: it is to be a share, and Caddy runs with a configuration that would answer 503 to all clients then.
        """
        if after.share and not self._knows("share"):
            raise self._lacks("share", "leave traffic_steps empty")
        LookupFiles(self.state_dir).route(before, after, pools)

    def door(self) -> Door:
        """Return the door that the file which Caddy looks up says."""
        door = LookupFiles(self.state_dir).door()
        if door.state != OPEN and self._knows("door") is False:
            return Door(unsettled=f"{door.state} after a reload")
        return door

    def refuse_door(self, after: Door) -> None:
        """Refuse to hold requests, and a door that the running configuration does not look up; a Caddy that is silent refuses none.

        Raises:
            BatonError: it cannot.
        """
        refuse_hold(after, "caddy")
        if after.state != OPEN and self._knows("door") is False:
            raise self._lacks("door", "show a page elsewhere; nothing was touched")

    def move_door(self, after: Door) -> None:
        """Change this file; Caddy itself needs nothing."""
        LookupFiles(self.state_dir).move_door(after)

    def server_states(self) -> dict[str, dict[str, str]]:
        """Return none: it has no states of single servers."""
        return {}

    def warnings(self) -> list[str]:
        """Return none: there is only one Caddy to reach."""
        return []

    def _counts(self) -> dict[str, int]:
        """Return the requests at each server, by whatever route they came.

        Caddy counts them by address, and reports these counts for addresses that no pool is configured with. That is why the role
        writes the servers of its pools as ``tcp/address``: what a pool or a seat has in flight is then reported beside it.
        """
        return {str(one["address"]): int(one["num_requests"]) for one in self._admin("/reverse_proxy/upstreams")}

    def _hosts(self) -> list[str]:
        """Return the hosts that have a seat, in the order of the pools' servers; none where Caddy is configured without seats."""
        try:
            upstreams = self._admin(f"/id/{self.app_name}_mixed/upstreams")
        except _NotConfiguredError:
            return []
        return [found[1] for one in upstreams if (found := SEAT.fullmatch(one["dial"]))]

    def _knows(self, part: str) -> bool | None:
        """Say whether Caddy's running configuration has a part; None where it does not answer."""
        try:
            self._admin(f"/id/{self.app_name}_{part}")
        except _NotConfiguredError:
            return False
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return True

    def _lacks(self, part: str, otherwise: str) -> BatonError:
        return BatonError(
            found=f"Caddy runs with a configuration that knows no {part}s, or does not answer",
            expected="the configuration that the role caddy writes now",
            fix=f"configure it with the role caddy, at a quiet time with caddy_reload: true, or {otherwise}",
        )

    def _admin(self, path: str) -> typing.Any:
        connection = self._connect(self.admin)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(1 << 20)
        finally:
            connection.close()
        if response.status == http.client.NOT_FOUND:
            raise _NotConfiguredError(path)
        if response.status != http.client.OK:
            raise ValueError(f"{path} answered {response.status}")
        return json.loads(body)

    def _answering(self, slot: str, servers: int) -> set[str]:
        """Ask the slot's preview until every server has answered well, or enough to know that one does not."""
        answered: set[str] = set()
        deadline = time.monotonic() + self.timeout
        connection = self._connect(self.preview[slot], timeout=min(PROBE_SECONDS, self.timeout))
        try:
            for _probe in range(PROBES_PER_SERVER * servers):
                try:
                    status, server = self._probe(connection)
                except socket.timeout:
                    connection.close()
                    status, server = 0, "one that is silent"
                if status == http.client.OK and server:
                    answered.add(server)
                if len(answered) == servers or not server or time.monotonic() > deadline:
                    break  # all are up; or Caddy itself answered, because none is; or it takes too long to tell
        finally:
            connection.close()
        return answered

    def _probe(self, connection: http.client.HTTPConnection) -> tuple[int, str]:
        """Ask for health once; return the status and the server that answered, "" for Caddy itself."""
        connection.request("GET", self.health_path)
        response = connection.getresponse()
        response.read(1 << 16)
        return response.status, response.getheader(SERVER_HEADER) or ""

    def _connect(self, url: str, timeout: float = 0.0) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout or self.timeout)


def _address(dial: str) -> str:
    return dial.rpartition("/")[2]
