"""A fleet as the ground of truth of strikes: HAProxy, systemd and files, asked on the hosts over ssh."""

from __future__ import annotations

import json

from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, OUT, SLOTS

from tests.chaos.ground import Place, Routing, Unit
from tests.fleet.haproxy_program import ASK, MAP
from tests.fleet.hosts import Fleet
from tests.fleet.prod import DOMAIN

__all__ = ["Machines"]

DIRECTORIES: dict[Place, str] = {"app": "/srv/shop", "state": "/var/lib/baton/shop"}
PORTS = {"blue": 8001, "green": 8002}
NOT_READY = 0x01 | 0x08
"""Of a server's admin state: in maintenance, drained."""
# Runs on the load balancer. What HAProxy has in its memory, and the file that it begins with.
LOOK = f"""{ASK}
import json

def words(lines):
    return dict(line.split()[-2:] for line in lines.splitlines() if line.strip())

servers = [line.split() for line in ask("show servers state shop_mixed").splitlines()]
print(json.dumps({{
    "word": words(ask("show map {MAP}")).get("shop", "none"),
    "begins": words(open("{MAP}").read()).get("shop", "none"),
    "ready": [one[3] for one in servers if len(one) > 6 and one[0].isdigit() and not int(one[6]) & {NOT_READY}],
}}))
"""


class Machines:
    """The hosts of one fleet, by the names that ``inventories/prod`` gives them."""

    paths: tuple[str, ...] = ("/",)

    def __init__(self, fleet: Fleet) -> None:
        """Take a fleet that prod was provisioned on."""
        self._fleet = fleet
        self.apps = tuple(f"{name}{DOMAIN}" for name in fleet.names("app"))
        self.balancers = tuple(f"{name}{DOMAIN}" for name in fleet.names("lb"))

    @property
    def database(self) -> str:
        """The URL of the app's database."""
        return str(self._fleet.secrets["DATABASE_URL"])

    def url(self, balancer: str) -> str:
        """Return where users reach a load balancer."""
        return self._fleet.url(_short(balancer))

    def address(self, host: str, slot: str) -> str:
        """Return the URL at which a slot answers itself."""
        return f"http://{self._fleet.address(_short(host))}:{PORTS[slot]}"

    def routing(self, balancer: str) -> Routing:
        """Return what a HAProxy has in its memory, and in the file that it begins with."""
        found = json.loads(self._ask(balancer, "sudo python3 -", given=LOOK))
        ready = dict(name.rsplit("_", 2)[:2] for name in found["ready"])
        seats = ((host, ready.get(host, OUT)) for host in (self.apps if found["word"] == MIXED else ()))
        return Routing(found["word"], begins=found["begins"], seats=tuple(seats))

    def units(self, host: str) -> dict[str, Unit]:
        """Return what systemd says of each slot."""
        names = " ".join(f"shop@{slot}.service" for slot in SLOTS)
        asked = f"systemctl is-active {names}; systemctl is-enabled {names}"
        said = self._ask(host, asked, check=False).split()
        active, enabled = said[: len(SLOTS)], said[len(SLOTS) :]
        return {slot: Unit(active[n] == "active", returns=enabled[n] == "enabled") for n, slot in enumerate(SLOTS)}

    def text(self, host: str, place: Place, path: str) -> str:
        """Return what a file on a host holds; nothing where there is none."""
        file = f"{DIRECTORIES[place]}/{path}"
        return self._ask(host, f"sudo sh -c 'test ! -e {file} || cat {file}'")

    def _ask(self, host: str, command: str, *, given: str = "", check: bool = True) -> str:
        return self._fleet.ssh(_short(host), command, given=given, keep=True, check=check)


def _short(name: str) -> str:
    return name.removesuffix(DOMAIN)
